"""Metadata that cannot be read: they count as absent, and what is wrong with them is remembered.

A power cut, a full disk or another program can leave a file empty, cut or changed. Nobody knows what it said, so it is
treated as if it were missing: the item that it describes is made again, and everything else in the store is used as it
is. Whoever reads the store tells once what was found.
"""

from __future__ import annotations

import threading
from typing import Any

import msgspec

from asyncfetch.allen.envelope import MAX_MADE_BYTES, made_bytes

__all__ = ["UNREADABLE", "Damage", "parse_array", "parse_counted", "parse_document", "parse_group"]

#: What parsing raises for content of any kind; RecursionError for brackets without end.
UNREADABLE = (msgspec.DecodeError, ValueError, RecursionError)


class Damage:
    """What was found damaged in one store, by the key of each object; safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"Damage({self.found!r})"

    def add(self, key: str, reason: str) -> None:
        """Remember that an object counts as absent, and why."""
        with self._lock:
            self._found.setdefault(key, reason)

    @property
    def found(self) -> dict[str, str]:
        """What is wrong with each damaged object: a phrase that follows its key."""
        with self._lock:
            return dict(self._found)

    @property
    def sentences(self) -> list[str]:
        """One sentence for each damaged object, in the order in which they were found."""
        return [f"{key} {reason} and counts as missing" for key, reason in self.found.items()]


class _GroupNode(msgspec.Struct):
    node_type: str
    zarr_format: int

    def __post_init__(self) -> None:
        if self.node_type != "group" or self.zarr_format != 3:
            raise ValueError("it does not describe a Zarr v3 group")


class _Group(_GroupNode):
    attributes: dict[str, Any] = {}


class _LongGroup(_GroupNode):
    attributes: msgspec.Raw = msgspec.Raw(b"{}")


class _Array(msgspec.Struct):
    node_type: str
    zarr_format: int
    shape: list[int]

    def __post_init__(self) -> None:
        if self.node_type != "array" or self.zarr_format != 3:
            raise ValueError("it does not describe a Zarr v3 array")


# Made here, before there are threads: msgspec ends the process where two of them meet a type for the first time.
_GROUPS, _ARRAYS = msgspec.json.Decoder(_Group), msgspec.json.Decoder(_Array)
_LONG_GROUPS = msgspec.json.Decoder(_LongGroup)
_OBJECTS, _FIELDS = msgspec.json.Decoder(dict[str, Any]), msgspec.json.Decoder(dict[str, msgspec.Raw])
_VALUES = msgspec.json.Decoder(Any)
#: The copy of all metadata below a group, which Zarr writes and nobody here looks into.
_COPY = "consolidated_metadata"
#: As much as cannot become too many objects, whatever it says.
_MAX_UNCOUNTED_BYTES = 2**20


def parse_group(data: bytes) -> dict[str, Any]:
    """Return the attributes of a group from its metadata.

    Raises
    ------
    msgspec.DecodeError, ValueError, RecursionError
        They are not the metadata of a Zarr v3 group.
    """
    if len(data) <= _MAX_UNCOUNTED_BYTES:
        return _GROUPS.decode(data).attributes
    return _OBJECTS.decode(_bounded(_LONG_GROUPS.decode(data).attributes))


def parse_counted[T](data: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """Return metadata as a type that takes less memory than all that they say.

    Raises
    ------
    msgspec.DecodeError, ValueError, RecursionError
        They are not what the decoder reads.
    """
    return decoder.decode(_bounded(data))


def parse_document(data: bytes) -> dict[str, Any]:
    """Return the whole metadata of a group, fields of others included; a consolidated copy stays as it is written.

    Raises
    ------
    msgspec.DecodeError, ValueError, RecursionError
        They are not the metadata of a Zarr v3 group.
    """
    attributes = parse_group(data)
    if len(data) <= _MAX_UNCOUNTED_BYTES:
        return _OBJECTS.decode(data)
    fields = _FIELDS.decode(data).items()
    document = {name: raw if name == _COPY else _VALUES.decode(_bounded(raw)) for name, raw in fields}
    return {**document, "attributes": attributes}


def parse_array(data: bytes) -> dict[str, Any]:
    """Return the metadata of an array.

    Raises
    ------
    msgspec.DecodeError, ValueError, RecursionError
        They are not the metadata of a Zarr v3 array.
    """
    _ARRAYS.decode(_bounded(data))
    return _OBJECTS.decode(data)


def _bounded[T: (bytes, msgspec.Raw)](data: T) -> T:
    """Return JSON of which objects can be made; made of 256 MB, they would take 10 GB."""
    if memoryview(data).nbytes > _MAX_UNCOUNTED_BYTES:
        size_bytes = made_bytes(bytes(data))
        if size_bytes > MAX_MADE_BYTES:
            raise ValueError(f"it would take {size_bytes / 1e6:.0f} MB as objects")
    return data
