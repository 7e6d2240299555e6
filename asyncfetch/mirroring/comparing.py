"""Layers made again and held against what is stored: the sink of a verification, which writes nothing."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from asyncfetch.errors import StoreItemError
from asyncfetch.geometry import Box
from asyncfetch.layout.paths import (
    Chunking,
    level_chunking,
    level_shapes,
    plane_chunking,
    planes_path,
    section_path,
)
from asyncfetch.store import Problem
from asyncfetch.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from typing import Any

    import zarr
    from numpy.typing import NDArray

    from asyncfetch.layers.sink import Chunk
    from asyncfetch.settings import Codec, Layer
    from asyncfetch.store import Commit, StoredDataSet

__all__ = ["ComparingLevels", "ComparingSink"]

#: The mean difference, in grey levels, beyond which pixels made by another version are other pixels: libraries may
#: round otherwise.
_ROUNDING = 1.0


class ComparingSink:
    """A view whose stored layers are compared with what is written to it; it is the `Sink` of one section.

    Parameters
    ----------
    view : StoredDataSet
        The view.
    commit : Commit
        What the store says of the section.

    Attributes
    ----------
    problems : list of Problem
        What differs.
    made : Commit or None
        What the store would say of the section.
    """

    def __init__(self, view: StoredDataSet, commit: Commit) -> None:
        self.problems: list[Problem] = []
        self.made: Commit | None = None
        self._view = view
        self._commit = commit
        self._levels: ComparingLevels | None = None
        self._plane: _Compared | None = None

    def begin_section(self, image_id: int, *, keep: Collection[Layer] = ()) -> None:
        """Do nothing: whatever is stored stays."""

    def write_source(self, image_id: int, jpeg: bytes) -> None:
        """Do nothing: its digest was compared."""

    def create_levels(
        self,
        image_id: int,
        shape: tuple[int, int],
        *,
        codec: Codec,
        downsample: int,
        resolution_um: float | None,
    ) -> ComparingLevels:
        """Return what compares the levels of the section."""
        self._levels = ComparingLevels(self._view, self._commit)
        return self._levels

    def write_registered_shard(self, z: int, origin: tuple[int, int], chunks: Iterable[Chunk]) -> None:
        """Compare one shard of the plane."""
        if self._plane is None:
            layout = self._view.read_registered_layout()
            assert layout is not None, "a plane is planned where there is a layout"
            path = planes_path(self._view.id, self._view.view)
            self._plane = _Compared(
                self._view.open_registered,
                f"{path}/c.0.{z}",
                plane_chunking(layout.grid.shape),
                layout.recipe.fill,
                _is_exact(self._commit),
            )
        self._plane.compare(z, origin, chunks)

    def commit(self, commit: Commit) -> None:
        """Take down what differed."""
        self.made = commit
        if self._levels is not None and self._levels.problem is not None:
            self.problems.append(self._levels.problem)
        if self._plane is not None and self._plane.words is not None:
            self.problems.append(Problem("registered", self._plane.path, self._plane.words))


class ComparingLevels:
    """The stored levels of one section, compared with what is written to them.

    Attributes
    ----------
    shapes : tuple of tuple of int
        (y, x) of each level in pixels, the finest first.
    """

    def __init__(self, view: StoredDataSet, commit: Commit) -> None:
        self.shapes = level_shapes(commit.shape)
        path = section_path(view.id, view.view, commit.image_id)
        section = view.section(commit.image_id)
        self._compared = [
            _Compared(
                partial(section.open_level, level),
                f"{path}/scale{level}/image",
                level_chunking(shape),
                0,
                _is_exact(commit),
            )
            for level, shape in enumerate(self.shapes)
        ]

    @property
    def problem(self) -> Problem | None:
        """The first difference."""
        differing = (each for each in self._compared if each.words is not None)
        return next((Problem("sections", each.path, each.words or "") for each in differing), None)

    def shard_shape(self, level: int) -> tuple[int, int]:
        """Return (y, x) of the shards of a level."""
        return level_chunking(self.shapes[level]).shard

    def write_shard(self, level: int, origin: tuple[int, int], chunks: Iterable[Chunk]) -> None:
        """Compare one shard of a level."""
        self._compared[level].compare(0, origin, chunks)


class _Compared:
    """One stored array, and whether what was written to it is there."""

    def __init__(
        self, opening: Callable[[], zarr.Array[Any]], path: str, chunking: Chunking, fill: int, is_exact: bool
    ) -> None:
        self.path = path
        self.words: str | None = None
        self._open = opening
        self._array: zarr.Array[Any] | None = None
        self._chunking = chunking
        self._fill = fill
        self._is_exact = is_exact

    def compare(self, z: int, origin: tuple[int, int], chunks: Iterable[Chunk]) -> None:
        """Compare one shard with its chunks; what has none is to read as the fill."""
        height, width = self._chunking.shard
        box = Box(origin[0], origin[1], origin[0] + height, origin[1] + width)
        box = box.intersect(Box.of_shape(self._chunking.shape))
        try:
            # several threads may open it, each for itself
            if self._array is None:
                self._array = self._open()
            stored = np.asarray(self._array[:, z, box.y0 : box.y1, box.x0 : box.x1])
        except StoreItemError as error:
            self.words = f"does not decode ({error.message})"
            stored = None
        for row, column, chunk in chunks:
            # each has to be used up, be it for the levels that are made of it
            if stored is None:
                continue
            top, left = row * self._chunking.chunk[0], column * self._chunking.chunk[1]
            part = stored[:, top : top + chunk.shape[0], left : left + chunk.shape[1]]
            made = chunk[: part.shape[1], : part.shape[2]].transpose(2, 0, 1)
            if not self._is_same(part, made):
                self.words = "is not what its source gives"
            part[...] = self._fill
        if stored is not None and (stored != self._fill).any():
            self.words = "is not what its source gives"

    def _is_same(self, stored: NDArray[np.uint8], made: NDArray[np.uint8]) -> bool:
        if np.array_equal(stored, made):
            return True
        return not self._is_exact and bool(
            np.abs(stored.astype(np.int16) - made).mean(dtype=np.float64) <= _ROUNDING
        )


def _is_exact(commit: Commit) -> bool:
    return commit.tool_version == __version__
