"""The traffic of the replica: each request logged, held for the latency or refused, and its reply sent at the pace.

Unknown of the real service, and chosen here: a refused request (429) is counted at the front door, so that an image's
redirect and its bytes are one request.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import anyio
from aiohttp import web

from asyncfetch.replica.edge import subject_of
from asyncfetch.replica.log import LOG_PATH
from asyncfetch.replica.pace import RequestLimit

if TYPE_CHECKING:
    from asyncfetch.replica.delivery import Sender
    from asyncfetch.replica.edge import Handler
    from asyncfetch.replica.images import ImageSource
    from asyncfetch.replica.log import RequestLog, RequestRecord

__all__ = ["Traffic"]


class Traffic:
    """What comes in and goes out.

    Parameters
    ----------
    source : ImageSource
        Knows the images that requests name.
    log : RequestLog
        Where each request is recorded.
    sender : Sender
        What sends the replies.
    latency_s : float
        Seconds before the first byte of every reply.
    requests_per_s : float, optional
        Most requests in any one second; those beyond are refused.
    """

    def __init__(
        self,
        source: ImageSource,
        log: RequestLog,
        sender: Sender,
        *,
        latency_s: float = 0.0,
        requests_per_s: float | None = None,
    ) -> None:
        self._source = source
        self._log = log
        self._sender = sender
        self._latency_s = latency_s
        self._limit = RequestLimit(requests_per_s) if requests_per_s else None

    @web.middleware
    async def carry(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Log a request, hold it for the latency, refuse it beyond the limit, and send its reply."""
        record = self._log.begin(request.path_qs)
        try:
            record.kind, row = subject_of(request, self._source)
            record.image_id = None if row is None else row["id"]
            if self._latency_s:
                await anyio.sleep(self._latency_s)
            reply = self._refusal(request, record) or await handler(request)
            if request.path != LOG_PATH:
                reply = await self._sender.send(request, reply)
            _complete(record, request, reply)
        except ConnectionError:
            # the client went away before the first byte: nobody is left to be told
            return web.Response()
        except web.HTTPException as error:
            record.status = error.status
            raise
        else:
            return reply
        finally:
            self._log.end(record)

    def _refusal(self, request: web.Request, record: RequestRecord) -> web.Response | None:
        if self._limit is None or not request.path.startswith("/api/"):
            return None
        wait_s = self._limit.wait_s(anyio.current_time())
        if not wait_s:
            return None
        record.kind = "refused"
        headers = {"Retry-After": str(math.ceil(wait_s))}
        return web.Response(status=429, headers=headers, text="too many requests")


def _complete(record: RequestRecord, request: web.Request, reply: web.StreamResponse) -> None:
    """Record what aiohttp is about to send; what was sent in pieces is recorded already."""
    if reply.prepared:
        return
    is_open = request.transport is not None and not request.transport.is_closing()
    record.status = reply.status if is_open else 0
    if isinstance(reply, web.Response) and isinstance(reply.body, bytes):
        record.size_bytes = len(reply.body)
