"""The first interrupt drains, the second stops, and a run goes on from either with nothing lost."""

from __future__ import annotations

import signal
import subprocess
from functools import partial
from importlib import import_module

import anyio
import pytest

from asyncfetch.cli import running
from asyncfetch.events import RequestRetried, RequestStarted, SectionCommitted
from asyncfetch.mirroring import mirror, resume
from asyncfetch.replica import QUERY, Fault, open_replica
from asyncfetch.settings import Settings
from asyncfetch.store import open as open_store

#: The package gives the function of this name.
MIRROR = import_module("asyncfetch.mirroring.mirror")
DATA_SET = "dataset:900000005"
FREE = Settings(requests_per_s=1000.0, jobs=2, um=200.0)


class Listener:
    """A listener that sets an event when enough of something has been told."""

    def __init__(self, event_class, n_before, **fields):
        self.drain = anyio.Event()
        self.seen = []
        self._class, self._n_before, self._fields = event_class, n_before, fields

    def __call__(self, event):
        wanted = isinstance(event, self._class)
        if wanted and all(getattr(event, name) == value for name, value in self._fields.items()):
            self.seen.append(event)
            if len(self.seen) == self._n_before:
                self.drain.set()


def committed(location):
    return {commit.image_id for commit in open_store(location).data_set(900000005).read_commits()}


@pytest.mark.anyio
@pytest.mark.parametrize("n_before", [1, 3, 9])
async def test_a_drained_run_commits_what_is_in_flight_and_begins_nothing(tmp_path, stored_objects, n_before):
    async with open_replica() as replica:
        settings = FREE.replace(base_url=replica.base_url)
        await mirror(DATA_SET, tmp_path / "peace.zarr", settings=settings)
        n_seen = len(replica.requests)
        listener = Listener(RequestStarted, n_before, kind="image")
        report = await mirror(
            DATA_SET, tmp_path / "cut.zarr", settings=settings, on_event=listener, drain=listener.drain
        )
        asked = {request.image_id for request in replica.requests[n_seen:] if request.kind == "download"}
        assert report.interrupted
        assert report.failures == []
        assert committed(tmp_path / "cut.zarr") == asked
        assert n_before <= len(asked) <= n_before + 1
        n_seen = len(replica.image_requests)
        report = await resume(tmp_path / "cut.zarr", settings=settings)
        assert not report.interrupted
        assert asked.isdisjoint(request.image_id for request in replica.image_requests[n_seen:])
    assert stored_objects(tmp_path / "cut.zarr") == stored_objects(tmp_path / "peace.zarr")


@pytest.mark.anyio
async def test_a_run_that_is_drained_before_it_began_asks_for_nothing(tmp_path):
    drain = anyio.Event()
    drain.set()
    async with open_replica() as replica:
        settings = FREE.replace(base_url=replica.base_url)
        report = await mirror(DATA_SET, tmp_path / "out.zarr", settings=settings, drain=drain)
        assert (report.interrupted, replica.image_requests) == (True, [])
        report = await resume(tmp_path / "out.zarr", settings=settings)
    assert (report.interrupted, report.n_committed) == (False, 10)


@pytest.mark.anyio
async def test_a_drain_after_the_last_section_interrupts_nothing(tmp_path):
    listener = Listener(SectionCommitted, 10)
    async with open_replica() as replica:
        settings = FREE.replace(base_url=replica.base_url)
        report = await mirror(
            DATA_SET, tmp_path / "out.zarr", settings=settings, on_event=listener, drain=listener.drain
        )
    assert (report.interrupted, report.n_committed, report.n_completed) == (False, 10, 1)


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["metadata", "image"])
async def test_a_drain_does_not_wait_for_another_attempt(tmp_path, kind):
    def fault(key):
        wanted = (key == QUERY) == (kind == "metadata")
        return Fault("status:503", retry_after="600") if wanted else None

    listener = Listener(RequestRetried, 1, kind=kind)
    async with open_replica(faults=fault) as replica:
        with anyio.fail_after(10):
            report = await mirror(
                DATA_SET,
                tmp_path / "out.zarr",
                settings=FREE.replace(base_url=replica.base_url),
                on_event=listener,
                drain=listener.drain,
            )
    assert listener.seen[0].delay_s > 100
    assert (report.interrupted, report.failures, report.n_committed) == (True, [], 0)


@pytest.mark.anyio
async def test_a_drained_run_does_not_wait_for_ever_for_what_is_in_flight(tmp_path, monkeypatch):
    monkeypatch.setattr(MIRROR, "_DRAIN_S", 0.2)
    listener = Listener(RequestStarted, 1, kind="image")
    async with open_replica(faults=lambda key: None if key == QUERY else Fault("stall")) as replica:
        with anyio.fail_after(10):
            report = await mirror(
                DATA_SET,
                tmp_path / "out.zarr",
                settings=FREE.replace(base_url=replica.base_url),
                on_event=listener,
                drain=listener.drain,
            )
    assert (report.interrupted, report.n_committed) == (True, 0)


@pytest.mark.anyio
async def test_a_run_cancelled_at_any_section_is_resumed_to_the_same_bytes(tmp_path, stored_objects):
    async with open_replica() as replica:
        settings = FREE.replace(base_url=replica.base_url)
        await mirror(DATA_SET, tmp_path / "peace.zarr", settings=settings)
        for n_before in (2, 4):
            with anyio.CancelScope() as scope:
                listener = Listener(RequestStarted, n_before, kind="image")
                listener.drain = _Cancel(scope)
                await mirror(DATA_SET, tmp_path / "cut.zarr", settings=settings, on_event=listener)
            assert scope.cancelled_caught
        await resume(tmp_path / "cut.zarr", settings=settings)
    assert stored_objects(tmp_path / "cut.zarr") == stored_objects(tmp_path / "peace.zarr")


class _Cancel:
    def __init__(self, scope):
        self.set = scope.cancel


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return str(tmp_path_factory.mktemp("drawn"))


@pytest.fixture(scope="module")
def slow_replica(start_replica, drawn):
    return start_replica(latency_s=0.1, cache_folder=drawn)


def wait_until(condition, process):
    """Look again and again while the process works."""
    while not condition():
        try:
            process.wait(0.02)
        except subprocess.TimeoutExpired:
            continue
        raise AssertionError(f"the process ended before its time: {process.stderr.read()}")


@pytest.fixture(scope="module")
def peace(slow_replica, stored_objects, tmp_path_factory):
    """Return all objects of an undisturbed mirror of the slow replica."""
    return undisturbed(slow_replica, stored_objects, tmp_path_factory.mktemp("peace"))


def undisturbed(replica, stored_objects, folder):
    settings = FREE.replace(base_url=replica.base_url)
    anyio.run(partial(mirror, DATA_SET, folder / "peace.zarr", settings=settings))
    return stored_objects(folder / "peace.zarr")


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_drains_and_leaves_a_store_that_resumes(
    command, slow_replica, peace, stored_objects, first
):
    replica, n_seen = slow_replica, len(slow_replica.requests)
    process = command.start(
        *("mirror", DATA_SET, "--out", "out.zarr", "--um", "200", "--json", "--base-url", replica.base_url),
        *("--jobs", "2", "--rate", "1000"),
    )
    wait_until(lambda: len(replica.requests) > n_seen + 4, process)
    process.send_signal(first)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "stopping when the sections in flight are done" in err
    assert "interrupted; continue with: asyncfetch resume" in err
    assert "Traceback" not in err
    assert '"interrupted": true' in out
    asked = {request["image_id"] for request in replica.requests[n_seen:] if request["kind"] == "download"}
    assert committed(command.folder / "out.zarr") == asked
    assert len(asked) < 10
    report = anyio.run(partial(resume, command.folder / "out.zarr", settings=FREE, base_url=replica.base_url))
    assert (report.interrupted, report.n_skipped, report.n_committed) == (False, len(asked), 10 - len(asked))
    assert stored_objects(command.folder / "out.zarr") == peace


def test_two_interrupts_stop_at_once_and_leave_a_store_that_resumes(
    command, start_replica, drawn, stored_objects
):
    # the first two images stall, so that nothing in flight ever ends
    replica = start_replica(faults={"faults": [{"kind": "stall", "count": 2}]}, cache_folder=drawn)
    process = command.start(
        *("mirror", DATA_SET, "--out", "out.zarr", "--um", "200", "--json", "--base-url", replica.base_url),
        *("--jobs", "2", "--rate", "1000"),
    )
    wait_until(lambda: len(replica.image_ids) == 2, process)
    process.send_signal(signal.SIGINT)
    assert "10 sections" in process.stderr.readline()
    assert "stopping" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=8)
    assert process.returncode == 130
    assert "asyncfetch resume" in err
    assert "Traceback" not in err
    assert '"error": "Interrupted"' in out
    assert committed(command.folder / "out.zarr") == set()
    report = anyio.run(partial(resume, command.folder / "out.zarr", settings=FREE, base_url=replica.base_url))
    assert (report.failures, report.n_committed) == ([], 10)
    expected = undisturbed(replica, stored_objects, command.folder)
    assert stored_objects(command.folder / "out.zarr") == expected


_STUCK = """
import sys, threading
import simplejpeg

def decode_jpeg(*args, **kwargs):
    sys.stderr.write("decoding\\n")
    sys.stderr.flush()
    threading.Event().wait()

simplejpeg.decode_jpeg = decode_jpeg
from asyncfetch.cli import main, running
running.DRAINED_S = {drained_s}
main()
"""


def read_until(words, process):
    read = ""
    while words not in read:
        line = process.stderr.readline()
        assert line, f"the process ended before its time: {read}"
        read += line
    return read


@pytest.mark.parametrize("n_signals", [1, 2])
def test_interrupts_end_a_mirror_whose_decoder_never_returns(command, start_replica, drawn, n_signals):
    replica = start_replica(cache_folder=drawn)
    process = command.start_script(
        _STUCK.format(drained_s=0.2 if n_signals == 1 else 600),
        *("mirror", DATA_SET, "--out", "out.zarr", "--um", "200", "--json", "--base-url", replica.base_url),
        "--quiet",
    )
    read_until("decoding", process)
    process.send_signal(signal.SIGINT)
    if n_signals == 2:
        read_until("stopping when the sections in flight are done", process)
        process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=15)
    assert process.returncode == 130
    assert "stopped; what is committed stays, and `asyncfetch resume` continues from there" in err
    assert '"error": "Interrupted"' in out
    assert "Traceback" not in err
    assert committed(command.folder / "out.zarr") == set()


def test_one_interrupt_ends_a_command_whose_decoder_never_returns(command, replica_process):
    address = ("--base-url", replica_process.base_url)
    process = command.start_script(
        _STUCK.format(drained_s=600), "image", 900001005, "--downsample", 3, "-o", "image.jpg", *address
    )
    read_until("decoding", process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=15)
    assert process.returncode == 130
    assert "interrupted" in err
    assert "Traceback" not in err
    assert not (command.folder / "image.jpg").exists()


def test_a_drained_run_tells_its_report_before_the_process_is_ended():
    assert MIRROR._DRAIN_S + 1 < running.DRAINED_S < 10


def test_a_run_without_a_server_ends_at_the_first_interrupt(command):
    process = command.start(
        *("mirror", DATA_SET, "--out", "out.zarr", "--base-url", "http://127.0.0.1:9"),
        ASYNCFETCH_ATTEMPTS="1000",
    )
    assert "Connection refused" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=8)
    assert process.returncode == 130
    assert "Traceback" not in err
