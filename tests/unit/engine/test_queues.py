"""Who enters when: driven by hand, so that every step between two awaits is seen."""

from __future__ import annotations

import anyio
import pytest

from asyncfetch.engine import Engine, Request, sharing
from asyncfetch.engine.queues import Queue
from asyncfetch.settings import Settings

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend(virtual_time):
    return virtual_time


class Comers:
    """Comers who enter a queue under a name and are inside until let go."""

    def __init__(self, group, room=1):
        self.room = room
        self.queue = Queue(lambda _kind, inside: sum(inside.values()) < self.room)
        self.group = group
        self.entered, self.scopes = [], {}

    async def send(self, *names, flow="", kind="image"):
        for name in names:
            self.scopes[name] = anyio.CancelScope()
            self.group.start_soon(self._enter, name, flow, kind)
            await anyio.wait_all_tasks_blocked()

    async def _enter(self, name, flow, kind):
        with self.scopes[name]:
            await self.queue.enter(kind, flow)
            self.entered.append(name)

    async def cancel(self, *names):
        for name in names:
            self.scopes[name].cancel()
        await anyio.wait_all_tasks_blocked()

    async def leave(self, n=1, kind="image"):
        for _ in range(n):
            self.queue.leave(kind)
            await anyio.wait_all_tasks_blocked()


async def test_flows_take_turns_and_within_a_flow_the_first_come_are_served_first():
    async with anyio.create_task_group() as group:
        comers = Comers(group)
        await comers.send("a1", "a2", "a3", "a4", flow="a")
        await comers.send("b1", "b2", flow="b")
        await comers.send("c1", flow="c")
        await comers.leave(6)
        assert comers.entered == ["a1", "a2", "b1", "c1", "a3", "b2", "a4"]


async def test_without_flows_the_first_come_are_the_first_served():
    async with anyio.create_task_group() as group:
        comers = Comers(group)
        await comers.send(*range(10))
        await comers.leave(9)
        assert comers.entered == list(range(10))


async def test_metadata_of_any_flow_go_before_images_of_any():
    async with anyio.create_task_group() as group:
        comers = Comers(group)
        await comers.send("first", "image a", flow="a")
        await comers.send("image b", flow="b")
        await comers.send("rows a", flow="a", kind="metadata")
        await comers.send("rows b", flow="b", kind="metadata")
        await comers.leave()
        await comers.leave(2, kind="metadata")
        await comers.leave()
        assert comers.entered == ["first", "rows a", "rows b", "image a", "image b"]


async def test_ten_are_not_held_up_by_a_thousand():
    async with anyio.create_task_group() as group:
        comers = Comers(group)
        for _ in range(1000):
            group.start_soon(comers.queue.enter, "image", "many")
        await anyio.wait_all_tasks_blocked()
        await comers.send(*(f"few {k}" for k in range(10)), flow="few")
        await comers.leave(20)
        assert comers.entered == [f"few {k}" for k in range(10)]
        await comers.leave(989)
        assert comers.queue.waiting["image"] == 0


async def test_whoever_is_cancelled_leaves_no_hole_and_costs_its_flow_no_turn():
    async with anyio.create_task_group() as group:
        comers = Comers(group)
        await comers.send("a1", "a2", "a3", flow="a")
        await comers.send("b1", "b2", "b3", flow="b")
        await comers.cancel("a2", "b1", "b2")
        assert comers.queue.waiting["image"] == 2
        await comers.leave(2)
        assert comers.entered == ["a1", "a3", "b3"]


async def test_a_flow_whose_waiters_are_all_cancelled_is_passed_over():
    async with anyio.create_task_group() as group:
        comers = Comers(group)
        await comers.send("in", "a1", "a2", flow="a")
        await comers.send("b1", "b2", flow="b")
        await comers.cancel("a1", "a2")
        await comers.leave(2)
        assert comers.entered == ["in", "b1", "b2"]


async def test_queues_in_which_nobody_waits_any_more_are_forgotten():
    async with anyio.create_task_group() as group:
        comers = Comers(group)
        for k in range(50):
            await comers.send(f"in {k}" if k else "in", flow=f"flow {k}")
        await comers.cancel(*(f"in {k}" for k in range(1, 50)))
        assert not any(comers.queue._flows.values())


async def test_room_that_grew_is_filled_at_once():
    async with anyio.create_task_group() as group:
        comers = Comers(group)
        await comers.send(*range(5))
        comers.room = 3
        comers.queue.admit()
        await anyio.wait_all_tasks_blocked()
        assert comers.entered == [0, 1, 2]
        comers.room = 1
        await comers.leave(2)
        assert comers.entered == [0, 1, 2]
        await comers.leave()
        assert comers.entered == [0, 1, 2, 3]
        group.cancel_scope.cancel()


async def test_requests_of_a_block_share_the_engine_as_one_flow(scripted):
    async def answer():
        await anyio.sleep(1.0)
        return b"x"

    done = []

    async def fetch(engine, name):
        await engine.fetch(Request(f"http://x/{name}", "image", 10), nothing)
        done.append(name)

    async def nothing(_reply, _accept):
        pass

    settings = Settings(requests_per_s=1e6, jobs=1)
    async with Engine(settings, scripted([answer] * 105)) as engine, anyio.create_task_group() as group:
        with sharing("many"):
            for k in range(100):
                group.start_soon(fetch, engine, k)
        await anyio.sleep(0.5)
        with sharing("few"):
            for name in "abcde":
                group.start_soon(fetch, engine, name)
    assert [done.index(name) for name in "abcde"] == [2, 4, 6, 8, 10]
