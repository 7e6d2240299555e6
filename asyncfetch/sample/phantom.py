"""An analytic brain in reference space: its picture, its outline and its expression anywhere, in any resolution.

The phantom is the ground truth of the sample atlas. A section image is the phantom seen through the section's
alignment, and a registered plane can be compared with the phantom itself, rendered on the grid's own points.

It is made of two kinds of parts, both cheap along a plane:

* **plane waves** cos(k · x + φ). On an affine plane a wave is an outer product of one function of the row and
  one of the column, so that a block of pixels of n waves is one product of (rows, 2n) and (2n, columns). The
  mean of a wave over a parallelogram is the wave at its centre times two sinc factors, so that a tier of an
  image is rendered directly and equals the area average of the full resolution.
* **soft ellipsoids**, 1 inside and 0 outside with a smooth edge, functions of a quadratic form. Where a pixel is
  coarser than 10 µm they are sampled at several points of it.

The phantom lives in reference space 9 and is not symmetric between left and right: a mirrored result shows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from asyncfetch.errors import SelectionError
from asyncfetch.geometry import Box, tiles_of
from asyncfetch.imaging.jet import jet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import ArrayLike, NDArray

__all__ = ["EXPRESSION_THRESHOLD", "MIRROR_UM", "Phantom", "SoftEllipsoid", "Wave", "to_space_9"]

#: Space 10 is space 9 with r mirrored: r9 = MIRROR_UM - r10 (REC-5).
MIRROR_UM = 11350.0

#: Expression level above which the mask is coloured; below it the mask is black.
EXPRESSION_THRESHOLD = 0.5

# Blocks are cut at fixed positions and always computed whole, so that a crop has the bytes of the whole image.
# 128 x 512 float32 values stay in the L2 cache of one core.
_BLOCK = (128, 512)
_PIECE = (16, 128)
_SUPERSAMPLE_ABOVE_UM = 10.0
_MAX_SUPERSAMPLES = 64


@dataclass(frozen=True)
class Wave:
    """One plane wave.

    Parameters
    ----------
    k : (3,) tuple of float
        Wave vector along (p, i, r), in radians per µm.
    phase : float
        Phase at the origin, in radians.
    amplitudes : tuple of float
        Amplitude in each channel.
    """

    k: tuple[float, float, float]
    phase: float
    amplitudes: tuple[float, ...]


@dataclass(frozen=True)
class SoftEllipsoid:
    """One ellipsoid with a soft edge.

    Parameters
    ----------
    centre_um, radii_um : (3,) tuple of float
        Centre and half axes along (p, i, r), in µm.
    tilt : float
        Rotation in the plane of p and i, in radians.
    softness : float
        Width of the edge as a share of the radii: the edge runs from 1 - softness / 2 to 1 + softness / 2.
    amplitudes : tuple of float
        What is added in each channel inside.
    """

    centre_um: tuple[float, float, float]
    radii_um: tuple[float, float, float]
    tilt: float = 0.0
    softness: float = 0.06
    amplitudes: tuple[float, ...] = (1.0,)

    def along(self, index_to_reference: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the (3, 3) map from (x, y, 1) to the frame in which the ellipsoid is the unit ball."""
        cosine, sine = math.cos(self.tilt), math.sin(self.tilt)
        to_axes = np.array([[cosine, sine, 0.0], [-sine, cosine, 0.0], [0.0, 0.0, 1.0]])
        shifted = index_to_reference.copy()
        shifted[:, 2] -= self.centre_um
        unit: NDArray[np.float64] = (to_axes @ shifted) / np.array(self.radii_um)[:, np.newaxis]
        return unit


def to_space_9(index_to_reference: ArrayLike, reference_space_id: int) -> NDArray[np.float64]:
    """Return a map to reference space 9 from one to space 9 or 10.

    Parameters
    ----------
    index_to_reference : (3, 3) array of float64
        Takes (x, y, 1) to (p, i, r) in µm of the space named.
    reference_space_id : int
        9, or 10 whose r is mirrored.

    Raises
    ------
    SelectionError
        The space is another one, for which no transform is known.
    """
    matrix = np.array(index_to_reference, dtype=np.float64)
    if matrix.shape != (3, 3):
        raise SelectionError(f"index_to_reference has the shape (3, 3), not {matrix.shape}")
    if reference_space_id == 10:
        matrix[2] *= -1
        matrix[2, 2] += MIRROR_UM
    elif reference_space_id != 9:
        raise SelectionError(f"the phantom is placed in the spaces 9 and 10, not {reference_space_id}")
    return matrix


class Phantom:
    """A phantom that can be drawn along any affine plane.

    The same call gives the same bytes in every run on one machine; other builds of the linear algebra may round
    single pixels to the next grey level.

    Parameters
    ----------
    background, base : (3,) sequence of float
        Colour outside of the tissue, and the mean colour inside, in grey levels.
    outline : sequence of SoftEllipsoid
        The tissue is their union.
    parts : sequence of SoftEllipsoid
        Regions inside; ``amplitudes`` are grey levels of red, green and blue.
    waves : sequence of Wave
        Texture inside; ``amplitudes`` likewise.
    expression_parts, expression_waves : sequence
        The same for the expression level, with one channel between 0 and 1.
    """

    def __init__(
        self,
        *,
        background: Sequence[float] | None = None,
        base: Sequence[float] | None = None,
        outline: Sequence[SoftEllipsoid] | None = None,
        parts: Sequence[SoftEllipsoid] | None = None,
        waves: Sequence[Wave] | None = None,
        expression_parts: Sequence[SoftEllipsoid] | None = None,
        expression_waves: Sequence[Wave] | None = None,
    ) -> None:
        self.background = tuple(_BACKGROUND if background is None else background)
        self.base = tuple(_BASE if base is None else base)
        self.outline = tuple(_OUTLINE if outline is None else outline)
        self.parts = tuple(_PARTS if parts is None else parts)
        self.waves = tuple(_brain_waves() if waves is None else waves)
        self.expression_parts = tuple(_EXPRESSION_PARTS if expression_parts is None else expression_parts)
        self.expression_waves = tuple(_expression_waves() if expression_waves is None else expression_waves)

    def render(
        self,
        index_to_reference: ArrayLike,
        shape: tuple[int, int],
        *,
        box: Box | None = None,
        reference_space_id: int = 9,
    ) -> NDArray[np.uint8]:
        """Draw the phantom as an image.

        Each pixel is the mean of the phantom over the parallelogram between the pixel's borders.

        Parameters
        ----------
        index_to_reference : (3, 3) array of float64
            Takes pixel indices (x, y, 1) to (p, i, r) in µm.
        shape : (height, width)
            Size of the whole image in pixels.
        box : Box, optional
            Draw these pixels only: they are the same as in the whole image.
        reference_space_id : int
            The space that the matrix maps to: 9 or 10.

        Returns
        -------
        (h, w, 3) array of uint8
        """
        wanted = Box.of_shape(shape) if box is None else box
        image = np.empty((*wanted.shape, 3), dtype=np.uint8)
        grid = _Grid(to_space_9(index_to_reference, reference_space_id), wanted)
        field = _Field(grid, self.outline, self.parts, self.waves, self.base)
        background = np.array(self.background, dtype=np.float32)
        for block in grid.blocks():
            tissue = field.tissue(block)
            target = image[grid.inside(block).slices]
            if tissue is None:
                target[...] = np.rint(background).astype(np.uint8)
                continue
            for channel in range(3):
                values = field.channel(block, channel)
                values -= background[channel]
                values *= tissue
                values += background[channel]
                target[..., channel] = _to_grey(grid.mean(values))[grid.part_of(block).slices]
        return image

    def tissue(
        self,
        index_to_reference: ArrayLike,
        shape: tuple[int, int],
        *,
        reference_space_id: int = 9,
    ) -> NDArray[np.float32]:
        """Return how much of each pixel is tissue: 1 inside, 0 outside, between them on the soft edge.

        Parameters
        ----------
        index_to_reference, shape, reference_space_id
            As in :meth:`render`.

        Returns
        -------
        (h, w) array of float32
        """
        grid = _Grid(to_space_9(index_to_reference, reference_space_id), Box.of_shape(shape))
        field = _Field(grid, self.outline, (), (), (0.0,))
        result = np.zeros(shape, dtype=np.float32)
        for block in grid.blocks():
            tissue = field.tissue(block)
            if tissue is not None:
                whole = np.broadcast_to(tissue, block.shape)
                result[grid.inside(block).slices] = grid.mean(whole)[grid.part_of(block).slices]
        return result

    def expression(
        self,
        index_to_reference: ArrayLike,
        shape: tuple[int, int],
        *,
        box: Box | None = None,
        reference_space_id: int = 9,
    ) -> NDArray[np.float32]:
        """Return the expression level between 0 and 1.

        Parameters
        ----------
        index_to_reference, shape, box, reference_space_id
            As in :meth:`render`.

        Returns
        -------
        (h, w) array of float32
        """
        wanted = Box.of_shape(shape) if box is None else box
        level = np.zeros(wanted.shape, dtype=np.float32)
        for part, values in self._levels(index_to_reference, wanted, reference_space_id):
            level[part.slices] = values
        return level

    def expression_grey(
        self,
        index_to_reference: ArrayLike,
        shape: tuple[int, int],
        *,
        box: Box | None = None,
        reference_space_id: int = 9,
    ) -> NDArray[np.uint8]:
        """Return the expression level as grey: 255 where it is 1, and 0 where it is not above the threshold.

        Parameters
        ----------
        index_to_reference, shape, box, reference_space_id
            As in :meth:`render`.

        Returns
        -------
        (h, w) array of uint8
        """
        wanted = Box.of_shape(shape) if box is None else box
        grey = np.zeros(wanted.shape, dtype=np.uint8)
        for part, values in self._levels(index_to_reference, wanted, reference_space_id):
            is_above = values > EXPRESSION_THRESHOLD
            grey[part.slices] = np.where(is_above, np.rint(values * 255), 0).astype(np.uint8)
        return grey

    def expression_mask(
        self,
        index_to_reference: ArrayLike,
        shape: tuple[int, int],
        *,
        box: Box | None = None,
        reference_space_id: int = 9,
    ) -> NDArray[np.uint8]:
        """Return the expression mask: jet colours where the level is above the threshold, black elsewhere.

        Parameters
        ----------
        index_to_reference, shape, box, reference_space_id
            As in :meth:`render`.

        Returns
        -------
        (h, w, 3) array of uint8
        """
        wanted = Box.of_shape(shape) if box is None else box
        mask = np.zeros((*wanted.shape, 3), dtype=np.uint8)
        for part, values in self._levels(index_to_reference, wanted, reference_space_id):
            colours = jet((values - EXPRESSION_THRESHOLD) / (1.0 - EXPRESSION_THRESHOLD))
            colours[values <= EXPRESSION_THRESHOLD] = 0
            mask[part.slices] = colours
        return mask

    def _levels(
        self, index_to_reference: ArrayLike, wanted: Box, reference_space_id: int
    ) -> Iterator[tuple[Box, NDArray[np.float32]]]:
        """Give the expression level block by block, with its position within what is wanted; 0 everywhere else."""
        grid = _Grid(to_space_9(index_to_reference, reference_space_id), wanted)
        field = _Field(grid, self.outline, self.expression_parts, self.expression_waves, (_EXPRESSION_BASE,))
        for block in grid.blocks():
            tissue = field.tissue(block)
            if tissue is not None:
                values = field.channel(block, 0)
                np.clip(values, 0.0, 1.0, out=values)
                values *= tissue
                yield grid.inside(block), grid.mean(values)[grid.part_of(block).slices]


class _Grid:
    """The pixels wanted, cut into blocks of sub-pixels at positions that do not depend on what is wanted."""

    def __init__(self, index_to_reference: NDArray[np.float64], wanted: Box) -> None:
        self.wanted = wanted
        pitch_um = float(np.linalg.norm(index_to_reference[:, :2], axis=0).max())
        n = 1
        while pitch_um / n > _SUPERSAMPLE_ABOVE_UM and n < _MAX_SUPERSAMPLES:
            n *= 2
        self.n_samples = n
        # Sub-pixel m of pixel i is centred at (m + ½) / n - ½, counted from the first sub-pixel of pixel 0.
        offset = 0.5 / n - 0.5
        self.matrix = index_to_reference @ np.array(
            [[1.0 / n, 0.0, offset], [0.0, 1.0 / n, offset], [0.0, 0.0, 1.0]]
        )
        rows, columns = _BLOCK[0], _BLOCK[1]
        self.span = Box(
            wanted.y0 * n // rows * rows,
            wanted.x0 * n // columns * columns,
            -(-wanted.y1 * n // rows) * rows,
            -(-wanted.x1 * n // columns) * columns,
        )

    def blocks(self) -> list[Box]:
        """Return the blocks, in sub-pixels."""
        return [tile.shift(self.span.y0, self.span.x0) for tile in tiles_of(self.span.shape, _BLOCK)]

    def _pixels(self, block: Box) -> Box:
        n = self.n_samples
        return Box(block.y0 // n, block.x0 // n, block.y1 // n, block.x1 // n)

    def inside(self, block: Box) -> Box:
        """Return the pixels of a block that are wanted, in the frame of the result."""
        return self._pixels(block).intersect(self.wanted).shift(-self.wanted.y0, -self.wanted.x0)

    def part_of(self, block: Box) -> Box:
        """Return the pixels of a block that are wanted, in the frame of the block."""
        pixels = self._pixels(block)
        return pixels.intersect(self.wanted).shift(-pixels.y0, -pixels.x0)

    def mean(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Average the sub-pixels of every pixel of a block."""
        n = self.n_samples
        if n == 1:
            return values
        rows, columns = values.shape
        averaged: NDArray[np.float32] = values.reshape(rows // n, n, columns // n, n).mean(
            axis=(1, 3), dtype=np.float32
        )
        return averaged


class _Field:
    """Ellipsoids and waves, evaluated on the blocks of one grid."""

    def __init__(
        self,
        grid: _Grid,
        outline: Sequence[SoftEllipsoid],
        parts: Sequence[SoftEllipsoid],
        waves: Sequence[Wave],
        base: Sequence[float],
    ) -> None:
        self._span = grid.span
        self._outline = [(part, part.along(grid.matrix)) for part in outline]
        self._parts = [(part, part.along(grid.matrix)) for part in parts]
        self._base = base
        self._rows: list[NDArray[np.float32]] = []
        self._shares_of: Box | None = None
        self._shares_now: list[tuple[NDArray[np.float32] | float, tuple[float, ...]]] = []
        if waves:
            self._set_waves(grid, waves)

    def _set_waves(self, grid: _Grid, waves: Sequence[Wave]) -> None:
        span = grid.span
        k = np.array([wave.k for wave in waves]) @ grid.matrix
        phases = k[:, 2] + np.array([wave.phase for wave in waves])
        # The mean over a sub-pixel; np.sinc(t) is sin(πt) / (πt).
        mean = np.sinc(k[:, 0] / (2 * np.pi)) * np.sinc(k[:, 1] / (2 * np.pi))
        # Phases reach thousands of radians: they are summed in float64 and only the cosines become float32.
        along = np.outer(k[:, 0], np.arange(span.x0, span.x1, dtype=np.float64))
        down = np.outer(np.arange(span.y0, span.y1, dtype=np.float64), k[:, 1]) + phases
        self._columns = np.vstack([np.cos(along), -np.sin(along)]).astype(np.float32)
        factors = np.hstack([np.cos(down), np.sin(down)])
        for channel in range(len(self._base)):
            amplitudes = mean * np.array([wave.amplitudes[channel] for wave in waves])
            self._rows.append((factors * np.tile(amplitudes, 2)).astype(np.float32))

    def tissue(self, block: Box) -> NDArray[np.float32] | float | None:
        """Return the share of tissue: an array, 1.0 where the whole block is inside, None where none of it."""
        rest: NDArray[np.float32] | None = None
        for part, unit in self._outline:
            share = _soft(part, unit, block)
            if isinstance(share, np.ndarray):
                np.subtract(1.0, share, out=share)
                rest = share if rest is None else np.multiply(rest, share, out=rest)
            elif share == 1.0:
                return 1.0
        return None if rest is None else np.subtract(1.0, rest, out=rest)

    def channel(self, block: Box, channel: int) -> NDArray[np.float32]:
        """Return the sum of base, parts and waves in one channel."""
        local = block.shift(-self._span.y0, -self._span.x0)
        rows, columns = local.slices
        if self._rows:
            values = _small_products(self._rows[channel][rows], self._columns[:, columns])
        else:
            values = np.zeros(block.shape, dtype=np.float32)
        constant = self._base[channel]
        for share, amplitudes in self._shares(block):
            if isinstance(share, np.ndarray):
                values += share * np.float32(amplitudes[channel])
            else:
                constant += share * amplitudes[channel]
        values += np.float32(constant)
        return values

    def _shares(self, block: Box) -> list[tuple[NDArray[np.float32] | float, tuple[float, ...]]]:
        # The three channels of a block share them.
        if self._shares_of != block:
            self._shares_of = block
            self._shares_now = [
                (share, part.amplitudes)
                for part, unit in self._parts
                if isinstance(share := _soft(part, unit, block), np.ndarray) or share != 0.0
            ]
        return self._shares_now


def _small_products(rows: NDArray[np.float32], columns: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return ``rows @ columns`` of one block, computed in pieces that the linear algebra takes one thread for.

    OpenBLAS shares out products of more than 2^18 multiplications among all cores, and its threads wait for each
    other actively: beside other work on the same cores a block then takes ten times as long.
    """
    height, width, n = rows.shape[0], columns.shape[1], rows.shape[1]
    values = np.empty((height, width), dtype=np.float32)
    h, w = _PIECE
    np.matmul(
        rows.reshape(height // h, 1, h, n),
        columns.reshape(n, width // w, w).transpose(1, 0, 2)[np.newaxis],
        out=values.reshape(height // h, h, width // w, w).transpose(0, 2, 1, 3),
    )
    return values


def _soft(part: SoftEllipsoid, unit: NDArray[np.float64], block: Box) -> NDArray[np.float32] | float:
    """Return an ellipsoid's share in a block: an array, or 0.0 or 1.0 where the block is all out or all in."""
    height, width = block.shape
    x_mid, y_mid = (block.x0 + block.x1 - 1) / 2, (block.y0 + block.y1 - 1) / 2
    middle = unit @ np.array([x_mid, y_mid, 1.0])
    half = 0.5 * np.array([[width, width], [height, -height]])
    reach = float(np.linalg.norm(unit[:, :2] @ half, axis=0).max())
    distance = float(np.linalg.norm(middle))
    inner, outer = 1.0 - part.softness / 2, 1.0 + part.softness / 2
    # The distance from the centre, in radii, is a norm: it changes over the block by no more than its reach.
    if distance - reach >= outer:
        return 0.0
    if distance + reach <= inner:
        return 1.0
    # |unit · (x, y, 1)|² = xᵀGx + 2gᵀx + m², written as a sum of three outer products around the block's middle.
    gram = unit[:, :2].T @ unit[:, :2]
    slope = middle @ unit[:, :2]
    x = np.arange(width, dtype=np.float64) - (width - 1) / 2
    y = np.arange(height, dtype=np.float64) - (height - 1) / 2
    rows = np.column_stack(
        [
            distance**2 + 2 * slope[1] * y + gram[1, 1] * y**2,
            2 * slope[0] + 2 * gram[0, 1] * y,
            np.ones(height),
        ]
    )
    columns = np.vstack([np.ones(width), x, gram[0, 0] * x**2])
    # 0 at the outer border and 1 at the inner one, linear in the squared distance.
    span = outer**2 - inner**2
    rows /= -span
    rows[:, 0] += outer**2 / span
    share: NDArray[np.float32] = rows.astype(np.float32) @ columns.astype(np.float32)
    np.clip(share, 0.0, 1.0, out=share)
    bend = np.float32(3.0) - np.float32(2.0) * share
    bend *= share
    share *= bend
    return share


def _to_grey(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    rounded = values + np.float32(0.5)
    np.clip(rounded, 0.0, 255.0, out=rounded)
    return rounded.astype(np.uint8)


# The additive recurrence of the plastic number fills the unit cube evenly, without a random generator whose
# stream might change with a version.
_PLASTIC = 1.2207440846057596


def _spread(n: int, start: float) -> NDArray[np.float64]:
    """Return n points of the unit cube of four dimensions, the same ones always."""
    steps = np.array([_PLASTIC**-1, _PLASTIC**-2, _PLASTIC**-3, math.sqrt(5) / 2 - 0.5])
    return np.modf(start + np.outer(np.arange(1, n + 1), steps))[0]


def _everywhere(u: float, v: float) -> tuple[float, float, float]:
    """Return a direction of the sphere."""
    height, turn = 2 * u - 1, 2 * math.pi * v
    flat = math.sqrt(1 - height**2)
    return flat * math.cos(turn), flat * math.sin(turn), height


def _off_the_axes(u: float, v: float) -> tuple[float, float, float]:
    """Return a direction near a diagonal of the axes.

    No anatomical plane is perpendicular to it, so that a short wave is short in every section and vanishes from
    a coarse grid.
    """
    # The leading bits of u and v choose the diagonal, what remains of them where around it.
    p, i = (math.copysign(0.7 + 0.6 * math.modf(2 * x)[0], x - 0.5) for x in (u, v))
    length = math.sqrt(p * p + i * i + 1)
    return p / length, i / length, 1 / length


def _waves(
    n: int,
    wavelengths_um: tuple[float, float],
    amplitudes: Sequence[float],
    *,
    start: float,
    tint: float = 0.0,
    direction: Callable[[float, float], tuple[float, float, float]] = _everywhere,
) -> list[Wave]:
    waves = []
    for i, (u, v, w, phase) in enumerate(_spread(n, start).tolist()):
        wavelength = wavelengths_um[0] * (wavelengths_um[1] / wavelengths_um[0]) ** w
        k = 2 * math.pi / wavelength
        colour = tuple(
            a * (1 + tint * math.cos(2 * math.pi * (i / n + channel / 3)))
            for channel, a in enumerate(amplitudes)
        )
        p_part, i_part, r_part = direction(u, v)
        waves.append(Wave((k * p_part, k * i_part, k * r_part), 2 * math.pi * phase, colour))
    return waves


def _brain_waves() -> list[Wave]:
    # The long waves place a section: their gradient is about 25 grey levels in 100 µm. The short ones stand
    # for cells: they give a JPEG the size of a real one.
    return [
        *_waves(10, (380.0, 1900.0), (8.0, 8.0, 6.0), start=0.31, tint=0.3),
        *_waves(24, (7.0, 18.0), (3.6, 3.8, 2.8), start=0.77, direction=_off_the_axes),
    ]


def _expression_waves() -> list[Wave]:
    return _waves(8, (300.0, 1500.0), (0.11,), start=0.13)


_BACKGROUND = (236.0, 234.0, 238.0)
_BASE = (150.0, 138.0, 164.0)
_EXPRESSION_BASE = 0.38

_OUTLINE = (
    SoftEllipsoid((5750.0, 3650.0, 7650.0), (4350.0, 3000.0, 2950.0), 0.08, 0.06),
    SoftEllipsoid((5950.0, 3700.0, 3600.0), (4150.0, 2900.0, 2700.0), 0.05, 0.06),
    SoftEllipsoid((8300.0, 5100.0, 5650.0), (3900.0, 1950.0, 2350.0), 0.10, 0.08),
    SoftEllipsoid((11050.0, 3150.0, 5850.0), (1700.0, 2150.0, 3500.0), -0.20, 0.10),
    SoftEllipsoid((11700.0, 5850.0, 5600.0), (1350.0, 1050.0, 1600.0), 0.20, 0.14),
    SoftEllipsoid((1600.0, 3950.0, 6400.0), (1400.0, 1150.0, 850.0), 0.15, 0.16),
    SoftEllipsoid((1850.0, 4050.0, 4850.0), (1250.0, 1050.0, 800.0), 0.10, 0.16),
)

_PARTS = (
    # Two nested ellipsoids of opposite sign are a shell: white matter under the cortex.
    SoftEllipsoid((5800.0, 3800.0, 7800.0), (3600.0, 2250.0, 2080.0), 0.08, 0.06, (42.0, 44.0, 30.0)),
    SoftEllipsoid((5800.0, 3850.0, 7800.0), (3300.0, 1950.0, 1780.0), 0.08, 0.10, (-52.0, -52.0, -36.0)),
    SoftEllipsoid((6000.0, 3850.0, 3500.0), (3450.0, 2150.0, 1950.0), 0.05, 0.06, (42.0, 44.0, 30.0)),
    SoftEllipsoid((6000.0, 3900.0, 3500.0), (3150.0, 1850.0, 1650.0), 0.05, 0.10, (-48.0, -50.0, -34.0)),
    # Dense layers and nuclei, not in the same places left and right.
    SoftEllipsoid((7500.0, 3000.0, 7900.0), (1300.0, 800.0, 1300.0), -0.30, 0.20, (-26.0, -30.0, -14.0)),
    SoftEllipsoid((7350.0, 3050.0, 7950.0), (1000.0, 520.0, 1000.0), -0.30, 0.25, (38.0, 40.0, 26.0)),
    SoftEllipsoid((7900.0, 3250.0, 3300.0), (1100.0, 700.0, 1100.0), -0.20, 0.20, (-26.0, -30.0, -14.0)),
    SoftEllipsoid((7000.0, 4700.0, 6300.0), (1200.0, 900.0, 900.0), 0.0, 0.50, (22.0, 10.0, 18.0)),
    SoftEllipsoid((4300.0, 4300.0, 8000.0), (1300.0, 1100.0, 1000.0), 0.20, 0.40, (12.0, 24.0, 20.0)),
    SoftEllipsoid((4600.0, 4500.0, 2900.0), (900.0, 1300.0, 800.0), 0.40, 0.40, (-18.0, -6.0, -22.0)),
    SoftEllipsoid((11200.0, 3000.0, 6300.0), (900.0, 1400.0, 2500.0), -0.20, 0.30, (24.0, 26.0, 16.0)),
)

_EXPRESSION_PARTS = (
    SoftEllipsoid((7500.0, 3000.0, 7900.0), (1400.0, 900.0, 1400.0), -0.30, 0.50, (0.45,)),
    SoftEllipsoid((4600.0, 4500.0, 2900.0), (1100.0, 1500.0, 1000.0), 0.40, 0.60, (0.40,)),
    SoftEllipsoid((3000.0, 3200.0, 7900.0), (1500.0, 1000.0, 1200.0), 0.0, 0.80, (0.30,)),
    SoftEllipsoid((11200.0, 3000.0, 6300.0), (1000.0, 1500.0, 2600.0), -0.20, 0.50, (0.30,)),
)
