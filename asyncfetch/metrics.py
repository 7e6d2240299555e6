"""The metrics of a run: counters and histograms, filled by its events. Pure.

What held a run back is told by where its requests and sections waited: for memory (``budget``), for a permit of
the window (``window``), for a host that asked for a pause or did not answer (``host``), for a turn at the rate
(``rate``), for bytes (``server``), for another attempt (``retry``), for decoding (``decode``), and for warping,
encoding and writing (``write``). They overlap, since many wait at once: only their shares mean something.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import msgspec

from asyncfetch.deprecation import warn_of_old_name
from asyncfetch.events import (
    BudgetGranted,
    HostPaused,
    OutageBegan,
    OutageEnded,
    RequestAccepted,
    RequestFailed,
    RequestFinished,
    RequestHedged,
    RequestRetried,
    RequestStarted,
    SectionStored,
    ShardMade,
    WindowChanged,
)

if TYPE_CHECKING:
    from asyncfetch.events import Event

__all__ = ["Histogram", "Metrics"]

# Four bins a decade: a quantile is right to a third.
_DECADES = {"s": (-3, 4), "bytes": (2, 10)}


def _bounds(unit: str) -> tuple[float, ...]:
    first, last = _DECADES[unit]
    return tuple(10.0 ** (first + k / 4) for k in range(4 * (last - first) + 1))


class Histogram(msgspec.Struct):
    """Counts of values in bins of equal ratio.

    Attributes
    ----------
    unit : str
        ``s`` or ``bytes``; it decides the bins.
    counts : list of int
        Values up to each bound, and beyond the last.
    total : float
        The sum of all values.
    """

    unit: str
    counts: list[int] = msgspec.field(default_factory=list)
    total: float = 0.0

    @property
    def bounds(self) -> tuple[float, ...]:
        """The upper bound of each bin but the last, which has none."""
        return _BOUNDS[self.unit]

    @property
    def n(self) -> int:
        """How many values there are."""
        return sum(self.counts)

    def add(self, value: float) -> None:
        """Count a value."""
        if not self.counts:
            self.counts = [0] * (len(self.bounds) + 1)
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def quantile(self, part: float) -> float:
        """Return the upper bound of the bin in which a part of the values ends; 0 without values."""
        left = part * self.n
        for count, bound in zip(self.counts, (*self.bounds, self.bounds[-1]), strict=False):
            left -= count
            if count and left <= 0:
                return bound
        return 0.0

    def __add__(self, other: Histogram) -> Histogram:
        # one that is empty has no counts at all
        counts = [ours + theirs for ours, theirs in zip_longest(self.counts, other.counts, fillvalue=0)]
        return Histogram(self.unit, counts, self.total + other.total)


_BOUNDS = {unit: _bounds(unit) for unit in _DECADES}


class Metrics(msgspec.Struct, kw_only=True):
    """The metrics of a run, added up from its events; call it with each of them.

    Attributes
    ----------
    n_requests, n_retries, n_failures : dict of str to int
        Requests sent, by kind; retries and failures for good, by the class of their error.
    n_hedged, n_pauses, n_outages : int
        Second requests for late images; pauses that the host asked for; outages.
    received_bytes : int
        Bytes of all bodies that came whole.
    outage_s : float
        Seconds of outages that ended.
    window, max_window : int
        Images asked for at once, lately and at the most; 0 where the number was fixed.
    waiting_s : dict of str to float
        Seconds of waiting by cause, all that waited together.
    request_s, body_bytes : Histogram
        Seconds from a request to the end of its reply, and sizes of bodies.
    """

    n_requests: dict[str, int] = msgspec.field(default_factory=dict)
    n_retries: dict[str, int] = msgspec.field(default_factory=dict)
    n_failures: dict[str, int] = msgspec.field(default_factory=dict)
    n_hedged: int = 0
    n_pauses: int = 0
    n_outages: int = 0
    received_bytes: int = 0
    outage_s: float = 0.0
    window: int = 0
    max_window: int = 0
    waiting_s: dict[str, float] = msgspec.field(default_factory=dict)
    request_s: Histogram = msgspec.field(default_factory=lambda: Histogram("s"))
    body_bytes: Histogram = msgspec.field(default_factory=lambda: Histogram("bytes"))

    @property
    def most_window(self) -> int:
        """The old name of `max_window`."""
        warn_of_old_name("Metrics.most_window", "Metrics.max_window")
        return self.max_window

    def __call__(self, event: Event) -> None:
        """Count an event."""
        count = _COUNTERS.get(type(event))
        if count is not None:
            count(self, event)

    def __add__(self, other: Metrics) -> Metrics:
        sums: dict[str, Any] = {}
        for name in self.__struct_fields__:
            ours, theirs = getattr(self, name), getattr(other, name)
            if isinstance(ours, dict):
                keys = dict.fromkeys([*ours, *theirs])
                sums[name] = {key: ours.get(key, 0) + theirs.get(key, 0) for key in keys}
            else:
                sums[name] = ours + theirs
        sums["window"] = other.window or self.window
        sums["max_window"] = max(self.max_window, other.max_window)
        return Metrics(**sums)

    def held_back_by(self) -> dict[str, float]:
        """Return the share of each cause in all waiting, the largest first.

        A request that waits for a permit waits for those that have one. Where they only wait for the rate or the host,
        its time counts for these.
        """
        waiting = {cause: seconds for cause, seconds in self.waiting_s.items() if seconds > 0}
        permits_s = waiting.pop("window", 0.0)
        inside = {cause: waiting.get(cause, 0.0) for cause in ("rate", "host", "server")}
        inside_s = sum(inside.values())
        for cause, seconds in inside.items():
            part = seconds / inside_s if inside_s else float(cause == "server")
            if permits_s * part:
                name = "window" if cause == "server" else cause
                waiting[name] = waiting.get(name, 0.0) + permits_s * part
        total_s = sum(waiting.values())
        shares = {cause: seconds / total_s for cause, seconds in waiting.items()} if total_s else {}
        return dict(sorted(shares.items(), key=lambda item: -item[1]))

    def _wait(self, cause: str, seconds: float) -> None:
        self.waiting_s[cause] = self.waiting_s.get(cause, 0.0) + seconds

    def _started(self, event: RequestStarted) -> None:
        self.n_requests[event.kind] = self.n_requests.get(event.kind, 0) + 1

    def _finished(self, event: RequestFinished) -> None:
        self.received_bytes += event.size_bytes
        self.request_s.add(event.elapsed_s)
        self.body_bytes.add(event.size_bytes)
        self._wait("window", event.waited_window_s)
        self._wait("host", event.waited_host_s)
        self._wait("rate", event.waited_rate_s)
        self._wait("server", event.elapsed_s)

    def _accepted(self, event: RequestAccepted) -> None:
        if event.kind == "image":
            self._wait("decode", event.check_s)

    def _retried(self, event: RequestRetried) -> None:
        self.n_retries[event.error] = self.n_retries.get(event.error, 0) + 1
        self._wait("retry", event.delay_s)

    def _failed(self, event: RequestFailed) -> None:
        self.n_failures[event.error] = self.n_failures.get(event.error, 0) + 1

    def _hedged(self, _event: RequestHedged) -> None:
        self.n_hedged += 1

    def _granted(self, event: BudgetGranted) -> None:
        self._wait("budget", event.waited_s)

    def _stored(self, event: SectionStored) -> None:
        self._wait("write", event.elapsed_s)

    def _shard(self, event: ShardMade) -> None:
        if event.is_new:
            self._wait("write", event.elapsed_s)

    def _window(self, event: WindowChanged) -> None:
        self.window = event.after
        self.max_window = max(self.max_window, event.before, event.after)

    def _paused(self, _event: HostPaused) -> None:
        self.n_pauses += 1

    def _outage_began(self, _event: OutageBegan) -> None:
        self.n_outages += 1

    def _outage_ended(self, event: OutageEnded) -> None:
        self.outage_s += event.elapsed_s


_COUNTERS: dict[type[Event], Any] = {
    RequestStarted: Metrics._started,
    RequestFinished: Metrics._finished,
    RequestAccepted: Metrics._accepted,
    RequestRetried: Metrics._retried,
    RequestFailed: Metrics._failed,
    RequestHedged: Metrics._hedged,
    BudgetGranted: Metrics._granted,
    SectionStored: Metrics._stored,
    ShardMade: Metrics._shard,
    WindowChanged: Metrics._window,
    HostPaused: Metrics._paused,
    OutageBegan: Metrics._outage_began,
    OutageEnded: Metrics._outage_ended,
}
