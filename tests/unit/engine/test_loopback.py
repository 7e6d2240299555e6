"""The engine over its real transport."""

from __future__ import annotations

import pytest

from asyncfetch.engine import Engine, Request
from asyncfetch.events import RequestRetried
from asyncfetch.settings import Settings

pytestmark = pytest.mark.anyio


async def test_a_reset_and_a_busy_server_heal(loopback):
    busy = b"HTTP/1.1 503 Busy\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n"
    good = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"
    cut = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\na"
    events = []

    async def check(reply, _accept):
        return bytes(reply.body)

    settings = Settings(requests_per_s=1e6)
    engine = Engine(settings, on_event=events.append, random=lambda: 0.0)
    async with loopback([busy], [cut, "close"], ["close"], [good]) as server, engine:
        assert await engine.fetch(Request(f"{server.url}/x", "metadata", 100), check) == b"abc"
    retried = [event.error for event in events if isinstance(event, RequestRetried)]
    assert retried == ["StatusError", "TruncatedError", "ConnectError"]


async def test_a_redirect_counts_as_a_request_at_the_rate(loopback):
    moved = b"HTTP/1.1 302 Found\r\nLocation: /y\r\nContent-Length: 0\r\n\r\n"
    good = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"

    async def check(reply, _accept):
        return reply.waited_s

    async with loopback([moved], [good]) as server, Engine(Settings(requests_per_s=1.0)) as engine:
        assert await engine.fetch(Request(f"{server.url}/x", "image", 100), check) >= 0.9


@pytest.mark.parametrize("rate", [50.0, 1e6])
async def test_a_server_that_closes_every_connection_unannounced_costs_no_attempt(loopback, rate):
    moved = b"HTTP/1.1 302 Found\r\nLocation: /y\r\nContent-Length: 0\r\n\r\n"
    good = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"
    events, n = [], 5

    async def check(reply, _accept):
        return bytes(reply.body)

    engine = Engine(Settings(requests_per_s=rate, attempts=1), on_event=events.append)
    async with loopback(*[[moved, "close"], [good, "close"]] * n) as server, engine:
        for _ in range(n):
            assert await engine.fetch(Request(f"{server.url}/x", "image", 100), check) == b"abc"
    assert not [event for event in events if isinstance(event, RequestRetried)]
