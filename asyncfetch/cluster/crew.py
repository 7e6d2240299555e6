"""The crew of a run: its jobs given to workers one after another, and again where these were lost."""

from __future__ import annotations

import uuid
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import msgspec

from asyncfetch.cluster.dask import Link, SchedulerLostError
from asyncfetch.cluster.ledger import Terms
from asyncfetch.cluster.member import Member
from asyncfetch.cluster.once import Once
from asyncfetch.errors import ClusterError, SettingsError
from asyncfetch.store.directory import cloud_address

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from asyncfetch.engine import Gate
    from asyncfetch.events import Listener
    from asyncfetch.mirroring.crew import Duty, Job

__all__ = ["DaskCrew", "open_crew"]

#: Jobs that are given to the cluster beyond those that its threads can do at once, so that none waits for us.
_AHEAD = 2
#: How long a scheduler that is gone is waited for, and how often it is tried.
_PATIENCE_S, _TRY_EVERY_S = 600.0, 1.0
#: How often a job is given out again after the worker that did it lost its lease.
_MAX_TIMES = 10
_LOOK_EVERY_S = 0.2


@asynccontextmanager
async def open_crew(
    link: Link, duty: Duty, listen: Listener, drain: anyio.Event, lease_s: float, margin_s: float
) -> AsyncGenerator[DaskCrew]:
    """Have the workers of a cluster for one run, as `DaskCluster.open_crew` says."""
    location = await anyio.to_thread.run_sync(_seen_from_everywhere, duty.location)
    settings = duty.settings
    terms = Terms(
        requests_per_s=settings.requests_per_s,
        n_permits=settings.max_images_at_once,
        lease_s=lease_s,
        margin_s=margin_s,
    )
    crew = DaskCrew(link, msgspec.structs.replace(duty, location=location), terms, listen, drain)
    async with crew.at_work():
        yield crew


class DaskCrew:
    """The workers of a cluster in one run.

    Attributes
    ----------
    gate : Gate or None
        Where requests of this process start.
    """

    def __init__(self, link: Link, duty: Duty, terms: Terms, listen: Listener, drain: anyio.Event) -> None:
        self._link = link
        self._duty = duty
        self._terms = terms
        self._drain = drain
        self._run = uuid.uuid4().hex
        self._once = Once(listen)
        self._member = Member(
            self._send,
            lease_s=terms.lease_s,
            settings=duty.settings if duty.asks else None,
            listen=self._once,
        )
        self.gate: Gate | None = self._member.gate
        self._n_given = 0
        self._n_at_work = 0
        self._n_links = 0
        self._changed = anyio.Event()
        self._mending = anyio.Lock()

    def __repr__(self) -> str:
        return f"DaskCrew({self._duty.verb}, {self._n_at_work} at work, {self._member!r})"

    @asynccontextmanager
    async def at_work(self) -> AsyncGenerator[None]:
        """Be there for the length of a block."""
        if self._duty.n_jobs:
            # few data sets get more threads each
            n_threads = max(1, self._link.n_threads // self._duty.n_jobs)
            self._duty = msgspec.structs.replace(self._duty, n_threads=n_threads)
        await self._link.begin(self._run, self._duty, self._terms, 0.0)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._member.run)
                tasks.start_soon(self._pass_on_drain)
                yield
                tasks.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True), anyio.move_on_after(5.0):
                await self._link.end(self._run)

    async def admit(self) -> None:
        """Return when one more job would be begun soon, or nothing more is to be begun."""
        while self._n_at_work >= self._link.n_threads + _AHEAD and not self._drain.is_set():
            with anyio.move_on_after(_LOOK_EVERY_S):
                await self._changed.wait()
        self._n_at_work += 1

    async def do[Result](self, job: Job[Result]) -> Result:
        """Have a job done, and return its result once all of its events have been told.

        Raises
        ------
        ClusterError
            The cluster is lost, or each worker that was at the job was.
        AsyncFetchError
            What the job raised.
        """
        try:
            result: Result = await self._do(job)
            await self._member.settle()
            self._once.forget(job.data_set_id)
        finally:
            self._n_at_work -= 1
            changed, self._changed = self._changed, anyio.Event()
            changed.set()
        return result

    async def _do(self, job: Job[Any]) -> Any:
        n_times = 0
        while True:
            n_links = self._n_links
            self._n_given += 1
            try:
                return await self._link.do(self._run, job, self._n_given)
            except SchedulerLostError:
                await self._mend(n_links)
            except ClusterError as error:
                if error.data_set_id is not None:
                    raise
                # the worker was cut off, or closed, and has stopped
                n_times += 1
                if n_times == _MAX_TIMES:
                    raise ClusterError(error.message, data_set_id=job.data_set_id) from error

    async def _mend(self, n_links: int) -> None:
        """Connect to the scheduler again, unless another job has done so since."""
        async with self._mending:
            if self._n_links != n_links:
                return
            until = anyio.current_time() + _PATIENCE_S
            while True:
                try:
                    await self._link.connect(_TRY_EVERY_S)
                    # a new ledger waits until all that the old one had given out is over
                    quiet_s = self._terms.lease_s + self._terms.margin_s
                    self._member.begin_again()
                    await self._link.begin(self._run, self._duty, self._terms, quiet_s)
                except ClusterError:
                    if anyio.current_time() > until:
                        raise
                    await anyio.sleep(_TRY_EVERY_S)
                else:
                    self._n_links += 1
                    return

    async def _send(self, message: bytes) -> bytes:
        return await self._link.ask(self._run, message)

    async def _pass_on_drain(self) -> None:
        await self._drain.wait()
        self._member.ask_to_drain()


def _seen_from_everywhere(location: str) -> str:
    """Return a location as processes see it that were started elsewhere."""
    if cloud_address(location) is not None:
        return location
    folder = Path(location)
    if not folder.is_dir():
        raise SettingsError(
            f"{location} exists in this process alone; a cluster needs a directory or object storage",
            setting="cluster",
        )
    return str(folder.resolve())
