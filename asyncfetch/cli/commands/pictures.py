"""``asyncfetch image``, ``outlines`` and ``preview``: one image, where sections lie, and a page of a store's planes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asyncfetch.cli.configuration import settings_from
from asyncfetch.cli.console import echo, tell
from asyncfetch.cli.opening import open_store
from asyncfetch.cli.options import BaseUrl, Config, Record  # noqa: TC001 - typer reads annotations
from asyncfetch.cli.running import run_interruptible
from asyncfetch.errors import SelectionError, StoreError
from asyncfetch.text import counted

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from asyncfetch.allen import SectionDataSet
    from asyncfetch.store import StoredDataSet

__all__ = ["image", "outlines", "preview"]


def image(
    image_id: Annotated[int, typer.Argument(metavar="ID", help="The section, atlas or projection image.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="The JPEG.", show_default="ID.jpg")
    ] = None,
    kind: Annotated[str, typer.Option(help="The service: image, section, atlas or projection.")] = "image",
    downsample: Annotated[int | None, typer.Option(metavar="N", help="Halved N times.")] = None,
    view: Annotated[str | None, typer.Option(metavar="VIEW", help="Such as expression.")] = None,
    quality: Annotated[int | None, typer.Option(metavar="Q", help="JPEG quality from 0 to 100.")] = None,
    left: Annotated[int | None, typer.Option(metavar="X", help="In full-resolution pixels.")] = None,
    top: Annotated[int | None, typer.Option(metavar="Y", help="In full-resolution pixels.")] = None,
    width: Annotated[int | None, typer.Option(metavar="W", help="In pixels of the tier.")] = None,
    height: Annotated[int | None, typer.Option(metavar="H", help="In pixels of the tier.")] = None,
    base_url: BaseUrl = None,
    config: Config = None,
    record: Record = None,
) -> None:
    """Download one image, or a box of one, as the API's JPEG, proved to be whole."""
    settings = settings_from(config, base_url=base_url)
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
    }
    parameters = {name: value for name, value in asked.items() if value is not None}

    async def run() -> Path:
        async with Client(settings=settings) as client:
            return await client.save_image(image_id, out or Path(f"{image_id}.jpg"), **parameters)

    echo(run_interruptible(run))


def outlines(
    data_set_id: Annotated[int, typer.Argument(metavar="ID", help="The data set.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="The PNG.", show_default="outlines_ID.png"),
    ] = None,
    base_url: BaseUrl = None,
    config: Config = None,
    record: Record = None,
) -> None:
    """Draw where the sections of a data set lie in the reference space; asks for metadata alone."""
    settings = settings_from(config, base_url=base_url)
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
    save_figure(path, title, [draw_outlines(corners, box_um)])
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
    store: Annotated[str, typer.Argument(metavar="OUT", help="The store.")],
    data_set_id: Annotated[
        int | None,
        typer.Option("--dataset", metavar="ID", help="Which data set.", show_default="the only one"),
    ] = None,
    view: Annotated[str, typer.Option(metavar="VIEW", help="Which view.")] = "image",
    columns: Annotated[int, typer.Option(min=1, metavar="N", help="Planes in a row.")] = 4,
    side: Annotated[int, typer.Option(min=16, metavar="PIXELS", help="Longest side of a plane.")] = 320,
    volume: Annotated[
        bool, typer.Option("--volume", help="Three cuts through the middle of the volume instead.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="The PNG.", show_default="data_set_ID.png"),
    ] = None,
) -> None:
    """Draw all registered planes of a data set on one page, in the order of their sections, or cuts of its volume."""
    from asyncfetch.views import Panel, save_figure

    opened = open_store(store)
    ids = opened.data_set_ids
    if data_set_id is None and len(ids) != 1:
        known = ", ".join(map(str, ids)) or "none"
        raise SelectionError(
            f"{store} holds {counted(len(ids), 'data set')} ({known}); name one with --dataset"
        )
    data_set = opened.data_set(ids[0] if data_set_id is None else data_set_id, view)
    if volume:
        _draw_volume(data_set, out)
        return
    panels = [Panel(f"section {number}", pixels) for number, pixels in _planes(data_set, side)]
    if not panels:
        raise SelectionError(f"data set {data_set.id} has no registered planes of the view {view} in {store}")
    path = out or Path(f"data_set_{data_set.id}.png")
    rows = [panels[k : k + columns] for k in range(0, len(panels), columns)]
    layout = data_set.registered_layout
    pitch = f"{layout.plane}, {layout.um:g} um" if layout else ""
    save_figure(path, f"Data set {data_set.id}, {view}, {pitch}", rows)
    tell(counted(len(panels), "plane"))
    echo(path)


def _draw_volume(data_set: StoredDataSet, out: Path | None) -> None:
    from asyncfetch.views import cut_panels, save_figure

    layout = data_set.volume_layout
    if layout is None:
        raise SelectionError(
            f"data set {data_set.id}, view {data_set.view}, has no volume; make it with: asyncfetch volume"
        )
    for damaged, words in data_set.volume_problems():
        tell(f"note: {damaged} {words}, and is drawn as empty; make the volume again with: asyncfetch volume")
    path = out or Path(f"volume_{data_set.id}.png")
    planes = counted(len(layout.planes), "plane")
    title = f"Data set {data_set.id}, {data_set.view}, volume of {layout.um:g} um, {planes}"
    save_figure(path, title, [cut_panels(data_set.volume_levels)])
    echo(path)


def _planes(data_set: StoredDataSet, side: int) -> list[tuple[int, NDArray[np.uint8]]]:
    """Return section number and pixels of each committed plane, skipping pixels until it fits."""
    import numpy as np

    layout = data_set.registered_layout
    if layout is None:
        return []
    committed = {commit.image_id for commit in data_set.sections if "registered" in commit.layers}
    # Zarr would read a plane that is lost as empty
    damaged = data_set.damaged_planes(committed)
    step = max(1, -(-max(layout.grid.shape) // side))
    planes = []
    for slot in layout.slots:
        if slot.image_id in committed:
            try:
                if slot.image_id in damaged:
                    raise damaged[slot.image_id]
                stored = np.asarray(data_set.registered[:, slot.z, ::step, ::step])
            except StoreError as error:
                tell(f"note: section {slot.section_number} is left out: {error.message}")
                continue
            planes.append((slot.section_number, np.ascontiguousarray(np.moveaxis(stored, 0, -1))))
    return planes
