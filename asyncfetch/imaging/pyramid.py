"""Halving: the exact 2 x 2 mean from one level of a pyramid to the next."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from asyncfetch.errors import SelectionError
from asyncfetch.imaging.opencv import area_mean

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["halve"]


def halve(pixels: NDArray[np.uint8], out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
    """Average blocks of 2 x 2 pixels, rounding halves up: (a + b + c + d + 2) >> 2.

    A last odd row or column is dropped, a side of length 1 stays 1. A level halved tile by tile is the level
    halved at once, where tiles begin at even rows and columns.

    Parameters
    ----------
    pixels : (y, x, c) array of uint8
    out : (max(y // 2, 1), max(x // 2, 1), c) array of uint8, optional
        Receives the result; rows may lie apart.

    Returns
    -------
    (max(y // 2, 1), max(x // 2, 1), c) array of uint8
        Pixel k is centred at 2 k + ½ of the pixels that came in.

    Raises
    ------
    SelectionError
        The pixels are not a (y, x, c) array of uint8 with at least one pixel.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or 0 in pixels.shape:
        raise SelectionError(f"pixels must be (y, x, c) uint8, not {pixels.shape} {pixels.dtype}")
    height, width, n_channels = pixels.shape
    shape = (max(height // 2, 1), max(width // 2, 1), n_channels)
    halved = np.empty(shape, dtype=np.uint8) if out is None else out
    if halved.shape != shape:
        raise SelectionError(f"{pixels.shape} halved is {shape}, not {halved.shape}")
    if height == 1 or width == 1:
        halved[...] = _halve_line(pixels)
        return halved
    area_mean(pixels[: height // 2 * 2, : width // 2 * 2], 2, halved)
    return halved


def _halve_line(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    axis = 0 if pixels.shape[1] == 1 else 1
    length = pixels.shape[axis]
    if length == 1:
        return pixels.copy()
    even = np.take(pixels, range(0, length // 2 * 2, 2), axis=axis).astype(np.uint16)
    odd = np.take(pixels, range(1, length // 2 * 2, 2), axis=axis)
    return ((even + odd + 1) >> 1).astype(np.uint8)
