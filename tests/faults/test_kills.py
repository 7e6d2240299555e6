"""A run that is killed at any moment ends, resumed, in the same bytes as an undisturbed one."""

from __future__ import annotations

import random
import shutil
import subprocess
import time
from functools import partial

import anyio
import pytest

from asyncfetch import Settings, mirror
from asyncfetch.mirroring import resume

LAYERS = ("source", "sections", "registered")


def committed_ids(store):
    """Return the images whose section groups have metadata, which is what a commit is."""
    names = {path.parent.name for path in store.glob("data_sets/*/image/sections/*/zarr.json")}
    return {int(name) for name in names - {"OME"}}


def kill_after(process, seconds):
    """Kill -9; return whether it was still running."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return True
    return False


def test_a_run_killed_again_and_again_ends_in_the_same_bytes(command, start_replica, stored_objects):
    replica = start_replica(latency_s=0.05)
    settings = Settings(base_url=replica.base_url, layers=LAYERS, requests_per_s=1000.0)
    anyio.run(partial(mirror, "dataset:900000005", command.folder / "peace.zarr", settings=settings))
    image_ids = committed_ids(command.folder / "peace.zarr")
    moments = random.Random(5)
    store = command.folder / "killed.zarr"
    pace = ("--jobs", "2", "--rate", "1000")
    started = command.start(
        *("mirror", "dataset:900000005", "--layers", ",".join(LAYERS), "--out", store, *pace),
        ASYNCFETCH_BASE_URL=replica.base_url,
    )
    # the first line of progress says that the run is recorded and planned
    assert "10 sections" in started.stderr.readline()
    n_cut = kill_after(started, moments.uniform(0.05, 0.3))
    started = command.start("resume", store, *pace, ASYNCFETCH_BASE_URL=replica.base_url)
    assert "10 sections" in started.stderr.readline()
    n_cut += kill_after(started, moments.uniform(0.05, 0.3))
    assert n_cut
    committed, n_seen = committed_ids(store), len(replica.image_ids)
    report = anyio.run(partial(resume, store, settings=settings))
    assert (report.failures, report.n_skipped) == ([], len(committed))
    assert set(replica.image_ids[n_seen:]) == image_ids - committed
    assert stored_objects(store) == stored_objects(command.folder / "peace.zarr")


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_kills_at_fifty_random_moments_change_nothing(
    forked_command, start_replica, stored_objects, tmp_path
):
    replica = start_replica(cache_folder=str(tmp_path / "cache"), latency_s=0.05)
    wanted = ("dataset:69289763", "--downsample", "2", "--layers", ",".join(LAYERS), "--rate", "1000")
    wanted += ("--base-url", replica.base_url, "--jobs", "1", "--workers", "1")
    # the first run has the images drawn, which is not to be waited for in the second
    for name in ("drawn.zarr", "peace.zarr"):
        process = forked_command.start("mirror", *wanted, "--out", name)
        assert "18 sections" in process.stderr.readline()
        begin = time.monotonic()
        process.communicate()
        seconds = time.monotonic() - begin
        assert process.returncode == 0
    undisturbed = stored_objects(tmp_path / "peace.zarr")
    assert stored_objects(tmp_path / "drawn.zarr") == undisturbed
    image_ids = committed_ids(tmp_path / "peace.zarr")
    moments = random.Random(69289763)
    n_committed = []
    for number in range(50):
        store = tmp_path / f"killed-{number}.zarr"
        process = forked_command.start("mirror", *wanted, "--out", store)
        assert "18 sections" in process.stderr.readline()
        kill_after(process, moments.uniform(0, seconds))
        committed, n_seen = committed_ids(store), len(replica.image_ids)
        n_committed.append(len(committed))
        done = forked_command(
            "resume", store, "--rate", "1000", "--jobs", "4", "--base-url", replica.base_url
        )
        assert done.returncode == 0, done.stderr
        assert set(replica.image_ids[n_seen:]) == image_ids - committed
        assert stored_objects(store) == undisturbed
        shutil.rmtree(store)
    print(f"a run takes {seconds:.1f} s; sections committed when it was killed: {n_committed}")
    assert len({n for n in n_committed if 0 < n < len(image_ids)}) >= 5
