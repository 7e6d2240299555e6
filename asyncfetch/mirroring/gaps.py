"""Gaps between the planes of a volume: how wide each is, which are filled, and which are told. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from asyncfetch.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from asyncfetch.geometry import ReferenceGrid

__all__ = ["Gaps", "VolumeGap"]

#: Gaps up to this many usual distances are filled by default: one missing section is, two in a row are not.
_USUAL_GAPS = 2.5
#: But no wider ones than this, however far apart the sections of a data set are. The most sparsely cut products keep
#: each eighth section of 25 µm (ISH), so that this is 2.5 times their distance; few structures change less over more.
_MAX_GAP_UM = 500.0
#: Gaps beyond this many usual distances are told even where they are filled: a section is missing there.
_NOTED_GAPS = 1.5


class VolumeGap(msgspec.Struct, frozen=True, kw_only=True):
    """A gap between neighbouring planes of a volume that is left empty, or filled and wider than usual.

    Attributes
    ----------
    width_um : float
        From plane to plane, across them.
    is_bridged : bool
        Whether it is filled.
    image_ids, section_numbers : tuple of int
        The sections on either side.
    slice_um : tuple of float
        Where their planes pass the middle of the reference space, in µm along the axis across them.
    """

    width_um: float
    is_bridged: bool
    image_ids: tuple[int, int]
    section_numbers: tuple[int, int]
    slice_um: tuple[float, float]


class Gaps:
    """The gaps between planes, and which of them are filled.

    Parameters
    ----------
    depths : sequence of (3,) array of float64
        Of each plane, in their order: takes grid indices (x, y, 1) to the fractional slice.
    grid : ReferenceGrid
        The grid.
    max_gap_um : float, optional
        The widest gap that is filled; by default 2.5 times the usual one, and 500 µm at most.

    Attributes
    ----------
    max_gap_um : float
        The widest gap that is filled.
    usual_um : float or None
        The median gap; None of a single plane.

    Raises
    ------
    SettingsError
        ``max_gap_um`` is not a length.
    """

    def __init__(
        self, depths: Sequence[NDArray[np.float64]], grid: ReferenceGrid, max_gap_um: float | None = None
    ) -> None:
        if max_gap_um is not None and not (math.isfinite(max_gap_um) and max_gap_um > 0):
            raise SettingsError(
                f"max_gap_um = {max_gap_um:g} is not allowed: a length in micrometres greater than 0",
                setting="max_gap",
            )
        middle = np.array([(grid.shape[1] - 1) / 2, (grid.shape[0] - 1) / 2, 1.0])
        self._slices_um: list[float] = grid.index_to_um([depth @ middle for depth in depths]).tolist()
        # along the slice axis the distance is longer than across tilted planes
        tilts = [1.0 / math.hypot(1.0, depth[0], depth[1]) for depth in depths[:-1]]
        self._widths_um: list[float] = (np.diff(self._slices_um) * np.array(tilts)).tolist()
        self.usual_um = float(np.median(self._widths_um)) if self._widths_um else None
        if max_gap_um is None:
            max_gap_um = min(_USUAL_GAPS * (self.usual_um or grid.um), _MAX_GAP_UM)
        self.max_gap_um = max_gap_um

    @property
    def are_bridged(self) -> list[bool]:
        """Whether each gap is filled."""
        return [width <= self.max_gap_um for width in self._widths_um]

    def noted(self, image_ids: Sequence[int], section_numbers: Sequence[int]) -> tuple[VolumeGap, ...]:
        """Return the gaps that a user has to know about, given the sections of the planes."""
        usual_um = self.usual_um or 0.0
        return tuple(
            VolumeGap(
                width_um=width_um,
                is_bridged=is_bridged,
                image_ids=(image_ids[k], image_ids[k + 1]),
                section_numbers=(section_numbers[k], section_numbers[k + 1]),
                slice_um=(self._slices_um[k], self._slices_um[k + 1]),
            )
            for k, (width_um, is_bridged) in enumerate(zip(self._widths_um, self.are_bridged, strict=True))
            if not is_bridged or width_um > _NOTED_GAPS * usual_um
        )
