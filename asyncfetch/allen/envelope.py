"""Replies of the API: rows, or an error with the service's own words. Pure.

JSON and XML carry the same envelope (allen-api.md RMA-1, RMA-2). Errors come under HTTP 200 with ``success`` false
and a plain string (RMA-8); outages give HTML, or a body that is not JSON. Which messages mean a failure that passes is
known for one only (``… Informatics service request failed``); `TRANSIENT_WORDS` adds the usual words for the same, to
be on the safe side: asking again costs little, giving up costs a section.

Unknown, and taken as follows: an error in XML carries ``success="false"`` and its words as text or as an attribute
``msg``; a JSON ``msg`` that is one object is one row; a count that is not a number counts as missing. What is read as
rows must have been meant as rows: a reply without ``msg`` is not an empty page, because an empty page ends a listing.
Single rows that are not records stay where they stand, for the listing to name. ``NaN`` and ``Infinity``, which JSON
does not have and some writers of it give, and numbers beyond float64 are null.

What a body would take in memory is estimated from its bytes before anything is made of it: 100 kB of gzip can unfold to
40 million empty rows.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from typing import Any

import msgspec
from lxml import etree  # pyright: ignore[reportAttributeAccessIssue]  # compiled, ships no stubs

from asyncfetch.errors import (
    BodyTooLargeError,
    QueryError,
    ReplyError,
    TransientServiceError,
    short_url,
)
from asyncfetch.text import shown

__all__ = ["MAX_MADE_BYTES", "TRANSIENT_WORDS", "Page", "made_bytes", "parse_csv", "parse_json", "parse_xml"]

#: Words in ``msg`` that mean that the same query can succeed later.
TRANSIENT_WORDS = (
    "service request failed",
    "timed out",
    "timeout",
    "temporarily",
    "unavailable",
    "try again",
)

#: The most memory that one body may take as objects: twice that of 25 000 section images with their alignments.
MAX_MADE_BYTES = 2**28
#: What a dict or a list and one value take in CPython, and what an element takes in libxml2 and as a dict.
_OBJECT_BYTES, _VALUE_BYTES, _ELEMENT_BYTES = 200, 64, 200

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_SHOWN_BYTES = 80
_SHOWN_WORDS = 400
_DASHED = str.maketrans("-", "_")


class Page(msgspec.Struct, frozen=True):
    """The rows of one reply.

    Attributes
    ----------
    rows : list of dict
        The rows, as they came; at least one is a dict, and each that is not one is not a record.
    start_row, num_rows : int
        Where the page begins, and how many rows the service says it has.
    total_rows : int or None
        What the service announces; it counts joined rows and is not to be trusted.
    """

    rows: list[Any]
    start_row: int = 0
    num_rows: int = 0
    total_rows: int | None = None


class _Envelope(msgspec.Struct):
    success: bool
    msg: Any = None
    start_row: Any = None
    num_rows: Any = None
    total_rows: Any = None


# Made here, before there are threads: msgspec ends the process where two of them meet a type for the first time.
_ENVELOPES = msgspec.json.Decoder(_Envelope)


def parse_json(body: bytes | bytearray, *, url: str | None = None) -> Page:
    """Read a reply in JSON.

    Parameters
    ----------
    body : bytes
        The reply.
    url : str, optional
        Where it came from, for messages.

    Raises
    ------
    QueryError
        The service refuses the query.
    TransientServiceError
        The service failed in a way that passes.
    ReplyError
        The body is HTML, no JSON, cut short, or of another shape.
    BodyTooLargeError
        The objects of the body would take too much memory.
    """
    _require_bounded(body, url)
    try:
        envelope = _ENVELOPES.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        lenient = _read_leniently(body)
        if lenient is None:
            raise _no_reply(bytes(body[:_SHOWN_BYTES]), str(error), url) from error
        envelope = lenient
    if not envelope.success:
        raise _refusal(envelope.msg, url)
    rows = envelope.msg
    if isinstance(rows, dict):
        rows = [rows] if rows else []
    if not isinstance(rows, list) or not (not rows or any(isinstance(row, dict) for row in rows)):
        raise _odd(rows, "which is not a list of records", url)
    total = envelope.total_rows
    return Page(
        rows, _count(envelope.start_row, 0), _count(envelope.num_rows, len(rows)), _count(total, None)
    )


def parse_csv(body: bytes | bytearray, *, url: str | None = None) -> Page:
    """Read a reply in CSV: a header row, then one row per record, and no paging fields (RMA-3).

    Values stay text, since CSV carries no types. How errors come in CSV is not recorded, so an envelope in JSON and a
    page are recognised by how they begin.

    Parameters
    ----------
    body : bytes
        The reply.
    url : str, optional
        Where it came from, for messages.

    Raises
    ------
    QueryError, TransientServiceError, ReplyError, BodyTooLargeError
        As for `parse_json`.
    """
    _require_bounded(body, url)
    beginning = bytes(body[:_SHOWN_BYTES]).lstrip()
    if beginning.startswith(b"{"):
        parse_json(body, url=url)
    if beginning.startswith((b"{", b"<")):
        raise _no_reply(bytes(body[:_SHOWN_BYTES]), "it is not CSV", url)
    try:
        lines = list(csv.reader(io.StringIO(bytes(body).decode("utf-8"), newline=""), strict=True))
    except (csv.Error, UnicodeDecodeError) as error:
        raise _no_reply(bytes(body[:_SHOWN_BYTES]), str(error), url) from error
    lines = [line for line in lines if line]
    if not lines:
        return Page([])
    header, *records = lines
    if any(len(record) != len(header) for record in records):
        raise _no_reply(bytes(body[:_SHOWN_BYTES]), "rows are not as long as the header", url)
    rows: list[dict[str, Any]] = [dict(zip(header, record, strict=True)) for record in records]
    return Page(rows, num_rows=len(rows))


def parse_xml(body: bytes | bytearray, *, url: str | None = None) -> Page:
    """Read a reply in XML, without entities, document types or network.

    Elements with ``type`` integer, float or boolean become numbers and truth values, ``type="array"`` lists,
    ``nil="true"`` None; dashes become underscores. Top-level fields carry no type (RMA-2) and stay text.
    An element without a type is a list where it holds records named by its own singular, as
    ``<section-images><section-image>``. A record that stands alone, as in a file, is a page of one row.

    Raises
    ------
    QueryError, TransientServiceError, ReplyError, BodyTooLargeError
        As for `parse_json`; a document type is not a reply either.
    """
    _require_bounded(body, url)
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        root = etree.fromstring(bytes(body), parser)
    except etree.XMLSyntaxError as error:
        raise _no_reply(bytes(body[:_SHOWN_BYTES]), str(error), url) from error
    is_response = root.tag == "Response"
    if root.getroottree().docinfo.doctype or not (is_response or root.find("id") is not None):
        raise _no_reply(bytes(body[:_SHOWN_BYTES]), "neither a Response nor a record", url)
    if root.get("success", "true") != "true":
        words = root.get("msg") or " ".join("".join(root.itertext()).split())
        raise _refusal(words or None, url)
    rows = [_record(each) for box in _elements(root) for each in _elements(box)] if is_response else []
    rows = rows if is_response else [_record(root)]
    return Page(
        rows,
        _count(root.get("start_row"), 0),
        _count(root.get("num_rows"), len(rows)),
        _count(root.get("total_rows"), None),
    )


def made_bytes(body: bytes | bytearray) -> int:
    """Return about how much memory the objects take that are made of a body, whatever language it is in."""
    n_objects = body.count(b"{") + body.count(b"[") + body.count(b"\n")
    n_values = body.count(b",")
    return len(body) + _OBJECT_BYTES * n_objects + _VALUE_BYTES * n_values + _ELEMENT_BYTES * body.count(b"<")


def _require_bounded(body: bytes | bytearray, url: str | None) -> None:
    # no byte makes more than an object, so that a page of usual size need not be counted
    if len(body) * (_OBJECT_BYTES + 1) <= MAX_MADE_BYTES:
        return
    size_bytes = made_bytes(body)
    if size_bytes > MAX_MADE_BYTES:
        raise BodyTooLargeError(
            f"{_shown_url(url)} sent {len(body) / 1e6:.0f} MB that would take some {size_bytes / 1e6:.0f} MB as "
            "records; ask for fewer rows per page (page_rows)",
            limit_bytes=MAX_MADE_BYTES,
            url=url,
        )


def _read_leniently(body: bytes | bytearray) -> _Envelope | None:
    """Read what is JSON but for a byte order mark, NaN, Infinity and numbers beyond float64, which become null."""
    text = bytes(body).removeprefix(_BYTE_ORDER_MARK)
    # a lone surrogate, which msgspec refuses, could not be written anywhere
    if b"\\ud" in text.lower():
        return None
    try:
        value = json.loads(text, parse_constant=lambda _name: None, parse_float=_finite)
        return msgspec.convert(value, _Envelope)
    except (ValueError, RecursionError):
        return None


def _finite(number: str) -> float | None:
    value = float(number)
    return value if math.isfinite(value) else None


def _count[T: (int, None)](value: Any, otherwise: T) -> int | T:
    """Read a paging field, which none of the rows depends on."""
    if isinstance(value, str) and value.isdecimal() and len(value) < 19:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else otherwise


def _elements(element: etree._Element) -> list[etree._Element]:
    """Return the children without comments and instructions."""
    return [child for child in element if isinstance(child.tag, str)]


def _record(element: etree._Element) -> dict[str, Any]:
    return {_name(child): _field(child) for child in _elements(element)}


def _name(element: etree._Element) -> str:
    return str(element.tag).translate(_DASHED)


def _field(element: etree._Element) -> Any:
    if element.get("nil") == "true":
        return None
    kind = element.get("type")
    children = _elements(element)
    if kind == "array" or (children and _is_container(element, children)):
        return [_record(child) for child in children]
    if children:
        return _record(element)
    content = element.text or ""
    if kind in {"integer", "float", "boolean"}:
        return _typed(content.strip(), kind)
    return content


def _typed(content: str, kind: str) -> int | float | bool | str | None:
    """Read a value as the type that it claims; one that it is not stays text, and is judged with its record."""
    if not content:
        return None
    if kind == "boolean":
        return {"true": True, "false": False}.get(content, content)
    try:
        return int(content) if kind == "integer" else float(content)
    except ValueError:
        return content


def _is_container(element: etree._Element, children: list[etree._Element]) -> bool:
    """Tell a list of records, ``<section-images><section-image>``, from a record."""
    plural, singular = str(element.tag), str(children[0].tag)
    is_plural = plural in {f"{singular}s", f"{singular}es", f"{singular.removesuffix('y')}ies"}
    return is_plural and all(child.tag == singular for child in children)


def _shown_url(url: str | None) -> str:
    return short_url(url) if url else "the API"


def _odd(message: Any, what: str, url: str | None) -> ReplyError:
    """Return the error of a ``msg`` that is of no known shape."""
    return ReplyError(
        f"{_shown_url(url)} sent msg = {shown(repr(message), _SHOWN_BYTES)}, {what}; ask again later",
        service_message=message if isinstance(message, str) else None,
        url=url,
    )


def _refusal(message: Any, url: str | None) -> QueryError | TransientServiceError | ReplyError:
    if not isinstance(message, str):
        return _odd(message, "which does not say why it failed", url)
    where = f" ({short_url(url)})" if url else ""
    if any(words in message.lower() for words in TRANSIENT_WORDS):
        return TransientServiceError(
            f"the API failed for the moment: {shown(message, _SHOWN_WORDS)}; ask again later{where}",
            service_message=message,
            url=url,
        )
    return QueryError(
        f"the API refuses the query: {shown(message, _SHOWN_WORDS)}; correct the query{where}",
        service_message=message,
        url=url,
    )


def _no_reply(beginning: bytes, reason: str, url: str | None) -> ReplyError:
    words = re.sub(r"\s+", " ", beginning.decode("utf-8", "replace")).strip()
    is_page = re.search(r"(?i)<(!doctype html|html|head|body)|site unavailable", words)
    kind = "a page of HTML" if is_page else "something other than a reply of the API"
    return ReplyError(
        f"{_shown_url(url)} sent {kind} ({reason}): it begins with '{shown(words, _SHOWN_BYTES)}'; ask again later",
        url=url,
    )
