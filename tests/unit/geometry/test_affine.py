from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from asyncfetch.errors import AlignmentError, SelectionError
from asyncfetch.geometry import Affine2D, Affine3D


def test_api_numbers_stand_where_the_api_documents_them():
    assert Affine2D.from_api(range(6)).matrix.tolist() == [[0, 1, 4], [2, 3, 5]]
    assert Affine3D.from_api(range(12)).matrix.tolist() == [[0, 1, 2, 9], [3, 4, 5, 10], [6, 7, 8, 11]]


def test_api_numbers_survive_the_round_trip():
    assert Affine2D.from_api(range(6)).to_api() == tuple(range(6))
    assert Affine3D.from_api(range(12)).to_api() == tuple(range(12))


@pytest.mark.parametrize(("cls", "n"), [(Affine2D, 5), (Affine2D, 12), (Affine3D, 6)])
def test_a_wrong_number_of_api_numbers_is_refused(cls, n):
    with pytest.raises(SelectionError, match=f"not {n}"):
        cls.from_api([1.0] * n)


def test_the_right_factor_is_applied_first():
    combined = Affine2D.translation(10, 20) @ Affine2D.scaling(2, 3)
    assert combined.apply((1, 1)).tolist() == [12, 23]
    combined_3d = Affine3D.translation(1, 2, 3) @ Affine3D.scaling(2, 3, 4)
    assert combined_3d.apply((1, 1, 1)).tolist() == [3, 5, 7]


def test_maps_of_different_dimension_do_not_compose():
    with pytest.raises(TypeError):
        Affine2D.identity() @ Affine3D.identity()


def test_points_of_any_leading_shape_are_mapped():
    points = np.arange(24).reshape(3, 4, 2)
    assert np.array_equal(Affine2D.translation(1, -1).apply(points), points + np.array([1, -1]))
    assert Affine3D.identity().apply(np.zeros((0, 3))).shape == (0, 3)


@pytest.mark.parametrize("points", [3.0, [1.0, 2.0, 3.0], np.zeros((2, 4))])
def test_points_with_another_number_of_axes_are_refused(points):
    with pytest.raises(SelectionError, match="shape"):
        Affine2D.identity().apply(points)


def test_a_singular_map_has_no_inverse():
    for matrix in ([[1, 2, 0], [2, 4, 0]], [[0, 0, 1], [0, 0, 1]]):
        with pytest.raises(AlignmentError, match="singular"):
            Affine2D.from_matrix(matrix).inverse()


def test_a_small_but_regular_map_has_an_inverse():
    assert Affine2D.scaling(1e-12).inverse().apply((1e-12, 0)) == pytest.approx([1, 0])


def test_numbers_that_are_not_finite_are_refused():
    with pytest.raises(AlignmentError, match="finite"):
        Affine2D.translation(float("nan"), 0)


def test_a_matrix_of_another_shape_is_refused():
    with pytest.raises(SelectionError, match=r"\(2, 2\)"):
        Affine2D(np.eye(2))


def test_homogeneous_matrices_are_accepted_unless_projective():
    assert Affine2D.from_matrix(np.eye(3)) == Affine2D.identity()
    with pytest.raises(SelectionError, match="last row"):
        Affine2D.from_matrix([[1, 0, 0], [0, 1, 0], [0.1, 0, 1]])


def test_a_map_cannot_be_changed_from_outside():
    source = np.eye(2, 3)
    affine = Affine2D(source)
    source[0, 0] = 7
    assert affine == Affine2D.identity()
    with pytest.raises(ValueError, match="read-only"):
        affine.matrix[0, 0] = 7


def test_maps_compare_and_hash_by_value():
    assert Affine2D.scaling(2) == Affine2D.scaling(2, 2)
    assert Affine2D.scaling(2) != Affine2D.scaling(3)
    assert Affine2D.identity() != Affine3D.identity()
    negative_zero = Affine2D.translation(-0.0, 0)
    assert negative_zero == Affine2D.identity()
    assert hash(negative_zero) == hash(Affine2D.identity())


def test_copies_and_pickles_stay_read_only():
    affine = Affine3D.translation(1, 2, 3)
    for twin in (pickle.loads(pickle.dumps(affine)), copy.deepcopy(affine)):
        assert twin == affine
        assert not twin.matrix.flags.writeable
