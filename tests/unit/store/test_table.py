"""The columns of a data set."""

from __future__ import annotations

import numpy as np
import zarr

import asyncfetch.store as store


def test_columns_hold_every_section_in_section_order(mirror, kit):
    rows = [section.record for section in mirror.data_set.section_images]
    mirror.data_set = kit.data_set_of([*rows, kit.section_row(7, None)])
    mirror.writer.write_table(mirror.data_set)
    mirror.view.finish()
    table = store.open(mirror.writer.location).data_set(70813257).read_table()
    assert table["image_id"].tolist() == [101349750, 101349753, 101349756, 101349759, 7]
    assert table["image_id"].dtype == np.int64
    np.testing.assert_array_equal(table["section_number"], [8, 16, 24, 40, np.nan])
    assert table["image_type"].tolist() == ["Primary"] * 5
    assert table["failed"].dtype == np.bool_


def test_missing_matrices_are_nan_and_others_exact(mirror, kit):
    mirror.writer.write_table(mirror.data_set)
    mirror.view.finish()
    table = store.open(mirror.writer.location).data_set(70813257).read_table()
    assert table["tsv"].shape == (4, 6)
    np.testing.assert_array_equal(table["tsv"][2], kit.TSV)
    assert np.isnan(table["tsv"][3]).all()
    assert np.isnan(table["image_to_reference"][3]).all()
    section = next(each for each in mirror.data_set.section_images if each.id == 101349756)
    np.testing.assert_array_equal(
        table["image_to_reference"][2], mirror.data_set.geometry(section).image_to_reference_matrix()
    )


def test_a_section_without_a_number_keeps_its_own_matrices(mirror, kit):
    mirror.writer.write_table(kit.data_set_of([kit.section_row(7, None)]))
    table = store.open(mirror.writer.location).data_set(70813257).read_table()
    np.testing.assert_array_equal(table["tvs"][0], kit.TVS)
    assert np.isnan(table["plane"][0]).all()


def test_plain_zarr_reads_the_columns(mirror):
    mirror.writer.write_table(mirror.data_set)
    mirror.view.finish()
    group = zarr.open_group(mirror.writer.store.root, path="data_sets/70813257/table", mode="r")
    assert group["image_id"].shape == (4,)
    assert set(group.array_keys()) == {"image_id", "image_type", "numbers"}
    columns = group.attrs["asyncfetch"]["columns"]
    np.testing.assert_array_equal(group["numbers"][:, columns.index("section_number")], [8, 16, 24, 40])
    assert columns[-4:] == ["plane_0", "plane_1", "plane_2", "plane_3"]


def test_a_set_that_is_not_complete_has_no_table(mirror):
    assert store.open(mirror.writer.location).data_set(70813257).read_table() == {}


def test_a_set_without_sections_has_empty_columns(mirror, kit):
    mirror.writer.write_table(kit.data_set_of([]))
    table = store.open(mirror.writer.location).data_set(70813257).read_table()
    assert {name: len(column) for name, column in table.items()} == dict.fromkeys(table, 0)
