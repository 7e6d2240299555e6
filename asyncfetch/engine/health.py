"""Whether the host answers: pauses that it asks for, and outages that are waited out. Pure: ``now`` is an argument.

::

    open ──429 or 503──▶ paused until t ──▶ open
     │
     └──several failures in a row──▶ outage ──▶ a probe every so often ──answered──▶ open
                                        └── no answer for too long: OutageError for whoever waits

A 429, a 503, and a 403 that asks to wait are about the host and not about the one request that happened to meet them,
so nothing starts until the pause is over. A pause longer than the patience is not kept, because nobody would wait for
its end: the request that met it is given up, and the host is asked again as if it had not said how long.

An outage is told from a broken image by asking for something that came well before: if that comes, the host is there,
and what failed failed for reasons of its own. Before anything has come there is no outage: an address that was mistyped
should fail within seconds.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from asyncfetch.errors import (
    AsyncFetchError,
    ConnectError,
    NotAnImageError,
    ReplyError,
    StallError,
    StatusError,
)
from asyncfetch.text import counted

if TYPE_CHECKING:
    from datetime import datetime
    from typing import TypeGuard

from asyncfetch.engine.retry import parse_retry_after

__all__ = ["HealthState", "HostHealth", "is_of_the_host", "is_refusal"]

HealthState = Literal["open", "paused", "outage"]

# Fewer could be a handful of broken images one after another.
_FAILURES_TO_OUTAGE = 5
# The longest pause of which nobody said how long, and the longest time between two probes, as multiples of the first.
_MAX_TIMES_FIRST = 60.0


def is_refusal(error: AsyncFetchError) -> bool:
    """Tell whether an error asks for fewer requests: 429, 503, 403 with Retry-After, or no connection to be had."""
    return _asks_for_a_pause(error) or isinstance(error, ConnectError)


def _asks_for_a_pause(error: AsyncFetchError) -> TypeGuard[StatusError]:
    if not isinstance(error, StatusError):
        return False
    return error.status in {429, 503} or (error.status == 403 and error.retry_after is not None)


def is_silence(error: AsyncFetchError) -> bool:
    """Tell whether an error means that no answer came at all; a page that says no is an answer."""
    return isinstance(error, ConnectError) or (isinstance(error, StallError) and error.received_bytes == 0)


def is_of_the_host(error: AsyncFetchError) -> bool:
    """Tell whether an error can mean that the host, and not this one item, is in trouble.

    An outage gives 5xx, no connection, no byte, or a page of HTML under status 200 (HTTP-8).
    """
    if isinstance(error, StatusError):
        return error.status >= 500 or _asks_for_a_pause(error)
    if isinstance(error, StallError):
        return error.received_bytes == 0
    if isinstance(error, NotAnImageError):
        return error.beginning.lstrip()[:5].lower() in {b"<html", b"<!doc"}
    return isinstance(error, ConnectError | ReplyError)


class HostHealth:
    """The health of a host: whether requests may start.

    Parameters
    ----------
    base_s : float
        The first pause of which nobody said how long, and the time to the first probe; both grow, up to sixty times
        that.
    patience_s : float
        The longest pause that is kept.

    Attributes
    ----------
    state : str
        ``open``, ``paused`` or ``outage``.
    cause : str
        Why it is not open.
    is_silent : bool
        Whether the host gives no answer at all, where it is not open.
    since : float
        When the outage began; seconds on the clock of ``now``.
    """

    def __init__(self, base_s: float = 1.0, patience_s: float = 21_600.0) -> None:
        self._base_s = base_s
        self._patience_s = patience_s
        self.state: HealthState = "open"
        self.cause = ""
        self.is_silent = False
        self.since = -math.inf
        self.opens_at = -math.inf
        self._has_answered = False
        self._n_failures = 0
        self._failed_at = -math.inf
        self._n_pauses = 0
        self._paused_at = -math.inf
        self._refused_at = -math.inf

    def is_open(self) -> bool:
        """Whether requests may start."""
        return self.state == "open"

    def is_out(self) -> bool:
        """Whether the host is in an outage."""
        return self.state == "outage"

    def answered(self, opened: float, came: float) -> bool:
        """Note an answer to a request that was sent at ``opened``; return whether it ended an outage.

        An answer that came before the last failure says nothing of the host now, however late it is known to be good.
        """
        self._has_answered = True
        if came < self._failed_at:
            return False
        self._n_failures = 0
        if opened >= self._paused_at:
            self._n_pauses = 0
        was_out = self.is_out()
        if was_out:
            self.state = "open"
        return was_out

    def failed(
        self, error: AsyncFetchError, opened: float, now: float, now_utc: datetime, random: float
    ) -> HealthState | None:
        """Note a failure; return what the host is in since, where that changed.

        Parameters
        ----------
        error : AsyncFetchError
            What a request that was sent at ``opened`` ended in.
        opened, now : float
            Seconds.
        now_utc : datetime
            The wall clock, for a Retry-After that is a date.
        random : float
            Uniform in [0, 1), for a pause of which nobody said how long.
        """
        if not is_of_the_host(error):
            return None
        self._failed_at = now
        change: HealthState | None = None
        if _asks_for_a_pause(error):
            change = self._pause(error, opened, now, now_utc, random)
            # Many are refused at once, but it is one thing that happened to the host. It counts twice, so that an
            # outage is told before those who asked have no attempts left: each round of them takes one.
            self._n_failures += 2 * (opened >= self._refused_at)
            self._refused_at = now
        else:
            self._n_failures += 1
        if not self.is_out() and self._has_answered and self._n_failures >= _FAILURES_TO_OUTAGE:
            self.state, self.since = "outage", now
            self.note(error)
            self.opens_at = max(self.opens_at, now + self._base_s)
            return "outage"
        return change

    def told(self, state: HealthState, opens_at: float, cause: str, now: float, *, is_silent: bool) -> bool:
        """Note what others who ask the same host have found out; tell whether that changes anything.

        Parameters
        ----------
        state : str
            What the host is in.
        opens_at : float
            When something may be asked again.
        cause, is_silent : str, bool
            Why it is not open, and whether it gives no answer at all.
        now : float
            Seconds.
        """
        before = self.state, self.opens_at
        if state == "open":
            self.state, self._n_failures = "open", 0
        elif not self.is_out() or state == "outage":
            if state == "outage" and not self.is_out():
                self.since = now
                # the one who found out probes first
                opens_at = max(opens_at, now + self._base_s)
            self.state, self.cause, self.is_silent = state, cause, is_silent
            self.opens_at = max(self.opens_at, opens_at)
        return (self.state, self.opens_at) != before

    def note(self, error: AsyncFetchError) -> None:
        """Remember why the host is not open."""
        self.cause, self.is_silent = error.message, is_silence(error)

    def probed(self, now: float) -> None:
        """Note that a probe is sent: the next one comes later, if this one is not answered.

        It comes when the outage has lasted a quarter longer, so that no more than that is lost at its end.
        """
        wait_s = min(max((now - self.since) / 4, self._base_s), _MAX_TIMES_FIRST * self._base_s)
        self.opens_at = now + wait_s

    def wait_s(self, now: float) -> float:
        """Return how long nothing may start; 0 once something may: in an outage that is a probe."""
        if self.state == "paused" and now >= self.opens_at:
            self.state = "open"
        return 0.0 if self.state == "open" else max(0.0, self.opens_at - now)

    def _pause(
        self, error: StatusError, opened: float, now: float, now_utc: datetime, random: float
    ) -> HealthState | None:
        asked_s = parse_retry_after(error.retry_after, now_utc)
        if asked_s is None or asked_s > self._patience_s:
            if opened < self._paused_at:
                # it was sent before the pause that is on, so it adds nothing
                return None
            doubled = min(_MAX_TIMES_FIRST, 2.0 ** min(self._n_pauses, 16))
            asked_s = self._base_s * doubled * (0.5 + random / 2)
        is_same_pause = opened < self._paused_at
        if not is_same_pause:
            self._n_pauses += 1
            self._paused_at = now
        if now + asked_s <= self.opens_at:
            return None
        self.opens_at = now + asked_s
        if self.is_out() or (is_same_pause and self.state == "paused"):
            # the pause that is on becomes longer
            return None
        self.state = "paused"
        self.note(error)
        return "paused"

    def __repr__(self) -> str:
        return f"HostHealth({self.state}, {counted(self._n_failures, 'failure')} in a row)"
