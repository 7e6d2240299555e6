"""Which pixels of an image the samples of a grid touch, and how many samples a grid pixel is the mean of. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from asyncfetch.errors import SelectionError
from asyncfetch.geometry.affine import Affine2D
from asyncfetch.geometry.tiles import Box, source_box

if TYPE_CHECKING:
    from asyncfetch.settings import Interpolation

__all__ = ["MARGINS", "WARP_BLOCK", "Footprint", "n_means_of", "step_of"]

#: Pixels that an interpolation touches beyond the two on either side of a position.
MARGINS: dict[Interpolation, int] = {"nearest": 0, "linear": 0, "cubic": 1, "lanczos": 3}

#: Side of the aligned blocks of samples in which every warp is computed. OpenCV's results differ by one grey
#: level with the position of a pixel in the call, so the calls must not depend on what was asked for. Boxes
#: whose sides are multiples of it waste nothing. None is faster: 325 MPix/s on one core against 240 for 128, 325
#: for 512 and 250 for 1024 (8992 x 4936 x 3, linear, into a reused array, medians of 7).
WARP_BLOCK = 256

# From this many source pixels a grid step on, sampling at points would skip pixels.
_AREA_STEP = 1.5
# Most source pixels between two samples of a mean. Pixels that are means themselves hold little that is as fine
# as they are. For steps of 9 to 31 over images halved to steps of 4 to 8, 1.2 instead of 1 takes up to 30 % fewer
# samples. The RMSE then changes by -22 to +4 % for noise of sigma 8 px and edges, and rises by 12 % or 0.04 levels
# at most for tissue of the phantom and by 10 % for white noise.
_SAMPLE_SPACING = 1.0
_SAMPLE_SPACING_OF_MEANS = 1.2
# From this step on the source is averaged first. For a step of 24 from 44 MPix, 4 instead of 8 would save 30 ms
# of 67 and raise the error by 60 %.
_HALVING_STEP = 8.0
# A step that is a whole number must not count as more by the rounding of its computation.
_STEP_SLACK = 1e-9


class Footprint:
    """The samples of a grid, as positions in an image.

    Parameters
    ----------
    grid_to_source : Affine2D
        Pixel centres (x, y) of the grid to pixel centres of the image.
    source_shape : (height, width)
        Size of the image.
    interpolation : str
        How the grid is sampled, as for `asyncfetch.imaging.warp`.
    averaged : bool
        Whether the pixels of the image are means of finer ones.

    Attributes
    ----------
    n_samples : int
        Along each axis, the samples that a grid pixel is the mean of.
    interpolation : str
        How they are taken: means are of linear samples.
    sample_to_source : Affine2D
        Samples (x, y) to pixel centres of the image.

    Raises
    ------
    SelectionError
        The grid is so much coarser than the image that it has to be halved first.
    """

    def __init__(
        self,
        grid_to_source: Affine2D,
        source_shape: tuple[int, int],
        *,
        interpolation: Interpolation,
        averaged: bool,
    ) -> None:
        n = self.n_samples = _samples_per_pixel(grid_to_source, interpolation, averaged=averaged)
        self.interpolation: Interpolation = "linear" if n > 1 else interpolation
        # Sample j of pixel k lies at k + (j + ½) / n - ½.
        offset = (1 / n - 1) / 2
        sample_to_grid = Affine2D.translation(offset, offset) @ Affine2D.scaling(1 / n)
        self.sample_to_source = grid_to_source @ sample_to_grid
        self._source_shape = source_shape

    def samples_of(self, box: Box) -> Box:
        """Return the samples that a part of the grid is made of."""
        n = self.n_samples
        return Box(box.y0 * n, box.x0 * n, box.y1 * n, box.x1 * n)

    def reach(self, box: Box) -> Box:
        """Return the part of the image, there or not, that the samples of a part of the grid touch."""
        margin = MARGINS[self.interpolation]
        return source_box(self.sample_to_source, self.samples_of(box), margin, self._source_shape)


def step_of(grid_to_source: Affine2D) -> float:
    """Return the size of a grid step in source pixels, in the direction where it is longest.

    It is the larger singular value of the linear part.
    """
    # that of a 2 x 2 matrix is half the sum of two lengths; a decomposition would take twenty times as long
    (a, b), (c, d) = grid_to_source.linear.tolist()
    return (math.hypot(a + d, b - c) + math.hypot(a - d, b + c)) / 2


def n_means_of(grid_to_source: Affine2D, source_shape: tuple[int, int]) -> int:
    """Return how often `asyncfetch.imaging.prepare_source` halves an image before it is sampled."""
    step, n_halvings = step_of(grid_to_source), 0
    while step >= _HALVING_STEP * 2**n_halvings and min(source_shape) >> (n_halvings + 1):
        n_halvings += 1
    return n_halvings


def _samples_per_pixel(grid_to_source: Affine2D, interpolation: Interpolation, *, averaged: bool) -> int:
    step = step_of(grid_to_source)
    if step > WARP_BLOCK:
        raise SelectionError(
            f"a grid step of {step:.0f} source pixels is too long: halve with prepare_source first"
        )
    if interpolation == "nearest" or step < _AREA_STEP * (1 - _STEP_SLACK):
        return 1
    spacing = _SAMPLE_SPACING_OF_MEANS if averaged else _SAMPLE_SPACING
    return math.ceil(step / spacing * (1 - _STEP_SLACK))
