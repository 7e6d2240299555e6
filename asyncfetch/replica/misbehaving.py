"""A server with faults: what goes wrong with each reply is planned, and played around the handler that answers it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
from aiohttp import web

from asyncfetch.replica.delivery import Delivery
from asyncfetch.replica.edge import answer_of, subject_of
from asyncfetch.replica.faults import QUERY, SYNC
from asyncfetch.replica.log import current_record
from asyncfetch.replica.misbehaviour import (
    SILENCE_S,
    changed,
    delivery_of,
    endless_pieces,
    replacement,
    shifted_request,
    with_start_row,
)

if TYPE_CHECKING:
    from asyncfetch.replica.delivery import Sender
    from asyncfetch.replica.edge import Handler
    from asyncfetch.replica.faults import Fault, FaultPlan
    from asyncfetch.replica.images import ImageSource

__all__ = ["Misbehaviour"]


class Misbehaviour:
    """The faults of a plan, around handlers that know nothing of them.

    Parameters
    ----------
    plan : FaultPlan
        Says of each reply whether it fails.
    source : ImageSource
        Knows the images that requests name.
    sender : Sender
        What sends bodies that have faults.
    """

    def __init__(self, plan: FaultPlan, source: ImageSource, sender: Sender) -> None:
        self._plan = plan
        self._source = source
        self._sender = sender

    @web.middleware
    async def misbehave(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let a request be answered, or play what is planned for it."""
        fault = self._next_fault(request)
        if fault is None:
            return await handler(request)
        current_record().fault = fault.kind
        fmt = request.match_info.get("format", "json")
        if (instead := replacement(fault, request.path_qs, fmt)) is not None:
            return instead
        match fault.kind:
            case "never":
                await anyio.sleep(SILENCE_S)
                return web.Response(status=503)
            case "reset-before-headers":
                if request.transport is not None:
                    request.transport.abort()
                return web.Response(status=503)
            case "endless" | "gzip-bomb":
                return await self._send_endless(request, fault)
        return await self._send_changed(request, handler, fault)

    def _next_fault(self, request: web.Request) -> Fault | None:
        """Return what goes wrong with a request: for an image, rows or a place; what describes models never fails."""
        kind, row = subject_of(request, self._source)
        if kind == "image" and row is not None:
            return self._plan.next_for(row["id"])
        if kind == "sync":
            return self._plan.next_for(SYNC, request.match_info["seed"])
        if kind == "query" and not _is_description(request):
            return self._plan.next_for(QUERY, request.path_qs)
        return None

    async def _send_endless(self, request: web.Request, fault: Fault) -> web.StreamResponse:
        packed = {"Content-Encoding": "gzip"} if fault.kind == "gzip-bomb" else None
        head = web.Response(content_type="image/jpeg", headers=packed)
        return await self._sender.deliver(request, head, Delivery(), endless_pieces(fault))

    async def _send_changed(self, request: web.Request, handler: Handler, fault: Fault) -> web.StreamResponse:
        """Send the right reply with the fault in it; one that refuses is sent as it is."""
        start_row = None
        if fault.kind == "shifted-rows":
            request, start_row = shifted_request(request)
        reply = await handler(request)
        if not isinstance(reply, web.Response) or reply.status != 200:
            return reply
        faulty = await anyio.to_thread.run_sync(_with_fault, reply, fault, start_row)
        return await self._sender.deliver(request, faulty, delivery_of(fault))


def _is_description(request: web.Request) -> bool:
    is_named_so = request.path.rpartition("/")[2].startswith(("enumerate.", "describe."))
    return is_named_so and "id" not in request.match_info


def _with_fault(reply: web.Response, fault: Fault, start_row: int | None) -> web.Response:
    answer = answer_of(reply)
    if start_row is not None:
        answer = with_start_row(answer, start_row)
    return changed(answer, fault).packed()
