from __future__ import annotations

import random
import statistics

import pytest

from benchmarks.simulation.conditions import (
    Collapsing,
    Degrading,
    Flapping,
    Latency,
    MostOpen,
    MostStarts,
    Sizes,
    Speeds,
)

URLS = [f"http://host/{k}" for k in range(4000)]


def test_sizes_have_the_mean_that_was_asked_for_and_span_a_hundredfold():
    conditions = Sizes(1e6, seed=3)
    sizes = [conditions.of(url) for url in URLS]
    assert statistics.fmean(sizes) == pytest.approx(1e6, rel=0.05)
    assert max(sizes) / min(sizes) == pytest.approx(100, rel=0.01)


def test_a_url_has_one_size_and_another_with_another_seed():
    sizes, again, others = (
        [each.of(url) for url in URLS] for each in (Sizes(1e6, 3), Sizes(1e6, 3), Sizes(1e6, 4))
    )
    assert sizes == again
    assert abs(statistics.correlation(sizes, others)) < 0.05


def test_sizes_and_speeds_of_one_seed_do_not_hang_together():
    sizes, speeds = Sizes(1e6, seed=3), Speeds(0.5e6, 4e6, seed=3)
    assert (
        abs(statistics.correlation([sizes.of(url) for url in URLS], [speeds.of(url) for url in URLS])) < 0.05
    )
    assert all(0.5e6 <= speeds.of(url) <= 4e6 for url in URLS)


def test_latency_has_its_median_and_grows_when_connections_wait_their_turn():
    randomness = random.Random(1)
    latency = Latency(0.1, n_at_once=8, n_round_trips=2)
    calm, crowded = ([latency.draw(randomness, n) for _ in range(2000)] for n in (8, 32))
    assert statistics.median(calm) == pytest.approx(0.2, rel=0.1)
    assert statistics.median(crowded) == pytest.approx(0.8, rel=0.1)


def test_a_collapsed_host_recovers_only_when_few_were_open_for_a_while():
    host = Collapsing(100.0, 15.0, n_most=12, n_few=6, few_for_s=5.0)
    assert host.now(12, 0.0)[0] == 100.0
    assert host.now(13, 1.0)[0] == 15.0
    assert host.now(12, 2.0)[0] == 15.0
    assert host.now(6, 3.0) == (15.0, float("inf"))
    assert host.now(5, 4.0) == (15.0, 9.0)
    assert host.now(6, 8.0)[0] == 15.0
    assert host.now(5, 10.0) == (15.0, 15.0)
    assert host.now(5, 14.9)[0] == 15.0
    assert host.now(5, 15.0) == (100.0, float("inf"))
    assert host.now(12, 16.0)[0] == 100.0


def test_a_collapsed_host_that_recovered_collapses_again():
    host = Collapsing(100.0, 15.0, n_most=12, n_few=6, few_for_s=5.0)
    host.now(13, 0.0)
    host.now(2, 1.0)
    assert host.now(13, 7.0)[0] == 15.0
    assert host.now(12, 8.0)[0] == 15.0


def test_a_degrading_host_loses_from_the_first_connection_too_many():
    host = Degrading(40e6, 12, 0.02)
    assert [host.now(n, 0.0)[0] for n in (1, 12, 62)] == [40e6, 40e6, 20e6]


def test_no_second_holds_more_requests_than_a_throttling_host_lets_in():
    door = MostStarts(20)
    let_in = [k / 100 for k in range(1000) if door.answer(0, k / 100) is None]
    assert max(sum(t - 1 < each <= t for each in let_in) for t in let_in) == 20
    assert len(let_in) == 200


def test_a_throttling_host_says_when_to_ask_again():
    assert MostOpen(10).answer(9, 0.0) is None
    refusal = MostOpen(10).answer(10, 0.0)
    assert (refusal.status, refusal.retry_after) == (429, "2")


def test_a_flapping_host_is_down_for_30_to_60_s_after_120_s_in_each_of_three_ways():
    door = Flapping(1000.0, 120.0, (30.0, 60.0), seed=5)
    answers = [door.answer(0, 1000.0 + k) for k in range(3000)]
    outages, length, ways = [], 0, set()
    for answer in answers:
        if answer is not None:
            length += 1
            ways.add(answer.kind)
        elif length:
            outages.append(length)
            length = 0
    assert all(29 <= each <= 61 for each in outages)
    assert len(outages) >= 15
    assert ways == {"refused", "status", "html"}


def test_connections_to_a_flapping_host_break_when_it_goes_down():
    door = Flapping(0.0, 120.0, (30.0, 60.0), seed=5)
    assert door.next_cut(0.0) == 120.0
    assert door.answer(0, 119.9) is None
    assert door.answer(0, 120.0) is not None
