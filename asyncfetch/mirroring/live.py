"""The figures of a run, added up from its events, for whoever asks from another process while it works."""

from __future__ import annotations

import threading
import time
from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from asyncfetch.events import (
    DataSetPlanned,
    OutageBegan,
    OutageEnded,
    RequestFinished,
    RunPlanned,
    SectionCommitted,
    SectionFailed,
    SectionSkipped,
)
from asyncfetch.layout.live import LiveFigures

if TYPE_CHECKING:
    from collections.abc import Callable

    from asyncfetch.events import Event
    from asyncfetch.layout.live import RunState

__all__ = ["LiveTally"]

#: The speed is that of the last minutes: a server is not as fast by day as by night.
_SPEED_OVER_S = 300.0
#: How often a point is kept of which the speed is told.
_POINT_EVERY_S = 5.0


class _Point(NamedTuple):
    time_s: float
    n_done: int
    received_bytes: int


class LiveTally:
    """How far a run is: counted on its event loop, and read from the thread that shows it.

    Parameters
    ----------
    clock : callable
        Seconds that pass.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._turn = threading.Lock()
        self._began_s = clock()
        self._points = deque([_Point(self._began_s, 0, 0)])
        self._data_sets: set[int] = set()
        self._n_sections = 0
        self._n_committed = 0
        self._n_skipped = 0
        self._n_failed: dict[str, int] = {}
        self._received_bytes = 0
        self._is_plan_whole = False
        self._is_out = False

    def __call__(self, event: Event) -> None:
        """Count an event."""
        with self._turn:
            self._count(event)

    def _count(self, event: Event) -> None:
        if isinstance(event, RequestFinished):
            self._received_bytes += event.size_bytes
        elif isinstance(event, SectionCommitted):
            self._n_committed += 1
        elif isinstance(event, SectionSkipped):
            self._n_skipped += 1
        elif isinstance(event, SectionFailed):
            self._n_failed[event.error] = self._n_failed.get(event.error, 0) + 1
        elif isinstance(event, DataSetPlanned):
            self._data_sets.add(event.data_set_id)
            self._n_sections += event.n_to_fetch
        elif isinstance(event, RunPlanned):
            self._is_plan_whole = True
        elif isinstance(event, OutageBegan | OutageEnded):
            self._is_out = isinstance(event, OutageBegan)

    def figures(self, state: RunState = "working") -> LiveFigures:
        """Return how far the run is now; from any thread.

        Parameters
        ----------
        state : str
            What it does, unless it waits for the server.
        """
        with self._turn:
            now_s = self._clock()
            n_done = self._n_committed + sum(self._n_failed.values())
            last = _Point(now_s, n_done, self._received_bytes)
            first = self._first_for(last)
            passed_s = max(last.time_s - first.time_s, 1e-3)
            sections_per_s = (last.n_done - first.n_done) / passed_s
            n_left = max(self._n_sections - n_done, 0)
            return LiveFigures(
                time=datetime.now(UTC).isoformat(timespec="seconds"),
                state="waiting for the server" if self._is_out and state == "working" else state,
                elapsed_s=round(now_s - self._began_s, 3),
                n_data_sets=len(self._data_sets),
                n_sections=self._n_sections,
                is_plan_whole=self._is_plan_whole,
                n_committed=self._n_committed,
                n_skipped=self._n_skipped,
                n_failed=dict(self._n_failed),
                received_bytes=self._received_bytes,
                goodput_bytes_per_s=round((last.received_bytes - first.received_bytes) / passed_s, 1),
                sections_per_s=round(sections_per_s, 4),
                left_s=round(n_left / sections_per_s, 1) if sections_per_s else None,
            )

    def _first_for(self, last: _Point) -> _Point:
        """Return the point from which the speed is told, and keep the last one for later."""
        while len(self._points) > 1 and last.time_s - self._points[0].time_s > _SPEED_OVER_S:
            self._points.popleft()
        if last.time_s - self._points[-1].time_s >= _POINT_EVERY_S:
            self._points.append(last)
        return self._points[0]
