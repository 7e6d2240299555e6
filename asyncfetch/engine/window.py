"""How many images are asked for at once: sought by goodput. Pure: ``now`` is an argument.

::

    settle ──▶ measure ──▶ probe up or down ──▶ kept, or stepped back ──▶ settle …
                  │
                  └──▶ goodput collapsed: cut by half, see whether that helps, cut again or take it back

Time is the number of connections, whatever the client (100 ms and 4 MB/s a connection: 22 s for twenty images with one,
2.2 s with sixteen), but how many a server bears is nowhere said. So the window asks the only judge there is, the bytes
that all connections bring together:

* It begins small and doubles for as long as each doubling brings a quarter more.
* Then it holds still, and now and then tries one step, an eighth more. The step stays only if goodput rises by 5 %.
  When it does not, a step down is tried next, which stays if goodput does not fall: as many as it takes, and no more.
* A refusal (429, 503, no connection) takes 30 % off and leaves a ceiling that is not tried again for a while, twice as
  long after every refusal. An error never leads to more.
* When goodput falls below half of what it was, without any error, the window is halved until it recovers: some servers
  answer too many connections by serving all of them badly. If a cut only makes it less, it was not our doing, and
  the cut is taken back.

Latency alone decides nothing. Bytes are counted in short bins, and only while every permit is taken and somebody waits
for one: a run that waits for memory, for its own rate or for the processor says nothing about the server. The scatter
of the bins tells how much a mean of them is worth, so that large bodies, which flow evenly, are judged in half a
second, and small ones of a hundred different sizes only when enough of them have come.
"""

from __future__ import annotations

import math
from collections import deque
from itertools import islice
from typing import Literal, NamedTuple

__all__ = ["FixedWindow", "Window", "WindowChange", "WindowReason"]

#: Why a window changed.
WindowReason = Literal["probe", "kept", "stepped back", "cut", "cut taken back", "refused"]

_FIRST_SIZE = 4
# Pages of metadata in flight while no image is. They are few and of all sizes, so that their goodput tells little;
# at 10 requests a second so many make up for two seconds of latency.
_METADATA_ALONE = 24
# What a step must bring: 5 % more on the way up, no more than 2 % less on the way down.
_GAIN_UP = 1.05
_GAIN_DOWN = 0.98
# What a doubling must bring for another doubling.
_GAIN_TO_DOUBLE = 1.25
# One step is an eighth: large enough that 5 % more can come of it.
_STEP = 1 / 8
_BIN_S = 0.1
_LEAST_BINS = 4
_MAX_BINS = 100
# A mean is trusted once its standard error is this part of it, or once the most bins are in: a doubling shows soon.
_GOOD_ERROR, _GOOD_ERROR_TO_DOUBLE = 0.03, 0.15
_MAX_BINS_TO_DOUBLE = 40
# Bins in which the window was full for less than this part say nothing.
_FULL_PART = 0.8
_COLLAPSED = 0.5
_RECOVERED = 0.8
_MUCH_BETTER = 1.5
_COLLAPSED_BINS = 10
# A cut that leaves less than this of what came before it did not help.
_CUT_HURTS = 0.7
# A server that was overrun takes a while to recover.
_PATIENCE_AFTER_CUT_S = 8.0
_REFUSED_FACTOR = 0.7
# Refusals that follow one another sooner than this are one trouble.
_SAME_TROUBLE_S = 60.0
_WENT_WELL_S = 30.0
_FIRST_HOLD_S, _LAST_HOLD_S = 4.0, 60.0
_FIRST_CEILING_S, _LAST_CEILING_S = 120.0, 1800.0
_LEAST_SETTLING_S, _MAX_SETTLING_S = 0.1, 2.0


class WindowChange(NamedTuple):
    """A change of the window: from how many to how many, why, and at which goodput in bytes/s."""

    before: int
    after: int
    reason: WindowReason
    goodput_bytes_per_s: float


class _Unrefused(NamedTuple):
    """What a window was before a trouble's first refusal."""

    size: int
    is_doubling: bool
    ceiling: int | None
    ceiling_s: float
    ceiling_ends: float


class FixedWindow:
    """A window of a fixed size, which learns nothing.

    Parameters
    ----------
    size : int
        Images at once.
    """

    def __init__(self, size: int) -> None:
        self.size = size

    @property
    def metadata_size(self) -> int:
        """How many requests for metadata may be in flight while none for an image is."""
        return self.size

    def filled(self, is_full: bool, now: float) -> None:
        """Note whether every permit is taken and somebody waits for one."""

    def first_byte(self, elapsed_s: float) -> None:
        """Note how long a reply took to begin."""

    def received(self, size_bytes: int, now: float) -> WindowChange | None:
        """Count bytes of a body."""

    def refused(self, opened: float, now: float) -> WindowChange | None:
        """Note that the server refused a request."""

    def interrupted(self, now: float) -> None:
        """Note that nothing may start for a while, or again."""

    def outage(self, now: float) -> None:
        """Note that the server answers nobody, so that its latest refusals were not about how many asked."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.size})"


class _Bins:
    """The goodput of the latest bins, in bytes/s."""

    def __init__(self) -> None:
        self._values: deque[float] = deque()
        # kept as they go, since they are asked for at every bin
        self._sum = 0.0
        self._sum_of_squares = 0.0

    def add(self, goodput: float) -> None:
        if len(self._values) == _MAX_BINS:
            self._count(self._values.popleft(), -1)
        self._values.append(goodput)
        self._count(goodput, 1)

    def clear(self) -> None:
        self._values.clear()
        self._sum = self._sum_of_squares = 0.0

    def _count(self, goodput: float, sign: int) -> None:
        self._sum += sign * goodput
        self._sum_of_squares += sign * goodput * goodput

    def __len__(self) -> int:
        return len(self._values)

    @property
    def mean(self) -> float:
        return self._sum / len(self._values) if self._values else 0.0

    @property
    def error(self) -> float:
        """The standard error of the mean, as a part of it. Bins one after another are not independent: doubled."""
        n, mean = len(self._values), self.mean
        if n < 2 or mean <= 0:
            return math.inf
        variance = max(0.0, self._sum_of_squares - n * mean * mean) / (n - 1)
        return 2 * math.sqrt(variance / n) / mean

    def latest(self, n: int) -> float:
        """Return the mean of the last ``n``."""
        n = min(n, len(self._values))
        return sum(islice(reversed(self._values), n)) / n if n else 0.0


class Window(FixedWindow):
    """The number of images at once, always on the way to the one that brings the most bytes per second.

    Parameters
    ----------
    most : int
        Never more than these.
    first : int
        How many it begins with.
    """

    def __init__(self, most: int, first: int = _FIRST_SIZE) -> None:
        super().__init__(min(first, most))
        self.most = most
        self._is_doubling = True
        # what is measured
        self._bins = _Bins()
        self._bin_begins = -math.inf
        self._bin_bytes = 0
        self._full_s = 0.0
        self._full_since: float | None = None
        self._latency_s = 0.0
        self._settles_at = -math.inf
        # a probe: the size before it, and what that brought
        self._before: int | None = None
        self._reference = 0.0
        self._reference_error = math.inf
        # a collapse: for how many bins goodput has been low
        self._n_low = 0
        # a cut: the size before it, the size before the first of several, and what was left before it
        self._uncut: int | None = None
        self._collapsed_size = 0
        self._collapsed = 0.0
        self._gives_up_at = math.inf
        # what is remembered
        self._good = 0.0
        self._good_size = self.size
        self._direction = 1
        self._hold_s = _FIRST_HOLD_S
        self._probes_at = -math.inf
        self._ceiling: int | None = None
        self._ceiling_s = _FIRST_CEILING_S
        self._ceiling_ends = -math.inf
        self._refused_at = -math.inf
        self._changed_at = math.inf
        self._unrefused: _Unrefused | None = None

    @property
    def metadata_size(self) -> int:
        """How many requests for metadata may be in flight while none for an image is, unless some were refused."""
        is_at_ease = self._ceiling is None and self.size >= _FIRST_SIZE
        return max(self.size, min(_METADATA_ALONE, self.most)) if is_at_ease else self.size

    def filled(self, is_full: bool, now: float) -> None:
        """Note whether every permit is taken and somebody waits for one."""
        if is_full == (self._full_since is not None):
            return
        if is_full:
            self._full_since = now
        else:
            self._add_full(now)
            self._full_since = None

    def first_byte(self, elapsed_s: float) -> None:
        """Note how long a reply took to begin."""
        self._latency_s = elapsed_s if not self._latency_s else 0.8 * self._latency_s + 0.2 * elapsed_s

    def received(self, size_bytes: int, now: float) -> WindowChange | None:
        """Count bytes of a body.

        Parameters
        ----------
        size_bytes : int
            As they came over the wire.
        now : float
            Seconds; must not run backwards.

        Returns
        -------
        WindowChange or None
            What was decided, if anything; ``size`` has changed already.
        """
        change = None
        elapsed = now - self._bin_begins
        if elapsed >= _BIN_S:
            change = self._close_bin(elapsed, now)
        self._bin_bytes += size_bytes
        return change

    def refused(self, opened: float, now: float) -> WindowChange | None:
        """Note that the server refused a request, or cut it off.

        Parameters
        ----------
        opened : float
            When the request was sent: what was sent before the last cut says nothing about what came of it.
        now : float
            Seconds.

        Returns
        -------
        WindowChange or None
            The cut.
        """
        if opened < self._refused_at:
            return None
        if self._unrefused is None or now - self._refused_at > _SAME_TROUBLE_S:
            self._unrefused = _Unrefused(
                min(self._before or self.size, self.size),
                self._is_doubling,
                self._ceiling,
                self._ceiling_s,
                self._ceiling_ends,
            )
        self._refused_at = now
        self._is_doubling = False
        # a size that went well for long may be had again: it was hardly the number that was refused
        went_well = now - self._changed_at > _WENT_WELL_S
        self._put_ceiling(self.size + went_well, now)
        self._before = self._uncut = None
        return self._change(max(1, int(self.size * _REFUSED_FACTOR)), "refused", now)

    def interrupted(self, now: float) -> None:
        """Note that nothing may start for a while, or again: what was being measured does not count."""
        if self._before is not None:
            if self.size < self._before:
                # trouble never leads to more, so a step down that is not proved stays, and one up is tried next
                self._direction = 1
                self._rest(now)
            self.size = min(self.size, self._before)
            self._before = None
        self._settle(now)

    def outage(self, now: float) -> None:
        """Note that the server answers nobody, so that its latest refusals were not about how many asked.

        What they took off is given back.
        """
        if self._unrefused is not None and now - self._refused_at <= _SAME_TROUBLE_S:
            self.size, self._is_doubling, self._ceiling, self._ceiling_s, self._ceiling_ends = self._unrefused
            self._before = self._uncut = None
        self._unrefused = None
        self._settle(now)

    def _close_bin(self, elapsed: float, now: float) -> WindowChange | None:
        self._add_full(now)
        is_full = self._full_s >= _FULL_PART * elapsed
        goodput = self._bin_bytes / elapsed
        self._bin_begins, self._bin_bytes, self._full_s = now, 0, 0.0
        if not is_full or now < self._settles_at or not math.isfinite(elapsed):
            return None
        self._bins.add(goodput)
        if self._uncut is not None:
            return self._judge_cut(now)
        if self._before is not None:
            return self._judge_probe(now)
        return self._judge_hold(now)

    def _add_full(self, now: float) -> None:
        if self._full_since is not None:
            self._full_s += now - max(self._full_since, self._bin_begins)

    def _judge_hold(self, now: float) -> WindowChange | None:
        n = len(self._bins)
        is_low = n >= _COLLAPSED_BINS and self._bins.latest(_COLLAPSED_BINS) < _COLLAPSED * self._expected
        self._n_low = self._n_low + 1 if is_low else 0
        if self._n_low >= _COLLAPSED_BINS:
            # the mean of the latest bins holds no better ones any more: what a cut brings is measured against it
            return self._cut(now)
        good_error = _GOOD_ERROR_TO_DOUBLE if self._is_doubling else _GOOD_ERROR
        max_bins = _MAX_BINS_TO_DOUBLE if self._is_doubling else _MAX_BINS
        if n < _LEAST_BINS or (self._bins.error > good_error and n < max_bins):
            return None
        if self._bins.latest(_COLLAPSED_BINS) < _COLLAPSED * self._expected:
            # it looks like a collapse, of which a few bins more will tell: nothing is learnt from it
            return None
        if self.size == self._good_size:
            # the server has more to give than it had, so it is found out again how much
            self._is_doubling |= self._bins.mean > _MUCH_BETTER * self._good > 0
        if self.size == self._good_size or self._bins.mean > self._good:
            self._good, self._good_size = self._bins.mean, self.size
        if now < self._probes_at and not self._is_doubling:
            return None
        size = self._next_size(now)
        if size == self.size:
            # there is no way on, so the other way is tried next
            self._is_doubling = False
            self._direction = -self._direction
            self._rest(now)
            return None
        self._before = self.size
        self._reference, self._reference_error = self._bins.mean, self._bins.error
        return self._change(size, "probe", now)

    def _judge_probe(self, now: float) -> WindowChange | None:
        before, n = self._before, len(self._bins)
        assert before is not None, "a probe has a size before it"
        if n < _LEAST_BINS or self._reference <= 0:
            return None
        gain = self._bins.mean / self._reference
        is_up = self.size > before
        least = _GAIN_UP if is_up else _GAIN_DOWN
        uncertain = gain * math.hypot(self._bins.error, self._reference_error)
        if abs(gain - least) < uncertain and n < _MAX_BINS:
            return None
        self._before = None
        if gain >= least:
            self._good, self._good_size = self._bins.mean, self.size
            self._is_doubling &= gain >= _GAIN_TO_DOUBLE
            self._hold_s, self._probes_at = _FIRST_HOLD_S, now
            # the bins stay: what was measured is what is held now
            return WindowChange(before, self.size, "kept", self._bins.mean)
        self._is_doubling = False
        if gain < _COLLAPSED:
            self._put_ceiling(self.size, now)
        self._direction = -self._direction
        self._rest(now)
        return self._change(before, "stepped back", now)

    def _judge_cut(self, now: float) -> WindowChange | None:
        uncut = self._uncut
        assert uncut is not None, "a cut has a size before it"
        if len(self._bins) < _COLLAPSED_BINS:
            return None
        goodput = self._bins.latest(_COLLAPSED_BINS)
        if goodput < _CUT_HURTS * self._collapsed:
            self._uncut = None
            self._good, self._good_size = self._collapsed, uncut
            self._rest(now)
            return self._change(uncut, "cut taken back", now)
        if goodput >= _RECOVERED * self._expected:
            # climb again, but not to where it collapsed; a ceiling that a probe left says better where that was
            self._uncut = None
            if self._ceiling is None or now >= self._ceiling_ends:
                self._put_ceiling(self._collapsed_size, now)
            self._good, self._good_size = goodput, self.size
            self._is_doubling = True
            return None
        if now < self._gives_up_at:
            return None
        if self.size == 1:
            self._uncut = None
            self._good, self._good_size = goodput, 1
            self._rest(now)
            return None
        return self._cut(now)

    @property
    def _expected(self) -> float:
        """What this size should bring at the least: fewer connections than before bring their part."""
        return self._good * min(1.0, self.size / self._good_size)

    def _cut(self, now: float) -> WindowChange | None:
        if self.size == 1:
            self._good, self._good_size = self._bins.mean, 1
            return None
        self._collapsed = self._bins.latest(_COLLAPSED_BINS)
        if self._uncut is None:
            self._collapsed_size = self.size
        self._uncut = self.size
        self._before = None
        self._is_doubling = False
        change = self._change(max(1, self.size // 2), "cut", now)
        self._gives_up_at = self._settles_at + _PATIENCE_AFTER_CUT_S
        return change

    def _next_size(self, now: float) -> int:
        step = max(1, math.ceil(self.size * _STEP))
        if self._is_doubling:
            step = self.size
        elif self._direction < 0:
            return max(1, self.size - step)
        most = self.most
        if self._ceiling is not None and now < self._ceiling_ends:
            most = min(most, self._ceiling - 1)
            if self._is_doubling:
                # halfway to where it went wrong
                step = max(1, (self._ceiling - self.size) // 2)
        return max(self.size, min(self.size + step, most))

    def _put_ceiling(self, size: int, now: float) -> None:
        self._ceiling = size
        self._ceiling_ends = now + self._ceiling_s
        self._ceiling_s = min(2 * self._ceiling_s, _LAST_CEILING_S)

    def _rest(self, now: float) -> None:
        self._probes_at = now + self._hold_s
        self._hold_s = min(1.5 * self._hold_s, _LAST_HOLD_S)

    def _change(self, size: int, reason: WindowReason, now: float) -> WindowChange:
        change = WindowChange(self.size, size, reason, self._bins.mean)
        self.size = size
        self._changed_at = now
        self._settle(now)
        return change

    def _settle(self, now: float) -> None:
        settling_s = min(max(_LEAST_SETTLING_S, 2 * self._latency_s), _MAX_SETTLING_S)
        self._settles_at = now + settling_s
        self._bins.clear()
        self._n_low = 0
        self._bin_begins, self._bin_bytes, self._full_s = now, 0, 0.0
