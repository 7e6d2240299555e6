"""The pixels of a level, read when they are asked for, and no more of them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from asyncfetch.readers.images import Level

__all__ = ["LazyPixels"]


class LazyPixels:
    """One level, (c, z, y, x) uint8, that is opened when its first pixel is read; threads may share it.

    It can be sent to another process, and is opened again there.

    Parameters
    ----------
    level : Level
        The level.
    """

    def __init__(self, level: Level) -> None:
        self.level = level
        self._array: zarr.Array[Any] | None = None
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type[LazyPixels], tuple[Level]]:
        return LazyPixels, (self.level,)

    def read(self, key: tuple[Any, ...]) -> NDArray[np.uint8]:
        """Return what an index of each of the four axes chooses.

        Parameters
        ----------
        key : tuple
            For c, z, y and x an int, a slice that ascends, or an array of indices; each on its own, as ``oindex`` of
            Zarr takes them.
        """
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
            array = self.level.open()
            # pixels of a JPEG are not kept: they would stay for as long as the image is shown
            if isinstance(array, zarr.Array):
                self._array = array
            return array
