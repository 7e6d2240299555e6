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

    async def check(reply):
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

    async def check(reply):
        return reply.elapsed_s + reply.waited_s

    async with loopback([moved], [good]) as server, Engine(Settings(requests_per_s=10.0)) as engine:
        assert await engine.fetch(Request(f"{server.url}/x", "image", 100), check) >= 0.1


async def test_a_kept_connection_that_the_server_closed_heals(loopback):
    good = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"

    async def check(reply):
        return bytes(reply.body)

    engine = Engine(Settings(requests_per_s=1e6), random=lambda: 0.0)
    async with loopback([good, "close"]) as server, engine:
        for _ in range(3):
            assert await engine.fetch(Request(f"{server.url}/x", "image", 100), check) == b"abc"
        assert server.n_connections >= 3
