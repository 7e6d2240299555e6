"""A store in object storage is the store of a directory, object by object, whatever is done with it."""

from __future__ import annotations

import http.server
import json
import shutil
import threading
import warnings
import zipfile
from functools import partial
from pathlib import Path

import anyio
import numpy as np
import pytest
import zarr
from zarr.storage import FsspecStore, ObjectStore

import asyncfetch
from asyncfetch import blocking
from asyncfetch.errors import StoreAccessError, StoreBusyError
from asyncfetch.events import StoreAwaited
from asyncfetch.mirroring import mirror, rebuild, resume, verify, volume
from asyncfetch.store import StoreWriter

obstore = pytest.importorskip("obstore")

DATA_SET, IMAGE = 900000005, 900003005
CHOICES = {"requests_per_s": 1000.0, "um": 100.0}
ALL = ("source", "sections", "registered")
VERSION_1 = Path(__file__).parents[1] / "data/version1_stores.zip"


@pytest.fixture
def address(in_storage, request):
    """Return an address of the bucket, one for each test."""
    return f"s3://brains/{request.node.name.replace('[', '-').replace(']', '')}.zarr"


@pytest.fixture
def to(replica_process):
    """Return what mirrors the small data set to a place."""

    def go(location, **choices):
        options = CHOICES | {"base_url": replica_process.base_url} | choices
        return anyio.run(partial(mirror, f"dataset:{DATA_SET}", location, **options))

    return go


@pytest.fixture
def stored(in_storage):
    """Return what reads all objects below an address."""
    return lambda address: in_storage.objects(address.removeprefix("s3://brains/"))


@pytest.fixture
def same(stored, stored_objects):
    """Return what compares the objects below an address with those of a directory."""

    def compare(address, folder):
        found, expected = stored_objects(stored(address)), stored_objects(folder)
        assert found.keys() == expected.keys()
        assert [key for key in expected if found[key] != expected[key]] == []

    return compare


@pytest.mark.parametrize("layers", [("source", "registered"), ALL])
def test_a_mirror_has_the_same_objects_as_in_a_directory(address, tmp_path, to, same, layers):
    for location in (tmp_path / "a.zarr", address):
        report = to(location, layers=layers)
        assert (report.n_committed, report.failures, report.location) == (10, [], str(location))
    same(address, tmp_path / "a.zarr")


def test_a_fresh_section_costs_five_requests_in_storage(address, to, in_storage):
    n_before = len(in_storage.requests)
    to(address)
    of_sections = [
        each["method"]
        for each in in_storage.requests[n_before:]
        if "/sections/9000" in each["path"] or "/source/9000" in each["path"] or "/image/c." in each["path"]
    ]
    # its JPEG, its plane and its commit; others' attributes are looked for, and the summary reads the commits
    assert {method: of_sections.count(method) for method in of_sections} == {"PUT": 30, "GET": 20}


def test_no_more_requests_are_open_than_were_agreed(address, to, in_storage):
    n_before = len(in_storage.requests)
    to(address, layers=ALL, workers=8)
    assert 1 < max(each["n_open"] for each in in_storage.requests[n_before:]) <= 16


def test_what_was_mirrored_is_rebuilt_made_a_volume_and_verified(address, tmp_path, to, same):
    folder = tmp_path / "a.zarr"
    for location in (folder, address):
        to(location, layers=("source",))
        rebuilt = anyio.run(partial(rebuild, location, layers=("sections", "registered"), um=100.0))
        assert (rebuilt.n_committed, rebuilt.failures) == (10, [])
        assert anyio.run(partial(volume, location)).interrupted is False
        assert asyncfetch.open(location).data_set(DATA_SET).open_volume()[...].any()
        assert anyio.run(partial(verify, location)).flaws == []
        assert anyio.run(partial(verify, location, full=True)).flaws == []
    same(address, folder)


def test_arrays_and_pictures_read_as_from_a_directory(address, tmp_path, to):
    folder = tmp_path / "a.zarr"
    for location in (folder, address):
        to(location, layers=ALL)
    here, there = (asyncfetch.open(each).data_set(DATA_SET) for each in (folder, address))
    assert np.array_equal(here.open_registered()[...], there.open_registered()[...])
    assert there.open_registered()[...].any()
    mine, its = here.section(IMAGE), there.section(IMAGE)
    assert np.array_equal(mine.open_level(0)[:, :, 5:50, 7:60], its.open_level(0)[:, :, 5:50, 7:60])
    assert mine.read_jpeg() == its.read_jpeg()
    assert here.read_table().keys() == there.read_table().keys() != set()


def test_a_damaged_store_is_repaired_to_the_bytes_of_a_whole_one(
    address, tmp_path, to, same, stored, in_storage, replica_process
):
    for location in (tmp_path / "a.zarr", address):
        to(location, layers=ALL)
    objects, prefix = stored(address), address.removeprefix("s3://brains/")
    jpeg = f"data_sets/{DATA_SET}/image/source/{IMAGE}.jpg"
    plane = next(key for key in objects if "/registered/scale0/image/c." in key)
    commit = f"data_sets/{DATA_SET}/image/sections/900004005/zarr.json"
    for key, data in ((jpeg, objects[jpeg][:-100] + bytes(100)), (plane, objects[plane][:-5]), (commit, b"")):
        in_storage.put(f"{prefix}/{key}", data)
    found = anyio.run(partial(verify, address, full=True))
    assert {flaw.path for flaw in found.flaws} == {jpeg, plane.removesuffix(".0.0"), commit}
    options = {"base_url": replica_process.base_url, "requests_per_s": 1000.0}
    mended = anyio.run(partial(verify, address, full=True, repair=True, **options))
    assert mended.failures == []
    assert anyio.run(partial(verify, address, full=True)).flaws == []
    same(address, tmp_path / "a.zarr")


def test_a_run_that_was_killed_is_resumed_to_the_same_bytes(
    address, tmp_path, to, same, stored, command, start_replica
):
    replica = start_replica(latency_s=0.1)
    to(tmp_path / "a.zarr", base_url=replica.base_url)
    started = command.start(
        *("mirror", f"dataset:{DATA_SET}", "--out", address, "--um", "100", "--jobs", "1", "--rate", "1000"),
        ASYNCFETCH_BASE_URL=replica.base_url,
    )
    assert "10 sections" in started.stderr.readline()
    while not any(key.endswith(".jpg") for key in stored(address)):
        assert started.poll() is None
    started.kill()
    started.wait()
    # its process is seen to be dead, so that its lease is not waited for
    report = anyio.run(partial(resume, address, base_url=replica.base_url, requests_per_s=1000.0))
    assert (report.failures, 0 < report.n_committed <= 10) == ([], True)
    same(address, tmp_path / "a.zarr")


def test_commands_read_a_store_by_its_address(address, to, command):
    to(address)
    for args in (["status", address], ["info", address], ["status", address, "--json"]):
        done = command(*args)
        assert done.returncode == 0, done.stderr
        assert str(DATA_SET) in done.stdout


@pytest.mark.parametrize("name", ["whole", "zstd"])
def test_a_store_of_version_1_is_upgraded_as_in_a_directory(address, tmp_path, same, in_storage, name):
    with zipfile.ZipFile(VERSION_1) as archive:
        archive.extractall(tmp_path)
    folder, prefix = tmp_path / name, address.removeprefix("s3://brains/")
    for path in folder.rglob("*"):
        if path.is_file():
            in_storage.put(f"{prefix}/{path.relative_to(folder).as_posix()}", path.read_bytes())
    for location in (folder, address):
        report = blocking.upgrade(location)
        assert (report.failures, report.n_committed > 0) == ([], True)
    same(address, folder)


def test_stores_of_obstore_and_fsspec_are_places_too(address, tmp_path, to, stored, stored_objects):
    pytest.importorskip("fsspec")
    to(tmp_path / "a.zarr")
    prefix = address.removeprefix("s3://brains/")
    bucket = obstore.store.S3Store("brains", prefix=prefix)
    assert to(ObjectStore(bucket)).failures == []
    assert stored_objects(stored(address)) == stored_objects(tmp_path / "a.zarr")
    of_fsspec = FsspecStore.from_url(f"memory://{prefix}")
    assert to(of_fsspec).failures == []
    assert asyncfetch.open(of_fsspec).read_data_set_ids() == (DATA_SET,)


def test_two_live_runs_are_never_at_one_store(address, to, command, replica_process):
    writer = StoreWriter.open(address, command="mirror product:1")
    try:
        with pytest.raises(StoreBusyError, match=r"mirror product:1, process \d+.*is free within 3 min"):
            to(address)
        done = command(
            *("mirror", f"dataset:{DATA_SET}", "--out", address), ASYNCFETCH_BASE_URL=replica_process.base_url
        )
        assert (done.returncode, "mirror product:1" in done.stderr) == (1, True), done.stderr
        status = command("status", address)
        assert "mirror product:1" in status.stdout + status.stderr
    finally:
        writer.close()
    assert to(address).n_committed == 10


def test_a_run_that_waits_takes_the_store_when_the_one_before_has_ended(address, to):
    writer = StoreWriter.open(address, command="mirror product:1")
    waits = []

    def end(event):
        if isinstance(event, StoreAwaited):
            waits.append(event.cause)
            writer.close()

    report = to(address, wait=True, on_event=end)
    assert report.n_committed == 10
    assert [("mirror product:1" in cause) for cause in waits] == [True]


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def web(tmp_path):
    """A web server of a folder, which sends whole files alone."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=tmp_path))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_web_server_is_read_by_name_and_listed_by_the_index_of_zarr(tmp_path, to, web, command):
    to(tmp_path / "a.zarr")
    mine = asyncfetch.open(tmp_path / "a.zarr").data_set(DATA_SET)
    there = asyncfetch.open(f"{web}/a.zarr")
    its = there.data_set(DATA_SET)
    assert np.array_equal(mine.open_registered()[...], its.open_registered()[...])
    assert its.section(IMAGE).read_jpeg() == mine.section(IMAGE).read_jpeg()
    assert there.sections(DATA_SET, "image").keys() == {commit.image_id for commit in mine.read_commits()}
    with pytest.raises(StoreAccessError, match=r"cannot be listed.*consolidate_metadata"):
        there.read_data_set_ids()
    done = command("status", f"{web}/a.zarr")
    assert (done.returncode, "cannot be listed" in done.stderr) == (1, True)
    shutil.copytree(tmp_path / "a.zarr", tmp_path / "b.zarr")
    with warnings.catch_warnings(action="ignore"):
        zarr.consolidate_metadata(str(tmp_path / "b.zarr"))
    there = asyncfetch.open(f"{web}/b.zarr")
    assert there.read_data_set_ids() == (DATA_SET,)
    assert there.data_set(DATA_SET).read_commits() == mine.read_commits()
    done = command("status", f"{web}/b.zarr", "--json")
    assert json.loads(done.stdout), done.stderr
    done = command("mirror", "image:1", "--out", f"{web}/b.zarr")
    assert (done.returncode, "can only be read" in done.stderr) == (2, True)
