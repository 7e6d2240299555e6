"""`status` from another process, while a run works and after it was killed."""

from __future__ import annotations

import json
import subprocess
import warnings

import pytest
import zarr

from asyncfetch.layout.live import LIVE_KEY, LiveFigures, live_document
from asyncfetch.mirroring.live import LiveTally
from asyncfetch.store import StoreWriter, lock
from asyncfetch.store import open as open_store

DATA_SET = "dataset:900000005"


def wait_until(condition, process):
    """Look again and again while the process works."""
    while not condition():
        try:
            process.wait(0.02)
        except subprocess.TimeoutExpired:
            continue
        raise AssertionError(f"the process ended before its time: {process.stderr.read()}")


def figures_of(store):
    return open_store(store).read_figures() if (store / "zarr.json").exists() else None


@pytest.fixture
def working(command, start_replica):
    """Return a run that is at work, and cannot end because its images stall, and its store."""
    replica = start_replica(faults={"faults": [{"kind": "stall", "ids": [900009005, 900010005]}]})
    store = command.folder / "out.zarr"
    process = command.start(
        *("mirror", DATA_SET, "--out", "out.zarr", "--um", "200", "--rate", "1000", "--jobs", "2"),
        *("--base-url", replica.base_url),
    )
    wait_until(lambda: (found := figures_of(store)) and found.n_committed == 8, process)
    return process, store


def test_another_process_sees_how_far_a_run_is_and_nothing_of_that_stays(working, command):
    process, store = working
    done = command("status", "out.zarr", "--json")
    writer = json.loads(done.stdout)["writer"]
    assert (writer["is_alive"], writer["pid"]) == (True, process.pid)
    figures = writer["figures"]
    assert (figures["state"], figures["is_plan_whole"]) == ("working", True)
    assert (figures["n_sections"], figures["n_committed"], figures["n_failed"]) == (10, 8, {})
    assert figures["received_bytes"] > 10_000
    assert figures["left_s"] > 0
    told = command("status", "out.zarr").stdout
    assert "a run is in progress: mirror dataset:900000005" in told
    assert "working, " in told
    assert "8 of 10 sections written, 0 already stored, 0 failed" in told
    process.terminate()
    process.communicate(timeout=30)
    assert not (store / ".asyncfetch-lock").exists()


def test_readers_of_zarr_take_the_figures_for_an_empty_group(working):
    _, store = working
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        names = [name for name, _ in zarr.open_group(store, mode="r").members(max_depth=None)]
    assert ".asyncfetch-lock/figures" in names


def test_what_a_killed_run_said_last_is_told_as_such_and_goes_with_the_next_run(working, command):
    process, store = working
    process.kill()
    process.wait()
    told = command("status", "out.zarr").stdout
    assert "a killed run said last, as of " in told
    assert "a run is in progress" not in told
    assert command("verify", "out.zarr").returncode == 0
    StoreWriter.open(store, command="pack").close()
    assert not (store / ".asyncfetch-lock").exists()


def test_figures_of_another_run_than_the_holder_of_the_lock_do_not_count(tmp_path):
    writer = StoreWriter.open(tmp_path / "out.zarr", command="pack")
    path = tmp_path / "out.zarr" / LIVE_KEY
    path.parent.mkdir()
    path.write_bytes(live_document(LiveFigures(time="2027-01-01T00:00:00+00:00", token="another")))
    assert open_store(tmp_path / "out.zarr").read_figures() is None
    writer.close()


def test_a_run_in_object_storage_shows_its_figures_and_takes_them_away(in_storage, monkeypatch):
    monkeypatch.setattr(lock, "_SHOWN_EVERY_S", 0.05)
    writer = StoreWriter.open("s3://brains/live.zarr", command="mirror product:1")
    writer.show(LiveTally().figures)
    store, found = open_store("s3://brains/live.zarr"), None
    while found is None:
        # the test ends by its timeout where none are shown
        found = store.read_figures()
    assert (found.state, found.n_committed) == ("working", 0)
    writer.close()
    assert in_storage.objects("live.zarr") == {}
