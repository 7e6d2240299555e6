"""A run with a limit ends as a drained one does, says which limit it was, and is continued to the same bytes."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import anyio
import pytest

from asyncfetch import Limits
from asyncfetch.events import LimitReached
from asyncfetch.mirroring import mirror, rebuild, resume
from asyncfetch.replica import open_replica
from asyncfetch.settings import Settings

DATA_SET = "dataset:900000005"
FREE = Settings(requests_per_s=1000.0, jobs=2, um=200.0)
#: What the whole data set takes is more, and what its metadata take is less.
SOME_BYTES = 30_000


@pytest.mark.anyio
async def test_a_limit_of_bytes_ends_a_run_that_is_resumed_to_the_same_bytes(tmp_path, stored_objects):
    heard = []
    async with open_replica() as replica:
        settings = FREE.replace(base_url=replica.base_url)
        whole = await mirror(DATA_SET, tmp_path / "peace.zarr", settings=settings)
        out = tmp_path / "out.zarr"
        first = await mirror(
            DATA_SET, out, settings=settings, limits=Limits(max_bytes=SOME_BYTES), on_event=heard.append
        )
        assert (first.interrupted, first.ended_by, first.failures) == (True, "max_bytes", [])
        assert SOME_BYTES <= first.received_bytes < whole.received_bytes
        assert [each.limit for each in heard if isinstance(each, LimitReached)] == ["max_bytes"]
        last = await resume(out, settings=settings, limits=Limits(max_bytes=10**9))
        assert (last.interrupted, last.ended_by) == (False, None)
        assert first.n_committed + last.n_committed == whole.n_committed
    assert stored_objects(out) == stored_objects(tmp_path / "peace.zarr")


@pytest.mark.anyio
@pytest.mark.parametrize("limit", ["max_time", "until"])
async def test_a_limit_of_time_ends_a_run_whose_server_keeps_it_waiting(tmp_path, limit):
    soon = 0.3
    limits = (
        Limits(max_time_s=soon)
        if limit == "max_time"
        else Limits(until=datetime.now(UTC) + timedelta(seconds=soon))
    )
    async with open_replica(latency_s=0.2) as replica:
        settings = FREE.replace(base_url=replica.base_url, jobs=1)
        report = await mirror(DATA_SET, tmp_path / "out.zarr", settings=settings, limits=limits)
    assert (report.interrupted, report.ended_by) == (True, limit)
    assert report.n_committed < 10


@pytest.mark.anyio
async def test_a_limit_sets_no_event_of_the_callers(tmp_path):
    drain = anyio.Event()
    async with open_replica() as replica:
        settings = FREE.replace(base_url=replica.base_url)
        limits = Limits(max_bytes=SOME_BYTES)
        report = await mirror(DATA_SET, tmp_path / "out.zarr", settings=settings, drain=drain, limits=limits)
    assert (report.ended_by, drain.is_set()) == ("max_bytes", False)


@pytest.mark.anyio
async def test_a_drain_before_any_limit_is_an_interrupt_and_no_limit(tmp_path):
    drain = anyio.Event()
    drain.set()
    async with open_replica() as replica:
        settings = FREE.replace(base_url=replica.base_url)
        limits = Limits(max_time_s=600)
        report = await mirror(DATA_SET, tmp_path / "out.zarr", settings=settings, drain=drain, limits=limits)
        assert (report.interrupted, report.ended_by, replica.image_requests) == (True, None, [])
        report = await resume(tmp_path / "out.zarr", settings=settings)
        over = Limits(until=datetime.now(UTC) - timedelta(seconds=1))
        made = await rebuild(tmp_path / "out.zarr", um=400, limits=over)
    assert (report.n_committed, made.ended_by, made.n_committed) == (10, "until", 0)


def test_a_command_that_reaches_its_limit_is_done_and_names_the_limit(command, start_replica):
    replica = start_replica(latency_s=0.1)
    address = ("--base-url", replica.base_url, "--um", "200", "--rate", "1000", "--json")
    done = command("mirror", DATA_SET, "--out", "out.zarr", *address, "--max-bytes", "20kB")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["interrupted"], report["ended_by"]) == (True, "max_bytes")
    assert "--max-bytes is reached" in done.stderr
    assert "as --max-bytes says; continue with: asyncfetch resume out.zarr --base-url" in done.stderr
    done = command("resume", "out.zarr", "--base-url", replica.base_url, "--max-time", "1h", "--json")
    assert (done.returncode, json.loads(done.stdout)["ended_by"]) == (0, None)


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--max-bytes", "12 parsecs", "error: --max-bytes '12 parsecs': write a size such as 1GiB"),
        ("--max-time", "soon", "error: --max-time 'soon' is not a duration: write it as 8h, 30min"),
        ("--until", "2020-01-01", "error: --until '2020-01-01' is over: it is "),
    ],
)
def test_a_limit_that_cannot_be_read_is_refused_before_anything_is_asked(
    forked_command, option, value, words
):
    done = forked_command("resume", "out.zarr", option, value)
    assert done.returncode == 2
    assert done.stderr.startswith(words)


def test_failures_become_a_list_that_fetches_them_alone(command, start_replica):
    broken = [900003005, 900007005]
    faults = {"faults": [{"kind": "status:404", "ids": broken, "count": 2}]}
    replica = start_replica(faults=faults)
    options = ("--out", "out.zarr", "--um", "200", "--rate", "1000", "--base-url", replica.base_url)
    done = command("mirror", DATA_SET, "gene:Nobody", *options, "--failures", "failed.txt")
    assert done.returncode == 3, done.stderr
    lines = (command.folder / "failed.txt").read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("# 3 failed items")
    assert {line.split("  # ")[0] for line in lines[1:]} == {f"image:{each}" for each in broken} | {
        "gene:Nobody"
    }
    assert all(len(line.split("  # ")[1]) > 10 for line in lines[1:])
    n_before = len(replica.image_ids)
    done = command("mirror", "@failed.txt", *options, "--failures", "failed.txt")
    assert sorted(replica.image_ids[n_before:]) == broken
    assert done.returncode == 3
    left = (command.folder / "failed.txt").read_text(encoding="utf-8").splitlines()
    assert [line.split("  # ")[0] for line in left[1:]] == ["gene:Nobody"]


def test_a_list_of_failures_that_cannot_be_written_is_refused_before_the_run(forked_command):
    done = forked_command("mirror", DATA_SET, "--out", "out.zarr", "--failures", "none/failed.txt")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--failures none/failed.txt cannot be written: No such file or directory" in done.stderr
    assert not (forked_command.folder / "out.zarr").exists()
