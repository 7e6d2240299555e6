"""The one door to OpenCV: three operations on uint8 pixels, on one thread each.

OpenCV 5 computes positions of nearest, linear and cubic sampling in full precision; its Lanczos still rounds
them to 1/32 px (measured with 5.0.0: 33 distinct weights from one pixel to the next), so Lanczos is put
together here from gathered pixels and weights of full precision.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["MARGINS", "Interpolation", "area_mean", "warp_affine"]

Interpolation = Literal["nearest", "linear", "cubic", "lanczos"]

#: Pixels that an interpolation touches beyond the two on either side of a position.
MARGINS: dict[Interpolation, int] = {"nearest": 0, "linear": 0, "cubic": 1, "lanczos": 3}

# Parallelism is one level up: several images or bands at once, each on one thread.
cv2.setNumThreads(1)

_FLAGS = {"nearest": cv2.INTER_NEAREST, "linear": cv2.INTER_LINEAR, "cubic": cv2.INTER_CUBIC}
_LANCZOS_TAPS = 8
_LANCZOS_REACH = 4


def warp_affine(
    source: NDArray[np.uint8],
    matrix: NDArray[np.float64],
    out: NDArray[np.uint8],
    interpolation: Interpolation,
    fill: int,
) -> None:
    """Sample ``source`` at ``matrix`` · (x, y, 1) for every pixel (x, y) of ``out``.

    Parameters
    ----------
    source : (y, x, c) array of uint8
        Neither side may be beyond 32 767 px, the limit of OpenCV's integer coordinates.
    matrix : (2, 3) array of float64
        Pixel centres of ``out`` to pixel centres of ``source``. OpenCV computes in float32: keep positions
        small.
    out : (y, x, c) array of uint8
        Receives the result; rows may lie apart, pixels of a row may not.
    interpolation : str
        ``nearest``, ``linear``, ``cubic`` (a = -0.75) or ``lanczos`` (8 x 8).
    fill : int
        Grey level outside of ``source``, blended in at its border.
    """
    if interpolation == "lanczos":
        _warp_lanczos(source, matrix, out, fill)
        return
    # OpenCV drops a last axis of length 1, so give it none.
    flat_source, flat_out = (source[..., 0], out[..., 0]) if out.shape[2] == 1 else (source, out)
    cv2.warpAffine(
        flat_source,
        matrix,
        (out.shape[1], out.shape[0]),
        dst=flat_out,
        flags=_FLAGS[interpolation] | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(fill,) * 4,
    )


def area_mean(pixels: NDArray[np.uint8], factor: int, out: NDArray[np.uint8]) -> None:
    """Average blocks of ``factor`` x ``factor`` pixels exactly, rounded once to the nearest level.

    Halves round up for a factor of 2, to even otherwise.

    Parameters
    ----------
    pixels : (factor · h, factor · w, c) array of uint8
    factor : int
        Side of a block.
    out : (h, w, c) array of uint8
        Receives the result.
    """
    flat_pixels, flat_out = (pixels[..., 0], out[..., 0]) if out.shape[2] == 1 else (pixels, out)
    if flat_pixels.shape[:2] != (factor * out.shape[0], factor * out.shape[1]):
        raise ValueError(f"{factor} x {factor} blocks of {pixels.shape} do not make {out.shape}")
    cv2.resize(flat_pixels, (out.shape[1], out.shape[0]), dst=flat_out, interpolation=cv2.INTER_AREA)


def _warp_lanczos(
    source: NDArray[np.uint8], matrix: NDArray[np.float64], out: NDArray[np.uint8], fill: int
) -> None:
    height, width, n_channels = out.shape
    x, y = np.arange(width), np.arange(height)[:, None]
    columns, column_weights = _lanczos_taps(
        matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2], source.shape[1]
    )
    rows, row_weights = _lanczos_taps(matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2], source.shape[0])
    reach = _LANCZOS_TAPS
    padded = np.full(
        (source.shape[0] + 2 * reach, source.shape[1] + 2 * reach, n_channels), fill, dtype=np.float32
    )
    padded[reach:-reach, reach:-reach] = source
    places = np.stack([columns, rows], axis=-1)
    no_fractions = np.empty(0, dtype=np.uint16)
    total = np.zeros((height, width, n_channels), dtype=np.float32)
    for j in range(_LANCZOS_TAPS):
        row_sum = np.zeros_like(total)
        for i in range(_LANCZOS_TAPS):
            tap = cv2.remap(padded[j:, i:], places, no_fractions, cv2.INTER_NEAREST).reshape(total.shape)
            row_sum += tap * column_weights[..., i, None]
        total += row_sum * row_weights[..., j, None]
    out[...] = np.rint(np.clip(total, 0, 255, out=total), out=total)


def _lanczos_taps(positions: NDArray[np.float64], size: int) -> tuple[NDArray[np.int16], NDArray[np.float32]]:
    """Return where in the padded axis the first tap of each position stands, and the 8 taps' weights."""
    below = np.floor(positions)
    distances = (positions - below)[..., None] + (_LANCZOS_REACH - 1) - np.arange(_LANCZOS_TAPS)
    weights = np.sinc(distances) * np.sinc(distances / _LANCZOS_REACH)
    weights /= weights.sum(axis=-1, keepdims=True)
    first = below - (_LANCZOS_REACH - 1) + _LANCZOS_TAPS
    # Positions further out see fill alone wherever they are put within the padding.
    return np.clip(first, 0, size + _LANCZOS_TAPS).astype(np.int16), weights.astype(np.float32)
