"""The pixels of a level as napari slices them: axes in the order of the viewer, colours last."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from asyncfetch.readers.lazy import LazyPixels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import DTypeLike, NDArray

    from asyncfetch.readers.images import Level

__all__ = ["ColoursLast"]


class ColoursLast:
    """One level whose axes are some of z, y and x, and then its colours, if it has more than one channel.

    Parameters
    ----------
    level : Level
        The level, (c, z, y, x).
    axes : sequence of int
        Which of z, y and x (0, 1, 2) the axes are, in their order; one that is left out is at index 0.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, level: Level, axes: Sequence[int]) -> None:
        self._pixels = LazyPixels(level)
        n_channels, *sides = level.shape
        is_coloured = n_channels > 1
        #: The axis of (c, z, y, x) behind each of ours.
        self._stored = (*(1 + axis for axis in axes), *((0,) if is_coloured else ()))
        self.shape: tuple[int, ...] = (
            *(sides[axis] for axis in axes),
            *((n_channels,) if is_coloured else ()),
        )

    def __repr__(self) -> str:
        return f"ColoursLast({self.shape})"

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def ndim(self) -> int:
        """How many axes there are, that of the colours included."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """How many values there are."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """How many bytes all of them take."""
        return self.size

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        pixels: NDArray[Any] = self[...]
        return pixels if dtype is None else pixels.astype(dtype, copy=False)

    def __getitem__(self, key: Any) -> NDArray[np.uint8]:
        """Return what integers, slices and one array of indices for each axis choose, each on its own."""
        chosen = self._completed(key if isinstance(key, tuple) else (key,))
        stored: list[Any] = [0] * 4
        flipped = []
        for axis, each in enumerate(chosen):
            if isinstance(each, slice):
                start, stop, step = each.indices(self.shape[axis])
                if step < 0:
                    # the same elements from the other end
                    n = len(range(start, stop, step))
                    start, stop, step = (start + (n - 1) * step, start + 1, -step) if n else (0, 0, 1)
                    flipped.append(axis)
                stored[self._stored[axis]] = slice(start, stop, step)
            else:
                stored[self._stored[axis]] = self._within(each, axis)
        pixels = self._pixels.read(tuple(stored))
        kept = [axis for axis, each in enumerate(chosen) if isinstance(each, slice) or np.ndim(each)]
        left = sorted(self._stored[axis] for axis in kept)
        pixels = pixels.transpose([left.index(self._stored[axis]) for axis in kept])
        return pixels[tuple(slice(None, None, -1 if axis in flipped else None) for axis in kept)]

    def _completed(self, key: tuple[Any, ...]) -> tuple[Any, ...]:
        if any(each is Ellipsis for each in key):
            at = next(index for index, each in enumerate(key) if each is Ellipsis)
            missing = self.ndim - (len(key) - 1)
            key = (*key[:at], *[slice(None)] * missing, *key[at + 1 :])
        if len(key) > self.ndim:
            raise IndexError(f"the image has {self.ndim} axes, and {len(key)} were indexed")
        return (*key, *[slice(None)] * (self.ndim - len(key)))

    def _within(self, index: Any, axis: int) -> Any:
        side = self.shape[axis]
        indices = np.asarray(index)
        if indices.dtype == np.bool:
            indices = np.flatnonzero(indices)
        if ((indices < -side) | (indices >= side)).any():
            raise IndexError(f"index {index} is outside of axis {axis}, which has {side} elements")
        indices = np.where(indices < 0, indices + side, indices)
        return indices if indices.ndim else int(indices)
