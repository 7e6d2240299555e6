"""The registered planes and volumes of a mirrored sample atlas, held against the phantom itself on the same grid."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from asyncfetch.geometry import Affine2D, ReferenceGrid, SectionGeometry
    from asyncfetch.sample.phantom import Phantom
    from asyncfetch.store import StoredDataSet

__all__ = ["PlaneError", "VolumeError", "compare_plane", "compare_volume", "compare_with_phantom"]

#: Voxels with less tissue than this lie on the soft edge of the brain.
_INSIDE = 0.99


class PlaneError(NamedTuple):
    """How far a registered plane is from the phantom, inside the brain.

    Attributes
    ----------
    image_id, section_number, z : int
        Which section, and its slot.
    n_voxels : int
        Voxels that lie in the brain and in the section image.
    mean_abs, max_abs : float
        Mean and largest absolute difference, in grey levels.
    shift_x, shift_y : float
        Displacement of the plane against the phantom, in grid steps, by least squares.
    registered, truth : (y, x, 3) array of uint8
        The planes themselves.
    """

    image_id: int
    section_number: int
    z: int
    n_voxels: int
    mean_abs: float
    max_abs: float
    shift_x: float
    shift_y: float
    registered: NDArray[np.uint8]
    truth: NDArray[np.uint8]


def compare_with_phantom(data_set: StoredDataSet, phantom: Phantom) -> Iterator[PlaneError]:
    """Compare every registered plane of a data set with the phantom, in order of z."""
    layout = data_set.read_registered_layout()
    if layout is None:
        return
    planes = data_set.open_registered()
    commits = {commit.image_id: commit for commit in data_set.read_commits()}
    for slot in layout.slots:
        commit = commits.get(slot.image_id) if slot.image_id is not None else None
        if commit is None or "registered" not in commit.layers:
            continue
        registered = np.ascontiguousarray(np.moveaxis(np.asarray(planes[:, slot.z]), 0, -1))
        height, width = commit.record["height"], commit.record["width"]
        errors = compare_plane(
            registered,
            phantom,
            layout.grid,
            data_set.geometry(commit.image_id),
            image_shape=(height, width),
            reference_space_id=layout.reference_space_id or 9,
        )
        yield PlaneError(commit.image_id, slot.section_number, slot.z, *errors)


def compare_plane(
    registered: NDArray[np.uint8],
    phantom: Phantom,
    grid: ReferenceGrid,
    section: SectionGeometry,
    *,
    image_shape: tuple[int, int],
    reference_space_id: int,
) -> tuple[int, float, float, float, float, NDArray[np.uint8], NDArray[np.uint8]]:
    """Compare one plane with the phantom on the section's own tilted plane.

    Parameters
    ----------
    registered : (y, x, 3) array of uint8
        The plane on the grid.
    phantom : Phantom
        The truth.
    grid : ReferenceGrid
        Where the voxels lie.
    section : SectionGeometry
        Where the section lies.
    image_shape : (height, width)
        Of the full-resolution image: only voxels that the image shows are compared.
    reference_space_id : int
        The grid's space, 9 or 10.

    Returns
    -------
    tuple
        The fields of `PlaneError` from ``n_voxels`` on.
    """
    to_reference = grid.grid_to_reference(section)
    truth = phantom.render(to_reference, grid.shape, reference_space_id=reference_space_id)
    tissue = phantom.tissue(to_reference, grid.shape, reference_space_id=reference_space_id)
    inside = (tissue >= _INSIDE) & _within(image_shape, grid.grid_to_image(section), grid.shape)
    difference = registered.astype(np.float64) - truth
    n_voxels = int(np.count_nonzero(inside))
    if n_voxels == 0:
        return 0, 0.0, 0.0, 0.0, 0.0, registered, truth
    absolute = np.abs(difference[inside])
    shift_x, shift_y = _shift(difference, truth.astype(np.float64), inside)
    return n_voxels, float(absolute.mean()), float(absolute.max()), shift_x, shift_y, registered, truth


def _within(
    image_shape: tuple[int, int], grid_to_image: Affine2D, shape: tuple[int, int]
) -> NDArray[np.bool_]:
    """Tell which voxels lie in the image with all of their area."""
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float64)
    points = grid_to_image.apply(np.stack([x, y], axis=-1))
    margin = np.abs(grid_to_image.linear).sum(axis=1)
    far = np.array([image_shape[1], image_shape[0]]) - 1 - margin
    return np.asarray(((points >= margin) & (points <= far)).all(axis=-1))


def _shift(
    difference: NDArray[np.float64], truth: NDArray[np.float64], inside: NDArray[np.bool_]
) -> tuple[float, float]:
    """Return the displacement d for which registered(x) = truth(x - d) fits best, in grid steps."""
    slope_y = np.asarray(np.gradient(truth, axis=0))
    slope_x = np.asarray(np.gradient(truth, axis=1))
    slopes = np.stack([-slope_x[inside].ravel(), -slope_y[inside].ravel()], axis=-1)
    solution, *_ = np.linalg.lstsq(slopes, difference[inside].ravel(), rcond=None)
    return float(solution[0]), float(solution[1])


class VolumeError(NamedTuple):
    """How far a volume is from the phantom, inside the brain and between sections.

    Attributes
    ----------
    n_voxels : int
        Voxels that were compared.
    mean_abs, max_abs : float
        Mean and largest absolute difference, in grey levels.
    """

    n_voxels: int
    mean_abs: float
    max_abs: float


def compare_volume(data_set: StoredDataSet, phantom: Phantom, *, step: int = 1) -> VolumeError | None:
    """Compare every `step`-th slice of a volume, along the axis across its sections, with the phantom itself.

    The slices are those of the grid: they lie between the tilted sections. None where nothing can be compared.
    """
    layout = data_set.read_volume_layout()
    if layout is None:
        return None
    grid, plane, volume = layout.grid, layout.plane, data_set.open_volume()
    space_id = layout.reference_space_id or 9
    differences = []
    for k in range(step // 2, grid.n_slices, step):
        to_reference = np.zeros((3, 3))
        to_reference[plane.x_axis] = (grid.um, 0.0, grid.um / 2)
        to_reference[plane.y_axis] = (0.0, grid.um, grid.um / 2)
        to_reference[plane.slice_axis, 2] = (k + 0.5) * grid.um
        index: list[int | slice] = [slice(None)] * 4
        index[plane.slice_axis + 1] = k
        voxels = np.moveaxis(np.asarray(volume[tuple(index)]), 0, -1)
        if plane.y_axis > plane.x_axis:
            voxels = voxels.transpose(1, 0, 2)
        if not voxels.any():
            continue
        inside = phantom.tissue(to_reference, grid.shape, reference_space_id=space_id) >= _INSIDE
        inside &= voxels.any(axis=-1)
        if inside.any():
            truth = phantom.render(to_reference, grid.shape, reference_space_id=space_id)
            differences.append(np.abs(voxels[inside].astype(np.int16) - truth[inside]))
    if not differences:
        return None
    together = np.concatenate(differences)
    return VolumeError(len(together), float(together.mean()), float(together.max()))
