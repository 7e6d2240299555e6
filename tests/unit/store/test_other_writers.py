"""What others put into a store stays, and no copy of its metadata goes stale."""

from __future__ import annotations

import errno
import json
import os

import numpy as np
import pytest
import zarr

import asyncfetch.store as store
from asyncfetch.errors import StoreError
from asyncfetch.geometry import Plane, ReferenceGrid
from asyncfetch.store.objects import Place

IMAGE, OTHER = 101349750, 101349756


def group_paths(folder):
    return [
        str(path.parent.relative_to(folder))
        for path in sorted(folder.rglob("zarr.json"))
        if json.loads(path.read_bytes())["node_type"] == "group"
    ]


def note_on(folder):
    """Put an attribute, and a field that Zarr lets pass, on every group."""
    paths = group_paths(folder)
    for path in paths:
        file = folder / path / "zarr.json"
        document = json.loads(file.read_bytes())
        document["attributes"]["note"] = path
        document["lab"] = {"must_understand": False, "of": path}
        file.write_text(json.dumps(document))
    return paths


def notes_of(folder, paths):
    documents = [json.loads((folder / path / "zarr.json").read_bytes()) for path in paths]
    return [(each["attributes"].get("note"), each.get("lab", {}).get("of")) for each in documents]


@pytest.fixture
def written(mirror):
    mirror.write(IMAGE)
    mirror.view.finish()
    mirror.writer.write_table(mirror.data_set)
    mirror.writer.write_structure_centers(9, [])
    return mirror


def write_again(written, folder):
    again = type(written)(store.StoreWriter.open(folder), written.data_set)
    again.writer.begin_run({"selection": []})
    again.begin().write(IMAGE)
    again.view.finish()
    again.writer.write_table(again.data_set)
    again.writer.write_structure_centers(9, [{"id": 1}])
    again.writer.end_run({"selection": []})
    return again


def test_attributes_and_fields_of_others_stay_on_every_group(written, tmp_path):
    folder = tmp_path / "out.zarr"
    paths = note_on(folder)
    assert len(paths) > 8
    before = {path: json.loads((folder / path / "zarr.json").read_bytes())["attributes"] for path in paths}
    write_again(written, folder)
    assert notes_of(folder, paths) == [(path, path) for path in paths]
    section = f"data_sets/{written.data_set.id}/image/sections/{IMAGE}"
    now = json.loads((folder / section / "zarr.json").read_bytes())["attributes"]
    assert now["ome"] == before[section]["ome"]
    assert now["asyncfetch"]["sha256"] == before[section]["asyncfetch"]["sha256"]


def test_labels_and_arrays_of_others_stay_beside_ours(written, tmp_path):
    folder = tmp_path / "out.zarr"
    paths = group_paths(folder)
    for path in paths:
        zarr.create_array(folder / path / "labels" / "cells", data=np.arange(3))
    write_again(written, folder).view.drop_registered()
    for path in paths:
        assert zarr.open_array(folder / path / "labels" / "cells", mode="r")[:].tolist() == [0, 1, 2]
    assert not (folder / f"data_sets/{written.data_set.id}/image/registered/scale0/image").exists()


def test_attributes_of_others_stay_on_our_arrays_though_these_are_written_again(written, tmp_path):
    folder = tmp_path / "out.zarr"
    arrays = [
        path.parent
        for path in sorted(folder.rglob("zarr.json"))
        if json.loads(path.read_bytes())["node_type"] == "array"
    ]
    assert {path.name for path in arrays} > {"image", "y", "x", "z", "numbers", "image_id"}
    expected = {path: dict(zarr.open_array(path, mode="r").attrs) for path in arrays}
    for path in arrays:
        zarr.open_array(path, mode="r+").attrs["note"] = path.name
    written.view.drop_registered()
    write_again(written, folder)
    assert {path: dict(zarr.open_array(path, mode="r").attrs) for path in arrays} == {
        path: {**attributes, "note": path.name} for path, attributes in expected.items()
    }
    assert store.open(folder).data_set(written.data_set.id).section(IMAGE).pixels().any()


def test_a_section_that_is_taken_back_leaves_only_what_others_said(written, tmp_path):
    folder = tmp_path / "out.zarr"
    path = f"data_sets/{written.data_set.id}/image/sections/{IMAGE}"
    note_on(folder)
    written.view.begin_section(IMAGE)
    document = json.loads((folder / path / "zarr.json").read_bytes())
    assert document["attributes"] == {"note": path}
    assert written.writer.commits(written.data_set.id, "image") == {}


def test_nothing_is_left_where_nobody_put_anything(written, tmp_path):
    written.view.begin_section(IMAGE)
    written.view.drop_registered()
    below = tmp_path / "out.zarr" / f"data_sets/{written.data_set.id}/image"
    assert not (below / f"sections/{IMAGE}").exists()
    assert not (below / "registered").exists()


@pytest.mark.filterwarnings("ignore:Consolidated metadata", "ignore:Object at METADATA.ome.xml")
@pytest.mark.parametrize(
    "where", ["", "data_sets", "data_sets/70813257", "data_sets/70813257/image/registered"]
)
def test_a_copy_of_the_metadata_is_dropped_by_whatever_changes_them(written, tmp_path, where):
    folder = tmp_path / "out.zarr"
    zarr.consolidate_metadata(folder, path=where)
    finer = type(written)(
        store.StoreWriter.open(folder),
        written.data_set,
        grid=ReferenceGrid(plane=Plane.CORONAL, um=50.0, box_um=(13200.0, 8000.0, 11400.0)),
    )
    for commit in finer.writer.commits(written.data_set.id, "image").values():
        finer.view.disown(commit, {"registered"})
    finer.view.drop_registered()
    finer.begin()
    for group in group_paths(folder):
        assert "consolidated_metadata" not in json.loads((folder / group / "zarr.json").read_bytes())
    key = f"data_sets/{written.data_set.id}/image/registered/scale0/image"
    assert zarr.open_group(folder, mode="r")[key].shape[2:] == (160, 228)


@pytest.mark.filterwarnings("ignore:Consolidated metadata", "ignore:Object at METADATA.ome.xml")
def test_a_store_that_is_not_changed_keeps_its_copy(written, tmp_path):
    folder = tmp_path / "out.zarr"
    zarr.consolidate_metadata(folder)
    before = (folder / "zarr.json").read_bytes()
    assert store.StoreWriter.open(folder).commits(written.data_set.id, "image").keys() == {IMAGE}
    store.open(folder).data_set(written.data_set.id).section(IMAGE).pixels()
    assert (folder / "zarr.json").read_bytes() == before


def held_by_nfs(monkeypatch, folder):
    """Have the system hold a folder as NFS does whose file is open somewhere."""
    real_rmdir, real_unlink = os.rmdir, os.unlink

    def unlink(path, *, dir_fd=None):
        if os.path.basename(path).startswith(".nfs"):  # noqa: PTH119
            raise OSError(errno.EBUSY, "Device or resource busy", path)
        real_unlink(path, dir_fd=dir_fd)

    monkeypatch.setattr("os.unlink", unlink)
    (folder / ".nfs0001").write_bytes(b"")
    return lambda: monkeypatch.setattr("os.unlink", real_unlink) or real_rmdir


def test_a_folder_that_the_system_still_holds_is_passed_over_and_removed_later(tmp_path, monkeypatch):
    place = Place(tmp_path)
    place.set("a/b/file", b"1")
    place.set("a/b/c/file", b"2")
    release = held_by_nfs(monkeypatch, tmp_path / "a" / "b")
    place.delete_below("a")
    assert [path.name for path in (tmp_path / "a").rglob("*")] == ["b", ".nfs0001"]
    place.remove_leftovers()
    place.set("a/b/file", b"3")
    assert place.get("a/b/file") == b"3"
    place.delete("a/b/file")
    release()
    (tmp_path / "a" / "b" / ".nfs0001").unlink()
    place.remove_leftovers()
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_removed_is_an_error(tmp_path, monkeypatch):
    place = Place(tmp_path)
    place.set("a/file", b"1")

    def unlink(path, *, dir_fd=None):
        raise OSError(errno.EBUSY, "Device or resource busy", path)

    monkeypatch.setattr("os.unlink", unlink)
    with pytest.raises(StoreError, match="busy"):
        place.delete_below("a")


def test_a_store_is_made_and_changed_where_files_cannot_be_linked(tmp_path, monkeypatch):
    def link(*args, **kwargs):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr("os.link", link)
    store.StoreWriter.open(tmp_path / "a.zarr").begin_run({"selection": []})
    assert store.open(tmp_path / "a.zarr").read_runs() == [{"selection": []}]


def test_an_object_is_replaced_where_nothing_is_renamed_over_a_file(tmp_path, monkeypatch):
    real = type(tmp_path).replace

    def replace(self, target):
        if target.exists():
            raise FileExistsError(errno.EEXIST, "File exists", str(target))
        return real(self, target)

    monkeypatch.setattr("pathlib.Path.replace", replace)
    place = Place(tmp_path)
    place.set("a/b", b"1")
    place.set("a/b", b"2")
    assert (place.get("a/b"), [path.name for path in (tmp_path / "a").iterdir()]) == (b"2", ["b"])
