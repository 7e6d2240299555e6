"""Affine maps of the plane and of space, in float64, composed with ``@`` and applied to points."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from asyncfetch.errors import AlignmentError, SelectionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

__all__ = ["Affine2D", "Affine3D"]

# A matrix whose condition number is beyond this has lost all of float64's 16 digits in its inverse.
_SINGULAR_CONDITION = 1e15


@dataclass(frozen=True, eq=False, repr=False)
class _Affine:
    """What maps of the plane and of space share.

    Parameters
    ----------
    matrix : (n, n + 1) array of float
        Linear part and, in the last column, translation. It is copied and made read-only.
    """

    _N_AXES: ClassVar[int]
    #: Where the API's numbers 00, 01, … stand: one row of indices a matrix row (REC-3).
    _API_LAYOUT: ClassVar[tuple[tuple[int, ...], ...]]

    matrix: NDArray[np.float64]

    def __post_init__(self) -> None:
        matrix = np.array(self.matrix, dtype=np.float64)
        n = self._N_AXES
        if matrix.shape != (n, n + 1):
            raise SelectionError(
                f"{type(self).__name__} takes a matrix of shape {(n, n + 1)}, not {matrix.shape}"
            )
        # plain floats: numpy takes five times as long to look at twelve numbers, and each section has three maps
        if not all(map(math.isfinite, matrix.ravel().tolist())):
            raise AlignmentError(f"{type(self).__name__} takes finite numbers, not {matrix.tolist()}")
        matrix.flags.writeable = False
        object.__setattr__(self, "matrix", matrix)

    @classmethod
    def from_matrix(cls, matrix: ArrayLike) -> Self:
        """Build the map from its matrix, with or without the homogeneous last row.

        Parameters
        ----------
        matrix : (n, n + 1) or (n + 1, n + 1) array of float
            The last row of the larger form must be 0, …, 0, 1.

        Raises
        ------
        SelectionError
            The shape fits neither form, or the last row makes the map projective.
        """
        array = np.asarray(matrix, dtype=np.float64)
        n = cls._N_AXES
        if array.shape == (n + 1, n + 1):
            if not np.array_equal(array[n], np.eye(n + 1)[n]):
                raise SelectionError(f"the last row of an affine matrix is 0 … 0 1, not {array[n].tolist()}")
            array = array[:n]
        return cls(array)

    @classmethod
    def from_api(cls, values: Sequence[float]) -> Self:
        """Build the map from the API's numbers, in the order of their names (00, 01, 02, …).

        Raises
        ------
        SelectionError
            There are more or fewer numbers than the map has.
        """
        n_values = cls._N_AXES * (cls._N_AXES + 1)
        if len(values) != n_values:
            raise SelectionError(f"{cls.__name__} takes {n_values} numbers of the API, not {len(values)}")
        return cls(np.array([[values[k] for k in row] for row in cls._API_LAYOUT], dtype=np.float64))

    def to_api(self) -> tuple[float, ...]:
        """Return the numbers in the order of the API's names (00, 01, 02, …)."""
        values = np.empty(self.matrix.size)
        values[np.array(self._API_LAYOUT)] = self.matrix
        return tuple(values.tolist())

    @classmethod
    def identity(cls) -> Self:
        """Return the map that leaves every point where it is."""
        return cls(np.eye(cls._N_AXES, cls._N_AXES + 1))

    @property
    def linear(self) -> NDArray[np.float64]:
        """The (n, n) linear part."""
        return self.matrix[:, :-1]

    @property
    def offset(self) -> NDArray[np.float64]:
        """The (n,) translation."""
        return self.matrix[:, -1]

    def __matmul__(self, other: Self) -> Self:
        """Return the map that applies ``other`` first and ``self`` after it."""
        if type(other) is not type(self):
            return NotImplemented
        matrix = self.linear @ other.matrix
        matrix[:, -1] += self.offset
        return type(self)(matrix)

    def inverse(self) -> Self:
        """Return the map that takes every point back.

        Raises
        ------
        AlignmentError
            The map is singular: it flattens its domain, so that there is no way back.
        """
        if not np.linalg.cond(self.linear) < _SINGULAR_CONDITION:
            raise AlignmentError(f"the map {self!r} is singular and has no inverse")
        linear = np.linalg.inv(self.linear)
        return type(self)(np.column_stack([linear, -(linear @ self.offset)]))

    def apply(self, points: ArrayLike) -> NDArray[np.float64]:
        """Map points.

        Parameters
        ----------
        points : (..., n) array of float64
            One point in the last axis.

        Returns
        -------
        (..., n) array of float64

        Raises
        ------
        SelectionError
            The last axis is not as long as the map has axes.
        """
        points = np.asarray(points, dtype=np.float64)
        if points.ndim == 0 or points.shape[-1] != self._N_AXES:
            raise SelectionError(f"points must have the shape (..., {self._N_AXES}), not {points.shape}")
        mapped: NDArray[np.float64] = points @ self.linear.T
        mapped += self.offset
        return mapped

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, type(self)):
            return NotImplemented
        return np.array_equal(self.matrix, other.matrix)

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        # Adding 0 turns -0.0 into 0.0, which compares equal and so must hash equal.
        return hash((type(self).__name__, (self.matrix + 0.0).tobytes()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.matrix.tolist()})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (np.array(self.matrix),)


@dataclass(frozen=True, eq=False, repr=False)
class Affine2D(_Affine):
    """A map from points (x, y) of one plane to points of another.

    Parameters
    ----------
    matrix : (2, 3) array of float64
        Read-only once the map is made; maps are values: they compare, hash and pickle by their numbers.

    Raises
    ------
    SelectionError
        The matrix has another shape.
    AlignmentError
        A number is not finite.
    """

    _N_AXES: ClassVar[int] = 2
    _API_LAYOUT: ClassVar[tuple[tuple[int, ...], ...]] = ((0, 1, 4), (2, 3, 5))

    @classmethod
    def scaling(cls, sx: float, sy: float | None = None) -> Self:
        """Return the map that scales x by ``sx`` and y by ``sy``, or both by ``sx``."""
        return cls(np.array([[sx, 0.0, 0.0], [0.0, sx if sy is None else sy, 0.0]]))

    @classmethod
    def translation(cls, tx: float, ty: float) -> Self:
        """Return the map that moves every point by (tx, ty)."""
        return cls(np.array([[1.0, 0.0, tx], [0.0, 1.0, ty]]))


@dataclass(frozen=True, eq=False, repr=False)
class Affine3D(_Affine):
    """A map from points of space, such as (p, i, r) in µm, to points of another space.

    Parameters
    ----------
    matrix : (3, 4) array of float64
        Read-only once the map is made; maps are values: they compare, hash and pickle by their numbers.

    Raises
    ------
    SelectionError
        The matrix has another shape.
    AlignmentError
        A number is not finite.
    """

    _N_AXES: ClassVar[int] = 3
    _API_LAYOUT: ClassVar[tuple[tuple[int, ...], ...]] = ((0, 1, 2, 9), (3, 4, 5, 10), (6, 7, 8, 11))

    @classmethod
    def scaling(cls, sp: float, si: float | None = None, sr: float | None = None) -> Self:
        """Return the map that scales the three axes, all by ``sp`` where only it is given."""
        scales = [sp, sp if si is None else si, sp if sr is None else sr]
        return cls(np.column_stack([np.diag(scales), np.zeros(3)]))

    @classmethod
    def translation(cls, tp: float, ti: float, tr: float) -> Self:
        """Return the map that moves every point by (tp, ti, tr)."""
        return cls(np.column_stack([np.eye(3), [tp, ti, tr]]))
