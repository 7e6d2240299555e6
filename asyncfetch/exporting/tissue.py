"""What of a picture is tissue: pixels that are unlike the ground around it. Pure but for reading."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from asyncfetch.geometry import Box

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from asyncfetch.exporting.pictures import Picture

__all__ = ["background_of", "tissue_in"]

#: Grey levels by which a pixel differs from the ground in one channel at least: more than noise and JPEG make of it.
_DIFFERENCE = 20
#: Pixels at each edge of the coarsest level that are taken for the ground.
_EDGE = 4


def background_of(picture: Picture) -> NDArray[np.int16]:
    """Return the colour (3,) of the ground: the median along the edges of the picture's coarsest level.

    Slides are bright where there is no tissue, and masks and fluorescence dark; the edges tell which.
    """
    level = len(picture.shapes) - 1
    pixels = picture.read(level, Box.of_shape(picture.shapes[level]))
    inner = np.zeros(pixels.shape[:2], dtype=bool)
    inner[_EDGE:-_EDGE, _EDGE:-_EDGE] = True
    return np.asarray(np.median(pixels[~inner], axis=0), dtype=np.int16)


def tissue_in(pixels: NDArray[np.uint8], background: NDArray[np.int16]) -> float:
    """Return the share of the pixels (y, x, 3) that are unlike the ground, from 0 to 1."""
    differences = np.abs(pixels.astype(np.int16) - background).max(axis=-1)
    return float((differences > _DIFFERENCE).mean())
