"""Decoded pixels: into which arrays they go, and when these are given back."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np

from asyncfetch.imaging import decode, put_levels, read_header

if TYPE_CHECKING:
    from collections.abc import Buffer, Callable

    from numpy.typing import NDArray

    from asyncfetch.geometry import Box
    from asyncfetch.imaging import Buffers

__all__ = ["Decoded", "Pixels"]


class Pixels:
    """One box of an image, from the moment it is decoded until nobody needs it any more.

    Attributes
    ----------
    box : Box
        Which pixels of the image they are.
    """

    def __init__(self, box: Box) -> None:
        self.box = box
        self._array: NDArray[np.uint8] | None = None
        self._give_back: Callable[[], None] | None = None
        self._n_uses = 0
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        state = "not there" if self._array is None else f"{self._n_uses} uses left"
        return f"<Pixels of {self.box}, {state}>"

    @property
    def array(self) -> NDArray[np.uint8]:
        """The (y, x, 3) pixels of the box.

        Raises
        ------
        RuntimeError
            They are not there yet, or not any more: a job did not say that it needs them.
        """
        if self._array is None:
            raise RuntimeError(f"{self!r} are read")
        return self._array

    def expect(self) -> None:
        """Announce one use, before the pixels are there."""
        self._n_uses += 1

    def fill(self, array: NDArray[np.uint8], give_back: Callable[[], None] | None = None) -> None:
        """Bring the pixels; `give_back` is called when they are no longer needed."""
        with self._lock:
            self._array, self._give_back = array, give_back
            self._drop_if_unused()

    def release(self) -> None:
        """End one use."""
        with self._lock:
            self._n_uses -= 1
            self._drop_if_unused()

    def _drop_if_unused(self) -> None:
        if self._n_uses == 0:
            self._array = None
            if self._give_back is not None:
                self._give_back()
                self._give_back = None


class Decoded:
    """Decoded images in arrays that are lent, and given back at the end.

    Parameters
    ----------
    buffers : Buffers
        What lends them, once there is something to decode.
    reduce : int
        How often the JPEG is halved.
    shape : tuple of int, optional
        (y, x) that the halved pixels are to have: what is beyond is cut off, what is missing is filled, at the lower
        and the right end. By default they are as they come.
    has_levels : bool
        Turn the colours of a mask into expression levels at once, before anybody mixes them.
    fill : int
        Grey level of what is missing.
    """

    def __init__(
        self,
        buffers: Buffers,
        reduce: int,
        *,
        shape: tuple[int, int] | None = None,
        has_levels: bool = False,
        fill: int = 0,
    ) -> None:
        self._buffers = buffers
        self._reduce = reduce
        self._shape = shape
        self._has_levels = has_levels
        self._fill = fill
        self._lent: list[NDArray[np.uint8]] = []

    def decode(self, data: Buffer) -> NDArray[np.uint8]:
        """Decode a JPEG; raises what :func:`asyncfetch.imaging.decode` raises.

        An array whose decoding failed goes back at once: whoever asks again waits without it. Two answers to one
        question get an array each.
        """
        height, width = (-(-side >> self._reduce) for side in read_header(data).shape)
        buffer = self._buffers.take(3 * height * width)
        try:
            pixels = decode(data, reduce=self._reduce, buffer=buffer)
            if self._has_levels:
                put_levels(pixels)
        except BaseException:
            self._buffers.give(buffer)
            raise
        self._lent.append(buffer)
        if self._shape is None or self._shape == (height, width):
            return pixels
        return _of_shape(pixels, self._shape, self._fill)

    def give_back(self) -> None:
        """Give back what is lent; its pixels are lost."""
        while self._lent:
            self._buffers.give(self._lent.pop())


def _of_shape(pixels: NDArray[np.uint8], shape: tuple[int, int], fill: int) -> NDArray[np.uint8]:
    """Return (y, x, 3) pixels cut off or filled up at the lower and the right end."""
    height, width = (min(pair) for pair in zip(shape, pixels.shape[:2], strict=True))
    whole = np.full((*shape, 3), fill, dtype=np.uint8)
    whole[:height, :width] = pixels[:height, :width]
    return whole
