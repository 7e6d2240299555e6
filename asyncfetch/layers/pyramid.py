"""The levels of one section: each shard written, and halved into the next level, as soon as its pixels exist."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from asyncfetch.geometry import Box, tiles_of
from asyncfetch.imaging import halve
from asyncfetch.layout.paths import CHUNK

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from asyncfetch.imaging import Buffers, Jobs
    from asyncfetch.layers.pixels import Pixels
    from asyncfetch.layers.sink import Chunk, LevelSink

__all__ = ["LevelJobs"]


class LevelJobs:
    """The jobs that write all levels of a section.

    A level's shard is there when the four of the finer level that it is made of are written; only it is held in
    memory between them, never a whole level.

    Parameters
    ----------
    jobs : Jobs
        Where the jobs go. A job of the finest level needs the `Pixels` that hold it.
    buffers : Buffers
        Lends the shards that wait to be complete.
    levels : LevelSink
        What is written to.
    sources : sequence of Pixels
        Boxes of the finest level, none of which cuts a shard but at the borders of what is stored.
    """

    def __init__(self, jobs: Jobs, buffers: Buffers, levels: LevelSink, sources: Sequence[Pixels]) -> None:
        self._buffers = buffers
        self._levels = levels
        self._parts: dict[tuple[int, Box], tuple[NDArray[np.uint8], NDArray[np.uint8]]] = {}
        self._lock = threading.Lock()
        self._stored = [_hull([source.box for source in sources])]
        while len(self._stored) < len(levels.shapes):
            self._stored.append(_halved(self._stored[-1]))
        finer: list[Box] = []
        for level in range(len(levels.shapes)):
            shards = self._shards(level)
            for shard in shards:
                if level == 0:
                    self._add_finest(jobs, shard, sources)
                else:
                    needs = [(level - 1, each) for each in finer if self._parent(level - 1, each) == shard]
                    jobs.add((level, shard), partial(self._write, level, shard), needs)
            finer = shards

    def _add_finest(self, jobs: Jobs, shard: Box, sources: Sequence[Pixels]) -> None:
        source = next(each for each in sources if shard.intersect(each.box) == shard)
        source.expect()
        jobs.add((0, shard), partial(self._write_finest, shard, source), [source])

    def _shards(self, level: int) -> list[Box]:
        """Return the shards of a level, cut to what is stored of it."""
        tiles = tiles_of(self._levels.shapes[level], self._levels.shard_shape(level))
        cut = (tile.intersect(self._stored[level]) for tile in tiles)
        return [shard for shard in cut if not shard.is_empty]

    def _parent(self, level: int, shard: Box) -> Box | None:
        """Return the shard of the next level that one is halved into, as `_shards` gives it."""
        if level + 1 == len(self._levels.shapes):
            return None
        half = _halved(shard)
        if half.is_empty:
            return None
        side_y, side_x = self._levels.shard_shape(level + 1)
        top, left = half.y0 // side_y * side_y, half.x0 // side_x * side_x
        return Box(top, left, top + side_y, left + side_x).intersect(self._stored[level + 1])

    def _write_finest(self, shard: Box, source: Pixels) -> None:
        inner = shard.shift(-source.box.y0, -source.box.x0)
        self._write_pixels(0, shard, source.array[inner.slices])
        source.release()

    def _write(self, level: int, shard: Box) -> None:
        with self._lock:
            pixels, buffer = self._parts.pop((level, shard))
        self._write_pixels(level, shard, pixels)
        self._buffers.give(buffer)

    def _write_pixels(self, level: int, shard: Box, pixels: NDArray[np.uint8]) -> None:
        side_y, side_x = self._levels.shard_shape(level)
        corner = (shard.y0 // side_y * side_y, shard.x0 // side_x * side_x)
        self._levels.write_shard(level, corner, self._chunks(level, shard, corner, pixels))

    def _chunks(
        self, level: int, shard: Box, corner: tuple[int, int], pixels: NDArray[np.uint8]
    ) -> Iterator[Chunk]:
        """Yield the chunks of a shard, each halved into the next level while it is in the cache."""
        parent = self._parent(level, shard)
        part = None if parent is None else self._part(level + 1, parent)
        chunk = np.zeros((CHUNK, CHUNK, 3), dtype=np.uint8)
        for row, column in np.ndindex(*(side // CHUNK for side in self._levels.shard_shape(level))):
            top, left = corner[0] + row * CHUNK, corner[1] + column * CHUNK
            box = Box(top, left, top + CHUNK, left + CHUNK).intersect(shard)
            if box.is_empty:
                continue
            if box.shape != (CHUNK, CHUNK):
                chunk[...] = 0
            inner = chunk[box.shift(-top, -left).slices]
            inner[...] = pixels[box.shift(-shard.y0, -shard.x0).slices]
            half = _halved(box)
            if part is not None and parent is not None and not half.is_empty:
                whole = Box(2 * half.y0, 2 * half.x0, 2 * half.y1, 2 * half.x1)
                target = part[half.shift(-parent.y0, -parent.x0).slices]
                halve(chunk[whole.shift(-top, -left).slices], target)
            yield row, column, chunk

    def _part(self, level: int, shard: Box) -> NDArray[np.uint8]:
        with self._lock:
            if (level, shard) not in self._parts:
                self._parts[level, shard] = self._buffers.take_image(shard.shape)
            return self._parts[level, shard][0]


def _hull(boxes: Sequence[Box]) -> Box:
    return Box(
        min(box.y0 for box in boxes),
        min(box.x0 for box in boxes),
        max(box.y1 for box in boxes),
        max(box.x1 for box in boxes),
    )


def _halved(box: Box) -> Box:
    """Return the pixels of the next level all four sources of which lie in a box."""
    half = Box((box.y0 + 1) // 2, (box.x0 + 1) // 2, box.y1 // 2, box.x1 // 2)
    return Box(0, 0, 0, 0) if half.is_empty else half
