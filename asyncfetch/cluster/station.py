"""Where jobs are done: one process of a cluster, with one client for all of its work."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from asyncfetch.client import Client
from asyncfetch.cluster.member import Member
from asyncfetch.errors import ClusterError
from asyncfetch.mirroring.crew import Here
from asyncfetch.store import StoreWriter
from asyncfetch.version import __version__

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from asyncfetch.cluster.ledger import Terms
    from asyncfetch.mirroring.crew import Duty, Job

__all__ = ["Station", "check_version", "open_station"]


class Station:
    """What does the jobs of one run in this process; made by `open_station`.

    Parameters
    ----------
    duty : Duty
        The run.
    member : Member
        What keeps the lease.
    n_threads, memory_bytes : int
        What one job may use.
    client : Client, optional
        What asks the API.
    """

    def __init__(
        self, duty: Duty, member: Member, n_threads: int, memory_bytes: int, client: Client | None
    ) -> None:
        self._duty = duty
        self._member = member
        self._n_threads = n_threads
        self._memory_bytes = memory_bytes
        self._client = client

    async def do(self, job: Job[Any]) -> Any:
        """Do a job, and return its result once all of its events have been told."""
        member, duty = self._member, self._duty
        async with member.own(f"dataset:{job.data_set_id}") as guard:
            writer = None
            if duty.token:
                share = partial(StoreWriter.share, duty.location, guard, duty.token, sync=duty.settings.sync)
                writer = await anyio.to_thread.run_sync(share)
            here = Here(
                location=duty.location,
                writer=writer,
                listen=member.tell,
                drain=member.drain,
                n_threads=self._n_threads,
                memory_bytes=self._memory_bytes,
                client=self._client,
            )
            result = await job.do(here)
            if writer is not None:
                await anyio.to_thread.run_sync(writer.close)
            await member.settle()
        return result


@asynccontextmanager
async def open_station(
    duty: Duty,
    terms: Terms,
    send: Callable[[bytes], Awaitable[bytes]],
    address: str,
    n_threads: int,
    n_at_once: int,
) -> AsyncGenerator[Station]:
    """Be a member of a run for the length of a block.

    Parameters
    ----------
    duty, terms : Duty, Terms
        The run, and what it is held to.
    send : callable
        As for `Member`.
    address : str
        What Dask calls this process.
    n_threads, n_at_once : int
        Threads of this process, and how many jobs are done in it at a time.
    """
    settings = duty.settings
    member = Member(send, lease_s=terms.lease_s, address=address, settings=settings if duty.asks else None)
    memory_bytes = settings.memory_bytes // n_at_once
    n_here = settings.workers or n_threads
    per_job = min(n_here, max(1, n_here // n_at_once, duty.n_threads))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(member.run)
        try:
            if not duty.asks:
                yield Station(duty, member, per_job, memory_bytes, None)
            else:
                mine = settings.replace(workers=settings.workers or n_threads)
                async with Client(settings=mine, on_event=member.tell, gate=member.gate) as client:
                    try:
                        yield Station(duty, member, per_job, memory_bytes, client)
                    finally:
                        member.stop()
        finally:
            member.stop()
            tasks.cancel_scope.cancel()


def check_version(version: str) -> None:
    """Make sure that the run was begun by the asyncfetch that is installed here.

    Raises
    ------
    ClusterError
        It was not.
    """
    if version != __version__:
        raise ClusterError(
            f"a worker has asyncfetch {__version__} and the run was begun with {version}; install the same version "
            "on every machine"
        )
