"""One rate for many machines: consecutive stretches of time, in each of which one machine starts its requests.

Whoever hands stretches out keeps a row of **ticks**, one start each. A machine asks for some; the answer says "your
first tick begins w seconds after I received this, and the others follow at this spacing". No clocks are compared: the
machine knows only that the answer's w is counted from a moment between its sending of the question and its receiving of
the answer, so it takes the later of the two as the beginning, and lets a start lapse that would come too late even if
the earlier one was right. So each start lies in its tick or at most its **lateness** after it, whatever the network
did, and the law follows from the row alone: n ticks later a tick begins a second and that lateness after, so that no
window of one second holds more than n starts. What is not used lapses; what a lost machine had asked for is half a
second at most.

Pure: ``now`` is an argument.
"""

from __future__ import annotations

import math
from collections import deque
from typing import NamedTuple

__all__ = ["LATENESS_S", "HeldStarts", "Stretch", "Stretches"]

#: How much later than its tick a start may come: what messages and a busy event loop take. It costs 2 % of the rate.
LATENESS_S = 0.02
#: Machines farther away than this lose starts instead of slowing everyone down.
_MAX_LATENESS_S = 0.5
#: How long a stretch is at most, so that those who ask later do not wait and little lapses with a lost machine.
_MAX_STRETCH_S = 0.5
#: A faster rate is kept by the spacing of its ticks alone: a log of them would be long.
_MAX_LOGGED = 10_000.0
#: From the decision to start to the bytes on the wire: within the lateness, but not to be spent before.
_SENDING_S = 2e-3


class Stretch(NamedTuple):
    """Some consecutive ticks.

    Attributes
    ----------
    wait_s : float
        From when the question was received to the first tick.
    ticks_s : tuple of float
        Where the ticks begin, counted from the first: 0 and then more.
    lateness_s : float
        How much later than its tick a start may come.
    """

    wait_s: float
    ticks_s: tuple[float, ...]
    lateness_s: float


class Stretches:
    """What hands out the starts of one rate.

    Parameters
    ----------
    rate : float
        Starts per second of all machines together, more than 0. One that is not a whole number is kept on average and
        rounded up within one window.
    not_before : float
        No tick begins earlier, on the clock of ``now``: what another one has handed out has passed by then.
    """

    def __init__(self, rate: float, not_before: float = -math.inf) -> None:
        self.rate = rate
        self._n = max(1, math.ceil(rate))
        self._window_s = max(1.0, 1 / rate)
        # the last n ticks, each with its lateness
        self._is_logged = rate <= _MAX_LOGGED
        self._given: deque[tuple[float, float]] = deque(maxlen=self._n if self._is_logged else 0)
        self._free_at = not_before

    def __repr__(self) -> str:
        return f"Stretches({self.rate:g}/s, free at {self._free_at:.3f})"

    def ask(self, n: int, now: float, lateness_s: float = LATENESS_S) -> Stretch | None:
        """Hand out the next ticks.

        Parameters
        ----------
        n : int
            How many are wanted; as many come as fit into half a second, and one at least.
        now : float
            Seconds; must not run backwards.
        lateness_s : float
            What the machine needs, at most half a second.

        Returns
        -------
        Stretch or None
            None where none was wanted.
        """
        lateness_s = min(max(0.0, lateness_s), _MAX_LATENESS_S)
        ticks: list[float] = []
        while len(ticks) < n:
            tick = self._next(now)
            if ticks and tick - ticks[0] >= _MAX_STRETCH_S:
                break
            ticks.append(tick)
            self._given.append((tick, lateness_s))
            # spread evenly: a row that follows its window alone would start n at once and then wait
            longest_s = self._window_s + (lateness_s if self._is_logged else _MAX_LATENESS_S)
            self._free_at = tick + max(1 / self.rate, longest_s / self._n)
        if not ticks:
            return None
        return Stretch(ticks[0] - now, tuple(tick - ticks[0] for tick in ticks), lateness_s)

    def _next(self, now: float) -> float:
        tick = max(now, self._free_at)
        if self._is_logged and len(self._given) == self._n:
            begun, lateness_s = self._given[0]
            tick = max(tick, begun + self._window_s + lateness_s)
        return tick


class HeldStarts:
    """The starts that a machine was given and has not used.

    Attributes
    ----------
    n_lapsed : int
        Starts that came too late to be used.
    """

    def __init__(self) -> None:
        self.n_lapsed = 0
        # from when to when each may be used
        self._ticks: deque[tuple[float, float]] = deque()

    def __len__(self) -> int:
        return len(self._ticks)

    def __repr__(self) -> str:
        return f"HeldStarts({len(self)}, {self.n_lapsed} lapsed)"

    def add(self, stretch: Stretch, sent: float, received: float) -> None:
        """Take a stretch that was asked for at `sent` and came at `received`, on this machine's own clock."""
        latest = sent + stretch.wait_s + stretch.lateness_s - _SENDING_S
        for tick_s in stretch.ticks_s:
            self._ticks.append((received + stretch.wait_s + tick_s, latest + tick_s))

    def wait_s(self, now: float) -> float | None:
        """Return how long it is until a request may start, 0 where one may at once, None where none is held."""
        while self._ticks:
            begins, ends = self._ticks[0]
            if max(now, begins) <= ends:
                return max(0.0, begins - now)
            self._ticks.popleft()
            self.n_lapsed += 1
        return None

    def take(self, now: float) -> bool:
        """Use a start, if one may be used now; tell whether."""
        if self.wait_s(now) != 0:
            return False
        self._ticks.popleft()
        return True

    def clear(self) -> None:
        """Let all lapse."""
        self.n_lapsed += len(self._ticks)
        self._ticks.clear()
