"""Machines of a cluster that are killed, stalled, cut off, added and started again: the bytes are those of one process.

A scheduler and workers in processes of their own, on loopback; each trouble comes while a mirror is at work.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import anyio
import pytest

from asyncfetch.cluster import DaskCluster
from asyncfetch.events import SectionCommitted
from asyncfetch.mirroring import mirror

if TYPE_CHECKING:
    from pathlib import Path

    from asyncfetch.mirroring import Report

pytest.importorskip("distributed")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

N_DATA_SETS, LIMIT, JOBS = 8, 20, 4
LEASE_S, MARGIN_S = 3.0, 1.0


@pytest.fixture
def replica(start_replica):
    """A replica whose latency is what takes time."""
    return start_replica(generated=N_DATA_SETS, latency_s=0.1)


@pytest.fixture
def options(replica):
    return {"base_url": replica.base_url, "um": 100.0, "requests_per_s": float(LIMIT), "jobs": JOBS}


class Alone(NamedTuple):
    """What one process made, and what the replica had been asked for by then."""

    location: Path
    report: Report
    n_requests: int
    n_images: int


@pytest.fixture
def alone(options, tmp_path, replica):
    location = tmp_path / "alone.zarr"
    report = anyio.run(
        partial(mirror, "product:1", location, **options | {"requests_per_s": 1000.0, "jobs": 16})
    )
    assert not report.failures
    return Alone(location, report, len(replica.requests), len(replica.image_ids))


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


class Machines:
    """A scheduler and workers, each a process."""

    def __init__(self, stack: ExitStack) -> None:
        self.port = free_port()
        self._stack = stack
        self.workers: list[subprocess.Popen] = []
        self.start_scheduler()

    @property
    def address(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    def _start(self, *args: str) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-m", *args], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        return process

    def start_scheduler(self) -> None:
        self.scheduler = self._start(
            "distributed.cli.dask_scheduler",
            "--host",
            "127.0.0.1",
            "--port",
            str(self.port),
            "--dashboard-address",
            "127.0.0.1:0",
            "--no-show",
        )

    def start_worker(self, address: str | None = None) -> subprocess.Popen:
        worker = self._start(
            "distributed.cli.dask_worker",
            address or self.address,
            "--host",
            "127.0.0.1",
            "--nthreads",
            "1",
            "--no-nanny",
            "--no-dashboard",
            "--death-timeout",
            "60",
        )
        self.workers.append(worker)
        return worker

    def kill(self, process: subprocess.Popen) -> None:
        process.kill()
        process.wait()


@pytest.fixture
def machines():
    with ExitStack() as stack:
        yield Machines(stack)


class Way:
    """A way to the scheduler that can be blocked: connections stay open, and nothing passes."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._is_blocked = False

    def block(self) -> None:
        self._is_blocked = True

    @asynccontextmanager
    async def open(self):
        async def pass_on(source, target):
            try:
                async for data in source:
                    if self._is_blocked:
                        await anyio.sleep_forever()
                    await target.send(data)
            except (anyio.ClosedResourceError, anyio.BrokenResourceError):
                pass

        async def serve(stream):
            async with (
                stream,
                await anyio.connect_tcp("127.0.0.1", self._port) as other,
                anyio.create_task_group() as tasks,
            ):
                tasks.start_soon(pass_on, stream, other)
                await pass_on(other, stream)
                tasks.cancel_scope.cancel()

        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        async with listener, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, serve)
            yield f"tcp://127.0.0.1:{port}"
            tasks.cancel_scope.cancel()


async def mirror_amid(machines, location, options, trouble, n_before=30):
    """Mirror on a cluster, and let trouble come once some sections are committed."""
    committed, began = 0, anyio.Event()

    def listen(event):
        nonlocal committed
        committed += isinstance(event, SectionCommitted)
        if committed >= n_before:
            began.set()

    async def come():
        await began.wait()
        await trouble()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(come)
        cluster = DaskCluster(machines.address, lease_s=LEASE_S, margin_s=MARGIN_S)
        report = await mirror("product:1", location, cluster=cluster, on_event=listen, **options)
        assert began.is_set(), "there was no trouble"
    return report


def check(report, location, alone, replica, stored_objects, n_lost=1):
    """Compare with what one process made; an image may have been under way when its worker was lost."""
    assert not report.failures, report.failures
    assert not report.interrupted
    assert report.n_data_sets == N_DATA_SETS
    n_all = alone.report.n_committed
    # what a worker committed just before it was lost may not have been told
    assert n_all - JOBS * n_lost <= report.n_committed <= n_all
    assert stored_objects(location) == stored_objects(alone.location)
    fetched = replica.image_ids[alone.n_images :]
    assert len(set(fetched)) == n_all
    assert len(fetched) - n_all <= JOBS * n_lost, "images were fetched again that were not under way"
    assert_limit_is_kept(replica, alone)


def assert_limit_is_kept(replica, alone):
    """Look at the server's log; requests come later than they start, by what a busy machine happens to do."""
    requests = replica.requests[alone.n_requests :]
    times = sorted(each["started_s"] for each in requests if each["kind"] in {"download", "image", "query"})
    gaps = [later - earlier for earlier, later in zip(times, times[LIMIT:], strict=False)]
    assert min(gaps) > 0.9


def test_a_worker_that_is_killed_is_replaced_after_its_lease_and_another_joins(
    machines, alone, options, replica, tmp_path, stored_objects
):
    machines.start_worker()
    machines.start_worker()

    async def kill_and_add():
        machines.kill(machines.workers[0])
        machines.start_worker()

    location = tmp_path / "out.zarr"
    report = anyio.run(mirror_amid, machines, location, options, kill_and_add)
    check(report, location, alone, replica, stored_objects)


def test_a_worker_that_stalls_writes_nothing_when_it_wakes_up(
    machines, alone, options, replica, tmp_path, stored_objects
):
    stalled = machines.start_worker()
    machines.start_worker()

    async def stall():
        os.kill(stalled.pid, signal.SIGSTOP)
        await anyio.sleep(LEASE_S + MARGIN_S + 1)
        os.kill(stalled.pid, signal.SIGCONT)

    location = tmp_path / "out.zarr"
    report = anyio.run(mirror_amid, machines, location, options, stall)
    check(report, location, alone, replica, stored_objects)


def test_a_worker_that_is_cut_off_stops_by_itself_while_it_runs_on(
    machines, alone, options, replica, tmp_path, stored_objects
):
    location = tmp_path / "out.zarr"

    async def main():
        way = Way(machines.port)
        async with way.open() as address:
            machines.start_worker(address)
            machines.start_worker()

            async def cut_off():
                way.block()

            report = await mirror_amid(machines, location, options, cut_off)
            # it lives, and has not been told
            assert machines.workers[0].poll() is None
            return report

    report = anyio.run(main)
    check(report, location, alone, replica, stored_objects)


def test_a_run_goes_on_when_the_scheduler_is_started_again(
    machines, alone, options, replica, tmp_path, stored_objects
):
    machines.start_worker()
    machines.start_worker()

    async def start_again():
        machines.kill(machines.scheduler)
        machines.start_scheduler()
        machines.start_worker()
        machines.start_worker()

    location = tmp_path / "out.zarr"
    report = anyio.run(mirror_amid, machines, location, options, start_again)
    check(report, location, alone, replica, stored_objects, n_lost=2)


@pytest.mark.parametrize("n_workers", [1, 2, 4])
def test_one_limit_holds_for_any_number_of_workers(
    n_workers, options, replica, tmp_path, alone, stored_objects
):
    location = tmp_path / "out.zarr"
    cluster = DaskCluster(f"local:{n_workers}")
    report = anyio.run(partial(mirror, "product:1", location, cluster=cluster, **options))
    check(report, location, alone, replica, stored_objects, n_lost=0)


def test_an_interrupt_drains_all_workers_and_resume_continues_on_a_cluster(
    command, options, replica, alone, tmp_path, stored_objects
):
    process = command.start(
        "mirror",
        "product:1",
        "--out",
        "out.zarr",
        "--um",
        "100",
        "--rate",
        LIMIT,
        "--jobs",
        JOBS,
        "--base-url",
        replica.base_url,
        "--cluster",
        "local:2",
    )
    while len(replica.image_ids) < alone.n_images + 20:
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "interrupted; continue with: asyncfetch resume" in err
    done = command(
        "resume",
        "out.zarr",
        "--base-url",
        replica.base_url,
        "--rate",
        LIMIT,
        "--jobs",
        JOBS,
        "--cluster",
        "local:2",
        "--json",
    )
    assert done.returncode == 0, done.stderr
    fetched = replica.image_ids[alone.n_images :]
    assert len(fetched) == len(set(fetched)) == alone.report.n_committed
    assert stored_objects(tmp_path / "out.zarr") == stored_objects(alone.location)
