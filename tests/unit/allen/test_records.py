from __future__ import annotations

import json

import numpy as np
import pytest

from asyncfetch.allen import parse_data_set, parse_section_image, parse_xml
from asyncfetch.errors import AlignmentError, RecordError
from asyncfetch.geometry import Plane

# SectionImage 69177634 of set 69289763, with the numbers of its alignment.
TSV = (1.04849, -0.0328579, 0.0328579, 1.04849, 4156.71, 2210.64)
TVS = (0.952821, 0.0298599, -0.0298599, 0.952821, -4026.61, -1982.23)
TVR = (
    *(1.0283, 0.0326282, -0.000652651),
    *(-0.0323384, 0.990426, -0.0198112),
    *(0.0, 0.0174272, 0.871244),
    *(-1118.73, -1225.02, 1743.06),
)


def alignment2d_row(**changes):
    numbers = {f"tsv_{k:02d}": value for k, value in enumerate(TSV)}
    numbers |= {f"tvs_{k:02d}": value for k, value in enumerate(TVS)}
    return {"id": 346488496, "section_image_id": 69177634} | numbers | changes


def alignment3d_row(**changes):
    numbers = {f"tvr_{k:02d}": value for k, value in enumerate(TVR)}
    return {"id": 1, "aligned_id": 69289763, "aligned_type": "DataSet"} | numbers | changes


def section_row(**changes):
    return {
        "id": 69177634,
        "data_set_id": 69289763,
        "width": 8929,
        "height": 6705,
        "section_number": 6,
        "resolution": 1.049,
        "alignment2d": alignment2d_row(),
    } | changes


def data_set_row(**changes):
    return {
        "id": 69289763,
        "reference_space_id": 10,
        "plane_of_section_id": 2,
        "section_thickness": 25.0,
        "alignment3d": alignment3d_row(),
    } | changes


@pytest.fixture
def data_set(recorded):
    (row,) = parse_xml((recorded / "data_set_69289763.xml").read_bytes()).rows
    return parse_data_set(row)


def test_the_recorded_data_set_has_typed_numbers(data_set):
    assert data_set.id == 69289763
    assert data_set.reference_space_id == 10
    assert data_set.section_thickness == 25.0
    assert (data_set.failed, data_set.expression, data_set.name) == (False, True, None)
    assert [product.abbreviation for product in data_set.products] == ["DevMouse", "Mouse"]
    assert len(data_set.section_images) == 18
    first = data_set.section_images[0]
    assert (first.id, first.section_number, first.shape) == (69177634, 6, (6705, 8929))
    assert (first.resolution, first.tier_count, first.failed, first.expression) == (1.049, 7, False, None)
    assert first.path.endswith(".aff")


def test_the_recorded_data_set_was_cut_sagittally_by_its_alignment(data_set):
    assert data_set.plane_of_section_id is None
    assert data_set.plane is Plane.SAGITTAL


def test_the_recorded_sections_are_placed_there_and_back(data_set):
    corners = np.array([[0.0, 0.0], [8929.0, 6705.0]])
    for section in data_set.section_images:
        geometry = data_set.geometry(section)
        assert geometry.volume_z_um == section.section_number * 25.0
        there = geometry.image_to_reference(corners)
        # the matrices and their inverses are printed with six digits
        assert np.allclose(geometry.reference_to_image(there), corners, rtol=0, atol=1.0)


def test_both_shapes_of_alignments_give_the_same_maps(data_set):
    flat = parse_section_image(section_row()).alignment2d
    recorded = data_set.section_images[0].alignment2d
    assert (flat.tsv, flat.tvs) == (recorded.tsv, recorded.tvs)
    deep = parse_data_set(data_set_row()).alignment3d
    assert deep.tvr == data_set.alignment3d.tvr


def test_numbers_stand_where_the_api_documents_them():
    alignment = parse_section_image(section_row()).alignment2d
    assert alignment.tsv.matrix.tolist() == [[TSV[0], TSV[1], TSV[4]], [TSV[2], TSV[3], TSV[5]]]
    assert (alignment.id, alignment.section_image_id) == (346488496, 69177634)


def test_the_row_is_kept_verbatim():
    row = section_row(later_field={"any": ["thing", None]})
    section = parse_section_image(row)
    assert section.record == row
    assert json.loads(json.dumps(section.record)) == row
    whole = data_set_row(section_images=[row, None])
    assert parse_data_set(whole).record == whole


def test_fields_that_the_service_leaves_null_are_none():
    nulls = dict.fromkeys(
        ["section_number", "x", "y", "image_width", "resolution", "tier_count", "failed", "alignment2d"]
    )
    section = parse_section_image(section_row(**nulls))
    assert all(getattr(section, name) is None for name in nulls)
    empty = parse_data_set({"id": 1} | dict.fromkeys(["name", "genes", "products", "alignment3d"]))
    assert (empty.genes, empty.products, empty.alignment3d, empty.section_images) == ((), (), None, ())


@pytest.mark.parametrize("null", ["tsv_00", "tsv_05"])
def test_a_matrix_with_a_missing_number_is_missing(null):
    section = parse_section_image(section_row(alignment2d=alignment2d_row(**{null: None})))
    assert section.alignment2d.tsv is None
    assert section.alignment2d.tvs is not None
    data_set = parse_data_set(data_set_row(), [section.record])
    with pytest.raises(AlignmentError) as caught:
        data_set.geometry(section).image_to_reference([0.0, 0.0])
    assert caught.value.matrix == "tsv"


def test_nulls_among_included_rows_are_left_out():
    data_set = parse_data_set(
        data_set_row(
            section_images=[None, section_row()],
            genes=[None, {"id": 1, "acronym": None}],
            products=[{"id": 1, "name": "Mouse Brain"}, None],
        ),
        [None, section_row(id=2)],
    )
    assert [section.id for section in data_set.section_images] == [2, 69177634]
    assert [gene.id for gene in data_set.genes] == [1]
    assert [product.name for product in data_set.products] == ["Mouse Brain"]


def test_rows_that_joins_repeat_count_once():
    bare = section_row(alignment2d=None)
    data_set = parse_data_set(data_set_row(section_images=[bare, bare]), [section_row(), section_row()])
    (section,) = data_set.section_images
    assert section.alignment2d is not None


def test_an_alignment_in_a_list_of_one_is_read():
    assert parse_section_image(section_row(alignment2d=[alignment2d_row()])).alignment2d.tsv is not None
    assert parse_section_image(section_row(alignment2d=[])).alignment2d is None


def test_the_plane_follows_the_id_and_then_the_alignment():
    assert parse_data_set(data_set_row(plane_of_section_id=1)).plane is Plane.CORONAL
    with pytest.raises(AlignmentError, match="data set 69289763") as caught:
        _ = parse_data_set(data_set_row(plane_of_section_id=None)).plane
    assert caught.value.matrix == "trv"


@pytest.mark.parametrize(
    ("section", "thickness"), [({"section_number": None}, 25.0), ({"section_number": 6}, None)]
)
def test_a_section_of_unknown_depth_has_no_place(section, thickness):
    data_set = parse_data_set(data_set_row(section_thickness=thickness), [section_row(**section)])
    with pytest.raises(AlignmentError, match="image 69177634"):
        data_set.geometry(data_set.section_images[0])


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        *(({name: None}, name) for name in ("id", "data_set_id", "width", "height")),
        *(
            ({name: value}, name)
            for name in ("id", "width", "height")
            for value in (0, -5, 2**63, 2**70, 1e300, True, [], {}, "tall", "nan", 1.5)
        ),
        ({"width": 10**6 + 1}, "width"),
        ({"data_set_id": 2**63}, "data_set_id"),
    ],
)
def test_a_section_without_an_id_or_a_size_is_named(changes, field):
    with pytest.raises(RecordError) as caught:
        parse_section_image(section_row(**changes))
    assert f" {field} is " in caught.value.message
    assert ("69177634" in caught.value.message) is (field != "id")
    assert len(caught.value.message) < 200


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        *(
            ({name: value}, name)
            for name in (
                "section_number",
                "resolution",
                "tier_count",
                "x",
                "image_width",
                "annotated",
                "path",
            )
            for value in ([], {"a": 1}, 2**40 + 0.5)
        ),
        ({"resolution": 0}, "resolution"),
        ({"resolution": -1.0}, "resolution"),
        ({"resolution": "nan"}, "resolution"),
        ({"resolution": 1e300}, "resolution"),
        ({"section_number": 2**40}, "section_number"),
        ({"tier_count": 0}, "tier_count"),
        ({"tier_count": 2**31}, "tier_count"),
        ({"expression": "red"}, "expression"),
        ({"image_type": 5}, "image_type"),
        ({"alignment2d": "none"}, "alignment2d"),
    ],
)
def test_a_field_that_is_not_needed_costs_no_section(changes, field):
    section = parse_section_image(section_row(**changes))
    assert getattr(section, field) is None
    assert section.odd[field].startswith(f"{field} is ")
    assert (section.shape, section.record) == ((6705, 8929), section_row(**changes))


def test_numbers_that_come_as_text_or_as_whole_floats_are_numbers():
    section = parse_section_image(
        section_row(id="69177634", data_set_id=69289763.0, width="8929", height=6705.0, resolution="1.049")
    )
    assert section.odd == {}
    assert (section.id, section.data_set_id, section.shape, section.resolution) == (
        *(69177634, 69289763),
        (6705, 8929),
        1.049,
    )


PLACING = [
    ({}, {"alignment2d": alignment2d_row(tsv_00="x")}, "tsv"),
    ({}, {"alignment2d": alignment2d_row(tvs_03=1e308)}, "tvs"),
    ({}, {"alignment2d": {"tsv": "1,2,3"}}, "tsv"),
    ({}, {"alignment2d": {"tsv": "1,0,0,1,0,inf"}}, "tsv"),
    ({}, {"alignment2d": 3}, "alignment2d"),
    ({}, {"resolution": -1.0}, "resolution"),
    ({}, {"section_number": 2**40}, "section_number"),
    ({"section_thickness": "thick"}, {}, "section_thickness"),
    ({"section_thickness": 1e300}, {}, "section_thickness"),
    ({"alignment3d": alignment3d_row(tvr_09=1e308)}, {}, "tvr"),
    ({"alignment3d": {"tvr": "1,2"}}, {}, "tvr"),
    ({"alignment3d": 3}, {}, "alignment3d"),
]


@pytest.mark.parametrize(("set_changes", "changes", "field"), PLACING)
def test_what_cannot_place_a_section_is_named_where_it_would_be_placed(set_changes, changes, field):
    data_set = parse_data_set(data_set_row(**set_changes), [section_row(**changes)])
    (section,) = data_set.section_images
    with pytest.raises(AlignmentError, match=f"image 69177634 cannot be placed; .*: {field} is "):
        data_set.geometry(section)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"section_thickness": []}, "section_thickness"),
        ({"reference_space_id": "nine"}, "reference_space_id"),
        ({"plane_of_section_id": -1}, "plane_of_section_id"),
        ({"failed": "perhaps"}, "failed"),
        ({"name": 7}, "name"),
        ({"genes": 5}, "genes"),
        ({"products": [{"name": "Mouse"}]}, "products"),
        ({"genes": [{"id": 1, "acronym": "Pvalb"}, 7]}, "genes"),
    ],
)
def test_a_field_that_is_not_needed_costs_no_data_set(changes, field):
    data_set = parse_data_set(data_set_row(**changes), [section_row()])
    assert not getattr(data_set, field) or [gene.acronym for gene in data_set.genes] == ["Pvalb"]
    assert field in data_set.odd
    assert len(data_set.section_images) == 1


def test_a_section_that_cannot_be_read_costs_no_other():
    rows = [
        section_row(id=1),
        section_row(id=2, width=None),
        section_row(id=None),
        section_row(id=4, data_set_id=5),
        ["id", 6],
        section_row(id=7, data_set_id=None),
        section_row(id="8"),
    ]
    data_set = parse_data_set(data_set_row(section_images=[None, 9]), rows, [(10, None)])
    assert [section.id for section in data_set.section_images] == [1, 7, 8]
    found = {(each.id, each.message.partition(" (")[0]) for each in data_set.unreadable_sections}
    assert {image_id for image_id, _ in found} == {None, 2, 4}
    assert (2, "SectionImage 2: width is missing") in found
    assert (4, "SectionImage 4: it is of data set 5, and those of data set 69289763 were asked for") in found
    assert {message[:5] for image_id, message in found if image_id is None} == {
        "row 2",
        "row 4",
        "row 7",
        "row 1",
    }


@pytest.mark.parametrize("changes", [{"id": []}, {"id": 2**63}, {"id": None}, {"section_images": 5}])
def test_a_data_set_without_an_id_or_with_no_list_of_sections_is_named(changes):
    with pytest.raises(RecordError, match="SectionDataSet"):
        parse_data_set(data_set_row(**changes))


def test_a_row_without_an_id_is_named_by_what_it_lacks():
    with pytest.raises(RecordError, match="id is missing"):
        parse_data_set({})


def test_where_a_section_lies_is_computed_once_and_an_error_is_raised_each_time():
    sound = parse_data_set(data_set_row(), [section_row()])
    again = parse_data_set(data_set_row(), [section_row()])
    assert again.geometry(again.section_images[0]) is sound.geometry(sound.section_images[0])
    thick = parse_data_set(data_set_row(section_thickness=50.0), [section_row()])
    assert thick.geometry(thick.section_images[0]).volume_z_um == 300.0
    wrong = parse_data_set(data_set_row(), [section_row(resolution=100.0)])
    for _ in range(2):
        with pytest.raises(AlignmentError, match="scales lengths"):
            wrong.geometry(wrong.section_images[0])
