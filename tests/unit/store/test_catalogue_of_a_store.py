"""The optional group ``catalogue``: rows in, rows out, written once, and what is not a catalogue is named."""

from __future__ import annotations

import json

import pytest

import asyncfetch.store as store
from asyncfetch.store import AtlasRecord, StoreWriter

CENTER = {"id": 2, "structure_id": 1018, "reference_space_id": 9, "x": 7800, "y": 3400, "z": 10350}
OTHER = {"id": 1, "structure_id": 322, "reference_space_id": 9, "x": 5740, "y": 2060, "z": 8670}
FLIPPED = CENTER | {"id": 3, "reference_space_id": 10, "z": 1050}
TRANSFORM = {"id": 1, "from_reference_space_id": 10, "to_reference_space_id": 9} | {
    f"t_{i:02}": float(value) for i, value in enumerate((1, 0, 0, 0, 1, 0, 0, 0, -1, 0, 0, 11000))
}


@pytest.fixture
def writer(tmp_path):
    return StoreWriter.open(tmp_path / "out.zarr")


def test_what_is_written_is_read(writer):
    writer.write_structure_centers(10, [FLIPPED])
    writer.write_structure_centers(9, [CENTER, OTHER])
    writer.write_structure_centers(6, [])
    writer.write_space_transforms([TRANSFORM])
    writer.write_atlas(AtlasRecord(record={"id": 1, "name": "Mouse"}, data_set_ids=(7, 8)))
    assert writer.centred_spaces == {6, 9, 10}
    assert writer.has_space_transforms
    opened = store.open(writer.location)
    assert opened.read_structure_centers() == [OTHER, CENTER, FLIPPED]
    assert opened.read_space_transforms() == [TRANSFORM]
    assert opened.read_atlases() == {1: AtlasRecord(record={"id": 1, "name": "Mouse"}, data_set_ids=(7, 8))}
    catalogue = opened.read_atlas().catalogue
    assert len(catalogue.structure_centers) == 3
    assert catalogue.atlas_data_sets[1] == 7
    assert catalogue.space_transforms[10, 9].apply((0.0, 0.0, 0.0)).tolist() == [0.0, 0.0, 11000.0]
    assert opened.open_group()["catalogue/atlases/1"].attrs["asyncfetch"]["data_set_ids"] == [7, 8]


def test_a_store_without_a_catalogue_is_none_the_worse(writer):
    assert (writer.centred_spaces, writer.has_space_transforms) == (set(), False)
    opened = store.open(writer.location)
    assert (opened.read_structure_centers(), opened.read_space_transforms(), opened.read_atlases()) == (
        [],
        None,
        {},
    )
    assert opened.read_atlas().catalogue.space_transforms[10, 9].apply((0.0, 0.0, 0.0)).tolist() == [
        0.0,
        0.0,
        11350.0,
    ]


def test_the_same_atlas_is_not_written_again(writer, tmp_path):
    atlas = AtlasRecord(record={"id": 1, "name": "Mouse"}, data_set_ids=(7,))
    writer.write_atlas(atlas)
    path = tmp_path / "out.zarr" / "catalogue" / "atlases" / "1" / "zarr.json"
    written = path.stat().st_mtime_ns
    writer.write_atlas(atlas)
    assert path.stat().st_mtime_ns == written


def test_what_a_killed_write_left_is_swept(writer, tmp_path):
    folder = tmp_path / "out.zarr" / "catalogue" / "space_transforms"
    folder.mkdir(parents=True)
    (folder / "zarr.json.0123.partial").write_bytes(b"{")
    assert not writer.has_space_transforms
    writer.write_space_transforms([TRANSFORM])
    assert [path.name for path in folder.iterdir()] == ["zarr.json"]


def test_a_catalogue_that_cannot_be_read_counts_as_missing_and_is_told(writer, tmp_path):
    writer.write_structure_centers(9, [CENTER])
    path = tmp_path / "out.zarr" / "catalogue" / "structure_centers" / "9" / "zarr.json"
    node = json.loads(path.read_text())
    node["attributes"]["asyncfetch"] = {"rows": 5}
    path.write_text(json.dumps(node))
    opened = store.open(writer.location)
    assert opened.read_structure_centers() == []
    assert "catalogue/structure_centers/9/zarr.json cannot be read" in opened.damage[0]
    assert writer.centred_spaces == set()
