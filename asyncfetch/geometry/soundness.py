"""Whether a map is usable: what its matrix does to lengths, held against what alignments do.

A map that flattens its domain, or that makes a brain a hundred times as large, still gives numbers, and planes made
with them would be garbage that looks like data. The bounds lie far outside of what was ever recorded: the scale of
``tsv`` is the image's resolution to all printed digits (REC-3), and the recorded maps between a volume and the
reference space stretch no direction by more than a third. Reflections are legal.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = [
    "MAX_DISAGREEMENT_PX",
    "MAX_DISAGREEMENT_UM",
    "are_sound_2d",
    "are_sound_3d",
    "disagreement_2d",
    "disagreement_3d",
    "flaw_2d",
    "flaw_3d",
]

#: How far lengths may be from those expected, either way: a mistaken unit is further off, a registration never is.
_MAX_STRETCH = 10.0
#: How much more one direction may be stretched than the other where no length is expected.
_MAX_ANISOTROPY = _MAX_STRETCH**2
#: A hundred metres in µm, or as many pixels: no section lies there, and numbers below it never overflow.
_MAX_OFFSET = 1e8
#: Where two maps are held against each other: beyond most sections' borders.
_FAR_PX = 10_000.0
#: Six digits put a point up to a tenth of a pixel beside where it was (REC-3); matrices in another layout put it
#: whole pixels beside.
MAX_DISAGREEMENT_PX = 1.0
#: Where two maps of space are held against each other: as far as the reference spaces reach (REC-4).
_FAR_UM = 13_200.0
#: A voxel of the finest common atlas, which is also the thickness of most sections. Six digits put a point up to a
#: fifth of a µm beside where it was, the recorded ones a tenth (REC-3); matrices of two registrations, or in another
#: layout, put it hundreds of µm beside.
MAX_DISAGREEMENT_UM = 25.0
#: A direction that keeps less than this share of the others' lengths is lost.
_SINGULAR = 1e-9

#: Where the largest distance between two affine maps of a cube is found, as columns (p, i, r, 1).
_CORNERS_UM = np.array(
    [(p, i, r, 1.0) for p in (0.0, _FAR_UM) for i in (0.0, _FAR_UM) for r in (0.0, _FAR_UM)]
).T


def flaw_2d(matrix: NDArray[np.float64], scale: float | None) -> str | None:
    """Say what is wrong with a map of the plane, None where nothing is.

    Parameters
    ----------
    matrix : (2, 3) array of float64
        The map.
    scale : float or None
        How many units of its range one unit of its domain is expected to be; None where that is not known.
    """
    (a, b, tx), (c, d, ty) = matrix.tolist()
    low, high = _gains(a, b, c, d, math.hypot)
    return _flaw(low, high, max(abs(tx), abs(ty)), scale)


def disagreement_2d(forth: NDArray[np.float64], back: NDArray[np.float64]) -> float:
    """Return how far from where it was, at the most, a point of an image comes back through two maps, in pixels.

    Parameters
    ----------
    forth, back : (2, 3) array of float64
        The map from the image and the one to it.
    """
    (a, b, tx), (c, d, ty) = forth.tolist()
    (e, f, ux), (g, h, uy) = back.tolist()

    def off(x: float, y: float) -> float:
        vx, vy = a * x + b * y + tx, c * x + d * y + ty
        return float(max(abs(e * vx + f * vy + ux - x), abs(g * vx + h * vy + uy - y)))

    return max(off(0.0, 0.0), off(_FAR_PX, 0.0), off(0.0, _FAR_PX))


def flaw_3d(matrix: NDArray[np.float64]) -> str | None:
    """Say what is wrong with a (3, 4) map between a volume and the reference space, both in µm; None if nothing is."""
    gains = np.linalg.svd(matrix[:, :3], compute_uv=False)
    return _flaw(float(gains[-1]), float(gains[0]), float(np.abs(matrix[:, 3]).max()), 1.0)


def disagreement_3d(forth: NDArray[np.float64], back: NDArray[np.float64]) -> float:
    """Return how far from where it was, at the most, a point of space comes back through two maps, in µm.

    Parameters
    ----------
    forth, back : (3, 4) array of float64
        The map from the reference space, of which the corners are held against each other, and the one to it.
    """
    off = back[:, :3] @ forth
    off[:, 3] += back[:, 3]
    off[:, :3] -= np.eye(3)
    return float(np.abs(off @ _CORNERS_UM).max())


def are_sound_2d(matrices: NDArray[np.float64], scales: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell which of many maps of the plane have no flaw; see `flaw_2d`.

    Parameters
    ----------
    matrices : (n, 2, 3) array of float64
        The maps; one that holds a NaN is not sound.
    scales : (n,) array of float64
        What is expected of each; NaN where that is not known.

    Returns
    -------
    (n,) array of bool
    """
    (a, b, tx), (c, d, ty) = np.moveaxis(matrices, 0, -1)
    with np.errstate(over="ignore", invalid="ignore"):
        low, high = _gains(a, b, c, d, np.hypot)
        is_even = low * _MAX_ANISOTROPY >= high
        is_scaled = np.isnan(scales) | ((low * _MAX_STRETCH >= scales) & (high <= scales * _MAX_STRETCH))
        is_near = (np.abs(tx) <= _MAX_OFFSET) & (np.abs(ty) <= _MAX_OFFSET)
    return np.asarray(is_even & is_scaled & is_near & (high > 0))


def are_sound_3d(matrices: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell which of many maps between a volume and the reference space, (n, 3, 4), have no flaw; see `flaw_3d`."""
    is_finite = np.isfinite(matrices).all(axis=(1, 2))
    gains = np.linalg.svd(np.where(is_finite[:, None, None], matrices[:, :, :3], 0.0), compute_uv=False)
    is_scaled = (gains[:, -1] * _MAX_STRETCH >= 1.0) & (gains[:, 0] <= _MAX_STRETCH)
    return np.asarray(is_scaled & (np.abs(matrices[:, :, 3]).max(axis=1) <= _MAX_OFFSET))


def _gains(a: Any, b: Any, c: Any, d: Any, hypot: Callable[[Any, Any], Any]) -> tuple[Any, Any]:
    """Return the singular values of [[a, b], [c, d]], the smaller one first, in closed form."""
    turned, mirrored = hypot(a + d, c - b) / 2, hypot(a - d, c + b) / 2
    return abs(turned - mirrored), turned + mirrored


def _flaw(low: float, high: float, offset: float, scale: float | None) -> str | None:
    if not low > _SINGULAR * high:
        return "is singular"
    if low * _MAX_ANISOTROPY < high:
        return f"stretches one direction {high / low:.0f} times as much as another"
    if scale is not None and (low * _MAX_STRETCH < scale or high > scale * _MAX_STRETCH):
        worst = low if low * _MAX_STRETCH < scale else high
        return f"scales lengths by {worst:.3g} instead of about {scale:.3g}"
    if offset > _MAX_OFFSET:
        return f"moves points by {offset:.3g}"
    return None
