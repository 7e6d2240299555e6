"""What goes on beside a run: its limits are watched, and how far it is is shown to others."""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import anyio

from asyncfetch.engine.clock import now
from asyncfetch.engine.groups import failing_alone
from asyncfetch.events import LimitReached, RequestFinished
from asyncfetch.limits import Limits
from asyncfetch.mirroring.live import LiveTally

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from asyncfetch.engine import Pause
    from asyncfetch.events import Event, Listener
    from asyncfetch.layout.live import LiveFigures
    from asyncfetch.limits import Limit
    from asyncfetch.mirroring.report import Report
    from asyncfetch.store import StoreWriter

__all__ = ["Ending", "ending_at"]

#: How often the clock of the wall is looked at: it may be set, and goes on while a machine sleeps.
_LOOK_EVERY_S = 30.0


class Ending:
    """The end that a run may come to before its work is done; made by `ending_at`.

    Attributes
    ----------
    drain : Event
        Once set, the run begins nothing more.
    limit : str or None
        The limit that was reached first, None while there is none.
    """

    def __init__(
        self, limits: Limits, drain: anyio.Event, on_event: Listener, pause: Pause | None = None
    ) -> None:
        self._pause = pause
        self.drain = drain
        self.limit: Limit | None = None
        self._limits = limits
        self._on_event = on_event
        self._began = now()
        self._n_bytes = 0
        self._tally = LiveTally()

    def listen(self, event: Event) -> None:
        """Hand an event on, and count it."""
        self._on_event(event)
        self._tally(event)
        if isinstance(event, RequestFinished) and self._limits.max_bytes is not None:
            self._n_bytes += event.size_bytes
            if self._n_bytes >= self._limits.max_bytes:
                self._reach("max_bytes")

    def show_in(self, writer: StoreWriter) -> None:
        """Show how far the run is beside the lock of its store, until that is given back."""
        writer.show(self._figures)

    def _figures(self) -> LiveFigures:
        is_paused = self._pause is not None and self._pause.is_on
        return self._tally.figures("ending" if self.drain.is_set() else "paused" if is_paused else "working")

    def sign(self, report: Report) -> Report:
        """Note in a report which limit ended the run, where one did and something was left."""
        if report.interrupted:
            report.ended_by = self.limit
        return report

    def _reach(self, limit: Limit) -> None:
        if self.drain.is_set():
            return
        self.limit = limit
        self.drain.set()
        self._on_event(LimitReached(limit=limit, elapsed_s=now() - self._began))

    async def end_in_time(self) -> None:
        """Return when a limit of time is reached, or at once where there is none."""
        while left := self._limits.left_s(now() - self._began, datetime.now(UTC)):
            left_s, limit = left
            if left_s <= 0:
                self._reach(limit)
                return
            await anyio.sleep(min(left_s, _LOOK_EVERY_S))

    async def follow(self, drain: anyio.Event) -> None:
        """Drain when another event says so."""
        await drain.wait()
        self.drain.set()


@asynccontextmanager
async def ending_at(
    limits: Limits | None,
    drain: anyio.Event | None,
    on_event: Listener,
    pause: Pause | None = None,
) -> AsyncGenerator[Ending]:
    """Watch the limits of a run while the block runs.

    Parameters
    ----------
    limits : Limits or None
        When the run is to end.
    drain : Event or None
        What else may ask it to; it is never set here, because it is the caller's.
    on_event : callable
        Who listens to the run; `Ending.listen` hands on to it.
    pause : Pause, optional
        Whether the run sends nothing for now, which is only shown here.

    Yields
    ------
    Ending
        What the run heeds.
    """
    asked = drain or anyio.Event()
    if not limits:
        yield Ending(Limits(), asked, on_event, pause)
        return
    ending = Ending(limits, anyio.Event(), on_event, pause)
    if asked.is_set():
        ending.drain.set()
    with failing_alone():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ending.end_in_time)
            tasks.start_soon(ending.follow, asked)
            yield ending
            tasks.cancel_scope.cancel()
