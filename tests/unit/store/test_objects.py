"""Places that can be used, and the words for those that cannot."""

from __future__ import annotations

import errno
import os

import pytest
import zarr
from zarr.storage import LocalStore, MemoryStore

import asyncfetch.store as store
from asyncfetch.errors import (
    StoreAccessError,
    StoreError,
    StoreItemError,
    StoreLayoutError,
    StoreSpaceError,
)
from asyncfetch.layout.paths import level_chunking
from asyncfetch.store.arrays import image_document, open_array, write_array_metadata
from asyncfetch.store.objects import Place
from asyncfetch.store.shards import shard_problem


def test_an_empty_directory_becomes_a_store(tmp_path):
    writer = store.StoreWriter.open(tmp_path)
    attributes = zarr.open_group(tmp_path, mode="r").attrs["asyncfetch"]
    assert attributes["layout"] == 2
    assert writer.location == str(tmp_path)


def test_opening_again_changes_nothing(tmp_path):
    store.StoreWriter.open(tmp_path).begin_run({"selection": ["dataset:1"]})
    before = (tmp_path / "zarr.json").read_bytes()
    store.StoreWriter.open(tmp_path)
    assert (tmp_path / "zarr.json").read_bytes() == before


class FailingDisk(MemoryStore):
    """A disk that cannot read one of its objects."""

    key = "a/zarr.json"

    async def get(self, key, *args, **kwargs):
        if key == self.key:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return await super().get(key, *args, **kwargs)


def test_an_object_that_the_system_cannot_read_is_that_objects_damage_alone(monkeypatch):
    place = Place(FailingDisk())
    for key in ("a/zarr.json", "b/zarr.json"):
        place.set(key, b'{"zarr_format": 3, "node_type": "group", "attributes": {"n": 1}}')
    assert (place.attributes("a"), place.attributes("b")) == (None, {"n": 1})
    assert place.damage.found == {"a/zarr.json": "cannot be read (Input/output error)"}
    with pytest.raises(StoreItemError, match=r"a/zarr\.json cannot be read .*verify"):
        place.get("a/zarr.json")
    assert shard_problem(place, "a/zarr.json", 20).startswith("cannot be read")
    # Zarr reads the chunks of arrays
    write_array_metadata(place, "c", image_document(1, level_chunking((4, 4)), "none"))
    monkeypatch.setattr(FailingDisk, "key", "c/c.0.0.0.0")
    with pytest.raises(StoreItemError, match="Input/output error"):
        open_array(place, "c")[...]


def test_what_a_kill_left_while_making_the_store_is_no_hindrance(tmp_path):
    (tmp_path / "zarr.0123456789abcdef.partial").write_bytes(b"{")
    store.StoreWriter.open(tmp_path)


def test_a_directory_with_other_things_is_refused_untouched(tmp_path):
    (tmp_path / "thesis.txt").write_text("do not lose me")
    with pytest.raises(StoreLayoutError, match=r"thesis\.txt") as caught:
        store.StoreWriter.open(tmp_path)
    assert caught.value.location == str(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_another_zarr_store_is_refused_untouched(tmp_path):
    zarr.create_group(tmp_path, attributes={"mine": True})
    before = (tmp_path / "zarr.json").read_bytes()
    with pytest.raises(StoreLayoutError, match="another kind"):
        store.StoreWriter.open(tmp_path)
    zarr.create_array(tmp_path / "array", shape=(1,), dtype="uint8")
    with pytest.raises(StoreLayoutError, match="is not an asyncfetch store"):
        store.open(tmp_path / "array")
    assert (tmp_path / "zarr.json").read_bytes() == before


def test_a_newer_layout_is_refused(tmp_path):
    zarr.create_group(tmp_path, attributes={"asyncfetch": {"layout": 3}})
    with pytest.raises(StoreLayoutError, match="layout version 3"):
        store.open(tmp_path)


def test_a_file_is_no_store(tmp_path):
    path = tmp_path / "out.zarr"
    path.write_bytes(b"")
    with pytest.raises(StoreLayoutError, match="is a file"):
        store.StoreWriter.open(path)


def test_a_path_below_a_file_cannot_be_used(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreAccessError, match=r"out\.zarr") as caught:
        store.StoreWriter.open(tmp_path / "file" / "deep" / "out.zarr")
    assert caught.value.location == str(tmp_path / "file" / "deep" / "out.zarr")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_without_permission_cannot_be_used(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(StoreAccessError):
            store.StoreWriter.open(tmp_path / "out.zarr")
    finally:
        tmp_path.chmod(0o700)


def test_reading_makes_nothing(tmp_path):
    with pytest.raises(StoreAccessError, match="no store"):
        store.open(tmp_path / "missing.zarr")
    with pytest.raises(StoreAccessError, match="no store"):
        store.StoreWriter.open(tmp_path / "missing.zarr", create=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (errno.ENOSPC, StoreSpaceError),
        (errno.EDQUOT, StoreSpaceError),
        (errno.EACCES, StoreAccessError),
        (errno.EROFS, StoreAccessError),
        (errno.EIO, StoreError),
    ],
)
def test_failures_of_the_system_become_errors_of_ours(kit, code, error):
    with pytest.raises(error) as caught:
        kit.StoreWriter.open(kit.FullStore(MemoryStore(), 0, code)).begin_run({})
    assert type(caught.value) is error


def test_a_full_disk_is_named_at_every_write_and_loses_no_commit(kit, data_set):
    memory = MemoryStore()
    mirror = kit.Mirror(kit.StoreWriter.open(memory), data_set).begin()
    mirror.write(101349750)
    for n_writes in (0, 2, 5, 14):
        failing = kit.Mirror(kit.StoreWriter.open(kit.FullStore(memory, n_writes)), data_set)
        with pytest.raises(StoreSpaceError, match="no space left"):
            failing.begin().write(101349756)
        assert list(mirror.writer.commits(data_set.id, "image")) == [101349750]


def test_memory_and_zarr_stores_are_places_too(tmp_path):
    assert store.open(store.StoreWriter.open("memory").store).read_data_set_ids() == ()
    assert store.open(store.StoreWriter.open(LocalStore(tmp_path / "a")).store).read_data_set_ids() == ()


@pytest.mark.parametrize("size", [0, 1, 2**18, 2**18 + 1, 2**20])
def test_an_object_is_written_whole_and_replaces_what_was_there(tmp_path, size):
    place, value = Place(tmp_path), bytes(k % 251 for k in range(size))
    place.set("a/b", b"before")
    place.set("a/b", value)
    assert place.get("a/b") == value
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]


def test_a_large_object_that_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    def replace(self, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", replace)
    with pytest.raises(StoreSpaceError):
        Place(tmp_path).set("a/b", bytes(2**20))
    assert list((tmp_path / "a").iterdir()) == []


def test_an_object_whose_pieces_fail_stays_as_it_was(tmp_path):
    def pieces():
        yield b"new"
        raise ZeroDivisionError

    place = Place(tmp_path)
    place.set("a/b", b"before")
    with pytest.raises(ZeroDivisionError):
        place.set_pieces("a/b", pieces())
    assert place.get("a/b") == b"before"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]
