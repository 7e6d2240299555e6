"""The one door to OpenCV: four operations on uint8 pixels, on one thread each.

OpenCV 5 computes positions of nearest, linear and cubic sampling in full precision; its Lanczos still rounds
them to 1/32 px (measured with 5.0.0: 33 distinct weights from one pixel to the next), so Lanczos is put
together here from gathered pixels and weights of full precision.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import cv2
import numpy as np

from asyncfetch.imaging.buffers import Scratch

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["Interpolation", "area_mean", "lanczos_weights", "sample", "warp_affine"]

Interpolation = Literal["nearest", "linear", "cubic", "lanczos"]


# Parallelism is one level up: several images or bands at once, each on one thread.
cv2.setNumThreads(1)

_FLAGS = {"nearest": cv2.INTER_NEAREST, "linear": cv2.INTER_LINEAR, "cubic": cv2.INTER_CUBIC}
_LANCZOS_TAPS = 8
_LANCZOS_REACH = 4
# Above this many pixels for a sample, as a torn map may have, adding a channel to them would take the most time.
_MAX_COPIED = 8
# What cv2.remap takes for positions that are whole pixels.
_NO_FRACTIONS: NDArray[np.uint16] = np.empty(0, dtype=np.uint16)

_scratch = Scratch()


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

    def warp(source: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
        cv2.warpAffine(
            source,
            matrix,
            (out.shape[1], out.shape[0]),
            dst=out,
            flags=_FLAGS[interpolation] | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=(fill,) * 4,
        )

    _in_fast_channels(warp, source, out, interpolation)


def _in_fast_channels(
    operation: Callable[[NDArray[np.uint8], NDArray[np.uint8]], None],
    source: NDArray[np.uint8],
    out: NDArray[np.uint8],
    interpolation: Interpolation,
) -> None:
    """Call an operation of OpenCV on as many channels as it is fast with; the grey levels are the same.

    Linear sampling gathers four bytes at once, but three one by one: a fourth channel that comes and goes halves the
    time of 256 x 256 samples, and saves more where they lie further apart (0.5 to 1.45 px: 247 to 320 MPix/s on one
    core against 70 to 156, OpenCV 5.0.0, medians of 5). Cubic sampling would take a third longer.
    """
    if out.shape[2] == 1:
        # OpenCV drops a last axis of length 1, so give it none.
        operation(source[..., 0], out[..., 0])
    elif out.shape[2] == 3 and interpolation == "linear" and source.size <= _MAX_COPIED * out.size:
        four = _scratch.take("source", (*source.shape[:2], 4))
        sampled = _scratch.take("sampled", (*out.shape[:2], 4))
        cv2.cvtColor(source, cv2.COLOR_RGB2RGBA, dst=four)
        operation(four, sampled)
        cv2.cvtColor(sampled, cv2.COLOR_RGBA2RGB, dst=out)
    else:
        operation(source, out)


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


def split_colours(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the colours of an image one behind the other.

    Parameters
    ----------
    pixels : (y, x, c) array of uint8
        Contiguous.

    Returns
    -------
    (c, y, x) array of uint8
        Contiguous. Ten times as fast as a transposed copy.
    """
    height, width, n_colours = pixels.shape
    if n_colours == 1:
        return pixels.reshape(1, height, width)
    planes = np.empty((n_colours, height, width), dtype=np.uint8)
    cv2.split(pixels, list(planes))
    return planes


def sample(
    source: NDArray[np.uint8],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    out: NDArray[np.uint8],
    interpolation: Interpolation,
) -> None:
    """Sample ``source`` at a position of its own for every pixel of ``out``.

    Parameters
    ----------
    source : (y, x, c) array of uint8
        Neither side may be beyond 32 767 px, the limit of OpenCV's integer coordinates. It must hold every pixel
        that is touched: those around a position and `asyncfetch.geometry.MARGINS` more.
    x, y : (h, w) array of float64
        Positions in pixels of ``source``. Linear and cubic sampling takes them as float32: keep them small.
    out : (h, w, c) array of uint8
        Receives the result; rows may lie apart, pixels of a row may not.
    interpolation : str
        As for :func:`warp_affine`.
    """
    if interpolation == "lanczos":
        columns, column_weights = _lanczos_taps(x)
        rows, row_weights = _lanczos_taps(y)
        corners = np.stack([columns, rows], axis=-1).astype(np.int16)
        _sum_taps(source.astype(np.float32), corners, column_weights, row_weights, out)
        return
    maps: tuple[NDArray[Any], NDArray[Any]] = (x.astype(np.float32), y.astype(np.float32))
    if interpolation == "nearest":
        maps = np.floor(np.stack([x, y], axis=-1) + 0.5).astype(np.int16), _NO_FRACTIONS

    def remap(source: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
        cv2.remap(source, *maps, _FLAGS[interpolation], dst=out)

    _in_fast_channels(remap, source, out, interpolation)


def lanczos_weights(fractions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weights of the 8 pixels around positions, the fourth of which lies ``fraction`` before one.

    Parameters
    ----------
    fractions : (...) array of float64
        From 0 to 1.

    Returns
    -------
    (..., 8) array of float64
        Their sum is 1.
    """
    distances = fractions[..., None] + (_LANCZOS_REACH - 1) - np.arange(_LANCZOS_TAPS)
    weights: NDArray[np.float64] = np.sinc(distances) * np.sinc(distances / _LANCZOS_REACH)
    weights /= weights.sum(axis=-1, keepdims=True)
    return weights


def _warp_lanczos(
    source: NDArray[np.uint8], matrix: NDArray[np.float64], out: NDArray[np.uint8], fill: int
) -> None:
    height, width, n_channels = out.shape
    x, y = np.arange(width), np.arange(height)[:, None]
    columns, column_weights = _lanczos_taps(matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2])
    rows, row_weights = _lanczos_taps(matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2])
    reach = _LANCZOS_TAPS
    padded = np.full(
        (source.shape[0] + 2 * reach, source.shape[1] + 2 * reach, n_channels), fill, dtype=np.float32
    )
    padded[reach:-reach, reach:-reach] = source
    # Positions further out see fill alone wherever they are put within the padding.
    limits = np.array([source.shape[1], source.shape[0]]) + reach
    corners = np.clip(np.stack([columns, rows], axis=-1) + reach, 0, limits).astype(np.int16)
    _sum_taps(padded, corners, column_weights, row_weights, out)


def _sum_taps(
    source: NDArray[np.float32],
    corners: NDArray[np.int16],
    column_weights: NDArray[np.float32],
    row_weights: NDArray[np.float32],
    out: NDArray[np.uint8],
) -> None:
    """Add up 8 x 8 weighted pixels, the first of which is at (x, y) of ``corners``."""
    total = np.zeros(out.shape, dtype=np.float32)
    for j in range(_LANCZOS_TAPS):
        row_sum = np.zeros_like(total)
        for i in range(_LANCZOS_TAPS):
            tap = cv2.remap(source[j:, i:], corners, _NO_FRACTIONS, cv2.INTER_NEAREST).reshape(total.shape)
            row_sum += tap * column_weights[..., i, None]
        total += row_sum * row_weights[..., j, None]
    out[...] = np.rint(np.clip(total, 0, 255, out=total), out=total)


def _lanczos_taps(positions: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Return where the first tap of each position stands, and the 8 taps' weights."""
    below = np.floor(positions)
    return below - (_LANCZOS_REACH - 1), lanczos_weights(positions - below).astype(np.float32)
