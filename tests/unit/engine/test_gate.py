from __future__ import annotations

from bisect import bisect_left

import anyio
import pytest

from asyncfetch.engine import Gate, LimiterRate
from asyncfetch.settings import Settings

pytestmark = pytest.mark.anyio


class FreeRate:
    """Let everything start at once."""

    async def start(self) -> None:
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
    """Take slots, note who is inside, and let them go by name."""

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
            async with self.gate.slot(kind):
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
        async with gate.slot(kind):
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
        async with gate.slot(kind):
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
            async with gate.reserve(2**24), gate.slot("image"):
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
