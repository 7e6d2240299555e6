"""Decoded pixels that several jobs read, given back when the last of them is through."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from asyncfetch.geometry import Box

__all__ = ["Pixels"]


class Pixels:
    """Hold one box of an image, from the moment it is decoded until nobody needs it any more.

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
