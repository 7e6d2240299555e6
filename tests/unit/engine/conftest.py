"""A transport that plays a script, virtual time, and a loopback server that sends raw bytes."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from asyncfetch.engine import Reply
from asyncfetch.engine.transport import closed_on_the_way
from benchmarks.simulation.clock import VirtualLoop

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
    from ssl import SSLContext


@pytest.fixture
def virtual_time() -> tuple[str, dict[str, Any]]:
    """Be the backend of tests whose time is virtual."""
    return "asyncio", {"loop_factory": VirtualLoop}


class Told:
    """A companion that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def sent(self) -> None:
        self.told.append("sent")

    def parked(self) -> None:
        self.told.append("parked")

    def accepted(self) -> None:
        self.told.append("accepted")


@pytest.fixture
def companion() -> Told:
    """Go along with a request."""
    return Told()


class ScriptedTransport:
    """Answers from a list: bytes are a body, an exception is raised, a coroutine function is awaited."""

    def __init__(self, script: Iterable[Any] = ()) -> None:
        self.script = list(script)
        self.urls: list[str] = []
        self.n_open = 0
        self.most_open = 0
        self.is_closed = False
        self._scopes: set[anyio.CancelScope] = set()

    async def fetch(
        self,
        url: str,
        limit_bytes: int,
        on_bytes: Callable[[int], Awaitable[None] | None] | None = None,
        *,
        fresh: bool = False,
    ) -> Reply:
        self.urls.append(url)
        self.n_open += 1
        self.most_open = max(self.most_open, self.n_open)
        scope = anyio.CancelScope()
        self._scopes.add(scope)
        try:
            with scope:
                answer = self.script.pop(0) if self.script else b"ok"
                if callable(answer):
                    answer = await answer()
                if isinstance(answer, Exception):
                    raise answer
                wait = None if on_bytes is None else on_bytes(len(answer))
                if wait is not None:
                    await wait
                return Reply(url, 200, {}, answer, 0.0)
        finally:
            self._scopes.discard(scope)
            self.n_open -= 1
        raise closed_on_the_way(url)

    async def aclose(self) -> None:
        self.is_closed = True
        for scope in self._scopes:
            scope.cancel()


@pytest.fixture
def scripted() -> type[ScriptedTransport]:
    return ScriptedTransport


class Loopback:
    """A server of scripts of raw bytes, one per request; the last one is repeated.

    A script is a list of bytes to send, numbers of seconds to hold still, and the words ``close``, ``reset``
    and ``hold`` (until the client hangs up). Without one of these at its end the connection stays open.
    """

    def __init__(self, scripts: list[list[Any]], delimiter: bytes = b"\r\n\r\n") -> None:
        self.scripts = scripts
        self.delimiter = delimiter
        self.requests: list[bytes] = []
        self.writers: list[asyncio.StreamWriter] = []
        self.url = ""

    @property
    def n_connections(self) -> int:
        return len(self.writers)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        try:
            while await self.answer(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        self.requests.append(await reader.readuntil(self.delimiter))
        for step in self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]:
            match step:
                case bytes():
                    writer.write(step)
                    await writer.drain()
                case float():
                    await asyncio.sleep(step)
                case "endless":
                    while True:
                        writer.write(b"10000\r\n" + bytes(65536) + b"\r\n")
                        await writer.drain()
                case "close":
                    return False
                case "reset":
                    writer.transport.abort()
                    return False
                case "hold":
                    await reader.read()
                    return False
        return True


@pytest.fixture
def loopback() -> Callable[..., Any]:
    """Return an async context manager that serves the scripts it is given."""

    @asynccontextmanager
    async def serve(
        *scripts: list[Any], ssl: SSLContext | None = None, delimiter: bytes = b"\r\n\r\n"
    ) -> AsyncGenerator[Loopback]:
        loopback = Loopback(list(scripts), delimiter)
        server = await asyncio.start_server(loopback.serve, "127.0.0.1", 0, backlog=512, ssl=ssl)
        port = server.sockets[0].getsockname()[1]
        loopback.url = f"http://127.0.0.1:{port}"
        try:
            yield loopback
        finally:
            server.close()
            for writer in loopback.writers:
                writer.transport.abort()
            await server.wait_closed()

    return serve
