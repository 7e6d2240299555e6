from __future__ import annotations

import asyncio
import threading

import anyio
import anyio.lowlevel
import pytest

from asyncfetch.errors import CorruptImageError, SettingsError
from asyncfetch.imaging import Pool

pytestmark = pytest.mark.anyio


async def test_a_function_runs_on_another_thread():
    async with Pool(1) as pool:
        assert await pool.run(pow, 2, 10) == 1024
        assert await pool.run(threading.get_ident) != threading.get_ident()


async def test_an_exception_comes_through_unchanged():
    error = CorruptImageError("half a JPEG", url="http://x/1")

    def fail():
        raise error

    async with Pool(1) as pool:
        with pytest.raises(CorruptImageError) as caught:
            await pool.run(fail)
        assert caught.value is error


async def test_no_more_threads_run_than_the_pool_has():
    lock = threading.Lock()
    meeting = threading.Barrier(3, timeout=10)
    busy, most = 0, 0

    def work():
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
        # Three must be at work at once to pass, and no fourth may have joined them.
        meeting.wait()
        with lock:
            busy -= 1

    async with Pool(3) as pool, anyio.create_task_group() as tasks:
        for _ in range(9):
            tasks.start_soon(pool.run, work)
    assert most == 3


async def test_a_cancelled_task_waits_for_its_thread():
    begun, release = threading.Event(), threading.Event()
    finished = []

    def work():
        begun.set()
        release.wait(10)
        finished.append("work")

    async def run(pool, scope):
        with scope:
            await pool.run(work)
        finished.append("task")

    scope = anyio.CancelScope()
    async with Pool(1) as pool, anyio.create_task_group() as tasks:
        tasks.start_soon(run, pool, scope)
        await anyio.to_thread.run_sync(begun.wait)
        scope.cancel()
        for _ in range(10):
            await anyio.lowlevel.checkpoint()
        assert finished == []
        release.set()
    assert finished == ["work", "task"]


class Stuck:
    """A function that keeps its thread until it is let go."""

    def __init__(self):
        self.begun, self.release = threading.Event(), threading.Event()
        self.is_done = False

    def __call__(self):
        self.begun.set()
        self.release.wait(10)
        self.is_done = True
        return "done"


async def leave(pool, function, held=None):
    """Wait for a function as `asyncio.wait_for` does, with a timeout that is over once it has begun."""
    timeout = asyncio.timeout(None)

    async def give_up():
        await anyio.to_thread.run_sync(function.begun.wait)
        timeout.reschedule(0)

    async def wait():
        async with timeout, anyio.create_task_group() as tasks:
            tasks.start_soon(give_up)
            await pool.run_holding(held, function)

    with pytest.raises(TimeoutError):
        await wait()


async def leave_at_once(awaitable):
    async with asyncio.timeout(0):
        await awaitable


async def test_a_task_that_asyncio_cancels_leaves_at_once_and_its_thread_keeps_its_place():
    stuck = Stuck()
    async with Pool(1) as pool:
        await leave(pool, stuck)
        assert not stuck.is_done
        assert repr(pool) == "<Pool of 1 thread, 1 busy>"
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(pool.run, int)
            await anyio.wait_all_tasks_blocked()
            assert repr(pool) == "<Pool of 1 thread, 1 busy>"
            stuck.release.set()
        assert stuck.is_done
        assert repr(pool) == "<Pool of 1 thread, 0 busy>"


async def test_impatient_tasks_never_have_more_threads_at_work_than_the_pool_has():
    lock = threading.Lock()
    first, busy, most = Stuck(), 0, 0

    def work():
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
        first()
        with lock:
            busy -= 1

    work.begun = first.begun
    async with Pool(1) as pool:
        await leave(pool, work)
        for _ in range(40):
            with pytest.raises(TimeoutError):
                await leave_at_once(pool.run(work))
        first.release.set()
        await pool.run(int)
    assert most == 1


async def test_what_a_thread_holds_is_let_go_of_when_the_thread_is_done():
    stuck, told = Stuck(), []
    async with Pool(1) as pool:
        await leave(pool, stuck, lambda: told.append("first"))
        assert told == []
        with pytest.raises(TimeoutError):
            await leave_at_once(pool.run_holding(lambda: told.append("second"), int))
        # a function that never begins holds nothing
        assert told == ["second"]
        stuck.release.set()
        assert await pool.run_holding(lambda: told.append("third"), int) == 0
    assert told == ["second", "first", "third"]


async def test_what_a_thread_holds_is_let_go_of_when_a_scope_is_cancelled_before():
    told = []
    async with Pool(1) as pool:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await pool.run_holding(lambda: told.append("all"), int)
    assert told == ["all"]


async def test_a_thread_that_outlives_its_loop_ends_quietly():
    stuck = Stuck()

    async def main():
        async with Pool(1) as pool:
            await leave(pool, stuck)

    thread = threading.Thread(target=anyio.run, args=[main])
    thread.start()
    await anyio.to_thread.run_sync(thread.join)
    stuck.release.set()


async def test_a_task_that_waits_for_a_thread_leaves_at_once_when_cancelled():
    begun, release = threading.Event(), threading.Event()

    def work():
        begun.set()
        release.wait(10)

    async with Pool(1) as pool, anyio.create_task_group() as tasks:
        tasks.start_soon(pool.run, work)
        await anyio.to_thread.run_sync(begun.wait)
        with anyio.CancelScope() as scope:
            scope.cancel()
            await pool.run(release.set)
        assert scope.cancelled_caught
        assert not release.is_set()
        release.set()


async def test_a_pool_works_only_while_it_is_open():
    pool = Pool(2)
    with pytest.raises(RuntimeError, match="not open"):
        await pool.run(int)
    async with pool:
        assert repr(pool) == "<Pool of 2 threads, 0 busy>"
    assert "closed" in repr(pool)


def test_a_pool_has_threads():
    assert Pool().n_threads >= 1
    with pytest.raises(SettingsError) as caught:
        Pool(0)
    assert caught.value.setting == "workers"
