"""One section between its image and the reference space, as the synchronization services compute it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from asyncfetch.errors import AlignmentError
from asyncfetch.geometry.soundness import (
    MAX_DISAGREEMENT_PX,
    MAX_DISAGREEMENT_UM,
    disagreement_2d,
    disagreement_3d,
    flaw_2d,
    flaw_3d,
)
from asyncfetch.text import counted

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from asyncfetch.geometry.affine import Affine2D, Affine3D

__all__ = ["SectionGeometry"]

#: As far from the corner of its space as a section may be, in µm: a hundred metres.
_MAX_DEPTH_UM = 1e8


@dataclass(frozen=True, kw_only=True)
class SectionGeometry:
    """The position of one section in its data set's volume and in the reference space.

    The formulas reproduce the recorded answers of the service (allen-api.md SYNC-1, SYNC-2; z by REC-7)::

        image to reference: v = tsv · [x, y, 1];  z = section_number · section_thickness
                            (p, i, r) = tvr · [v_x, v_y, z, 1]
        reference to image: v = trv · [p, i, r, 1];  (x, y) = tvs · [v_x, v_y, 1]

    They take (x, y) as given; where in a pixel the service puts its integer coordinates is not known
    (SYNC-4), and this package puts them at the centre.

    Parameters
    ----------
    tsv, tvs : Affine2D or None
        Section image (full-resolution pixels) to volume (µm), and back.
    tvr, trv : Affine3D or None
        Volume (µm) to reference (µm), and back.
    section_number : int
        The section's position in the volume.
    section_thickness_um : float
        Thickness of one section number, in µm; not the spacing between the sections that were kept.

    Raises
    ------
    AlignmentError
        By any method that needs a matrix which is None; ``matrix`` names it.
    """

    tsv: Affine2D | None = None
    tvs: Affine2D | None = None
    tvr: Affine3D | None = None
    trv: Affine3D | None = None
    section_number: int
    section_thickness_um: float

    def check(self, resolution_um: float | None = None) -> None:
        """See that every matrix that is there can be an alignment; see :mod:`asyncfetch.geometry.soundness`.

        Parameters
        ----------
        resolution_um : float, optional
            Pitch of the full-resolution pixels in µm, which is the scale of ``tsv`` (REC-3).

        Raises
        ------
        AlignmentError
            A matrix is singular, scales or moves as no alignment does, or is not the inverse of its counterpart
            (``matrix`` names it), or the section's thickness, number or resolution is not one.
        """
        number, thickness_um = self.section_number, self.section_thickness_um
        if not (thickness_um > 0 and abs(number * thickness_um) <= _MAX_DEPTH_UM):
            raise AlignmentError(
                f"section number {number} cannot be placed: a thickness of {thickness_um:g} µm puts it nowhere"
            )
        if resolution_um is not None and not 0 < resolution_um < math.inf:
            raise AlignmentError(
                f"section number {number} cannot be placed: its resolution is {resolution_um:g} µm"
            )
        for name, flat, scale in (
            ("tsv", self.tsv, resolution_um),
            ("tvs", self.tvs, resolution_um and 1 / resolution_um),
        ):
            if flat is not None and (flaw := flaw_2d(flat.matrix, scale)):
                raise self._unsound(name, flaw)
        if (unsound := _unsound_3d(self.tvr, self.trv)) is not None:
            raise self._unsound(*unsound)
        if self.tsv is not None and self.tvs is not None:
            off = disagreement_2d(self.tsv.matrix, self.tvs.matrix)
            if off > MAX_DISAGREEMENT_PX:
                raise self._unsound(
                    "tvs", f"is not the inverse of tsv, but {counted(round(off), 'pixel')} beside it (REC-3)"
                )

    @property
    def volume_z_um(self) -> float:
        """The section's z in the volume frame, in µm."""
        return self.section_number * self.section_thickness_um

    def image_to_reference_matrix(self) -> NDArray[np.float64]:
        """Return the map from the image to the reference space as one matrix.

        Returns
        -------
        (3, 3) array of float64
            Takes (x, y, 1), in full-resolution pixels, to (p, i, r) in µm.
        """
        tsv = self._need(self.tsv, "tsv")
        tvr = self._need(self.tvr, "tvr")
        to_volume = np.array([tsv.matrix[0], tsv.matrix[1], [0.0, 0.0, self.volume_z_um]])
        matrix: NDArray[np.float64] = tvr.linear @ to_volume
        matrix[:, 2] += tvr.offset
        return matrix

    def image_to_reference(self, points: ArrayLike) -> NDArray[np.float64]:
        """Map points of the image to the reference space.

        Parameters
        ----------
        points : (..., 2) array of float64
            (x, y) in full-resolution pixels.

        Returns
        -------
        (..., 3) array of float64
            (p, i, r) in µm.
        """
        points = np.asarray(points, dtype=np.float64)
        matrix = self.image_to_reference_matrix()
        mapped: NDArray[np.float64] = points @ matrix[:, :2].T
        mapped += matrix[:, 2]
        return mapped

    def reference_to_image(self, points: ArrayLike) -> NDArray[np.float64]:
        """Map points of the reference space to this section's image.

        Points beside the section are projected onto it along the volume's z axis. No other section is
        looked for, and the result may lie outside of the image.

        Parameters
        ----------
        points : (..., 3) array of float64
            (p, i, r) in µm.

        Returns
        -------
        (..., 2) array of float64
            (x, y) in full-resolution pixels.
        """
        points = np.asarray(points, dtype=np.float64)
        matrix = self.reference_to_image_matrix()
        mapped: NDArray[np.float64] = points @ matrix[:, :3].T
        mapped += matrix[:, 3]
        return mapped

    def reference_to_image_matrix(self) -> NDArray[np.float64]:
        """Return the map from the reference space to this section's image as one matrix.

        Returns
        -------
        (2, 4) array of float64
            Takes (p, i, r, 1), in µm, to (x, y) in full-resolution pixels.
        """
        trv = self._need(self.trv, "trv")
        tvs = self._need(self.tvs, "tvs")
        matrix: NDArray[np.float64] = tvs.linear @ trv.matrix[:2]
        matrix[:, 3] += tvs.offset
        return matrix

    def plane_equation(self) -> NDArray[np.float64]:
        """Return the section's plane in the reference space, from the third row of ``trv``.

        Returns
        -------
        (4,) array of float64
            (a, b, c, d) with a · p + b · i + c · r + d = 0 for (p, i, r) in µm on the plane, and (a, b, c)
            of length 1, so that the left side is the signed distance in µm.

        Raises
        ------
        AlignmentError
            ``trv`` is missing, or its third row is zero.
        """
        trv = self._need(self.trv, "trv")
        equation = trv.matrix[2].copy()
        equation[3] -= self.volume_z_um
        length = math.sqrt(equation[:3].dot(equation[:3]))
        if length == 0:
            raise AlignmentError("the third row of trv is zero, so the section has no plane", matrix="trv")
        return np.asarray(equation / length)

    def _unsound(self, matrix: str, flaw: str) -> AlignmentError:
        return AlignmentError(
            f"section number {self.section_number} cannot be placed: its matrix {matrix} {flaw}",
            matrix=matrix,
        )

    def _need[T](self, matrix: T | None, name: str) -> T:
        if matrix is None:
            raise AlignmentError(
                f"section number {self.section_number} cannot be placed: its matrix {name} is missing",
                matrix=name,
            )
        return matrix


@lru_cache
def _unsound_3d(tvr: Affine3D | None, trv: Affine3D | None) -> tuple[str, str] | None:
    """Return which map of a data set cannot be right and why, once for all its sections; None if both can."""
    for name, deep in (("tvr", tvr), ("trv", trv)):
        if deep is not None and (flaw := flaw_3d(deep.matrix)):
            return name, flaw
    if tvr is not None and trv is not None:
        off = disagreement_3d(trv.matrix, tvr.matrix)
        if off > MAX_DISAGREEMENT_UM:
            return "trv", f"is not the inverse of tvr, but {off:.0f} µm beside it (REC-3)"
    return None
