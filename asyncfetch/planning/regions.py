"""Regions of a section, and the boxes in which they are asked for. Pure.

A box is asked for by its corner in full-resolution pixels and its size in pixels of the tier (IMG-1), so
that boxes of a tier begin at whole pixels of it. The server encodes each box as a JPEG of its own: at the borders of a
box pixels differ by some grey levels from those of the whole image. Boxes are cut at multiples of their side, not of
what is written from them, so that the pixels do not depend on how the work goes.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec

from asyncfetch.geometry import Box, tiles_of

if TYPE_CHECKING:
    from asyncfetch.allen import ImageRequest

__all__ = [
    "aligned",
    "block_side",
    "blocks_of",
    "box_request",
    "full_box",
    "hull",
    "is_box_shape",
    "tier_box",
]

# JPEGs with 4:2:0 are coded in squares of 16 pixels.
_LEAST_ALIGNMENT = 16
_MAX_SIDE = 4096
# No less than a shard of the store, or shards would have to be put together from several boxes.
_LEAST_SIDE = 2048
# Boxes that fit into the budget side by side: four on their way, and what waits of them.
_MAX_BOXES = 12

#: A box in full-resolution pixels as commits name it: x, y, width, height.
type FullBox = tuple[int, int, int, int]


def block_side(memory_bytes: int) -> int:
    """Return the side of the boxes in which an image is asked for, in pixels of the tier."""
    side = _MAX_SIDE
    while side > _LEAST_SIDE and 3 * side * side * _MAX_BOXES > memory_bytes:
        side //= 2
    return side


def blocks_of(region: Box, side: int) -> tuple[Box, ...]:
    """Cut a region at the multiples of a side, row by row."""
    tiles = tiles_of((region.y1, region.x1), side)
    cut = (tile.intersect(region) for tile in tiles)
    return tuple(block for block in cut if not block.is_empty)


def aligned(region: Box, n_halvings: int, shape: tuple[int, int]) -> Box:
    """Return a region made larger, so that it begins and ends where JPEGs and their halved pixels do."""
    step = max(_LEAST_ALIGNMENT, 2**n_halvings)
    return Box(
        region.y0 // step * step,
        region.x0 // step * step,
        -(-region.y1 // step) * step,
        -(-region.x1 // step) * step,
    ).intersect(Box.of_shape(shape))


def tier_box(full: FullBox, downsample: int, shape: tuple[int, int]) -> Box:
    """Return the pixels of a tier, of that shape, that a box of full-resolution pixels touches."""
    x, y, width, height = full
    size = 2**downsample
    return Box(y // size, x // size, math.ceil((y + height) / size), math.ceil((x + width) / size)).intersect(
        Box.of_shape(shape)
    )


def full_box(box: Box, downsample: int) -> FullBox:
    """Return the full-resolution pixels, (x, y, width, height), that pixels of a tier cover."""
    height, width = box.shape
    return (box.x0 << downsample, box.y0 << downsample, width << downsample, height << downsample)


def is_box_shape(shape: tuple[int, int], box: Box, downsample: int) -> bool:
    """Tell whether an image of a shape is a box of a tier, which is a pixel off where its ends were rounded (IMG-2)."""
    slack = 1 if downsample else 0
    return all(side > 0 and abs(side - asked) <= slack for side, asked in zip(shape, box.shape, strict=True))


def hull(first: Box, second: Box) -> Box:
    """Return the smallest box that holds both."""
    return Box(
        min(first.y0, second.y0), min(first.x0, second.x0), max(first.y1, second.y1), max(first.x1, second.x1)
    )


def box_request(request: ImageRequest, box: Box, downsample: int, origin: tuple[int, int]) -> ImageRequest:
    """Ask for a box of what a request asks for.

    Parameters
    ----------
    request : ImageRequest
        For the whole section.
    box : Box
        In pixels of the tier.
    downsample : int
        The tier.
    origin : tuple of int
        (x, y) of the section on its slide, in full-resolution pixels.
    """
    left, top, _, _ = full_box(box, downsample)
    height, width = box.shape
    return msgspec.structs.replace(
        request,
        downsample=downsample or None,
        left=origin[0] + left,
        top=origin[1] + top,
        width=width,
        height=height,
    )
