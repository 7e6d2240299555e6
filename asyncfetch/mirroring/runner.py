"""The one way in which the items of a run are worked off; mirrors, rebuilds and volumes differ in what they do.

Workers share a stream of items. Each takes an item when its memory is there, has an executor do it, and hands on what
became of it: a result, or an error that costs this item alone. A run that is asked to end soon takes no more items, and
lets go of those that only wait.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterable
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Protocol

import anyio

from asyncfetch.engine import ByteBudget, Ticket
from asyncfetch.engine.groups import Shared, failing_alone
from asyncfetch.errors import AsyncFetchError, OutageError, StoreError, StoreItemError
from asyncfetch.events import RunStarted
from asyncfetch.journal import log_event
from asyncfetch.mirroring.flights import Flight, Flights

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator

    from anyio.abc import TaskGroup

    from asyncfetch.engine import Companion
    from asyncfetch.events import Event, Listener, RunFinished

__all__ = ["Executor", "Runner", "Work", "costs_one_item", "reported"]

#: What does an item, here or elsewhere: it is told the item and whom to tell that it waits.
type Executor[Item, Result] = Callable[[Item, Companion], Awaitable[Result]]


class Work[Item, Result](Protocol):
    """What a runner asks of the work that it is given."""

    def bytes_of(self, item: Item) -> int:
        """Return the memory that an item takes while it is done; 0 where its executor sees to that."""
        ...

    def done(self, item: Item, result: Result, flight: Flight) -> None:
        """Note that an item is done."""
        ...

    def failed(self, item: Item, error: AsyncFetchError) -> bool:
        """Note that an item failed; return False where that ends the run."""
        ...

    async def ended(self, item: Item) -> None:
        """Follow an item that is done or failed, with what it was the last of, for example."""
        ...


class Runner[Item, Result]:
    """Workers over one stream of items.

    Parameters
    ----------
    work : Work
        Is told what becomes of each item.
    executor : Executor
        Does the items.
    n_workers : int
        Items at a time, at most.
    drain : Event
        Once set, no more items are taken.
    budget_bytes : int, optional
        The memory of all items at a time.

    Attributes
    ----------
    is_interrupted : bool
        Whether items were left because the run was asked to end.
    """

    def __init__(
        self,
        work: Work[Item, Result],
        executor: Executor[Item, Result],
        *,
        n_workers: int,
        drain: anyio.Event,
        budget_bytes: int | None = None,
    ) -> None:
        self.is_interrupted = False
        self._work = work
        self._execute = executor
        self._n_workers = n_workers
        self._drain = drain
        self._budget = None if budget_bytes is None else ByteBudget(budget_bytes)
        self._admitted: dict[Ticket, anyio.Event] = {}
        self._flights = Flights()

    def drain(self) -> None:
        """Let go of the items that wait, be it for the rate or for another attempt."""
        self._flights.drain()

    async def run(self, items: Iterable[Item] | AsyncIterable[Item]) -> None:
        """Work off all items, or those that are taken before the run is to end.

        Raises
        ------
        AsyncFetchError
            What ends the run; as it was.
        """
        with failing_alone():
            async with anyio.create_task_group() as tasks:
                self.start(tasks, items)

    def start(self, tasks: TaskGroup, items: Iterable[Item] | AsyncIterable[Item]) -> None:
        """Start the workers in a task group of the caller's."""
        shared = items if isinstance(items, AsyncIterable) else Shared(items)
        for _ in range(self._n_workers):
            tasks.start_soon(self._serve, shared, tasks)

    async def _serve(self, items: AsyncIterable[Item], tasks: TaskGroup) -> None:
        """Do one item after another.

        Once an item has to wait for another attempt, another worker takes over, and this one ends with its item: items
        that all fail must not keep the workers from the others. The retry quota bounds how many wait.
        """
        is_replaced = False

        def replace() -> None:
            nonlocal is_replaced
            is_replaced = True
            tasks.start_soon(self._serve, items, tasks)

        async for item in items:
            if self._drain.is_set():
                self.is_interrupted = True
                return
            with self._flights.open(replace) as flight:
                async with self._room(self._work.bytes_of(item)):
                    await self._do(item, flight)
            if flight.scope.cancelled_caught:
                self.is_interrupted = True
            else:
                await self._work.ended(item)
            if is_replaced:
                return

    async def _do(self, item: Item, flight: Flight) -> None:
        try:
            result = await self._execute(item, flight)
        except AsyncFetchError as error:
            if not self._work.failed(item, error):
                raise
            # a failure that ends everything has cancelled this task
            await anyio.lowlevel.checkpoint_if_cancelled()
        else:
            self._work.done(item, result, flight)

    @asynccontextmanager
    async def _room(self, size_bytes: int) -> AsyncGenerator[None]:
        """Hold bytes of the memory budget for the length of a block."""
        if self._budget is None or not size_bytes:
            yield
            return
        ticket = self._budget.request(size_bytes)
        self._admitted[ticket] = anyio.Event()
        try:
            if not ticket.is_admitted:
                await self._admitted[ticket].wait()
            yield
        finally:
            del self._admitted[ticket]
            for each in self._budget.release(ticket):
                self._admitted[each].set()


def costs_one_item(error: AsyncFetchError) -> bool:
    """Tell whether an error is the failure of one item, which a full disk and an outage are not."""
    if isinstance(error, StoreError):
        return isinstance(error, StoreItemError)
    return not isinstance(error, OutageError)


class Counted(Protocol):
    """A report that events add up to."""

    location: str
    elapsed_s: float

    @property
    def selection(self) -> tuple[str, ...]:
        """What was asked for."""
        ...

    def count(self, event: Event) -> None:
        """Add what an event tells."""
        ...

    def as_event(self) -> RunFinished:
        """Return what is told when the run has ended."""
        ...


@contextmanager
def reported(report: Counted, on_event: Listener) -> Iterator[Listener]:
    """Give the listener of a run: it counts each event in the report, logs it, and hands it on.

    The report's time is set when the block ends.
    """

    def listen(event: Event) -> None:
        report.count(event)
        log_event(event)
        on_event(event)

    started_s = time.monotonic()
    listen(RunStarted(selection=report.selection, location=report.location))
    yield listen
    report.elapsed_s = time.monotonic() - started_s
    listen(report.as_event())
