"""What an engine shares with others: the rate as it is held here."""

from __future__ import annotations

import anyio

from asyncfetch.cluster.sharing import SharedRate
from asyncfetch.cluster.stretches import LATENESS_S, Stretch
from benchmarks.simulation.clock import run_virtually


def stretch(n=1):
    return Stretch(0.0, tuple(0.1 * k for k in range(n)), LATENESS_S)


def test_a_busy_machine_asks_for_more_time_and_for_less_when_it_is_not_busy_any_more():
    async def main():
        rate = SharedRate(10.0, lambda: None)
        learnt = []
        for _ in range(3):
            now = anyio.current_time()
            rate.add(stretch(), now - 0.001, now)
            # the machine wakes up too late to use it
            await anyio.sleep(1)
            assert not rate.is_free()
            learnt.append(rate.lateness_s)
        for _ in range(200):
            now = anyio.current_time()
            rate.add(stretch(), now - 0.001, now)
            await rate.start()
        return learnt, rate.lateness_s

    (first, second, third), last = run_virtually(main)
    assert first == LATENESS_S < second < third <= 0.25
    assert last == LATENESS_S


def test_messages_that_take_long_leave_as_much_time_for_a_start():
    async def main():
        rate = SharedRate(10.0, lambda: None)
        now = anyio.current_time()
        rate.add(stretch(), now - 0.05, now)
        return rate.lateness_s

    assert abs(run_virtually(main) - LATENESS_S - 0.05) < 1e-6


def test_whoever_waits_for_a_start_has_more_asked_for_and_gets_it_when_it_comes():
    async def main():
        asked, rate = [], SharedRate(10.0, lambda: asked.append(anyio.current_time()))
        begun = anyio.current_time()
        started = []

        async def start():
            await rate.start()
            started.append(round(anyio.current_time() - begun, 6))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(start)
            tasks.start_soon(start)
            await anyio.sleep(1)
            assert rate.n_waiting == 2
            rate.add(stretch(2), begun + 1, begun + 1)
        return len(asked), started

    n_asked, started = run_virtually(main)
    assert n_asked == 2
    assert [round(each, 2) for each in started] == [1.0, 1.1]
