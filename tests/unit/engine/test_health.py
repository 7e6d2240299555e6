"""Pauses and outages: the machine by itself, and the engine in virtual time against a host that is down for a while."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

import anyio
import pytest

from asyncfetch.engine import Engine, HostHealth, Reply, Request
from asyncfetch.engine.health import is_of_the_host, is_refusal
from asyncfetch.errors import (
    ConnectError,
    CorruptImageError,
    NotAnImageError,
    NotFoundError,
    OutageError,
    ReplyError,
    StallError,
    StatusError,
    TruncatedError,
)
from asyncfetch.events import (
    HostPaused,
    OutageBegan,
    OutageEnded,
    OutageProbed,
    RequestFailed,
    RequestFinished,
    RequestRetried,
)
from asyncfetch.settings import Settings

NOW_UTC = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


def busy(retry_after=None, status=503):
    return StatusError("busy", status=status, retry_after=retry_after)


class Told:
    """A health that is told of answers and failures at times of a test's choice."""

    def __init__(self, *, has_answered=True, base_s=1.0):
        self.health = HostHealth(base_s)
        if has_answered:
            self.health.answered(0.0, 0.0)

    def fail(self, error, now, *, opened=None, random=0.5):
        return self.health.failed(error, now if opened is None else opened, now, NOW_UTC, random)

    def fall(self, now=10.0):
        """Bring the outage about."""
        changes = [self.fail(ConnectError("down"), now) for _ in range(5)]
        assert changes == [None, None, None, None, "outage"]
        return self.health


@pytest.mark.parametrize(
    ("retry_after", "pause_s"),
    [("7", 7.0), ("Sun, 01 Mar 2026 12:00:30 GMT", 30.0), ("0.5", 0.5)],
)
def test_a_pause_lasts_as_long_as_retry_after_says(retry_after, pause_s):
    told = Told()
    assert told.fail(busy(retry_after), 10.0) == "paused"
    assert not told.health.is_open()
    assert told.health.wait_s(10.0) == pytest.approx(pause_s)
    assert told.health.wait_s(10.0 + pause_s / 2) == pytest.approx(pause_s / 2)
    assert told.health.wait_s(10.0 + pause_s) == 0
    assert told.health.is_open()


def test_a_pause_of_which_nobody_says_how_long_doubles_and_is_drawn():
    told, now, waits = Told(), 0.0, []
    for n in range(10):
        told.fail(busy(status=429), now, random=0.0 if n % 2 else 1.0)
        waits.append(told.health.wait_s(now))
        now += waits[-1]
        told.health.wait_s(now)
        told.health._n_failures = 0
    assert waits == pytest.approx([1.0, 1.0, 4.0, 4.0, 16.0, 16.0, 60.0, 30.0, 60.0, 30.0])


def test_a_403_that_asks_to_wait_is_a_pause_and_another_is_not():
    told = Told()
    assert told.fail(busy(status=403), 10.0) is None
    assert told.fail(busy("7", status=403), 10.0) == "paused"
    assert told.health.wait_s(10.0) == pytest.approx(7.0)


@pytest.mark.parametrize("retry_after", ["100000000", "9" * 5000, "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_a_pause_beyond_the_patience_is_as_one_of_which_nobody_says_how_long(retry_after):
    told = Told()
    assert told.fail(busy(retry_after), 10.0, random=1.0) == "paused"
    assert told.health.wait_s(10.0) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("error", "is_silent"),
    [
        (ConnectError("refused"), True),
        (StallError("no byte"), True),
        (busy("1"), False),
        (busy("1", status=403), False),
        (StatusError("x", status=500), False),
        (NotAnImageError("x", beginning=b"<html>"), False),
        (ReplyError("a page"), False),
    ],
)
def test_a_server_that_answers_with_errors_is_not_silent(error, is_silent):
    told = Told()
    for k in range(5):
        told.fail(error, 10.0 + 2 * k)
    assert (told.health.is_out(), told.health.is_silent) == (True, is_silent)


def test_many_refusals_at_once_are_one_pause_and_one_failure():
    told = Told()
    assert told.fail(busy(), 10.0, opened=9.0, random=0.0) == "paused"
    for k in range(1, 50):
        assert told.fail(busy(), 10.0 + k / 1000, opened=9.0 + k / 1000, random=0.9) is None
    assert told.health.wait_s(10.05) == pytest.approx(0.45)
    assert told.health.state == "paused"
    assert "2 failures in a row" in repr(told.health)
    # the next one is twice as long, and not 2**50 times
    told.health.wait_s(10.5)
    told.fail(busy(), 11.0, random=0.0)
    assert told.health.wait_s(11.0) == pytest.approx(1.0)


def test_a_pause_is_made_longer_and_never_shorter():
    told = Told()
    told.fail(busy("20"), 10.0)
    assert told.fail(busy("5"), 10.1) is None
    assert told.health.wait_s(11.0) == pytest.approx(19.0)
    assert told.fail(busy("60"), 11.0, opened=9.0) is None
    assert told.health.wait_s(11.0) == pytest.approx(60.0)


def test_an_answer_makes_the_next_pause_short_again():
    told, now = Told(), 0.0
    for _ in range(4):
        told.fail(busy(), now, random=1.0)
        now += told.health.wait_s(now)
        told.health.wait_s(now)
    told.health.answered(now, now)
    told.fail(busy(), now + 1, random=1.0)
    assert told.health.wait_s(now + 1) == pytest.approx(1.0)


@pytest.mark.parametrize(
    "error",
    [
        ConnectError("refused"),
        StallError("no byte"),
        StatusError("x", status=500),
        StatusError("x", status=502),
        ReplyError("a page"),
        NotAnImageError("x", beginning=b"<html>"),
        NotAnImageError("x", beginning=b" \n<!DOCTYPE html>"),
    ],
)
def test_five_failures_of_the_host_in_a_row_are_an_outage(error):
    told = Told()
    assert [told.fail(error, 10.0 + k) for k in range(5)] == [None] * 4 + ["outage"]
    assert told.health.is_out()
    assert told.health.since == 14.0
    assert told.health.cause == error.message
    assert told.health.wait_s(14.0) == pytest.approx(1.0)


@pytest.mark.parametrize(
    "error",
    [
        CorruptImageError("cut"),
        NotFoundError("none"),
        StallError("slow", received_bytes=1),
        TruncatedError("short", received_bytes=9),
        NotAnImageError("a GIF", beginning=b"GIF89a"),
        StatusError("forbidden", status=403),
    ],
)
def test_broken_items_are_no_outage_however_many(error):
    told = Told()
    assert {told.fail(error, 10.0 + k) for k in range(100)} == {None}
    assert told.health.is_open()


def test_before_anything_was_answered_there_is_no_outage():
    told = Told(has_answered=False)
    assert {told.fail(ConnectError("unknown host"), float(k)) for k in range(100)} == {None}
    assert told.health.is_open()


def test_an_answer_in_between_begins_the_count_again():
    told = Told()
    for k in range(20):
        told.fail(ConnectError("x"), float(k))
        if k % 4 == 3:
            told.health.answered(float(k), float(k))
    assert told.health.is_open()


def test_refusals_one_after_another_are_an_outage_too():
    told, changes = Told(), []
    for k in range(3):
        changes.append(told.fail(busy("1"), 10.0 + 2 * k))
        told.health.wait_s(11.5 + 2 * k)
    assert changes == ["paused", "paused", "outage"]


def test_probes_come_when_an_outage_has_lasted_a_quarter_longer_once_a_minute_at_least():
    health = Told().fall(now=10.0)
    now, times = 10.0, []
    while now < 1000.0:
        now += health.wait_s(now)
        times.append(now - 10.0)
        health.probed(now)
    assert times[:6] == pytest.approx([1.0, 2.0, 3.0, 4.0, 5.0, 6.25])
    gaps = [after - before for before, after in pairwise(times)]
    assert gaps[5:12] == pytest.approx([time / 4 for time in times[5:12]])
    assert max(gaps) == pytest.approx(60.0)


def test_an_answer_ends_an_outage_and_says_so_once():
    health = Told().fall()
    assert health.answered(5.0, 11.0) is True
    assert health.is_open()
    assert health.answered(5.0, 11.0) is False


def test_an_answer_that_came_before_and_was_proved_after_does_not_end_an_outage():
    health = Told().fall(now=10.0)
    assert health.answered(5.0, 9.9) is False
    assert health.is_out()


def test_refusals_ask_for_fewer_and_other_errors_do_not():
    assert is_refusal(busy())
    assert is_refusal(busy(status=429))
    assert is_refusal(ConnectError("x"))
    assert not is_refusal(StatusError("x", status=500))
    assert not is_refusal(StallError("x"))
    assert not is_of_the_host(NotFoundError("x"))


# The engine, from here on.

SETTINGS = Settings(requests_per_s=1000.0, jobs=4, retry_base_s=1.0)


@pytest.fixture
def anyio_backend(virtual_time):
    return virtual_time


class Host:
    """A host that answers every URL, fails while down, and always where a URL has a fault of its own."""

    def __init__(self, latency_s=0.05):
        self.latency_s = latency_s
        self.error = None
        self.faults = {}
        self.asked, self.is_fresh = [], []
        self.begins = anyio.current_time()

    async def fetch(self, url, limit_bytes, on_bytes=None, *, fresh=False):
        self.asked.append((anyio.current_time() - self.begins, url))
        self.is_fresh.append(fresh)
        await anyio.sleep(self.latency_s)
        error = self.error or self.faults.get(url)
        if error is not None:
            raise type(error)(error.message, **{k: v for k, v in vars(error).items() if k == "status"})
        return Reply(url, 200, {}, b"\xff\xd8 image", self.latency_s)

    async def aclose(self):
        pass


class Outcomes:
    """What became of each of many things that were fetched from an engine."""

    def __init__(self, engine):
        self.engine = engine
        self.done, self.failed = [], {}

    async def fetch(self, name, kind="image"):
        try:
            await self.engine.fetch(Request(f"http://x/{name}", kind, 1000), self.check)
        except (OutageError, StatusError, ConnectError, CorruptImageError, NotFoundError) as error:
            self.failed[name] = error
        else:
            self.done.append(name)

    async def check(self, reply, _accept):
        return reply.body

    async def fetch_all(self, names):
        async with anyio.create_task_group() as group:
            for name in names:
                group.start_soon(self.fetch, name)


async def fall(host, engine, error=None):
    """Let an engine meet a host that answers, and then one that does not, until it knows."""
    outcomes = Outcomes(engine)
    await outcomes.fetch("canary")
    host.error = error or ConnectError("down")
    return outcomes


def of_type(events, kind):
    return [event for event in events if isinstance(event, kind)]


@pytest.mark.anyio
async def test_an_outage_is_waited_out_and_no_request_is_lost():
    host, events = Host(), []
    async with Engine(SETTINGS, host, events.append, random=lambda: 0.5) as engine:
        outcomes = await fall(host, engine)
        async with anyio.create_task_group() as group:
            group.start_soon(outcomes.fetch_all, range(50))
            await anyio.sleep(3600.0)
            assert outcomes.done == ["canary"]
            n_before = len(host.asked)
            host.error = None
        assert sorted(outcomes.done[1:]) == list(range(50))
    assert outcomes.failed == {}
    assert len(of_type(events, OutageBegan)) == 1
    ended = of_type(events, OutageEnded)
    assert len(ended) == 1
    # the probe that ends it comes within a minute
    assert 3590.0 <= ended[0].elapsed_s <= 3665.0
    # an hour costs the five failures, what was in flight beside them, and a probe a minute
    assert n_before < 100


@pytest.mark.anyio
async def test_in_an_outage_nothing_is_asked_for_but_the_canary():
    host = Host()
    async with Engine(SETTINGS, host, random=lambda: 0.5) as engine:
        outcomes = await fall(host, engine)
        async with anyio.create_task_group() as group:
            group.start_soon(outcomes.fetch_all, range(30))
            await anyio.sleep(60.0)
            since = host.asked[-1][0]
            await anyio.sleep(600.0)
            probes = [(time, url) for time, url in host.asked if time > since]
            assert {url for _, url in probes} == {"http://x/canary"}
            assert 9 <= len(probes) <= 20
            host.error = None


@pytest.mark.anyio
async def test_a_probe_takes_a_new_connection():
    host = Host()
    async with Engine(SETTINGS, host, random=lambda: 0.5) as engine, anyio.create_task_group() as group:
        outcomes = await fall(host, engine)
        group.start_soon(outcomes.fetch_all, range(6))
        await anyio.sleep(60.0)
        host.error = None
        n_before = len(host.is_fresh)
        await anyio.sleep(60.0)
        assert host.is_fresh[n_before] is True
    assert host.is_fresh[-6:] == [False] * 6


@pytest.mark.anyio
async def test_attempts_that_end_in_an_outage_are_not_counted():
    host, events = Host(), []
    settings = SETTINGS.replace(attempts=2, jobs=1)
    async with Engine(settings, host, events.append, random=lambda: 0.5) as engine:
        outcomes = await fall(host, engine)
        for name in ("a", "b"):
            await outcomes.fetch(name)
        # these four failed for good, the next one brings the outage about
        assert set(outcomes.failed) == {"a", "b"}
        async with anyio.create_task_group() as group:
            group.start_soon(outcomes.fetch, "c")
            await anyio.sleep(300.0)
            host.error = None
        assert outcomes.done == ["canary", "c"]
    assert {event.attempt for event in of_type(events, RequestRetried) if event.url.endswith("/c")} == {1}


@pytest.mark.anyio
async def test_patience_ends_in_an_outage_error_for_everybody_who_waits():
    host, events = Host(), []
    settings = SETTINGS.replace(outage_patience_s=600.0)
    async with Engine(settings, host, events.append, random=lambda: 0.5) as engine:
        outcomes = await fall(host, engine, StatusError("down for maintenance", status=500))
        begin = anyio.current_time()
        await outcomes.fetch_all(range(20))
        elapsed_s = anyio.current_time() - begin
        assert set(outcomes.failed) == set(range(20))
        assert {type(error) for error in outcomes.failed.values()} == {OutageError}
        assert 600.0 <= elapsed_s <= 700.0
        error = outcomes.failed[7]
        assert error.waited_s >= 600.0
        assert "has answered with errors only for" in error.message
        assert "down for maintenance" in error.message
        # whoever comes much later finds a host that is back
        host.error = None
        await anyio.sleep(3600.0)
        await outcomes.fetch("late")
        assert outcomes.done == ["canary", "late"]


@pytest.mark.anyio
async def test_a_canary_that_comes_tells_broken_items_from_an_outage():
    host, events = Host(), []
    settings = SETTINGS.replace(attempts=3)
    async with Engine(settings, host, events.append, random=lambda: 0.5) as engine:
        outcomes = Outcomes(engine)
        await outcomes.fetch("canary")
        broken = [f"broken {k}" for k in range(8)]
        host.faults = {f"http://x/{name}": StatusError("broken", status=500) for name in broken}
        begin = anyio.current_time()
        async with anyio.create_task_group() as group:
            group.start_soon(outcomes.fetch_all, broken)
            group.start_soon(outcomes.fetch_all, range(100))
        assert set(outcomes.failed) == set(broken)
        assert sorted(outcomes.done[1:]) == list(range(100))
        assert anyio.current_time() - begin < 60.0
    assert all(event.elapsed_s < 2.0 for event in of_type(events, OutageEnded))


@pytest.mark.anyio
async def test_a_canary_that_is_answered_by_a_page_does_not_end_an_outage():
    host, events = Host(), []
    async with Engine(SETTINGS, host, events.append, random=lambda: 0.5) as engine:
        outcomes = await fall(host, engine)

        async def answer_a_page(url, limit_bytes, on_bytes=None, **_options):
            return Reply(url, 200, {}, b"<html>down</html>", 0.0)

        async with anyio.create_task_group() as group:
            group.start_soon(outcomes.fetch_all, range(5))
            await anyio.sleep(30.0)
            answer, host.fetch = host.fetch, answer_a_page
            await anyio.sleep(60.0)
            assert engine._gate.health.is_out()
            assert of_type(events, OutageProbed)[-1].cause == "x/canary is answered differently than before"
            host.fetch, host.error = answer, None
        assert len(outcomes.done) == 6


@pytest.mark.anyio
async def test_a_request_in_flight_that_comes_ends_an_outage_at_once():
    host, events = Host(), []
    async with Engine(SETTINGS, host, events.append, random=lambda: 0.5) as engine:
        outcomes = await fall(host, engine)
        host.error = None
        slow = anyio.Event()

        async def wait_and_answer():
            await slow.wait()
            return Reply("http://x/slow", 200, {}, b"\xff\xd8", 0.0)

        answer = host.fetch

        async def fetch(url, limit_bytes, on_bytes=None, *, fresh=False):
            return await (wait_and_answer() if url.endswith("slow") else answer(url, limit_bytes, on_bytes))

        host.fetch = fetch
        async with anyio.create_task_group() as group:
            group.start_soon(outcomes.fetch, "slow")
            await anyio.sleep(1.0)
            host.error = ConnectError("down")
            group.start_soon(outcomes.fetch_all, range(5))
            await anyio.sleep(1000.0)
            assert engine._gate.health.is_out()
            host.error = None
            begin = anyio.current_time()
            slow.set()
        assert anyio.current_time() - begin < 2.0
    assert len(outcomes.done) == 7
    assert len(of_type(events, OutageEnded)) == 1


@pytest.mark.anyio
async def test_a_host_of_which_nothing_was_kept_is_probed_with_what_waits():
    host = Host()
    async with Engine(SETTINGS, host, random=lambda: 0.5) as engine:
        outcomes = Outcomes(engine)
        host.error = NotFoundError("none")
        # it said no, so it is there, but there is nothing of it to ask for again
        await outcomes.fetch("missing")
        host.error = ConnectError("down")
        async with anyio.create_task_group() as group:
            group.start_soon(outcomes.fetch_all, range(8))
            await anyio.sleep(100.0)
            assert engine._gate.health.is_out()
            host.error = None
            begin = anyio.current_time()
        assert anyio.current_time() - begin < 60.0
    assert sorted(outcomes.done) == list(range(8))


@pytest.mark.anyio
async def test_many_refusals_at_once_pause_the_host_once_and_all_come_after_it(scripted):
    n, events = 4, []

    async def refuse():
        await anyio.sleep(0.1)
        return busy("30", status=429)

    transport = scripted([refuse] * n)
    async with Engine(SETTINGS, transport, events.append, random=lambda: 0.5) as engine:
        begin = anyio.current_time()
        outcomes = Outcomes(engine)
        await outcomes.fetch_all(range(20))
        assert len(outcomes.done) == 20
        assert anyio.current_time() - begin >= 30.0
    assert len(transport.urls) == 20 + n
    assert [round(event.delay_s) for event in of_type(events, HostPaused)] == [30]
    assert of_type(events, RequestFailed) == []


@pytest.mark.anyio
async def test_nothing_starts_in_a_pause_that_began_while_it_waited_for_its_turn():
    host, events = Host(latency_s=0.5), []
    async with Engine(SETTINGS.replace(requests_per_s=1.0), host, events.append) as engine:
        outcomes = Outcomes(engine)
        host.faults = {"http://x/refused": busy(status=429)}
        async with anyio.create_task_group() as group:
            group.start_soon(outcomes.fetch, "refused")
            await anyio.sleep(0.1)
            group.start_soon(outcomes.fetch, "next")
            await anyio.sleep(0.5)
            host.faults = {}
            # longer than the turn at the rate, so that it would be over first
            engine._gate.health.opens_at = anyio.current_time() + 30.0
            await anyio.sleep(29.0)
            assert len(host.asked) == 1
    assert len(outcomes.done) == 2


@pytest.mark.anyio
async def test_a_redirect_during_an_outage_does_not_hold_the_line_of_starts():
    host = Host()
    async with Engine(SETTINGS.replace(requests_per_s=2.0), host, random=lambda: 0.5) as engine:
        outcomes = await fall(host, engine)
        async with anyio.create_task_group() as group:
            group.start_soon(outcomes.fetch_all, range(8))
            await anyio.sleep(100.0)
            assert engine._gate.health.is_out()
            with anyio.fail_after(2.0):
                # the head of the line waits for the host; a redirect asks the rate alone
                await engine._gate.count_another()
            host.error = None
        assert len(outcomes.done) == 9


@pytest.mark.anyio
async def test_one_cancelled_while_it_probes_leaves_the_probing_to_the_next():
    host = Host(latency_s=0.5)
    async with Engine(SETTINGS, host, random=lambda: 0.5) as engine:
        outcomes = await fall(host, engine)
        async with anyio.create_task_group() as group:
            scopes = []

            async def fetch(name):
                with anyio.CancelScope() as scope:
                    scopes.append(scope)
                    await outcomes.fetch(name)

            for name in range(8):
                group.start_soon(fetch, name)
            await anyio.sleep(50.0)
            assert engine._gate.health.is_out()
            n_asked = len(host.asked)
            probes = engine._gate.health.wait_s(anyio.current_time())
            await anyio.sleep(probes + 0.25)
            assert len(host.asked) > n_asked
            for scope in scopes[:4]:
                scope.cancel()
            host.error = None
    assert sorted(outcomes.done[1:]) == [4, 5, 6, 7]
    assert "images 0/4, metadata 0, waiting 0 images and 0 metadata, 0 for a start" in repr(engine)


@pytest.mark.anyio
async def test_waiting_is_told_by_what_was_waited_for(scripted):
    events = []
    # four places, one start a second, nothing wrong with the host
    settings = SETTINGS.replace(requests_per_s=1.0)
    async with Engine(settings, scripted(), events.append) as engine:
        await Outcomes(engine).fetch_all(range(8))
    finished = of_type(events, RequestFinished)
    assert sum(event.waited_host_s for event in finished) == pytest.approx(0.0, abs=1e-3)
    assert sum(event.waited_rate_s for event in finished) > 10.0
    events.clear()
    async with Engine(SETTINGS, scripted([busy("30")]), events.append, random=lambda: 0.0) as engine:
        outcomes = Outcomes(engine)
        await outcomes.fetch("refused")
        await outcomes.fetch_all(range(3))
    assert of_type(events, RequestFinished)[0].waited_host_s == pytest.approx(0.0, abs=0.1)
    events.clear()
    async with Engine(SETTINGS, scripted([busy("30")]), events.append, random=lambda: 0.0) as engine:
        outcomes = Outcomes(engine)
        async with anyio.create_task_group() as group:
            group.start_soon(outcomes.fetch, "refused")
            await anyio.sleep(1.0)
            group.start_soon(outcomes.fetch_all, range(3))
    waited = sorted(event.waited_host_s for event in of_type(events, RequestFinished))
    assert waited[-3:] == pytest.approx([29.0] * 3, abs=0.1)
