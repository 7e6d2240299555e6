"""How bytes move: the seam, and aiohttp behind it. No other file imports aiohttp.

A :class:`Transport` sends one request, once, and returns the whole body or raises one error of
:mod:`asyncfetch.errors`; foreign errors end here. It neither queues nor tries again.

What is known of the server shapes this file (allen-api.md): 302 before 200 (HTTP-1, HTTP-2), within one service
(ADDR-2); chunked and gzip-encoded bodies without Content-Length (HTTP-3); idle connections that are closed unannounced
(HTTP-4); 404 for an unknown image (HTTP-5). Bodies are decompressed here and not by aiohttp, so that the limit holds to
the byte against gzip bombs, and so that gzip's own end and checksum prove a body whole that no length announces.

A server may close a kept connection at any time, also while a request is on its way to it. A request whose kept
connection dies before the first byte of an answer is therefore sent again at once, over a new connection (RFC 9112,
section 9.3.1): it counts at the rate, as every request does, but not as a failure. It is sent again once; what a new
connection does is the server's own doing.
"""

from __future__ import annotations

import asyncio
import base64
import os
import ssl
from contextlib import suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from weakref import WeakSet

import aiohttp
from yarl import URL

from asyncfetch.address import credentials_of, without_credentials
from asyncfetch.engine.exchanges import Exchange, current_observer
from asyncfetch.engine.inflate import Inflater, UndecodableError
from asyncfetch.engine.proxies import Proxies
from asyncfetch.engine.redirects import Refusal, Service, host_of, is_private, shown_address
from asyncfetch.engine.retry import parse_retry_after
from asyncfetch.engine.trust import make_context, tls_error, tls_words
from asyncfetch.errors import (
    BodyTooLargeError,
    ClosedError,
    ConnectError,
    NotFoundError,
    RedirectError,
    SelectionError,
    StallError,
    StatusError,
    TransportError,
    TruncatedError,
    short_url,
)
from asyncfetch.text import counted, shown
from asyncfetch.version import __version__

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from aiohttp.connector import Connection

    from asyncfetch.address import Credentials
    from asyncfetch.engine.proxies import Proxy
    from asyncfetch.errors import AsyncFetchError
    from asyncfetch.settings import Settings

__all__ = ["AiohttpTransport", "Reply", "SpeedWatch", "Transport", "closed_on_the_way"]

_MAX_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
# The server drops idle connections after 15 s; letting go of them earlier leaves no race.
_KEEPALIVE_S = 10.0
# Reading the body of an error to its end keeps the connection; beyond this a new one is cheaper.
_ERROR_BODY_BYTES = 2**16
# What packing adds to what cannot be packed is less than this, also in small blocks and members.
_MAX_RECEIVED_TIMES = 2
# The header of a JPEG lies within.
_KEPT_BYTES = 2**16
_MAX_TICK_S = 1.0
# Four times aiohttp's default: fewer wake-ups for bodies of megabytes.
_READ_BUFFER_BYTES = 2**18


class Reply(NamedTuple):
    """One answer, whole.

    Attributes
    ----------
    url : str
        What was asked for, before redirects.
    status : int
        The HTTP status, 200 or 203 from :class:`AiohttpTransport`.
    headers : mapping of str to str
        Names in any case, from :class:`AiohttpTransport`.
    body : bytes
        Decompressed.
    elapsed_s : float
        Seconds from the first byte sent to the last received, redirects included.
    waited_s : float
        Seconds for which redirects waited before they were followed; not part of ``elapsed_s``.
    """

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes
    elapsed_s: float
    waited_s: float = 0.0

    def __repr__(self) -> str:
        return f"Reply({self.url!r}, {self.status}, {len(self.body)} bytes)"


class Transport(Protocol):
    """What sends one request, once."""

    async def fetch(
        self,
        url: str,
        limit_bytes: int,
        on_bytes: Callable[[int], Awaitable[None] | None] | None = None,
        *,
        fresh: bool = False,
    ) -> Reply:
        """Return the reply to a GET.

        Parameters
        ----------
        url : str
            Absolute and percent-encoded; it is sent as it is.
        limit_bytes : int
            The most bytes that the decompressed body may have.
        on_bytes : callable, optional
            Called with the number of bytes of each piece that came; what it returns, if anything, is awaited, and
            meanwhile nothing more is read.
        fresh : bool
            Whether to use a new connection, whose failure says something about the server.

        Raises
        ------
        TransportError
            The bytes did not come.
        NotFoundError
            The server answered 404.
        """
        ...

    async def aclose(self) -> None:
        """Close every connection; what is on its way ends with a `ClosedError`."""
        ...


#: A timer that is as late as this: the process was stopped, or the machine asleep, and the server cannot be blamed.
_STOPPED_S = 2.0


class SpeedWatch:
    """The watch over the speed of a body. Pure: the time is an argument.

    Parameters
    ----------
    min_bytes_per_s : float
        The least speed, over one window.
    window_s : float
        Windows follow one another without overlap.
    now : float
        Seconds; where the first window begins.
    """

    def __init__(self, min_bytes_per_s: float, window_s: float, now: float) -> None:
        self._min_bytes_per_s = min_bytes_per_s
        self._window_s = window_s
        self._begins = now
        self._received = 0

    def received(self, size_bytes: int, now: float) -> bool:
        """Count bytes; return whether the window that ends with them was too slow."""
        self._received += size_bytes
        elapsed = now - self._begins
        if elapsed < self._window_s:
            return False
        is_slow = self._received < self._min_bytes_per_s * elapsed
        self._begins, self._received = now, 0
        return is_slow

    def paused(self, seconds: float) -> None:
        """Leave out a time in which nothing was read on purpose."""
        self._begins += seconds


class _Watchdog:
    """The end of exchanges that are overdue: one timer for all, because moving one for every piece would cost more.

    Parameters
    ----------
    tick_s : float
        How often it looks, while there is an exchange; an overdue one is noticed that much late at the most.
    """

    def __init__(self, tick_s: float) -> None:
        self._tick_s = tick_s
        self._exchanges: set[_Exchange] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0

    def add(self, exchange: _Exchange) -> None:
        self._exchanges.add(exchange)
        if self._timer is None:
            self._look_later(asyncio.get_running_loop())

    def remove(self, exchange: _Exchange) -> None:
        self._exchanges.discard(exchange)

    def close(self) -> None:
        for exchange in self._exchanges:
            exchange.is_closed = True
            exchange.end()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        stopped_s = now - self._due
        for exchange in self._exchanges:
            if stopped_s > _STOPPED_S:
                exchange.was_stopped(stopped_s)
            elif now >= exchange.deadline:
                exchange.end()
        if self._exchanges:
            self._look_later(loop)

    def _look_later(self, loop: asyncio.AbstractEventLoop) -> None:
        self._due = loop.time() + self._tick_s
        self._timer = loop.call_at(self._due, self._look)


class AiohttpTransport:
    """The transport over HTTP/1.1, by aiohttp.

    The connection pool never queues: the gate decides what is open. Nothing limits the time of a whole
    body; what ends a request is that no connection comes within ``connect_timeout_s``, that no byte comes
    for ``stall_timeout_s``, or that fewer than ``min_speed_bytes_per_s`` come over ``stall_timeout_s``.

    Parameters
    ----------
    settings : Settings
        ``connect_timeout_s``, ``stall_timeout_s`` and ``min_speed_bytes_per_s`` are read.
    before_another : callable, optional
        Awaited, with no connection in hand, before a redirect is followed or a request is sent again over a new
        connection: each is a request to the server.
    environment : mapping of str to str, optional
        Where proxies and files of certificates are named; by default that of the process.

    Raises
    ------
    SettingsError
        The proxy of ``base_url`` cannot be used.
    """

    def __init__(
        self,
        settings: Settings,
        before_another: Callable[[], Awaitable[None]] | None = None,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self._environment = environment
        self._proxies = Proxies(settings.proxy, environment)
        self._service = Service(settings.trusted_hosts)
        self._base = URL(settings.base_url, encoded=True)
        self._proxies.of(self._base)
        credentials = credentials_of(settings.base_url)
        self._authorization = None if credentials is None else _basic(credentials)
        self._context: ssl.SSLContext | None = None
        self._connect_timeout_s = settings.connect_timeout_s
        self._stall_timeout_s = settings.stall_timeout_s
        self._min_speed = settings.min_speed_bytes_per_s
        self._before_another = before_another
        self._watchdog = _Watchdog(min(self._connect_timeout_s, self._stall_timeout_s, 4 * _MAX_TICK_S) / 4)
        self._observer = current_observer()
        self._session: aiohttp.ClientSession | None = None
        self._is_closed = False

    async def fetch(
        self,
        url: str,
        limit_bytes: int,
        on_bytes: Callable[[int], Awaitable[None] | None] | None = None,
        *,
        fresh: bool = False,
    ) -> Reply:
        """Return the reply to a GET, redirects on the same host and port followed.

        Parameters
        ----------
        url : str
            Absolute and percent-encoded; it is sent as it is.
        limit_bytes : int
            The most bytes that the decompressed body may have.
        on_bytes : callable, optional
            Called with the number of bytes of each piece that came; what it returns, if anything, is awaited, and
            meanwhile nothing more is read.
        fresh : bool
            Whether to use a new connection, whose failure says something about the server.

        Raises
        ------
        ConnectError
            There is no connection, or it broke before the headers.
        StallError
            Bytes came too slowly or not at all.
        TruncatedError
            The body ended early.
        RedirectError
            A redirect leads elsewhere, or nowhere.
        BodyTooLargeError
            The body has more than ``limit_bytes``.
        NotFoundError, StatusError
            The server answered 404, or another status that is not 200.
        SelectionError
            The URL is not valid.
        ClosedError
            The transport was closed, before or meanwhile.
        """
        clock = asyncio.get_running_loop().time
        begin, waited_s = clock(), 0.0
        here = home = _parse_url(url)
        seen: set[URL] = set()
        home_peer: str | None = None
        while True:
            exchange = _Exchange(self, url, here, limit_bytes, on_bytes, is_fresh=fresh)
            if here is not home and host_of(here) != host_of(home):
                exchange.must_be_public = not is_private(home_peer or host_of(home))
            try:
                outcome = await exchange.run()
            except _StaleConnectionError:
                waited_s += await self._wait_for_another()
                exchange = exchange.over_a_new_connection()
                outcome = await exchange.run()
            if not isinstance(outcome, str):
                status, headers, body = outcome
                return Reply(url, status, headers, body, clock() - begin - waited_s, waited_s)
            if here is home:
                home_peer = exchange.peer
            seen.add(here)
            here = self._follow(url, home, here, outcome, seen, home_peer)
            waited_s += await self._wait_for_another()

    def _follow(
        self, url: str, home: URL, here: URL, location: str, seen: set[URL], home_peer: str | None
    ) -> URL:
        try:
            target = self._service.follow(home, here, location, home_peer)
        except Refusal as refusal:
            raise RedirectError(
                f"{shown_address(here)} was redirected to {refusal}",
                location=without_credentials(location),
                url=url,
            ) from None
        if target in seen or len(seen) > _MAX_REDIRECTS:
            what = "in a loop" if target in seen else f"more than {_MAX_REDIRECTS} times"
            raise RedirectError(
                f"{shown_address(home)} was redirected {what}, last to {shown_address(target)}; "
                "that is a fault of the server, and asking again does not help",
                location=str(target),
                url=url,
            )
        return target

    @property
    def is_closed(self) -> bool:
        """Whether nothing can be fetched any more."""
        return self._is_closed

    async def aclose(self) -> None:
        """Close every connection; nothing can be fetched any more."""
        self._is_closed = True
        self._watchdog.close()
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _wait_for_another(self) -> float:
        """Return when one more request may be sent, and how many seconds that took."""
        if self._before_another is None:
            return 0.0
        clock = asyncio.get_running_loop().time
        before = clock()
        await self._before_another()
        return clock() - before

    def options_for(self, here: URL) -> dict[str, Any]:
        """Return what a request to an address needs beside the usual: trust, a proxy, a password."""
        options: dict[str, Any] = {}
        if here.scheme == "https":
            if self._context is None:
                self._context = make_context(self._environment)
            options["ssl"] = self._context
        if self._authorization is not None and self._may_know(here):
            options["headers"] = {"Authorization": self._authorization}
        proxy = self._proxies.of(here) if self._proxies else None
        if proxy is not None:
            options["proxy"] = proxy.url
            if proxy.credentials is not None:
                # an http request is itself what the proxy reads; for https that is the CONNECT before it
                headers = options.setdefault("proxy_headers" if here.scheme == "https" else "headers", {})
                headers["Proxy-Authorization"] = _basic(proxy.credentials)
        return options

    def proxy_of(self, here: URL) -> Proxy | None:
        """Return the proxy that a request to an address goes through."""
        return self._proxies.of(here)

    def _may_know(self, here: URL) -> bool:
        """Tell whether an address may be told the credentials of ``base_url``: its own, or the same one by https."""
        base = self._base
        if host_of(here) != host_of(base):
            return False
        is_upgrade = (base.scheme, base.port, here.scheme, here.port) == ("http", 80, "https", 443)
        return (here.scheme, here.port) == (base.scheme, base.port) or is_upgrade

    def open_session(self) -> aiohttp.ClientSession:
        """Return the session, made when it is first used, on the loop that uses it."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=_Pool(limit=0, keepalive_timeout=_KEEPALIVE_S, ttl_dns_cache=60),
                timeout=aiohttp.ClientTimeout(total=None, connect=self._connect_timeout_s),
                headers={
                    "User-Agent": f"asyncfetch/{__version__}",
                    "Accept": "*/*",
                    "Accept-Encoding": "gzip",
                },
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                read_bufsize=_READ_BUFFER_BYTES,
            )
        return self._session

    def __repr__(self) -> str:
        return f"AiohttpTransport({'closed' if self._session is None else 'open'})"


def _basic(credentials: Credentials) -> str:
    # RFC 7617, section 2.1: UTF-8
    return f"Basic {base64.b64encode(':'.join(credentials).encode()).decode()}"


def closed_on_the_way(url: str) -> ClosedError:
    """Return what is raised where closing ended a request."""
    return ClosedError(
        "the client was closed while the answer was on its way; ask again with another", url=url
    )


def _parse_url(url: str) -> URL:
    # A blank or a line break would become part of the request itself.
    if url.isascii() and url.isprintable() and " " not in url:
        try:
            parsed = URL(url, encoded=True)
            if parsed.scheme in {"http", "https"} and parsed.host and parsed.raw_user is None:
                return parsed
        except ValueError:
            pass
    url = without_credentials(url)
    raise SelectionError(f"{url!r} is not a percent-encoded http or https URL; check base_url", url=url)


# Whose request the pool is asked to find a connection for.
_SENDING: ContextVar[_Exchange] = ContextVar("asyncfetch_sending")


class _Pool(aiohttp.TCPConnector):
    """Connections, told apart by whether they have carried a request before."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._used: WeakSet[Any] = WeakSet()

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Any],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - the signature is aiohttp's
    ) -> Connection:
        exchange = _SENDING.get()
        while True:
            connection = await super().connect(req, traces, timeout)
            exchange.look_at(connection)
            is_kept = connection.protocol in self._used
            if not (is_kept and exchange.is_fresh):
                break
            # One kept connection was dead, or the server is in doubt: those beside it are not worth a try.
            connection.close()
        exchange.is_kept = is_kept
        if not is_kept:
            self._used.add(connection.protocol)
        return connection


class _StaleConnectionError(Exception):
    """A kept connection that ended before the first byte of an answer."""


class _Exchange:
    """One request of a chain of redirects, and its answer."""

    def __init__(
        self,
        transport: AiohttpTransport,
        url: str,
        here: URL,
        limit_bytes: int,
        on_bytes: Callable[[int], Awaitable[None] | None] | None,
        *,
        is_fresh: bool,
    ) -> None:
        self.is_fresh = is_fresh
        self.is_kept = False
        self.must_be_public = False
        self.peer: str | None = None
        if transport.is_closed:
            raise closed_on_the_way(url)
        self._transport = transport
        self._session = transport.open_session()
        self._watchdog = transport._watchdog
        self._observer = transport._observer
        self._clock = asyncio.get_running_loop().time
        self._connect_timeout_s = transport._connect_timeout_s
        self._stall_timeout_s = transport._stall_timeout_s
        self._min_speed = transport._min_speed
        self._url = url
        self._here = here
        self._limit_bytes = limit_bytes
        self._on_bytes = on_bytes
        self._n_received = 0
        self._has_headers = False
        self._announces_too_much = False
        # What the watchdog reads: after which time nothing is waited for.
        self.deadline = self._clock() + self._connect_timeout_s + self._stall_timeout_s
        self.is_closed = False
        self._stopped_s = 0.0
        self._task: asyncio.Task[Any] | None = asyncio.current_task()
        self._n_cancelled = 0

    @property
    def _shown(self) -> str:
        return short_url(self._url)

    def over_a_new_connection(self) -> _Exchange:
        """Return the same exchange, for once more."""
        again = _Exchange(
            self._transport, self._url, self._here, self._limit_bytes, self._on_bytes, is_fresh=True
        )
        again.must_be_public = self.must_be_public
        return again

    def look_at(self, connection: Connection) -> None:
        """Learn where a connection leads; a redirect from a public address must not lead into this network."""
        # a proxy finds the address itself, so that its own says nothing
        if connection.transport is None or self._transport.proxy_of(self._here) is not None:
            return
        peer = connection.transport.get_extra_info("peername")
        self.peer = peer[0] if peer else None
        if self.must_be_public and self.peer is not None and is_private(self.peer):
            connection.close()
            raise RedirectError(
                f"{self._shown} was redirected to {shown_address(self._here)}, a name that leads to {self.peer} on "
                "this machine or network, where a public address must not lead",
                location=str(self._here),
                url=self._url,
            )

    async def run(self) -> str | tuple[int, Mapping[str, str], bytes]:
        self._watchdog.add(self)
        n_before = self._task.cancelling() if self._task is not None else 0
        try:
            return await self._send()
        except asyncio.CancelledError:
            if not self._was_ended(n_before):
                raise
        except (aiohttp.ClientError, OSError, UnicodeError, UndecodableError) as error:
            raise self._mapped(error) from error
        finally:
            self._watchdog.remove(self)
        if self.is_closed:
            raise closed_on_the_way(self._url)
        if self._announces_too_much:
            raise self._too_large(b"")
        waited_s = (
            self._stall_timeout_s if self._has_headers else self._connect_timeout_s + self._stall_timeout_s
        )
        raise self._stalled(f"no byte for {waited_s:g} s", waited_s)

    def was_stopped(self, seconds: float) -> None:
        """Leave out a time in which this process could read nothing."""
        self.deadline += seconds
        self._stopped_s += seconds

    def end(self) -> None:
        """Cancel the wait, as `asyncio.timeout` does: a cancel scope would cost a tenth of a small request."""
        if self._task is not None:
            self._n_cancelled += 1
            self._task.cancel()

    def _was_ended(self, n_before: int) -> bool:
        """Tell whether :meth:`end` alone cancelled the task, and take its cancellations back."""
        n_left = n_before
        for _ in range(self._n_cancelled):
            n_left = self._task.uncancel() if self._task is not None else 0
        return self._n_cancelled > 0 and n_left <= n_before

    async def _send(self) -> str | tuple[int, Mapping[str, str], bytes]:
        """Return the whole answer, or where a redirect leads."""
        options = self._transport.options_for(self._here)
        response = await self._session.get(
            self._here, allow_redirects=False, middlewares=(self._send_once,), **options
        )
        try:
            self._has_headers = True
            # 203 is what a proxy makes of a 200 whose body it changed (RFC 9110, section 15.3.4)
            if response.status in {200, 203}:
                body = await self._read(response)
                self._show(response, body)
                return response.status, response.headers, body
            body = await self._drain(response)
            self._show(response, body)
            # Only a plain body has words to tell.
            words = None if response.headers.get("Content-Encoding") else _words(body)
            if response.status in _REDIRECTS and "Location" in response.headers:
                return response.headers["Location"]
            raise self._refused(response, words)
        finally:
            # Releasing keeps the connection if the body was read to its end, and closes it if not.
            response.release()

    async def _send_once(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        # aiohttp itself sends again, at once and unseen by the gate, when a connection breaks before the headers;
        # it does so for its own errors only.
        _SENDING.set(self)
        try:
            return await handler(request)
        except (aiohttp.ClientConnectionError, OSError) as error:
            if self.is_kept and not _has_begun_to_answer(error):
                raise _StaleConnectionError from error
            raise self._mapped(error) from error

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        encoding = response.headers.get("Content-Encoding")
        inflater = None if encoding is None else Inflater.for_encoding(encoding.strip().lower())
        limit_bytes = self._limit_bytes
        if inflater is None and (response.content_length or 0) > limit_bytes:
            # no more than shows what it is
            limit_bytes = min(limit_bytes, _KEPT_BYTES)
            self._announces_too_much = True
        clock, content, on_bytes = self._clock, response.content, self._on_bytes
        now = clock()
        self._stopped_s = 0.0
        watch = SpeedWatch(self._min_speed, self._stall_timeout_s, now)
        pieces: list[bytes] = []
        n_body = 0
        # a stream can go on without making anything
        max_received = _MAX_RECEIVED_TIMES * self._limit_bytes + _READ_BUFFER_BYTES
        while True:
            self.deadline = now + self._stall_timeout_s
            piece = await content.readany()
            if not piece:
                break
            now = clock()
            n_piece = len(piece)
            if self._stopped_s:
                watch.paused(self._stopped_s)
                self._stopped_s = 0.0
            self._n_received += n_piece
            if watch.received(n_piece, now):
                raise self._stalled(f"less than {self._min_speed:g} bytes/s", self._stall_timeout_s)
            if inflater is not None:
                piece = inflater.inflate(piece, self._limit_bytes + 1 - n_body)
            if piece:
                pieces.append(piece)
            n_body += len(piece)
            if n_body > limit_bytes or self._n_received > max_received:
                raise self._too_large(b"".join(pieces)[:_KEPT_BYTES])
            wait = None if on_bytes is None else on_bytes(n_piece)
            if wait is not None:
                self.deadline = float("inf")
                await wait
                watch.paused(clock() - now)
                now = clock()
            if content.at_eof():
                break
        if inflater is not None and not inflater.is_whole:
            raise self._truncated(f"its {encoding} stream ended early")
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _show(self, response: aiohttp.ClientResponse, body: bytes) -> None:
        if self._observer is None:
            return
        encoding = response.headers.get("Content-Encoding")
        if response.status not in {200, 203} and encoding:
            # An answer that nobody reads was not decompressed.
            with suppress(UndecodableError):
                inflater = Inflater.for_encoding(encoding.strip().lower())
                body = body if inflater is None else inflater.inflate(body, _ERROR_BODY_BYTES)
        self._observer(Exchange(str(self._here), response.status, tuple(response.headers.items()), body))

    async def _drain(self, response: aiohttp.ClientResponse) -> bytes:
        # Read to keep the connection, and for the words.
        words = bytearray()
        self.deadline = self._clock() + self._stall_timeout_s
        try:
            async for piece in response.content.iter_any():
                words += piece
                if len(words) > _ERROR_BODY_BYTES:
                    break
        except aiohttp.ClientError:
            # The status has been said; how its page ends adds nothing.
            response.close()
        return bytes(words)

    def _refused(self, response: aiohttp.ClientResponse, words: str | None) -> AsyncFetchError:
        asked = response.headers.get("Retry-After")
        retry_after = _by_the_servers_clock(asked, response.headers.get("Date"))
        if response.status == 404:
            todo = "check the id" if retry_after is None else f"the server asks to wait: {asked}"
            return NotFoundError(
                f"{self._shown} does not exist (HTTP 404); {todo}",
                service_message=words,
                retry_after=retry_after,
                url=self._url,
            )
        proxy = self._transport.proxy_of(self._here)
        # who of the two refused is not known: a proxy answers in the place of a host, too
        way = "" if proxy is None else f" through the proxy {proxy.url}"
        error = StatusError(
            f"{self._shown} was answered{way} with HTTP {response.status} "
            f"{shown(response.reason or '', 80)}".rstrip(),
            status=response.status,
            retry_after=retry_after,
            url=self._url,
        )
        if response.status == 407 and proxy is not None:
            todo = (
                f"name user and password in {proxy.named_by}: http://USER:PASSWORD@{URL(proxy.url).authority}"
            )
        elif retry_after is not None:
            todo = f"the server asks to wait: {asked}"
        else:
            todo = "ask again later" if error.is_transient else "check the request"
        error.args = (f"{error.message}; {todo}",)
        return error

    def _mapped(self, error: Exception) -> AsyncFetchError:
        url, shown, cause = self._url, self._shown, _reason(error)
        if isinstance(error, (aiohttp.InvalidURL, UnicodeError)):
            return SelectionError(f"{shown} is not a valid URL: {error}", url=url)
        if self._has_headers and isinstance(
            error, (aiohttp.ClientPayloadError, aiohttp.ClientConnectionError, OSError)
        ):
            return self._truncated(f"the connection broke ({cause})")
        proxy = self._transport.proxy_of(self._here)
        host = self._here.authority
        if isinstance(error, aiohttp.ClientHttpProxyError) and proxy is not None:
            return self._refused_by_proxy(error, proxy)
        of_tls = _of_tls(error)
        if of_tls is not None:
            return tls_error(of_tls, host, url)
        if isinstance(error, (aiohttp.ClientConnectionError, OSError)):
            way, todo = "", "check the network and base_url, or ask again later"
            if proxy is not None:
                way = f" through the proxy {proxy.url}"
                todo = f"check {proxy.named_by}, or do without it: ASYNCFETCH_PROXY=none"
            return ConnectError(f"no connection to {host}{way} ({cause}); {todo}", url=url)
        if isinstance(error, UndecodableError):
            return TransportError(f"{shown}: the body cannot be decompressed ({error}); ask again", url=url)
        return TransportError(f"{shown}: the answer is not HTTP ({cause}); ask again later", url=url)

    def _refused_by_proxy(self, error: aiohttp.ClientHttpProxyError, proxy: Proxy) -> AsyncFetchError:
        if error.status == 407:
            todo = (
                f"name user and password in {proxy.named_by}: http://USER:PASSWORD@{URL(proxy.url).authority}"
            )
        else:
            todo = f"ask who runs the proxy, or name the host in no_proxy: no_proxy={self._here.host}"
        return StatusError(
            f"the proxy {proxy.url} did not connect to {self._here.authority}: HTTP {error.status} {error.message}; "
            f"{todo}",
            status=error.status,
            url=self._url,
        )

    def _stalled(self, what: str, waited_s: float) -> StallError:
        return StallError(
            f"{self._shown} stalled: {what} after {counted(self._n_received, 'byte')}; ask again, "
            "or raise stall_timeout_s",
            received_bytes=self._n_received,
            waited_s=waited_s,
            url=self._url,
        )

    def _truncated(self, what: str) -> TruncatedError:
        return TruncatedError(
            f"{self._shown} ended before its end, after {counted(self._n_received, 'byte')}: {what}; ask again",
            received_bytes=self._n_received,
            url=self._url,
        )

    def _too_large(self, beginning: bytes) -> BodyTooLargeError:
        return BodyTooLargeError(
            f"{self._shown} is larger than the {self._limit_bytes} bytes that it can have; it was not read further",
            limit_bytes=self._limit_bytes,
            beginning=beginning,
            url=self._url,
        )


def _has_begun_to_answer(error: Exception) -> bool:
    # aiohttp hands over the part of the headers that had come
    return isinstance(error, aiohttp.ServerDisconnectedError) and not isinstance(error.message, str)


def _words(body: bytes) -> str | None:
    return body[:200].decode(errors="replace").strip() if body else None


def _by_the_servers_clock(retry_after: str | None, date: str | None) -> str | None:
    """Return a Retry-After that is a date as the seconds until then, where the reply says what time it is there.

    Our own clock may be hours off, or be set while a run is under way. What cannot be read says nothing: None.
    """
    try:
        now_utc = parsedate_to_datetime(date or "")
    except (ValueError, TypeError, IndexError, OverflowError):
        return retry_after if parse_retry_after(retry_after, datetime.now(UTC)) is not None else None
    seconds = parse_retry_after(retry_after, now_utc.replace(tzinfo=now_utc.tzinfo or UTC))
    return None if seconds is None else f"{seconds:.3f}".rstrip("0").rstrip(".")


def _of_tls(error: Exception) -> ssl.SSLError | None:
    """Return the error of TLS that is behind an error, if there is one: its number is none of the system's."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        error = error.certificate_error
    elif isinstance(error, aiohttp.ClientConnectorError):
        error = error.os_error
    return error if isinstance(error, ssl.SSLError) else None


def _reason(error: Exception) -> str:
    """Return why a connection failed: the system's words where there are any, else what aiohttp says."""
    of_tls = _of_tls(error)
    if of_tls is not None:
        return tls_words(of_tls)
    if isinstance(error, aiohttp.ClientConnectorError):
        error = error.os_error
    if isinstance(error, OSError) and error.errno is not None:
        # The event loop puts words of its own in the place of the system's; resolver errors are negative.
        return os.strerror(error.errno) if error.errno > 0 else str(error.strerror)
    words = error.message if isinstance(error, aiohttp.ClientResponseError) else str(error)
    return f"{type(error).__name__}: {' '.join(words.split())}".rstrip(": ")
