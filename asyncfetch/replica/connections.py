"""Connections to the replica, of which only so many are open at once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["MAX_CONNECTIONS", "Connections"]

#: Far more than a client of ours opens, and half of the open files that many systems allow a process.
MAX_CONNECTIONS = 512

# A request that comes to a closed socket would reset it before the answer is read.
_LINGER_S = 1.0
_WORDS = b"too many connections are open; close some, or ask again later\n"
_REFUSAL = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\n"
    b"Content-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s" % (len(_WORDS), _WORDS)
)


class Connections:
    """The factory of what handles each connection, as `asyncio.loop.create_server` takes it.

    Parameters
    ----------
    server : web.Server
        What handles those that are let in.
    max_open : int
        How many are open at once; those beyond are told to come again, and closed.
    """

    def __init__(self, server: web.Server, max_open: int) -> None:
        self._server = server
        self._max_open = max_open

    def __call__(self) -> asyncio.Protocol:
        """Return what handles a new connection."""
        return _Refusal() if len(self._server.connections) >= self._max_open else self._server()


class _Refusal(asyncio.Protocol):
    """The answer to a connection beyond the last one that is let in."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(_REFUSAL)
        transport.write_eof()
        asyncio.get_running_loop().call_later(_LINGER_S, transport.close)

    def data_received(self, data: bytes) -> None:
        """Pass over the request."""
