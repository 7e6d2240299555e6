"""Requests and replies of the six synchronization services (allen-api.md, SYNC-3). Pure.

Everything that is known of their shapes stands here, for all who speak it: the client asks and reads, the replica
and the local services answer.

================== ================================== ====================================================
service            seed and further parameters        JSON ``msg``
================== ================================== ====================================================
image_to_atlas     image; x, y, atlas_id              one ``{"image_sync": {…}}``
image_to_image     image; x, y, section_data_set_ids  a list of them
image_to_image_2d  image; x, y, section_image_ids     a list of them
image_to_reference image; x, y                        one ``{"image_to_reference": {x, y, z}}``
reference_to_image space; x, y, z, section_data_set_ids  a list
structure_to_image data set; structure_ids            a list
================== ================================== ====================================================

Recorded: ``section_data_set_id`` is a string, the request's own word; the other ids are integers; coordinates are
unrounded; a list says that it has 0 rows. Relied on by clients: a target that fails stays in the list without a
``section_image_id``; in XML a list is ``image-sync-helper-image-syncs`` of ``images-sync-helper-images-syncs``, its
fields without types.

Unknown, and chosen here when answering (when reading, either form is taken): image_to_image_2d gives its image ids
as strings and leaves the seed out; image_to_atlas, whose request names no data set, gives the data set's id as an
integer and 1 row; structure_to_image gives the data set of the request; in XML a point stands in
``<image-to-reference>``. What the services say when a seed cannot be placed is not known either.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Literal, NamedTuple, get_args

import msgspec
from lxml import etree  # pyright: ignore[reportAttributeAccessIssue]  # compiled, ships no stubs

from asyncfetch.allen.bounds import Coordinate, Id, SectionNumber, row_id
from asyncfetch.allen.envelope import parse_json, parse_xml
from asyncfetch.errors import QueryError, ReplyError, SelectionError
from asyncfetch.text import counted

__all__ = [
    "SYNC_SERVICES",
    "ImageSync",
    "ReferencePoint",
    "SyncAnswer",
    "SyncRequest",
    "SyncService",
    "parse_sync_json",
    "parse_sync_request",
    "parse_sync_xml",
    "sync_json",
    "sync_xml",
]

type SyncService = Literal[
    "image_to_atlas",
    "image_to_image",
    "image_to_image_2d",
    "image_to_reference",
    "reference_to_image",
    "structure_to_image",
]
type Row = dict[str, Any]


class _Shape(NamedTuple):
    """What a service takes and gives: its coordinates, its targets, and whether it answers with a list."""

    coordinates: tuple[str, ...]
    targets: str | None
    gives_list: bool


_SHAPES: dict[str, _Shape] = {
    "image_to_atlas": _Shape(("x", "y"), "atlas_id", gives_list=False),
    "image_to_image": _Shape(("x", "y"), "section_data_set_ids", gives_list=True),
    "image_to_image_2d": _Shape(("x", "y"), "section_image_ids", gives_list=True),
    "image_to_reference": _Shape(("x", "y"), None, gives_list=False),
    "reference_to_image": _Shape(("x", "y", "z"), "section_data_set_ids", gives_list=True),
    "structure_to_image": _Shape((), "structure_ids", gives_list=True),
}

#: The names of the services.
SYNC_SERVICES: tuple[SyncService, ...] = get_args(SyncService.__value__)

_ID_FIELDS = ("section_data_set_id", "section_image_id", "section_number")
_FIELDS = (*_ID_FIELDS, "x", "y", "z")
_LIST_TAG, _ITEM_TAG = "image-sync-helper-image-syncs", "images-sync-helper-images-syncs"


class ImageSync(msgspec.Struct, frozen=True, kw_only=True):
    """A position on a section image; None is what the answer does not tell.

    Attributes
    ----------
    section_data_set_id, section_image_id, section_number : int or None
        The image; a target that has no answer, or one that cannot be right, has no ``section_image_id``, or for
        image_to_image_2d no position.
    x, y : float or None
        The position in full-resolution pixels, also outside of the image.
    """

    section_data_set_id: Id | None = None
    section_image_id: Id | None = None
    section_number: SectionNumber | None = None
    x: Coordinate | None = None
    y: Coordinate | None = None


class ReferencePoint(msgspec.Struct, frozen=True, kw_only=True):
    """A point of a reference space: x, y, z of the API, which are p, i, r, in µm."""

    x: Coordinate
    y: Coordinate
    z: Coordinate


type SyncAnswer = ReferencePoint | ImageSync | Sequence[ImageSync]


class SyncRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request to one service about one point.

    Attributes
    ----------
    service : str
        One of `SYNC_SERVICES`.
    seed_id : int
        The section image, reference space or data set that the point belongs to.
    point : tuple of float
        (x, y), (x, y, z) or nothing, as the service takes it.
    target_ids : tuple of int
        What to find a position in; exactly one for image_to_atlas, none for image_to_reference.

    Raises
    ------
    SelectionError
        There is no such service, or it takes other coordinates or targets, or a coordinate is not finite.
    """

    service: SyncService
    seed_id: int
    point: tuple[float, ...] = ()
    target_ids: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        shape = _SHAPES.get(self.service)
        if shape is None:
            raise SelectionError(
                f"{self.service!r} is not a service; the services are {', '.join(SYNC_SERVICES)}"
            )
        if len(self.point) != len(shape.coordinates):
            raise SelectionError(
                f"{self.service} takes {', '.join(shape.coordinates) or 'no point'}, "
                f"not {len(self.point)} coordinates"
            )
        if not all(map(math.isfinite, self.point)):
            raise SelectionError(f"{self.service} takes finite coordinates, not {self.point}")
        n_targets = len(self.target_ids)
        holds = (
            n_targets == 1 if shape.targets == "atlas_id" else (n_targets > 0) is (shape.targets is not None)
        )
        if not holds:
            raise SelectionError(
                f"{self.service} takes {shape.targets or 'no targets'}, not {n_targets} targets"
            )

    def url(self, base_url: str, fmt: Literal["json", "xml"] = "json") -> str:
        """Return what to send.

        A coordinate is sent in the fewest decimals that give the same float64 again. Clients send six decimals
        (SYNC-3), which is 5e-7 pixels off; exponents, which no client sends, are avoided.
        """
        shape = _SHAPES[self.service]
        parameters = [
            f"{name}={_plain(value)}" for name, value in zip(shape.coordinates, self.point, strict=True)
        ]
        if shape.targets is not None:
            parameters.append(f"{shape.targets}={','.join(map(str, self.target_ids))}")
        return f"{base_url.rstrip('/')}/api/v2/{self.service}/{self.seed_id}.{fmt}?{'&'.join(parameters)}"


def parse_sync_request(service: str, seed: str, parameters: Mapping[str, str]) -> SyncRequest:
    """Read a request as a server gets it; parameters that the service does not know are left out.

    Parameters
    ----------
    service : str
        The service, from the path.
    seed : str
        What stands before ``.json`` or ``.xml``.
    parameters : mapping of str to str
        The decoded query string. Blanks around an id of a list are allowed, as in the documentation.

    Raises
    ------
    QueryError
        A parameter is missing or no number; the words are ours.
    """
    if service not in _SHAPES:
        raise QueryError(f"there is no service {service}")
    shape = _SHAPES[service]
    targets: tuple[int, ...] = ()
    if shape.targets is not None:
        words = _needed(parameters, shape.targets).split(",")
        targets = tuple(_integer_of(shape.targets, word) for word in words if word.strip())
    point = tuple(_float_of(name, _needed(parameters, name)) for name in shape.coordinates)
    try:
        return SyncRequest(
            service=service,  # type: ignore[arg-type]  # one of the services
            seed_id=_integer_of("id", seed),
            point=point,
            target_ids=targets,
        )
    except SelectionError as error:
        raise QueryError(error.message) from error


def parse_sync_json(
    service: SyncService, body: bytes | bytearray, *, url: str | None = None
) -> ReferencePoint | ImageSync | list[ImageSync]:
    """Read a reply in JSON.

    Returns
    -------
    ReferencePoint, ImageSync or list of ImageSync
        As the service answers; ids are integers, whatever type they came in.

    Raises
    ------
    QueryError
        The service refuses the request.
    TransientServiceError
        The service failed in a way that passes.
    ReplyError
        The body is not a reply, or not one of this service.
    """
    name = "image_to_reference" if service == "image_to_reference" else "image_sync"
    records = []
    for row in parse_json(body, url=url).rows:
        # among the answers of a list, what is not one answers nothing
        record = row.get(name) if isinstance(row, dict) else {}
        if not isinstance(record, dict):
            raise _odd(service, f"{', '.join(row) or 'nothing'} instead of {name}", url)
        records.append(record)
    return _answer(service, records, url)


def parse_sync_xml(
    service: SyncService, body: bytes | bytearray, *, url: str | None = None
) -> ReferencePoint | ImageSync | list[ImageSync]:
    """Read a reply in XML, without entities, document types or network; see `parse_sync_json`.

    What holds the fields of an answer is one, whatever it is called and however deep it lies.
    """
    # The envelope's rules first: they tell a refusal, and refuse what is not a reply.
    parse_xml(body, url=url)
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    records = []
    for element in etree.fromstring(bytes(body), parser).iter(etree.Element):
        fields = {str(child.tag).replace("-", "_"): child for child in element.iterchildren(etree.Element)}
        known = {name: _content(fields[name]) for name in _FIELDS if name in fields}
        if known or element.tag in {_ITEM_TAG, "image-sync"}:
            records.append(known)
    return _answer(service, records, url)


def sync_json(service: SyncService, answer: SyncAnswer, *, seed_id: int | None = None) -> Row:
    """Return the body of a reply in JSON, as a dict.

    Parameters
    ----------
    service : str
        Who answers.
    answer : ReferencePoint, ImageSync or sequence of ImageSync
        What it answers.
    seed_id : int, optional
        The seed of image_to_image_2d, which is left out of its list.
    """
    rows = _rows(service, answer, seed_id)
    name = "image_to_reference" if service == "image_to_reference" else "image_sync"
    if _SHAPES[service].gives_list:
        return _envelope(0) | {"msg": [{name: row} for row in rows]}
    return _envelope(1) | {"msg": {name: rows[0]}}


def sync_xml(service: SyncService, answer: SyncAnswer, *, seed_id: int | None = None) -> bytes:
    """Return the body of a reply in XML, with the same values as `sync_json`."""
    rows = _rows(service, answer, seed_id)
    gives_list = _SHAPES[service].gives_list
    n_rows = str(0 if gives_list else 1)
    root = etree.Element("Response", success="true", start_row="0", num_rows=n_rows, total_rows=n_rows)
    if gives_list:
        box, tag = etree.SubElement(root, _LIST_TAG), _ITEM_TAG
    else:
        box, tag = root, "image-to-reference" if service == "image_to_reference" else "image-sync"
    for row in rows:
        item = etree.SubElement(box, tag)
        for name, value in row.items():
            etree.SubElement(item, name.replace("_", "-")).text = str(value)
    return bytes(etree.tostring(root, xml_declaration=True, encoding="UTF-8"))


def _plain(value: float) -> str:
    return f"{Decimal(repr(float(value))):f}"


def _needed(parameters: Mapping[str, str], name: str) -> str:
    value = parameters.get(name, "").strip()
    if not value:
        raise QueryError(f"the parameter {name} is missing")
    return value


def _integer_of(name: str, word: str) -> int:
    word = word.strip()
    if not (word.isascii() and word.removeprefix("-").isdecimal() and len(word) < 19):
        raise QueryError(f"{name} takes integers, not {word!r}")
    return int(word)


def _float_of(name: str, word: str) -> float:
    try:
        return float(word)
    except ValueError:
        raise QueryError(f"{name} takes a number, not {word!r}") from None


def _envelope(n_rows: int) -> Row:
    return {"success": True, "id": 0, "start_row": 0, "num_rows": n_rows, "total_rows": n_rows}


def _rows(service: SyncService, answer: SyncAnswer, seed_id: int | None) -> list[Row]:
    if isinstance(answer, ReferencePoint):
        return [{"x": answer.x, "y": answer.y, "z": answer.z}]
    answers = [answer] if isinstance(answer, ImageSync) else answer
    if service == "image_to_image_2d":
        return [
            _without_none(section_image_id=_word(each.section_image_id), x=each.x, y=each.y)
            for each in answers
            if seed_id is None or each.section_image_id != seed_id
        ]
    as_sent = int if service == "image_to_atlas" else str
    rows = []
    for each in answers:
        data_set_id = each.section_data_set_id
        rows.append(
            _without_none(
                section_data_set_id=None if data_set_id is None else as_sent(data_set_id),
                section_image_id=each.section_image_id,
                section_number=each.section_number,
                x=each.x,
                y=each.y,
            )
        )
    return rows


def _word(number: int | None) -> str | None:
    return None if number is None else str(number)


def _without_none(**fields: Any) -> Row:
    return {name: value for name, value in fields.items() if value is not None}


def _content(element: etree._Element) -> str | None:
    text = (element.text or "").strip()
    return None if element.get("nil") == "true" or not text else text


def _answer(
    service: SyncService, records: Sequence[Mapping[str, Any]], url: str | None
) -> ReferencePoint | ImageSync | list[ImageSync]:
    try:
        if service == "image_to_reference":
            return msgspec.convert(_one(service, records, url), ReferencePoint, strict=False)
        if not _SHAPES[service].gives_list:
            return msgspec.convert(dict(_one(service, records, url)), ImageSync, strict=False)
    except msgspec.ValidationError as error:
        raise _odd(service, str(error), url) from error
    return [_sync(service, record, url) for record in records]


def _sync(service: SyncService, record: Mapping[str, Any], url: str | None) -> ImageSync:
    """Read one answer of a list; one that cannot be right, such as a position of "nan", is that of its target alone."""
    try:
        return msgspec.convert(dict(record), ImageSync, strict=False)
    except msgspec.ValidationError as error:
        key = "section_image_id" if service == "image_to_image_2d" else "section_data_set_id"
        target = row_id(record, key)
        if target is None:
            raise _odd(service, str(error), url) from error
        return ImageSync(**{key: target})


def _one[T](service: SyncService, records: Sequence[T], url: str | None) -> T:
    if len(records) != 1:
        raise _odd(service, f"{counted(len(records), 'answer')} where one was asked for", url)
    return records[0]


def _odd(service: SyncService, what: str, url: str | None) -> ReplyError:
    return ReplyError(f"{url or service} sent {what}; ask again later", url=url)


# Before there are threads: msgspec ends the process where two of them meet a type for the first time.
_MET = [msgspec.json.Decoder(each) for each in (ImageSync, ReferencePoint)]
