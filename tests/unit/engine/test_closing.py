"""How an engine ends, and that its callers do not disturb each other."""

from __future__ import annotations

from functools import partial

import anyio
import pytest

from asyncfetch.engine import Engine, Request
from asyncfetch.errors import ClosedError
from asyncfetch.settings import Settings

pytestmark = pytest.mark.anyio

FREE = Settings(requests_per_s=1e6, jobs=2)
REQUEST = Request("http://x/1", "image", 1000)


@pytest.fixture
def anyio_backend(virtual_time):
    return virtual_time


async def body_of(reply, _accept):
    return reply.body


async def slowly():
    await anyio.sleep(10.0)
    return b"late"


class Callers:
    """Callers who fetch side by side, and what each of them got."""

    def __init__(self, engine, group):
        self.engine, self.group = engine, group
        self.got = {}

    async def send(self, *names):
        for name in names:
            self.group.start_soon(self._fetch, name)
        await anyio.wait_all_tasks_blocked()

    async def _fetch(self, name):
        try:
            self.got[name] = await self.engine.fetch(REQUEST, body_of)
        except ClosedError as error:
            self.got[name] = error


async def test_closing_waits_for_what_is_on_its_way(scripted):
    transport = scripted([slowly] * 3)
    engine = Engine(FREE, transport)
    async with anyio.create_task_group() as group:
        callers = Callers(engine, group)
        await callers.send("a", "b", "waiting for a place")
        begin = anyio.current_time()
        await engine.aclose()
        assert anyio.current_time() - begin == pytest.approx(20.0, abs=0.1)
        assert transport.is_closed
    assert callers.got == dict.fromkeys(["a", "b", "waiting for a place"], b"late")


async def test_closing_by_force_ends_what_is_on_its_way_and_leaves_nothing(scripted):
    transport = scripted([anyio.sleep_forever] * 2)
    engine = Engine(FREE, transport)
    async with anyio.create_task_group() as group:
        callers = Callers(engine, group)
        await callers.send("a", "b", "waiting for a place")
        await engine.aclose(cancel=True)
    assert {name: type(error) for name, error in callers.got.items()} == dict.fromkeys(
        ["a", "b", "waiting for a place"], ClosedError
    )
    assert "ask again with another" in callers.got["a"].message
    assert callers.got["a"].url == REQUEST.url
    assert (transport.n_open, transport.is_closed) == (0, True)
    assert "images 0/2, metadata 0, waiting 0 images and 0 metadata, 0 for a start" in repr(engine)


async def test_an_error_that_leaves_the_block_ends_what_is_on_its_way(scripted):
    transport = scripted([anyio.sleep_forever])
    async with anyio.create_task_group() as group:
        callers = Callers(Engine(FREE, transport), group)
        with pytest.raises(ZeroDivisionError):
            await fetch_and_fail(callers)
    assert isinstance(callers.got["a"], ClosedError)


async def fetch_and_fail(callers):
    async with callers.engine:
        await callers.send("a")
        raise ZeroDivisionError


async def test_leaving_the_block_waits_for_what_is_on_its_way(scripted):
    async with anyio.create_task_group() as group:
        async with Engine(FREE, scripted([slowly])) as engine:
            callers = Callers(engine, group)
            await callers.send("a")
        assert callers.got == {"a": b"late"}


async def test_a_closed_engine_refuses(scripted):
    transport = scripted()
    engine = Engine(FREE, transport)
    await engine.aclose()
    with pytest.raises(ClosedError, match="open another"):
        await engine.fetch(REQUEST, body_of)
    assert transport.urls == []


async def test_an_engine_that_waits_to_close_refuses_already(scripted):
    engine = Engine(FREE, scripted([slowly]))
    async with anyio.create_task_group() as group:
        callers = Callers(engine, group)
        await callers.send("a")
        group.start_soon(engine.aclose)
        await callers.send("b")
        assert isinstance(callers.got["b"], ClosedError)
    assert callers.got["a"] == b"late"


async def test_closing_by_force_ends_a_closing_that_waits(scripted):
    engine = Engine(FREE, scripted([anyio.sleep_forever]))
    with anyio.fail_after(1.0):
        async with anyio.create_task_group() as group:
            callers = Callers(engine, group)
            await callers.send("a")
            group.start_soon(engine.aclose)
            group.start_soon(engine.aclose)
            await anyio.wait_all_tasks_blocked()
            await engine.aclose(cancel=True)
    assert isinstance(callers.got["a"], ClosedError)


async def test_a_closing_that_is_cancelled_ends_what_is_on_its_way(scripted):
    transport = scripted([anyio.sleep_forever])
    engine = Engine(FREE, transport)
    async with anyio.create_task_group() as group:
        callers = Callers(engine, group)
        await callers.send("a")
        with anyio.move_on_after(1.0) as scope:
            await engine.aclose()
        assert scope.cancelled_caught
        assert transport.is_closed
    assert isinstance(callers.got["a"], ClosedError)


async def test_closing_twice_is_closing_once(scripted):
    engine = Engine(FREE, scripted())
    await engine.fetch(REQUEST, body_of)
    await engine.aclose()
    await engine.aclose(cancel=True)


async def test_cancelling_some_callers_disturbs_no_other(scripted):
    async def answer():
        await anyio.sleep(1.0)
        return b"x"

    transport = scripted([answer] * 200)
    got, scopes = [], []

    async def call(engine, name):
        with anyio.CancelScope() as scope:
            scopes.append(scope)
            assert await engine.fetch(REQUEST, body_of) == b"x"
            got.append(name)

    async with Engine(FREE.replace(jobs=5), transport) as engine:
        async with anyio.create_task_group() as group:
            for name in range(100):
                group.start_soon(call, engine, name)
            await anyio.sleep(3.5)
            # some wait for a place, some for their answer, some have it
            for scope in scopes[::3]:
                scope.cancel()
        assert set(got) >= {name for name in range(100) if name % 3}
        assert transport.n_open == 0
        assert "images 0/5" in repr(engine)
        assert await engine.fetch(REQUEST, body_of) == b"x"


async def test_five_hundred_callers_share_one_engine(scripted):
    async def answer():
        await anyio.sleep(0.1)
        return b"x"

    transport = scripted([answer] * 500)
    async with Engine(FREE.replace(jobs=16), transport) as engine, anyio.create_task_group() as group:
        callers = Callers(engine, group)
        for name in range(500):
            group.start_soon(callers._fetch, name)
    assert callers.got == dict.fromkeys(range(500), b"x")
    assert transport.most_open == 16


async def test_a_deadline_of_one_caller_is_its_own(scripted):
    async with Engine(FREE, scripted([anyio.sleep_forever, slowly])) as engine:
        async with anyio.create_task_group() as group:
            group.start_soon(partial(impatient, engine))
            callers = Callers(engine, group)
            await callers.send("patient")
        assert callers.got == {"patient": b"late"}


async def impatient(engine):
    with pytest.raises(TimeoutError), anyio.fail_after(1.0):
        await engine.fetch(REQUEST, body_of)
