from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from asyncfetch.allen.sync import ImageSync, ReferencePoint, SyncRequest, parse_sync_json
from asyncfetch.atlas import Atlas, Catalogue, DataSetColumns, SectionColumns
from asyncfetch.errors import AlignmentError, SelectionError
from asyncfetch.geometry import Affine2D, Affine3D, SectionGeometry

CORONAL, SAGITTAL, PLATES, ALONE = 479, 123, 100048576, 7
POINT = (7800.0, 3400.0, 10350.0)


def at_depth(number: float) -> list[float]:
    """Return a point of space 9 that lies at a section number of data set 479: z = 12854.5 - 1.00888 p."""
    return [(12854.5 - number * 25.0) / 1.00888, 3000.0, 5000.0]


def recorded_catalogue(record):
    data_sets, images = record["data_sets"].values(), record["images"].values()

    def matrices(kind, name, rows, shape):
        absent = np.full(shape, np.nan)
        return np.array([kind.from_api(row[name]).matrix if name in row else absent for row in rows])

    return Catalogue(
        data_sets=DataSetColumns(
            id=np.array([int(each) for each in record["data_sets"]]),
            reference_space_id=np.full(len(data_sets), 9),
            section_thickness_um=np.array([each["section_thickness_um"] for each in data_sets]),
            **{name: matrices(Affine3D, name, data_sets, (3, 4)) for name in ("tvr", "trv")},
        ),
        sections=SectionColumns(
            image_id=np.array([int(each) for each in record["images"]]),
            data_set_id=np.array([each["data_set_id"] for each in images]),
            section_number=np.array([float(each["section_number"]) for each in images]),
            **{name: matrices(Affine2D, name, images, (2, 3)) for name in ("tsv", "tvs")},
            failed=np.zeros(len(images), bool),
            annotated=np.zeros(len(images), bool),
            image_type=np.array([""] * len(images), dtype=np.dtypes.StringDType()),
        ),
    )


def test_all_recorded_answers_are_reproduced_to_a_billionth(recorded_answers):
    atlas = Atlas(recorded_catalogue(recorded_answers))
    assert len(recorded_answers["answers"]) == 26
    for answer in recorded_answers["answers"]:
        if answer["service"] == "image_to_reference":
            found = atlas.image_to_reference(answer["image_id"], answer["xy"])
            assert np.abs(found.pir - answer["pir"]).max() < 1e-9
        else:
            image = recorded_answers["images"][str(answer["image_id"])]
            found = atlas.reference_to_image(9, answer["pir"], [image["data_set_id"]])
            # of the recorded sections of a set the service's choice is the nearest one
            assert found.section_image_id.tolist() == [answer["image_id"]]
            assert found.section_number.tolist() == [image["section_number"]]
            assert np.abs(found.xy[0] - answer["xy"]).max() < 1e-9


def test_each_service_gives_what_one_section_at_a_time_gives(atlas, kit):
    section = SectionGeometry(
        tsv=Affine2D.from_api((*kit.TSV[:4], kit.TSV[4] + 6.5, kit.TSV[5] - 6.5)),
        tvs=Affine2D.from_api((*kit.TVS[:4], kit.TVS[4] - 6.5, kit.TVS[5] + 6.5)),
        tvr=Affine3D.from_api(kit.TVR),
        trv=Affine3D.from_api(kit.TRV),
        section_number=12,
        section_thickness_um=25.0,
    )
    xy = np.array([[[100.5, 200.25], [-3.0, 9000.0]]])
    there = atlas.image_to_reference(13, xy)
    assert there.reference_space_id == 9
    assert np.allclose(there.pir, section.image_to_reference(xy), rtol=0, atol=1e-10)
    back = atlas.reference_to_image(9, there.pir, [CORONAL])
    assert back.section_image_id.tolist() == [[[13], [13]]]
    assert np.allclose(back.xy[..., 0, :], section.reference_to_image(there.pir), rtol=0, atol=1e-10)
    through = atlas.image_to_image(13, xy, [CORONAL])
    assert np.allclose(through.xy, back.xy, rtol=0, atol=1e-9)


def test_the_choice_of_a_section_clamps_at_the_ends(atlas):
    found = atlas.reference_to_image(
        9, [at_depth(-900), at_depth(4), at_depth(13), at_depth(9000)], [CORONAL]
    )
    assert found.section_number[:, 0].tolist() == [4, 4, 12, 20]
    assert found.section_image_id[:, 0].tolist() == [12, 12, 13, 14]


@pytest.mark.parametrize(("ties", "number"), [("lower", 12), ("higher", 20)])
def test_a_point_in_the_middle_goes_where_ties_go(kit, ties, number):
    # z = p, thickness 25: the arithmetic of 400 / 25 = 16 is exact
    flat = (1.0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0)
    sections = [kit.section_row(1, 5, 12), kit.section_row(2, 5, 20)]
    catalogue = Catalogue.from_rows([kit.data_set_row(5, 9, flat, flat)], sections)
    atlas = Atlas(catalogue, ties=ties)
    found = atlas.reference_to_image(9, [[0, 0, 399.0], [0, 0, 400.0], [0, 0, 401.0]], [5])
    assert found.section_number[:, 0].tolist() == [12, number, 20]


def test_failed_images_are_left_out_when_asked_for(catalogue):
    point = at_depth(20)
    assert Atlas(catalogue).reference_to_image(9, point, [CORONAL]).section_number.tolist() == [20]
    without = Atlas(catalogue, failed_images="exclude")
    assert without.reference_to_image(9, point, [CORONAL]).section_number.tolist() == [12]


def test_sections_without_number_or_matrix_are_passed_over(atlas):
    assert atlas.reference_to_image(9, at_depth(16.1), [CORONAL]).section_number.tolist() == [20]


def test_of_several_images_with_one_number_the_lowest_id_answers(kit):
    rows = kit.rows()
    rows["section_images"].insert(0, kit.section_row(99, CORONAL, 12))
    rows["section_images"].append(kit.section_row(11, CORONAL, 12))
    atlas = Atlas(Catalogue.from_rows(**rows))
    assert atlas.reference_to_image(9, at_depth(12), [CORONAL]).section_image_id.tolist() == [11]


def test_a_target_that_fails_stays_in_the_list_without_an_image(atlas):
    found = atlas.reference_to_image(9, [POINT, POINT], [ALONE, CORONAL, 555])
    assert found.section_image_id.shape == (2, 3)
    assert np.isnan(found.xy[:, [0, 2]]).all()
    assert found.records()[1][0] == ImageSync(section_data_set_id=ALONE)
    assert found.records()[1][2] == ImageSync(section_data_set_id=555)
    assert [list(each["image_sync"]) for each in found.as_json()[0]["msg"]] == [
        ["section_data_set_id"],
        ["section_data_set_id", "section_image_id", "section_number", "x", "y"],
        ["section_data_set_id"],
    ]


def test_a_target_in_another_space_is_an_error_unless_conversion_is_asked_for(catalogue):
    with pytest.raises(SelectionError, match="reference space 10, not in 9"):
        Atlas(catalogue).reference_to_image(9, POINT, [CORONAL, SAGITTAL])
    with pytest.raises(SelectionError, match="convert_spaces"):
        Atlas(catalogue).image_to_image(13, (1, 2), [SAGITTAL])
    atlas = Atlas(catalogue, convert_spaces=True)
    mirrored = (POINT[0], POINT[1], 11350.0 - POINT[2])
    converted = atlas.reference_to_image(9, POINT, [CORONAL, SAGITTAL])
    direct = Atlas(catalogue).reference_to_image(10, mirrored, [SAGITTAL])
    assert converted.records()[1] == direct.records()[0]
    across = atlas.image_to_image(13, (100.0, 200.0), [SAGITTAL])
    pir = atlas.image_to_reference(13, (100.0, 200.0)).pir * (1, 1, -1) + (0, 0, 11350.0)
    assert np.allclose(across.xy, atlas.reference_to_image(10, pir, [SAGITTAL]).xy, rtol=0, atol=1e-9)


def test_a_space_without_a_transform_fails_when_conversion_is_asked_for(catalogue):
    atlas = Atlas(catalogue, convert_spaces=True)
    assert atlas.reference_to_image(6, POINT, [CORONAL]).records() == [ImageSync(section_data_set_id=CORONAL)]


def test_the_way_back_between_spaces_is_the_inverse_where_it_is_not_given(catalogue):
    one_way = replace(catalogue, space_transforms={(10, 9): catalogue.space_transforms[10, 9]})
    there = Atlas(one_way, convert_spaces=True).reference_to_image(9, POINT, [SAGITTAL])
    both = Atlas(catalogue, convert_spaces=True).reference_to_image(9, POINT, [SAGITTAL])
    assert there.records() == both.records()


def test_image_to_image_2d_is_the_target_s_tvs_after_the_seed_s_tsv(atlas, kit):
    found = atlas.image_to_image_2d(13, [(100.0, 200.0)], [12, 13, 16, 5555])
    tsv = Affine2D.from_api((*kit.TSV[:4], kit.TSV[4] + 6.5, kit.TSV[5] - 6.5))
    tvs = Affine2D.from_api((*kit.TVS[:4], kit.TVS[4] - 6, kit.TVS[5] + 6))
    assert np.allclose(found.xy[0, 0], (tvs @ tsv).apply([100.0, 200.0]), rtol=0, atol=1e-9)
    # the seed keeps its point, and what cannot be placed or is not known fails
    assert found.xy[0, 1].tolist() == [100.0, 200.0]
    assert found.section_image_id.tolist() == [[12, 13, -1, -1]]
    assert found.section_number.tolist() == [[4, 12, -1, -1]]
    assert found.section_data_set_id.tolist() == [[CORONAL, CORONAL, CORONAL, -1]]
    assert [list(each["image_sync"].values())[:1] for each in found.as_json()[0]["msg"]] == [["12"], [], []]


def test_image_to_atlas_answers_with_annotated_plates_only(atlas):
    xy = (4000.0, 2000.0)
    everything = atlas.image_to_image(32, xy, [PLATES])
    plate = atlas.image_to_atlas(32, xy, 1)
    assert everything.section_number.tolist() == [3]
    assert plate.section_number.shape == ()
    assert int(plate.section_number) in {1, 5}
    assert plate.records().section_image_id in {31, 33}
    body = plate.as_json()
    assert list(body["msg"]) == ["image_sync"]
    assert parse_sync_json("image_to_atlas", json.dumps(body).encode()) == plate.records()


def test_an_atlas_that_is_not_known_is_an_error(atlas):
    with pytest.raises(SelectionError, match="no plates of atlas 2"):
        atlas.image_to_atlas(12, (1, 2), 2)


def test_an_atlas_without_annotated_plates_is_an_error(kit):
    rows = kit.rows()
    rows["section_images"] = [row | {"annotated": False} for row in rows["section_images"]]
    with pytest.raises(AlignmentError, match="no annotated plate"):
        Atlas(Catalogue.from_rows(**rows)).image_to_atlas(12, (1, 2), 1)


def test_structures_are_found_by_their_centre_in_the_space_of_the_data_set(atlas):
    found = atlas.structure_to_image(CORONAL, [1018, 322, 4])
    direct = atlas.reference_to_image(9, [(7800, 3400, 10350), (5740, 2060, 8670)], [CORONAL])
    assert found.section_image_id.tolist() == [*direct.section_image_id[:, 0].tolist(), -1]
    assert np.array_equal(found.xy[:2], direct.xy[:, 0])
    assert found.records()[2] == ImageSync(section_data_set_id=CORONAL)
    # space 10 has the centre of its own, not one converted by the transform
    left = atlas.structure_to_image(SAGITTAL, [1018, 322])
    direct = atlas.reference_to_image(10, (7800, 3400, 1050), [SAGITTAL])
    assert np.array_equal(left.xy[0], direct.xy[0])
    assert left.records()[1].section_image_id is None


def test_points_that_are_not_finite_fail_alone(atlas):
    points = np.array([POINT, (np.nan, 0, 0), (0, np.inf, 0), (-np.inf, 1, np.nan), POINT])
    found = atlas.reference_to_image(9, points, [CORONAL])
    assert (found.section_image_id[:, 0] == -1).tolist() == [False, True, True, True, False]
    assert np.isnan(found.xy[1:4]).all()
    assert np.array_equal(found.xy[0], found.xy[4])
    assert np.isnan(atlas.image_to_reference(13, (np.nan, 1.0)).pir).all()
    assert atlas.image_to_image_2d(13, (np.nan, 1.0), [12]).records() == [ImageSync()]


def test_blocks_change_nothing(atlas):
    rng = np.random.default_rng(0)
    points = rng.uniform((-2000, -2000, -2000), (15000, 10000, 13000), (70_001, 3))
    whole = atlas.reference_to_image(9, points, [PLATES, CORONAL])
    for at in (0, 32_767, 32_768, 65_536, 70_000):
        one = atlas.reference_to_image(9, points[at], [PLATES, CORONAL])
        assert np.array_equal(one.section_image_id, whole.section_image_id[at])
        assert np.allclose(one.xy, whole.xy[at], rtol=0, atol=1e-9)
    images = rng.uniform(-1000, 9000, (70_001, 2))
    there = atlas.image_to_reference(13, images).pir
    assert np.allclose(
        there[[0, 40_000, -1]], atlas.image_to_reference(13, images[[0, 40_000, -1]]).pir, atol=1e-9
    )


def test_section_numbers_far_apart_are_searched_instead_of_tabled(kit):
    flat = (1.0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0)
    sections = [kit.section_row(k + 1, 5, number) for k, number in enumerate((-900_000, 0, 8, 900_000))]
    catalogue = Catalogue.from_rows([kit.data_set_row(5, 9, flat, flat)], sections)
    for ties, number in (("lower", 0), ("higher", 8)):
        points = [[0, 0, -1e12], [0, 0, 100.0], [0, 0, 101.0], [0, 0, 1e12]]
        found = Atlas(catalogue, ties=ties).reference_to_image(9, points, [5])
        assert found.section_number[:, 0].tolist() == [-900_000, number, 8, 900_000]


def test_no_points_give_no_positions(atlas):
    found = atlas.reference_to_image(9, np.empty((0, 3)), [CORONAL])
    assert found.section_image_id.shape == (0, 1)
    assert found.records() == []
    assert atlas.image_to_reference(13, np.empty((4, 0, 2))).pir.shape == (4, 0, 3)


def test_what_is_asked_of_unknown_or_unplaced_seeds_is_an_error(atlas):
    with pytest.raises(SelectionError, match="no image 5555"):
        atlas.image_to_reference(5555, (1, 2))
    with pytest.raises(AlignmentError, match=r"image 16.*tsv") as caught:
        atlas.image_to_reference(16, (1, 2))
    assert caught.value.matrix == "tsv"
    with pytest.raises(AlignmentError, match=r"data set 7.*tvr"):
        atlas.image_to_reference(41, (1, 2))
    with pytest.raises(AlignmentError, match="no section number"):
        atlas.image_to_image(15, (1, 2), [CORONAL])
    with pytest.raises(SelectionError, match="no data set 555"):
        atlas.structure_to_image(555, [1018])
    with pytest.raises(AlignmentError, match="data set 7"):
        atlas.structure_to_image(ALONE, [1018])


@pytest.mark.parametrize("points", [1.0, [1.0, 2.0, 3.0, 4.0], [[1.0, 2.0]], "abc", [["a", 1, 2]]])
def test_points_of_another_shape_are_refused(atlas, points):
    with pytest.raises(SelectionError, match="points"):
        atlas.reference_to_image(9, points, [CORONAL])


@pytest.mark.parametrize("targets", [[], 479, ["a"], [[479]], [479.5]])
def test_targets_that_are_no_list_of_ids_are_refused(atlas, targets):
    with pytest.raises(SelectionError, match="data_set_ids"):
        atlas.reference_to_image(9, POINT, targets)


def test_choices_that_do_not_exist_are_refused(catalogue):
    with pytest.raises(SelectionError, match="ties is lower or higher"):
        Atlas(catalogue, ties="middle")
    with pytest.raises(SelectionError, match="failed_images"):
        Atlas(catalogue, failed_images="maybe")


def test_records_and_bodies_nest_as_the_points(atlas):
    one = atlas.image_to_reference(13, (1.0, 2.0))
    assert isinstance(one.records(), ReferencePoint)
    assert one.as_json()["msg"]["image_to_reference"] == dict(zip("xyz", one.pir.tolist(), strict=True))
    four = atlas.image_to_image(13, np.zeros((2, 2, 2)), [CORONAL, PLATES])
    assert [len(each) for each in four.records()[1]] == [2, 2]
    assert four.as_json()[1][0]["num_rows"] == 0
    assert (
        parse_sync_json("image_to_image", json.dumps(four.as_json()[1][0]).encode()) == four.records()[1][0]
    )


def test_the_requests_of_the_api_take_what_the_services_take(atlas):
    request = SyncRequest(service="reference_to_image", seed_id=9, point=POINT, target_ids=(CORONAL,))
    found = getattr(atlas, request.service)(request.seed_id, request.point, request.target_ids)
    assert found.records() == atlas.reference_to_image(9, POINT, [CORONAL]).records()
