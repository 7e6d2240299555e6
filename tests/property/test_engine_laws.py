"""Laws of the engine's pure policies, in virtual time."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import anyio
from hypothesis import given
from hypothesis import strategies as st

from asyncfetch.engine import ByteBudget, ByteRate, HedgePolicy, RetryPolicy, Ticket, Window
from asyncfetch.engine.queues import KINDS, Kind, Queue
from asyncfetch.engine.transport import SpeedWatch
from asyncfetch.errors import ConnectError
from benchmarks.simulation.clock import run_virtually

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
    """A window that is told a history, and what it came to."""

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


class Crowd:
    """Visitors who come to a queue with some slots, by name, and who of them is where."""

    def __init__(self, n_places: int) -> None:
        self.n_places = n_places
        self.queue = Queue(self._has_room)
        self.inside: dict[int, Kind] = {}
        self.waiting: dict[int, tuple[Kind, str]] = {}
        self.scopes: dict[int, anyio.CancelScope] = {}
        self.n_admitted = self.n_cancelled = self.n_left = 0

    def _has_room(self, _kind: Kind, inside: dict[Kind, int]) -> bool:
        return sum(inside.values()) < self.n_places

    async def come(self, name: int, kind: Kind, flow: str) -> None:
        with anyio.CancelScope() as scope:
            self.scopes[name] = scope
            self.waiting[name] = (kind, flow)
            try:
                await self.queue.enter(kind, flow)
            except anyio.get_cancelled_exc_class():
                self.n_cancelled += 1
                raise
            finally:
                del self.waiting[name]
            assert name not in self.inside, "admitted twice"
            self.inside[name] = kind
            self.n_admitted += 1

    def leave(self, nth: int) -> None:
        name = sorted(self.inside)[nth % len(self.inside)]
        self.n_left += 1
        self.queue.leave(self.inside.pop(name))

    def cancel(self, nth: int) -> None:
        self.scopes[sorted(self.waiting)[nth % len(self.waiting)]].cancel()

    def check(self) -> None:
        assert sum(self.queue.inside.values()) == len(self.inside) <= self.n_places
        assert sum(self.queue.waiting.values()) == len(self.waiting)
        assert not self.waiting or len(self.inside) == self.n_places, "a place is free while somebody waits"


@given(
    st.integers(1, 4),
    st.lists(
        st.one_of(
            st.tuples(st.sampled_from(KINDS), st.sampled_from("abc")),
            st.tuples(st.sampled_from(["leave", "cancel", "leave and cancel"]), st.integers(0, 20)),
        ),
        max_size=60,
    ),
)
def test_nobody_is_lost_in_a_line_or_admitted_twice(n_places: int, steps: list[tuple[Any, Any]]) -> None:
    async def go() -> None:
        crowd, n_came = Crowd(n_places), 0
        async with anyio.create_task_group() as group:
            for what, which in steps:
                if what in KINDS:
                    group.start_soon(crowd.come, n_came, what, which)
                    n_came += 1
                else:
                    # both before anybody else runs: whoever is admitted may be cancelled before it knows
                    if "leave" in what and crowd.inside:
                        crowd.leave(which)
                    if "cancel" in what and crowd.waiting:
                        crowd.cancel(which)
                await anyio.wait_all_tasks_blocked()
                crowd.check()
            while crowd.inside:
                crowd.leave(0)
                await anyio.wait_all_tasks_blocked()
                crowd.check()
        assert not crowd.waiting
        assert crowd.n_admitted == crowd.n_left
        assert crowd.n_admitted + crowd.n_cancelled == n_came

    run_virtually(go)


@given(st.lists(st.booleans(), max_size=400))
def test_second_requests_are_one_in_twenty_at_the_most(wants: list[bool]) -> None:
    policy, n_taken = HedgePolicy(), 0
    for n, want in enumerate(wants, 1):
        policy.succeeded(1.0)
        n_taken += want and policy.take()
        assert n_taken <= 1 + n / 20 + 1e-9
