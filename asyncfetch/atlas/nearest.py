"""The nearest section of each point, and the position on it: the inner loop of the services. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

import numpy as np

from asyncfetch.atlas.positions import NO_ID

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Buffers", "Target", "Ties", "locate", "map_points"]

type Floats = NDArray[np.float64]
type Ids = NDArray[np.int64]
type Ties = Literal["lower", "higher"]

# Points at a time: the buffers of a block, 13 float64 a point, stay within a core's cache of a few MB. Of blocks of
# 4 096 to 65 536 points the speed differs by a fifth, with the best between 16 384 and 65 536.
BLOCK = 32_768
# Section numbers lie within a few hundred; a table of more halves than this is not worth its memory.
_MAX_HALVES = 2**20


@dataclass(frozen=True, eq=False)
class Target:
    """One data set as something to find positions in.

    Attributes
    ----------
    trv : (3, 4) array of float64
        Reference to volume, in µm.
    thickness_um : float
        What one section number is worth.
    image_ids, numbers : (n,) array of int64
        The candidates, in ascending order of their numbers, which differ; at least one.
    tvs : (6, n) array of float64
        Their maps from volume to image, one row a number of the matrix (row by row), one column a section.
    ties : {"lower", "higher"}
        Which number is taken for a point in the middle between two.
    """

    trv: Floats
    thickness_um: float
    image_ids: Ids
    numbers: Ids
    tvs: Floats
    ties: Ties
    _first: int
    _table: NDArray[np.intp] | None

    @classmethod
    def of(
        cls, trv: Floats, thickness_um: float, image_ids: Ids, numbers: Ids, tvs: Floats, ties: Ties
    ) -> Self:
        """Build the target; ``tvs`` comes as (n, 2, 3).

        Section numbers are integers, so that the middle between two is a whole number of halves, and which section
        is nearest depends on the half alone in which a point lies: a table of halves answers faster than a search.
        """
        sums = numbers[1:] + numbers[:-1]
        first = int(sums[0]) - 1 if len(sums) else 0
        last = int(sums[-1]) + 1 if len(sums) else 0
        table = None
        if last - first < _MAX_HALVES:
            # how many middles lie below a half, or at it when the higher number wins there
            side: Literal["left", "right"] = "left" if ties == "lower" else "right"
            table = np.searchsorted(sums, np.arange(first, last + 1), side=side).astype(np.intp)
        columns = np.ascontiguousarray(tvs.reshape(-1, 6).T)
        return cls(trv, thickness_um, image_ids, numbers, columns, ties, first, table)

    def nearest(self, z_um: Floats, index: NDArray[np.intp]) -> None:
        """Write the index of the section that is nearest to each depth.

        Parameters
        ----------
        z_um : (n,) array of float64
            Depths in the volume, finite; they are overwritten.
        index : (n,) array of intp
            Where to write.
        """
        z_um /= self.thickness_um
        if self._table is None:
            middles = (self.numbers[1:] + self.numbers[:-1]) / 2
            index[...] = np.searchsorted(middles, z_um, side="left" if self.ties == "lower" else "right")
            return
        z_um *= 2
        (np.ceil if self.ties == "lower" else np.floor)(z_um, out=z_um)
        z_um -= self._first
        np.clip(z_um, 0, len(self._table) - 1, out=z_um)
        index[...] = z_um
        np.take(self._table, index, out=index, mode="clip")


class Buffers:
    """Arrays that a block needs, used again for the next."""

    def __init__(self, n: int) -> None:
        n = min(n, BLOCK)
        self.volume = np.empty((3, n))
        self.matrices = np.empty((6, n))
        self.index = np.empty(n, dtype=np.intp)


def map_points(matrix: Floats, points: Floats, out: Floats) -> None:
    """Apply an affine map to points, block by block.

    Parameters
    ----------
    matrix : (m, d + 1) array of float64
        The map; its last column is the translation.
    points : (n, d) array of float64
    out : (n, m) array of float64
        Where to write.
    """
    linear, offset = np.ascontiguousarray(matrix[:, :-1].T), matrix[:, -1]
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, len(points), BLOCK):
            block = out[start : start + BLOCK]
            np.matmul(points[start : start + BLOCK], linear, out=block)
            block += offset


def locate(
    points: Floats,
    to_volume: Floats,
    target: Target,
    buffers: Buffers,
    image_id: Ids,
    number: Ids,
    xy: Floats,
) -> None:
    """Write the nearest section of each point and the position on it, block by block.

    Parameters
    ----------
    points : (n, d) array of float64
    to_volume : (3, d + 1) array of float64
        Takes (point, 1) to the volume of the target, in µm.
    target : Target
    buffers : Buffers
        For at least as many points as a block has.
    image_id, number : (n,) array of int64
        Where to write the sections; -1 for a point that is not finite.
    xy : (n, 2) array of float64
        Where to write the positions; NaN for a point that is not finite.
    """
    linear, offset = to_volume[:, :-1], to_volume[:, -1:]
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, len(points), BLOCK):
            block = slice(start, min(start + BLOCK, len(points)))
            n = block.stop - start
            volume, matrices, index = buffers.volume[:, :n], buffers.matrices[:, :n], buffers.index[:n]
            np.matmul(linear, points[block].T, out=volume)
            volume += offset
            is_lost = None
            if not np.isfinite(volume).all():
                is_lost = ~np.isfinite(volume).all(axis=0)
                volume[:, is_lost] = 0
            target.nearest(volume[2], index)
            np.take(target.tvs, index, axis=1, out=matrices, mode="clip")
            for axis in (0, 1):
                along_x, along_y, shift = matrices[3 * axis : 3 * axis + 3]
                along_x *= volume[0]
                along_y *= volume[1]
                along_x += along_y
                np.add(along_x, shift, out=xy[block, axis])
            image_id[block] = target.image_ids[index]
            number[block] = target.numbers[index]
            if is_lost is not None:
                image_id[block][is_lost] = NO_ID
                number[block][is_lost] = NO_ID
                xy[block][is_lost] = np.nan
