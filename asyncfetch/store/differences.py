"""Metadata as they are to be against what is there: the difference, and how it is made good."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from asyncfetch.store.arrays import level_codecs
from asyncfetch.store.checksums import CHECKSUM, is_misspelt
from asyncfetch.store.damage import UNREADABLE, parse_array, parse_document

if TYPE_CHECKING:
    from typing import Any

    from asyncfetch.store.objects import Place

__all__ = ["PLAIN_GROUP", "difference", "rewrite"]

#: A group that says nothing.
PLAIN_GROUP = msgspec.json.encode({"zarr_format": 3, "node_type": "group", "attributes": {}})
_OF_GROUPS = {"zarr_format", "node_type", "attributes", "consolidated_metadata"}
#: What differs between versions of this package though nothing else does; a summary tells lengths, too.
_OF_A_VERSION = {"tool_version", "time", "summary", CHECKSUM}
_CREATOR = re.compile(rb'Creator="[^"]*"')
_LEVEL = re.compile(r".*/sections/\d+/scale\d+/image/zarr\.json")


def difference(place: Place, key: str, wanted: bytes) -> str | None:
    """Return what is wrong with an object that has to say something, as a phrase that follows its key.

    What others have put there, and what differs between versions of this package, is not wrong.
    """
    found = place.read(key, bytes)
    if found == wanted:
        return None
    if found is None:
        return "is missing"
    if not found:
        return "is empty"
    if not key.endswith("zarr.json"):
        same = _CREATOR.sub(b"", found) == _CREATOR.sub(b"", wanted)
        return None if same else "is not as it was written"
    document = msgspec.json.decode(wanted)
    try:
        if document["node_type"] == "array":
            return _array_difference(key, parse_array(found), document)
        return _group_difference(parse_document(found), document)
    except UNREADABLE:
        return "cannot be read"


def _group_difference(found: dict[str, Any], wanted: dict[str, Any]) -> str | None:
    if any(is_misspelt(name, _OF_GROUPS) for name in found):
        return "has a field that no group has"
    has, needs = found["attributes"], wanted["attributes"]
    if any(is_misspelt(name, ("asyncfetch", "ome")) for name in has):
        return "has a field that no group has"
    for name, value in needs.items():
        if name not in has:
            return f"lacks {name}"
        there, value = _without_version(has[name]), _without_version(value)
        if name == "asyncfetch" and isinstance(there, dict):
            # a later version may say more
            there = {each: there.get(each) for each in value}
        if there != value:
            return f"has other {name} metadata than its sections"
    return "has ome metadata, and no image" if "ome" in has and "ome" not in needs else None


def _array_difference(key: str, found: dict[str, Any], wanted: dict[str, Any]) -> str | None:
    if any(is_misspelt(name, wanted) for name in found):
        return "has a field that no array has"
    for name, value in wanted.items():
        if name == "attributes":
            has = found.get(name) or {}
            if any(has.get(each) != value[each] for each in value):
                return "has other attributes than it was written with"
        elif name == "codecs" and _LEVEL.fullmatch(key):
            if found.get(name) not in level_codecs():
                return "has other codecs than are ever written"
        elif found.get(name) != value:
            return f"has another {name} than it was written with"
    return None


def _without_version(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    value = {name: each for name, each in value.items() if name not in _OF_A_VERSION}
    images = value.get("multiscales")
    if isinstance(images, list):
        value["multiscales"] = [_without_downsampler(each) for each in images]
    return value


def _without_downsampler(image: Any) -> Any:
    if not isinstance(image, dict) or not isinstance(image.get("metadata"), dict):
        return image
    metadata = {name: each for name, each in image["metadata"].items() if name != "version"}
    return {**image, "metadata": metadata}


def rewrite(place: Place, key: str, wanted: bytes) -> None:
    """Write an object as it is to be; what others have put there stays."""
    if not key.endswith("zarr.json"):
        place.set(key, wanted)
        return
    path, document = key.rpartition("/")[0], msgspec.json.decode(wanted)
    if document["node_type"] == "group":
        needs = document["attributes"]
        ome = {} if "ome" in needs else {"ome": None}
        place.write_group(path, {**ome, **needs})
        return
    notes = place.notes_on_array(path)
    document["attributes"] = {**notes, **document.get("attributes", {})}
    place.set(key, msgspec.json.format(msgspec.json.encode(document)))
