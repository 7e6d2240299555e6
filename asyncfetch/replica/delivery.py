"""How replies are sent: whole or in pieces, at a pace, to their end or to another one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio
from aiohttp import web

from asyncfetch.engine.rate import ByteRate
from asyncfetch.replica.log import current_record
from asyncfetch.replica.pace import Pace

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Delivery", "Sender"]

_PIECE_BYTES = 2**16
# A client that takes nothing for so long is gone.
_SEND_S = 60.0


@dataclass(frozen=True)
class Delivery:
    """How one body is sent.

    Attributes
    ----------
    bytes_per_s : float or None
        Its own pace; None for that of the server.
    silence_s : float
        How long nothing comes between the last piece and the end.
    is_cut : bool
        Whether the connection is cut where the body should end.
    """

    bytes_per_s: float | None = None
    silence_s: float = 0.0
    is_cut: bool = False


class Sender:
    """The one that sends replies.

    Parameters
    ----------
    bytes_per_s : float, optional
        Most bytes per second of one body.
    total_bytes_per_s : float, optional
        Most bytes per second of all bodies together.
    """

    def __init__(self, bytes_per_s: float | None = None, total_bytes_per_s: float | None = None) -> None:
        self._bytes_per_s = bytes_per_s
        self._shared = ByteRate(total_bytes_per_s) if total_bytes_per_s else None

    async def send(self, request: web.Request, reply: web.StreamResponse) -> web.StreamResponse:
        """Send a reply; one that is small and has no pace to keep is returned as it is, for aiohttp to send."""
        body = reply.body if isinstance(reply, web.Response) else None
        if reply.prepared or reply.status != 200 or request.method == "HEAD" or not isinstance(body, bytes):
            return reply
        is_paced = self._bytes_per_s is not None or self._shared is not None
        if not (reply.chunked or is_paced or len(body) > _PIECE_BYTES):
            return reply
        head = _head_of(reply)
        if not (reply.chunked or is_paced):
            head.content_length = len(body)
        elif request.version >= (1, 1):
            # a client that knew the length would leave before the last piece has passed
            head.enable_chunked_encoding()
        await self._write(request, head, _pieces_of(body, self._bytes_per_s), Delivery())
        return head

    async def deliver(
        self,
        request: web.Request,
        reply: web.Response,
        delivery: Delivery,
        pieces: Iterable[bytes] | None = None,
    ) -> web.StreamResponse:
        """Send a reply in a way of its own, without its length; pieces stand in for its body where they are given."""
        if request.method == "HEAD":
            return reply
        head = _head_of(reply)
        if request.version >= (1, 1):
            head.enable_chunked_encoding()
        if pieces is None:
            assert isinstance(reply.body, bytes), "there is a body to be sent"
            pieces = _pieces_of(reply.body, delivery.bytes_per_s or self._bytes_per_s)
        await self._write(request, head, pieces, delivery)
        return head

    async def _write(
        self, request: web.Request, head: web.StreamResponse, pieces: Iterable[bytes], delivery: Delivery
    ) -> None:
        await head.prepare(request)
        current_record().status = head.status
        if not await _write_all(
            request, head, pieces, Pace(delivery.bytes_per_s or self._bytes_per_s, self._shared)
        ):
            return
        if delivery.silence_s:
            await anyio.sleep(delivery.silence_s)
        if delivery.is_cut and request.transport is not None:
            request.transport.abort()
            return
        try:
            await head.write_eof()
        except ConnectionError:
            return


def _head_of(reply: web.StreamResponse) -> web.StreamResponse:
    head = web.StreamResponse(status=reply.status, reason=reply.reason, headers=reply.headers)
    if reply.keep_alive is False:
        head.force_close()
    return head


def _pieces_of(body: bytes, bytes_per_s: float | None) -> Iterable[bytes]:
    n_bytes = _PIECE_BYTES if bytes_per_s is None else max(1, min(_PIECE_BYTES, int(bytes_per_s / 10)))
    return (body[start : start + n_bytes] for start in range(0, len(body), n_bytes))


async def _write_all(
    request: web.Request, head: web.StreamResponse, pieces: Iterable[bytes], pace: Pace
) -> bool:
    """Send pieces; False where nobody listens any more."""
    with anyio.CancelScope() as scope:
        for piece in pieces:
            if not await _write_piece(head, piece, pace, scope):
                return False
    if scope.cancelled_caught and request.transport is not None:
        request.transport.abort()
    return not scope.cancelled_caught


async def _write_piece(head: web.StreamResponse, piece: bytes, pace: Pace, scope: anyio.CancelScope) -> bool:
    """Send a piece and wait until it has passed; False where nobody listens any more.

    The scope is cancelled where the piece is not taken for too long.
    """
    passed_at = pace.passed_at(len(piece), anyio.current_time())
    scope.deadline = anyio.current_time() + _SEND_S
    try:
        await head.write(piece)
    except ConnectionError:
        return False
    scope.deadline = math.inf
    current_record().size_bytes += len(piece)
    delay_s = passed_at - anyio.current_time()
    if delay_s > 0:
        await anyio.sleep(delay_s)
    return True
