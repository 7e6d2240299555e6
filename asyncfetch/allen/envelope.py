"""Replies of the API: rows, or an error with the service's own words. Pure.

JSON and XML carry the same envelope (FACTS.md section 2). Errors come under HTTP 200 with ``success`` false and a
plain string; outages give HTML, or a body that is no JSON. Which messages mean a failure that passes is known for
one only (``… Informatics service request failed``); `TRANSIENT_WORDS` adds the usual words for the same, to be on
the safe side: asking again costs little, giving up costs a section.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
from lxml import etree

from asyncfetch.errors import QueryError, ReplyError, TransientServiceError

__all__ = ["TRANSIENT_WORDS", "Page", "parse_json", "parse_xml"]

#: Words in ``msg`` that mean that the same query can succeed later.
TRANSIENT_WORDS = (
    "service request failed",
    "timed out",
    "timeout",
    "temporarily",
    "unavailable",
    "try again",
)

_SHOWN_BYTES = 80
_DASHED = str.maketrans("-", "_")


class Page(msgspec.Struct, frozen=True):
    """Hold the rows of one reply.

    Attributes
    ----------
    rows : list of dict
        The rows, as they came.
    start_row, num_rows : int
        Where the page begins, and how many rows the service says it has.
    total_rows : int or None
        What the service announces; it counts joined rows and is not to be trusted.
    """

    rows: list[dict[str, Any]]
    start_row: int = 0
    num_rows: int = 0
    total_rows: int | None = None


class _Envelope(msgspec.Struct):
    success: bool
    msg: Any = None
    start_row: int = 0
    num_rows: int = 0
    total_rows: int | None = None


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
    """
    try:
        envelope = msgspec.json.decode(body, type=_Envelope)
    except msgspec.DecodeError as error:
        raise _no_reply(bytes(body[:_SHOWN_BYTES]), str(error), url) from error
    if not envelope.success:
        raise _refusal(envelope.msg, url)
    rows = envelope.msg
    if rows in ({}, None):
        rows = []
    if isinstance(rows, dict):
        rows = [rows]
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ReplyError(
            f"{url or 'the API'} sent rows of type {type(rows).__name__}, not a list of records", url=url
        )
    return Page(rows, envelope.start_row, envelope.num_rows, envelope.total_rows)


def parse_xml(body: bytes | bytearray, *, url: str | None = None) -> Page:
    """Read a reply in XML, without entities, document types or network.

    Elements with ``type`` integer, float or boolean become numbers and truth values, ``type="array"`` lists,
    ``nil="true"`` None; dashes become underscores. Top-level fields carry no type (FACTS.md section 2) and stay text.

    Raises
    ------
    QueryError, TransientServiceError, ReplyError
        As for `parse_json`.
    """
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        root = etree.fromstring(bytes(body), parser)
    except etree.XMLSyntaxError as error:
        raise _no_reply(bytes(body[:_SHOWN_BYTES]), str(error), url) from error
    if root.tag == "html" or root.getroottree().docinfo.doctype:
        raise _no_reply(bytes(body[:_SHOWN_BYTES]), "a page or a document type, not a reply", url)
    if root.get("success", "true") != "true":
        raise _refusal(root.get("msg") or "".join(root.itertext()).strip(), url)
    rows = (
        [_record(each) for container in root for each in container]
        if root.tag == "Response"
        else [_record(root)]
    )
    total = root.get("total_rows")
    return Page(
        rows,
        int(root.get("start_row", 0)),
        int(root.get("num_rows", len(rows))),
        None if total is None else int(total),
    )


def _record(element: etree._Element) -> dict[str, Any]:
    return {_name(child): _field(child) for child in element if isinstance(child.tag, str)}


def _name(element: etree._Element) -> str:
    return str(element.tag).translate(_DASHED)


def _field(element: etree._Element) -> Any:
    if element.get("nil") == "true":
        return None
    kind = element.get("type")
    children = [child for child in element if isinstance(child.tag, str)]
    if kind == "array" or (children and _is_container(element, children)):
        return [_record(child) for child in children]
    if children:
        return _record(element)
    content = element.text or ""
    if kind == "integer":
        return int(content)
    if kind == "float":
        return float(content)
    if kind == "boolean":
        return content.strip() == "true"
    return content


def _is_container(element: etree._Element, children: list[etree._Element]) -> bool:
    """Tell a list of records, ``<section-images><section-image>``, from a record."""
    tags = {child.tag for child in children}
    return len(tags) == 1 and str(element.tag).rstrip("s") == str(children[0].tag).rstrip("s")


def _refusal(message: Any, url: str | None) -> QueryError | TransientServiceError | ReplyError:
    if not isinstance(message, str):
        return ReplyError(f"{url or 'the API'} failed without saying why", url=url)
    where = f" ({url})" if url else ""
    if any(words in message.lower() for words in TRANSIENT_WORDS):
        return TransientServiceError(
            f"the API failed for the moment: {message}; ask again later{where}",
            service_message=message,
            url=url,
        )
    return QueryError(
        f"the API refuses the query: {message}; mend the query{where}", service_message=message, url=url
    )


def _no_reply(beginning: bytes, reason: str, url: str | None) -> ReplyError:
    shown = re.sub(r"\s+", " ", beginning.decode("utf-8", "replace")).strip()
    kind = (
        "a page of HTML" if re.match(r"(?i)\s*<(!doctype|html|head|body)", shown) else "no reply of the API"
    )
    return ReplyError(
        f"{url or 'the API'} sent {kind} ({reason}): it begins with {shown!r}; ask again later", url=url
    )
