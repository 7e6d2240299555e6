"""Where layers go: what makes pixels knows nothing else of a store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    import numpy as np
    from numpy.typing import NDArray

    from asyncfetch.layout.commit import Commit
    from asyncfetch.settings import Codec, Layer

__all__ = ["Chunk", "LevelSink", "Sink"]

#: Row and column of a chunk in its shard, and its (512, 512, 3) pixels.
type Chunk = tuple[int, int, NDArray[np.uint8]]


class LevelSink(Protocol):
    """The levels of one section, to be written shard by shard."""

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """(y, x) of each level in pixels, the finest first."""
        ...

    def shard_shape(self, level: int) -> tuple[int, int]:
        """Return (y, x) of the shards of a level."""
        ...

    def write_shard(self, level: int, origin: tuple[int, int], chunks: Iterable[Chunk]) -> None:
        """Write one shard of a level, whose corner is at `origin`, from its chunks."""
        ...


class Sink(Protocol):
    """One view of a data set, to be written; a store gives one for each, as `asyncfetch.store.ViewWriter`."""

    def begin_section(self, image_id: int, *, keep: Collection[Layer] = ()) -> None:
        """Take a section's commit away, and remove all layers but those that are kept."""
        ...

    def write_source(self, image_id: int, jpeg: bytes) -> None:
        """Write the server's JPEG."""
        ...

    def create_levels(
        self,
        image_id: int,
        shape: tuple[int, int],
        *,
        codec: Codec,
        downsample: int,
        resolution_um: float | None,
    ) -> LevelSink:
        """Make the levels of a section, without pixels."""
        ...

    def write_registered_shard(self, z: int, origin: tuple[int, int], chunks: Iterable[Chunk]) -> None:
        """Write one shard of a registered plane from its chunks."""
        ...

    def commit(self, commit: Commit) -> None:
        """Make a section exist, last of all."""
        ...
