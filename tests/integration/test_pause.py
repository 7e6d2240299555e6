"""A run is paused and continued by signals; one that was stopped as a process goes on."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest

from asyncfetch.store import open as open_store

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")

DATA_SET = "dataset:900000005"


def read_until(words, process):
    read = ""
    while words not in read:
        line = process.stderr.readline()
        assert line, f"the process ended before its time: {read}"
        read += line
    return read


def wait_until(condition, process):
    while not condition():
        try:
            process.wait(0.02)
        except subprocess.TimeoutExpired:
            continue
        raise AssertionError(f"the process ended before its time: {process.stderr.read()}")


@pytest.fixture
def started(command, start_replica):
    """Return a run that has begun to fetch images, its replica and its store."""
    replica = start_replica(latency_s=0.2)
    process = command.start(
        *("mirror", DATA_SET, "--out", "out.zarr", "--um", "200", "--rate", "1000", "--jobs", "1", "--json"),
        *("--base-url", replica.base_url, "--stall-timeout", "3"),
    )
    wait_until(lambda: len(replica.image_ids) >= 2, process)
    return process, replica, command.folder / "out.zarr"


def state_of(store):
    figures = open_store(store).read_figures()
    return None if figures is None else figures.state


@pytest.mark.parametrize("go_on", [signal.SIGUSR1, signal.SIGUSR2])
def test_a_signal_pauses_a_run_which_says_so_and_another_lets_it_go_on(started, go_on):
    process, replica, store = started
    process.send_signal(signal.SIGUSR1)
    assert f"kill -USR2 {process.pid}" in read_until("paused: nothing new is sent", process)
    wait_until(lambda: state_of(store) == "paused", process)
    n_asked = len(replica.image_ids)
    assert n_asked < 10
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1.0)
    assert len(replica.image_ids) == n_asked
    process.send_signal(go_on)
    out, err = process.communicate(timeout=30)
    assert "continuing after the pause" in err
    assert (process.returncode, json.loads(out)["n_committed"]) == (0, 10)


def test_a_paused_run_ends_at_an_interrupt(started):
    process, _, _ = started
    process.send_signal(signal.SIGUSR1)
    read_until("paused", process)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=15)
    assert (process.returncode, json.loads(out)["interrupted"]) == (130, True)


def test_a_process_that_was_stopped_goes_on_and_blames_no_connection(started):
    process, _, _ = started
    process.send_signal(signal.SIGSTOP)
    # longer than a reply may stall
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(4.0)
    process.send_signal(signal.SIGCONT)
    out, err = process.communicate(timeout=30)
    report = json.loads(out)
    assert (process.returncode, report["n_committed"], report["failures"]) == (0, 10, [])
    assert report["metrics"]["n_retries"].get("StallError", 0) == 0
    assert "does not answer" not in err
