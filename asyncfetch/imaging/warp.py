"""Affine warps of uint8 images whose result does not depend on how the work is cut up."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import numpy as np

from asyncfetch.errors import SelectionError
from asyncfetch.geometry import WARP_BLOCK, Affine2D, Box, Footprint, full_to_tier, n_means_of
from asyncfetch.imaging.buffers import Scratch
from asyncfetch.imaging.opencv import Interpolation, area_mean, warp_affine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = [
    "Interpolation",
    "PlaneWarp",
    "average",
    "prepare_source",
    "warp",
]


_scratch = Scratch()


def warp(
    source: NDArray[np.uint8],
    grid_to_source: Affine2D,
    shape: tuple[int, int],
    *,
    box: Box | None = None,
    interpolation: Interpolation = "linear",
    fill: int = 0,
    averaged: bool = False,
    out: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """Sample an image on a grid, truly by area where the grid is coarser than the image.

    Where a grid step spans 1.5 source pixels or more, every grid pixel is the exact mean of k x k linear
    samples, k = ceil(step), or ceil(step / 1.2) of an averaged image; only ``nearest`` never mixes pixels.
    Steps of 8 or more are cheaper after :func:`prepare_source`.

    Measured against area averaging in float64 (means of at least (6 · step)² nearest samples a grid pixel;
    Gaussian noise smoothed with a sigma of 8 px to 30 levels standard deviation; turned by 0.07 rad), the RMSE
    is 0.29 to 0.38 grey levels for steps of 1.6 to 24, of which rounding to uint8 alone is 0.29. A k of 2 rounds
    halves up, which lifts the mean by 1/8 of a level.

    The result is the same bit for bit whatever boxes it is asked for in: it is computed in aligned blocks of
    :data:`WARP_BLOCK` samples a side, each from a crop of the source that depends on the block and the map
    alone. Positions are float64 up to the crop and stay small within it, which also lifts OpenCV's limit of
    32 767 px.

    Parameters
    ----------
    source : (y, x, c) array of uint8
        1, 3 or 4 channels.
    grid_to_source : Affine2D
        Pixel centres (x, y) of the grid to pixel centres of the source.
    shape : (height, width)
        Size of the whole grid.
    box : Box, optional
        The part of the grid that is wanted; the whole by default.
    interpolation : str
        ``nearest``, ``linear``, ``cubic`` or ``lanczos``. Averaging always takes linear samples.
    fill : int
        Grey level outside of the source, blended in over the last half pixel.
    averaged : bool
        The pixels are means of finer ones already, as those of a tier and of :func:`prepare_source` are.
    out : (h, w, c) array of uint8, optional
        Receives the result: contiguous within its rows, as a slice of a larger array is.

    Returns
    -------
    (h, w, c) array of uint8
        ``h`` and ``w`` of the box.

    Raises
    ------
    SelectionError
        An argument does not fit, or the step is so large that :func:`prepare_source` must come first.
    """
    plane = PlaneWarp(
        grid_to_source,
        shape,
        source.shape[:2],
        interpolation=interpolation,
        fill=fill,
        averaged=averaged,
    )
    return plane.render(source, box=box, out=out)


class PlaneWarp:
    """The warp of one image onto one grid; every call may bring another part of the image.

    Parameters
    ----------
    grid_to_source, shape, interpolation, fill, averaged
        As for :func:`warp`.
    source_shape : (height, width)
        Size of the whole image.
    window : Box, optional
        The part of the image that is there; beyond it lies the fill.

    Raises
    ------
    SelectionError
        An argument does not fit.
    """

    def __init__(
        self,
        grid_to_source: Affine2D,
        shape: tuple[int, int],
        source_shape: tuple[int, int],
        *,
        interpolation: Interpolation = "linear",
        fill: int = 0,
        averaged: bool = False,
        window: Box | None = None,
    ) -> None:
        if interpolation not in get_args(Interpolation):
            raise SelectionError(
                f"interpolation is one of {', '.join(get_args(Interpolation))}, not {interpolation!r}"
            )
        self._shape = shape
        self._window = Box.of_shape(source_shape) if window is None else window
        self._fill = fill
        self._footprint = Footprint(
            grid_to_source, source_shape, interpolation=interpolation, averaged=averaged
        )
        self._block = _block_side(self._footprint.n_samples)
        self._crops: dict[Box, Box] = {}

    def source_of(self, box: Box) -> Box:
        """Return the part of the image that rendering a part of the grid reads; empty where it sees nothing."""
        seen = [crop for block in self._blocks(box) if not (crop := self._crop(block)).is_empty]
        if not seen:
            return Box(0, 0, 0, 0)
        return Box(
            min(each.y0 for each in seen),
            min(each.x0 for each in seen),
            max(each.y1 for each in seen),
            max(each.x1 for each in seen),
        )

    def sees_nothing(self, box: Box) -> bool:
        """Tell whether a part of the grid lies beside the image, so that all of it is the fill."""
        return all(self._crop(block).is_empty for block in self._blocks(box))

    def render(
        self,
        source: NDArray[np.uint8],
        *,
        origin: tuple[int, int] = (0, 0),
        box: Box | None = None,
        out: NDArray[np.uint8] | None = None,
    ) -> NDArray[np.uint8]:
        """Sample a part of the grid; the result does not depend on the parts, nor on how much of the image is given.

        Parameters
        ----------
        source : (y, x, c) array of uint8
            The image, or a part that holds :meth:`source_of` the box; 1, 3 or 4 channels.
        origin : (y, x)
            Where the first pixel of ``source`` lies in the image.
        box, out
            As for :func:`warp`.

        Returns
        -------
        (h, w, c) array of uint8
            ``h`` and ``w`` of the box.

        Raises
        ------
        SelectionError
            An array or the box does not fit.
        """
        region = Box.of_shape(self._shape) if box is None else box
        out = _checked_out(source, self._shape, region, out)
        # OpenCV would copy every crop of an image whose channels lie apart.
        if source.strides[1:] != (source.shape[2], 1):
            source = np.ascontiguousarray(source)
        for whole in self._blocks(region):
            part = whole.intersect(region)
            target = out[part.shift(-region.y0, -region.x0).slices]
            if part == whole:
                self._render_block(source, origin, whole, target)
            else:
                rendered = np.empty((*whole.shape, source.shape[2]), dtype=np.uint8)
                self._render_block(source, origin, whole, rendered)
                target[...] = rendered[part.shift(-whole.y0, -whole.x0).slices]
        return out

    def _blocks(self, region: Box) -> Iterator[Box]:
        side, (height, width) = self._block, self._shape
        for y0 in range(region.y0 // side * side, region.y1, side):
            for x0 in range(region.x0 // side * side, region.x1, side):
                yield Box(y0, x0, min(y0 + side, height), min(x0 + side, width))

    def _crop(self, block: Box) -> Box:
        # asked for when the sources are looked for, when the empty chunks are, and when it is rendered
        if (crop := self._crops.get(block)) is None:
            crop = self._crops[block] = self._footprint.reach(block).intersect(self._window)
        return crop

    def _render_block(
        self, source: NDArray[np.uint8], origin: tuple[int, int], block: Box, out: NDArray[np.uint8]
    ) -> None:
        crop = self._crop(block)
        if crop.is_empty:
            out[...] = self._fill
            return
        samples, n = self._footprint.samples_of(block), self._footprint.n_samples
        # plain floats, as for the crop
        (a, b, c), (d, e, f) = self._footprint.sample_to_source.matrix.tolist()
        x, y = samples.x0, samples.y0
        matrix = np.array([[a, b, a * x + b * y + c - crop.x0], [d, e, d * x + e * y + f - crop.y0]])
        pixels = source[crop.shift(-origin[0], -origin[1]).slices]
        if pixels.shape[:2] != crop.shape:
            raise SelectionError(
                f"{crop} of the image is not among the {source.shape[:2]} pixels at {origin}"
            )
        if n == 1:
            warp_affine(pixels, matrix, out, self._footprint.interpolation, self._fill)
            return
        sampled = _scratch.take("sampled", (*samples.shape, source.shape[2]))
        warp_affine(pixels, matrix, sampled, self._footprint.interpolation, self._fill)
        area_mean(sampled, n, out)


def prepare_source(source: NDArray[np.uint8], grid_to_source: Affine2D) -> tuple[NDArray[np.uint8], Affine2D]:
    """Average an image over blocks of 2^n pixels, so that a grid step spans fewer than eight of what remains.

    Do it once an image, then :func:`warp` every part of the grid from what comes back. An incomplete last block
    at the lower and right edge is dropped: less than a quarter of a grid step. Labels, sampled by ``nearest``,
    are not for averaging: leave them as they are.

    Measured as in :func:`warp`, the RMSE of the result is 0.31 to 0.57 grey levels for steps of 9 to 31, but
    0.64 at its worst, where the remaining step is just 4 and the linear samples blur the averaged pixels most.

    Parameters
    ----------
    source : (y, x, c) array of uint8
    grid_to_source : Affine2D
        Pixel centres of the grid to pixel centres of the source.

    Returns
    -------
    reduced : (y, x, c) array of uint8
        ``source`` itself where no halving is needed.
    grid_to_reduced : Affine2D
        Pixel centres of the grid to pixel centres of ``reduced``.
    """
    n_halvings = n_means_of(grid_to_source, source.shape[:2])
    if n_halvings == 0:
        return source, grid_to_source
    return average(source, n_halvings), full_to_tier(n_halvings) @ grid_to_source


def average(source: NDArray[np.uint8], n_halvings: int) -> NDArray[np.uint8]:
    """Average blocks of 2^n x 2^n pixels of a (y, x, c) image; an incomplete last block is dropped."""
    # One mean over 2^n x 2^n pixels rounds once; n halvings in a row would add 1/8 of a level each.
    factor = 2**n_halvings
    height, width = source.shape[0] // factor, source.shape[1] // factor
    averaged = np.empty((height, width, source.shape[2]), dtype=np.uint8)
    area_mean(source[: height * factor, : width * factor], factor, averaged)
    return averaged


def _block_side(n_samples: int) -> int:
    """Return the side of a block in grid pixels: a power of two, so that blocks divide WARP_BLOCK."""
    return max(WARP_BLOCK >> (n_samples - 1).bit_length(), 1)


def _checked_out(
    source: NDArray[np.uint8],
    shape: tuple[int, int],
    region: Box,
    out: NDArray[np.uint8] | None,
) -> NDArray[np.uint8]:
    if source.dtype != np.uint8 or source.ndim != 3 or source.shape[2] not in {1, 3, 4} or 0 in source.shape:
        raise SelectionError(
            f"a source is (y, x, c) uint8 with 1, 3 or 4 channels, not {source.shape} {source.dtype}"
        )
    if not region.is_empty and region.intersect(Box.of_shape(shape)) != region:
        raise SelectionError(f"{region} does not lie within the grid of {shape[0]} x {shape[1]}")
    expected = (*region.shape, source.shape[2])
    if out is None:
        return np.empty(expected, dtype=np.uint8)
    pixel_strides = (source.shape[2], 1)
    if out.dtype != np.uint8 or out.shape != expected or out.strides[1:] != pixel_strides:
        raise SelectionError(
            f"out must be {expected} uint8, contiguous within rows, not {out.shape} {out.dtype}"
        )
    return out
