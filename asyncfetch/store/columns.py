"""Columns of a table, read without Zarr where their metadata are just what is written here.

Zarr takes a millisecond to open an array, and a table has three for every data set of a store. Whatever else stands
there, as other writers may put it, is read by Zarr.
"""

from __future__ import annotations

import math
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from asyncfetch.errors import StoreItemError
from asyncfetch.layout.commit import Objects
from asyncfetch.store.arrays import one_chunk_key, read_column
from asyncfetch.store.damage import UNREADABLE, parse_array
from asyncfetch.store.objects import metadata_key

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from asyncfetch.store.objects import Place

__all__ = ["read_columns"]

_KEYS = {"name": "default", "configuration": {"separator": "."}}
_NUMBERS = [{"name": "bytes", "configuration": {"endian": "little"}}]
_TEXTS = [{"name": "vlen-utf8", "configuration": {}}]
_KINDS = {"float64": np.dtype("<f8"), "int64": np.dtype("<i8")}
_LENGTH_BYTES = 4


def read_columns(place: Place, path: str, names: Iterable[str]) -> tuple[dict[str, NDArray[Any]], Objects]:
    """Return the columns below a path by name, and what their chunks are together.

    Raises
    ------
    StoreItemError
        One is missing or cannot be read.
    """
    columns, total = {}, Objects()
    for name in names:
        array = f"{path}/{name}"
        data, values = _plain(place, array)
        columns[name] = read_column(place, array) if values is None else values
        if data is not None:
            # as `table_objects` counts them
            total += Objects(n=1, n_bytes=len(data), crc32=zlib.crc32(data, zlib.crc32(name.encode())))
    return columns, total


def _plain(place: Place, path: str) -> tuple[bytes | None, NDArray[Any] | None]:
    """Return the one chunk of an array and its values; no values where its metadata or its length are unexpected."""
    try:
        document = parse_array(place.get(metadata_key(path)) or b"")
        shape = tuple(document["shape"])
        chunk_shape = document["chunk_grid"]["configuration"]["chunk_shape"]
        data = place.get(f"{path}/{one_chunk_key(len(shape))}")
    except (StoreItemError, KeyError, TypeError, *UNREADABLE):
        return None, None
    is_whole = chunk_shape == [max(1, side) for side in shape] and document.get("chunk_key_encoding") == _KEYS
    if data is None or not is_whole or document.get("storage_transformers"):
        return data, None
    kind, codecs = document.get("data_type"), document.get("codecs")
    if kind == "string" and codecs == _TEXTS and len(shape) == 1:
        return data, _texts(data, shape[0])
    dtype = _KINDS.get(kind) if isinstance(kind, str) and codecs == _NUMBERS else None
    if dtype is None or len(data) != math.prod(shape) * dtype.itemsize:
        return data, None
    return data, np.frombuffer(data, dtype).reshape(shape)


def _texts(data: bytes, n: int) -> NDArray[Any] | None:
    """Return texts as vlen-utf8 packs them: how many, then each behind its length; None where that does not fit."""
    if int.from_bytes(data[:_LENGTH_BYTES], "little") != n or n * _LENGTH_BYTES >= len(data):
        return None
    texts, position = [], _LENGTH_BYTES
    for _ in range(n):
        end = position + _LENGTH_BYTES
        length = int.from_bytes(data[position:end], "little")
        position = end + length
        if position > len(data):
            return None
        try:
            texts.append(data[end:position].decode())
        except UnicodeDecodeError:
            return None
    return np.array(texts, dtype=np.dtypes.StringDType()) if position == len(data) else None
