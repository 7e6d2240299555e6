"""The service of the replica: downloads, queries, synchronization; with their faults, at their pace.

What headers and redirects look like is recorded (HTTP-1, HTTP-3). Unknown, and chosen here: the image service
behind the redirect takes the parameters of the download, and a refused request (429) is counted at the front door,
so that an image's redirect and its bytes are one request.
"""

from __future__ import annotations

import functools
import json
import logging
import math
import re
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

import anyio
from aiohttp import web

from asyncfetch.allen.sync import SYNC_SERVICES
from asyncfetch.engine.rate import ByteRate
from asyncfetch.errors import NotFoundError, QueryError, SelectionError
from asyncfetch.replica import misbehaviour, replies, rma
from asyncfetch.replica.differences import differences_named
from asyncfetch.replica.differing import differing
from asyncfetch.replica.faults import QUERY, SYNC, FaultPlan
from asyncfetch.replica.images import DrawnImages, ImageSource, read_picture
from asyncfetch.replica.pace import Pace, RequestLimit
from asyncfetch.replica.sync import SyncServices
from asyncfetch.replica.threads import Threads

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from io import FileIO

    from asyncfetch.replica.faults import Fault
    from asyncfetch.replica.images import Picture
    from asyncfetch.replica.options import ServerOptions

__all__ = ["Atlas", "RequestRecord", "Service"]

_LOG = logging.getLogger(__name__)
_PIECE_BYTES = 2**16
# Queries that are evaluated at once, for seconds at most; they run Python and gain nothing from more.
_MAX_QUERIES = 2
# What a record takes beside the text of its address.
_RECORD_BYTES = 300
# A client that takes nothing for so long is gone.
_SEND_S = 60.0
_LOG_PATH = "/replica/requests"
_DOWNLOADS = ("image_download", "section_image_download", "atlas_image_download", "projection_image_download")
_IMAGE_HEADERS = {
    "Access-Control-Allow-Origin": "*",
    "Content-Disposition": "attachment; filename=imagefile.jpg",
    "Keep-Alive": "timeout=15, max=99",
    "Last-Modified": "Thu, 31 Jan 2013 22:05:16 GMT",
    "Server": "Apache",
    "Vary": "Accept-Encoding",
}


class Atlas(ImageSource, rma.RowSource, Protocol):
    """Everything that the replica answers from: records and pixels."""


@dataclass(kw_only=True, eq=False)
class RequestRecord:
    """One request that was answered, or is being answered.

    Attributes
    ----------
    kind : str
        ``download`` (answered by a redirect), ``image`` (the bytes), ``query``, ``sync``, ``refused`` (by the
        limit of requests) or ``other``.
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


_RECORD: ContextVar[RequestRecord] = ContextVar("record")


@dataclass(frozen=True)
class _Body:
    """A body before it is sent; ``is_packed`` for one that goes as a gzip stream."""

    data: bytes
    content_type: str
    is_image: bool = False
    is_packed: bool = False


class Service:
    """The service of the replica: an answer to each request.

    Parameters
    ----------
    atlas : Atlas
        What to answer from.
    options : ServerOptions
        How to behave.

    Attributes
    ----------
    requests : list of RequestRecord
        All requests so far, or the latest where the options say so.
    images : DrawnImages
        The drawn pictures.
    log_file : file or None
        Where a line of JSON is written for each request that ended.
    """

    def __init__(self, atlas: Atlas, options: ServerOptions) -> None:
        self.atlas = atlas
        self.differences = differences_named(options.differences)
        for difference in self.differences:
            options = replace(options, **difference.options)
        self.options = options
        self.requests: list[RequestRecord] = []
        self.log_file: FileIO | None = None
        self.images = DrawnImages(
            atlas,
            memory_bytes=options.cache_bytes,
            folder=options.cache_folder,
            gzip_level=max(options.gzip_level, 0),
            n_threads=options.n_threads,
            drawing_bytes=options.drawing_bytes,
        )
        self._threads = Threads(_MAX_QUERIES, 0)
        self._n_record_bytes = 0
        self._faults = FaultPlan(options.faults)
        self._rma = rma.Evaluator(atlas)
        self._sync = SyncServices(atlas)
        self._shared = ByteRate(options.total_bytes_per_s) if options.total_bytes_per_s else None
        self._limit = RequestLimit(options.requests_per_s) if options.requests_per_s else None

    def routes(self) -> Iterable[web.RouteDef]:
        """Return what is answered where."""
        data, services = "/api/v2/data", "|".join(SYNC_SERVICES)
        known = "json|xml|csv"
        return [
            web.get(f"/api/v2/{{service:{'|'.join(_DOWNLOADS)}}}/{{image_id}}", self.download),
            web.get("/cgi-bin/imageservice", self.image),
            web.get(f"/api/v2/{{service:{services}}}/{{seed:[^/.]+}}.{{format:json|xml}}", self.sync),
            web.get(f"{data}/query.{{format:{known}}}", self.query),
            web.get(f"{data}/enumerate.{{format:{known}}}", self.enumerate),
            web.get(f"{data}/{{model}}/describe.{{format:json|xml}}", self.describe),
            web.get(f"{data}/{{model}}/query.{{format:{known}}}", self.query),
            web.get(f"{data}/{{model}}/{{id}}.{{format:{known}}}", self.query),
            web.get(_LOG_PATH, self.log),
        ]

    async def download(self, request: web.Request) -> web.StreamResponse:
        """Redirect to the image service, or say that there is no such image."""
        record = _RECORD.get()
        record.kind = "download"
        text = request.match_info["image_id"].removesuffix(".jpg")
        row = self.atlas.image_row(int(text)) if text.isdecimal() and len(text) < 19 else None
        if row is None:
            return web.Response(status=404, text="no such image")
        record.image_id = row["id"]
        ignored = self.options.ignored_parameters
        parameters = {name: value for name, value in request.query.items() if name not in ignored}
        if request.match_info["service"] != "atlas_image_download":
            # Only this service is documented to draw annotations; others ignore what they do not know.
            parameters.pop("annotation", None)
        try:
            picture = self._picture(row, parameters)
        except NotFoundError as error:
            return web.Response(status=404, text=error.message)
        except SelectionError as error:
            return web.Response(status=400, text=error.message)
        if not self.atlas.has_view(row["id"], picture.view):
            return web.Response(status=404, text=f"no view {picture.view} of this image")
        location = self._base_of(request) + picture.location(self.atlas.image_path(row["id"], picture.view))
        return web.Response(status=302, headers={"Location": location, "Server": "Apache"})

    def _picture(self, row: dict[str, Any], parameters: dict[str, str]) -> Picture:
        options = self.options
        return read_picture(row, parameters, rounding=options.rounding, has_last_tier=options.has_last_tier)

    def _base_of(self, request: web.Request) -> str:
        host = request.headers.get("Host", "localhost")
        return self.options.redirect_base.format(host=host, name=re.sub(r":\d*$", "", host))

    async def image(self, request: web.Request) -> web.StreamResponse:
        """Send the bytes of an image."""
        record = _RECORD.get()
        record.kind = "image"
        found = self.atlas.image_at(request.query.get("path", ""))
        row = None if found is None else self.atlas.image_row(found[0])
        if found is None or row is None:
            return web.Response(status=404, text="no such image")
        record.image_id = found[0]
        fault = self._next_fault(found[0])
        accepts_gzip = "gzip" in request.headers.get("Accept-Encoding", "")
        is_packed = accepts_gzip and self.options.gzip_level >= 0

        async def make() -> _Body:
            picture = self._picture(row, {**request.query, "view": found[1]})
            if is_packed and fault is None:
                body = await self.images.gzipped(picture)
            else:
                body = await self.images.jpeg(picture)
            if fault is not None:
                body = misbehaviour.cut(await misbehaviour.changed(body, fault), fault)
                if is_packed:
                    body = await self.images.compress(body)
            return _Body(body, "image/jpeg", is_image=True, is_packed=is_packed)

        try:
            return await self._reply(request, make, fault)
        except NotFoundError as error:
            return web.Response(status=404, text=error.message)
        except SelectionError as error:
            return web.Response(status=400, text=error.message)

    async def query(self, request: web.Request) -> web.StreamResponse:
        """Answer a metadata query."""
        fault = self._next_fault(QUERY, request.path_qs)
        return await self._answer(request, "query", fault, lambda: self._rows(request, fault))

    async def enumerate(self, request: web.Request) -> web.StreamResponse:
        """List the models."""
        fmt = request.match_info["format"]
        names = replies.model_names()
        answer = rma.Answer("Model", names, 0, len(names))
        return await self._answer(request, "query", None, lambda: replies.pack(answer, fmt))

    async def describe(self, request: web.Request) -> web.StreamResponse:
        """Describe a model."""
        fmt, model = request.match_info["format"], request.match_info["model"]
        return await self._answer(
            request, "query", None, lambda: replies.describe_model(self._rma, model, fmt)
        )

    async def sync(self, request: web.Request) -> web.StreamResponse:
        """Answer one of the synchronization services."""
        service, seed, fmt = (request.match_info[name] for name in ("service", "seed", "format"))
        fault = self._next_fault(SYNC, seed)
        make = functools.partial(self._sync.answer, service, seed, dict(request.query), fmt)
        return await self._answer(request, "sync", fault, make)

    async def log(self, request: web.Request) -> web.StreamResponse:
        """Send the log."""
        with suppress(ValueError):
            # another request may have pushed it out
            self.requests.remove(_RECORD.get())
        return web.json_response([vars(record) for record in self.requests])

    def _rows(self, request: web.Request, fault: Fault | None) -> bytes:
        query = rma.read_request(request.match_info, request.query)
        if fault is not None and fault.kind == "shifted-rows":
            start = query.options.start_row
            options = query.options.num_rows
            shifted = start - 1 if start else 1
            query = query.page(shifted, options if isinstance(options, int) else 2**31)
            answer = self._rma.evaluate(query)._replace(start_row=start)
        else:
            answer = self._rma.evaluate(query)
        if fault is not None and fault.kind == "duplicate-rows":
            answer = answer._replace(
                rows=[row for k, row in enumerate(answer.rows) for _ in range(2 - k % 2)]
            )
        return replies.pack(answer, request.match_info["format"])

    async def _answer(
        self, request: web.Request, kind: str, fault: Fault | None, make: Callable[[], bytes]
    ) -> web.StreamResponse:
        """Reply with what ``make`` returns in a thread, or with its error's words under status 200."""
        _RECORD.get().kind = kind
        fmt = request.match_info["format"]

        async def make_body() -> _Body:
            content_type = replies.CONTENT_TYPES[fmt]
            try:
                data = await self._threads.run(0, make)
            except (QueryError, SelectionError, RecursionError) as error:
                said = (
                    "the query is nested too deeply" if isinstance(error, RecursionError) else error.message
                )
                data = replies.pack_failure(said, fmt)
                if fmt == "csv":  # which has no form for an error
                    content_type = replies.CONTENT_TYPES["json"]
            return _Body(data if fault is None else misbehaviour.cut(data, fault), content_type)

        return await self._reply(request, make_body, fault)

    def _next_fault(self, key: int | str, item: str = "") -> Fault | None:
        fault = self._faults.next_for(key, item)
        if fault is not None:
            _RECORD.get().fault = fault.kind
        return fault

    async def _reply(
        self, request: web.Request, make: Callable[[], Awaitable[_Body]], fault: Fault | None
    ) -> web.StreamResponse:
        if fault is not None and misbehaviour.is_replacing(fault):
            fmt = request.match_info.get("format", "json")
            instead = await misbehaviour.replacement(request, fault, fmt)
            return instead if instead is not None else await self._stream_endless(request, fault)
        body = await make()
        if self.differences and fault is None:
            # Whole, so that it can be changed before it is sent.
            return _whole(body)
        is_paced = self._shared is not None or self.options.bytes_per_s is not None
        if fault is None and not body.is_image and not is_paced:
            return web.Response(body=body.data, content_type=body.content_type, charset="utf-8")
        return await self._stream(request, body, fault)

    async def _stream(self, request: web.Request, body: _Body, fault: Fault | None) -> web.StreamResponse:
        reply = await _begin(request, body)
        kind = None if fault is None else fault.kind
        bytes_per_s = misbehaviour.DRIP_BYTES_PER_S if kind == "drip" else self.options.bytes_per_s
        pace = Pace(bytes_per_s, self._shared)
        piece_bytes = (
            _PIECE_BYTES if bytes_per_s is None else max(1, min(_PIECE_BYTES, int(bytes_per_s / 10)))
        )
        pieces = (body.data[start : start + piece_bytes] for start in range(0, len(body.data), piece_bytes))
        if not await _send_all(request, reply, pieces, pace):
            return reply
        if kind == "stall":
            await anyio.sleep(misbehaviour.STALL_S)
        if kind == "reset" and request.transport is not None:
            request.transport.abort()
            return reply
        await _end(reply)
        return reply

    async def _stream_endless(self, request: web.Request, fault: Fault) -> web.StreamResponse:
        is_bomb = fault.kind == "gzip-bomb"
        reply = await _begin(request, _Body(b"", "image/jpeg", is_image=True, is_packed=is_bomb))
        pace = Pace(self.options.bytes_per_s, self._shared)
        if await _send_all(request, reply, misbehaviour.endless_pieces(fault), pace):
            await _end(reply)
        return reply

    def middlewares(self) -> list[Callable[..., Awaitable[web.StreamResponse]]]:
        """Return what stands before the handlers."""
        if not self.differences:
            return [self.record]

        def image_row(path: str) -> dict[str, Any] | None:
            found = self.atlas.image_at(path)
            return None if found is None else self.atlas.image_row(found[0])

        return [self.record, differing(self.differences, image_row, self.image)]

    @web.middleware
    async def record(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Log a request, hold it for the latency, and refuse it beyond the limit."""
        record = RequestRecord(kind="other", path=request.path_qs, started_s=anyio.current_time())
        _RECORD.set(record)
        self._keep(record)
        try:
            if self.options.latency_s:
                await anyio.sleep(self.options.latency_s)
            reply = self._refusal(request) or await handler(request)
            is_cut = record.fault == "reset-before-headers"
            record.status = 0 if is_cut else record.status or reply.status
            if isinstance(reply, web.Response) and isinstance(reply.body, bytes):
                record.size_bytes = len(reply.body)
        except ConnectionError:
            # the client went away before the first byte: nobody is left to be told
            return web.Response()
        except web.HTTPException as error:
            record.status = error.status
            raise
        else:
            return reply
        finally:
            record.ended_s = anyio.current_time()
            self._write(record)

    def _refusal(self, request: web.Request) -> web.Response | None:
        if self._limit is None or not request.path.startswith("/api/"):
            return None
        wait_s = self._limit.wait_s(anyio.current_time())
        if not wait_s:
            return None
        _RECORD.get().kind = "refused"
        headers = {"Retry-After": str(math.ceil(wait_s))}
        return web.Response(status=429, headers=headers, text="too many requests")

    def _keep(self, record: RequestRecord) -> None:
        most = self.options.most_records
        if most is not None and len(self.requests) >= 2 * most:
            del self.requests[:-most]
        self.requests.append(record)
        self._n_record_bytes += len(record.path) + _RECORD_BYTES
        if self._n_record_bytes > self.options.record_bytes:
            self._drop_older_half()

    def _drop_older_half(self) -> None:
        n_bytes, most = 0, self.options.record_bytes // 2
        for n_kept, record in enumerate(reversed(self.requests)):
            if n_kept and n_bytes + len(record.path) + _RECORD_BYTES > most:
                del self.requests[:-n_kept]
                break
            n_bytes += len(record.path) + _RECORD_BYTES
        self._n_record_bytes = n_bytes

    def _write(self, record: RequestRecord) -> None:
        if self.log_file is None or record.path == _LOG_PATH:
            return
        assert record.ended_s is not None
        line = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "kind": record.kind,
            "path": record.path,
            "image_id": record.image_id,
            "status": record.status,
            "size_bytes": record.size_bytes,
            "elapsed_s": round(record.ended_s - record.started_s, 6),
            "fault": record.fault,
        }
        left = json.dumps(line).encode() + b"\n"
        try:
            while left:
                left = left[self.log_file.write(left) :]
        except OSError as error:
            # the replies are worth more than their log
            self.log_file = None
            _LOG.warning("the log %s ends here: %s", self.options.log_path, error.strerror)


def _whole(body: _Body) -> web.Response:
    headers = dict(_IMAGE_HEADERS) if body.is_image else {}
    if body.is_packed:
        headers["Content-Encoding"] = "gzip"
    return web.Response(body=body.data, content_type=body.content_type, headers=headers)


async def _begin(request: web.Request, body: _Body) -> web.StreamResponse:
    reply = web.StreamResponse(headers=_IMAGE_HEADERS if body.is_image else None)
    reply.content_type = body.content_type
    if body.is_packed:
        reply.headers["Content-Encoding"] = "gzip"
    if request.version >= (1, 1):
        reply.enable_chunked_encoding()
    await reply.prepare(request)
    _RECORD.get().status = reply.status
    return reply


async def _send(reply: web.StreamResponse, piece: bytes, pace: Pace, scope: anyio.CancelScope) -> bool:
    """Send a piece and wait until it has passed; False where nobody listens any more.

    The scope is cancelled where the piece is not taken for too long.
    """
    passed_at = pace.passed_at(len(piece), anyio.current_time())
    scope.deadline = anyio.current_time() + _SEND_S
    try:
        await reply.write(piece)
    except ConnectionError:
        return False
    scope.deadline = math.inf
    _RECORD.get().size_bytes += len(piece)
    delay_s = passed_at - anyio.current_time()
    if delay_s > 0:
        await anyio.sleep(delay_s)
    return True


async def _send_all(
    request: web.Request, reply: web.StreamResponse, pieces: Iterable[bytes], pace: Pace
) -> bool:
    """Send pieces; False where nobody listens any more."""
    with anyio.CancelScope() as scope:
        for piece in pieces:
            if not await _send(reply, piece, pace, scope):
                return False
    if scope.cancelled_caught and request.transport is not None:
        request.transport.abort()
    return not scope.cancelled_caught


async def _end(reply: web.StreamResponse) -> Any:
    try:
        await reply.write_eof()
    except ConnectionError:
        return
