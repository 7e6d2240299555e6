"""When a second request is sent, and what becomes of the two."""

from __future__ import annotations

import anyio
import pytest

from asyncfetch.engine import Engine, HedgePolicy, Reply, Request
from asyncfetch.errors import ConnectError
from asyncfetch.events import RequestHedged
from asyncfetch.settings import Settings


def knowing(*elapsed_s, times=20):
    policy = HedgePolicy()
    for _ in range(times):
        for each in elapsed_s:
            policy.succeeded(each)
    return policy


def test_nothing_is_late_while_too_little_is_known():
    policy = knowing(1.0, times=19)
    assert policy.after_s() is None
    policy.succeeded(1.0)
    assert policy.after_s() == pytest.approx(1.5)


def test_late_is_half_as_long_again_as_almost_all_take():
    policy = HedgePolicy()
    for k in range(100):
        policy.succeeded(50.0 if k >= 96 else k / 95)
    assert policy.after_s() == pytest.approx(1.5 * 94 / 95)


def test_only_the_latest_count():
    policy = knowing(10.0, times=500)
    for _ in range(200):
        policy.succeeded(0.1)
    assert policy.after_s() == pytest.approx(0.15)


def test_a_second_request_is_earned_by_twenty_successes():
    policy = HedgePolicy()
    assert policy.take()
    for n in range(1, 20):
        policy.succeeded(1.0)
        assert not policy.take(), n
    policy.succeeded(1.0)
    policy.succeeded(1.0)
    assert policy.take()
    assert not policy.take()


def test_no_more_than_five_are_saved_up():
    policy = knowing(1.0, times=1000)
    assert [policy.take() for _ in range(6)] == [True] * 5 + [False]
    assert repr(policy) == "HedgePolicy(200 known, 0 tokens)"


HEDGED = Settings(requests_per_s=1e6, jobs=4, hedge=True, attempts=1)


@pytest.fixture
def anyio_backend(virtual_time):
    return virtual_time


class Host:
    """A host that takes a tenth of a second, but what its plan says for the first and the second of a URL."""

    def __init__(self, plans=None):
        self.plans = plans or {}
        self.asked, self.cancelled = [], []
        self.n_open = self.most_open = 0

    async def fetch(self, url, limit_bytes, on_bytes=None, *, fresh=False):
        begin = anyio.current_time()
        number = self.asked.count(url)
        self.asked.append(url)
        self.n_open += 1
        self.most_open = max(self.most_open, self.n_open)
        plan = self.plans.get(url, [])
        answer = plan[number] if number < len(plan) else 0.1
        try:
            if isinstance(answer, tuple):
                await anyio.sleep(answer[0])
                raise ConnectError(answer[1])
            await anyio.sleep(answer)
        except anyio.get_cancelled_exc_class():
            self.cancelled.append((url, number))
            raise
        finally:
            self.n_open -= 1
        return Reply(url, 200, {}, f"{number}".encode(), anyio.current_time() - begin)

    async def aclose(self):
        pass


async def fetch(engine, name, got=None, companion=None):
    async def body_of(reply, _accept):
        return reply.body

    body = await engine.fetch(Request(f"http://x/{name}", "image", 10), body_of, companion=companion)
    if got is not None:
        got[name] = body
    return body


async def learn(engine, n=25):
    for k in range(n):
        await fetch(engine, f"warm {k}")


@pytest.mark.anyio
async def test_a_companion_is_told_once_of_a_request_that_is_sent_twice(companion):
    host = Host({"http://x/late": [60.0, 0.1]})
    async with Engine(HEDGED, host) as engine:
        await learn(engine)
        await fetch(engine, "late", companion=companion)
    assert host.asked.count("http://x/late") == 2
    assert companion.told == ["sent", "accepted"]


@pytest.mark.anyio
async def test_only_what_is_late_is_asked_for_twice_and_the_first_answer_counts():
    host, events = Host({"http://x/late": [60.0, 0.1]}), []
    async with Engine(HEDGED, host, events.append) as engine:
        await learn(engine)
        begin = anyio.current_time()
        assert await fetch(engine, "late") == b"1"
        assert anyio.current_time() - begin == pytest.approx(0.15 + 0.1, abs=0.01)
        assert await fetch(engine, "soon") == b"0"
    assert host.asked.count("http://x/late") == 2
    assert host.asked.count("http://x/soon") == 1
    assert host.cancelled == [("http://x/late", 0)]
    assert host.n_open == 0
    hedged = [event for event in events if isinstance(event, RequestHedged)]
    assert [(event.url, event.attempt) for event in hedged] == [("http://x/late", 1)]
    assert hedged[0].after_s == pytest.approx(0.15, abs=0.01)


@pytest.mark.anyio
async def test_a_first_request_that_comes_before_the_second_is_taken():
    host = Host({"http://x/late": [0.3, 60.0]})
    async with Engine(HEDGED, host) as engine:
        await learn(engine)
        assert await fetch(engine, "late") == b"0"
        assert "images 0/4" in repr(engine)
    assert host.cancelled == [("http://x/late", 1)]


@pytest.mark.anyio
@pytest.mark.parametrize("plan", [[(0.3, "first"), 0.5], [0.5, (0.2, "second")]])
async def test_the_failure_of_one_does_not_fail_the_other(plan):
    host = Host({"http://x/late": plan})
    async with Engine(HEDGED, host) as engine:
        await learn(engine)
        assert await fetch(engine, "late") in {b"0", b"1"}
    assert host.asked.count("http://x/late") == 2


@pytest.mark.anyio
async def test_the_first_error_is_raised_when_both_fail():
    host = Host({"http://x/late": [(0.4, "first"), (0.1, "second")]})
    async with Engine(HEDGED, host) as engine:
        await learn(engine)
        with pytest.raises(ConnectError, match="second"):
            await fetch(engine, "late")
        assert "images 0/4" in repr(engine)


@pytest.mark.anyio
async def test_a_request_that_fails_before_it_is_late_is_not_sent_twice():
    host = Host({"http://x/bad": [(0.05, "bad")]})
    async with Engine(HEDGED, host) as engine:
        await learn(engine)
        begin = anyio.current_time()
        with pytest.raises(ConnectError):
            await fetch(engine, "bad")
        assert anyio.current_time() - begin < 0.1
    assert host.asked.count("http://x/bad") == 1


@pytest.mark.anyio
async def test_both_requests_stay_within_the_places():
    names = [f"late {k}" for k in range(40)]
    host, got = Host({f"http://x/{name}": [5.0, 5.0] for name in names}), {}
    async with Engine(HEDGED, host) as engine:
        await learn(engine, 120)
        async with anyio.create_task_group() as group:
            for name in names:
                group.start_soon(fetch, engine, name, got)
    assert len(got) == 40
    assert host.most_open == 4


@pytest.mark.anyio
async def test_a_server_that_became_slow_gets_one_request_in_twenty_more_at_the_most():
    host, got = Host(), {}
    # with room for all, so that no second request waits until the first is answered
    async with Engine(HEDGED.replace(jobs=300), host) as engine:
        await learn(engine, 20)
        for k in range(200):
            host.plans[f"http://x/{k}"] = [1000.0, 1000.0]
        async with anyio.create_task_group() as group:
            for k in range(200):
                group.start_soon(fetch, engine, k, got)
    assert len(got) == 200
    assert 220 < len(host.asked) <= 220 * 1.05 + 1


@pytest.mark.anyio
async def test_a_second_request_whose_first_is_answered_while_it_waits_is_not_sent():
    host, got = Host({f"http://x/{k}": [1000.0, 1000.0] for k in range(4)}), {}
    async with Engine(HEDGED.replace(jobs=4), host) as engine:
        await learn(engine, 20)
        async with anyio.create_task_group() as group:
            for k in range(4):
                group.start_soon(fetch, engine, k, got)
    assert len(got) == 4
    assert len(host.asked) == 20 + 4


@pytest.mark.anyio
async def test_a_second_request_does_not_stand_behind_all_that_waits():
    host, events, got = Host({"http://x/late": [1000.0, 0.1]}), [], {}
    async with Engine(HEDGED, host, events.append) as engine:
        await learn(engine)
        async with anyio.create_task_group() as group:
            group.start_soon(fetch, engine, "late", got)
            for k in range(400):
                group.start_soon(fetch, engine, k, got)
            await anyio.sleep(1.0)
            assert got["late"] == b"1"
            assert len(got) < 100
    assert len([event for event in events if isinstance(event, RequestHedged)]) == 1


@pytest.mark.anyio
async def test_no_second_request_is_sent_unless_it_is_asked_for():
    host = Host({"http://x/late": [60.0, 0.1]})
    async with Engine(HEDGED.replace(hedge=False), host) as engine:
        await learn(engine)
        assert await fetch(engine, "late") == b"0"
    assert not Settings().hedge
    assert host.asked.count("http://x/late") == 1


@pytest.mark.anyio
async def test_metadata_are_never_asked_for_twice():
    host = Host({"http://x/rows": [60.0, 0.1]})

    async def nothing(_reply, _accept):
        pass

    async with Engine(HEDGED, host) as engine:
        await learn(engine)
        await engine.fetch(Request("http://x/rows", "metadata", 10), nothing)
    assert host.asked.count("http://x/rows") == 1


@pytest.mark.anyio
async def test_one_cancelled_while_two_are_on_their_way_takes_both_along():
    host = Host({"http://x/late": [60.0, 60.0]})
    async with Engine(HEDGED, host) as engine:
        await learn(engine)
        with anyio.move_on_after(10.0):
            await fetch(engine, "late")
        assert host.n_open == 0
        assert len(host.cancelled) == 2
        assert "images 0/4" in repr(engine)
