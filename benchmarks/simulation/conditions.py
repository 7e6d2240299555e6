"""What a host does to a request: how long it takes, how large it is, how fast it flows, whether it is refused.

All of it is pure and seeded. Capacities and doors may remember; they are asked at every change, with the time.
"""

from __future__ import annotations

import math
import random
import zlib
from collections import deque
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Literal, NamedTuple, Protocol

__all__ = [
    "Answer",
    "Capacity",
    "Collapsing",
    "Degrading",
    "Door",
    "Flapping",
    "Latency",
    "MostOpen",
    "MostStarts",
    "OpenDoor",
    "Sizes",
    "Speeds",
    "Steady",
]

_NORMAL = NormalDist()


def share_of(url: str, seed: int) -> float:
    """Return a number in (0, 1) that looks random and depends on nothing but the URL and the seed."""
    # CRCs of neighbours differ by a fixed pattern; two rounds of multiply and shift (after splitmix64) break it.
    mixed = (zlib.crc32(url.encode()) << 32 | seed & 0xFFFFFFFF) * 0x9E3779B97F4A7C15 & (2**64 - 1)
    mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9 & (2**64 - 1)
    mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB & (2**64 - 1)
    return ((mixed ^ mixed >> 31) + 0.5) / 2**64


class Sizes:
    """The body size of each URL, log-normal and clipped so that the largest is a hundred times the smallest.

    Parameters
    ----------
    mean_bytes : float
        The mean over all URLs.
    seed : int
        Other seeds give the same URLs other sizes.
    sigma : float
        Standard deviation of the natural logarithm before clipping; 0 makes all sizes equal.
    """

    def __init__(self, mean_bytes: float, seed: int, sigma: float = 1.0) -> None:
        self._seed, self._sigma = seed, sigma
        self._unit_bytes = 1.0
        # The mean of the clipped distribution has no handy form; the midpoints of 4096 equal shares give it to 1e-4.
        self._unit_bytes = mean_bytes * 4096 / sum(self._at((k + 0.5) / 4096) for k in range(4096))

    def of(self, url: str) -> int:
        """Return the size of the body in bytes, 1 or more."""
        return max(1, round(self._at(share_of(url, self._seed))))

    def _at(self, share: float) -> float:
        spread = math.exp(self._sigma * _NORMAL.inv_cdf(share)) if self._sigma else 1.0
        return self._unit_bytes * min(10.0, max(0.1, spread))


class Speeds:
    """The speed of the connection of each URL, uniform in the logarithm between two speeds in bytes/s."""

    def __init__(self, slowest: float, fastest: float, seed: int) -> None:
        self._slowest, self._ratio, self._seed = slowest, fastest / slowest, seed

    def of(self, url: str) -> float:
        """Return bytes per second."""
        if self._ratio == 1.0:
            return self._slowest
        return self._slowest * self._ratio ** share_of(url, ~self._seed)


@dataclass(frozen=True)
class Latency:
    """The seconds before the headers: log-normal around a median that may grow with load.

    Attributes
    ----------
    median_s : float
        When hardly anything is open.
    sigma : float
        Standard deviation of the natural logarithm.
    n_at_once : float
        Open connections that are served at the same time; beyond them each waits its turn.
    n_round_trips : int
        2 where a redirect comes first.
    """

    median_s: float
    sigma: float = 0.3
    n_at_once: float = math.inf
    n_round_trips: int = 1

    def draw(self, randomness: random.Random, n_open: int) -> float:
        """Return the seconds of one request."""
        crowd = max(1.0, n_open / self.n_at_once)
        return sum(
            self.median_s * crowd * math.exp(randomness.gauss(0.0, self.sigma))
            for _ in range(self.n_round_trips)
        )


class Capacity(Protocol):
    """How many bytes per second the host sends in all."""

    def now(self, n_open: int, now: float) -> tuple[float, float]:
        """Return bytes/s, and the time until which that holds if no connection opens or closes."""
        ...


@dataclass(frozen=True)
class Steady:
    """A capacity of so many bytes per second in all, whatever happens."""

    bytes_per_s: float = math.inf

    def now(self, n_open: int, now: float) -> tuple[float, float]:
        """Return the one number, for ever."""
        return self.bytes_per_s, math.inf


@dataclass(frozen=True)
class Degrading:
    """A capacity that shrinks with open connections: by 1 / (1 + loss · those beyond ``n_free``)."""

    bytes_per_s: float
    n_free: int
    loss_each: float

    def now(self, n_open: int, now: float) -> tuple[float, float]:
        """Return what is left of the capacity."""
        return self.bytes_per_s / (1.0 + self.loss_each * max(0, n_open - self.n_free)), math.inf


@dataclass
class Collapsing:
    """A capacity that is small after too many connections were open, until few were for a while; no error says so.

    Attributes
    ----------
    bytes_per_s, collapsed_bytes_per_s : float
        The two capacities.
    n_most : int
        The most open connections that the host bears.
    n_few, few_for_s : int, float
        It recovers when fewer than ``n_few`` have been open for so many seconds.
    """

    bytes_per_s: float
    collapsed_bytes_per_s: float
    n_most: int = 12
    n_few: int = 6
    few_for_s: float = 5.0
    is_collapsed: bool = field(default=False, init=False)
    _few_since: float | None = field(default=None, init=False)

    def now(self, n_open: int, now: float) -> tuple[float, float]:
        """Return the capacity of the state that the host is in."""
        # The end of the quiet time may pass with no connection opening; what was then open decides first.
        if self._few_since is not None and now >= self._few_since + self.few_for_s:
            self.is_collapsed, self._few_since = False, None
        if n_open > self.n_most:
            self.is_collapsed = True
        if not self.is_collapsed:
            return self.bytes_per_s, math.inf
        if n_open >= self.n_few:
            self._few_since = None
            return self.collapsed_bytes_per_s, math.inf
        if self._few_since is None:
            self._few_since = now
        return self.collapsed_bytes_per_s, self._few_since + self.few_for_s


class Answer(NamedTuple):
    """What a request gets instead of its body; ``retry_after`` goes with a status."""

    kind: Literal["refused", "status", "html"]
    status: int = 200
    retry_after: str | None = None


class Door(Protocol):
    """The rule by which a request gets in."""

    def answer(self, n_inside: int, now: float) -> Answer | None:
        """Return what a request that comes now gets instead of its body, or None.

        Parameters
        ----------
        n_inside : int
            Open connections that were let in, without this one.
        now : float
            Seconds.
        """
        ...

    def next_cut(self, now: float) -> float:
        """Return when connections break that are open then; infinity where none ever do."""
        ...


class OpenDoor:
    """A door that lets everything in."""

    def answer(self, n_inside: int, now: float) -> Answer | None:
        """Refuse nothing."""
        return None

    def next_cut(self, now: float) -> float:
        """Break nothing."""
        return math.inf


class MostStarts(OpenDoor):
    """A door that answers 429 to what comes beyond so many requests in one second; refused ones do not count."""

    def __init__(self, n_each_second: int, retry_after: str | None = "2") -> None:
        self._n_each_second = n_each_second
        self._refusal = Answer("status", 429, retry_after)
        self._let_in: deque[float] = deque()

    def answer(self, n_inside: int, now: float) -> Answer | None:
        """Refuse what exceeds the rate."""
        let_in = self._let_in
        while let_in and let_in[0] <= now - 1.0:
            let_in.popleft()
        if len(let_in) >= self._n_each_second:
            return self._refusal
        let_in.append(now)
        return None


class MostOpen(OpenDoor):
    """A door that answers 429 to what comes while so many connections are open; refused ones do not count."""

    def __init__(self, n_most: int, retry_after: str | None = "2") -> None:
        self._n_most = n_most
        self._refusal = Answer("status", 429, retry_after)

    def answer(self, n_inside: int, now: float) -> Answer | None:
        """Refuse what exceeds the number."""
        return self._refusal if n_inside >= self._n_most else None


class Flapping:
    """A door that is open for a while, then shut, in one of three ways that take turns, and so on.

    Parameters
    ----------
    begins : float
        Seconds; up from here.
    up_s : float
        How long it is up each time.
    down_s : tuple of float
        The shortest and the longest time that it is down.
    seed : int
        Draws how long each outage lasts.
    """

    _WAYS = (Answer("refused"), Answer("status", 503), Answer("html"))

    def __init__(self, begins: float, up_s: float, down_s: tuple[float, float], seed: int) -> None:
        self._up_s, self._down_s = up_s, down_s
        self._random = random.Random(seed)
        self._n_outages = 0
        self._goes_down = begins + up_s
        self._comes_up = self._goes_down + self._random.uniform(*down_s)

    def answer(self, n_inside: int, now: float) -> Answer | None:
        """Refuse everything during an outage."""
        self._move_on(now)
        return self._WAYS[self._n_outages % 3] if now >= self._goes_down else None

    def next_cut(self, now: float) -> float:
        """Break what is open when the next outage begins."""
        self._move_on(now)
        return self._goes_down if now < self._goes_down else self._comes_up + self._up_s

    def _move_on(self, now: float) -> None:
        while now >= self._comes_up:
            self._n_outages += 1
            self._goes_down = self._comes_up + self._up_s
            self._comes_up = self._goes_down + self._random.uniform(*self._down_s)
