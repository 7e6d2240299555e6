"""``asyncfetch image``, ``outlines`` and ``preview``: one image, where sections lie, and a page of a store's planes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asyncfetch.cli.configuration import Given
from asyncfetch.cli.console import echo, tell
from asyncfetch.cli.opening import open_store
from asyncfetch.cli.options import SERVER, DataSetId, Record, Store, takes
from asyncfetch.cli.running import run_interruptible
from asyncfetch.errors import SelectionError, StoreError
from asyncfetch.text import counted

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from asyncfetch.allen import SectionDataSet
    from asyncfetch.store import StoredDataSet

__all__ = ["image", "outlines", "preview"]

_PLANE_SIDE = 320
_CUT_SIDE = 640


def image(
    image_id: Annotated[int, typer.Argument(metavar="ID", help="The section, atlas or projection image.")],
    given: Annotated[Given, takes(SERVER)],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="The JPEG.", show_default="ID.jpg")
    ] = None,
    kind: Annotated[
        str, typer.Option(metavar="SERVICE", help="The service: image, section, atlas or projection.")
    ] = "image",
    downsample: Annotated[
        int | None, typer.Option(metavar="N", help="The tier: the image halved N times.")
    ] = None,
    view: Annotated[
        str | None, typer.Option(metavar="VIEW", help="A view instead of the image, such as expression.")
    ] = None,
    quality: Annotated[int | None, typer.Option(metavar="Q", help="JPEG quality from 0 to 100.")] = None,
    left: Annotated[
        int | None, typer.Option(metavar="X", help="Left edge of the region, in full-resolution pixels.")
    ] = None,
    top: Annotated[
        int | None, typer.Option(metavar="Y", help="Top edge of the region, in full-resolution pixels.")
    ] = None,
    width: Annotated[
        int | None, typer.Option(metavar="W", help="Width of the region, in pixels of the tier.")
    ] = None,
    height: Annotated[
        int | None, typer.Option(metavar="H", help="Height of the region, in pixels of the tier.")
    ] = None,
    downsample_dimensions: Annotated[
        bool | None,
        typer.Option(help="Let the API adjust width and height to the tier.", show_default=False),
    ] = None,
    bounds: Annotated[
        str | None,
        typer.Option(
            "--range",
            metavar="R0,R1,G0,G1,B0,B1",
            help="Lower and upper grey level of each channel, from 0 to 4095.",
        ),
    ] = None,
    rgb: Annotated[
        str | None, typer.Option(metavar="R,G,B", help="Gain of each channel, from 0 to 1.")
    ] = None,
    contrast: Annotated[
        str | None, typer.Option(metavar="GAIN,BIAS", help="Gain and bias, from 0 to 1.")
    ] = None,
    colormap: Annotated[
        str | None,
        typer.Option(
            metavar="LEVEL,NAME", help="Lower threshold from 0 to 1, and name or id of a colour map."
        ),
    ] = None,
    annotation: Annotated[
        bool | None, typer.Option(help="Whether an atlas image has its annotations.", show_default=False)
    ] = None,
    atlas: Annotated[
        int | None, typer.Option(metavar="ID", help="The atlas whose annotations are drawn.")
    ] = None,
    record: Record = None,
) -> None:
    """Download one image, or a region of it, as a JPEG.

    The JPEG is the API's own, checked to be complete.
    """
    settings = given.settings()
    from asyncfetch.client import Client

    asked = {
        "kind": kind,
        "downsample": downsample,
        "view": view,
        "quality": quality,
        "left": left,
        "top": top,
        "width": width,
        "height": height,
        "downsample_dimensions": downsample_dimensions,
        "range": _numbers("range", bounds),
        "rgb": _numbers("rgb", rgb),
        "contrast": _numbers("contrast", contrast),
        "colormap": _colormap(colormap),
        "annotation": annotation,
        "atlas": atlas,
    }
    parameters: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}

    async def run() -> Path:
        async with Client(settings=settings) as client:
            return await client.save_image(image_id, out or Path(f"{image_id}.jpg"), **parameters)

    echo(run_interruptible(run))


def _numbers(name: str, text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        raise SelectionError(f"--{name} takes numbers such as 0,1, not {text!r}") from None
    return tuple(int(each) if each.is_integer() else each for each in values)


def _colormap(text: str | None) -> tuple[float, str | int] | None:
    if text is None:
        return None
    threshold, _, name = text.partition(",")
    values = _numbers("colormap", threshold)
    return (values[0] if values else 0.0, int(name) if name.isdecimal() else name)


def outlines(
    data_set_id: Annotated[int, typer.Argument(metavar="ID", help="The data set.")],
    given: Annotated[Given, takes(SERVER)],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="The PNG.", show_default="outlines_ID.png"),
    ] = None,
    um_per_pixel: Annotated[
        float, typer.Option("--um-per-pixel", min=1.0, metavar="UM", help="Scale of the drawing.")
    ] = 40.0,
    record: Record = None,
) -> None:
    """Draw where the sections of a data set lie.

    Shows the reference space in three projections. Only metadata are fetched.
    """
    settings = given.settings()
    from asyncfetch.client import Client
    from asyncfetch.geometry import REFERENCE_BOXES_UM
    from asyncfetch.views import draw_outlines, save_figure

    async def run() -> SectionDataSet:
        async with Client(settings=settings) as client:
            return await client.data_set(data_set_id)

    data_set = run_interruptible(run)
    box_um = REFERENCE_BOXES_UM.get(data_set.reference_space_id or 0)
    corners = _corners(data_set)
    if box_um is None or not corners:
        raise SelectionError(
            f"data set {data_set_id} cannot be drawn: none of its sections has an alignment, or the extent of "
            f"reference space {data_set.reference_space_id} is not known"
        )
    path = out or Path(f"outlines_{data_set_id}.png")
    title = f"Data set {data_set_id}, reference space {data_set.reference_space_id}, {counted(len(corners), 'section')}"
    save_figure(path, title, [draw_outlines(corners, box_um, um_per_pixel=um_per_pixel)])
    echo(path)


def _corners(data_set: SectionDataSet) -> list[NDArray[np.float64]]:
    """Return the corners of each section that has an alignment, (4, 3) in µm."""
    from asyncfetch.errors import AlignmentError

    found = []
    for section in data_set.section_images:
        right, bottom = section.width - 0.5, section.height - 0.5
        around = [(-0.5, -0.5), (right, -0.5), (right, bottom), (-0.5, bottom)]
        try:
            found.append(data_set.geometry(section).image_to_reference(around))
        except AlignmentError:
            continue
    return found


def preview(
    store: Store,
    data_set_id: DataSetId = None,
    view: Annotated[str, typer.Option(metavar="VIEW", help="Which view.")] = "image",
    columns: Annotated[int, typer.Option(min=1, metavar="N", help="Planes in a row.")] = 4,
    side: Annotated[
        int | None,
        typer.Option(
            min=16,
            metavar="PIXELS",
            help="Longest side of a plane or of a cut.",
            show_default="320, or 640 for a cut",
        ),
    ] = None,
    volume: Annotated[
        bool, typer.Option("--volume", help="Draw three cuts through the middle of the volume instead.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="The PNG.", show_default="data_set_ID.png"),
    ] = None,
) -> None:
    """Draw all planes of a data set, or cuts of its volume.

    The registered planes are drawn on one page, in the order of their sections.
    """
    from asyncfetch.views import Panel, save_figure

    opened = open_store(store)
    ids = opened.read_data_set_ids()
    if data_set_id is None and len(ids) != 1:
        known = ", ".join(map(str, ids)) or "none"
        raise SelectionError(
            f"{store} holds {counted(len(ids), 'data set')} ({known}); name one with --dataset"
        )
    data_set = opened.data_set(ids[0] if data_set_id is None else data_set_id, view)
    if volume:
        _draw_volume(data_set, out, side or _CUT_SIDE)
        return
    panels = [Panel(f"section {number}", pixels) for number, pixels in _planes(data_set, side or _PLANE_SIDE)]
    if not panels:
        raise SelectionError(f"data set {data_set.id} has no registered planes of the view {view} in {store}")
    path = out or Path(f"data_set_{data_set.id}.png")
    rows = [panels[k : k + columns] for k in range(0, len(panels), columns)]
    layout = data_set.read_registered_layout()
    pitch = f"{layout.grid.plane}, {layout.grid.um:g} um" if layout else ""
    save_figure(path, f"Data set {data_set.id}, {view}, {pitch}", rows)
    tell(counted(len(panels), "plane"))
    echo(path)


def _draw_volume(data_set: StoredDataSet, out: Path | None, side: int) -> None:
    from asyncfetch.views import cut_panels, save_figure

    layout = data_set.read_volume_layout()
    if layout is None:
        raise SelectionError(
            f"data set {data_set.id}, view {data_set.view}, has no volume; make it with: asyncfetch volume"
        )
    for damaged, words in data_set.volume_problems():
        tell(f"note: {damaged} {words}, and is drawn as empty; make the volume again with: asyncfetch volume")
    path = out or Path(f"volume_{data_set.id}.png")
    planes = counted(len(layout.planes), "plane")
    title = f"Data set {data_set.id}, {data_set.view}, volume of {layout.um:g} um, {planes}"
    save_figure(path, title, [cut_panels(data_set.open_volume_levels(), side)])
    echo(path)


def _planes(data_set: StoredDataSet, side: int) -> list[tuple[int, NDArray[np.uint8]]]:
    """Return section number and pixels of each committed plane, skipping pixels until it fits."""
    import numpy as np

    layout = data_set.read_registered_layout()
    if layout is None:
        return []
    committed = {commit.image_id for commit in data_set.read_commits() if "registered" in commit.layers}
    # Zarr would read a plane that is lost as empty
    damaged = data_set.damaged_planes(committed)
    step = max(1, -(-max(layout.grid.shape) // side))
    planes = []
    for slot in layout.slots:
        if slot.image_id in committed:
            try:
                if slot.image_id in damaged:
                    raise damaged[slot.image_id]
                stored = np.asarray(data_set.open_registered()[:, slot.z, ::step, ::step])
            except StoreError as error:
                tell(f"note: section {slot.section_number} is left out: {error.message}")
                continue
            planes.append((slot.section_number, np.ascontiguousarray(np.moveaxis(stored, 0, -1))))
    return planes
