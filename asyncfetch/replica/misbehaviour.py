"""What each fault makes of a reply: another in its place, another body, another delivery."""

from __future__ import annotations

import copy
import csv
import io
import json
import re
import zlib
from typing import TYPE_CHECKING

import numpy as np
from aiohttp import web
from lxml import etree  # pyright: ignore[reportAttributeAccessIssue]  # compiled, ships no stubs

from asyncfetch.errors import QueryError
from asyncfetch.imaging import jpeg
from asyncfetch.replica.delivery import Delivery
from asyncfetch.replica.replies import CONTENT_TYPES, pack_failure, to_bytes
from asyncfetch.replica.rma import read_request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asyncfetch.replica.edge import Answer
    from asyncfetch.replica.faults import Fault

__all__ = [
    "SILENCE_S",
    "changed",
    "delivery_of",
    "endless_pieces",
    "replacement",
    "shifted_request",
    "with_start_row",
]

#: How long a reply that never goes on is held.
SILENCE_S = 3600.0
_DRIP_BYTES_PER_S = 1000.0
_ELSEWHERE = "http://elsewhere.invalid"
_UNAVAILABLE = b"<html><head><title>Site unavailable</title></head><body>Site unavailable</body></html>"
_NO_IMAGE = b'<?xml version="1.0" encoding="UTF-8"?><Error><Message>No image today</Message></Error>'
_HUGE = 60_000
_MIB = 2**20
_BOMB_MIB = 16 * 2**10
_FORMATS = {content_type: fmt for fmt, content_type in CONTENT_TYPES.items()}


def replacement(fault: Fault, address: str, fmt: str = "json") -> web.Response | None:
    """Return the reply that a fault puts in the place of the right one; None for faults that need the right one.

    Parameters
    ----------
    fault : Fault
    address : str
        Path and query of the request.
    fmt : str
        ``json``, ``xml`` or ``csv``: in what the request asks for its reply.
    """
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
            return web.Response(status=302, headers={"Location": address})
        case "redirect-away":
            return web.Response(status=302, headers={"Location": f"{_ELSEWHERE}{address}"})
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


def changed(answer: Answer, fault: Fault) -> Answer:
    """Return a reply with the fault in its body, as far as it is sent; it takes time for an image."""
    body = answer.body
    match fault.kind:
        case "cut-jpeg":
            body = _cut_scan(body)
        case "huge-header":
            body = _with_size(body, _HUGE, _HUGE)
        case "wrong-size":
            body = _smaller(body)
        case "duplicate-rows":
            body = _doubled(body, _format_of(answer))
        case "reset" | "stall" | "truncate":
            body = body[: len(body) // 2]
    return answer._replace(body=body)


def delivery_of(fault: Fault) -> Delivery:
    """Return how a body is sent."""
    match fault.kind:
        case "drip":
            return Delivery(bytes_per_s=_DRIP_BYTES_PER_S)
        case "stall":
            return Delivery(silence_s=SILENCE_S)
        case "reset":
            return Delivery(is_cut=True)
    return Delivery()


def shifted_request(request: web.Request) -> tuple[web.Request, int]:
    """Return a query for the page that begins one row off, and where the page that was asked for begins."""
    try:
        query = read_request(request.match_info, request.query)
    except (QueryError, RecursionError):
        # the service says what is wrong with it
        return request, 0
    if not query.model:
        return request, 0
    start, n_rows = query.options.start_row, query.options.num_rows
    shifted = {
        "start_row": str(start - 1 if start else 1),
        "num_rows": str(n_rows if isinstance(n_rows, int) else 2**31),
    }
    return request.clone(rel_url=request.rel_url.update_query(shifted)), start


def with_start_row(answer: Answer, start_row: int) -> Answer:
    """Return rows that claim to begin elsewhere; CSV claims nothing."""
    match _format_of(answer):
        case "json":
            found = json.loads(answer.body)
            body = _json(found | {"start_row": start_row}) if found["success"] else answer.body
        case "xml":
            root = etree.fromstring(answer.body)
            if root.get("success") == "true":
                root.set("start_row", str(start_row))
            body = to_bytes(root)
        case _:
            body = answer.body
    return answer._replace(body=body)


def _format_of(answer: Answer) -> str:
    return _FORMATS.get(answer.headers["Content-Type"].partition(";")[0], "")


def _failed(words: str, fmt: str) -> web.Response:
    content_type = "application/xml" if fmt == "xml" else "application/json"
    return web.Response(body=pack_failure(words, fmt), content_type=content_type)


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _doubled(body: bytes, fmt: str) -> bytes:
    """Return a page on which every other row comes twice; a failure has none."""
    match fmt:
        case "json":
            found = json.loads(body)
            if not (found["success"] and isinstance(found["msg"], list)):
                return body
            rows = _every_other_twice(found["msg"])
            return _json(found | {"num_rows": len(rows), "msg": rows})
        case "xml":
            root = etree.fromstring(body)
            for parent in root:
                parent[:] = [copy.deepcopy(row) for row in _every_other_twice(list(parent))]
                root.set("num_rows", str(len(parent)))
            return to_bytes(root)
        case "csv":
            header, *lines = list(csv.reader(io.StringIO(body.decode()))) or [[]]
            text = io.StringIO()
            csv.writer(text, lineterminator="\n").writerows([header, *_every_other_twice(lines)])
            return text.getvalue().encode() if header else body
    return body


def _every_other_twice[T](rows: list[T]) -> list[T]:
    return [row for k, row in enumerate(rows) for _ in range(2 - k % 2)]


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
