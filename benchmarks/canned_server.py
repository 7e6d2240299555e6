"""A server of canned bodies, as light as Python allows, in a process of its own.

``GET /N`` answers N bytes, ``GET /to/N`` redirects there first, ``GET /log`` tells when each request for bytes came,
in seconds of the machine's monotonic clock. Bodies are chunked as the API's are (HTTP-3), or announced by
a length. The whole answer is handed to the socket at once, so that what is measured against it is the client.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_READ_BYTES = 2**16
_CHUNK_BYTES = 2**16


class Canned(asyncio.BufferedProtocol):
    """A server that answers the requests of one connection, one after another or pipelined."""

    def __init__(self, is_chunked: bool, bodies: dict[int, bytes], times_s: list[float]) -> None:
        self.is_chunked = is_chunked
        self.bodies = bodies
        self.times_s = times_s
        self.buffer = bytearray(_READ_BYTES)
        self.pending = bytearray()
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def get_buffer(self, sizehint: int) -> bytearray:
        """Return where to read into."""
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Answer every request that is complete."""
        self.pending += memoryview(self.buffer)[:nbytes]
        while (end := self.pending.find(b"\r\n\r\n")) >= 0:
            target = bytes(self.pending[: self.pending.index(b"\r\n")]).split(b" ")[1].decode()
            del self.pending[: end + 4]
            self.transport.write(self.answer(target))

    def answer(self, target: str) -> bytes:
        """Return a whole answer."""
        if target == "/log":
            return _whole(json.dumps(self.times_s).encode(), "application/json")
        if target.startswith("/to/"):
            location = target.removeprefix("/to")
            return f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()
        # one clock for all processes of the machine, so that both ends can be compared
        self.times_s.append(time.monotonic())
        size = int(target[1:])
        if size not in self.bodies:
            body = bytes(size)
            self.bodies[size] = _chunked(body) if self.is_chunked else _whole(body, "image/jpeg")
        return self.bodies[size]


def _whole(body: bytes, content_type: str) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _chunked(body: bytes) -> bytes:
    pieces = [b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nTransfer-Encoding: chunked\r\n\r\n"]
    for start in range(0, len(body), _CHUNK_BYTES):
        piece = body[start : start + _CHUNK_BYTES]
        pieces.append(b"%x\r\n%s\r\n" % (len(piece), piece))
    return b"".join([*pieces, b"0\r\n\r\n"])


async def serve(is_chunked: bool) -> None:
    """Serve until a signal comes; the base URL goes to stdout."""
    loop = asyncio.get_running_loop()
    bodies: dict[int, bytes] = {}
    times_s: list[float] = []
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        server = await loop.create_server(
            lambda: Canned(is_chunked, bodies, times_s), "127.0.0.1", 0, backlog=512
        )
        print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
        async for _ in signals:
            break
        server.close()


@asynccontextmanager
async def open_canned_server(*, is_chunked: bool = True) -> AsyncIterator[str]:
    """Serve from a process of its own; yield the base URL."""
    command = [sys.executable, "-m", "benchmarks.canned_server", "chunked" if is_chunked else "length"]
    async with await anyio.open_process(command, stderr=None) as process:
        try:
            assert process.stdout is not None
            yield (await process.stdout.receive()).decode().strip()
        finally:
            process.terminate()


if __name__ == "__main__":
    anyio.run(serve, sys.argv[1] == "chunked")
