"""Large arrays that are used again: the page faults of a fresh one cost a quarter of a decoding or a warp."""

from __future__ import annotations

import math
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = ["Buffers", "Scratch"]

# Below this a fresh array comes from the allocator's own store and costs nothing.
_LEAST_BYTES = 2**20
# Sizes are rounded up to this, so that images of nearly the same size share arrays.
_GRAIN_BYTES = 2**20
# An array more than this many times as large as what is asked for stays for somebody who needs it.
_MAX_WASTE = 2


class Buffers:
    """Arrays that are lent to threads, and of which some are kept when they come back.

    What is lent is covered by whoever reserved memory for the work; what lies idle is not, so it is bounded here.

    Parameters
    ----------
    idle_bytes : int
        Most bytes kept while nobody uses them, whatever is lent.
    total_bytes : int
        Lent and idle arrays may be so many bytes in all, even where more of them are idle.
    """

    def __init__(self, idle_bytes: int, total_bytes: int = 0) -> None:
        self._idle_bytes = idle_bytes
        self._total_bytes = total_bytes
        self._n_lent_bytes = 0
        self._idle: list[NDArray[np.uint8]] = []
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"Buffers({self.n_idle_bytes}/{self._idle_bytes} bytes idle)"

    @property
    def n_idle_bytes(self) -> int:
        """Bytes that are kept and not lent."""
        return sum(each.nbytes for each in self._idle)

    def take(self, n_bytes: int) -> NDArray[np.uint8]:
        """Return an (n,) array of at least as many bytes, with whatever is in it."""
        if n_bytes < _LEAST_BYTES:
            return np.empty(n_bytes, dtype=np.uint8)
        with self._lock:
            fitting = [each for each in self._idle if n_bytes <= each.nbytes <= _MAX_WASTE * n_bytes]
            if fitting:
                best = min(fitting, key=lambda each: each.nbytes)
                self._idle = [each for each in self._idle if each is not best]
            else:
                best = np.empty(-(-n_bytes // _GRAIN_BYTES) * _GRAIN_BYTES, dtype=np.uint8)
            self._n_lent_bytes += best.nbytes
            self._drop_what_is_too_much()
        return best

    def give(self, buffer: NDArray[np.uint8]) -> None:
        """Take an array back, whole as it was lent; nobody may look at it any more."""
        if buffer.nbytes < _LEAST_BYTES:
            return
        with self._lock:
            self._n_lent_bytes -= buffer.nbytes
            self._idle.append(buffer)
            self._drop_what_is_too_much()

    def _drop_what_is_too_much(self) -> None:
        most = max(self._idle_bytes, self._total_bytes - self._n_lent_bytes)
        while self.n_idle_bytes > most:
            # the oldest goes: the sizes that are needed now came last
            self._idle.pop(0)

    def take_image(self, shape: tuple[int, int]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Return the (y, x, 3) pixels of an image that is to be filled, and the array to give back."""
        n_bytes = 3 * shape[0] * shape[1]
        buffer = self.take(n_bytes)
        return buffer[:n_bytes].reshape(*shape, 3), buffer

    @contextmanager
    def lend(self, n_bytes: int) -> Iterator[NDArray[np.uint8]]:
        """Lend an array for the length of a block."""
        buffer = self.take(n_bytes)
        try:
            yield buffer
        finally:
            self.give(buffer)


class Scratch(threading.local):
    """Small arrays that each thread works on for the length of a call, a few by name.

    They stay in the processor's cache, and spare a block of samples its page faults.
    """

    def __init__(self) -> None:
        self._arrays: dict[str, NDArray[np.uint8]] = {}

    def take(self, name: str, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """Return an array of unknown content: the same memory whenever this thread asks for this name."""
        n_values = math.prod(shape)
        array = self._arrays.get(name)
        if array is None or array.size < n_values:
            array = self._arrays[name] = np.empty(n_values, dtype=np.uint8)
        return array[:n_values].reshape(shape)
