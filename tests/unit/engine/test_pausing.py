"""A pause holds back what would start, and what was stopped with the process is not blamed on the server."""

from __future__ import annotations

import anyio
import pytest

from asyncfetch.engine import Gate, Pause
from asyncfetch.engine.transport import _STOPPED_S, _Watchdog
from asyncfetch.settings import Settings

pytestmark = pytest.mark.anyio


async def test_nothing_starts_while_a_pause_is_on():
    pause = Pause()
    gate = Gate(Settings(requests_per_s=1000.0, jobs=4), pause=pause)
    started = []

    async def ask(number):
        async with gate.permit("image"):
            started.append(number)

    pause.begin()
    assert not gate.is_free("image")
    async with anyio.create_task_group() as tasks:
        for number in range(3):
            tasks.start_soon(ask, number)
        await anyio.wait_all_tasks_blocked()
        assert started == []
        pause.end()
    assert sorted(started) == [0, 1, 2]
    assert gate.is_free("image")


async def test_a_pause_that_begins_while_the_rate_is_waited_for_holds_back_too():
    pause = Pause()
    gate = Gate(Settings(requests_per_s=20.0, jobs=4), pause=pause)
    started = []

    async def ask(number):
        async with gate.permit("image"):
            started.append(number)
            pause.begin()

    async with anyio.create_task_group() as tasks:
        for number in range(2):
            tasks.start_soon(ask, number)
        with anyio.move_on_after(0.15):
            await anyio.sleep_forever()
        assert started == [0]
        pause.end()
    assert started == [0, 1]


async def test_a_pause_may_begin_and_end_again_and_again():
    pause = Pause()
    pause.end()
    for _ in range(2):
        pause.begin()
        pause.begin()
        with anyio.move_on_after(0) as scope:
            await pause.wait()
        assert scope.cancelled_caught
        pause.end()
        await pause.wait()


class Watched:
    """What the watchdog knows of an exchange."""

    def __init__(self, deadline):
        self.deadline = deadline
        self.is_ended = False
        self.stopped_s = 0.0

    def end(self):
        self.is_ended = True

    def was_stopped(self, seconds):
        self.deadline += seconds
        self.stopped_s += seconds


@pytest.mark.parametrize(("late_s", "is_ended"), [(0.0, True), (_STOPPED_S + 60, False)])
async def test_an_exchange_is_overdue_unless_the_process_itself_was_stopped(late_s, is_ended):
    watchdog = _Watchdog(tick_s=1000.0)
    exchange = Watched(deadline=anyio.current_time() - 1)
    watchdog.add(exchange)
    # as if the timer had been due so long ago
    watchdog._due = anyio.current_time() - late_s
    watchdog._look()
    assert exchange.is_ended == is_ended
    assert exchange.stopped_s == pytest.approx(0.0 if is_ended else late_s, abs=0.5)
    watchdog.close()
