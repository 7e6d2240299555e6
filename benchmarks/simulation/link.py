"""A capacity shared by transfers: pure, the time is an argument.

Every transfer has a speed of its own, and all are slowed by one factor when together they ask for more than the
capacity: with equal speeds s, each of n gets min(s, capacity / n). So one counter, the seconds that an unhindered
transfer would have flowed, serves all of them, and a transfer ends when the counter passes a mark that is known when
it begins. However often the factor changes, an event costs one step of a heap.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["SharedLink", "Transfer"]

# What two readings of a clock at 10^7 s may disagree by; less than a byte at 100 MB/s.
_SAME_S = 1e-8


class Transfer:
    """One body on its way; compared by identity.

    Attributes
    ----------
    size_bytes : int
        The whole body.
    speed_bytes_per_s : float
        How fast it flows when nothing is in its way.
    """

    __slots__ = ("_left_s", "_mark", "is_flowing", "size_bytes", "speed_bytes_per_s")

    def __init__(self, size_bytes: int, speed_bytes_per_s: float) -> None:
        self.size_bytes = size_bytes
        self.speed_bytes_per_s = speed_bytes_per_s
        self.is_flowing = False
        self._left_s = size_bytes / speed_bytes_per_s
        self._mark = 0.0


class SharedLink:
    """A link over which transfers flow side by side.

    Parameters
    ----------
    now : float
        Seconds; must not run backwards afterwards.
    on_flow : callable, optional
        Called with begin, end and bytes of every stretch of time in which something flowed.
    """

    def __init__(self, now: float, on_flow: Callable[[float, float, float], None] | None = None) -> None:
        self.capacity_bytes_per_s = float("inf")
        self._now = now
        self._on_flow = on_flow
        self._counter_s = 0.0
        self._wanted_bytes_per_s = 0.0
        self._n_flowing = 0
        self._marks: list[tuple[float, int, Transfer]] = []
        self._n_begun = 0

    @property
    def n_flowing(self) -> int:
        """How many transfers share the link."""
        return self._n_flowing

    @property
    def factor(self) -> float:
        """By what all transfers are slowed: 1 when there is room for all, 0 when nothing moves."""
        wanted = self._wanted_bytes_per_s
        return 1.0 if wanted <= self.capacity_bytes_per_s else self.capacity_bytes_per_s / wanted

    def begin(self, transfer: Transfer, now: float) -> None:
        """Let a new or a paused transfer flow."""
        self._advance(now)
        self._n_begun += 1
        transfer._mark = self._counter_s + transfer._left_s
        transfer.is_flowing = True
        self._n_flowing += 1
        self._wanted_bytes_per_s += transfer.speed_bytes_per_s
        # The running number keeps equal marks in the order of their beginning, and transfers uncompared.
        heapq.heappush(self._marks, (transfer._mark, self._n_begun, transfer))

    def stop(self, transfer: Transfer, now: float) -> None:
        """Hold a transfer, for a while or for good; nothing happens when it does not flow."""
        if transfer.is_flowing:
            self._advance(now)
            self._take_out(transfer)

    def limit(self, capacity_bytes_per_s: float, now: float) -> None:
        """Set the capacity from now on."""
        if capacity_bytes_per_s != self.capacity_bytes_per_s:
            self._advance(now)
            self.capacity_bytes_per_s = capacity_bytes_per_s

    def received_bytes(self, transfer: Transfer, now: float) -> int:
        """Return how much of a transfer has passed."""
        self._advance(now)
        left_s = transfer._mark - self._counter_s if transfer.is_flowing else transfer._left_s
        return transfer.size_bytes - max(0, round(left_s * transfer.speed_bytes_per_s))

    def take_ended(self, now: float) -> list[Transfer]:
        """Take out and return the transfers that have passed whole, in the order of their ends."""
        self._advance(now)
        ended: list[Transfer] = []
        while (first := self._first()) is not None and first._mark <= self._counter_s + _SAME_S:
            self._take_out(first)
            first._left_s = 0.0
            ended.append(first)
        return ended

    def next_end(self) -> float:
        """Return when the next transfer ends if nothing changes before; infinity when nothing flows."""
        first, factor = self._first(), self.factor
        if first is None or factor == 0.0:
            return float("inf")
        return self._now + max(0.0, first._mark - self._counter_s) / factor

    def _first(self) -> Transfer | None:
        marks = self._marks
        # Those that were stopped stay behind in the heap until they come up, under a mark that is no longer theirs.
        while marks and not (marks[0][2].is_flowing and marks[0][2]._mark == marks[0][0]):
            heapq.heappop(marks)
        return marks[0][2] if marks else None

    def _take_out(self, transfer: Transfer) -> None:
        transfer._left_s = max(0.0, transfer._mark - self._counter_s)
        transfer.is_flowing = False
        self._n_flowing -= 1
        self._wanted_bytes_per_s -= transfer.speed_bytes_per_s
        if not self._n_flowing:
            # Sums of floats drift; an empty link is where they can be set right.
            self._wanted_bytes_per_s = 0.0

    def _advance(self, now: float) -> None:
        elapsed_s = now - self._now
        if elapsed_s <= 0.0:
            return
        if self._n_flowing:
            factor = self.factor
            self._counter_s += elapsed_s * factor
            if self._on_flow is not None:
                self._on_flow(self._now, now, elapsed_s * factor * self._wanted_bytes_per_s)
        self._now = now

    def __repr__(self) -> str:
        return f"SharedLink({self._n_flowing} flowing at {self.factor:.0%} of their speeds)"
