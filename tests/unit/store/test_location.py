"""What a location names, as it was typed."""

from __future__ import annotations

from pathlib import Path

import pytest
from zarr.core.sync import sync
from zarr.storage import LocalStore, MemoryStore, ZipStore

import asyncfetch.store as store
from asyncfetch.errors import SettingsError, StoreAccessError
from asyncfetch.store.directory import cloud_address, directory_of
from asyncfetch.store.location import open_backend
from asyncfetch.store.objects import Place


@pytest.mark.parametrize(
    ("typed", "path"),
    [
        ("brains.zarr", "brains.zarr"),
        ("./memory", "memory"),
        ("s3:/bucket/brains.zarr", "s3:/bucket/brains.zarr"),
        ("s3:", "s3:"),
        ("C:\\brains.zarr", "C:\\brains.zarr"),
        ("C://brains.zarr", "C:/brains.zarr"),
        ("brains 100%.zarr", "brains 100%.zarr"),
        ("file:///data/brains%20of%20mice.zarr", "/data/brains of mice.zarr"),
        ("file://localhost/data/a.zarr", "/data/a.zarr"),
        ("FILE:///data/a.zarr", "/data/a.zarr"),
        ("file:/data/a.zarr", "/data/a.zarr"),
    ],
)
def test_a_location_is_understood_as_it_was_typed(typed, path):
    assert directory_of(typed) == Path(path)


@pytest.mark.parametrize("kind", [str, Path])
def test_a_tilde_is_the_home_directory(tmp_path, monkeypatch, kind):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert directory_of(kind("~/brains.zarr")) == tmp_path / "brains.zarr"
    store.StoreWriter.open(kind("~/brains.zarr"))
    assert [each.name for each in tmp_path.iterdir()] == ["brains.zarr"]


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (Path("s3://bucket/brains.zarr"), r"is an address.*given as text"),
        ("s3://", "does not name a bucket"),
        ("s3://bucket/a/../b", "cannot name a store"),
        ("s3://anna:secret@bucket/a", "user or a password"),
        ("abfs://container/a", "give az://CONTAINER/PATH"),
        ("memory://", 'from Python, "memory"'),
        ("hdfs://host/a", "hdfs:// is not a kind of address"),
        ("file://server/share/a.zarr", "on the host server"),
        ("file://", "does not name a directory"),
        ("", "an empty name"),
        (" ", "an empty name"),
        ("a\0b", "a NUL character"),
    ],
)
def test_what_cannot_be_opened_is_refused_by_name_and_never_becomes_a_folder(
    tmp_path, monkeypatch, typed, words
):
    monkeypatch.chdir(tmp_path)
    for make in (store.StoreWriter.open, store.open):
        with pytest.raises(SettingsError, match=words):
            make(typed)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("typed", "address"),
    [
        ("s3://bucket/a/b.zarr/", ("s3", "bucket", "a/b.zarr", "s3://bucket/a/b.zarr")),
        ("S3://bucket", ("s3", "bucket", "", "s3://bucket")),
        ("gcs://bucket/a", ("gs", "bucket", "a", "gcs://bucket/a")),
        ("https://h:8443/a", ("http", "h:8443", "a", "https://h:8443/a")),
        ("brains.zarr", None),
        ("file:///a", None),
        (Path("a"), None),
    ],
)
def test_an_address_is_taken_apart(typed, address):
    assert cloud_address(typed) == address


def test_a_web_server_is_refused_for_writing_before_anything_is_asked():
    with pytest.raises(SettingsError, match=r"https://example\.org/a\.zarr can only be read"):
        store.StoreWriter.open("https://example.org/a.zarr")


@pytest.mark.parametrize("kind", ["obstore", "fsspec", "memory", "local"])
def test_any_zarr_store_that_can_be_changed_is_a_place(tmp_path, kind):
    if kind == "obstore":
        from zarr.storage import ObjectStore

        made = ObjectStore(pytest.importorskip("obstore").store.MemoryStore())
    elif kind == "fsspec":
        from zarr.storage import FsspecStore

        pytest.importorskip("fsspec")
        made = FsspecStore.from_url("memory://asyncfetch-test")
    else:
        made = MemoryStore() if kind == "memory" else LocalStore(tmp_path / "a")
    writer = store.StoreWriter.open(made)
    writer.begin_run({"selection": ["dataset:1"]})
    place = Place(made)
    place.set("a/b/c", b"1")
    place.set("a/d", b"2")
    assert (place.names_below("a"), place.names_below("missing")) == (["b", "d"], [])
    place.delete_below("a/b")
    place.delete("a/d")
    assert (place.names_below("a/b"), place.get("a/d")) == ([], None)
    assert store.open(made).read_runs() == [{"selection": ["dataset:1"]}]


def test_a_zip_archive_is_read_and_refused_for_writing(tmp_path):
    written = store.StoreWriter.open(MemoryStore())
    written.begin_run({"selection": []})
    with ZipStore(tmp_path / "a.zip", mode="w") as archive:
        for key, value in written.store._store_dict.items():
            sync(archive.set(key, value))
    with ZipStore(tmp_path / "a.zip", mode="r") as archive:
        assert store.open(archive).read_runs() == [{"selection": []}]
    with (
        ZipStore(tmp_path / "a.zip", mode="a") as archive,
        pytest.raises(StoreAccessError, match="can be read but not changed"),
    ):
        store.StoreWriter.open(archive)


def test_a_store_opened_read_only_is_refused_for_writing(tmp_path):
    with pytest.raises(StoreAccessError, match="opened read-only"):
        open_backend(LocalStore(tmp_path, read_only=True), read_only=False)


@pytest.mark.parametrize(
    ("typed", "instead"),
    [
        ("x.zip", "x.zarr"),
        ("X.ZIP", "X.zarr"),
        ("x.zarr.zip", "x.zarr"),
        ("x.ozx", "x.zarr"),
        ("./a.b/x.y.zip", "a.b/x.y.zarr"),
        ("file:///data/x.zip", "/data/x.zarr"),
        (Path("x.zip"), "x.zarr"),
    ],
)
def test_a_name_of_an_archive_is_refused_with_the_directory_to_name(typed, instead, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match=rf"is the name of an archive.* use {instead},"):
        store.StoreWriter.open(typed)
    assert list(tmp_path.iterdir()) == []


def test_an_archive_is_not_taken_for_a_directory(tmp_path):
    (tmp_path / "x.zip").write_bytes(b"PK")
    for use in (store.open, store.StoreWriter.open):
        with pytest.raises(SettingsError, match=r"is an archive.*unpack it"):
            use(tmp_path / "x.zip")


def test_a_directory_that_is_called_like_an_archive_is_used(tmp_path):
    (tmp_path / "x.zip").mkdir()
    store.StoreWriter.open(tmp_path / "x.zip")
    assert store.open(tmp_path / "x.zip").read_data_set_ids() == ()


@pytest.mark.parametrize("name", ["zip", "x.zip.zarr", "zip.d", "x.zipped"])
def test_other_names_that_hold_zip_are_directories(tmp_path, name):
    store.StoreWriter.open(tmp_path / name)
    assert store.open(tmp_path / name).read_data_set_ids() == ()
