"""What the engine of one process shares with all others: the rate, the window, and what is known of the server.

These are the engine's own seams: a `RequestRate` whose starts come from the ledger, a gate that lets no more images
through than were granted, and the health of the host, which is told what others found out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from asyncfetch.cluster.bulletin import News
from asyncfetch.cluster.stretches import LATENESS_S, HeldStarts
from asyncfetch.engine import Gate

if TYPE_CHECKING:
    from collections.abc import Callable

    from asyncfetch.cluster.messages import Question
    from asyncfetch.cluster.stretches import Stretch
    from asyncfetch.engine import HealthState
    from asyncfetch.events import Listener
    from asyncfetch.settings import Settings

__all__ = ["SharedAsking", "SharedRate"]

#: How much more time for a start is asked for after one has lapsed, and how much less after none has.
_MORE, _LESS, _MAX_LEARNT_S = 1.5, 0.9, 0.1
#: How much longer a pause has to be than the known one to be news.
_MUCH_LONGER_S = 0.1


class SharedRate:
    """The rate of all machines, as a machine's engine sees it: starts that were asked for and are held.

    Parameters
    ----------
    rate : float
        Starts per second of all machines; it holds for the whole run.
    ask : callable
        Lets more be asked for.

    Attributes
    ----------
    n_waiting : int
        How many wait for a start.
    lateness_s : float
        How late this machine may be with a start: more where messages take long.
    """

    def __init__(self, rate: float, ask: Callable[[], None]) -> None:
        self.rate = rate
        self.n_waiting = 0
        self.lateness_s = LATENESS_S
        self._ask = ask
        self._held = HeldStarts()
        self._n_lapsed = 0
        self._came = anyio.Event()

    def __repr__(self) -> str:
        return f"SharedRate({self.rate:g}/s, {self._held!r})"

    @property
    def n_held(self) -> int:
        """How many starts are held, used or not."""
        return len(self._held)

    def is_free(self) -> bool:
        """Tell whether a request that came now could start at once."""
        return self._held.wait_s(anyio.current_time()) == 0

    async def start(self) -> None:
        """Return when a request may start, and count it."""
        self.n_waiting += 1
        try:
            while not self._held.take(anyio.current_time()):
                wait_s = self._held.wait_s(anyio.current_time())
                if wait_s is None:
                    came = self._came
                    self._ask()
                    await came.wait()
                else:
                    await anyio.sleep(wait_s)
        finally:
            self.n_waiting -= 1

    def sent(self) -> None:
        """Do nothing: a start counts in its tick, and is sent in it or not at all."""

    def add(self, stretch: Stretch, sent: float, received: float) -> None:
        """Hold what was asked for at `sent` and came at `received`."""
        self._learn_lateness(received - sent)
        self._held.add(stretch, sent, received)
        came, self._came = self._came, anyio.Event()
        came.set()

    def clear(self) -> None:
        """Let all that is held lapse."""
        self._held.clear()

    def _learn_lateness(self, took_s: float) -> None:
        """Ask for more time where messages take some of it, or starts have lapsed because the machine is busy."""
        n_lapsed, self._n_lapsed = self._held.n_lapsed - self._n_lapsed, self._held.n_lapsed
        least_s = LATENESS_S + (took_s if took_s > LATENESS_S / 4 else 0.0)
        learnt_s = _MORE * self.lateness_s if n_lapsed else _LESS * self.lateness_s
        self.lateness_s = max(least_s, min(learnt_s, _MAX_LEARNT_S))


class SharedAsking:
    """What one process asks of the API, together with all others.

    Parameters
    ----------
    settings : Settings
        What holds for all together.
    on_event : callable
        Is told what the gate decides.
    ask : callable
        Lets the next question be sent at once.

    Attributes
    ----------
    gate : Gate
        Where requests of this process start.
    """

    def __init__(self, settings: Settings, on_event: Listener, ask: Callable[[], None]) -> None:
        self._rate = SharedRate(settings.requests_per_s, ask)
        self.gate = Gate(settings, self._rate, on_event)
        # nothing before the first answer
        self.gate.allow(0)
        self._news = News()
        self._opens_at = 0.0

    def __repr__(self) -> str:
        return repr(self.gate)

    def fill(self, question: Question) -> None:
        """Say what this process needs, and what it has found out."""
        gate, inside = self.gate, self.gate.permits.inside
        question.n_starts = max(0, max(gate.n_starting, self._rate.n_waiting) - self._rate.n_held)
        question.lateness_s = self._rate.lateness_s
        question.n_wanted = min(gate.window.size, gate.n_wanted)
        question.n_held = max(gate.most or 0, inside["image"] + inside["metadata"])
        question.news = self._found_out()

    def apply(self, news: News, n_permits: int, starts: Stretch | None, sent: float) -> None:
        """Take what was answered to what was asked at `sent`."""
        now = anyio.current_time()
        if news.number > self._news.number:
            self._news, self._opens_at = news, now + news.opens_in_s
            state: HealthState = (
                "paused" if news.state == "paused" else "outage" if news.state == "outage" else "open"
            )
            health = self.gate.health
            if health.told(state, self._opens_at, news.cause, now, is_silent=news.is_silent):
                self.gate.health_changed()
        self.gate.allow(n_permits)
        if starts is not None:
            self._rate.add(starts, sent, now)

    def stop(self) -> None:
        """Let nothing start any more until more is granted."""
        self._rate.clear()
        self.gate.allow(0)

    def begin_again(self) -> None:
        """Forget the news of a ledger that is gone, and whose starts have lapsed."""
        self.stop()
        self._news = News()

    def _found_out(self) -> News | None:
        """Return what this process knows of the server and all others do not."""
        health, news, now = self.gate.health, self._news, anyio.current_time()
        is_news = health.state != news.state
        if health.state == "open":
            # a pause ends for all by itself
            is_news = news.state == "outage"
        elif health.state == "paused":
            is_news |= health.opens_at > self._opens_at + _MUCH_LONGER_S
        if not is_news:
            return None
        return News(
            number=news.number,
            state=health.state,
            opens_in_s=max(0.0, health.opens_at - now),
            cause=health.cause,
            is_silent=health.is_silent,
        )
