"""The registered plane of one section: each shard warped and written as soon as its sources exist."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from asyncfetch.geometry import Box, tiles_of
from asyncfetch.layout.paths import plane_chunking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from asyncfetch.imaging import Buffers, Jobs, PlaneWarp
    from asyncfetch.layers.pixels import Pixels
    from asyncfetch.layers.sink import Chunk

    type WriteShard = Callable[[tuple[int, int], Iterable[Chunk]], None]

__all__ = ["PlaneJobs"]


class PlaneJobs:
    """The jobs that write one registered plane.

    A shard needs those of the `Pixels` that its samples touch. One that touches none is not made at all: it reads
    as the fill.

    Parameters
    ----------
    jobs : Jobs
        Where the jobs go.
    buffers : Buffers
        Lends what is put together from several sources.
    warp : PlaneWarp
        From the image to the grid.
    shape : tuple of int
        (y, x) of the grid.
    sources : sequence of Pixels
        Boxes of the image that together hold what is wanted.
    write : callable
        Takes the corner of a shard, (y, x) on the grid, and its chunks.
    wanted : Box, optional
        The part of the grid that is made; by default all of it.
    fill : int
        Grey level beside the image.
    """

    def __init__(
        self,
        jobs: Jobs,
        buffers: Buffers,
        warp: PlaneWarp,
        shape: tuple[int, int],
        sources: Sequence[Pixels],
        write: WriteShard,
        *,
        wanted: Box | None = None,
        fill: int = 0,
    ) -> None:
        self._buffers = buffers
        self._warp = warp
        self._write = write
        self._wanted = Box.of_shape(shape) if wanted is None else wanted
        self._chunking = plane_chunking(shape)
        self._fill = fill
        #: How many shards there are to make.
        self.n_shards = 0
        for shard in tiles_of(shape, self._chunking.shard):
            part = shard.intersect(self._wanted)
            seen = warp.source_of(part)
            if seen.is_empty:
                continue
            needs = [each for each in sources if not each.box.intersect(seen).is_empty]
            for each in needs:
                each.expect()
            self.n_shards += 1
            jobs.add(("plane", shard), partial(self._make, shard, seen, needs), needs)

    def _make(self, shard: Box, seen: Box, sources: list[Pixels]) -> None:
        corner = (shard.y0, shard.x0)
        if len(sources) == 1:
            (source,) = sources
            origin = (source.box.y0, source.box.x0)
            self._write(corner, self._chunks(shard, source.array, origin))
        else:
            pixels, buffer = self._buffers.take_image(seen.shape)
            for source in sources:
                part = source.box.intersect(seen)
                inner = source.array[part.shift(-source.box.y0, -source.box.x0).slices]
                pixels[part.shift(-seen.y0, -seen.x0).slices] = inner
            self._write(corner, self._chunks(shard, pixels, (seen.y0, seen.x0)))
            self._buffers.give(buffer)
        for source in sources:
            source.release()

    def _chunks(self, shard: Box, pixels: NDArray[np.uint8], origin: tuple[int, int]) -> Iterator[Chunk]:
        height, width = self._chunking.chunk
        chunk = np.empty((height, width, 3), dtype=np.uint8)
        for row, column in np.ndindex(*self._chunking.grid):
            top, left = shard.y0 + row * height, shard.x0 + column * width
            box = Box(top, left, top + height, left + width).intersect(shard).intersect(self._wanted)
            if box.is_empty or self._warp.sees_nothing(box):
                continue
            if box.shape != (height, width):
                chunk[...] = self._fill
            inner = chunk[box.shift(-top, -left).slices]
            self._warp.render(pixels, origin=origin, box=box, out=inner)
            yield row, column, chunk
