"""What the events of a run add up to."""

from __future__ import annotations

import msgspec
import pytest

from asyncfetch.events import (
    BudgetGranted,
    DataSetCompleted,
    HostPaused,
    OutageBegan,
    OutageEnded,
    RequestAccepted,
    RequestFailed,
    RequestFinished,
    RequestHedged,
    RequestRetried,
    RequestStarted,
    RunFinished,
    SectionStored,
    WindowChanged,
)
from asyncfetch.metrics import Histogram, Metrics

IMAGE = {"url": "http://x/1", "kind": "image", "attempt": 1}
ROWS = {"url": "http://x/rows", "kind": "metadata", "attempt": 1}
EVENTS = [
    BudgetGranted(size_bytes=100, waited_s=0.5),
    RequestStarted(**ROWS),
    RequestStarted(**IMAGE),
    RequestStarted(**IMAGE),
    RequestRetried(**IMAGE, error="StallError", cause="no byte", delay_s=2.0),
    RequestRetried(**IMAGE, error="StallError", cause="no byte", delay_s=1.0),
    RequestRetried(**IMAGE, error="StatusError", cause="busy", delay_s=0.0),
    RequestHedged(**IMAGE, after_s=1.0),
    RequestFinished(
        **IMAGE,
        status=200,
        size_bytes=10**6,
        elapsed_s=4.0,
        waited_window_s=0.1,
        waited_host_s=0.2,
        waited_rate_s=0.3,
    ),
    RequestFinished(**ROWS, status=200, size_bytes=10**3, elapsed_s=1.0),
    RequestAccepted(**IMAGE, check_s=0.6),
    RequestAccepted(**ROWS, check_s=9.0),
    RequestFailed(**IMAGE, error="NotFoundError", cause="none"),
    SectionStored(image_id=1, view="image", elapsed_s=0.7),
    WindowChanged(before=4, after=8, reason="probe", goodput_bytes_per_s=1e6),
    WindowChanged(before=8, after=5, reason="refused", goodput_bytes_per_s=1e6),
    HostPaused(delay_s=2.0, cause="busy"),
    OutageBegan(cause="down"),
    OutageBegan(cause="down"),
    OutageEnded(elapsed_s=60.0),
    # of which nothing is counted
    DataSetCompleted(data_set_id=7),
    RunFinished(n_committed=1, n_skipped=0, n_failed=0, elapsed_s=1.0),
]


def metrics_of(events):
    metrics = Metrics()
    for event in events:
        metrics(event)
    return metrics


def test_every_counter_counts_what_its_events_say():
    metrics = metrics_of(EVENTS)
    assert metrics.n_requests == {"metadata": 1, "image": 2}
    assert metrics.n_retries == {"StallError": 2, "StatusError": 1}
    assert metrics.n_failures == {"NotFoundError": 1}
    assert (metrics.n_hedged, metrics.n_pauses, metrics.n_outages) == (1, 1, 2)
    assert metrics.received_bytes == 10**6 + 10**3
    assert metrics.outage_s == 60.0
    assert (metrics.window, metrics.max_window) == (5, 8)
    assert metrics.waiting_s == pytest.approx(
        {
            "budget": 0.5,
            "retry": 3.0,
            "window": 0.1,
            "host": 0.2,
            "rate": 0.3,
            "server": 5.0,
            # the rows are read, not decoded
            "decode": 0.6,
            "write": 0.7,
        }
    )
    assert (metrics.request_s.n, metrics.request_s.total) == (2, 5.0)
    assert (metrics.body_bytes.n, metrics.body_bytes.total) == (2, 10**6 + 10**3)


def test_nothing_is_counted_before_anything_happened():
    metrics = Metrics()
    assert metrics.held_back_by() == {}
    assert metrics.request_s.quantile(0.5) == 0.0
    assert metrics == Metrics()


@pytest.mark.parametrize("unit", ["s", "bytes"])
def test_a_quantile_is_right_to_the_width_of_a_bin(unit):
    histogram = Histogram(unit)
    values = sorted(10 ** (2 + 4 * k / 999) for k in range(1000))
    for value in values:
        histogram.add(value)
    for part in (0.01, 0.25, 0.5, 0.95, 1.0):
        exact = values[round(part * 1000) - 1]
        bound = min(histogram.quantile(part), histogram.bounds[-1])
        assert min(exact, histogram.bounds[-1]) <= bound * (1 + 1e-9)
        assert bound <= exact * 10**0.25 * (1 + 1e-9)


def test_a_value_on_a_bound_belongs_to_the_bin_below_it():
    histogram = Histogram("s")
    for bound in histogram.bounds:
        histogram.add(bound)
    assert histogram.counts == [1] * len(histogram.bounds) + [0]


def test_values_beyond_both_ends_are_counted():
    histogram = Histogram("s")
    histogram.add(0.0)
    histogram.add(1e9)
    assert (histogram.counts[0], histogram.counts[-1], histogram.n) == (1, 1, 2)
    assert histogram.quantile(0.5) == pytest.approx(1e-3)
    assert histogram.quantile(1.0) == pytest.approx(1e4)


def test_a_sum_is_what_all_events_together_give():
    for cut in range(len(EVENTS) + 1):
        total = metrics_of(EVENTS[:cut]) + metrics_of(EVENTS[cut:])
        whole = metrics_of(EVENTS)
        assert total.waiting_s == pytest.approx(whole.waiting_s)
        assert msgspec.structs.replace(total, waiting_s={}) == msgspec.structs.replace(whole, waiting_s={})


def test_a_sum_shares_nothing_with_what_it_was_made_of():
    ours, theirs = metrics_of(EVENTS), Metrics()
    total = ours + theirs
    for event in EVENTS:
        total(event)
    assert ours == metrics_of(EVENTS)
    assert theirs == Metrics()


def test_shares_sum_to_one_and_the_largest_comes_first():
    shares = metrics_of(EVENTS).held_back_by()
    assert sum(shares.values()) == pytest.approx(1.0)
    assert list(shares.values()) == sorted(shares.values(), reverse=True)
    assert next(iter(shares)) == "server"


@pytest.mark.parametrize(
    ("waiting_s", "shares"),
    [
        # those with a place wait for the server: more places might help
        ({"window": 6.0, "server": 2.0}, {"window": 0.75, "server": 0.25}),
        # they wait for the rate: more places would not help
        ({"window": 6.0, "rate": 2.0}, {"rate": 1.0}),
        ({"window": 4.0, "host": 3.0, "server": 1.0}, {"host": 0.75, "window": 0.125, "server": 0.125}),
        # nobody has come back yet
        ({"window": 2.0}, {"window": 1.0}),
        ({"budget": 3.0, "decode": 1.0, "write": 0.0}, {"budget": 0.75, "decode": 0.25}),
    ],
)
def test_waiting_for_a_place_counts_for_what_those_inside_wait_for(waiting_s, shares):
    assert Metrics(waiting_s=waiting_s).held_back_by() == pytest.approx(shares)


def test_figures_go_through_json_and_come_back():
    metrics = metrics_of(EVENTS)
    assert msgspec.json.decode(msgspec.json.encode(metrics), type=Metrics) == metrics
