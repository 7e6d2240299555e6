"""Regular grids of the reference space in µm, and where a section's plane meets them."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from asyncfetch.errors import AlignmentError, SelectionError, SettingsError
from asyncfetch.geometry.affine import Affine2D, Affine3D

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from asyncfetch.geometry.section import SectionGeometry

__all__ = ["REFERENCE_BOXES_UM", "SPACE_TRANSFORMS", "Plane", "ReferenceGrid"]

#: Extent of the reference spaces along (p, i, r), in µm, by their id. Spaces 9 ("P56 Brain") and 10 ("P56
#: Brain, L/R Flipped") share one box (REC-4); the boxes of the others are not known.
REFERENCE_BOXES_UM: dict[int, tuple[float, float, float]] = {
    9: (13200.0, 8000.0, 11400.0),
    10: (13200.0, 8000.0, 11400.0),
}

_MIRROR = Affine3D(np.array([[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, -1.0, 11350.0]]))
#: From one reference space to another, by their ids (from, to): the API's ReferenceToReferenceTransform of the adult
#: mouse, r9 = 11350 - r10, which is its own inverse (REC-5).
SPACE_TRANSFORMS: dict[tuple[int, int], Affine3D] = {(10, 9): _MIRROR, (9, 10): _MIRROR}

# A plane this close to perpendicular to the grid's own plane is met nowhere, or everywhere.
_PARALLEL_TO_SLICE_AXIS = 1e-9
# A box that is a whole number of pitches must not gain a voxel by rounding of the quotient.
_CEIL_SLACK = 1e-9

_PLANES_OF_SECTION = {1: "coronal", 2: "sagittal", 6: "transverse", 11: "coronal", 531107579: "coronal"}


class Plane(enum.StrEnum):
    """The anatomical plane of a section, and which axes of (p, i, r) it shows where.

    ========== ===== === ===
    plane      slice y   x
    ========== ===== === ===
    coronal    p     i   r
    sagittal   r     i   p
    transverse i     p   r
    ========== ===== === ===
    """

    CORONAL = "coronal"
    SAGITTAL = "sagittal"
    TRANSVERSE = "transverse"

    @property
    def slice_axis(self) -> int:
        """The index into (p, i, r) of the axis across the plane."""
        return _AXES[self][0]

    @property
    def y_axis(self) -> int:
        """The index into (p, i, r) of the axis that runs down the plane's rows."""
        return _AXES[self][1]

    @property
    def x_axis(self) -> int:
        """The index into (p, i, r) of the axis that runs along the plane's columns."""
        return _AXES[self][2]

    @classmethod
    def from_plane_of_section_id(cls, plane_of_section_id: int | None) -> Plane | None:
        """Return the plane of an API id (1, 2, 6, 11, 531107579), or None where the id names no one plane."""
        name = None if plane_of_section_id is None else _PLANES_OF_SECTION.get(plane_of_section_id)
        return None if name is None else cls(name)

    @classmethod
    def nearest(cls, trv: Affine3D) -> Plane:
        """Return the plane whose normal is nearest to the sections': the largest part of row 2 of ``trv``."""
        axis = int(np.argmax(np.abs(trv.matrix[2, :3])))
        return next(plane for plane in cls if plane.slice_axis == axis)


_AXES: dict[Plane, tuple[int, int, int]] = {
    Plane.CORONAL: (0, 1, 2),
    Plane.SAGITTAL: (2, 1, 0),
    Plane.TRANSVERSE: (1, 0, 2),
}


@dataclass(frozen=True)
class ReferenceGrid:
    """The reference space cut into voxels of ``um``, seen along one plane.

    Voxel k of an axis is centred at (k + ½) · um, so that planes lie on the voxels of the atlas's own volumes
    (25 µm: 528 x 320 x 456).

    Parameters
    ----------
    plane : Plane
        Which two axes the rows and columns follow.
    um : float
        Pitch of the grid in µm.
    box_um : (3,) tuple of float
        Extent of the reference space along (p, i, r), in µm.

    Raises
    ------
    SettingsError
        The pitch or the box is not positive.
    """

    plane: Plane
    um: float
    box_um: tuple[float, float, float]

    def __post_init__(self) -> None:
        if not (math.isfinite(self.um) and self.um > 0):
            raise SettingsError(f"um must be a positive number of micrometres, not {self.um!r}", setting="um")
        if len(self.box_um) != 3 or not all(math.isfinite(side) and side > 0 for side in self.box_um):
            raise SettingsError(
                f"box_um must be three positive lengths, not {self.box_um!r}", setting="box_um"
            )

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of one plane."""
        return self._n_voxels(self.plane.y_axis), self._n_voxels(self.plane.x_axis)

    @property
    def n_slices(self) -> int:
        """Voxels along the axis across the plane."""
        return self._n_voxels(self.plane.slice_axis)

    def index_to_um(self, index: ArrayLike) -> NDArray[np.float64]:
        """Return the centres, in µm, of the voxels with these indices along an axis: (k + ½) · um."""
        return np.asarray((np.asarray(index, dtype=np.float64) + 0.5) * self.um)

    def um_to_index(self, position_um: ArrayLike) -> NDArray[np.float64]:
        """Return the fractional indices along an axis of positions in µm: position / um - ½."""
        return np.asarray(np.asarray(position_um, dtype=np.float64) / self.um - 0.5)

    def grid_to_reference(
        self,
        section: SectionGeometry,
        *,
        parallel: bool = False,
        detection_xy: tuple[float, float] | None = None,
    ) -> NDArray[np.float64]:
        """Return the map from grid indices to the reference space, on the section's own tilted plane.

        Parameters
        ----------
        section : SectionGeometry
            Needs ``trv``; with ``parallel``, ``tsv`` and ``tvr``.
        parallel : bool
            Use atldld's approximation: the slice coordinate is constant, that of ``detection_xy``, and the
            grid's points are at k · um instead of (k + ½) · um (atldld 0.3.4,
            ``sync.get_parallel_transform``; its sagittal planes have p down and i along, which is the
            transpose of these).
        detection_xy : (x, y), optional
            The point of the image, in full-resolution pixels, that fixes the slice coordinate of
            ``parallel``: by custom the centre of the image (atldld's own default is its corner, 0, 0).

        Returns
        -------
        (3, 3) array of float64
            Takes (ix, iy, 1), in grid indices, to (p, i, r) in µm.

        Raises
        ------
        AlignmentError
            A matrix is missing, or the section stands perpendicular to the grid's plane.
        SelectionError
            ``parallel`` without ``detection_xy``.
        """
        plane = self.plane
        first_um = 0.0 if parallel else 0.5 * self.um
        matrix = np.zeros((3, 3))
        matrix[plane.x_axis] = (self.um, 0.0, first_um)
        matrix[plane.y_axis] = (0.0, self.um, first_um)
        if parallel:
            if detection_xy is None:
                raise SelectionError(
                    "parallel sections need detection_xy, the point that fixes their slice coordinate"
                )
            matrix[plane.slice_axis, 2] = section.image_to_reference(detection_xy)[plane.slice_axis]
            return matrix
        equation = section.plane_equation()
        across = equation[plane.slice_axis]
        if abs(across) < _PARALLEL_TO_SLICE_AXIS:
            raise AlignmentError(f"the section stands perpendicular to {plane} planes", matrix="trv")
        # The slice axis' row of the matrix is still zero here, so the product sums over the other two alone.
        matrix[plane.slice_axis] = -(equation[:3] @ matrix) / across
        matrix[plane.slice_axis, 2] -= equation[3] / across
        return matrix

    def grid_to_image(
        self,
        section: SectionGeometry,
        *,
        parallel: bool = False,
        detection_xy: tuple[float, float] | None = None,
    ) -> Affine2D:
        """Return the map from grid indices to the section's full-resolution image.

        It is ``reference_to_image`` of ``grid_to_reference``: tvs ∘ trv of the point of the section's plane
        above the grid position.

        Parameters
        ----------
        section : SectionGeometry
            Needs ``trv`` and ``tvs``; with ``parallel``, all four matrices.
        parallel, detection_xy
            As in :meth:`grid_to_reference`.

        Returns
        -------
        Affine2D
            Takes (ix, iy) to (x, y) in full-resolution pixels.

        Raises
        ------
        AlignmentError, SelectionError
            As :meth:`grid_to_reference`.
        """
        to_reference = self.grid_to_reference(section, parallel=parallel, detection_xy=detection_xy)
        to_image = section.reference_to_image_matrix()
        matrix = to_image[:, :3] @ to_reference
        matrix[:, 2] += to_image[:, 3]
        return Affine2D(matrix)

    def slice_position_of(self, trv: Affine3D) -> tuple[float, float] | None:
        """Return where the sections of a data set pass the axis across the plane, at the middle of the other two.

        Parameters
        ----------
        trv : Affine3D
            Reference space to volume frame, in µm.

        Returns
        -------
        slope, origin_um : (float, float) or None
            A section at z µm of the volume frame lies at slope · z + origin_um of the axis; None where the sections
            stand perpendicular to the plane.
        """
        equation = trv.matrix[2]
        across = float(equation[self.plane.slice_axis])
        if abs(across) <= _PARALLEL_TO_SLICE_AXIS * math.hypot(*equation[:3].tolist()):
            return None
        in_plane = (self.plane.y_axis, self.plane.x_axis)
        at_middle = sum(float(equation[axis]) * self.box_um[axis] / 2 for axis in in_plane)
        return 1 / across, -(at_middle + float(equation[3])) / across

    def slice_index_of(self, equation: ArrayLike) -> NDArray[np.float64]:
        """Return where a plane passes the lines of voxels across the grid, as a function of the position on the grid.

        Parameters
        ----------
        equation : (4,) array of float64
            (a, b, c, d) of the plane a · p + b · i + c · r + d = 0, in µm.

        Returns
        -------
        (3,) array of float64
            Takes (ix, iy, 1), in grid indices, to the fractional index along the slice axis.

        Raises
        ------
        AlignmentError
            The plane stands perpendicular to the grid's own.
        """
        equation = np.asarray(equation, dtype=np.float64)
        plane = self.plane
        across = equation[plane.slice_axis]
        if abs(across) < _PARALLEL_TO_SLICE_AXIS * np.linalg.norm(equation[:3]):
            raise AlignmentError(f"the section stands perpendicular to {plane} planes", matrix="trv")
        slope_x, slope_y = equation[plane.x_axis], equation[plane.y_axis]
        # both sides of the equation in voxels: a position is (k + 1/2) um, on all three axes
        shift = equation[3] / self.um + 0.5 * (slope_x + slope_y + across)
        return np.asarray(np.array([slope_x, slope_y, shift]) / -across)

    def _n_voxels(self, axis: int) -> int:
        return math.ceil(self.box_um[axis] / self.um - _CEIL_SLACK)
