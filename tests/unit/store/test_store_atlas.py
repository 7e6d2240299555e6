from __future__ import annotations

import numpy as np
import pytest

import asyncfetch.store as store
from asyncfetch.atlas import Catalogue
from asyncfetch.errors import AlignmentError

DATA_SET_ID = 70813257


def test_a_store_computes_the_services_of_what_it_holds(mirror):
    mirror.write(101349756)
    mirror.writer.write_table(mirror.data_set)
    mirror.view.finish()
    opened = store.open(mirror.writer.location)
    assert opened.read_atlas() is opened.read_atlas()
    xy = np.array([[0.0, 0.0], [1000.0, 500.0]])
    there = opened.read_atlas().image_to_reference(101349756, xy)
    section = opened.data_set(DATA_SET_ID).geometry(101349756)
    assert np.allclose(there.pir, section.image_to_reference(xy), rtol=0, atol=1e-9)
    # sections that are known and not stored are computed, too
    assert opened.read_atlas().image_to_reference(101349750, xy).reference_space_id == 9
    with pytest.raises(AlignmentError, match="101349759"):
        opened.read_atlas().image_to_reference(101349759, xy)


def test_the_catalogue_of_a_store_is_that_of_the_records(mirror):
    mirror.writer.write_table(mirror.data_set)
    mirror.view.finish()
    stored = store.open(mirror.writer.location).read_atlas().catalogue
    records = Catalogue.from_records([mirror.data_set])
    for name in ("image_id", "section_number", "tsv", "tvs", "failed", "annotated", "image_type"):
        ours, theirs = getattr(stored.sections, name), getattr(records.sections, name)
        assert np.array_equal(ours, theirs, equal_nan=name in {"tsv", "tvs"}), name
    assert np.array_equal(stored.data_sets.tvr, records.data_sets.tvr)
    assert stored.data_sets.section_thickness_um.tolist() == [25.0]


def test_of_an_unfinished_data_set_the_committed_sections_are_known(mirror):
    mirror.write(101349756)
    mirror.write(101349750, until_commit=True)
    atlas = store.open(mirror.writer.location).read_atlas()
    assert atlas.catalogue.sections.image_id.tolist() == [101349756]


def test_an_empty_store_has_an_atlas_that_knows_nothing(tmp_path):
    from asyncfetch.store import StoreWriter

    atlas = store.open(StoreWriter.open(tmp_path / "out.zarr").location).read_atlas()
    assert len(atlas.catalogue.sections) == 0
    assert atlas.reference_to_image(9, (1, 2, 3), [4]).section_image_id.tolist() == [-1]
