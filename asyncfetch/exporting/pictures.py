"""Sections as pictures in levels: read box by box from the stored levels, or decoded from the stored JPEG."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

import numpy as np
from PIL import Image

from asyncfetch.errors import SelectionError
from asyncfetch.failures import Failure
from asyncfetch.geometry import Box
from asyncfetch.imaging.jpeg import encode
from asyncfetch.imaging.pyramid import halve
from asyncfetch.layout.paths import level_shapes
from asyncfetch.planning.regions import aligned

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import zarr
    from numpy.typing import NDArray

    from asyncfetch.exporting.chosen import Chosen
    from asyncfetch.layout.commit import SectionSummary
    from asyncfetch.planning.region_of_space import Ranges
    from asyncfetch.store import StoredSection

__all__ = [
    "Picture",
    "SectionPart",
    "coarser",
    "halved_shape",
    "open_picture",
    "parts_of",
    "picture_bytes",
    "tier_of",
    "write_picture",
]

#: What reading box by box takes at a time: a shard and its decoded chunks.
_BLOCK_BYTES = 2**25
#: Half the time of Pillow's own 6, and files 3 % larger.
_PNG_LEVEL = 4


class SectionPart(NamedTuple):
    """The part of a section that is exported.

    Attributes
    ----------
    image_id : int
        The section.
    tier : int
        How many times it is halved from full resolution.
    box : Box
        The part, in pixels of that tier.
    """

    image_id: int
    tier: int
    box: Box


class Picture(Protocol):
    """One section at one tier, or a part of it, in levels that are halved from one to the next.

    Attributes
    ----------
    box : Box
        The part, in pixels of the whole section at that tier.
    shapes : tuple of tuple of int
        (y, x) of each level in pixels, the finest first.
    """

    box: Box
    shapes: tuple[tuple[int, int], ...]

    def read(self, level: int, box: Box) -> NDArray[np.uint8]:
        """Return the pixels (y, x, 3) of a box of a level, counted from the corner of the part."""
        ...


class _Stored:
    """A picture whose levels are stored."""

    def __init__(self, levels: Sequence[zarr.Array[Any]], box: Box) -> None:
        self.box = box
        self._levels = levels
        boxes = [_scaled(box, level) for level in range(len(levels))]
        self._boxes = [each for each in boxes if not each.is_empty]
        self.shapes = tuple(each.shape for each in self._boxes)

    def read(self, level: int, box: Box) -> NDArray[np.uint8]:
        origin = self._boxes[level]
        rows, columns = box.shift(origin.y0, origin.x0).slices
        planes = np.asarray(self._levels[level][:, 0, rows, columns])
        return np.ascontiguousarray(planes.transpose(1, 2, 0))


class _Decoded:
    """A picture whose pixels are in memory."""

    def __init__(self, pixels: NDArray[np.uint8], box: Box) -> None:
        self.box = box
        self._levels = [pixels[box.slices]]
        self.shapes = level_shapes(box.shape)

    def read(self, level: int, box: Box) -> NDArray[np.uint8]:
        while len(self._levels) <= level:
            self._levels.append(halve(np.ascontiguousarray(self._levels[-1])))
        return np.ascontiguousarray(self._levels[level][box.slices])


def tier_of(section: SectionSummary, downsample: int | None) -> int:
    """Return at which tier a section is exported.

    Raises
    ------
    SelectionError
        It was fetched coarser than that.
    """
    if downsample is None or downsample >= section.downsample:
        return section.downsample if downsample is None else downsample
    raise SelectionError(
        f"section {section.image_id} was fetched at downsample {section.downsample}; {downsample} is finer; "
        f"mirror it again with --downsample {downsample}"
    )


def halved_shape(section: SectionSummary, tier: int) -> tuple[int, int]:
    """Return (y, x) of a whole section at a tier, its own or a coarser one, in pixels."""
    n = tier - section.downsample
    height, width = section.shape
    return max(1, height >> n), max(1, width >> n)


def parts_of(chosen: Chosen, downsample: int | None) -> Iterator[SectionPart | Failure]:
    """Yield the parts of the sections that are meant; of a section that has none nothing, unless that is an error.

    Parameters
    ----------
    chosen : Chosen
        The sections, and the region.
    downsample : int or None
        The tier; None means each as it is stored.

    Raises
    ------
    SelectionError
        The region touches no section.
    """
    touches = False
    for image_id, section in chosen.sections.items():
        try:
            tier = tier_of(section, downsample)
            box = _box_of(chosen, image_id, tier)
        except SelectionError as error:
            touches = True
            yield Failure.of(f"image:{image_id}", error, chosen.view)
            continue
        if not box.is_empty:
            touches = True
            yield SectionPart(image_id, tier, box)
    if not touches:
        raise SelectionError(f"the region touches no section of data set {chosen.data_set_id}")


def _box_of(chosen: Chosen, image_id: int, tier: int) -> Box:
    """Return the part of a section that is meant, in pixels of a tier."""
    whole = Box.of_shape(halved_shape(chosen.sections[image_id], tier))
    ranges = chosen.ranges_in(chosen.record.reference_space_id)
    if ranges is None:
        return whole
    box = _seen_of(chosen, image_id, ranges, tier).intersect(whole)
    # so that levels, which are stored for the whole section, begin at whole pixels
    return box if box.is_empty else aligned(box, len(level_shapes(whole.shape)) - 1, whole.shape)


def coarser(section: SectionSummary, part: SectionPart) -> SectionPart:
    """Return a part of a section one tier coarser; an odd last row or column is left out."""
    whole = Box.of_shape(halved_shape(section, part.tier + 1))
    return SectionPart(part.image_id, part.tier + 1, Box(*(side // 2 for side in part.box)).intersect(whole))


def write_picture(path: Path, pixels: NDArray[np.uint8], kind: Literal["png", "jpeg"], quality: int) -> None:
    """Write pixels (y, x, 3) as a file that any program opens."""
    if kind == "jpeg":
        path.write_bytes(encode(pixels, quality))
    else:
        Image.fromarray(pixels).save(path, format="PNG", compress_level=_PNG_LEVEL)


def open_picture(stored: StoredSection, part: SectionPart) -> Picture:
    """Open a part of a section.

    Raises
    ------
    StoreError
        What is stored of it is damaged.
    """
    levels = stored.open_levels()[part.tier - stored.commit.downsample :]
    if levels:
        stored.check_levels()
        return _Stored(levels, part.box)
    return _Decoded(stored.pixels(part.tier), part.box)


def picture_bytes(section: SectionSummary) -> int:
    """Return the memory that a picture of a section takes: all of its pixels where only its JPEG is stored."""
    if "sections" in section.layers:
        return _BLOCK_BYTES
    height, width = section.shape
    return 4 * height * width


def _scaled(box: Box, level: int) -> Box:
    return Box(*(side >> level for side in box))


def _seen_of(chosen: Chosen, image_id: int, ranges: Ranges, tier: int) -> Box:
    """Return the pixels of a tier that a part of the reference space sees, the empty box where it sees none."""
    geometry, plane = chosen.stored.geometry(image_id), chosen.record.plane
    equation = geometry.plane_equation()
    across = plane.slice_axis
    corners = np.array(
        [
            [ranges[axis][k >> bit & 1] for bit, axis in enumerate(range(3))]
            for k in range(8)
            if k >> across & 1 == 0
        ]
    )
    others = [axis for axis in range(3) if axis != across]
    corners[:, across] = -(corners[:, others] @ equation[others] + equation[3]) / equation[across]
    low, high = ranges[across]
    if corners[:, across].max() < low or corners[:, across].min() > high:
        return Box(0, 0, 0, 0)
    x, y = ((geometry.reference_to_image(corners) + 0.5) / 2**tier).T
    return Box(
        max(0, math.floor(y.min())),
        max(0, math.floor(x.min())),
        max(0, math.ceil(y.max())),
        max(0, math.ceil(x.max())),
    )
