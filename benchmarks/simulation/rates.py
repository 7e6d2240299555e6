"""Whether the rate is kept: many starts in virtual time, every one-second window looked at."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.simulation.kinds import KINDS
from benchmarks.simulation.runs import simulate

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["RateCheck", "check_rate", "most_in_a_second"]


class RateCheck(NamedTuple):
    """What one limit came to.

    ``most`` starts were in the fullest window (t − 1 s, t]; ``use`` is the part of the limit that was used from the
    first start to the last.
    """

    requests_per_s: float
    n_starts: int
    most: int
    use: float


def check_rate(requests_per_s: float, n_requests: int, seed: int = 0) -> RateCheck:
    """Run small requests as fast as the limit allows and count their starts."""
    run = simulate(
        KINDS["small_replies"], 64, seed, seconds=None, n_requests=n_requests, requests_per_s=requests_per_s
    )
    starts = run.tally.starts
    use = (len(starts) - 1) / (requests_per_s * (starts[-1] - starts[0]))
    return RateCheck(requests_per_s, len(starts), most_in_a_second(starts), use)


def most_in_a_second(starts: Sequence[float]) -> int:
    """Return how many starts the fullest window (t − 1 s, t] holds; it ends with a start."""
    return max(k + 1 - bisect_right(starts, start - 1.0) for k, start in enumerate(starts))
