"""The faults that concern bytes: replies that replace the right one, and bodies that are changed or cut."""

from __future__ import annotations

import re
import zlib
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import numpy as np
from aiohttp import web

from asyncfetch.imaging import jpeg
from asyncfetch.replica.replies import pack_failure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asyncfetch.replica.faults import Fault

__all__ = ["DRIP_BYTES_PER_S", "STALL_S", "changed", "cut", "endless_pieces", "is_replacing", "replacement"]

#: How long a reply that never goes on is held.
STALL_S = 3600.0
DRIP_BYTES_PER_S = 1000.0
_ELSEWHERE = "http://elsewhere.invalid"
_UNAVAILABLE = b"<html><head><title>Site unavailable</title></head><body>Site unavailable</body></html>"
_NO_IMAGE = b'<?xml version="1.0" encoding="UTF-8"?><Error><Message>No image today</Message></Error>'
_HUGE = 60_000
_MIB = 2**20
_BOMB_MIB = 16 * 2**10
_REPLACING = {
    "endless",
    "gzip-bomb",
    "html",
    "never",
    "not-jpeg",
    "not-json",
    "permanent",
    "redirect-away",
    "redirect-loop",
    "reset-before-headers",
    "transient",
    "xml",
}


def is_replacing(fault: Fault) -> bool:
    """Say whether a fault takes the place of the whole reply."""
    return fault.status is not None or fault.kind in _REPLACING


async def replacement(request: web.Request, fault: Fault, fmt: str = "json") -> web.StreamResponse | None:
    """Return the reply of a fault that replaces the right one; None for those that are sent in pieces."""
    if fault.status is not None:
        return web.Response(
            status=fault.status, headers=fault.headers(), body=_UNAVAILABLE, content_type="text/html"
        )
    match fault.kind:
        case "html":
            return web.Response(body=_UNAVAILABLE, content_type="text/html")
        case "xml":
            return web.Response(body=_NO_IMAGE, content_type="application/xml")
        case "not-jpeg":
            return web.Response(body=b"\0" * 100, content_type="image/jpeg")
        case "not-json":
            return web.Response(body=b"these are words, no JSON", content_type="application/json")
        case "transient":
            return _failed("Error in query: service::sample, Informatics service request failed", fmt)
        case "permanent":
            return _failed("Error in query: the replica was told to refuse it", fmt)
        case "redirect-loop":
            return web.Response(status=302, headers={"Location": request.path_qs})
        case "redirect-away":
            return web.Response(status=302, headers={"Location": f"{_ELSEWHERE}{request.path_qs}"})
        case "never":
            await anyio.sleep(STALL_S)
            return web.Response(status=503)
        case "reset-before-headers":
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=503)
    return None


def endless_pieces(fault: Fault) -> Iterator[bytes]:
    """Yield the pieces of a body that is not meant to be read to its end: ``endless`` or ``gzip-bomb``."""
    if fault.kind == "gzip-bomb":
        pack = zlib.compressobj(9, wbits=31)
        # A full flush makes every block independent, so that one of them can be sent again and again.
        yield pack.compress(bytes(_MIB)) + pack.flush(zlib.Z_FULL_FLUSH)
        block = pack.compress(bytes(_MIB)) + pack.flush(zlib.Z_FULL_FLUSH)
        for _ in range(_BOMB_MIB):
            yield block
        return
    # The beginning of a JPEG with a comment, so that nothing but its length gives it away.
    yield b"\xff\xd8\xff\xfe\xff\xff"
    while True:
        yield b"no end " * 10_000


async def changed(body: bytes, fault: Fault) -> bytes:
    """Return an image with the fault in its bytes."""
    match fault.kind:
        case "cut-jpeg":
            return _cut_scan(body)
        case "huge-header":
            return _with_size(body, _HUGE, _HUGE)
        case "wrong-size":
            return await anyio.to_thread.run_sync(_smaller, body)
    return body


def cut(body: bytes, fault: Fault) -> bytes:
    """Return what of a body is sent."""
    return body[: len(body) // 2] if fault.kind in {"reset", "stall", "truncate"} else body


def _failed(words: str, fmt: str) -> web.Response:
    content_type = "application/xml" if fmt == "xml" else "application/json"
    return web.Response(body=pack_failure(words, fmt), content_type=content_type)


def _cut_scan(body: bytes) -> bytes:
    """Drop the second half of the coded pixels, and end as a JPEG ends."""
    start = body.index(b"\xff\xda")
    half = body[: start + (len(body) - start) // 2].rstrip(b"\xff")
    return half + b"\xff\xd9"


def _with_size(body: bytes, height: int, width: int) -> bytes:
    """Return a JPEG whose frame header claims another size."""
    found = re.search(rb"\xff[\xc0-\xc2]..\x08(....)", body, re.DOTALL)
    assert found is not None, "the replica's images are JPEGs"
    size = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    return body[: found.start(1)] + size + body[found.end(1) :]


def _smaller(body: bytes) -> bytes:
    pixels = jpeg.decode(body)
    height, width = (max(side - 8, 1) if side > 1 else 2 for side in pixels.shape[:2])
    return jpeg.encode(np.ascontiguousarray(np.resize(pixels, (height, width, 3))))
