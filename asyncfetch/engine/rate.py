"""How fast things may start and arrive: requests per second, and bytes per second.

:class:`ByteRate` is pure: ``now`` is an argument. :class:`RequestRate` is the seam behind which requests are
counted; aiolimiter stands behind it (see :mod:`asyncfetch.engine.limiter`).
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

__all__ = ["ByteRate", "RequestRate", "Turn"]


class RequestRate(Protocol):
    """A rate of requests: they start one by one, never more of them in any one second than the rate.

    Attributes
    ----------
    rate : float
        Starts per second; may be set at any time and holds for the starts that follow.
    """

    rate: float

    def is_free(self) -> bool:
        """Tell whether a request that came now could start at once."""
        ...

    async def start(self) -> None:
        """Return when a request may start, and count it."""
        ...

    def sent(self) -> None:
        """Say that what was let start last has been sent: it counts from now on."""
        ...


class Turn(NamedTuple):
    """The stretch of time in which some bytes pass: seconds on the clock that ``now`` is read from."""

    begins: float
    ends: float


class ByteRate:
    """A rate of bytes, which pass in the order in which they ask, so many per second.

    Every request gets the stretch of time that its bytes fill at the full rate, and stretches follow one
    another without overlap. So no one-second window carries more than ``bytes_per_s``, and a large request
    waits for what stands before it and for nothing that comes after: it cannot starve. Idle time is not saved
    up; there is no burst.

    Parameters
    ----------
    bytes_per_s : float
        More than 0; may be changed at any time, and holds for what asks from then on.
    """

    def __init__(self, bytes_per_s: float) -> None:
        self.bytes_per_s = bytes_per_s
        self._free_at = float("-inf")

    def take(self, size_bytes: int, now: float) -> Turn:
        """Give the next stretch of time to ``size_bytes``.

        Parameters
        ----------
        size_bytes : int
            How many bytes are to pass; 0 or more.
        now : float
            Seconds; must not run backwards.

        Returns
        -------
        Turn
            The bytes have passed at ``ends``; whoever sent them waits until then.
        """
        begins = max(now, self._free_at)
        self._free_at = begins + size_bytes / self.bytes_per_s
        return Turn(begins, self._free_at)

    def __repr__(self) -> str:
        return f"ByteRate({self.bytes_per_s:g} B/s, free at {self._free_at:.3f})"
