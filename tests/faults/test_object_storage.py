"""Runs to object storage that fails: for a while, which delays them, or for good, which is told with what to do."""

from __future__ import annotations

import threading
from functools import partial

import anyio
import pytest

import asyncfetch
from asyncfetch.errors import SettingsError, StoreAccessError, StoreSpaceError
from asyncfetch.events import SectionCommitted
from asyncfetch.mirroring import mirror

pytest.importorskip("obstore")

SELECTION = "dataset:900000005"
LAYERS = ("source", "sections", "registered")


@pytest.fixture
def expected(tmp_path, replica_process, stored_objects):
    """Return the objects of an undisturbed mirror in a directory."""
    to(tmp_path / "peace.zarr", replica_process)
    return stored_objects(tmp_path / "peace.zarr")


def to(location, replica, **options):
    choices = {"base_url": replica.base_url, "requests_per_s": 1000.0, "um": 100.0, "layers": LAYERS}
    return anyio.run(partial(mirror, SELECTION, location, **choices | options))


@pytest.mark.parametrize("fault", ["slow", "break"])
def test_a_server_that_fails_one_request_in_five_changes_nothing(
    in_storage, replica_process, expected, stored_objects, fault
):
    in_storage.tell(fault, 0.2)
    report = to(f"s3://brains/{fault}.zarr", replica_process)
    statuses = [each["status"] for each in in_storage.requests]
    in_storage.tell(fault, 0)
    assert statuses.count("503" if fault == "slow" else "cut") > 20
    assert (report.n_committed, report.failures) == (10, [])
    assert stored_objects(in_storage.objects(f"{fault}.zarr")) == expected


def test_a_server_that_starts_again_in_the_middle_changes_nothing(
    in_storage, replica_process, expected, stored_objects
):
    started = []

    def stop(event):
        if isinstance(event, SectionCommitted) and not started:
            in_storage.tell("stop")
            # away for longer than any single connection waits for it
            started.append(threading.Timer(3.0, in_storage.tell, ["start"]))
            started[0].start()

    report = to("s3://brains/again.zarr", replica_process, on_event=stop)
    started[0].join()
    assert (report.n_committed, report.failures) == (10, [])
    assert stored_objects(in_storage.objects("again.zarr")) == expected


def test_storage_that_is_full_is_named_and_what_is_committed_stays(in_storage, replica_process, monkeypatch):
    monkeypatch.setattr("asyncfetch.store.bucket._PATIENCE_S", 0.5)

    def fill(event):
        if isinstance(event, SectionCommitted):
            in_storage.tell("full", 1)

    with pytest.raises(StoreSpaceError, match=r"no space left for s3://brains/full\.zarr.*resume"):
        to("s3://brains/full.zarr", replica_process, on_event=fill, jobs=1)
    in_storage.tell("full", 0)
    assert asyncfetch.open("s3://brains/full.zarr").sections(900000005, "image")
    assert to("s3://brains/full.zarr", replica_process).failures == []


@pytest.mark.parametrize(
    ("address", "changes", "words"),
    [
        ("s3://brainz/a.zarr", {}, "there is no such bucket; check the name"),
        ("s3://brains/none.zarr", {}, "there is no store at s3://brains/none.zarr"),
        ("s3://brains/a", {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, r"cannot be reached.*AWS_ENDPOINT_URL"),
        ("s3://brains/a", {"AWS_ALLOW_HTTP": ""}, "set AWS_ALLOW_HTTP=true"),
        ("s3://brains/a", {"AWS_ACCESS_KEY_ID": None}, "no credentials; set AWS_ACCESS_KEY_ID"),
        ("az://brains/a", {}, "no credentials; set AZURE_STORAGE_ACCOUNT_NAME"),
        ("http://127.0.0.1:9/a.zarr", {}, r"http://127\.0\.0\.1:9/a\.zarr cannot be reached"),
    ],
)
def test_what_fails_for_good_is_told_with_what_to_do(in_storage, monkeypatch, address, changes, words):
    monkeypatch.setattr("asyncfetch.store.bucket._FIRST_PATIENCE_S", 0.5)
    for name, value in changes.items():
        monkeypatch.setenv(name, value) if value is not None else monkeypatch.delenv(name)
    if "AWS_ACCESS_KEY_ID" in changes:
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(StoreAccessError, match=words) as caught:
        asyncfetch.open(address)
    assert caught.value.location == address


def test_a_command_tells_it_in_one_line(in_storage, command):
    for args in (
        ("status", "s3://brainz/a.zarr"),
        ("verify", "s3://brainz/a.zarr"),
        ("mirror", "image:1", "--out", "s3://brainz/a.zarr"),
        ("resume", "s3://brainz/a.zarr"),
    ):
        done = command(*args)
        assert done.returncode == 1, done.stderr
        assert done.stderr.startswith("error: s3://brainz/a.zarr cannot be used: there is no such bucket")
        assert len(done.stderr.splitlines()) == 1


def test_without_obstore_an_address_says_what_to_install(command):
    script = "import sys; sys.modules['obstore'] = None; from asyncfetch.cli import main; main()"
    process = command.start_script(script, "status", "s3://brains/a.zarr")
    _, err = process.communicate()
    assert process.returncode == 2
    assert "pip install 'asyncfetch[cloud]'" in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("s3://anna:secret@brains/a.zarr", "user or a password"),
        ("s3:///a.zarr", "does not name a bucket"),
        ("s3://brains/../a.zarr", "cannot name a store"),
        ("s3://brains/a.zarr?x=1", "cannot name a store"),
    ],
)
def test_an_address_that_names_no_place_is_refused_without_its_password(address, words):
    with pytest.raises(SettingsError, match=words) as caught:
        asyncfetch.open(address)
    assert "secret" not in str(caught.value)
