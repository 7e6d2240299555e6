from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.simulation.link import SharedLink, Transfer

arrivals = st.lists(
    st.tuples(st.floats(0, 10), st.integers(1, 10**6), st.floats(1e3, 1e6)), min_size=1, max_size=12
)
capacities = st.floats(1e3, 1e6)


def play(arrivals, capacity):
    """Return the time at which each transfer ends, and the stretches of flow."""
    stretches = []
    link = SharedLink(0.0, lambda *stretch: stretches.append(stretch))
    link.limit(capacity, 0.0)
    arrivals = sorted(arrivals)
    transfers = [Transfer(size, speed) for _, size, speed in arrivals]
    ends, k = {}, 0
    while len(ends) < len(transfers):
        comes = arrivals[k][0] if k < len(arrivals) else float("inf")
        now = min(comes, link.next_end())
        ends |= dict.fromkeys(link.take_ended(now), now)
        if now == comes:
            link.begin(transfers[k], now)
            k += 1
    ended = [(*arrival, ends[transfer]) for arrival, transfer in zip(arrivals, transfers, strict=True)]
    return ended, stretches


def play_slowly(arrivals, capacity, step_s):
    """Be the oracle: small steps of time, each transfer with its share of each."""
    left = {k: float(size) for k, (_, size, _) in enumerate(arrivals)}
    ends, now = {}, 0.0
    while left:
        flowing = [k for k in left if arrivals[k][0] <= now]
        wanted = sum(arrivals[k][2] for k in flowing)
        factor = min(1.0, capacity / wanted) if flowing else 1.0
        now += step_s
        for k in flowing:
            left[k] -= arrivals[k][2] * factor * step_s
            if left[k] <= 0:
                del left[k]
                ends[k] = now
    return ends


@given(arrivals, capacities)
def test_what_flowed_is_what_was_sent(arrivals, capacity):
    ended, stretches = play(arrivals, capacity)
    assert sum(n_bytes for _, _, n_bytes in stretches) == pytest.approx(sum(size for _, size, _, _ in ended))


@given(arrivals, capacities)
def test_nothing_flows_faster_than_the_capacity_or_than_its_own_speed(arrivals, capacity):
    ended, stretches = play(arrivals, capacity)
    for begin, end, n_bytes in stretches:
        assert n_bytes <= capacity * (end - begin) * (1 + 1e-9) + 1e-6
    for begin, size, speed, end in ended:
        assert end - begin >= size / speed - 1e-6


def test_shares_are_those_of_small_steps():
    arrivals = [
        (0.0, 40_000, 10e3),
        (1.0, 5_000, 10e3),
        (1.5, 80_000, 30e3),
        (2.0, 10_000, 10e3),
        (9.0, 9_000, 30e3),
    ]
    ended, _ = play(arrivals, 20e3)
    slow = play_slowly(arrivals, 20e3, 1e-3)
    assert [end for *_, end in ended] == pytest.approx([slow[k] for k in range(5)], abs=5e-3)


def test_equal_transfers_share_equally():
    ended, _ = play([(0.0, 1000, 1000.0)] * 4, 1000.0)
    assert [end for *_, end in ended] == pytest.approx([4.0] * 4)


def test_a_transfer_that_was_held_goes_on_where_it_was():
    link = SharedLink(0.0)
    transfer = Transfer(1000, 100.0)
    link.begin(transfer, 0.0)
    link.stop(transfer, 4.0)
    assert link.received_bytes(transfer, 50.0) == 400
    assert link.next_end() == float("inf")
    link.begin(transfer, 50.0)
    assert link.next_end() == pytest.approx(56.0)
    assert link.take_ended(56.0) == [transfer]


def test_nothing_ends_while_the_capacity_is_zero():
    link = SharedLink(0.0)
    link.begin(Transfer(1000, 100.0), 0.0)
    link.limit(0.0, 5.0)
    assert link.next_end() == float("inf")
    link.limit(50.0, 100.0)
    assert link.next_end() == pytest.approx(110.0)
