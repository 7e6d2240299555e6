"""Recordings played again: an answer for each address that was recorded, and 404 for all others."""

from __future__ import annotations

from collections import defaultdict
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import anyio.to_thread
from aiohttp import web
from yarl import URL
from zlib_ng import zlib_ng

from asyncfetch.engine.recording import is_heading, parse_exchange
from asyncfetch.errors import SettingsError, short_url
from asyncfetch.replica.app import listening
from asyncfetch.replica.door import KEEP_ALIVE_S, MAX_LINE_BYTES, refuse_foreign
from asyncfetch.replica.hosts import Hosts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from asyncfetch.engine import Exchange

__all__ = ["Recording", "open_replay"]

# Those of a connection, and those that follow from how a body is sent now.
_NOT_SENT = frozenset(
    {
        "connection",
        "content-encoding",
        "content-length",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


class Recording:
    """A recording in a file, of which only the places of its lines are held in memory.

    Parameters
    ----------
    path : path
        The file, as ``--record`` writes it.

    Attributes
    ----------
    n_exchanges : int
        How many answers it holds.
    n_unreadable : int
        Lines that are not read, such as one that a crash cut off.

    Raises
    ------
    SettingsError
        The file cannot be read, or is not a recording.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.n_exchanges = self.n_unreadable = 0
        self._places: dict[str, list[int]] = defaultdict(list)
        self._n_asked: dict[str, int] = defaultdict(int)
        try:
            self._index()
        except OSError as error:
            raise SettingsError(
                f"--replay: {path} cannot be read: {error.strerror}", setting="replay"
            ) from error

    def next_for(self, path: str) -> Exchange | None:
        """Return the next answer to a path with its query; after the last one that again, None where there is none."""
        places = self._places.get(_key(path))
        if not places:
            return None
        n_asked = self._n_asked[_key(path)]
        self._n_asked[_key(path)] = n_asked + 1
        with self.path.open("rb") as file:
            file.seek(places[min(n_asked, len(places) - 1)])
            return parse_exchange(file.readline())

    def knows(self, url: str) -> bool:
        """Whether the path and the query of an address were recorded."""
        return _key(url) in self._places

    def _index(self) -> None:
        with self.path.open("rb") as file:
            place = 0
            for k, line in enumerate(file):
                if not k and not is_heading(line):
                    raise SettingsError(
                        f"--replay: {self.path} is not a recording; make one with --record FILE",
                        setting="replay",
                    )
                try:
                    exchange = parse_exchange(line)
                except ValueError as error:
                    raise SettingsError(
                        f"--replay: line {k + 1} of {self.path}: {error}", setting="replay"
                    ) from None
                if exchange is not None:
                    self._places[_key(exchange.url)].append(place)
                    self.n_exchanges += 1
                elif not is_heading(line):
                    self.n_unreadable += 1
                place += len(line)
        if not place:
            raise SettingsError(
                f"--replay: {self.path} holds nothing; record again with --record FILE", setting="replay"
            )


@asynccontextmanager
async def open_replay(
    recording: Recording, *, host: str = "127.0.0.1", port: int = 0, allow_hosts: Iterable[str] = ()
) -> AsyncIterator[str]:
    """Answer from a recording for as long as the context is open.

    Parameters
    ----------
    recording : Recording
        What to answer from. Requests for the same address get its answers in the order in which they were
        recorded, and then the last one again.
    host, port
        Where to listen; port 0 picks a free one.
    allow_hosts : iterable of str
        Names that requests may be for, as in :class:`asyncfetch.replica.ServerOptions`.

    Yields
    ------
    str
        The base URL.

    Raises
    ------
    SettingsError
        The port is taken.
    """
    hosts = Hosts([host, *allow_hosts])

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        if (refusal := refuse_foreign(request, hosts)) is not None:
            return refusal
        exchange = await anyio.to_thread.run_sync(recording.next_for, request.raw_path)
        if exchange is None:
            words = f"the recording has no answer for {short_url(request.path)}\n"
            return web.Response(status=404, text=words)
        return _reply(exchange, recording, request)

    runner = web.ServerRunner(
        web.Server(answer, access_log=None, max_line_size=MAX_LINE_BYTES, keepalive_timeout=KEEP_ALIVE_S),
        handle_signals=False,
    )
    async with listening(runner, host, port) as base_url:
        yield base_url


def _reply(exchange: Exchange, recording: Recording, request: web.BaseRequest) -> web.Response:
    """Return an answer as it was recorded; redirects within the recording lead here."""
    body = exchange.body
    reply = web.Response(status=exchange.status)
    for name, value in exchange.headers:
        if name.lower() == "location":
            target = _absolute(exchange.url, value)
            if recording.knows(target):
                value = f"{request.scheme}://{request.host}{_key(target)}"
        if name.lower() not in _NOT_SENT:
            reply.headers.add(name, value)
    if exchange.header("Content-Encoding") == "gzip":
        reply.headers["Content-Encoding"] = "gzip"
        body = zlib_ng.compress(body, 1, 31)
    reply.body = body
    if "chunked" in (exchange.header("Transfer-Encoding") or ""):
        reply.enable_chunked_encoding()
    return reply


def _absolute(url: str, location: str) -> str:
    """Return where a redirect leads, as the transport writes it."""
    return str(URL(url, encoded=True).join(URL(location)).with_fragment(None))


def _key(url: str) -> str:
    """Return path and query as they are sent: the host does not count."""
    parts = urlsplit(url)
    return f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
