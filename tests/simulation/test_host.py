from __future__ import annotations

from itertools import pairwise

import anyio
import pytest

from asyncfetch.errors import BodyTooLargeError, ConnectError, StatusError, TruncatedError
from benchmarks.simulation.clock import run_virtually
from benchmarks.simulation.conditions import Flapping, Latency, MostOpen, Sizes, Speeds, Steady
from benchmarks.simulation.host import HTML_BODY, SimulatedHost
from benchmarks.simulation.kinds import KINDS
from benchmarks.simulation.runs import simulate

pytestmark = pytest.mark.anyio

EXACT = Latency(0.1, sigma=0.0)


def plain_host(size=1_000_000, speed=1e6, **options):
    return SimulatedHost(Sizes(size, 0, sigma=0.0), Speeds(speed, speed, 0), EXACT, **options)


async def fetch_all(host, n, on_bytes=None):
    replies = []

    async def fetch(k):
        replies.append(await host.fetch(f"http://host/{k}", 2**40, on_bytes))

    async with anyio.create_task_group() as group:
        for k in range(n):
            group.start_soon(fetch, k)
    await host.aclose()
    return replies


async def test_a_body_takes_its_latency_and_its_size_over_its_speed():
    (reply,) = await fetch_all(plain_host(), 1)
    assert reply.elapsed_s == pytest.approx(1.1, abs=1e-4)
    assert len(reply.body) == 1_000_000


async def test_four_bodies_share_what_the_host_sends_in_all():
    replies = await fetch_all(plain_host(capacity=Steady(2e6)), 4)
    assert [reply.elapsed_s for reply in replies] == pytest.approx([2.1] * 4, abs=1e-4)


async def test_the_bytes_that_were_told_flowed_and_came_are_the_same():
    host = SimulatedHost(Sizes(1e6, 1), Speeds(0.5e6, 4e6, 1), Latency(0.1), Steady(5e6), seed=1)
    told = []
    replies = await fetch_all(host, 50, told.append)
    total = sum(len(reply.body) for reply in replies)
    assert sum(told) == total == host.tally.whole_bytes
    assert sum(host.tally.sent_bytes) == pytest.approx(total)
    assert max(host.tally.sent_bytes) <= 5e6 * host.tally.bin_s * (1 + 1e-9)


async def test_bytes_are_told_while_they_flow():
    times = []
    begin = anyio.current_time()
    await fetch_all(plain_host(), 1, lambda _n: times.append(anyio.current_time() - begin))
    gaps = [after - before for before, after in pairwise(times)]
    assert times[0] == pytest.approx(0.1, abs=1e-4)
    assert max(gaps) < 0.06


async def test_nothing_flows_while_the_reader_waits():
    waits = []

    def wait_once(_n_bytes):
        if len(waits) < 2:
            waits.append(None)
            return anyio.sleep(3.0)
        return None

    (reply,) = await fetch_all(plain_host(), 1, wait_once)
    assert reply.elapsed_s == pytest.approx(7.1, abs=1e-3)


async def test_a_waiting_reader_leaves_its_share_to_others():
    host = plain_host(capacity=Steady(1e6))
    done = {}

    async def fetch(name, on_bytes):
        await host.fetch(f"http://host/{name}", 2**40, on_bytes)
        done[name] = anyio.current_time()

    begin = anyio.current_time()
    async with anyio.create_task_group() as group:
        group.start_soon(fetch, "waits", lambda n: anyio.sleep(10.0) if n > 1400 else None)
        group.start_soon(fetch, "reads", None)
        with anyio.move_on_after(5.0):
            await anyio.sleep_forever()
        group.cancel_scope.cancel()
    assert done["reads"] - begin == pytest.approx(1.1, abs=0.06)


async def test_errors_are_those_of_the_real_transport():
    host = plain_host(door=MostOpen(0))
    with pytest.raises(StatusError) as caught:
        await host.fetch("http://host/1", 2**40)
    assert (caught.value.status, caught.value.retry_after) == (429, "2")
    with pytest.raises(BodyTooLargeError):
        await plain_host().fetch("http://host/1", 1000)
    assert host.tally.all_errors() == {"429": 1}


async def test_an_outage_cuts_bodies_and_then_refuses():
    begin = anyio.current_time()
    host = plain_host(size=500_000_000, door=Flapping(begin, 120.0, (30.0, 30.0), 0))
    with pytest.raises(TruncatedError) as caught:
        await host.fetch("http://host/1", 2**40, lambda _n: None)
    assert anyio.current_time() - begin == pytest.approx(120.0, abs=1e-3)
    assert caught.value.received_bytes == pytest.approx(119.9e6, rel=1e-3)
    with pytest.raises(ConnectError):
        await host.fetch("http://host/1", 2**40)
    assert sum(host.tally.lost_bytes) == pytest.approx(sum(host.tally.sent_bytes))


async def test_an_outage_can_answer_with_a_page():
    begin = anyio.current_time()
    host = plain_host(size=1000, door=Flapping(begin, 10.0, (10.0, 10.0), 0))
    await anyio.sleep(52.0)
    assert (await host.fetch("http://host/1", 2**40)).body is HTML_BODY


async def test_a_cancelled_body_leaves_the_others_their_speed():
    host = plain_host(capacity=Steady(1e6))
    begin = anyio.current_time()
    async with anyio.create_task_group() as group:
        with anyio.move_on_after(0.6):
            group.start_soon(host.fetch, "http://host/1", 2**40)
            await host.fetch("http://host/2", 2**40)
    # 0.25 MB each until then, and the rest of one alone
    assert anyio.current_time() - begin == pytest.approx(1.35, abs=1e-3)
    assert host.tally.n_open == 0


async def test_open_connections_are_counted_over_time():
    host = plain_host(bin_s=1.0)
    await fetch_all(host, 3)
    assert host.tally.most_open == 3
    assert sum(host.tally.open_s) == pytest.approx(3 * 1.1, abs=1e-3)


@pytest.mark.parametrize("name", ["collapsing", "throttling_starts"])
def test_a_seed_gives_the_same_run_again_and_another_seed_another(name):
    def once(seed):
        run = simulate(KINDS[name], "auto", seed, seconds=15.0)
        return list(run.tally.starts), run.tally.sent_bytes

    assert once(1) == once(1) != once(2)


def test_a_host_makes_its_body_from_one_buffer():
    async def fetch_two():
        host = plain_host()
        return await fetch_all(host, 2)

    one, two = run_virtually(fetch_two)
    assert one.body.obj is two.body.obj
