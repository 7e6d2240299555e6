"""Integer boxes of pixels: cutting a plane into tiles, and what a tile sees of the source."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from asyncfetch.errors import SelectionError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asyncfetch.geometry.affine import Affine2D

__all__ = ["Box", "source_box", "tiles_of"]

# Room for a sampler that computes positions in its own way: ten times the 1e-3 px that a warp may be off.
_POSITION_SLACK_PX = 0.01


class Box(NamedTuple):
    """A rectangle of pixels: rows y0 … y1 - 1, columns x0 … x1 - 1."""

    y0: int
    x0: int
    y1: int
    x1: int

    @classmethod
    def of_shape(cls, shape: tuple[int, int]) -> Box:
        """Return the box of a whole plane of ``shape`` rows and columns."""
        return cls(0, 0, shape[0], shape[1])

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns; 0 where a side has none."""
        return max(self.y1 - self.y0, 0), max(self.x1 - self.x0, 0)

    @property
    def is_empty(self) -> bool:
        """Whether the box holds no pixel."""
        return self.y1 <= self.y0 or self.x1 <= self.x0

    @property
    def slices(self) -> tuple[slice, slice]:
        """The box as an index of rows and columns, for boxes that start at 0 or above."""
        return slice(self.y0, self.y1), slice(self.x0, self.x1)

    def intersect(self, other: Box) -> Box:
        """Return the pixels that both boxes hold; the canonical empty box where there are none."""
        y0, x0 = max(self.y0, other.y0), max(self.x0, other.x0)
        y1, x1 = min(self.y1, other.y1), min(self.x1, other.x1)
        return Box(y0, x0, y1, x1) if y0 < y1 and x0 < x1 else _EMPTY

    def shift(self, dy: int, dx: int) -> Box:
        """Return the box moved by whole pixels."""
        return Box(self.y0 + dy, self.x0 + dx, self.y1 + dy, self.x1 + dx)


_EMPTY = Box(0, 0, 0, 0)


def tiles_of(shape: tuple[int, int], tile: int | tuple[int, int]) -> Iterator[Box]:
    """Yield the tiles of a plane: aligned to multiples of the tile, row by row, clipped at the end.

    Parameters
    ----------
    shape : (height, width)
        Size of the plane in pixels.
    tile : int or (height, width)
        Size of a tile in pixels.

    Raises
    ------
    SelectionError
        A side of the tile is below 1.
    """
    tile_height, tile_width = (tile, tile) if isinstance(tile, int) else tile
    if tile_height < 1 or tile_width < 1:
        raise SelectionError(f"a tile has at least one pixel, not {tile_height} x {tile_width}")
    height, width = shape
    for y0 in range(0, height, tile_height):
        for x0 in range(0, width, tile_width):
            yield Box(y0, x0, min(y0 + tile_height, height), min(x0 + tile_width, width))


def source_box(grid_to_source: Affine2D, tile: Box, margin: int, source_shape: tuple[int, int]) -> Box:
    """Return the source pixels that sampling a tile can touch.

    A position s between pixels floor(s) and floor(s) + 1 touches those two and ``margin`` more on either
    side. The box has room for positions that a sampler computes up to 0.01 px off.

    Parameters
    ----------
    grid_to_source : Affine2D
        Pixel centres of the grid to pixel centres of the source.
    tile : Box
        Pixels of the grid.
    margin : int
        0 for nearest and linear sampling, 1 for cubic, 3 for Lanczos over 8 x 8.
    source_shape : (height, width)
        Size of the source in pixels.

    Returns
    -------
    Box
        Clipped to the source; empty where the tile sees nothing of it.
    """
    if tile.is_empty:
        return _EMPTY
    # An affine map takes the tile to a parallelogram, where each term of a sum is extreme at one end of its axis. Plain
    # floats: a plane asks this for hundreds of blocks, and small arrays would take ten times as long.
    height, width = source_shape
    row_x, row_y = grid_to_source.matrix.tolist()
    x0, x1 = _touched(row_x, tile, margin, width)
    y0, y1 = _touched(row_y, tile, margin, height)
    return Box(y0, x0, y1, x1).intersect(Box.of_shape(source_shape))


def _touched(row: tuple[float, float, float], tile: Box, margin: int, size: int) -> tuple[int, int]:
    """Return the first pixel along an axis of the source that a tile touches, and the one behind the last."""
    a, b, c = row
    along_x, along_y = (a * tile.x0, a * (tile.x1 - 1)), (b * tile.y0, b * (tile.y1 - 1))
    low = min(along_x) + min(along_y) + c - _POSITION_SLACK_PX
    high = max(along_x) + max(along_y) + c + _POSITION_SLACK_PX
    limit = size + margin + 2
    return _floor(low, limit) - margin, _floor(high, limit) + margin + 2


def _floor(position: float, limit: int) -> int:
    """Round down; positions far beyond any image, infinite ones too, are as good as the limit."""
    return math.floor(min(max(position, -limit), limit))
