"""Tiles for machine learning: square pictures cut from sections, with a table of what each shows and where it lies.

All tiles of a section are one output, a folder, so that a section is exported whole or not at all. A specimen is in one
split alone, and which one depends on the seed and its id only: it stays there when other specimens come.
"""

from __future__ import annotations

import hashlib
import io
import re
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
import numpy as np
from PIL import Image

from asyncfetch.errors import AlignmentError, SelectionError, SettingsError
from asyncfetch.exporting.choices import Downsample, Quality  # noqa: TC001 - msgspec reads annotations
from asyncfetch.exporting.pictures import SectionPart, open_picture, parts_of, picture_bytes
from asyncfetch.exporting.protocol import Format, Made, Output
from asyncfetch.exporting.tile_files import open_folder, write_list, write_table
from asyncfetch.exporting.tissue import background_of, tissue_in
from asyncfetch.failures import Failure
from asyncfetch.geometry import Box
from asyncfetch.imaging.jpeg import encode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from asyncfetch.exporting.chosen import Chosen
    from asyncfetch.exporting.files import Facts
    from asyncfetch.exporting.pictures import Picture
    from asyncfetch.geometry import SectionGeometry

__all__ = ["Tiles", "split_of"]

SPLITS = ("train", "validation", "test")
_SHARES = re.compile(r"[0-9]{1,3}(/[0-9]{1,3}){0,2}")
_PNG_LEVEL = 4


def _option(metavar: str, description: str, **limits: Any) -> msgspec.Meta:
    return msgspec.Meta(description=description, extra={"metavar": metavar}, **limits)


class Tiles(Format, frozen=True, kw_only=True):
    """Tiles of sections as pictures or in tar files (WebDataset), and a table of all of them."""

    size: Annotated[int, _option("PIXELS", "Side of a tile in pixels.", ge=16, le=4096)] = 256
    downsample: Downsample = None
    um: Annotated[
        Annotated[float, msgspec.Meta(gt=0, le=10_000)] | None,
        msgspec.Meta(
            description="Resample to this pitch in µm, instead of the pixels of a tier.",
            extra={"metavar": "PITCH", "shown": "that of the tier"},
        ),
    ] = None
    min_tissue: Annotated[
        float,
        _option(
            "SHARE",
            "Skip tiles that show less tissue, from 0 to 1: pixels unlike the background.",
            ge=0,
            le=1,
        ),
    ] = 0.1
    image: Annotated[
        Literal["png", "jpeg"], _option("KIND", "png keeps every pixel as it is; jpeg is smaller.")
    ] = "png"
    quality: Quality = 90
    pack: Annotated[
        Literal["none", "webdataset"],
        _option(
            "HOW", "Pictures as files, or the tiles of each section in a tar file, with their rows as JSON."
        ),
    ] = "none"
    table: Annotated[
        Literal["csv", "jsonl"], _option("KIND", "The table of all tiles, as CSV or as JSON lines.")
    ] = "csv"
    split: Annotated[
        str,
        _option(
            "SHARES",
            "Shares of the specimens for train, validation and test, such as 80/10/10.",
        ),
    ] = "80/10/10"
    seed: Annotated[int, _option("N", "Another number splits the specimens in another way.")] = 0

    def __post_init__(self) -> None:
        if not _SHARES.fullmatch(self.split) or sum(self.shares) != 100:
            raise SettingsError(
                f"split = {self.split} is not allowed: one to three shares that add up to 100, such as 80/10/10",
                setting="split",
            )
        if self.um is not None and self.downsample is not None:
            raise SettingsError("um and downsample both choose the pitch; give one", setting="um")

    @property
    def shares(self) -> tuple[int, ...]:
        """The shares of the splits, in percent."""
        return tuple(int(each) for each in self.split.split("/"))

    def outputs(self, chosen: Chosen) -> Iterator[Output | Failure]:
        """Return a folder of tiles per section."""
        for part in parts_of(chosen, self.downsample):
            if isinstance(part, Failure):
                yield part
                continue
            yield Output(
                name=f"{chosen.stem_of(part.image_id)}_tiles",
                item=f"image:{part.image_id}",
                view=chosen.view,
                content=chosen.content_of([part.image_id], "sections"),
                write=partial(self._write, chosen, part),
                working_bytes=picture_bytes(chosen.sections[part.image_id]),
            )

    def _write(self, chosen: Chosen, part: SectionPart, path: Path) -> Facts:
        if self.um is not None:
            part = _tier_for(chosen, part, self.um)
        picture = open_picture(chosen.stored.section(part.image_id), part)
        cut = _Cut(self, chosen, part, picture)
        n_tiles = 0
        with open_folder(path, self.pack) as put:
            for row, pixels in cut.tiles():
                data = self._encoded(pixels)
                put({**row, "sha256": hashlib.sha256(data).hexdigest()}, data)
                n_tiles += 1
        return {"n_tiles": n_tiles, "split": cut.split}

    def _encoded(self, pixels: NDArray[np.uint8]) -> bytes:
        if self.image == "jpeg":
            return encode(pixels, self.quality)
        data = io.BytesIO()
        Image.fromarray(pixels).save(data, format="PNG", compress_level=_PNG_LEVEL)
        return data.getvalue()

    def closing(self, folder: Path, made: Sequence[Made]) -> Iterable[Output]:
        """Return the table of all tiles, and a list of the tar files of each split."""
        lists = {f"tiles.{self.table}": partial(write_table, folder, made, self.table)}
        if self.pack == "webdataset":
            # all of them, so that none is left of other shares
            for split in SPLITS:
                of_it = [each for each in made if each.facts["split"] == split and each.facts["n_tiles"]]
                lists[f"{split}.txt"] = partial(write_list, of_it)
        return [Output(name, name, None, {}, write) for name, write in lists.items()]


class _Cut:
    """The tiles of one section: whole ones alone, from the corner of the part that is exported."""

    def __init__(self, options: Tiles, chosen: Chosen, part: SectionPart, picture: Picture) -> None:
        section = chosen.sections[part.image_id]
        self._options, self._part, self._picture = options, part, picture
        pitch_um = None if section.resolution_um is None else section.resolution_um * 2**part.tier
        self._step = (
            options.size if options.um is None else options.size * options.um / _known(pitch_um, part)
        )
        specimen_id = chosen.record.record.get("specimen_id")
        self.split = split_of(options, specimen_id or f"data set {chosen.data_set_id}")
        plane = chosen.record.plane
        self._facts = {
            "image_id": part.image_id,
            "data_set_id": chosen.data_set_id,
            "specimen_id": specimen_id,
            "genes": chosen.genes,
            "view": chosen.view,
            "plane": str(plane),
            "section_number": section.section_number,
            "split": self.split,
            "um": options.um or pitch_um,
            "reference_space_id": chosen.record.reference_space_id,
        }
        self._geometry = _placed(chosen, part.image_id)
        self._stem = f"{chosen.data_set_id}_{chosen.view}_{part.image_id}"

    def tiles(self) -> Iterator[tuple[dict[str, Any], NDArray[np.uint8]]]:
        """Yield the row and the pixels of each tile that shows enough tissue, row by row."""
        height, width = self._picture.shapes[0]
        background = background_of(self._picture)
        n_rows, n_columns = (int(side / self._step + 1e-9) for side in (height, width))
        for k in range(n_rows):
            for j in range(n_columns):
                pixels = self._pixels(k, j)
                tissue = tissue_in(pixels, background)
                if tissue >= self._options.min_tissue:
                    yield self._row(k, j, tissue), pixels

    def _pixels(self, k: int, j: int) -> NDArray[np.uint8]:
        size, step = self._options.size, self._step
        y, x = k * step, j * step
        height, width = self._picture.shapes[0]
        box = Box(int(y), int(x), min(height, int(np.ceil(y + step))), min(width, int(np.ceil(x + step))))
        pixels = self._picture.read(0, box)
        if box.shape == (size, size) and step == size:
            return pixels
        # exact to fractions of pixels, and a mean where pixels become fewer
        corners = (
            x - box.x0,
            y - box.y0,
            min(x - box.x0 + step, box.shape[1]),
            min(y - box.y0 + step, box.shape[0]),
        )
        small = Image.fromarray(pixels).resize((size, size), Image.Resampling.BILINEAR, box=corners)
        return np.asarray(small)

    def _row(self, k: int, j: int, tissue: float) -> dict[str, Any]:
        scale = 2**self._part.tier
        x = (self._part.box.x0 + j * self._step) * scale
        y = (self._part.box.y0 + k * self._step) * scale
        side = self._step * scale
        ending = "png" if self._options.image == "png" else "jpg"
        key = f"{self._stem}_{k:03d}_{j:03d}"
        row = {"key": key, "file": f"{key}.{ending}", **self._facts}
        row |= {"x": x, "y": y, "width": side, "height": side, "tissue": round(tissue, 4)}
        if self._geometry is not None:
            # pixel k is centred at k, so that the corner of a tile is half a pixel before
            around = np.array([[x, y], [x + side, y], [x, y + side], [x + side, y + side]]) - 0.5
            corners = self._geometry.image_to_reference(around)
            for axis, low, high in zip("pir", corners.min(axis=0), corners.max(axis=0), strict=True):
                row |= {f"{axis}0_um": round(float(low), 3), f"{axis}1_um": round(float(high), 3)}
        return row


def split_of(options: Tiles, specimen: int | str) -> str:
    """Return the split of a specimen, which its id and the seed decide alone."""
    digest = hashlib.sha256(f"{options.seed} {specimen}".encode()).digest()
    percentile = int.from_bytes(digest[:8]) * 100 / 2**64
    for split, end in zip(SPLITS, np.cumsum(options.shares).tolist(), strict=False):
        if percentile < end:
            return split
    raise AssertionError("the shares add up to 100")


def _tier_for(chosen: Chosen, part: SectionPart, um: float) -> SectionPart:
    """Return the part at the coarsest tier whose pixels do not exceed the pitch."""
    section = chosen.sections[part.image_id]
    resolution_um = _known(section.resolution_um, part)
    if resolution_um * 2**section.downsample > um * (1 + 1e-9):
        raise SelectionError(
            f"section {part.image_id} was fetched at {resolution_um * 2**section.downsample:g} µm per pixel; "
            f"{um:g} is finer; mirror it again with a smaller --downsample"
        )
    while resolution_um * 2 ** (part.tier + 1) <= um * (1 + 1e-9) and min(part.box.shape) > 1:
        part = SectionPart(part.image_id, part.tier + 1, Box(*(side // 2 for side in part.box)))
    return part


def _placed(chosen: Chosen, image_id: int) -> SectionGeometry | None:
    """Return where a section lies, None where that is not known."""
    try:
        geometry = chosen.stored.geometry(image_id)
        geometry.image_to_reference_matrix()
    except AlignmentError:
        return None
    return geometry


def _known(resolution_um: float | None, part: SectionPart) -> float:
    if resolution_um is None:
        raise SelectionError(f"section {part.image_id} has no known resolution; leave out --um")
    return resolution_um
