"""When a second request is sent for the same image: pure, off unless it is asked for.

A server behind many caches answers almost all requests alike and a few of them very late (HTTP-9: about one
download in ten hung on a related service). A second request for one of those often comes back long before the first.
It is sent once the first takes half as long again as 95 % of the latest successes took, and never for more than one
request in twenty, so that a slow server does not get twice the work for being slow.
"""

from __future__ import annotations

from collections import deque

__all__ = ["HedgePolicy"]

_LATEST = 200
_LEAST_KNOWN = 20
_QUANTILE = 0.95
_PATIENCE = 1.5
_EARNED_BY_REQUEST = 0.05
_MAX_TOKENS = 5.0


class HedgePolicy:
    """The rule by which a request is sent a second time: after how long."""

    def __init__(self) -> None:
        self._elapsed_s: deque[float] = deque(maxlen=_LATEST)
        self._tokens = 1.0

    def succeeded(self, elapsed_s: float) -> None:
        """Learn how long a request took, which earns a twentieth of a second request."""
        self._elapsed_s.append(elapsed_s)
        self._tokens = min(_MAX_TOKENS, self._tokens + _EARNED_BY_REQUEST)

    def after_s(self) -> float | None:
        """Return the seconds after which a request counts as late; None while too little is known."""
        if len(self._elapsed_s) < _LEAST_KNOWN:
            return None
        ordered = sorted(self._elapsed_s)
        return _PATIENCE * ordered[int(_QUANTILE * (len(ordered) - 1))]

    def take(self) -> bool:
        """Take the right to send a second request, if there is one left."""
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

    def __repr__(self) -> str:
        return f"HedgePolicy({len(self._elapsed_s)} known, {self._tokens:g} tokens)"
