"""Whole data sets done elsewhere: what a run asks of a cluster of machines, and what their work finds there.

A run that is given a cluster holds the store and decides what is to be done; a **job** is all that there is to do for
one data set, as a value. A machine of the **crew** does it where it is, with what the job finds **here**: the store,
and somebody who listens. What becomes of it comes back as a value, and what happens meanwhile as events.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

import anyio
import msgspec

from asyncfetch.errors import ClusterError
from asyncfetch.settings import Settings  # noqa: TC001 - msgspec reads annotations

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractAsyncContextManager

    from asyncfetch.client import Client
    from asyncfetch.engine import Gate
    from asyncfetch.events import Listener
    from asyncfetch.store import StoreWriter

__all__ = ["Cluster", "Crew", "Duty", "Here", "Job", "work_off"]


class Duty(msgspec.Struct, frozen=True, kw_only=True):
    """What a crew is there for: one run.

    Attributes
    ----------
    verb : str
        What is done to data sets, such as ``rebuild``.
    location : str
        The store.
    token : str
        Of the lock that the run holds, which shows a machine that it sees the same store; empty where the run only
        reads.
    settings : Settings
        How much of each machine is used, and how the API is asked.
    asks : bool
        Whether the API is asked for anything.
    n_jobs : int or None
        How many data sets there are, as far as that is known.
    n_threads : int
        For each data set, where there are so few that more are free.
    """

    verb: str
    location: str
    token: str
    settings: Settings
    asks: bool = False
    n_jobs: int | None = None
    n_threads: int = 1


@dataclass(frozen=True, kw_only=True)
class Here:
    """What the work on a data set finds where it is done.

    Attributes
    ----------
    location : str
        The store.
    writer : StoreWriter or None
        What writes to the data set, as long as this process owns it; None where the run only reads.
    listen : callable
        Is told each event.
    drain : Event
        Once set, nothing more is begun.
    n_threads, memory_bytes : int
        What may be used.
    client : Client or None
        What asks the API, shared by all work of this process; None where nothing is asked.
    """

    location: str
    writer: StoreWriter | None
    listen: Listener
    drain: anyio.Event
    n_threads: int
    memory_bytes: int
    client: Client | None = None


class Job[Result](Protocol):
    """All that there is to do for one data set; it and its result pickle."""

    verb: ClassVar[str]

    @property
    def data_set_id(self) -> int:
        """The data set."""
        ...

    async def do(self, here: Here) -> Result:
        """Do it."""
        ...


class Crew(Protocol):
    """The machines that do the jobs of one run.

    Attributes
    ----------
    gate : Gate or None
        Where requests of this process start, under the rate and the window of all; None where the API is not asked.
    """

    gate: Gate | None

    async def admit(self) -> None:
        """Return when one more job would be begun soon; each is followed by `do`."""
        ...

    async def do[Result](self, job: Job[Result]) -> Result:
        """Have a job done, and return its result once all of its events have been told.

        Raises
        ------
        AsyncFetchError
            What the job raised, or the cluster cannot do it.
        """
        ...


class Cluster(Protocol):
    """Machines that do whole data sets."""

    def open_crew(
        self, duty: Duty, listen: Listener, drain: anyio.Event
    ) -> AbstractAsyncContextManager[Crew]:
        """Have a crew for one run; the listener is told all events, in this process."""
        ...


async def work_off[Result](
    crew: Crew,
    jobs: Iterable[Job[Result]],
    done: Callable[[int, Result], None],
    drain: anyio.Event,
    lost: Callable[[int, ClusterError], None] | None = None,
) -> bool:
    """Have jobs done by a crew, and tell of each that is done, by its number; `lost` is told of one that cannot be.

    Returns
    -------
    bool
        Whether all were begun, and none was left because the run was asked to end.

    Raises
    ------
    AsyncFetchError
        What a job raised, or the cluster cannot do them.
    """

    async def one(number: int, job: Job[Result]) -> None:
        try:
            result = await crew.do(job)
        except ClusterError as error:
            if lost is None or error.data_set_id is None:
                raise
            lost(number, error)
        else:
            done(number, result)

    async with anyio.create_task_group() as tasks:
        for number, job in enumerate(jobs):
            await crew.admit()
            if drain.is_set():
                return False
            tasks.start_soon(one, number, job)
    return True
