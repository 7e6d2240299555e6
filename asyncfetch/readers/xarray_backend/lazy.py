"""The pixels of a level as xarray indexes them: read when they are asked for, and no more of them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from xarray.backends import BackendArray
from xarray.core import indexing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from asyncfetch.readers.images import Level

__all__ = ["LevelArray"]


class LevelArray(BackendArray):
    """One level, (c, z, y, x) uint8, that is opened when its first pixel is read; threads may share it."""

    __slots__ = ("_array", "_level", "_lock", "dtype", "shape")

    def __init__(self, level: Level) -> None:
        self.shape = level.shape
        self.dtype = np.dtype(np.uint8)
        self._level = level
        self._array: zarr.Array[Any] | None = None
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type[LevelArray], tuple[Level]]:
        return LevelArray, (self._level,)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> NDArray[np.uint8]:
        pixels: NDArray[np.uint8] = indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._read
        )
        return pixels

    def _read(self, key: tuple[Any, ...]) -> NDArray[np.uint8]:
        array = self._opened()
        if isinstance(array, zarr.Array):
            return np.asarray(array.oindex[key])
        # from the last axis on, so that an axis that goes moves none of those still to come
        for axis in reversed(range(len(key))):
            array = array[(slice(None),) * axis + (key[axis],)]
        return np.asarray(array)

    def _opened(self) -> Any:
        with self._lock:
            if self._array is not None:
                return self._array
            array = self._level.open()
            # pixels of a JPEG are not kept: they would stay for as long as the data set does
            if isinstance(array, zarr.Array):
                self._array = array
            return array
