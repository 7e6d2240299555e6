"""When a request may start: the one thin async driver of the pure policies.

A request passes three things in this order, and holds nothing that it is not about to use:

1. the byte budget (:meth:`Gate.reserve`), by those who need decoded bytes: reserved before anything is opened;
2. a **place** (:meth:`Gate.slot`): at most ``jobs`` images at once, and one place beyond them that only metadata
   may take, so that metadata never starve and the images' workers never wait for rows;
3. a **start**: requests a second.

Whoever waits stands in a line; metadata stand before images, and within a kind the first come are the first
served. Leaving a line, for whatever reason, leaves no hole and changes no order.

Two seams are kept open. What answers "is there room" (:meth:`Gate._has_room`) reads the window of images at
every admission, so that a window may change while requests are in flight; and every start goes through
:meth:`Gate.start`, where a whole host can be paused.
"""

from __future__ import annotations

from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Literal

import anyio
from aiolimiter import AsyncLimiter

from asyncfetch.engine.budget import ByteBudget
from asyncfetch.engine.rate import ByteRate

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from asyncfetch.engine.budget import Ticket
    from asyncfetch.engine.rate import RequestRate
    from asyncfetch.settings import Settings

__all__ = ["Gate", "Kind", "LimiterRate"]

#: What a request asks for; the order is the order of precedence.
Kind = Literal["metadata", "image"]
_KINDS: tuple[Kind, ...] = ("metadata", "image")

# aiolimiter counts in float64 seconds, whose error within one interval is far below this; without it, start
# number R + 1 may fall a rounding error before the second is over.
_MARGIN = 1e-6
# One start a wake-up of the loop cannot pass more than about a thousand a second, because timers are rounded up
# to a millisecond. From here on the bucket holds a hundredth of the rate, taken off its refill: b + (R - b) = R.
_BURST_FROM_RATE = 200.0


class LimiterRate:
    """Count starts with aiolimiter so that no one-second window holds more than ``rate`` of them.

    aiolimiter's own default (``AsyncLimiter(R, 1)``) lets 2R − 1 start in the first second; a bucket of one with
    R refills a second keeps the law. A rate that is no whole number is kept on average and rounded up within
    one window.

    Parameters
    ----------
    rate : float
        Starts a second, more than 0.
    """

    def __init__(self, rate: float) -> None:
        self.rate = rate
        bucket = int(rate // 100) if rate >= _BURST_FROM_RATE else 1
        refill = rate - bucket if bucket > 1 else rate
        self._limiter = AsyncLimiter(bucket, bucket / refill * (1 + _MARGIN))

    async def start(self) -> None:
        """Return when a request may start, and count it."""
        await self._limiter.acquire()

    def __repr__(self) -> str:
        return f"LimiterRate({self.rate:g}/s)"


class _Waiter:
    __slots__ = ("event", "is_admitted")

    def __init__(self) -> None:
        self.event = anyio.Event()
        self.is_admitted = False


class _Line:
    """Admit those who wait, metadata first, and within a kind in the order in which they came."""

    def __init__(self, has_room: Callable[[Kind, dict[Kind, int]], bool]) -> None:
        self._has_room = has_room
        self.inside: dict[Kind, int] = dict.fromkeys(_KINDS, 0)
        self.waiting: dict[Kind, deque[_Waiter]] = {kind: deque() for kind in _KINDS}

    async def enter(self, kind: Kind) -> None:
        if not self._stands_behind_someone(kind) and self._has_room(kind, self.inside):
            self.inside[kind] += 1
            return
        waiter = _Waiter()
        self.waiting[kind].append(waiter)
        try:
            await waiter.event.wait()
        except BaseException:
            if waiter.is_admitted:
                self.leave(kind)
            else:
                self.waiting[kind].remove(waiter)
                self.admit()
            raise

    def leave(self, kind: Kind) -> None:
        self.inside[kind] -= 1
        self.admit()

    def admit(self) -> None:
        for kind in _KINDS:
            waiting = self.waiting[kind]
            while waiting and self._has_room(kind, self.inside):
                waiter = waiting.popleft()
                waiter.is_admitted = True
                self.inside[kind] += 1
                waiter.event.set()

    def _stands_behind_someone(self, kind: Kind) -> bool:
        return any(self.waiting[before] for before in _KINDS[: _KINDS.index(kind) + 1])


class Gate:
    """Let requests start when concurrency, rate and memory allow it.

    Parameters
    ----------
    settings : Settings
        ``jobs``, ``requests_per_s``, ``bytes_per_s`` and ``memory_bytes`` are read.
    request_rate : RequestRate, optional
        What counts starts; by default aiolimiter at ``requests_per_s``.
    """

    def __init__(self, settings: Settings, request_rate: RequestRate | None = None) -> None:
        self.n_image_places = settings.jobs
        self._places = _Line(self._has_room)
        # One at a time asks for a start, so that the order is ours and not the limiter's.
        self._starts = _Line(lambda _kind, inside: not any(inside.values()))
        self._request_rate = request_rate or LimiterRate(settings.requests_per_s)
        self._byte_rate = None if settings.bytes_per_s is None else ByteRate(settings.bytes_per_s)
        self._budget = ByteBudget(settings.memory_bytes)
        self._admitted: dict[Ticket, anyio.Event] = {}

    @property
    def limits_bytes(self) -> bool:
        """Whether received bytes have to be passed through :meth:`receive`."""
        return self._byte_rate is not None

    @asynccontextmanager
    async def slot(self, kind: Kind) -> AsyncGenerator[None]:
        """Hold a place for one request, and enter when it may start.

        Metadata that come while an image waits for its start are next after it.
        """
        await self._places.enter(kind)
        try:
            await self.start(kind)
            yield
        finally:
            self._places.leave(kind)

    async def start(self, kind: Kind) -> None:
        """Return when one more request may start; for the first of a slot and for each that it leads to."""
        await self._starts.enter(kind)
        try:
            await self._request_rate.start()
        finally:
            self._starts.leave(kind)

    async def receive(self, size_bytes: int) -> None:
        """Return when ``size_bytes`` that came may count as received at the rate of ``bytes_per_s``."""
        if self._byte_rate is not None:
            now = anyio.current_time()
            await anyio.sleep(self._byte_rate.take(size_bytes, now).ends - now)

    @asynccontextmanager
    async def reserve(self, size_bytes: int) -> AsyncGenerator[None]:
        """Hold bytes of the budget; enter when they are there.

        Parameters
        ----------
        size_bytes : int
            Decoded bytes; more than the whole budget is admitted when nothing else is held.
        """
        ticket = self._budget.request(size_bytes)
        try:
            if not ticket.is_admitted:
                event = self._admitted[ticket] = anyio.Event()
                await event.wait()
            yield
        finally:
            self._admitted.pop(ticket, None)
            for admitted in self._budget.release(ticket):
                self._admitted[admitted].set()

    def _has_room(self, kind: Kind, inside: dict[Kind, int]) -> bool:
        if sum(inside.values()) > self.n_image_places:
            return False
        return kind == "metadata" or inside["image"] < self.n_image_places

    def __repr__(self) -> str:
        inside, waiting, starts = self._places.inside, self._places.waiting, self._starts.waiting
        n_starting = sum(len(line) for line in starts.values()) + sum(self._starts.inside.values())
        return (
            f"Gate(images {inside['image']}/{self.n_image_places}, metadata {inside['metadata']}, "
            f"waiting {len(waiting['image'])} images and {len(waiting['metadata'])} metadata, "
            f"{n_starting} for a start, {self._budget!r}, {self._request_rate!r})"
        )
