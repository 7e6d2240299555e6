"""What happened at a host, over time, in bins that follow one another."""

from __future__ import annotations

from array import array
from collections import Counter

__all__ = ["Tally"]


class Tally:
    """Counts of what happens at a host.

    Parameters
    ----------
    begins : float
        Seconds on the host's clock; where the first bin begins.
    bin_s : float
        Seconds of one bin.

    Attributes
    ----------
    starts : array of float64
        Seconds since ``begins`` at which requests came, in order.
    sent_bytes, lost_bytes : list of float
        For each bin: what flowed, and of that what belonged to bodies that never came whole.
    open_s : list of float
        For each bin: seconds of open connections, all connections together.
    errors : list of Counter
        For each bin: errors by name.
    n_whole, whole_bytes : int
        Bodies that came whole.
    """

    def __init__(self, begins: float, bin_s: float = 1.0) -> None:
        self.begins = begins
        self.bin_s = bin_s
        self.starts = array("d")
        self.sent_bytes: list[float] = []
        self.lost_bytes: list[float] = []
        self.open_s: list[float] = []
        self.errors: list[Counter[str]] = []
        self.n_whole = 0
        self.whole_bytes = 0
        self.n_open = 0
        self.most_open = 0
        self._open_since = begins

    def opened(self, now: float) -> None:
        """Note that a request came."""
        self.starts.append(now - self.begins)
        self._count_open(now)
        self.n_open += 1
        self.most_open = max(self.most_open, self.n_open)

    def closed(self, now: float) -> None:
        """Note that a connection is no longer busy."""
        self._count_open(now)
        self.n_open -= 1

    def flowed(self, begin: float, end: float, n_bytes: float) -> None:
        """Spread bytes evenly over a stretch of time."""
        self._spread(self.sent_bytes, begin, end, n_bytes)

    def came_whole(self, n_bytes: int) -> None:
        """Note a body that came to its end."""
        self.n_whole += 1
        self.whole_bytes += n_bytes

    def broke(self, received_bytes: int, now: float) -> None:
        """Note that what had come of a body is lost."""
        self._spread(self.lost_bytes, now, now, received_bytes)

    def erred(self, name: str, now: float) -> None:
        """Note an error by its name."""
        k = self._bin(now)
        while len(self.errors) <= k:
            self.errors.append(Counter())
        self.errors[k][name] += 1

    def finish(self, now: float) -> None:
        """Count open connections up to now."""
        self._count_open(now)

    def rates(self, end: float, step_s: float) -> list[float]:
        """Return bytes/s of bodies, lost ones left out, for each ``step_s`` up to ``end`` seconds after the begin."""
        k = round(step_s / self.bin_s)
        n = int(end / step_s + 1e-9)
        return [
            (sum(self.sent_bytes[i * k : i * k + k]) - sum(self.lost_bytes[i * k : i * k + k])) / step_s
            for i in range(n)
        ]

    def mean_rate(self, begin_s: float, end_s: float) -> float:
        """Return bytes/s of bodies, lost ones left out, between two times since the begin."""
        i, j = round(begin_s / self.bin_s), round(end_s / self.bin_s)
        return (sum(self.sent_bytes[i:j]) - sum(self.lost_bytes[i:j])) / ((j - i) * self.bin_s)

    def mean_open(self, end: float, step_s: float) -> list[float]:
        """Return the mean number of open connections for each ``step_s`` up to ``end``."""
        k = round(step_s / self.bin_s)
        return [sum(self.open_s[i * k : i * k + k]) / step_s for i in range(int(end / step_s + 1e-9))]

    def all_errors(self) -> Counter[str]:
        """Return the errors by name."""
        return sum(self.errors, Counter())

    def _count_open(self, now: float) -> None:
        if self.n_open and now > self._open_since:
            self._spread(self.open_s, self._open_since, now, self.n_open * (now - self._open_since))
        self._open_since = now

    def _bin(self, now: float) -> int:
        return int((now - self.begins) / self.bin_s)

    def _spread(self, bins: list[float], begin: float, end: float, amount: float) -> None:
        first, last = self._bin(begin), self._bin(end)
        if len(bins) <= last:
            bins.extend([0.0] * (last + 1 - len(bins)))
        if first == last:
            bins[first] += amount
            return
        each = amount / (end - begin)
        for k in range(first, last + 1):
            since = max(begin, self.begins + k * self.bin_s)
            until = min(end, self.begins + (k + 1) * self.bin_s)
            bins[k] += each * max(0.0, until - since)
