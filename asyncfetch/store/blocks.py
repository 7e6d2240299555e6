"""Volumes in cubic chunks: their metadata, their shards, and their levels.

Planes are read whole, so that they are kept in flat chunks; a volume is cut in all directions, so that its chunks are
cubes. Otherwise their format is that of `asyncfetch.store.shards`.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from asyncfetch.layout.paths import chunk_key
from asyncfetch.store.shards import encode_chunk, join_chunks, shard_problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from asyncfetch.settings import Codec
    from asyncfetch.store.objects import Place

__all__ = ["BLOCK", "BLOCK_SHARD", "BlockArray", "Region", "halve_block"]

#: Voxels a side of a chunk.
BLOCK = 64
#: (z, y, x) of a shard in voxels: as much as one thread holds at a time.
BLOCK_SHARD = (64, 256, 256)

type Shape3 = tuple[int, int, int]


class Region(NamedTuple):
    """A cuboid of voxels along z, y and x.

    Attributes
    ----------
    start, stop : tuple of int
        (z, y, x) of the first voxel, and of the one behind the last.
    """

    start: Shape3
    stop: Shape3

    @property
    def shape(self) -> Shape3:
        """(z, y, x) in voxels."""
        z, y, x = (end - begin for begin, end in zip(self.start, self.stop, strict=True))
        return z, y, x

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """The cuboid as an index of z, y and x."""
        z, y, x = (slice(begin, end) for begin, end in zip(self.start, self.stop, strict=True))
        return z, y, x

    def parts(self, steps: Shape3) -> Iterator[Region]:
        """Yield the parts of these sides, z slowest, the last ones cut off by the cuboid."""
        axes = [
            [(begin, min(begin + step, end)) for begin in range(start, end, step)]
            for start, end, step in zip(self.start, self.stop, steps, strict=True)
        ]
        for z, y, x in itertools.product(*axes):
            yield Region((z[0], y[0], x[0]), (z[1], y[1], x[1]))

    def scaled(self, factor: int) -> Region:
        """Return the same cuboid in voxels of 1 / factor the pitch."""
        z0, y0, x0 = (factor * begin for begin in self.start)
        z1, y1, x1 = (factor * end for end in self.stop)
        return Region((z0, y0, x0), (z1, y1, x1))

    def within(self, other: Region) -> Region:
        """Return the same cuboid counted from the first voxel of another."""
        z0, y0, x0 = (begin - origin for begin, origin in zip(self.start, other.start, strict=True))
        z1, y1, x1 = (end - origin for end, origin in zip(self.stop, other.start, strict=True))
        return Region((z0, y0, x0), (z1, y1, x1))


class BlockArray(NamedTuple):
    """An array that is written in whole shards of cubic chunks.

    Attributes
    ----------
    path : str
        Where it lies in the store.
    shape : tuple of int
        (z, y, x); there are `n_channels` before them.
    n_channels : int
        How many values a voxel has.
    codec : str
        The compressor.
    """

    path: str
    shape: Shape3
    n_channels: int
    codec: Codec

    def shards(self) -> Iterator[Region]:
        """Yield what the shards hold: z slowest, cut off by the end of the array."""
        return Region((0, 0, 0), self.shape).parts(BLOCK_SHARD)

    def holds(self, place: Place, region: Region) -> bool:
        """Tell whether a shard is there, and whole."""
        return self.problem(place, region) is None

    def problem(self, place: Place, region: Region) -> str | None:
        """Return what is wrong with a shard, None where nothing is."""
        n_chunks = math.prod(side // BLOCK for side in BLOCK_SHARD)
        return shard_problem(place, self.key(region), 16 * n_chunks + 4)

    def write(self, place: Place, region: Region, voxels: NDArray[np.uint8]) -> None:
        """Write one whole shard, even where all is empty: that it is there says that it was computed.

        Parameters
        ----------
        place : Place
            The store.
        region : Region
            One of `shards`.
        voxels : (z, y, x, c) array of uint8
            As large as the region.
        """
        n = tuple(side // BLOCK for side in BLOCK_SHARD)
        cubes = (_cube(voxels, place_in) for place_in in np.ndindex(n))
        encoded = (
            (k, piece)
            for k, cube in enumerate(cubes)
            if (piece := encode_chunk(cube, self.codec)) is not None
        )
        place.set_pieces(self.key(region), join_chunks(encoded, math.prod(n)), is_claim=True)

    def sweep(self, place: Place) -> None:
        """Remove the temporary files that a killed write left."""
        place.sweep(self.path)

    def key(self, region: Region) -> str:
        """Return the key of a shard."""
        z, y, x = (begin // step for begin, step in zip(region.start, BLOCK_SHARD, strict=True))
        return chunk_key(self.path, 0, z, y, x)


def halve_block(voxels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Average blocks of 2 x 2 x 2 voxels, rounding halves up; a last odd voxel is left out.

    Parameters
    ----------
    voxels : (z, y, x, c) array of uint8

    Returns
    -------
    (z // 2, y // 2, x // 2, c) array of uint8
    """
    z, y, x = (side // 2 * 2 for side in voxels.shape[:3])
    whole = voxels[:z, :y, :x]
    # one axis at a time keeps the sums short: at most 8 x 255, which uint16 holds
    total = whole[0::2].astype(np.uint16) + whole[1::2]
    total = total[:, 0::2] + total[:, 1::2]
    total = total[:, :, 0::2] + total[:, :, 1::2]
    return ((total + 4) >> 3).astype(np.uint8)


def _cube(voxels: NDArray[np.uint8], place_in: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return one contiguous chunk, filled up with zeros."""
    z, y, x = (BLOCK * k for k in place_in)
    part = voxels[z : z + BLOCK, y : y + BLOCK, x : x + BLOCK]
    if part.shape[:3] == (BLOCK,) * 3:
        return np.ascontiguousarray(part)
    chunk = np.zeros((BLOCK, BLOCK, BLOCK, voxels.shape[3]), dtype=np.uint8)
    chunk[tuple(slice(0, side) for side in part.shape[:3])] = part
    return chunk
