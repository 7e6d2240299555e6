from __future__ import annotations

import numpy as np
import pytest

from asyncfetch.allen import parse_data_set
from asyncfetch.atlas import Atlas, Catalogue, DataSetColumns, SectionColumns, StructureCenters
from asyncfetch.atlas.catalogue import space_transforms_of
from asyncfetch.errors import RecordError, SelectionError
from asyncfetch.layout.table import table_columns

CORONAL = 479


def parsed(kit, data_set_id):
    rows = kit.rows()
    (record,) = [row for row in rows["data_sets"] if row["id"] == data_set_id]
    return parse_data_set(
        record, [row for row in rows["section_images"] if row["data_set_id"] == data_set_id]
    )


def test_sections_stand_in_order_of_data_set_number_and_id(catalogue):
    sections = catalogue.sections
    assert sections.data_set_id.tolist() == sorted(sections.data_set_id.tolist())
    assert sections.image_id[catalogue.sections_of(CORONAL)].tolist() == [12, 13, 16, 14, 15]
    assert np.isnan(sections.section_number[catalogue.sections_of(CORONAL)][-1])
    assert sections.image_id[catalogue.sections_of(400)].tolist() == []


def test_lookups_take_many_ids_and_mark_the_unknown(catalogue):
    rows = catalogue.section_rows(np.array([33, 5, 12, 10**12]))
    assert (rows >= 0).tolist() == [True, False, True, False]
    assert catalogue.sections.image_id[rows[[0, 2]]].tolist() == [33, 12]
    assert catalogue.data_set_rows(np.array([1, 7])).tolist() == [-1, 0]


def test_missing_matrices_are_nan_and_missing_ids_minus_one(kit):
    row = kit.data_set_row(1, None, kit.TVR, kit.TRV, section_thickness=None, alignment3d=None)
    catalogue = Catalogue.from_rows([row], [kit.section_row(2, 1, None, alignment2d=None)])
    assert catalogue.data_sets.reference_space_id.tolist() == [-1]
    for column in (catalogue.data_sets.section_thickness_um, catalogue.data_sets.trv, catalogue.sections.tsv):
        assert np.isnan(column).all()


def test_records_rows_and_tables_give_the_same_columns(kit):
    record = parsed(kit, CORONAL)
    rows = kit.rows()
    catalogues = [
        Catalogue.from_records([record]),
        Catalogue.from_rows([rows["data_sets"][0]], rows["section_images"]),
        Catalogue.from_columns(
            DataSetColumns.of([record]), [SectionColumns.of_table(CORONAL, table_columns(record))]
        ),
    ]
    for other in catalogues[1:]:
        for name in (
            "image_id",
            "data_set_id",
            "section_number",
            "tsv",
            "tvs",
            "failed",
            "annotated",
            "image_type",
        ):
            ours, theirs = getattr(catalogues[0].sections, name), getattr(other.sections, name)
            assert np.array_equal(ours, theirs, equal_nan=name in {"section_number", "tsv", "tvs"}), name
        assert np.array_equal(catalogues[0].data_sets.trv, other.data_sets.trv)


def test_what_comes_twice_counts_once_and_the_first_time(kit):
    rows = kit.rows()
    again = kit.data_set_row(CORONAL, 6, kit.TVR, kit.TRV)
    catalogue = Catalogue.from_rows(
        [*rows["data_sets"], again], [*rows["section_images"], *rows["section_images"]]
    )
    assert len(catalogue.data_sets) == 4
    assert len(catalogue.sections) == len(rows["section_images"])
    assert catalogue.data_sets.reference_space_id[catalogue.data_set_rows(np.array([CORONAL]))].tolist() == [
        9
    ]


def test_an_empty_catalogue_knows_nothing():
    catalogue = Catalogue.from_records([])
    assert catalogue.section_rows(np.array([1])).tolist() == [-1]
    with pytest.raises(SelectionError):
        Atlas(catalogue).image_to_reference(1, (1, 2))
    assert Atlas(catalogue).reference_to_image(9, (1, 2, 3), [4]).section_image_id.tolist() == [-1]


def test_joining_keeps_the_first_of_what_both_hold(kit, catalogue):
    mine = Catalogue.from_records([parsed(kit, CORONAL)]).with_structure_centers(
        [{"structure_id": 1018, "reference_space_id": 9, "x": 1, "y": 2, "z": 3}]
    )
    both = mine.join(catalogue)
    assert len(both.data_sets) == len(catalogue.data_sets)
    assert both.sections.image_id.tolist() == catalogue.sections.image_id.tolist()
    assert both.structure_centers.find(np.array([1018, 322]), 9).tolist() == [[1, 2, 3], [5740, 2060, 8670]]
    assert both.atlas_data_sets == {1: 100048576}


def test_structure_centers_that_are_not_known_are_nan(catalogue):
    found = catalogue.structure_centers.find(np.array([322, 1018]), 10)
    assert np.isnan(found[0]).all()
    assert found[1].tolist() == [7800, 3400, 1050]


@pytest.mark.parametrize(
    "row", [{"structure_id": 1}, {"structure_id": 1, "reference_space_id": 9, "x": "a"}, {}]
)
def test_a_structure_center_that_is_none_is_refused(row):
    with pytest.raises(SelectionError, match="structure centre"):
        StructureCenters.of([row])


def test_a_row_without_an_id_is_refused():
    with pytest.raises(RecordError):
        Catalogue.from_rows([{"id": "left", "reference_space_id": 9}])


def test_odd_rows_of_a_store_are_left_out():
    sound = {"structure_id": 1, "reference_space_id": 9, "x": 1, "y": 2, "z": 3}
    odd = [sound | {"x": 1e300}, sound | {"structure_id": 2**63}, sound | {"z": "nan"}, sound | {"y": []}]
    assert len(StructureCenters.of([sound, *odd], odd="left out")) == 1
    transform = {"from_reference_space_id": 10, "to_reference_space_id": 9} | {
        f"t_{k:02}": 1.0 for k in range(12)
    }
    odd = [
        {"t_03": "nan"},
        {"t_03": 1e308},
        {"from_reference_space_id": []},
        {"to_reference_space_id": 2**70},
    ]
    assert len(space_transforms_of([transform])) == 1
    assert space_transforms_of([transform | each for each in odd]) == {}


def test_the_transform_between_the_spaces_is_its_own_inverse(catalogue):
    to, back = catalogue.space_transforms[10, 9], catalogue.space_transforms[9, 10]
    assert (to @ back).matrix.tolist() == np.eye(3, 4).tolist()
    assert to.apply([1.0, 2.0, 3.0]).tolist() == [1.0, 2.0, 11347.0]


def test_the_recorded_centres_are_mirrored_at_11400(recorded):
    import json

    rows = json.loads((recorded / "structure_centers_recorded.json").read_text())
    centers = StructureCenters.of(rows)
    ids = np.array([1018, 322])
    assert (centers.find(ids, 9) + centers.find(ids, 10))[:, 2].tolist() == [11400, 11400]
