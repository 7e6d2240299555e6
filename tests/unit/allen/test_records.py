from __future__ import annotations

import json

import numpy as np
import pytest

from asyncfetch.allen import parse_data_set, parse_section_image, parse_xml
from asyncfetch.errors import AlignmentError, ReplyError
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
        ({"width": None}, "width"),
        ({"height": "tall"}, "height"),
        ({"data_set_id": None}, "data_set_id"),
        ({"resolution": []}, "resolution"),
        ({"alignment2d": "none"}, "alignment2d"),
        ({"alignment2d": alignment2d_row(tsv_00="x")}, "tsv_numbers"),
        ({"alignment2d": {"tsv": "1,2,3"}}, "tsv_numbers"),
        ({"alignment2d": {"tsv": "1,0,0,1,0,inf"}}, "tsv_numbers"),
    ],
)
def test_a_section_row_that_does_not_fit_is_named(changes, field):
    with pytest.raises(ReplyError) as caught:
        parse_section_image(section_row(**changes))
    assert all(word in caught.value.message for word in ("SectionImage 69177634", field))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"section_thickness": "thick"}, "section_thickness"),
        ({"genes": 5}, "genes"),
        ({"products": [{"name": "Mouse"}]}, "id"),
        ({"section_images": 5}, "section_images"),
        ({"section_images": [7]}, "section_images"),
        ({"alignment3d": {"tvr": "1,2"}}, "tvr_numbers"),
        ({"alignment3d": 3}, "alignment3d"),
    ],
)
def test_a_data_set_row_that_does_not_fit_is_named(changes, field):
    with pytest.raises(ReplyError) as caught:
        parse_data_set(data_set_row(**changes))
    assert all(word in caught.value.message for word in ("SectionDataSet 69289763", field))


def test_a_row_without_an_id_is_named_by_what_it_lacks():
    with pytest.raises(ReplyError, match="missing required field `id`"):
        parse_data_set({})
