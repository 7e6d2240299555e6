from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncfetch.errors import AlignmentError
from asyncfetch.geometry import Affine2D, Affine3D, SectionGeometry, are_sound_2d, are_sound_3d
from asyncfetch.geometry.soundness import flaw_2d

TVR = [
    [0.00587649, 0.0426766, -1.05404, 13091.5],
    [-0.04, 0.97, 0.04, -1990.7],
    [1.072, 0.037, 0.0075, -1620.3],
]


def section(**changes):
    flat = Affine2D.from_matrix(changes.pop("tsv", [[1.6, 0.1, 2000.0], [-0.1, 1.6, 300.0]]))
    deep = Affine3D.from_matrix(changes.pop("tvr", TVR))
    fields = {
        "tsv": flat,
        "tvs": None,
        "tvr": deep,
        "trv": None,
        "section_number": 7,
        "section_thickness_um": 25.0,
    }
    return SectionGeometry(**fields | changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tsv": np.zeros((2, 3))}, "tsv is singular"),
        ({"tsv": [[1.6, 3.2, 5.0], [0.8, 1.6, 5.0]]}, "tsv is singular"),
        ({"tvs": Affine2D(np.zeros((2, 3)))}, "tvs is singular"),
        ({"tsv": [[160.0, 0, 0], [0, 160.0, 0]]}, "tsv scales lengths by 160 instead of about 1.63"),
        ({"tvs": Affine2D.scaling(1e-3)}, "tvs scales lengths by 0.001 instead of about 0.613"),
        ({"tsv": [[1.6, 0, 0], [0, 0.01, 0]]}, "tsv stretches one direction 160 times"),
        ({"tsv": [[1.6, 0, 1e12], [0, 1.6, 0]]}, "tsv moves points by 1e.12"),
        ({"tvr": np.zeros((3, 4))}, "tvr is singular"),
        ({"tvr": [TVR[0], TVR[1], TVR[0]]}, "tvr is singular"),
        ({"trv": Affine3D.scaling(1000.0)}, "trv scales lengths by 1e.03 instead of about 1"),
        ({"tvr": np.array(TVR) * 1e300}, "tvr scales lengths"),
        ({"section_thickness_um": 0.0}, "thickness of 0 µm"),
        ({"section_thickness_um": -25.0}, "thickness of -25 µm"),
        ({"section_thickness_um": float("nan")}, "thickness of nan µm"),
        ({"section_number": 2**40}, "puts it nowhere"),
    ],
)
def test_what_cannot_be_an_alignment_is_named_with_the_reason(changes, words):
    with pytest.raises(AlignmentError, match=words):
        section(**changes).check(1.63)


@pytest.mark.parametrize("resolution", [0.0, -1.0, float("nan"), float("inf")])
def test_a_resolution_that_is_no_length_places_nothing(resolution):
    with pytest.raises(AlignmentError, match="resolution"):
        section().check(resolution)


@pytest.mark.parametrize("resolution", [1.63, None])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        # mirrored, as of a section that was mounted upside down
        {"tsv": [[-1.6, 0.1, 2000.0], [0.1, 1.6, 300.0]]},
        {"tvr": [[-1.0, 0, 0, 9000.0], [0, 1.0, 0, 0], [0, 0, 1.0, 0]]},
        # shrunk by a third in one direction
        {"tsv": [[1.1, 0, 0], [0, 1.6, 0]]},
        {"section_number": 0},
        {"section_number": -3},
    ],
)
def test_what_can_be_an_alignment_is_let_through(changes, resolution):
    section(**changes).check(resolution)


def test_without_a_resolution_any_scale_can_be_right():
    section(tsv=[[160.0, 0, 0], [0, 160.0, 0]]).check(None)


@given(
    st.lists(
        st.tuples(
            st.lists(st.sampled_from([0.0, 1e-12, -0.5, 1.0, 2.0, 40.0, 1e200]), min_size=4, max_size=4),
            st.sampled_from([0.0, -3.0, 1e9]),
            st.sampled_from([None, 0.5, 1.63, 20.0]),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_many_maps_are_judged_as_each_alone(drawn):
    matrices = np.array([[[a, b, t], [c, d, -t]] for (a, b, c, d), t, _ in drawn])
    scales = np.array([np.nan if scale is None else scale for *_, scale in drawn])
    alone = [flaw_2d(matrix, scale) is None for matrix, (*_, scale) in zip(matrices, drawn, strict=True)]
    # a map at the very border of singular may be told either way: none of these is near it
    assert are_sound_2d(matrices, scales).tolist() == alone


def test_maps_that_hold_nan_are_not_sound():
    assert are_sound_2d(np.full((1, 2, 3), np.nan), np.array([1.0])).tolist() == [False]
    assert are_sound_3d(np.array([np.full((3, 4), np.nan), np.array(TVR)])).tolist() == [False, True]
