"""Requests per second: aiolimiter behind our own small interface."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

import anyio
from aiolimiter import AsyncLimiter

from asyncfetch.engine.clock import now

if TYPE_CHECKING:
    from collections.abc import Awaitable

__all__ = ["LimiterRate"]

# Timers fire a millisecond late, and ten on a busy machine. A bucket of one loses that at every start; with a little
# more in it the next start makes up for it, and the log of starts keeps the law.
_SLACK, _SLACK_PART = 0.9, 0.04
_MAX_LOGGED = 10_000.0
# Between the log and the wire lie some hundred microseconds, not always the same: with a margin of 1 µs one second held
# 21 of 20 requests as they were sent. This costs half a percent of the rate.
_MARGIN_S = 5e-3


class LimiterRate:
    """A rate of which no one-second window holds more than ``rate`` starts.

    aiolimiter paces them: its own default (``AsyncLimiter(R, 1)``) lets 2R − 1 start in the first second, so the bucket
    holds hardly more than one. A log of the starts of the last second keeps the law to the start. A rate that is not a
    whole number is kept on average and rounded up within one window.

    Parameters
    ----------
    rate : float
        Starts per second, more than 0. Set it to change it: from then on no window that begins later holds more.
    """

    def __init__(self, rate: float) -> None:
        self._starts: deque[float] = deque()
        self._waiting: set[anyio.CancelScope] = set()
        self.rate = rate

    @property
    def rate(self) -> float:
        """Starts per second."""
        return self._rate

    @rate.setter
    def rate(self, rate: float) -> None:
        self._rate = rate
        if rate > _MAX_LOGGED:
            # a bucket whose size is taken off its refill needs no log: b + (R - b) = R
            bucket, refill, n_logged = rate / 100, rate * 0.99, 0
        else:
            bucket, refill, n_logged = 1 + max(_SLACK, _SLACK_PART * rate), rate, max(1, math.ceil(rate))
        self._limiter = AsyncLimiter(bucket, bucket / refill)
        self._starts = deque(self._starts, maxlen=n_logged)
        self._window_s = max(1.0, 1 / rate) + _MARGIN_S
        for scope in self._waiting:
            # who waits for a turn at the old rate waits at the new one instead
            scope.cancel()

    def is_free(self) -> bool:
        """Tell whether a request that came now could start at once."""
        starts = self._starts
        is_full = bool(starts) and len(starts) == starts.maxlen
        return not (is_full and starts[0] + self._window_s > now()) and self._limiter.has_capacity()

    async def start(self) -> None:
        """Return when a request may start, and count it."""
        limiter = None
        while True:
            starts = self._starts
            is_full = bool(starts) and len(starts) == starts.maxlen
            early_s = starts[0] + self._window_s - now() if is_full else 0.0
            if early_s > 0:
                await self._unless_changed(anyio.sleep(early_s))
            elif limiter is self._limiter:
                if starts.maxlen:
                    starts.append(now())
                return
            else:
                # last, because who is cancelled in between has taken nothing
                limiter = self._limiter
                if limiter.has_capacity():
                    await limiter.acquire()
                else:
                    await self._unless_changed(limiter.acquire())

    def sent(self) -> None:
        """Say that what was let start last has been sent: it counts from now on.

        On a busy machine the process may be put aside in between, for longer than any margin.
        """
        if self._starts:
            self._starts[-1] = now()

    async def _unless_changed(self, wait: Awaitable[None]) -> None:
        with anyio.CancelScope() as scope:
            self._waiting.add(scope)
            try:
                await wait
            finally:
                self._waiting.discard(scope)

    def __repr__(self) -> str:
        return f"LimiterRate({self.rate:g}/s)"
