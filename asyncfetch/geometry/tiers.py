"""Tiers: an image halved n times, where its pixels lie, and which tier a grid needs."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from asyncfetch.errors import SelectionError, SettingsError
from asyncfetch.geometry.affine import Affine2D

__all__ = [
    "full_to_tier",
    "is_tier_shape",
    "last_tier",
    "tier_for",
    "tier_of_shape",
    "tier_shape",
    "tier_to_full",
]

#: The longer side of the last tier is at most this (IMG-3).
_LAST_TIER_SIDE = 256

#: Tiers and halvings that a run meets: each section of a plan asks for the map of its own.
_MAX_SCALES = 64


def tier_to_full(downsample: int) -> Affine2D:
    """Return the map from pixels of tier ``downsample`` to full-resolution pixels.

    Pixel k covers the full-resolution pixels k · 2^n … k · 2^n + 2^n - 1, so full = (k + ½) · 2^n - ½.
    That the server's tiers cover whole blocks is assumed: it drops the remainder (IMG-2), but
    how its pyramid places the rest is not recorded.

    Raises
    ------
    SelectionError
        ``downsample`` is negative.
    """
    return _between_tiers(2.0 ** _checked(downsample))


def full_to_tier(downsample: int) -> Affine2D:
    """Return the map from full-resolution pixels to pixels of tier ``downsample``; see :func:`tier_to_full`.

    Raises
    ------
    SelectionError
        ``downsample`` is negative.
    """
    return _between_tiers(0.5 ** _checked(downsample))


def tier_shape(height: int, width: int, downsample: int) -> tuple[int, int]:
    """Return height and width of tier ``downsample``: halving rounds down (IMG-2).

    A side never falls below 1; what the server sends for smaller tiers is not known.

    Raises
    ------
    SelectionError
        ``downsample`` is negative.
    """
    n = _checked(downsample)
    return max(height >> n, 1), max(width >> n, 1)


def last_tier(height: int, width: int) -> int:
    """Return the last tier of an image: ceil(log2(max(width, height) / 256)), as every known record says (IMG-3)."""
    return max(0, (-(-max(height, width) // _LAST_TIER_SIDE) - 1).bit_length())


def is_tier_shape(shape: tuple[int, int], full: tuple[int, int], downsample: int) -> bool:
    """Tell whether an image of a shape can be a tier of another, however the halved sides were rounded.

    Down, up, to the nearest, in one step or from tier to tier: each gives a side that is less than a pixel from the
    exact quotient (IMG-2); a whole pixel is allowed. Full resolution has nothing to round.

    Parameters
    ----------
    shape, full : tuple of int
        Height and width of the image, and of full resolution.
    downsample : int
        The tier.
    """
    size = 1 << downsample
    slack = size if downsample else 0
    return all(
        side > 0 and abs(side * size - whole) <= slack for side, whole in zip(shape, full, strict=True)
    )


def tier_of_shape(
    shape: tuple[int, int], full: tuple[int, int], asked: int, last: int | None = None
) -> int | None:
    """Return the tier that an image of a shape is, None where it is not one.

    Parameters
    ----------
    shape, full : tuple of int
        Height and width of the image, and of full resolution.
    asked : int
        The tier that was asked for, which counts wherever the shape leaves a choice.
    last : int, optional
        The last tier that the image has; found from its size where it is not given. Beyond it only the tier that was
        asked for is thought of, or a single pixel would be a tier of any image.
    """
    if is_tier_shape(shape, full, asked):
        return asked
    end = (last_tier(*full) if last is None else last) + 1
    fitting = [n for n in range(end) if is_tier_shape(shape, full, n)]

    def mismatch(n: int) -> tuple[float, int]:
        off = (abs(side - whole / 2**n) for side, whole in zip(shape, full, strict=True))
        return max(off), abs(n - asked)

    return min(fitting, key=mismatch, default=None)


def tier_for(um: float, resolution_um: float, tier_count: int | None = None) -> int:
    """Return the coarsest tier whose pixels are still at least twice as fine as the grid.

    Parameters
    ----------
    um : float
        Pitch of the grid, in µm.
    resolution_um : float
        Side of a full-resolution pixel, in µm.
    tier_count : int, optional
        Number of tiers that the image has; the result is below it. What lies beyond the last tier is not
        known (IMG-3).

    Returns
    -------
    int
        The tier to ask for as ``downsample``; 0 where even full resolution is too coarse.

    Raises
    ------
    SettingsError
        A length is not positive.
    """
    if not (um > 0 and resolution_um > 0):
        raise SettingsError(
            f"um = {um!r} and the resolution {resolution_um!r} must be positive", setting="um"
        )
    n = 0
    while resolution_um * 2.0 ** (n + 1) * 2 <= um and (tier_count is None or n + 1 < tier_count):
        n += 1
    return n


def _checked(downsample: int) -> int:
    if downsample < 0:
        raise SelectionError(f"downsample counts halvings and cannot be {downsample}")
    return downsample


@lru_cache(_MAX_SCALES)
def _between_tiers(scale: float) -> Affine2D:
    """Scale pixels whose first corners coincide: centres are half a pixel further."""
    offset = (scale - 1) / 2
    return Affine2D(np.array([[scale, 0.0, offset], [0.0, scale, offset]]))
