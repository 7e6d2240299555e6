"""The pixels of a level as xarray indexes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from xarray.backends import BackendArray
from xarray.core import indexing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from asyncfetch.readers.lazy import LazyPixels

__all__ = ["LevelArray"]


class LevelArray(BackendArray):
    """One level, (c, z, y, x) uint8, of which xarray reads what an expression needs."""

    __slots__ = ("_pixels", "dtype", "shape")

    def __init__(self, pixels: LazyPixels) -> None:
        self.shape = pixels.level.shape
        self.dtype = np.dtype(np.uint8)
        self._pixels = pixels

    def __getitem__(self, key: indexing.ExplicitIndexer) -> NDArray[np.uint8]:
        found: NDArray[np.uint8] = indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._pixels.read
        )
        return found
