"""Metadata that cannot be read: they count as absent, and what is wrong with them is remembered.

A power cut, a full disk or another program can leave a file empty, cut or changed. Nobody knows what it said, so it is
treated as if it were missing: the item that it describes is made again, and everything else in the store is used as it
is. Whoever reads the store tells once what was found.
"""

from __future__ import annotations

import threading
from typing import Any

import msgspec

__all__ = ["UNREADABLE", "Damage", "parse_array", "parse_document", "parse_group"]

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


class _Group(msgspec.Struct):
    node_type: str
    zarr_format: int
    attributes: dict[str, Any] = {}

    def __post_init__(self) -> None:
        if self.node_type != "group" or self.zarr_format != 3:
            raise ValueError("it does not describe a Zarr v3 group")


class _Array(msgspec.Struct):
    node_type: str
    zarr_format: int
    shape: list[int]

    def __post_init__(self) -> None:
        if self.node_type != "array" or self.zarr_format != 3:
            raise ValueError("it does not describe a Zarr v3 array")


# Made here, before there are threads: msgspec ends the process where two of them meet a type for the first time.
_GROUPS, _ARRAYS = msgspec.json.Decoder(_Group), msgspec.json.Decoder(_Array)


def parse_group(data: bytes) -> dict[str, Any]:
    """Return the attributes of a group from its metadata.

    Raises
    ------
    msgspec.DecodeError, ValueError, RecursionError
        They are not the metadata of a Zarr v3 group.
    """
    return _GROUPS.decode(data).attributes


def parse_document(data: bytes) -> dict[str, Any]:
    """Return the whole metadata of a group, fields of others included.

    Raises
    ------
    msgspec.DecodeError, ValueError, RecursionError
        They are not the metadata of a Zarr v3 group.
    """
    return _whole(_GROUPS, data)


def parse_array(data: bytes) -> dict[str, Any]:
    """Return the metadata of an array.

    Raises
    ------
    msgspec.DecodeError, ValueError, RecursionError
        They are not the metadata of a Zarr v3 array.
    """
    return _whole(_ARRAYS, data)


def _whole(checked: msgspec.json.Decoder[Any], data: bytes) -> dict[str, Any]:
    """Return a document that a decoder takes, with the fields that it does not know."""
    checked.decode(data)
    document: dict[str, Any] = msgspec.json.decode(data)
    return document
