"""The levels of one section, written shard by shard."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from asyncfetch.layout.commit import Objects
from asyncfetch.store.shards import ImageArray, write_shard

if TYPE_CHECKING:
    from collections.abc import Iterable

    from asyncfetch.store.objects import Place
    from asyncfetch.store.shards import Chunk

__all__ = ["SectionLevels"]


class SectionLevels:
    """The levels of one section, to be written shard by shard; made by `ViewWriter.create_levels`.

    Attributes
    ----------
    shapes : tuple of tuple of int
        (y, x) of each level in pixels, the finest first.
    """

    def __init__(
        self, place: Place, arrays: tuple[ImageArray, ...], shapes: tuple[tuple[int, int], ...]
    ) -> None:
        self._place = place
        self._arrays = arrays
        self.shapes = shapes
        self._lock = threading.Lock()
        self._objects = Objects()

    @property
    def objects(self) -> Objects:
        """What is stored so far."""
        return self._objects

    def shard_shape(self, level: int) -> tuple[int, int]:
        """Return (y, x) of the shards of a level; those at the end are cut off by the image."""
        return self._arrays[level].chunking.shard

    def write_shard(self, level: int, origin: tuple[int, int], chunks: Iterable[Chunk]) -> None:
        """Write one shard of a level, whose corner is at `origin`, from its chunks."""
        stored = write_shard(self._place, self._arrays[level], 0, origin, chunks)
        with self._lock:
            self._objects += stored
