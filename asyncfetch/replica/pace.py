"""How fast the replica lets bytes out and requests in. Pure: ``now`` is an argument."""

from __future__ import annotations

import math
from collections import deque

from asyncfetch.engine.rate import ByteRate

__all__ = ["Pace", "RequestLimit"]


class Pace:
    """When bytes of one connection have passed, where all connections may share a limit.

    Parameters
    ----------
    bytes_per_s : float, optional
        Most bytes per second of this connection.
    shared : ByteRate, optional
        The limit of all connections together, first come, first served.
    """

    def __init__(self, bytes_per_s: float | None = None, shared: ByteRate | None = None) -> None:
        self._rates = [rate for rate in (ByteRate(bytes_per_s) if bytes_per_s else None, shared) if rate]

    def passed_at(self, size_bytes: int, now: float) -> float:
        """Return the time at which bytes that are sent now have passed."""
        return max((rate.take(size_bytes, now).ends for rate in self._rates), default=now)


class RequestLimit:
    """A limit of so many requests in any one second; those beyond it are refused.

    Parameters
    ----------
    requests_per_s : float
        More than 0; below 1 it is one request in so many seconds.
    """

    def __init__(self, requests_per_s: float) -> None:
        self._n = max(1, math.floor(requests_per_s))
        self._window_s = self._n / requests_per_s
        self._admitted: deque[float] = deque(maxlen=self._n)

    def wait_s(self, now: float) -> float:
        """Admit a request and return 0, or refuse it and return the seconds after which one would be admitted."""
        if len(self._admitted) < self._n or now - self._admitted[0] >= self._window_s:
            self._admitted.append(now)
            return 0.0
        return self._window_s - (now - self._admitted[0])
