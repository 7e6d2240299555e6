from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from asyncfetch.errors import AlignmentError
from asyncfetch.geometry import Affine2D, Affine3D, SectionGeometry

TRV_1357 = Affine3D.from_matrix(
    [
        [0.00525716, -0.0357194, 0.931431, 1369.25],
        [0.0392637, 1.02682, 0.038149, 1591.87],
        [-0.947108, 0.041375, 0.0067375, 12492.3],
    ]
)
TVR_1357 = Affine3D.from_matrix(
    [
        [0.00587649, 0.0426766, -1.05404, 13091.5],
        [-0.0400542, 0.970878, 0.0400268, -1990.7],
        [1.07205, 0.0369913, 0.00748419, -1620.28],
    ]
)
TRV_75457491 = Affine3D.from_matrix(
    [
        [0.975511, -0.0348973, 6.75444e-20, 1097.69],
        [0.0333129, 0.974126, 0.019521, 1571.99],
        [-0.000666346, -0.0194851, 0.975919, -1628.43],
    ]
)
TVR_75457491 = Affine3D.from_matrix(
    [
        [1.02385, 0.036664, -0.000733377, -1182.7],
        [-0.0350133, 1.0249, -0.0205007, -1606.08],
        [0.0, 0.020488, 1.02427, 1635.74],
    ]
)
TRV_717 = Affine3D.from_matrix(
    [
        [-0.0754917, -0.00500436, 0.756216, 2746.33],
        [0.00929635, 0.838369, 0.00670015, 2366.38],
        [-0.80617, 0.0158547, -0.0759265, 11210.8],
    ]
)
TRV_923 = Affine3D.from_matrix(
    [
        [-0.0119044, 0.003866, 0.927118, 990.975],
        [-0.024836, 1.0214, 0.00573403, 2323.13],
        [-0.991662, -0.0246633, -0.0103246, 12921.8],
    ]
)
TVR_100142290 = Affine3D.from_matrix(
    [
        [-0.0047633, -0.0105696, -1.05693, 13895.6],
        [-0.00176137, 1.16577, -0.0116513, -2220.41],
        [1.14781, -0.000322942, -0.00438351, -1590.98],
    ]
)

# Answers of the live service: matrices, section number, thickness, the point asked for, and the answer.
REFERENCE_TO_IMAGE = {
    "101349511 of 1357": (
        TRV_1357,
        [[0.613497, 0.0, -1303.74], [0.0, 0.613497, -1618.7]],
        63,
        (11950, 6950, 2700),
        (965.3933367212037, 4087.1119865349556),
    ),
    "101322875 of 717": (
        TRV_717,
        [[0.613294, 0.0157899, -1039.85], [-0.0157899, 0.613294, -989.941]],
        225,
        (6150, 7800, 10850),
        (5510.494711155741, 4386.521396378054),
    ),
    "75406037 of 75457491": (
        TRV_75457491,
        [[0.950397, 0.0741949, -730.394], [-0.0741949, 0.950397, -1256.65]],
        100,
        (7050, 4600, 4300),
        (7169.250113636281, 4219.259987042813),
    ),
    "101311916 of 923, left of its image": (
        TRV_923,
        [[0.612742, 0.030418, -2476.05], [-0.030418, 0.612742, -1925.49]],
        446,
        (400, 3650, 0),
        (-1679.3449520673203, 1745.8438162646796),
    ),
}
IMAGE_TO_REFERENCE = {
    "101349486 of 1357": (
        [[1.63, 0.0, 2671.11], [0.0, 1.63, 2632.68]],
        TVR_1357,
        23,
        25.0,
        (363, 122),
        (12625.441311536, 650.7064583599997, 1986.6504948520003),
    ),
    "102164388 of 100142290, 50 µm thick": (
        [[0.644997, -0.0018825, 2139.25], [0.0018825, 0.644997, 2247.31]],
        TVR_100142290,
        179,
        50.0,
        (73, 256),
        (4400.164762555796, 483.9585981626851, 877.952238783872),
    ),
    "75406041 of 75457491, outside of the box": (
        [[1.04484, -0.0933783, 425.212], [0.0933783, 1.04484, 1342.98]],
        TVR_75457491,
        116,
        25.0,
        (216, 393),
        (-490.9447902530359, 130.9015606963044, 4642.464037310407),
    ),
}


@pytest.mark.parametrize("case", REFERENCE_TO_IMAGE)
def test_reference_to_image_reproduces_answers_of_the_service(case):
    trv, tvs, number, point, answer = REFERENCE_TO_IMAGE[case]
    section = SectionGeometry(
        trv=trv, tvs=Affine2D.from_matrix(tvs), section_number=number, section_thickness_um=25.0
    )
    assert np.abs(section.reference_to_image(point) - answer).max() < 1e-9


@pytest.mark.parametrize("case", IMAGE_TO_REFERENCE)
def test_image_to_reference_reproduces_answers_of_the_service(case):
    tsv, tvr, number, thickness_um, point, answer = IMAGE_TO_REFERENCE[case]
    section = SectionGeometry(
        tsv=Affine2D.from_matrix(tsv), tvr=tvr, section_number=number, section_thickness_um=thickness_um
    )
    assert np.abs(section.image_to_reference(point) - answer).max() < 1e-9


def test_all_recorded_answers_are_reproduced_to_a_billionth(recorded_answers):
    assert len(recorded_answers["answers"]) == 26
    for answer in recorded_answers["answers"]:
        image = recorded_answers["images"][str(answer["image_id"])]
        data_set = recorded_answers["data_sets"][str(image["data_set_id"])]
        section = SectionGeometry(
            **{name: Affine2D.from_api(image[name]) for name in ("tsv", "tvs") if name in image},
            **{name: Affine3D.from_api(data_set[name]) for name in ("tvr", "trv") if name in data_set},
            section_number=image["section_number"],
            section_thickness_um=data_set["section_thickness_um"],
        )
        if answer["service"] == "reference_to_image":
            error = section.reference_to_image(answer["pir"]) - answer["xy"]
        else:
            error = section.image_to_reference(answer["xy"]) - answer["pir"]
        assert np.abs(error).max() < 1e-9, answer


def test_a_missing_matrix_is_named_only_where_it_is_needed():
    flat, deep = Affine2D.identity(), Affine3D.identity()
    whole = {"tsv": flat, "tvs": flat, "tvr": deep, "trv": deep}
    uses = {
        "image_to_reference": ("tsv", "tvr"),
        "reference_to_image": ("trv", "tvs"),
        "plane_equation": ("trv",),
    }
    for method, needed in uses.items():
        arguments = {"image_to_reference": ((1, 2),), "reference_to_image": ((1, 2, 3),)}.get(method, ())
        for missing in whole:
            given = {name: matrix for name, matrix in whole.items() if name != missing}
            section = SectionGeometry(**given, section_number=3, section_thickness_um=25.0)
            if missing in needed:
                with pytest.raises(AlignmentError, match=missing) as caught:
                    getattr(section, method)(*arguments)
                assert caught.value.matrix == missing
            else:
                getattr(section, method)(*arguments)


def test_points_may_have_any_leading_shape():
    section = SectionGeometry(
        trv=TRV_1357, tvs=Affine2D.scaling(0.6), section_number=63, section_thickness_um=25.0
    )
    points = np.arange(24.0).reshape(2, 4, 3)
    mapped = section.reference_to_image(points)
    assert mapped.shape == (2, 4, 2)
    assert np.allclose(mapped[1, 2], section.reference_to_image(points[1, 2]), rtol=0, atol=1e-10)


def test_the_plane_equation_is_the_signed_distance_in_um():
    section = SectionGeometry(trv=TRV_1357, section_number=63, section_thickness_um=25.0)
    equation = section.plane_equation()
    assert np.linalg.norm(equation[:3]) == pytest.approx(1, abs=1e-15)
    on_plane = -equation[3] * equation[:3]
    assert TRV_1357.apply(on_plane)[2] == pytest.approx(63 * 25, abs=1e-9)
    assert equation @ [*(on_plane + 7 * equation[:3]), 1] == pytest.approx(7, abs=1e-9)


def test_points_of_the_image_lie_on_the_plane_within_the_precision_of_the_matrices():
    section = SectionGeometry(
        tsv=Affine2D.from_matrix([[1.63, 0.0, 2671.11], [0.0, 1.63, 2632.68]]),
        tvr=TVR_1357,
        trv=TRV_1357,
        section_number=23,
        section_thickness_um=25.0,
    )
    corners = section.image_to_reference([(0, 0), (4000, 0), (0, 4000), (4000, 4000)])
    distances_um = corners @ section.plane_equation()[:3] + section.plane_equation()[3]
    assert np.abs(distances_um).max() < 0.2


def test_a_volume_without_depth_has_no_plane():
    flat = Affine3D.from_matrix([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 5]])
    section = SectionGeometry(trv=flat, section_number=1, section_thickness_um=25.0)
    with pytest.raises(AlignmentError, match="no plane"):
        section.plane_equation()


def test_a_way_back_that_does_not_lead_back_is_no_alignment():
    tsv = Affine2D.from_api((1.62929, 0.0480343, -0.0480343, 1.62929, 406.469, 2243.71))
    tvs = Affine2D.from_api((0.61323, -0.0180791, 0.0180791, 0.61323, -208.695, -1383.26))
    by_columns = Affine2D.from_api((0.61323, 0.0180791, -0.0180791, 0.61323, -208.695, -1383.26))
    sound = SectionGeometry(tsv=tsv, tvs=tvs, section_number=1, section_thickness_um=25.0)
    sound.check()
    with pytest.raises(AlignmentError, match="tvs is not the inverse of tsv") as caught:
        dataclasses.replace(sound, tvs=by_columns).check()
    assert caught.value.matrix == "tvs"


def of_volume(tvr, trv):
    return SectionGeometry(tvr=tvr, trv=trv, section_number=1, section_thickness_um=25.0)


def test_recorded_volumes_lead_back(recorded):
    data_sets = json.loads((recorded / "recorded_alignments.json").read_text())["data_sets"].values()
    pairs = [
        [Affine3D.from_matrix(each[way]) for way in ("tvr", "trv")]
        for each in data_sets
        if len(each.keys() & {"tvr", "trv"}) == 2
    ]
    assert len(pairs) >= 6
    for pair in pairs:
        of_volume(*pair).check()


@pytest.mark.parametrize(
    "trv",
    [TRV_75457491, TRV_923, Affine3D(TRV_1357.matrix[[1, 0, 2]]), Affine3D.translation(0, 0, 100) @ TRV_1357],
    ids=["of another plane", "of another set", "in another layout", "shifted"],
)
def test_a_volume_whose_way_back_does_not_lead_back_is_no_alignment(trv):
    of_volume(TVR_1357, TRV_1357).check()
    with pytest.raises(AlignmentError, match=r"trv is not the inverse of tvr, but \d+ µm beside") as caught:
        of_volume(TVR_1357, trv).check()
    assert caught.value.matrix == "trv"
    # one of them alone may be right
    of_volume(None, trv).check()


@pytest.mark.parametrize(("off_um", "is_sound"), [(20.0, True), (30.0, False)])
def test_volumes_may_lead_back_up_to_a_voxel_beside(off_um, is_sound):
    tvr = Affine3D.from_matrix([[0, 0, -1.05, 13091.5], [0, 0.97, 0, -1990.7], [1.07, 0, 0, -1620.28]])
    shifted = Affine3D.translation(0.0, off_um, 0.0) @ tvr
    section = of_volume(shifted, tvr.inverse())
    if is_sound:
        section.check()
        return
    with pytest.raises(AlignmentError, match="30 µm beside"):
        section.check()
