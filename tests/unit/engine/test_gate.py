from __future__ import annotations

import asyncio
import math
import random
from bisect import bisect_left

import anyio
import pytest

from asyncfetch.engine import Gate, LimiterRate
from asyncfetch.settings import Settings
from benchmarks.simulation.clock import VirtualLoop

pytestmark = pytest.mark.anyio


class FreeRate:
    """A rate that lets everything start at once."""

    async def start(self) -> None:
        pass

    def sent(self) -> None:
        pass

    def __repr__(self) -> str:
        return "FreeRate()"


@pytest.fixture
def anyio_backend(virtual_time):
    return virtual_time


def free_gate(jobs=2, memory_bytes=2**24):
    return Gate(Settings(jobs=jobs, memory_bytes=memory_bytes), FreeRate())


def most_in_a_second(starts):
    # A window (t - 1, t] is fullest when it ends with a start.
    return max(k + 1 - bisect_left(starts, start - 1.0 + 1e-12) for k, start in enumerate(starts))


class Visitors:
    """Visitors who take slots, who is inside, and how to let them go by name."""

    def __init__(self, gate, group):
        self.gate, self.group = gate, group
        self.inside, self.entered, self.scopes, self.doors = set(), [], {}, {}

    async def send(self, *names):
        for name in names:
            self.scopes[name], self.doors[name] = anyio.CancelScope(), anyio.Event()
            self.group.start_soon(self._visit, name)
            await anyio.wait_all_tasks_blocked()

    async def _visit(self, name):
        kind = "metadata" if name.startswith("m") else "image"
        with self.scopes[name]:
            async with self.gate.permit(kind):
                self.inside.add(name)
                self.entered.append(name)
                try:
                    await self.doors[name].wait()
                finally:
                    self.inside.remove(name)

    async def let_go(self, *names):
        for name in names:
            self.doors[name].set()
        await anyio.wait_all_tasks_blocked()

    async def cancel(self, *names):
        for name in names:
            self.scopes[name].cancel()
        await anyio.wait_all_tasks_blocked()


async def test_images_fill_their_places_and_no_more():
    async with anyio.create_task_group() as group:
        visitors = Visitors(free_gate(jobs=2), group)
        await visitors.send("i1", "i2", "i3", "i4")
        assert visitors.inside == {"i1", "i2"}
        await visitors.let_go("i2")
        assert visitors.inside == {"i1", "i3"}
        group.cancel_scope.cancel()


async def test_metadata_have_a_place_when_images_fill_theirs():
    async with anyio.create_task_group() as group:
        visitors = Visitors(free_gate(jobs=2), group)
        await visitors.send("i1", "i2", "i3", "m1", "m2")
        assert visitors.inside == {"i1", "i2", "m1"}
        await visitors.let_go("m1")
        assert visitors.inside == {"i1", "i2", "m2"}
        group.cancel_scope.cancel()


async def test_metadata_go_ahead_of_waiting_images():
    async with anyio.create_task_group() as group:
        visitors = Visitors(free_gate(jobs=1), group)
        await visitors.send("i1", "m1", "i2", "m2")
        await visitors.let_go("i1")
        assert visitors.entered == ["i1", "m1", "m2"]
        await visitors.let_go("m1", "m2")
        assert visitors.entered == ["i1", "m1", "m2", "i2"]
        group.cancel_scope.cancel()


async def test_without_images_more_metadata_are_in_flight_than_the_window_has_places():
    async with anyio.create_task_group() as group:
        gate = free_gate(jobs="auto")
        visitors = Visitors(gate, group)
        await visitors.send(*(f"m{k}" for k in range(20)))
        assert len(visitors.inside) == 20 > 2 * gate.window.size
        # an image waits for none of them, and from then on the window holds for all
        await visitors.send("i1", "m20")
        assert "i1" in visitors.inside
        assert "m20" not in visitors.inside
        group.cancel_scope.cancel()


async def test_after_a_refusal_metadata_keep_to_the_window():
    async with anyio.create_task_group() as group:
        gate = free_gate(jobs="auto")
        gate.window.refused(0.0, 0.0)
        visitors = Visitors(gate, group)
        await visitors.send(*(f"m{k}" for k in range(30)))
        assert len(visitors.inside) <= gate.window.size + 1
        group.cancel_scope.cancel()


async def test_a_fixed_number_of_jobs_holds_for_metadata_too():
    async with anyio.create_task_group() as group:
        visitors = Visitors(free_gate(jobs=2), group)
        await visitors.send(*(f"m{k}" for k in range(9)))
        assert len(visitors.inside) <= 3
        group.cancel_scope.cancel()


async def test_cancelled_waiters_leave_no_hole_and_change_no_order():
    gate = free_gate(jobs=1)
    async with anyio.create_task_group() as group:
        visitors = Visitors(gate, group)
        await visitors.send("i1", "i2", "i3", "i4")
        await visitors.cancel("i2")
        await visitors.let_go("i1")
        assert visitors.entered == ["i1", "i3"]
        await visitors.cancel("i3")
        assert visitors.entered == ["i1", "i3", "i4"]
        await visitors.let_go("i4")
    assert "images 0/1, metadata 0, waiting 0 images and 0 metadata, 0 for a start" in repr(gate)


async def test_a_waiter_cancelled_just_as_it_is_admitted_gives_its_place_on():
    async with anyio.create_task_group() as group:
        visitors = Visitors(free_gate(jobs=1), group)
        await visitors.send("i1", "i2", "i3")
        visitors.scopes["i2"].cancel()
        await visitors.let_go("i1")
        assert visitors.inside == {"i3"}
        group.cancel_scope.cancel()


async def test_one_cancelled_while_it_waits_for_its_start_gives_its_place_and_turn_on():
    gate = Gate(Settings(jobs=3, requests_per_s=1.0))
    async with anyio.create_task_group() as group:
        visitors = Visitors(gate, group)
        for name in ("i1", "i2", "i3", "i4"):
            visitors.scopes[name], visitors.doors[name] = anyio.CancelScope(), anyio.Event()
            group.start_soon(visitors._visit, name)
        begin = anyio.current_time()
        await anyio.sleep(0.5)
        visitors.scopes["i2"].cancel()
        await anyio.sleep(0.6)
        assert visitors.entered == ["i1", "i3"]
        assert anyio.current_time() - begin == pytest.approx(1.1, abs=1e-3)
        group.cancel_scope.cancel()


@pytest.mark.parametrize("rate", [1.0, 3.0, 5.0, 7.0, 10.0, 20.0, 49.0, 100.0, 199.0, 200.0, 500.0, 2000.0])
async def test_no_window_of_a_second_holds_more_starts_than_the_rate(rate):
    gate = Gate(Settings(jobs=10_000, requests_per_s=rate))
    n_starts = int(4 * rate) + 2
    starts = []

    async def ask(kind):
        async with gate.permit(kind):
            starts.append(anyio.current_time())

    begin = anyio.current_time()
    async with anyio.create_task_group() as group:
        for k in range(n_starts):
            group.start_soon(ask, "metadata" if k % 3 == 0 else "image")
    assert len(starts) == n_starts
    assert most_in_a_second(starts) <= rate
    assert starts[-1] - begin < 1.05 * n_starts / rate + 0.01


async def test_a_rate_after_idle_time_has_no_burst():
    rate, starts = LimiterRate(10.0), []
    for _ in range(3):
        for _ in range(12):
            await rate.start()
            starts.append(anyio.current_time())
        await anyio.sleep(5.0)
    assert most_in_a_second(starts) <= 10


async def test_metadata_overtake_images_that_wait_for_their_start():
    gate, started = Gate(Settings(jobs=10, requests_per_s=1.0)), []

    async def ask(kind):
        async with gate.permit(kind):
            started.append(kind)

    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(ask, "image")
        await anyio.sleep(0.1)
        group.start_soon(ask, "metadata")
    assert started == ["image", "image", "metadata", "image", "image"]


async def test_reservations_wait_in_their_order_and_a_giant_is_alone():
    gate, order = free_gate(memory_bytes=2**24), []

    async def hold(name, size_bytes, seconds):
        async with gate.reserve(size_bytes):
            order.append((name, round(anyio.current_time() - begin, 3)))
            await anyio.sleep(seconds)

    begin = anyio.current_time()
    async with anyio.create_task_group() as group:
        for name, size_bytes in (("a", 2**23), ("b", 2**23), ("giant", 2**30), ("c", 1)):
            group.start_soon(hold, name, size_bytes, 1.0)
    assert order == [("a", 0.0), ("b", 0.0), ("giant", 1.0), ("c", 2.0)]


async def test_a_cancelled_reservation_lets_the_next_one_in():
    gate, order = free_gate(memory_bytes=2**24), []
    scope = anyio.CancelScope()

    async def hold(name, size_bytes):
        async with gate.reserve(size_bytes):
            order.append(name)
            await anyio.sleep(10.0)

    async def be_cancelled():
        with scope:
            await hold("large", 2**24)

    async with anyio.create_task_group() as group:
        group.start_soon(hold, "first", 2**23)
        await anyio.wait_all_tasks_blocked()
        group.start_soon(be_cancelled)
        await anyio.wait_all_tasks_blocked()
        group.start_soon(hold, "small", 2**23)
        await anyio.wait_all_tasks_blocked()
        assert order == ["first"]
        assert "2 waiting" in repr(gate)
        scope.cancel()
        await anyio.wait_all_tasks_blocked()
        assert order == ["first", "small"]
        group.cancel_scope.cancel()
    assert "ByteBudget(0/16777216 bytes, 0 held, 0 waiting)" in repr(gate)


async def test_an_error_inside_gives_everything_back():
    gate = free_gate(jobs=1)
    for _ in range(3):
        with pytest.raises(RuntimeError):
            async with gate.reserve(2**24), gate.permit("image"):
                raise RuntimeError("a bug")
    assert "images 0/1" in repr(gate)
    assert "0 held" in repr(gate)


async def test_received_bytes_are_held_back_to_their_rate():
    gate = Gate(Settings(bytes_per_s=1000.0), FreeRate())
    begin = anyio.current_time()
    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(gate.receive, 1000)
    assert anyio.current_time() - begin == pytest.approx(5.0, abs=1e-3)


async def test_without_a_byte_rate_nothing_is_held_back():
    gate = free_gate()
    begin = anyio.current_time()
    await gate.receive(10**12)
    assert Gate(Settings(jobs=1), FreeRate()).follow_body(begin) is None
    assert anyio.current_time() - begin < 1e-3


class LateLoop(VirtualLoop):
    """A loop whose timers fire up to a millisecond late, as with a coarse clock."""

    def __init__(self):
        super().__init__()
        self.drawn = random.Random(1)

    def call_at(self, when, callback, *args, context=None):
        return super().call_at(when + self.drawn.uniform(0, 1e-3), callback, *args, context=context)


@pytest.mark.parametrize("anyio_backend", [("asyncio", {"loop_factory": LateLoop})], ids=["late"])
@pytest.mark.parametrize("rate", [5.0, 20.0, 50.0])
async def test_late_timers_cost_less_than_two_percent_of_the_rate(rate, anyio_backend):
    limiter, starts = LimiterRate(rate), []
    begin = anyio.current_time()
    while anyio.current_time() - begin < 30.0:
        await limiter.start()
        starts.append(anyio.current_time())
    assert most_in_a_second(starts) <= rate
    assert len(starts) >= 0.98 * rate * (starts[-1] - begin)


class BusyLoop(VirtualLoop):
    """A loop on a machine that puts the process aside."""

    def put_aside(self, seconds):
        self._jumping.now += seconds


@pytest.mark.parametrize("anyio_backend", [("asyncio", {"loop_factory": BusyLoop})], ids=["busy"])
@pytest.mark.parametrize("rate", [5.0, 20.0, 50.0])
async def test_no_second_holds_more_where_requests_are_sent_late(rate, anyio_backend):
    drawn, limiter, sent = random.Random(2), LimiterRate(rate), []
    begin = anyio.current_time()
    while anyio.current_time() - begin < 30.0:
        await limiter.start()
        if drawn.random() < 0.2:
            asyncio.get_running_loop().put_aside(drawn.uniform(0, 0.5 / rate))
        sent.append(anyio.current_time())
        limiter.sent()
    assert most_in_a_second(sent) <= rate
    assert len(sent) >= 0.98 * rate * (sent[-1] - begin)


@pytest.mark.parametrize("after", [1.0, 5.0, 7.5, 10.0, 19.0, 20.0, 50.0, 200.0])
@pytest.mark.parametrize("before", [3.0, 10.0, 100.0])
async def test_no_second_that_begins_after_a_change_holds_more_than_the_new_rate(before, after):
    limiter, starts, changed_at = LimiterRate(before), [], None

    async def ask():
        while True:
            await limiter.start()
            starts.append(anyio.current_time())

    async with anyio.create_task_group() as group:
        # the line of starts, and a redirect beside it
        group.start_soon(ask)
        group.start_soon(ask)
        await anyio.sleep(1.37)
        limiter.rate = after
        changed_at = anyio.current_time()
        await anyio.sleep(4.0)
        group.cancel_scope.cancel()
    since = [start for start in starts if start > changed_at]
    assert most_in_a_second(since) <= math.ceil(after)
    assert len(since) >= 3 * after


async def test_a_start_that_waits_at_a_slow_rate_is_freed_by_a_faster_one():
    limiter = LimiterRate(0.01)
    begin = anyio.current_time()
    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(limiter.start)
        await anyio.sleep(1.0)
        limiter.rate = 10.0
    assert anyio.current_time() - begin == pytest.approx(1.05, abs=0.06)


async def test_a_rate_that_is_set_to_what_it_is_gives_no_start_more():
    limiter, starts = LimiterRate(50.0), []
    begin = anyio.current_time()
    while anyio.current_time() - begin < 3.0:
        await limiter.start()
        starts.append(anyio.current_time())
        limiter.rate = 50.0
    assert most_in_a_second(starts) <= 50


async def test_the_rate_of_bytes_is_set_while_bytes_come():
    gate = Gate(Settings(), FreeRate())
    begin = anyio.current_time()
    await gate.receive(10**9)
    gate.set_rate(bytes_per_s=1000.0)
    await gate.receive(2000)
    gate.set_rate(bytes_per_s=4000.0)
    await gate.receive(2000)
    assert anyio.current_time() - begin == pytest.approx(2.5, abs=1e-3)


async def test_lent_bytes_are_there_for_others_and_are_had_again():
    gate, order = free_gate(memory_bytes=2**24), []

    async def borrow():
        async with gate.reserve(2**24):
            order.append("other in")
            await anyio.sleep(5.0)
            order.append("other out")

    async with anyio.create_task_group() as group, gate.reserve(2**24) as reservation:
        group.start_soon(borrow)
        await anyio.sleep(1.0)
        assert order == []
        async with reservation.lent():
            await anyio.sleep(1.0)
            assert order == ["other in"]
        order.append("had again")
        assert "ByteBudget(16777216/16777216 bytes, 1 held, 0 waiting)" in repr(gate)
    assert order == ["other in", "other out", "had again"]
    assert "ByteBudget(0/16777216 bytes, 0 held, 0 waiting)" in repr(gate)


async def lend(gate, scope, when_lent):
    with scope:
        async with gate.reserve(2**24) as reservation:
            async with reservation.lent():
                await when_lent()
            await anyio.sleep_forever()


async def test_one_cancelled_while_its_bytes_are_lent_leaves_the_budget_whole():
    gate, scope = free_gate(memory_bytes=2**24), anyio.CancelScope()
    async with anyio.create_task_group() as group:
        group.start_soon(lend, gate, scope, anyio.sleep_forever)
        await anyio.wait_all_tasks_blocked()
        async with gate.reserve(2**23):
            scope.cancel()
            await anyio.wait_all_tasks_blocked()
            assert "ByteBudget(8388608/16777216 bytes, 1 held, 0 waiting)" in repr(gate)
    assert "ByteBudget(0/16777216 bytes, 0 held, 0 waiting)" in repr(gate)


async def test_one_cancelled_while_it_waits_to_have_its_bytes_again_leaves_the_budget_whole():
    gate, scope, is_over = free_gate(memory_bytes=2**24), anyio.CancelScope(), anyio.Event()
    async with anyio.create_task_group() as group:
        group.start_soon(lend, gate, scope, is_over.wait)
        await anyio.wait_all_tasks_blocked()
        async with gate.reserve(2**23):
            is_over.set()
            await anyio.wait_all_tasks_blocked()
            assert "1 held, 1 waiting" in repr(gate)
            scope.cancel()
            await anyio.wait_all_tasks_blocked()
            assert "1 held, 0 waiting" in repr(gate)
    assert "ByteBudget(0/16777216 bytes, 0 held, 0 waiting)" in repr(gate)


async def test_an_error_while_bytes_are_lent_does_not_ask_for_them_again():
    gate = free_gate(memory_bytes=2**24)

    async def fail():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await lend(gate, anyio.CancelScope(), fail)
    assert "ByteBudget(0/16777216 bytes, 0 held, 0 waiting)" in repr(gate)


class CountingRate(FreeRate):
    """A rate that is always free and counts what starts; with a door it keeps them until it is opened."""

    def __init__(self, door=None):
        self.n_started, self._door = 0, door

    def is_free(self) -> bool:
        return True

    async def start(self) -> None:
        if self._door is not None:
            await self._door.wait()
        self.n_started += 1


async def gate_after(way):
    """Take a free permit in one of two ways in a gate whose images fill the window, and return what is seen of it."""
    rate = CountingRate()
    gate = Gate(Settings(jobs="auto"), rate)
    for _ in range(gate.window.size):
        await gate.permit("image").take()
    permit = gate.permit("metadata")
    assert gate.is_free("metadata")
    waits = await getattr(permit, way)()
    window = {name: value for name, value in vars(gate.window).items() if isinstance(value, int | float)}
    seen = (repr(gate), window, rate.n_started, waits)
    permit.leave()
    return seen, repr(gate)


async def test_a_permit_that_is_free_is_taken_as_one_in_the_queue_is():
    seen, left = await gate_after("take_free")
    assert (seen, left) == await gate_after("take")
    shown, _window, n_started, waits = seen
    assert "metadata 1" in shown
    assert "metadata 0" in left
    assert n_started > 1
    assert waits.opened == anyio.current_time()
    assert waits.window_s == waits.host_s == waits.rate_s == 0.0


@pytest.mark.parametrize("way", ["take", "take_free"])
async def test_whoever_is_cancelled_before_the_start_gives_the_slot_back(way):
    gate = Gate(Settings(jobs=1), CountingRate(anyio.Event()))
    async with anyio.create_task_group() as group:
        group.start_soon(getattr(gate.permit("image"), way))
        await anyio.wait_all_tasks_blocked()
        assert "images 1/1" in repr(gate)
        group.cancel_scope.cancel()
    assert "images 0/1" in repr(gate)
