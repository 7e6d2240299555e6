from __future__ import annotations

import anyio
import pytest

from asyncfetch.engine import Engine, Request
from asyncfetch.errors import ConnectError, CorruptImageError, NotFoundError, StatusError
from asyncfetch.events import RequestAccepted, RequestFailed, RequestFinished, RequestRetried, RequestStarted
from asyncfetch.settings import Settings

pytestmark = pytest.mark.anyio

FREE = Settings(requests_per_s=1e6, jobs=2, attempts=4)
REQUEST = Request("http://x/1", "image", 1000, "image 1")


@pytest.fixture
def anyio_backend(virtual_time):
    return virtual_time


async def body_of(reply, _accept):
    return reply.body


async def test_the_result_of_the_check_is_returned(scripted):
    async with Engine(FREE, scripted([b"abc"])) as engine:
        assert await engine.fetch(REQUEST, body_of) == b"abc"


async def test_the_engine_closes_its_transport(scripted):
    transport = scripted()
    async with Engine(FREE, transport):
        assert not transport.is_closed
    assert transport.is_closed


async def test_a_failed_transport_is_tried_again_after_the_jittered_delay(scripted):
    transport = scripted([ConnectError("a"), ConnectError("b"), b"abc"])
    async with Engine(FREE, transport, random=lambda: 0.5) as engine:
        begin = anyio.current_time()
        assert await engine.fetch(REQUEST, body_of) == b"abc"
    assert anyio.current_time() - begin == pytest.approx(0.5 + 1.0, abs=1e-3)
    assert len(transport.urls) == 3


async def test_a_failed_check_is_tried_again(scripted):
    async def check(reply, _accept):
        if reply.body == b"bad":
            raise CorruptImageError("cut short")
        return reply.body

    async with Engine(FREE, scripted([b"bad", b"good"])) as engine:
        assert await engine.fetch(REQUEST, check) == b"good"


async def test_the_last_error_is_raised_when_attempts_run_out(scripted):
    errors = [ConnectError(name) for name in "abcde"]
    transport = scripted(errors)
    async with Engine(FREE, transport) as engine:
        with pytest.raises(ConnectError) as caught:
            await engine.fetch(REQUEST, body_of)
    assert caught.value is errors[3]
    assert len(transport.urls) == 4


async def test_what_cannot_heal_is_raised_at_once(scripted):
    transport = scripted([NotFoundError("none")])
    async with Engine(FREE, transport) as engine:
        with pytest.raises(NotFoundError):
            await engine.fetch(REQUEST, body_of)
    assert len(transport.urls) == 1


async def test_a_bug_in_the_check_is_not_tried_again(scripted):
    async def check(_reply, _accept):
        raise ZeroDivisionError

    transport = scripted()
    async with Engine(FREE, transport) as engine:
        with pytest.raises(ZeroDivisionError):
            await engine.fetch(REQUEST, check)
    assert len(transport.urls) == 1


async def test_an_error_after_accept_is_the_callers_and_is_not_tried_again(scripted, companion):
    events, error = [], CorruptImageError("said by the caller")

    async def check(_reply, accept):
        accept()
        raise error

    transport = scripted()
    async with Engine(FREE, transport, events.append) as engine:
        before = repr(engine)
        with pytest.raises(CorruptImageError) as caught:
            await engine.fetch(REQUEST, check, companion=companion)
        assert repr(engine) == before
    assert (caught.value, error.args) == (error, ("said by the caller",))
    assert len(transport.urls) == 1
    assert [type(event) for event in events] == [RequestStarted, RequestFinished, RequestAccepted]
    assert companion.told == ["sent", "accepted"]


@pytest.mark.parametrize(
    ("accepts", "check_s"), [(True, 1.0), (False, 6.0)], ids=["accepted", "accepted by returning"]
)
async def test_the_time_after_accept_does_not_count_as_the_requests(scripted, accepts, check_s):
    events = []

    async def check(_reply, accept):
        await anyio.sleep(1.0)
        if accepts:
            accept()
        await anyio.sleep(5.0)

    async with Engine(FREE, scripted(), events.append) as engine:
        await engine.fetch(REQUEST, check)
    (accepted,) = [event for event in events if isinstance(event, RequestAccepted)]
    assert accepted.check_s == pytest.approx(check_s, abs=1e-3)


async def test_a_request_is_done_at_accept_while_its_check_goes_on(scripted, companion):
    events, told = [], []

    async def check(_reply, accept):
        accept()
        accept()
        await anyio.wait_all_tasks_blocked()
        told.append((type(events[-1]), list(companion.told)))

    async with Engine(FREE, scripted(), events.append) as engine:
        await engine.fetch(REQUEST, check, companion=companion)
    assert told == [(RequestAccepted, ["sent", "accepted"])]
    assert len(events) == 3


async def test_a_companion_is_told_in_order_what_becomes_of_its_request(scripted, companion):
    async def check(reply, accept):
        if reply.body == b"bad":
            raise CorruptImageError("cut short")
        accept()

    transport = scripted([ConnectError("a"), b"bad", b"good"])
    async with Engine(FREE, transport, random=lambda: 0.5) as engine:
        await engine.fetch(REQUEST, check, companion=companion)
    assert companion.told == ["sent", "parked", "sent", "parked", "sent", "accepted"]


async def test_a_companion_is_told_nothing_more_of_a_request_that_failed(scripted, companion):
    async with Engine(FREE, scripted([NotFoundError("none")])) as engine:
        with pytest.raises(NotFoundError):
            await engine.fetch(REQUEST, body_of, companion=companion)
    assert companion.told == ["sent"]


async def test_a_companion_is_not_told_that_what_waits_for_a_place_is_sent(scripted, companion):
    transport = scripted([anyio.sleep_forever])
    async with Engine(FREE.replace(jobs=1), transport) as engine, anyio.create_task_group() as group:
        group.start_soon(engine.fetch, REQUEST, body_of)
        await anyio.wait_all_tasks_blocked()
        with anyio.move_on_after(1.0):
            await engine.fetch(REQUEST, body_of, companion=companion)
        group.cancel_scope.cancel()
    assert companion.told == []


async def test_an_error_of_a_listener_is_raised_by_the_fetch_that_it_is_told_of(scripted):
    async def check(_reply, accept):
        accept()
        await anyio.wait_all_tasks_blocked()

    def listen(event):
        if isinstance(event, RequestAccepted):
            raise ZeroDivisionError

    transport = scripted()
    async with Engine(FREE, transport, listen) as engine:
        with pytest.raises(ZeroDivisionError):
            await engine.fetch(REQUEST, check)
    assert len(transport.urls) == 1


async def test_retry_after_is_obeyed(scripted):
    transport = scripted([StatusError("busy", status=503, retry_after="7"), b"abc"])
    async with Engine(FREE, transport, random=lambda: 0.0) as engine:
        begin = anyio.current_time()
        await engine.fetch(REQUEST, body_of)
    assert anyio.current_time() - begin == pytest.approx(7.0, abs=1e-3)


@pytest.mark.parametrize(
    "error",
    [
        StatusError("not yet", status=202, retry_after="7"),
        StatusError("slow down", status=403, retry_after="7"),
        NotFoundError("not yet", retry_after="7"),
    ],
    ids=["202", "403", "404"],
)
async def test_retry_after_is_obeyed_whatever_the_status(scripted, error):
    async with Engine(FREE, scripted([error, b"abc"]), random=lambda: 0.0) as engine:
        begin = anyio.current_time()
        assert await engine.fetch(REQUEST, body_of) == b"abc"
    assert anyio.current_time() - begin == pytest.approx(7.0, abs=1e-3)


async def test_a_request_waits_no_longer_than_the_patience_because_it_is_asked_to(scripted):
    transport = scripted([StatusError("not yet", status=202, retry_after="40") for _ in range(4)])
    async with Engine(FREE.replace(outage_patience_s=100.0), transport, random=lambda: 0.0) as engine:
        begin = anyio.current_time()
        with pytest.raises(StatusError):
            await engine.fetch(REQUEST, body_of)
    assert anyio.current_time() - begin == pytest.approx(80.0, abs=1e-3)


@pytest.mark.parametrize("status", [202, 403, 429, 503])
async def test_a_wait_of_years_fails_the_item_at_once_and_holds_up_nobody(scripted, status):
    error = StatusError("later", status=status, retry_after="100000000")
    async with Engine(FREE, scripted([b"first", error, b"abc"]), random=lambda: 0.0) as engine:
        begin = anyio.current_time()
        await engine.fetch(REQUEST, body_of)
        with pytest.raises(StatusError):
            await engine.fetch(REQUEST, body_of)
        assert await engine.fetch(REQUEST, body_of) == b"abc"
    assert anyio.current_time() - begin <= 1.0


async def test_every_step_is_told(scripted):
    events = []
    transport = scripted([ConnectError("a"), b"abc", NotFoundError("none")])
    async with Engine(FREE, transport, events.append, random=lambda: 0.5) as engine:
        await engine.fetch(REQUEST, body_of)
        with pytest.raises(NotFoundError):
            await engine.fetch(REQUEST, body_of)
    same = {"url": "http://x/1", "kind": "image"}
    assert events == [
        RequestStarted(**same, attempt=1),
        RequestRetried(**same, attempt=1, error="ConnectError", cause="image 1: a", delay_s=0.5),
        RequestStarted(**same, attempt=2),
        RequestFinished(**same, attempt=2, status=200, size_bytes=3, elapsed_s=0.0),
        RequestAccepted(**same, attempt=2, check_s=0.0),
        RequestStarted(**same, attempt=1),
        RequestFailed(**same, attempt=1, error="NotFoundError", cause="image 1: none"),
    ]


async def test_no_place_is_held_while_a_check_runs(scripted):
    transport, opened = scripted(), anyio.Event()
    n_checking = 0

    async def check(_reply, _accept):
        nonlocal n_checking
        n_checking += 1
        if n_checking == 5:
            opened.set()
        await opened.wait()

    async with Engine(FREE, transport) as engine, anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(engine.fetch, REQUEST, check)
    assert n_checking == 5


async def test_no_place_is_held_while_a_retry_waits(scripted):
    transport = scripted([ConnectError("a"), ConnectError("b")])
    done = []

    async def fetch(engine, name):
        await engine.fetch(REQUEST, body_of)
        done.append(name)

    async with Engine(FREE, transport, random=lambda: 0.9) as engine, anyio.create_task_group() as group:
        for name in "abc":
            group.start_soon(fetch, engine, name)
            await anyio.wait_all_tasks_blocked()
    assert done[0] == "c"


async def test_images_are_never_more_than_the_jobs(scripted):
    async def slowly():
        await anyio.sleep(1.0)
        return b"x"

    transport = scripted([slowly] * 9)
    async with Engine(FREE, transport) as engine, anyio.create_task_group() as group:
        for _ in range(9):
            group.start_soon(engine.fetch, REQUEST, body_of)
    assert transport.most_open == 2


async def test_an_outage_does_not_multiply_the_traffic(scripted):
    n, n_failed = 500, 0
    transport = scripted([ConnectError("down") for _ in range(4 * n)])

    async def fetch(engine):
        nonlocal n_failed
        try:
            await engine.fetch(REQUEST, body_of)
        except ConnectError as error:
            n_failed += 1
            last = str(error)
        return last

    async with Engine(FREE, transport) as engine:
        async with anyio.create_task_group() as group:
            for _ in range(n - 1):
                group.start_soon(fetch, engine)
        assert "not asked again" in await fetch(engine)
    assert n_failed == n
    assert len(transport.urls) == n + 100


async def test_received_bytes_are_held_back_inside_the_place(scripted):
    settings = Settings(requests_per_s=1e6, bytes_per_s=100.0)
    async with Engine(settings, scripted([b"x" * 250, b"x" * 50])) as engine:
        begin = anyio.current_time()
        async with anyio.create_task_group() as group:
            group.start_soon(engine.fetch, REQUEST, body_of)
            group.start_soon(engine.fetch, REQUEST, body_of)
        assert anyio.current_time() - begin == pytest.approx(3.0, abs=1e-3)


async def test_a_cancelled_fetch_leaves_the_engine_as_it_was(scripted):
    async with Engine(FREE, scripted([anyio.sleep_forever, b"next"])) as engine:
        before = repr(engine)
        with anyio.move_on_after(1.0):
            await engine.fetch(REQUEST, body_of)
        assert repr(engine).split("Retry")[0] == before.split("Retry")[0]
        assert await engine.fetch(REQUEST, body_of) == b"next"


async def test_reservations_are_those_of_the_gate(scripted):
    async with Engine(FREE, scripted()) as engine, engine.reserve(1000):
        assert "ByteBudget(1000/" in repr(engine)
