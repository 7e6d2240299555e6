from __future__ import annotations

import asyncio
import threading
from contextvars import ContextVar

import anyio
import pytest

from asyncfetch.engine import Acceptance

pytestmark = pytest.mark.anyio

NAME: ContextVar[str] = ContextVar("name", default="")


async def test_what_is_accepted_on_a_thread_is_told_on_the_event_loop_while_the_thread_goes_on():
    told, is_told = [], threading.Event()

    def tell(time):
        told.append((threading.get_ident(), NAME.get(), time <= asyncio.get_running_loop().time()))
        is_told.set()

    def check(accept):
        accept()
        is_told.wait(10)

    NAME.set("task")
    with Acceptance(tell) as accept:
        thread = threading.Thread(target=check, args=[accept])
        thread.start()
        await anyio.to_thread.run_sync(thread.join)
        assert is_told.is_set()
    assert told == [(threading.get_ident(), "task", True)]


async def test_a_check_that_returns_has_accepted_and_one_that_raises_has_not():
    told = []
    with Acceptance(told.append):
        pass
    assert len(told) == 1
    with pytest.raises(ZeroDivisionError), Acceptance(told.append) as accept:
        raise ZeroDivisionError
    assert (len(told), accept.is_given) == (1, False)


async def test_a_check_that_accepted_and_raised_is_told_once():
    told = []
    accept = Acceptance(told.append)

    def check():
        with accept:
            accept()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        check()
    await anyio.lowlevel.checkpoint()
    assert (len(told), accept.is_given) == (1, True)


async def test_a_thread_that_nobody_waits_for_accepts_nothing():
    told = []
    with pytest.raises(asyncio.CancelledError), Acceptance(told.append) as accept:
        raise asyncio.CancelledError
    await anyio.to_thread.run_sync(accept)
    assert (told, accept.is_given) == ([], False)


def test_a_thread_may_accept_after_the_event_loop_was_closed():
    told, kept = [], []

    async def begin():
        kept.append(Acceptance(told.append))

    asyncio.run(begin())
    kept[0]()
    assert told == []
