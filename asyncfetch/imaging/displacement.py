"""Displacement fields: where each pixel of a grid lies in a source, one vector a pixel, not one matrix for all."""

from __future__ import annotations

import math
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args
from zipfile import BadZipFile

import numpy as np

from asyncfetch.errors import SelectionError, StoreError
from asyncfetch.geometry import MARGINS, WARP_BLOCK, Box, tiles_of
from asyncfetch.imaging.opencv import Interpolation, lanczos_weights, sample

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike, NDArray

    from asyncfetch.geometry import Affine2D

__all__ = ["Border", "DisplacementField"]

#: What lies outside of a source whose pixels are ``abcd``.
#:
#: ======== ==================================
#: constant ``kkkk|abcd|kkkk`` with k = fill
#: edge     ``aaaa|abcd|dddd``
#: reflect  ``dcba|abcd|dcba``
#: mirror   ``dcb|abcd|cba``
#: wrap     ``abcd|abcd|abcd``
#: ======== ==================================
Border = Literal["constant", "edge", "reflect", "mirror", "wrap"]

# The longest side of what one block is sampled from: up to here float32 holds positions to 1/4096 px, and the copy that
# is made at the border stays below 13 MB. Blocks that see more, of fields that jump, are gathered pixel by pixel.
_MAX_CROP_PX = 2048

_CUBIC = -0.75


@dataclass(frozen=True, eq=False, repr=False)
class DisplacementField:
    """A field of vectors: each pixel (x, y) of a grid lies at (x + dx, y + dy) in a source.

    Pixel k is centred at k, in the grid and in the source. A displacement of NaN says that a pixel lies nowhere.

    Parameters
    ----------
    dx, dy : (y, x) array of float64 or float32
        In source pixels. They are copied and made read-only; other types become float64.

    Raises
    ------
    SelectionError
        The arrays are not two planes of one shape, or hold infinities.
    """

    dx: NDArray[np.floating]
    dy: NDArray[np.floating]

    def __post_init__(self) -> None:
        dx, dy = np.asarray(self.dx), np.asarray(self.dy)
        if dx.ndim != 2 or dx.shape != dy.shape or 0 in dx.shape:
            raise SelectionError(
                f"displacements are two planes (y, x) of one shape, not {dx.shape} and {dy.shape}"
            )
        dtype = np.float32 if dx.dtype == dy.dtype == np.float32 else np.float64
        for name, values in (("dx", dx), ("dy", dy)):
            array = np.array(values, dtype=dtype, order="C")
            if np.isinf(array).any():
                raise SelectionError(f"{name} holds infinities; NaN marks pixels that lie nowhere")
            array.flags.writeable = False
            object.__setattr__(self, name, array)

    @classmethod
    def from_affine(
        cls, grid_to_source: Affine2D, shape: tuple[int, int], dtype: DTypeLike = np.float64
    ) -> DisplacementField:
        """Build the field of an affine map.

        Parameters
        ----------
        grid_to_source : Affine2D
            Pixel centres (x, y) of the grid to pixel centres of the source.
        shape : (height, width)
            Size of the grid.
        dtype : dtype
            float64 or float32; computed in float64 in any case.
        """
        x, y = _grid(shape)
        (xx, xy, x0), (yx, yy, y0) = grid_to_source.matrix
        dx = (xx - 1) * x + xy * y + x0
        dy = yx * x + (yy - 1) * y + y0
        return cls(dx.astype(dtype), dy.astype(dtype))

    @classmethod
    def from_positions(cls, positions: ArrayLike, dtype: DTypeLike = np.float64) -> DisplacementField:
        """Build the field from where the pixels lie.

        Parameters
        ----------
        positions : (y, x, 2) array of float
            (x, y) in the source, for each pixel of the grid.
        dtype : dtype
            float64 or float32; computed in float64 in any case.
        """
        array = np.asarray(positions, dtype=np.float64)
        if array.ndim != 3 or array.shape[2] != 2:
            raise SelectionError(f"positions are (y, x, 2), not {array.shape}")
        x, y = _grid((array.shape[0], array.shape[1]))
        return cls((array[..., 0] - x).astype(dtype), (array[..., 1] - y).astype(dtype))

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the grid."""
        return self.dx.shape[0], self.dx.shape[1]

    @property
    def dtype(self) -> np.dtype[Any]:
        """float64 or float32."""
        return self.dx.dtype

    def positions(self, box: Box | None = None) -> NDArray[np.float64]:
        """Return where the pixels of a box, by default of the whole grid, lie.

        Returns
        -------
        (y, x, 2) array of float64
            (x, y) in the source.
        """
        x, y = self._positions(Box.of_shape(self.shape) if box is None else box)
        return np.stack([x, y], axis=-1)

    def norm(self) -> NDArray[np.floating]:
        """Return how far each pixel is displaced: a (y, x) array in source pixels."""
        length: NDArray[np.floating] = np.hypot(self.dx, self.dy)
        return length

    def scale(self, factor: float) -> DisplacementField:
        """Return the field whose displacements are ``factor`` times as long."""
        return DisplacementField(self.dx * self.dtype.type(factor), self.dy * self.dtype.type(factor))

    def resize(self, shape: tuple[int, int]) -> DisplacementField:
        """Return the field of a finer or coarser grid over the same area, into the same source.

        Displacements are interpolated linearly, and go on linearly over the last half pixel.

        Parameters
        ----------
        shape : (height, width)
            Size of the new grid in pixels. Its pixel k lies at (k + ½) · old / new - ½ of the old one.
        """
        height, width = shape
        if height < 1 or width < 1:
            raise SelectionError(f"a grid has at least one pixel, not {height} x {width}")
        x, y = _grid(shape)
        old_x = (x + 0.5) * (self.shape[1] / width) - 0.5
        old_y = (y + 0.5) * (self.shape[0] / height) - 0.5
        dx, dy = self._at(old_x, old_y)
        return DisplacementField((dx + (old_x - x)).astype(self.dtype), (dy + (old_y - y)).astype(self.dtype))

    def compose(self, other: DisplacementField) -> DisplacementField:
        """Return the field that applies ``other`` first and ``self`` after it.

        ``other`` takes pixels of its grid to positions in the grid of ``self``, which takes them on to the source,
        interpolated linearly. So ``self.compose(other).warp(pixels)`` is ``other.warp(self.warp(pixels))`` with the
        pixels sampled once instead of twice; affine maps compose with ``@`` in the same order.

        Parameters
        ----------
        other : DisplacementField
            Positions more than half a pixel outside of the grid of ``self`` lie nowhere.

        Returns
        -------
        DisplacementField
            On the grid of ``other``; float32 where both are.
        """
        between = other.positions()
        dx, dy = self._at(between[..., 0], between[..., 1])
        between[..., 0] += dx
        between[..., 1] += dy
        return DisplacementField.from_positions(between, np.result_type(self.dtype, other.dtype))

    def then(self, source_map: Affine2D) -> DisplacementField:
        """Return the field into another source: positions go through ``source_map``, such as to a tier."""
        return DisplacementField.from_positions(source_map.apply(self.positions()), self.dtype)

    def warp(
        self,
        pixels: NDArray[np.uint8],
        *,
        interpolation: Interpolation = "linear",
        fill: int = 0,
        border: Border = "constant",
        box: Box | None = None,
    ) -> NDArray[np.uint8]:
        """Sample an image where the pixels of the grid lie.

        It samples at points: where the field steps over pixels they are left out, unlike in
        :func:`asyncfetch.imaging.warp`, which averages. The result is the same bit for bit whatever boxes it is
        asked for in, because it is computed in aligned blocks of :data:`asyncfetch.geometry.WARP_BLOCK` pixels.

        Parameters
        ----------
        pixels : (y, x, c) array of uint8
            1, 3 or 4 channels, of any size.
        interpolation : str
            ``nearest``, ``linear``, ``cubic`` or ``lanczos``.
        fill : int
            Grey level of pixels that lie nowhere and, where ``border`` is ``constant``, outside of the image.
        border : str
            What lies outside of the image: one of :data:`Border`.
        box : Box, optional
            The part of the grid that is wanted; the whole by default.

        Returns
        -------
        (h, w, c) array of uint8
            ``h`` and ``w`` of the box.

        Raises
        ------
        SelectionError
            An argument does not fit.
        """
        region = Box.of_shape(self.shape) if box is None else box
        _check(pixels, interpolation, fill, border)
        if not region.is_empty and region.intersect(Box.of_shape(self.shape)) != region:
            raise SelectionError(
                f"{region} does not lie within the grid of {self.shape[0]} x {self.shape[1]}"
            )
        sampler = _Sampler(pixels, interpolation, fill, border)
        out = np.empty((*region.shape, pixels.shape[2]), dtype=np.uint8)
        for whole in tiles_of(self.shape, WARP_BLOCK):
            part = whole.intersect(region)
            if part.is_empty:
                continue
            target = out[part.shift(-region.y0, -region.x0).slices]
            if part == whole:
                sampler.render(*self._positions(whole), target)
            else:
                rendered = np.empty((*whole.shape, pixels.shape[2]), dtype=np.uint8)
                sampler.render(*self._positions(whole), rendered)
                target[...] = rendered[part.shift(-whole.y0, -whole.x0).slices]
        return out

    def save(self, path: str | Path) -> Path:
        """Write the field to a file; one that is there is replaced once the new one is whole.

        Parameters
        ----------
        path : str or Path
            ``.npz`` keeps the arrays ``dx`` and ``dy`` as they are; ``.npy`` is what atldld 0.3.4 reads and writes, one
            (y, x, 2) array of float32.

        Raises
        ------
        SelectionError
            The name ends otherwise.
        StoreError
            The file cannot be written.
        """
        path = Path(path)
        if path.suffix not in {".npz", ".npy"}:
            raise SelectionError(f"a field is saved as .npz, or .npy for atldld, not {path.name!r}")
        # made by opening it, so that its mode is what the user's umask says, which a temporary file's is not
        partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
        try:
            with partial.open("xb") as file:
                try:
                    if path.suffix == ".npz":
                        np.savez(file, dx=self.dx, dy=self.dy)
                    else:
                        np.save(file, np.stack([self.dx, self.dy], axis=-1).astype(np.float32))
                    file.close()
                    partial.replace(path)
                except BaseException:
                    partial.unlink(missing_ok=True)
                    raise
        except OSError as error:
            raise StoreError(f"{path} cannot be written: {error.strerror}", location=str(path)) from error
        return path

    @classmethod
    def load(cls, path: str | Path) -> DisplacementField:
        """Read a field that :meth:`save` or atldld has written.

        Raises
        ------
        StoreError
            The file cannot be read, or holds no field.
        """
        path = Path(path)
        try:
            with path.open("rb") as file:
                dx, dy = _read(np.load(file, allow_pickle=False))
                return cls(dx, dy)
        except OSError as error:
            raise StoreError(
                f"{path} cannot be read: {error.strerror or error}", location=str(path)
            ) from error
        except (ValueError, TypeError, KeyError, EOFError, BadZipFile) as error:
            raise StoreError(
                f"{path} holds no displacement field (dx and dy, or y, x, 2): {error}", location=str(path)
            ) from error

    def _positions(self, box: Box) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        x, y = _grid(box.shape)
        return self.dx[box.slices] + (x + box.x0), self.dy[box.slices] + (y + box.y0)

    def _at(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the displacements at positions of the grid; NaN where there is none."""
        height, width = self.shape
        is_inside = (x >= -0.5) & (x <= width - 0.5) & (y >= -0.5) & (y <= height - 0.5)
        # A first pixel before the last leaves a second one to interpolate or, in the last half pixel, to go on from.
        x0 = np.clip(np.floor(np.where(is_inside, x, 0)), 0, max(width - 2, 0)).astype(np.intp)
        y0 = np.clip(np.floor(np.where(is_inside, y, 0)), 0, max(height - 2, 0)).astype(np.intp)
        x1, y1 = np.minimum(x0 + 1, width - 1), np.minimum(y0 + 1, height - 1)
        u, v = np.where(is_inside, x - x0, np.nan), np.where(is_inside, y - y0, np.nan)
        found: list[NDArray[Any]] = []
        for plane in (self.dx, self.dy):
            above = plane[y0, x0] + u * (plane[y0, x1].astype(np.float64) - plane[y0, x0])
            below = plane[y1, x0] + u * (plane[y1, x1].astype(np.float64) - plane[y1, x0])
            found.append(above + v * (below - above))
        return found[0], found[1]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, DisplacementField):
            return NotImplemented
        return np.array_equal(self.dx, other.dx, equal_nan=True) and np.array_equal(
            self.dy, other.dy, equal_nan=True
        )

    __hash__ = None  # type: ignore[assignment] # as for arrays

    def __repr__(self) -> str:
        return f"DisplacementField({self.shape[0]} x {self.shape[1]}, {self.dtype})"


class _Sampler:
    """A renderer of blocks of positions from one image; nothing it computes depends on what was asked for."""

    def __init__(
        self, source: NDArray[np.uint8], interpolation: Interpolation, fill: int, border: Border
    ) -> None:
        # OpenCV would copy every crop of an image whose channels lie apart.
        self._source = source if source.strides[1:] == (source.shape[2], 1) else np.ascontiguousarray(source)
        self._interpolation: Interpolation = interpolation
        self._margin = MARGINS[interpolation]
        self._fill = fill
        self._border: Border = border

    def render(self, x: NDArray[np.float64], y: NDArray[np.float64], out: NDArray[np.uint8]) -> None:
        """Sample at positions, which are used up."""
        is_nowhere: NDArray[np.bool_] | None = None
        # The least of numbers is NaN where one of them is.
        if np.isnan(x.min()) or np.isnan(y.min()):
            is_nowhere = np.isnan(x) | np.isnan(y)
            if is_nowhere.all():
                out[...] = self._fill
                return
            # Pixels that lie nowhere are put where another one lies, so that they do not widen what is seen.
            for each in (x, y):
                each[is_nowhere] = each[~is_nowhere][0]
        height, width = self._source.shape[:2]
        x, y = self._fold(x, width), self._fold(y, height)
        margin = self._margin
        seen = Box(
            math.floor(y.min()) - margin,
            math.floor(x.min()) - margin,
            math.floor(y.max()) + margin + 2,
            math.floor(x.max()) + margin + 2,
        )
        if self._border == "constant" and seen.intersect(Box.of_shape((height, width))).is_empty:
            out[...] = self._fill
        elif max(seen.shape) > _MAX_CROP_PX:
            self._gather(x, y, out)
        else:
            x -= seen.x0
            y -= seen.y0
            sample(self._crop(seen), x, y, out, self._interpolation)
        if is_nowhere is not None:
            out[is_nowhere] = self._fill

    def _fold(self, positions: NDArray[np.float64], n: int) -> NDArray[np.float64]:
        """Return positions near the image, or on it, that see what these see."""
        margin = self._margin
        if positions.min() >= 0 and positions.max() <= n - 1:
            return positions
        if self._border == "wrap":
            return np.asarray((positions + 0.5) % n - 0.5)
        if self._border == "reflect":
            turned = (positions + 0.5) % (2 * n)
            return np.minimum(turned, 2 * n - turned) - 0.5
        if self._border == "mirror":
            period = max(2 * (n - 1), 1)
            turned = positions % period
            return np.minimum(turned, period - turned) if n > 1 else np.zeros_like(positions)
        # From here on outwards there is nothing but the edge, or nothing at all.
        return np.clip(positions, -(margin + 2.0), n + margin + 1.0, out=positions)

    def _indices(self, indices: NDArray[np.intp], n: int) -> NDArray[np.intp]:
        """Return which pixels stand at indices that may lie outside."""
        if self._border == "wrap":
            return indices % n
        if self._border == "reflect":
            turned = indices % (2 * n)
            return np.minimum(turned, 2 * n - 1 - turned)
        if self._border == "mirror":
            period = max(2 * (n - 1), 1)
            turned = indices % period
            return np.minimum(turned, period - turned) if n > 1 else np.zeros_like(indices)
        return np.clip(indices, 0, n - 1)

    def _crop(self, seen: Box) -> NDArray[np.uint8]:
        source = self._source
        inside = seen.intersect(Box.of_shape((source.shape[0], source.shape[1])))
        if inside == seen:
            return source[seen.slices]
        if self._border == "constant":
            crop = np.full((*seen.shape, source.shape[2]), self._fill, dtype=np.uint8)
            crop[inside.shift(-seen.y0, -seen.x0).slices] = source[inside.slices]
            return crop
        rows = self._indices(np.arange(seen.y0, seen.y1), source.shape[0])
        columns = self._indices(np.arange(seen.x0, seen.x1), source.shape[1])
        return source[rows[:, None], columns]

    def _gather(self, x: NDArray[np.float64], y: NDArray[np.float64], out: NDArray[np.uint8]) -> None:
        """Sample pixel by pixel: slow, from an image of any size."""
        height, width = self._source.shape[:2]
        first_x, x_weights = _taps(x, self._interpolation)
        first_y, y_weights = _taps(y, self._interpolation)
        total = np.zeros(out.shape)
        for j in range(y_weights.shape[-1]):
            rows = first_y + j
            for i in range(x_weights.shape[-1]):
                columns = first_x + i
                tap = self._source[self._indices(rows, height), self._indices(columns, width)]
                if self._border == "constant":
                    is_outside = (rows < 0) | (rows >= height) | (columns < 0) | (columns >= width)
                    tap[is_outside] = self._fill
                total += tap * (y_weights[..., j] * x_weights[..., i])[..., None]
        out[...] = np.rint(np.clip(total, 0, 255))


def _taps(
    positions: NDArray[np.float64], interpolation: Interpolation
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Return the first pixel that a position touches, and the weights of it and of those after it."""
    if interpolation == "nearest":
        return np.floor(positions + 0.5).astype(np.intp), np.ones((*positions.shape, 1))
    below = np.floor(positions)
    fractions = positions - below
    if interpolation == "linear":
        weights = np.stack([1 - fractions, fractions], axis=-1)
    elif interpolation == "cubic":
        near = np.stack([fractions, 1 - fractions], axis=-1)
        far = near + 1
        inner = ((_CUBIC + 2) * near - (_CUBIC + 3)) * near**2 + 1
        outer = (((far - 5) * far + 8) * far - 4) * _CUBIC
        weights = np.stack([outer[..., 0], inner[..., 0], inner[..., 1], outer[..., 1]], axis=-1)
    else:
        weights = lanczos_weights(fractions)
    return below.astype(np.intp) - MARGINS[interpolation], weights


def _grid(shape: tuple[int, int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return np.arange(shape[1], dtype=np.float64)[None, :], np.arange(shape[0], dtype=np.float64)[:, None]


def _read(found: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    if isinstance(found, np.ndarray):
        if found.ndim != 3 or found.shape[2] != 2:
            raise SelectionError(f"an array of the shape {found.shape}")
        return found[..., 0], found[..., 1]
    return found["dx"], found["dy"]


def _check(pixels: NDArray[np.uint8], interpolation: str, fill: int, border: str) -> None:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in {1, 3, 4} or 0 in pixels.shape:
        raise SelectionError(
            f"pixels are (y, x, c) uint8 with 1, 3 or 4 channels, not {pixels.shape} {pixels.dtype}"
        )
    for name, value, choices in (
        ("interpolation", interpolation, get_args(Interpolation)),
        ("border", border, get_args(Border)),
    ):
        if value not in choices:
            raise SelectionError(f"{name} is one of {', '.join(choices)}, not {value!r}")
    if not 0 <= fill <= 255:
        raise SelectionError(f"fill is a grey level from 0 to 255, not {fill}")
