"""The replica as an HTTP server: routes, the shape of replies, latency, bandwidth, faults and a log.

What the headers and the redirect look like is recorded (FACTS.md section 4); the pace and the faults are ours.
"""

from __future__ import annotations

import json
import sys
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import anyio
from aiohttp import web

from asyncfetch.errors import NotFoundError, QueryError, SelectionError, SettingsError
from asyncfetch.server import rma
from asyncfetch.server.faults import QUERY, FaultPlan
from asyncfetch.server.images import DrawnImages, ImageSource, read_picture
from asyncfetch.server.sample import sample_atlas

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from asyncfetch.server.faults import Fault, FaultSource

__all__ = [
    "Atlas",
    "Replica",
    "RequestRecord",
    "ServerOptions",
    "create_app",
    "open_replica",
    "open_replica_process",
]

_PIECE_BYTES = 2**16
# A request line holds a criteria string; a hundred ids and more occur in one.
_LINE_BYTES = 2**17
_STALL_S = 3600.0
_LOG_PATH = "/replica/requests"
_UNAVAILABLE = b"<html><head><title>Site unavailable</title></head><body>Site unavailable</body></html>"
_IMAGE_HEADERS = {
    "Access-Control-Allow-Origin": "*",
    "Content-Disposition": "attachment; filename=imagefile.jpg",
    "Keep-Alive": "timeout=15, max=99",
    "Last-Modified": "Thu, 31 Jan 2013 22:05:16 GMT",
    "Server": "Apache",
    "Vary": "Accept-Encoding",
}


class Atlas(ImageSource, rma.RowSource, Protocol):
    """Give everything that the replica answers from: records and pixels."""


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """Hold how the replica behaves.

    Parameters
    ----------
    latency_s : float
        Seconds before the first byte of every reply.
    bytes_per_s : float or None
        Most bytes a second of one image reply, which is the pace of one connection; None for no limit.
    faults : mapping, callable or None
        What goes wrong; see :class:`asyncfetch.server.FaultPlan`.
    cache_folder : path, optional
        Where drawn JPEGs are kept for the next run.
    cache_bytes : int
        Most bytes of drawn JPEGs kept in memory.
    gzip_level : int
        How image bodies are packed for clients that accept gzip; -1 sends them plain.
    n_threads : int
        Images drawn at once.

    Raises
    ------
    SettingsError
        A number is out of range.
    """

    latency_s: float = 0.0
    bytes_per_s: float | None = None
    faults: FaultSource = None
    cache_folder: str | Path | None = None
    cache_bytes: int = 2**29
    gzip_level: int = 1
    n_threads: int = 2

    def __post_init__(self) -> None:
        if self.latency_s < 0:
            raise SettingsError(f"latency_s cannot be {self.latency_s}", setting="latency_s")
        if self.bytes_per_s is not None and self.bytes_per_s <= 0:
            raise SettingsError(
                f"bytes_per_s must be positive, not {self.bytes_per_s}", setting="bytes_per_s"
            )
        if not -1 <= self.gzip_level <= 9:
            raise SettingsError(f"gzip_level is -1 to 9, not {self.gzip_level}", setting="gzip_level")
        if self.n_threads < 1:
            raise SettingsError(f"n_threads must be 1 or more, not {self.n_threads}", setting="n_threads")


@dataclass(kw_only=True, eq=False)
class RequestRecord:
    """Tell of one request that was answered, or is being answered.

    Attributes
    ----------
    kind : str
        ``download`` (answered by a redirect), ``image`` (the bytes), ``query`` or ``other``.
    path : str
        Path and query as they came.
    image_id : int or None
    status : int
        0 until the reply begins, and for a connection that was cut.
    size_bytes : int
        Bytes of the body, as sent.
    started_s, ended_s : float
        On the clock of the event loop; ``ended_s`` is None while the reply is under way.
    fault : str or None
        The fault that was played.
    """

    kind: str
    path: str
    image_id: int | None = None
    status: int = 0
    size_bytes: int = 0
    started_s: float = 0.0
    ended_s: float | None = None
    fault: str | None = None


@dataclass(frozen=True)
class Replica:
    """Hold a running replica.

    Attributes
    ----------
    base_url : str
        Without a slash at the end, fit for ``Settings.base_url``.
    atlas : Atlas
        What it answers from.
    requests : list of RequestRecord
        All requests so far, in the order of their arrival.
    images : DrawnImages
        The drawn pictures and their cache.
    """

    base_url: str
    atlas: Atlas
    requests: list[RequestRecord] = field(repr=False)
    images: DrawnImages = field(repr=False)

    @property
    def image_requests(self) -> list[RequestRecord]:
        """The requests that asked for the bytes of an image."""
        return [request for request in self.requests if request.kind == "image"]


_RECORD: ContextVar[RequestRecord] = ContextVar("record")


def create_app(atlas: Atlas | None = None, options: ServerOptions | None = None) -> web.Application:
    """Build the application that answers as the API does.

    Parameters
    ----------
    atlas : Atlas, optional
        What to answer from; the sample atlas when not given.
    options : ServerOptions, optional
        How to behave.
    """
    service = _Service(atlas or sample_atlas(), options or ServerOptions())
    app = web.Application(middlewares=[_log])
    app[_SERVICE] = service
    downloads = "image_download|section_image_download|atlas_image_download|projection_image_download"
    app.router.add_get(f"/api/v2/{{service:{downloads}}}/{{image_id}}", service.download)
    app.router.add_get("/cgi-bin/imageservice", service.image)
    app.router.add_get("/api/v2/data/query.{format}", service.query)
    app.router.add_get("/api/v2/data/{model}/query.{format}", service.query)
    app.router.add_get("/api/v2/data/{model}/{id}.{format}", service.query)
    app.router.add_get(_LOG_PATH, service.log)
    return app


@asynccontextmanager
async def open_replica(
    atlas: Atlas | None = None, *, host: str = "127.0.0.1", port: int = 0, **options: Any
) -> AsyncIterator[Replica]:
    """Serve for as long as the context is open.

    Parameters
    ----------
    atlas : Atlas, optional
        What to answer from; the sample atlas when not given.
    host : str
        The address to listen on; loopback unless told otherwise.
    port : int
        0 picks a free one.
    **options
        Those of :class:`ServerOptions`.

    Yields
    ------
    Replica

    Raises
    ------
    SettingsError
        An option is unknown or out of range, or the port is taken.
    """
    app = create_app(atlas, _options(options))
    service = app[_SERVICE]
    runner = web.AppRunner(
        app,
        access_log=None,
        handle_signals=False,
        # Replies that stall on purpose must not hold up the end.
        shutdown_timeout=0.1,
        max_line_size=_LINE_BYTES,
        auto_decompress=False,
    )
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise SettingsError(
                f"cannot listen on {host}:{port}: {error.strerror}", setting="port"
            ) from error
        address, bound = runner.addresses[0][:2]
        shown = f"[{address}]" if ":" in address else address
        yield Replica(f"http://{shown}:{bound}", service.atlas, service.requests, service.images)
    finally:
        await runner.cleanup()


@asynccontextmanager
async def open_replica_process(**options: Any) -> AsyncIterator[str]:
    """Serve the sample atlas from a process of its own, for measurements that it must not disturb.

    Parameters
    ----------
    **options
        Those of :class:`ServerOptions`, as JSON has them (no callables), and ``host`` and ``port``.

    Yields
    ------
    str
        The base URL. The log is at ``/replica/requests``.

    Raises
    ------
    SettingsError
        The process ended before it served; its words are on stderr.
    """
    text = json.dumps(options, default=str)
    command = [sys.executable, "-m", "asyncfetch.server", text]
    async with await anyio.open_process(command, stderr=None) as process:
        try:
            assert process.stdout is not None
            line = b""
            async for piece in process.stdout:
                line += piece
                if line.endswith(b"\n"):
                    break
            if not line.endswith(b"\n"):
                raise SettingsError(f"the replica did not start with the options {text}")
            yield line.decode().strip()
        finally:
            if process.returncode is None:
                process.terminate()


def _options(options: Mapping[str, Any]) -> ServerOptions:
    try:
        return ServerOptions(**options)
    except TypeError as error:
        known = ", ".join(ServerOptions.__dataclass_fields__)
        raise SettingsError(f"{error}; known options: {known}") from error


class _Service:
    """Answer requests."""

    def __init__(self, atlas: Atlas, options: ServerOptions) -> None:
        self.atlas = atlas
        self.requests: list[RequestRecord] = []
        self.images = DrawnImages(
            atlas,
            memory_bytes=options.cache_bytes,
            folder=options.cache_folder,
            gzip_level=max(options.gzip_level, 0),
            n_threads=options.n_threads,
        )
        self.options = options
        self._faults = FaultPlan(options.faults)
        self._rma = rma.Evaluator(atlas)

    async def download(self, request: web.Request) -> web.StreamResponse:
        """Redirect to the image service, or say that there is no such image."""
        record = _RECORD.get()
        record.kind = "download"
        try:
            image_id = int(request.match_info["image_id"])
        except ValueError:
            return web.Response(status=404, text="no such image")
        record.image_id = image_id
        row = self.atlas.image_row(image_id)
        if row is None:
            return web.Response(status=404, text="no such image")
        try:
            picture = read_picture(row, request.query)
        except NotFoundError as error:
            return web.Response(status=404, text=error.message)
        except SelectionError as error:
            return web.Response(status=400, text=error.message)
        if not self.atlas.has_view(image_id, picture.view):
            return web.Response(status=404, text=f"no view {picture.view} of this image")
        return web.Response(status=302, headers={"Location": picture.location(row), "Server": "Apache"})

    async def image(self, request: web.Request) -> web.StreamResponse:
        """Send the bytes of an image."""
        record = _RECORD.get()
        record.kind = "image"
        found = self.atlas.image_at(request.query.get("path", ""))
        row = None if found is None else self.atlas.image_row(found[0])
        if found is None or row is None:
            return web.Response(status=404, text="no such image")
        record.image_id = found[0]
        fault = self._faults.next_for(found[0])
        if fault is not None:
            record.fault = fault.kind
            if (reply := _whole_fault(fault)) is not None:
                return reply
        try:
            picture = read_picture(row, {**request.query, "view": found[1]})
            accepts_gzip = "gzip" in request.headers.get("Accept-Encoding", "")
            is_packed = accepts_gzip and self.options.gzip_level >= 0
            if fault is None and is_packed:
                body = await self.images.gzipped(picture)
            else:
                body = await self.images.jpeg(picture)
        except NotFoundError as error:
            return web.Response(status=404, text=error.message)
        except SelectionError as error:
            return web.Response(status=400, text=error.message)
        if fault is not None:
            body = body[: len(body) // 2]
            if is_packed:
                body = await anyio.to_thread.run_sync(self.images.compress, body)
        return await self._stream(request, body, is_packed=is_packed, ending=fault)

    async def _stream(
        self, request: web.Request, body: bytes, *, is_packed: bool, ending: Fault | None
    ) -> web.StreamResponse:
        record = _RECORD.get()
        reply = web.StreamResponse(headers=_IMAGE_HEADERS)
        reply.content_type = "image/jpeg"
        if is_packed:
            reply.headers["Content-Encoding"] = "gzip"
        if request.version >= (1, 1):
            reply.enable_chunked_encoding()
        await reply.prepare(request)
        record.status = reply.status
        started = anyio.current_time()
        for start in range(0, len(body), _PIECE_BYTES):
            piece = body[start : start + _PIECE_BYTES]
            await reply.write(piece)
            record.size_bytes += len(piece)
            if self.options.bytes_per_s is not None:
                due = started + record.size_bytes / self.options.bytes_per_s
                await anyio.sleep(max(0.0, due - anyio.current_time()))
        if ending is not None and ending.kind == "stall":
            await anyio.sleep(_STALL_S)
        if ending is not None and ending.kind == "reset" and request.transport is not None:
            request.transport.abort()
            return reply
        await reply.write_eof()
        return reply

    async def query(self, request: web.Request) -> web.StreamResponse:
        """Answer a metadata query."""
        record = _RECORD.get()
        record.kind = "query"
        fault = self._faults.next_for(QUERY)
        if fault is not None:
            record.fault = fault.kind
            if (reply := _whole_fault(fault)) is not None:
                return reply
        try:
            if request.match_info["format"] != "json":
                raise QueryError(f"the replica answers in json, not in {request.match_info['format']}")
            query = rma.read_request(request.match_info, request.query)
            answer = await anyio.to_thread.run_sync(self._rma.answer, query)
        except (QueryError, SelectionError) as error:
            answer = rma.failure(error.message)
        body = json.dumps(answer, separators=(",", ":")).encode()
        if fault is None:
            return web.Response(body=body, content_type="application/json", charset="utf-8")
        return await self._stream_cut_query(request, body, fault)

    async def _stream_cut_query(self, request: web.Request, body: bytes, fault: Fault) -> web.StreamResponse:
        reply = web.StreamResponse()
        reply.content_type = "application/json"
        reply.enable_chunked_encoding()
        await reply.prepare(request)
        record = _RECORD.get()
        record.status = reply.status
        half = body[: len(body) // 2]
        await reply.write(half)
        record.size_bytes = len(half)
        if fault.kind == "stall":
            await anyio.sleep(_STALL_S)
        if fault.kind == "reset" and request.transport is not None:
            request.transport.abort()
            return reply
        await reply.write_eof()
        return reply

    async def log(self, request: web.Request) -> web.StreamResponse:
        """Send the log."""
        self.requests.remove(_RECORD.get())
        return web.json_response([vars(record) for record in self.requests])


_SERVICE = web.AppKey("service", _Service)


def _whole_fault(fault: Fault) -> web.Response | None:
    """Return the reply of a fault that replaces the whole reply."""
    if fault.status is not None:
        headers = {} if fault.retry_after is None else {"Retry-After": fault.retry_after}
        return web.Response(status=fault.status, headers=headers, body=_UNAVAILABLE, content_type="text/html")
    if fault.kind == "html":
        return web.Response(body=_UNAVAILABLE, content_type="text/html")
    if fault.kind == "not-jpeg":
        return web.Response(body=b"\0" * 100, content_type="image/jpeg")
    if fault.kind == "transient":
        text = "Error in query: service::sample, Informatics service request failed"
        return web.json_response(rma.failure(text))
    return None


@web.middleware
async def _log(request: web.Request, handler: Any) -> web.StreamResponse:
    service = request.app[_SERVICE]
    record = RequestRecord(kind="other", path=request.path_qs, started_s=anyio.current_time())
    _RECORD.set(record)
    service.requests.append(record)
    try:
        if service.options.latency_s:
            await anyio.sleep(service.options.latency_s)
        reply: web.StreamResponse = await handler(request)
        record.status = reply.status
        if isinstance(reply, web.Response) and isinstance(reply.body, bytes):
            record.size_bytes = len(reply.body)
    except web.HTTPException as error:
        record.status = error.status
        raise
    else:
        return reply
    finally:
        record.ended_s = anyio.current_time()
