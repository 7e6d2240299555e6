from __future__ import annotations

import numpy as np
import pytest

from asyncfetch.errors import AlignmentError, SelectionError, SettingsError
from asyncfetch.geometry import REFERENCE_BOXES_UM, Affine2D, Affine3D, Plane, ReferenceGrid, SectionGeometry

BOX_UM = REFERENCE_BOXES_UM[9]

# Section image 101349511 of data set 1357 (coronal), with the tsv of its neighbour 101349486.
CORONAL = SectionGeometry(
    tsv=Affine2D.from_matrix([[1.63, 0.0, 2671.11], [0.0, 1.63, 2632.68]]),
    tvs=Affine2D.from_matrix([[0.613497, 0.0, -1303.74], [0.0, 0.613497, -1618.7]]),
    tvr=Affine3D.from_matrix(
        [
            [0.00587649, 0.0426766, -1.05404, 13091.5],
            [-0.0400542, 0.970878, 0.0400268, -1990.7],
            [1.07205, 0.0369913, 0.00748419, -1620.28],
        ]
    ),
    trv=Affine3D.from_matrix(
        [
            [0.00525716, -0.0357194, 0.931431, 1369.25],
            [0.0392637, 1.02682, 0.038149, 1591.87],
            [-0.947108, 0.041375, 0.0067375, 12492.3],
        ]
    ),
    section_number=63,
    section_thickness_um=25.0,
)


@pytest.mark.parametrize(
    ("plane", "shape", "n_slices"),
    [
        (Plane.CORONAL, (320, 456), 528),
        (Plane.SAGITTAL, (320, 528), 456),
        (Plane.TRANSVERSE, (528, 456), 320),
    ],
)
def test_25_um_planes_are_those_of_the_atlas_volumes(plane, shape, n_slices):
    grid = ReferenceGrid(plane, 25.0, BOX_UM)
    assert grid.shape == shape
    assert grid.n_slices == n_slices


def test_each_plane_shows_the_axes_across_its_slices():
    for plane in Plane:
        assert {plane.slice_axis, plane.y_axis, plane.x_axis} == {0, 1, 2}
    assert (Plane.CORONAL.y_axis, Plane.CORONAL.x_axis) == (1, 2)
    assert (Plane.SAGITTAL.y_axis, Plane.SAGITTAL.x_axis) == (1, 0)
    assert (Plane.TRANSVERSE.y_axis, Plane.TRANSVERSE.x_axis) == (0, 2)


def test_a_last_voxel_may_reach_beyond_the_box_but_rounding_adds_none():
    assert ReferenceGrid(Plane.CORONAL, 30.0, BOX_UM).shape == (267, 380)
    for um in (0.1, 0.7, 1.63, 13.047):
        for n in (1, 3, 7, 1000):
            assert ReferenceGrid(Plane.CORONAL, um, (n * um, n * um, n * um)).shape == (n, n)


def test_voxels_are_centred_half_a_pitch_in():
    grid = ReferenceGrid(Plane.CORONAL, 25.0, BOX_UM)
    assert grid.index_to_um([0, 1, 527]).tolist() == [12.5, 37.5, 13187.5]
    assert grid.um_to_index(grid.index_to_um([0, 1, 527])).tolist() == [0, 1, 527]


@pytest.mark.parametrize("um", [0, -25, float("nan"), float("inf")])
def test_a_pitch_that_is_no_length_is_refused(um):
    with pytest.raises(SettingsError) as caught:
        ReferenceGrid(Plane.CORONAL, um, BOX_UM)
    assert caught.value.setting == "um"


def test_planes_are_known_by_the_ids_of_the_api():
    known = {1: Plane.CORONAL, 2: Plane.SAGITTAL, 6: Plane.TRANSVERSE, 11: Plane.CORONAL}
    for plane_id, plane in (known | {531107579: Plane.CORONAL}).items():
        assert Plane.from_plane_of_section_id(plane_id) is plane
    for plane_id in (None, 4, 5, 7, 1082279372):
        assert Plane.from_plane_of_section_id(plane_id) is None


def test_the_nearest_plane_is_that_of_the_normal():
    assert Plane.nearest(CORONAL.trv) is Plane.CORONAL
    sagittal = [[0.97, 0, 0, 1097], [0, 0.97, 0, 1571], [-0.0007, -0.02, -0.97, -1628]]
    assert Plane.nearest(Affine3D.from_matrix(sagittal)) is Plane.SAGITTAL
    transverse = [[0.97, 0, 0, 0], [0, 0, 1, 0], [0.1, -0.9, 0.2, 0]]
    assert Plane.nearest(Affine3D.from_matrix(transverse)) is Plane.TRANSVERSE


def test_the_tilted_plane_passes_through_the_recorded_answer():
    # The service maps (11950, 6950, 2700) into this image; the point of the section's plane below it along z
    # must come out at the same place.
    grid = ReferenceGrid(Plane.CORONAL, 25.0, BOX_UM)
    point = np.array([11950.0, 6950.0, 2700.0])
    index = grid.um_to_index(point[[2, 1]])
    on_plane = grid.grid_to_reference(CORONAL) @ [*index, 1]
    assert on_plane[1:] == pytest.approx(point[1:], abs=1e-9)
    assert CORONAL.trv.apply(on_plane)[2] == pytest.approx(63 * 25, abs=1e-9)
    assert grid.grid_to_image(CORONAL).apply(index) == pytest.approx(
        CORONAL.reference_to_image(on_plane), abs=1e-9
    )


def test_a_section_perpendicular_to_the_grid_is_refused():
    upright = SectionGeometry(
        trv=Affine3D.from_matrix([[0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0]]),
        tvs=Affine2D.identity(),
        section_number=1,
        section_thickness_um=25.0,
    )
    assert ReferenceGrid(Plane.CORONAL, 25.0, BOX_UM).grid_to_image(upright) is not None
    with pytest.raises(AlignmentError, match="perpendicular"):
        ReferenceGrid(Plane.SAGITTAL, 25.0, BOX_UM).grid_to_reference(upright)


def test_the_tilted_plane_needs_no_way_from_the_image():
    forward_only = SectionGeometry(
        trv=CORONAL.trv, tvs=CORONAL.tvs, section_number=63, section_thickness_um=25.0
    )
    grid = ReferenceGrid(Plane.CORONAL, 25.0, BOX_UM)
    assert grid.grid_to_image(forward_only) == grid.grid_to_image(CORONAL)
    with pytest.raises(AlignmentError) as caught:
        grid.grid_to_image(forward_only, parallel=True, detection_xy=(0, 0))
    assert caught.value.matrix == "tsv"


def test_the_parallel_plane_is_atldlds():
    grid = ReferenceGrid(Plane.CORONAL, 25.0, BOX_UM)
    detection_xy = (2000.0, 1500.0)
    slice_um = CORONAL.image_to_reference(detection_xy)[0]
    to_image = grid.grid_to_image(CORONAL, parallel=True, detection_xy=detection_xy)
    for ix, iy in ((0, 0), (455, 319), (17, 200)):
        reference = np.array([slice_um, iy * 25.0, ix * 25.0])
        assert grid.grid_to_reference(CORONAL, parallel=True, detection_xy=detection_xy) @ [
            ix,
            iy,
            1,
        ] == pytest.approx(reference, abs=1e-9)
        assert to_image.apply((ix, iy)) == pytest.approx(CORONAL.reference_to_image(reference), abs=1e-9)


def test_the_parallel_plane_without_a_detection_point_is_refused():
    grid = ReferenceGrid(Plane.CORONAL, 25.0, BOX_UM)
    with pytest.raises(SelectionError, match="detection_xy"):
        grid.grid_to_image(CORONAL, parallel=True)


@pytest.mark.parametrize("plane", list(Plane))
def test_a_tilted_plane_passes_the_slices_where_its_points_lie(plane):
    grid = ReferenceGrid(plane, 25.0, BOX_UM)
    equation = 3.0 * CORONAL.plane_equation()
    on_plane = grid.grid_to_reference(CORONAL) @ (70.0, 41.5, 1.0)
    index = grid.slice_index_of(equation) @ (70.0, 41.5, 1.0)
    assert index == pytest.approx(grid.um_to_index(on_plane[plane.slice_axis]), abs=1e-9)


def test_a_plane_perpendicular_to_the_grid_passes_no_slice():
    with pytest.raises(AlignmentError, match="perpendicular"):
        ReferenceGrid(Plane.CORONAL, 25.0, BOX_UM).slice_index_of((0.0, 1.0, 0.0, -4000.0))
