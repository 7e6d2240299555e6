"""The replica as an HTTP server: in this process, or in one of its own."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
from aiohttp import web

from asyncfetch.errors import SettingsError
from asyncfetch.replica.connections import MAX_CONNECTIONS, Connections
from asyncfetch.replica.delivery import Sender
from asyncfetch.replica.differences import differences_named
from asyncfetch.replica.differing import differing
from asyncfetch.replica.door import KEEP_ALIVE_S, MAX_LINE_BYTES, Door
from asyncfetch.replica.faults import FaultPlan
from asyncfetch.replica.hosts import Hosts
from asyncfetch.replica.images import DrawnImages
from asyncfetch.replica.log import LOG_PATH, RequestLog, RequestRecord
from asyncfetch.replica.misbehaving import Misbehaviour
from asyncfetch.replica.options import ServerOptions, read_options
from asyncfetch.replica.service import AtlasSource, Service
from asyncfetch.replica.traffic import Traffic
from asyncfetch.sample import sample_atlas

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp.typedefs import Middleware

    from asyncfetch.replica.differing import Difference
    from asyncfetch.replica.edge import Handler

__all__ = [
    "AtlasSource",
    "Replica",
    "RequestRecord",
    "ServerOptions",
    "create_app",
    "open_replica",
    "open_replica_process",
]

_SERVICE = web.AppKey("service", Service)
_LOG = web.AppKey("log", RequestLog)
_HOSTS = web.AppKey("hosts", Hosts)


@dataclass(frozen=True)
class Replica:
    """A running replica.

    Attributes
    ----------
    base_url : str
        Without a slash at the end, fit for ``Settings.base_url``.
    atlas : AtlasSource
        What it answers from.
    requests : list of RequestRecord
        All requests so far, in the order of their arrival.
    images : DrawnImages
        The drawn pictures and their cache.
    """

    base_url: str
    atlas: AtlasSource
    requests: list[RequestRecord] = field(repr=False)
    images: DrawnImages = field(repr=False)

    @property
    def image_requests(self) -> list[RequestRecord]:
        """The requests that asked for the bytes of an image."""
        return [request for request in self.requests if request.kind == "image"]


def create_app(atlas: AtlasSource | None = None, options: ServerOptions | None = None) -> web.Application:
    """Build the application that answers as the API does.

    Parameters
    ----------
    atlas : AtlasSource, optional
        What to answer from; the sample atlas when not given.
    options : ServerOptions, optional
        How to behave.
    """
    options = options or ServerOptions()
    differences = differences_named(options.differences)
    for difference in differences:
        options = replace(options, **difference.options)
    service, hosts = _service(atlas or sample_atlas(), options), Hosts(options.allow_hosts)
    log = RequestLog(options.max_records, options.record_bytes, options.log_path)
    sender = Sender(options.bytes_per_s, options.total_bytes_per_s)
    traffic = Traffic(
        service.atlas, log, sender, latency_s=options.latency_s, requests_per_s=options.requests_per_s
    )
    faults = None if options.faults is None else FaultPlan(options.faults)
    app = web.Application(
        middlewares=[
            Door(hosts).admit,
            traffic.carry,
            *_untruths(service, sender, differences, faults),
        ]
    )
    app[_SERVICE], app[_LOG], app[_HOSTS] = service, log, hosts
    app.add_routes([*service.routes(), web.get(LOG_PATH, log.show)])
    return app


def _service(atlas: AtlasSource, options: ServerOptions) -> Service:
    """Return what answers, and answers truly."""
    images = DrawnImages(
        atlas,
        memory_bytes=options.cache_bytes,
        folder=options.cache_folder,
        gzip_level=max(options.gzip_level, 0),
        n_threads=options.n_threads,
        drawing_bytes=options.drawing_bytes,
    )
    return Service(
        atlas,
        images,
        is_packing=options.gzip_level >= 0,
        rounding=options.rounding,
        has_last_tier=options.has_last_tier,
        ignored_parameters=options.ignored_parameters,
        redirect_base=options.redirect_base,
    )


def _untruths(
    service: Service, sender: Sender, differences: list[Difference], faults: FaultPlan | None
) -> list[Middleware]:
    """Return what stands around the service where it is to differ or to fail: differences outside of faults."""
    around: list[Middleware] = []
    follow: Handler = service.image
    if faults is not None:
        misbehaviour = Misbehaviour(faults, service.atlas, sender)
        around.append(misbehaviour.misbehave)
        follow = partial(misbehaviour.misbehave, handler=service.image)
    if differences:
        around.insert(0, differing(differences, service.atlas, follow))
    return around


@asynccontextmanager
async def open_replica(
    atlas: AtlasSource | None = None, *, host: str = "127.0.0.1", port: int = 0, **options: Any
) -> AsyncIterator[Replica]:
    """Serve for as long as the context is open.

    Parameters
    ----------
    atlas : AtlasSource, optional
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
    chosen = read_options(options)
    app = create_app(atlas, chosen)
    service, log = app[_SERVICE], app[_LOG]
    app[_HOSTS].add(host)
    runner = web.AppRunner(
        app,
        access_log=None,
        handle_signals=False,
        # Replies that stall on purpose must not hold up the end.
        shutdown_timeout=0.1,
        # A reply whose client has gone is worked on no more; one that never comes would be held for an hour.
        handler_cancellation=True,
        # what is longer than that, and yet not endless, is refused in words
        max_line_size=4 * MAX_LINE_BYTES,
        keepalive_timeout=KEEP_ALIVE_S,
        auto_decompress=False,
    )
    with log.open():
        async with listening(runner, host, port, chosen.max_connections) as base_url:
            yield Replica(base_url, service.atlas, log.requests, service.images)


@asynccontextmanager
async def listening(
    runner: web.BaseRunner, host: str, port: int, max_connections: int = MAX_CONNECTIONS
) -> AsyncIterator[str]:
    """Listen for as long as the context is open; gives the address, without a slash at the end.

    Connections beyond `max_connections` are refused with 503.

    Raises
    ------
    SettingsError
        The port is taken.
    """
    await runner.setup()
    try:
        try:
            assert runner.server is not None, "the runner is set up"
            connections = Connections(runner.server, max_connections)
            listener = await asyncio.get_running_loop().create_server(connections, host, port)
        except OSError as error:
            raise SettingsError(
                f"cannot listen on {host}:{port}: {error.strerror}", setting="port"
            ) from error
        address, bound = listener.sockets[0].getsockname()[:2]
        shown = f"[{address}]" if ":" in address else address
        try:
            yield f"http://{shown}:{bound}"
        finally:
            listener.close()
    finally:
        await runner.cleanup()


@asynccontextmanager
async def open_replica_process(**options: Any) -> AsyncIterator[str]:
    """Serve from a process of its own, for measurements that it must not disturb.

    Parameters
    ----------
    **options
        Those of :class:`ServerOptions`, as JSON has them (no callables), ``host`` and ``port``, and ``store`` or
        ``generated``: a mirrored store, or a product of so many data sets, to serve instead of the sample atlas.

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
    command = [sys.executable, "-m", "asyncfetch.replica", text]
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
