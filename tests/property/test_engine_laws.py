"""Laws of the engine's pure policies, in virtual time."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from asyncfetch.engine import ByteBudget, ByteRate, RetryPolicy, Ticket, Window
from asyncfetch.engine.transport import SpeedWatch
from asyncfetch.errors import ConnectError

SIZES = st.integers(0, 10**7)
GAPS = st.floats(0, 5, allow_subnormal=False)


@given(st.floats(1.0, 1e9), st.lists(st.tuples(SIZES, GAPS), min_size=1, max_size=60), st.floats(0, 1e7))
def test_no_window_of_a_second_carries_more_bytes_than_the_rate(
    bytes_per_s: float, requests: list[tuple[int, float]], begin: float
) -> None:
    rate, now, turns = ByteRate(bytes_per_s), begin, []
    for size, gap in requests:
        now += gap
        turns.append((size, rate.take(size, now)))

    def carried(window_begins: float) -> float:
        total = 0.0
        for _, (begins, ends) in turns:
            total += max(0.0, min(ends, window_begins + 1.0) - max(begins, window_begins))
        return total * bytes_per_s

    edges = [edge for _, turn in turns for edge in (turn.begins, turn.ends - 1.0)]
    assert max(map(carried, edges)) <= bytes_per_s * (1 + 1e-6)


@given(st.floats(1.0, 1e9), st.lists(st.tuples(SIZES, GAPS), min_size=2, max_size=60))
def test_bytes_pass_in_the_order_in_which_they_ask_and_none_are_lost(
    bytes_per_s: float, requests: list[tuple[int, float]]
) -> None:
    rate, now, before = ByteRate(bytes_per_s), 0.0, float("-inf")
    for size, gap in requests:
        now += gap
        turn = rate.take(size, now)
        assert turn.begins == max(now, before)
        assert turn.ends == turn.begins + size / bytes_per_s
        before = turn.ends


@given(
    st.integers(1, 1000),
    st.lists(st.one_of(st.integers(0, 1500), st.just("release"), st.just("abandon")), max_size=100),
)
def test_the_budget_is_kept_in_order_whatever_is_released_or_abandoned(
    capacity: int, steps: list[int | str]
) -> None:
    budget = ByteBudget(capacity)
    held: list[Ticket] = []
    waiting: list[Ticket] = []
    for step in steps:
        if isinstance(step, int):
            ticket = budget.request(step)
            assert not (ticket.is_admitted and waiting)
            (held if ticket.is_admitted else waiting).append(ticket)
            continue
        line = held if step == "release" else waiting
        if not line:
            continue
        admitted = budget.release(line.pop(len(line) // 2))
        assert admitted == waiting[: len(admitted)]
        held += admitted
        del waiting[: len(admitted)]
        assert budget.held_bytes == sum(ticket.size_bytes for ticket in held)
        assert budget.held_bytes <= capacity or len([t for t in held if t.size_bytes]) == 1
        assert held or not waiting
    while held:
        held += budget.release(held.pop(0))
    assert (budget.held_bytes, budget.n_held, budget.n_waiting) == (0, 0, 0)


@given(
    st.integers(1, 8),
    st.integers(0, 20),
    st.floats(0, 1),
    st.lists(st.lists(st.booleans(), min_size=8, max_size=8), max_size=60),
)
def test_the_quota_bounds_what_is_sent(
    attempts: int, quota: int, earned: float, outcomes: list[list[bool]]
) -> None:
    policy = RetryPolicy(attempts, quota=quota, earned_by_success=earned)
    n_sent = n_successes = 0
    for outcome in outcomes:
        for attempt in range(1, 9):
            n_sent += 1
            if outcome[attempt - 1]:
                policy.succeeded()
                n_successes += 1
                break
            if policy.after(ConnectError("x"), attempt, datetime(2026, 1, 1, tzinfo=UTC), 0.5) is None:
                break
        assert attempt <= attempts
    assert n_sent <= len(outcomes) + quota + n_successes * earned + 1e-6
    assert 0 <= policy.tokens <= quota


@given(st.integers(1, 70), st.floats(0, 1, exclude_max=True))
def test_the_jitter_stays_below_its_bound(attempt: int, random: float) -> None:
    delay = RetryPolicy(100, 0.5, 30.0).after(
        ConnectError("x"), attempt, datetime(2026, 1, 1, tzinfo=UTC), random
    )
    assert delay is not None
    assert 0 <= delay <= min(30.0, 0.5 * 2 ** (attempt - 1))


@given(st.floats(1, 1000), st.lists(st.tuples(st.integers(1, 5000), st.floats(0.01, 0.9)), max_size=50))
def test_a_body_at_or_above_the_least_speed_is_never_called_slow(
    speed: float, pieces: list[tuple[int, float]]
) -> None:
    watch, now = SpeedWatch(speed, 1.0, 0.0), 0.0
    for size, gap in pieces:
        now += gap
        assert not watch.received(size + int(speed * gap) + 1, now)


TROUBLES = ("refused", "interrupted", "outage")
HISTORIES = st.lists(
    st.one_of(
        st.sampled_from(TROUBLES),
        st.tuples(st.just("refused late"), st.floats(0, 5)),
        st.tuples(st.just("filled"), st.booleans()),
        st.tuples(st.just("first byte"), st.floats(0, 10)),
        # so many pieces of so many bytes, so many seconds apart
        st.tuples(st.integers(1, 60), st.integers(0, 10**7), st.floats(0.001, 30)),
    ),
    max_size=40,
)


class Told:
    """Tell a window a history, and keep what it came to."""

    def __init__(self, most: int, first: int) -> None:
        self.window = Window(most, first)
        self.now = 0.0
        self.sizes = [self.window.size]
        self.window.filled(True, self.now)

    def tell(self, step: Any) -> None:
        window = self.window
        match step:
            case "refused":
                window.refused(self.now, self.now)
            case "interrupted":
                window.interrupted(self.now)
            case "outage":
                window.outage(self.now)
            case ("refused late", float(ago_s)):
                window.refused(self.now - ago_s, self.now)
            case ("filled", bool(is_full)):
                window.filled(is_full, self.now)
            case ("first byte", float(elapsed_s)):
                window.first_byte(elapsed_s)
            case (int(n), int(size_bytes), float(gap_s)):
                for _ in range(n):
                    self.now += gap_s
                    window.received(size_bytes, self.now)
                    self.sizes.append(window.size)
        self.sizes.append(window.size)


@given(st.integers(1, 100), st.integers(1, 100), HISTORIES)
def test_a_window_holds_one_at_the_least_and_never_more_than_the_most(
    most: int, first: int, history: list[Any]
) -> None:
    told = Told(most, first)
    for step in history:
        told.tell(step)
    assert min(told.sizes) >= 1
    assert max(told.sizes) <= most


@given(st.integers(1, 100), st.integers(1, 100), HISTORIES)
def test_no_trouble_leads_to_more_than_there_was_when_it_began(
    most: int, first: int, history: list[Any]
) -> None:
    told = Told(most, first)
    most_given_back, refused_at = 0, -math.inf
    for step in history:
        before = told.window.size
        told.tell(step)
        name = step if isinstance(step, str) else step[0]
        if name in {"refused", "refused late"}:
            if told.now - refused_at > 60 or not most_given_back:
                most_given_back = before
            if told.window.size < before:
                refused_at = told.now
            assert told.window.size <= before
        elif name == "interrupted":
            assert told.window.size <= before
        elif name == "outage":
            assert told.window.size <= max(before, most_given_back)
            most_given_back = 0
