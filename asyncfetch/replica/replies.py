"""Answers packed as the API packs them: JSON, XML and CSV.

XML (RMA-2): the envelope as attributes of ``Response``; in it one element named by the plural of the
model; underscores as dashes; fields of the rows themselves without a type, those of included rows with one; nulls as
``nil="true"``. Unknown, and chosen here: a null carries no type; a list of the top level carries ``type="array"``
only where it is empty, a deeper one always; the names inside lists are the singular of the association's name; an
error's words are the text of ``Response``; alignments come as one element a number, as in JSON.

CSV: a header and the rows, without paging fields. Columns of a query that is not tabular stand in alphabetical order,
and included rows are left out, because a cell cannot hold them.
"""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

from lxml import etree  # pyright: ignore[reportAttributeAccessIssue]  # compiled, ships no stubs

from asyncfetch.replica.rma import envelope, failure
from asyncfetch.replica.schema import ASSOCIATIONS, TABLES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from asyncfetch.replica.rma import Answer, Evaluator

__all__ = [
    "CONTENT_TYPES",
    "describe_model",
    "element",
    "model_names",
    "pack",
    "pack_failure",
    "response",
    "to_bytes",
]

CONTENT_TYPES = {"json": "application/json", "xml": "application/xml", "csv": "text/csv"}

_TYPES = {bool: "boolean", int: "integer", float: "float"}
_DATES = ("date", "date_of_birth", "_at")


def pack(answer: Answer, fmt: str) -> bytes:
    """Return an answer as a body in ``json``, ``xml`` or ``csv``."""
    if fmt == "csv":
        return _csv(answer.rows)
    if fmt == "xml":
        total = answer.total_rows if answer.model else None
        root = response(start_row=answer.start_row, num_rows=len(answer.rows), total_rows=total)
        plural = TABLES.get(answer.model, "objects") if answer.model else "objects"
        if answer.model:
            plural = _plural(answer.model)
        _fill_list(etree.SubElement(root, _dashed(plural)), plural, answer.rows, is_typed=False)
        return to_bytes(root)
    return _json(envelope(answer))


def pack_failure(message: str, fmt: str) -> bytes:
    """Return an error as a body; CSV has no way to tell one, so that its errors come as JSON."""
    if fmt == "xml":
        root = response(success=False, start_row=0, num_rows=0, total_rows=0)
        root.text = _printable(message)
        return to_bytes(root)
    return _json(failure(message))


def response(*, success: bool = True, **fields: int | None) -> etree._Element:
    """Return the element ``Response`` with the fields of the envelope that are not None."""
    root = etree.Element("Response", success=_content(success))
    for name, value in fields.items():
        if value is not None:
            root.set(name, str(value))
    return root


def element(parent: etree._Element, name: str, value: Any, *, is_typed: bool) -> None:
    """Add a field to a record: a value, a record or a list of records."""
    child = etree.SubElement(parent, _dashed(name))
    if value is None:
        child.set("nil", "true")
    elif isinstance(value, dict):
        for inner, each in value.items():
            element(child, inner, each, is_typed=True)
    elif isinstance(value, list):
        if is_typed or not value:
            child.set("type", "array")
        _fill_list(child, name, value, is_typed=True)
    else:
        kind = _TYPES.get(type(value))
        if isinstance(value, str) and name.endswith(_DATES):
            kind = "datetime"
        if is_typed and kind:
            child.set("type", kind)
        child.text = _printable(_content(value))


def to_bytes(root: etree._Element) -> bytes:
    """Return a document with its declaration."""
    return bytes(etree.tostring(root, xml_declaration=True, encoding="UTF-8"))


def model_names() -> list[dict[str, Any]]:
    """Return what ``enumerate`` lists: every model with its table."""
    return [{"name": model, "table": table} for model, table in sorted(TABLES.items())]


def describe_model(evaluator: Evaluator, model: str, fmt: str) -> bytes:
    """Return what ``describe`` tells of a model: fields, associations and the table.

    Raises
    ------
    QueryError
        There is no such model.
    """
    rows = evaluator.rows(model)
    fields = [
        {"name": name, "type": _field_type(row.get(name) for row in rows), "nullable": "true"}
        for name in sorted(evaluator.columns(model))
    ]
    associations = [
        {"name": name, "type": _association_type(way.kind, is_many=way.is_many), "class": way.model}
        for name, way in sorted(ASSOCIATIONS[model].items())
    ]
    if fmt == "json":
        described = {model: {"fields": fields, "associations": associations, "table": TABLES[model]}}
        return _json(
            {"success": True, "id": 0, "start_row": 0, "num_rows": 1, "total_rows": 1, "msg": [described]}
        )
    root = response()
    described_in = etree.SubElement(etree.SubElement(root, "DataDescriptions"), "DataDescription")
    box = etree.SubElement(described_in, model)
    for name, single, items in (
        ("fields", "field", fields),
        ("associations", "association", associations),
    ):
        parent = etree.SubElement(box, name)
        for item in items:
            etree.SubElement(parent, single, item)
    etree.SubElement(box, "table").text = TABLES[model]
    return to_bytes(root)


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _csv(rows: list[dict[str, Any]]) -> bytes:
    text = io.StringIO()
    flat = [
        {name: value for name, value in row.items() if not isinstance(value, list | dict)} for row in rows
    ]
    writer = csv.DictWriter(text, list(flat[0]) if flat else [], extrasaction="ignore", lineterminator="\n")
    if flat:
        writer.writeheader()
    for row in flat:
        writer.writerow({name: "" if value is None else _content(value) for name, value in row.items()})
    return text.getvalue().encode()


def _fill_list(parent: etree._Element, plural: str, rows: Iterable[Any], *, is_typed: bool) -> None:
    for row in rows:
        child = etree.SubElement(parent, _dashed(_singular(plural)))
        for name, value in row.items():
            element(child, name, value, is_typed=is_typed)


def _plural(model: str) -> str:
    """Return the plural of a model's name in underscores: ``SectionImage`` to ``section_images``."""
    name = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in model).lstrip("_")
    if name.endswith("y"):
        return f"{name[:-1]}ies"
    return f"{name}es" if name.endswith("s") else f"{name}s"


def _singular(plural: str) -> str:
    if plural.endswith("ies"):
        return f"{plural[:-3]}y"
    return plural[:-2] if plural.endswith("ses") else plural.removesuffix("s")


def _dashed(name: str) -> str:
    return name.replace("_", "-")


def _content(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _printable(text: str) -> str:
    """Leave out what XML cannot carry."""
    return "".join(letter for letter in text if letter >= " " or letter in "\t\n\r")


def _field_type(values: Iterable[Any]) -> str:
    first = next((value for value in values if value is not None), "")
    return _TYPES.get(type(first), "string")


def _association_type(kind: str, *, is_many: bool) -> str:
    if kind in {"left", "right"}:
        return "has_and_belongs_to_many"
    if kind == "belongs_to":
        return "belongs_to"
    return "has_many" if is_many else "has_one"
