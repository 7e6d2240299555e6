"""Voxels between tilted planes: the linear mean of the two planes that enclose each, or the nearer of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["SeenPlane", "fill_between"]

#: How far a plane reaches where nothing encloses a voxel, in slices: it fills the voxel that it passes.
_REACH = 0.5


@dataclass(frozen=True, eq=False)
class SeenPlane:
    """A part of one plane.

    Attributes
    ----------
    pixels : (y, x, c) array of uint8
        What the plane shows.
    is_seen : (y, x) array of bool
        Where its image reaches; elsewhere the pixels mean nothing.
    depth : (y, x) array of float64
        The fractional slice that the plane passes there.
    """

    pixels: NDArray[np.uint8]
    is_seen: NDArray[np.bool_]
    depth: NDArray[np.float64]


def fill_between(
    planes: Sequence[SeenPlane],
    is_bridged: Sequence[bool],
    first: int,
    out: NDArray[np.uint8],
    *,
    mixes: bool = True,
) -> None:
    """Fill the voxels between planes, each from the two planes that enclose it on its line across them.

    A voxel is left as it is where one of the two is not seen, where the gap between them is not bridged, and before the
    first and behind the last plane, but for the one voxel that a plane passes. Every voxel is computed for itself, so
    that the result does not depend on how a volume is cut up.

    Parameters
    ----------
    planes : sequence of SeenPlane
        In the order of their depths, which is the same everywhere: the planes do not cross.
    is_bridged : sequence of bool
        For each plane but the last, whether the gap to the next is filled.
    first : int
        The slice that ``out`` begins with.
    out : (slice, y, x, c) array of uint8
        Receives the result.
    mixes : bool
        Mix the two planes, linearly; otherwise take the nearer, where values are codes.
    """
    for k, plane in enumerate(planes):
        if not (k and is_bridged[k - 1]):
            _put_plane(plane, plane.depth - _REACH, plane.depth, first, out)
        if not (k < len(planes) - 1 and is_bridged[k]):
            _put_plane(plane, plane.depth, plane.depth + _REACH, first, out)
    for before, behind, bridged in zip(planes, planes[1:], is_bridged, strict=False):
        if bridged:
            _fill_gap(before, behind, first, out, mixes=mixes)


def _put_plane(
    plane: SeenPlane,
    start: NDArray[np.float64],
    end: NDArray[np.float64],
    first: int,
    out: NDArray[np.uint8],
) -> None:
    for index in _slices(start, end, first, len(out)):
        here = (start <= index) & (index < end) & plane.is_seen
        np.copyto(out[index - first], plane.pixels, where=here[..., np.newaxis])


def _fill_gap(
    before: SeenPlane, behind: SeenPlane, first: int, out: NDArray[np.uint8], *, mixes: bool
) -> None:
    slices = _slices(before.depth, behind.depth, first, len(out))
    is_seen = before.is_seen & behind.is_seen
    if not slices or not is_seen.any():
        return
    # colours apart: NumPy broadcasts the shares three times faster along rows than along three colours
    start = np.ascontiguousarray(np.moveaxis(before.pixels, -1, 0), dtype=np.float32)
    change = np.moveaxis(behind.pixels, -1, 0) - start
    # half a level, so that cutting off the fraction rounds
    start += np.float32(0.5)
    per_slice = 1.0 / (behind.depth - before.depth)
    for index in slices:
        inside = (before.depth <= index) & (index < behind.depth) & is_seen
        found = np.flatnonzero(inside.any(axis=1))
        if not len(found):
            continue
        # of a tilted gap a slice sees but some rows
        rows = slice(found[0], found[-1] + 1)
        here = inside[rows]
        share = ((index - before.depth[rows]) * per_slice[rows]).astype(np.float32)
        target = np.moveaxis(out[index - first, rows], -1, 0)
        if mixes:
            values = change[:, rows] * share
            values += start[:, rows]
            np.copyto(target, values.astype(np.uint8), where=here)
        else:
            is_before = share < 0.5
            np.copyto(target, np.moveaxis(before.pixels[rows], -1, 0), where=here & is_before)
            np.copyto(target, np.moveaxis(behind.pixels[rows], -1, 0), where=here & ~is_before)


def _slices(start: NDArray[np.float64], end: NDArray[np.float64], first: int, n: int) -> range:
    """Return the slices that lie between two surfaces somewhere."""
    low, high = math.ceil(start.min()), math.floor(end.max())
    return range(max(low, first), min(high + 1, first + n))
