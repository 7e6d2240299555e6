from __future__ import annotations

import functools
from typing import NamedTuple

import pytest

from benchmarks.simulation.kinds import KINDS
from benchmarks.simulation.rates import check_rate
from benchmarks.simulation.runs import FIXED, simulate


class Bar(NamedTuple):
    """What the adaptive window has to reach on a host, beside the fixed window that is best there."""

    best_jobs: int
    seconds: float
    since_s: float = 0.0
    least: float = 0.9


BARS = {
    "fast": Bar(6, 120.0),
    "slow_per_connection": Bar(64, 300.0),
    "capped_in_all": Bar(24, 180.0),
    "throttling_starts": Bar(4, 180.0),
    "throttling_open": Bar(8, 180.0),
    "collapsing": Bar(12, 300.0, since_s=120.0, least=0.8),
    "flapping": Bar(16, 330.0),
    "queueing": Bar(16, 180.0),
    "small_replies": Bar(64, 240.0, since_s=120.0),
}
bars = pytest.mark.parametrize("name", BARS)


@functools.cache
def run(name, jobs, seed):
    # A window that does not move shows in a minute what it shows in five, unless the host changes by itself.
    is_steady = jobs != "auto" and name != "flapping"
    return simulate(KINDS[name], jobs, seed, seconds=60.0 if is_steady else BARS[name].seconds)


def goodput(name, jobs, seed):
    return run(name, jobs, seed).goodput(BARS[name].since_s if jobs == "auto" else 0.0)


@bars
def test_the_window_finds_the_goodput_of_the_best_fixed_one(name):
    assert goodput(name, "auto", 1) >= BARS[name].least * goodput(name, BARS[name].best_jobs, 1)


@bars
def test_the_window_never_brings_less_than_one_at_a_time(name):
    assert goodput(name, "auto", 1) >= goodput(name, 1, 1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3, 4, 5])
@bars
def test_the_window_finds_the_best_goodput_whatever_the_seed(name, seed):
    assert goodput(name, "auto", seed) >= BARS[name].least * goodput(name, BARS[name].best_jobs, seed)


@pytest.mark.slow
@bars
def test_the_best_fixed_windows_are_the_best(name):
    best = max(goodput(name, jobs, 1) for jobs in FIXED)
    assert goodput(name, BARS[name].best_jobs, 1) >= 0.97 * best


def test_a_host_that_asks_for_pauses_gets_hardly_any_request_that_it_refuses():
    throttled = run("throttling_open", "auto", 1)
    assert throttled.tally.all_errors()["429"] <= 0.02 * len(throttled.tally.starts)
    assert not throttled.failures


def test_outages_cost_no_request():
    flapped = run("flapping", "auto", 1)
    assert flapped.tally.all_errors().total() > 0
    assert not flapped.failures


@pytest.mark.parametrize("limit", [5, 20, 50])
def test_no_second_holds_more_starts_than_the_limit_and_the_limit_is_used(limit):
    check = check_rate(limit, 2000)
    assert check.most <= limit
    assert check.use >= 0.98


@pytest.mark.slow
@pytest.mark.parametrize("limit", [5, 20, 50])
def test_a_hundred_thousand_starts_keep_the_limit(limit):
    check = check_rate(limit, 100_000)
    assert check.most <= limit
    assert check.use >= 0.98
