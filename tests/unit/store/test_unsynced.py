"""What reaches the disk, and when."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from asyncfetch.store.objects import Place
from asyncfetch.store.unsynced import Unsynced


@pytest.fixture
def synced(monkeypatch):
    """Return the paths that were synced, as the system names what is open."""
    paths, usual = [], os.fsync

    def fsync(number):
        paths.append(Path(f"/proc/self/fd/{number}").readlink())
        usual(number)

    if not Path("/proc/self/fd").is_dir():
        pytest.skip("the system does not tell what is open")
    monkeypatch.setattr(os, "fsync", fsync)
    return paths


def test_only_what_is_named_is_settled_and_once():
    calls = []
    unsynced = Unsynced(lambda keys: calls.append(sorted(keys)))
    for key in ("a/b", "a/bc", "a/b/c", "d"):
        unsynced.note(key)
    unsynced.settle(["a/b"])
    unsynced.settle(["a/b"])
    unsynced.settle()
    unsynced.settle()
    assert calls == [["a/b", "a/b/c"], ["a/bc", "d"]]


def test_what_is_changed_while_it_is_synced_is_synced_again():
    calls = []

    def sync(keys):
        calls.append(sorted(keys))
        if len(calls) == 1:
            unsynced.note("a")

    unsynced = Unsynced(sync)
    unsynced.note("a")
    unsynced.settle()
    unsynced.settle()
    unsynced.settle()
    assert calls == [["a"], ["a"]]


def test_a_sync_that_fails_is_due_again():
    calls = []

    def sync(keys):
        calls.append(sorted(keys))
        if len(calls) == 1:
            raise OSError("full")

    unsynced = Unsynced(sync)
    unsynced.note("a")
    with pytest.raises(OSError, match="full"):
        unsynced.settle()
    unsynced.settle()
    assert calls == [["a"], ["a"]]


def test_files_and_the_folders_that_lead_to_them_are_synced_before_the_claim(tmp_path, synced):
    place = Place(tmp_path / "a.zarr", sync="data")
    place.set("x/y/data", b"1")
    assert synced == []
    place.write_group("x", {"asyncfetch": {"n": 1}}, vouches_for=("x",))
    root = tmp_path / "a.zarr"
    assert set(synced) >= {root / "x/y/data", root / "x/y", root / "x", root, tmp_path}
    # the claim itself is not there yet
    assert root / "x/zarr.json" not in synced
    synced.clear()
    place.set("x/y/more", b"2")
    place.settle("x/y")
    # the folders that were there already have their names
    assert set(synced) == {root / "x/y/more", root / "x/y"}


def test_all_has_the_claim_on_the_disk_too(tmp_path, synced):
    place = Place(tmp_path / "a.zarr", sync="all")
    place.write_group("x", {"asyncfetch": {"n": 1}}, vouches_for=("x",))
    assert synced[0] == tmp_path / "a.zarr/x/zarr.json"


def test_a_document_that_takes_the_place_of_another_is_on_the_disk_before_it_has_its_name(tmp_path, synced):
    place = Place(tmp_path / "a.zarr", sync="data")
    place.write_group("x", {"asyncfetch": {"n": 1}})
    assert synced == []
    place.write_group("x", {"asyncfetch": {"n": 2}})
    names = [path.name for path in synced]
    assert [name.endswith(".partial") for name in names].index(True) < names.index("zarr.json", 1)


def test_a_document_that_is_taken_away_is_gone_from_the_disk(tmp_path, synced):
    place = Place(tmp_path / "a.zarr", sync="data")
    place.write_group("x", {"asyncfetch": {"n": 1}})
    place.settle()
    synced.clear()
    place.withdraw_group("x")
    assert synced == [tmp_path / "a.zarr/x"]


def test_a_folder_that_was_removed_and_made_again_is_synced_again(tmp_path, synced):
    place = Place(tmp_path / "a.zarr", sync="data")
    place.set("x/y/data", b"1")
    place.settle()
    place.delete_below("x/y")
    place.settle()
    synced.clear()
    place.set("x/y/data", b"1")
    place.settle()
    assert set(synced) == {tmp_path / "a.zarr" / name for name in ("x/y/data", "x/y", "x")}


def test_none_syncs_nothing(tmp_path, synced):
    place = Place(tmp_path / "a.zarr")
    place.write_group("x", {"asyncfetch": {"n": 1}}, vouches_for=("x",))
    place.write_group("x", {"asyncfetch": {"n": 2}}, vouches_for=("x",))
    place.withdraw_group("x")
    place.settle()
    assert synced == []
