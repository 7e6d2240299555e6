"""The table of a data set, read array by array."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import msgspec

from asyncfetch.errors import StoreItemError
from asyncfetch.layout.commit import Objects
from asyncfetch.layout.paths import table_path
from asyncfetch.layout.table import ARRAYS, NUMBER_COLUMNS, TableContent, columns_of
from asyncfetch.store.checksums import checksum_problem
from asyncfetch.store.columns import read_columns
from asyncfetch.store.objects import metadata_key
from asyncfetch.store.records import read_content

if TYPE_CHECKING:
    from asyncfetch.layout.table import Column
    from asyncfetch.store.objects import Place

__all__ = ["read_table", "sound_arrays", "table_objects", "table_problem"]


def read_table(place: Place, data_set_id: int) -> dict[str, Column]:
    """Return the columns of all sections of a data set, by name; none where there are none that can be read."""
    path = table_path(data_set_id)
    content = read_content(place, path, TableContent)
    if content is None:
        return {}
    if content.columns != NUMBER_COLUMNS:
        place.damage.add(path, "has other columns than a table")
        return {}
    try:
        columns = columns_of(read_columns(place, path, ARRAYS)[0])
    except StoreItemError as error:
        place.damage.add(path, f"cannot be read ({error.message})")
        return {}
    if isinstance(columns, str):
        place.damage.add(path, columns)
        return {}
    return columns


def sound_arrays(place: Place, data_set_id: int) -> dict[str, Column] | None:
    """Return the arrays of a table that is as it was written; None where it is not, or there is none."""
    path = table_path(data_set_id)
    attributes = place.attributes(path)
    if attributes is None or checksum_problem(attributes) is not None:
        return None
    try:
        content = msgspec.convert(attributes.get("asyncfetch"), TableContent)
        arrays, objects = read_columns(place, path, ARRAYS)
    except (msgspec.ValidationError, StoreItemError):
        return None
    is_sound = content.columns == NUMBER_COLUMNS and content.objects == objects
    return arrays if is_sound and not isinstance(columns_of(arrays), str) else None


def table_objects(place: Place, data_set_id: int) -> Objects:
    """Return which chunks of a table there are."""
    path, total = table_path(data_set_id), Objects()
    for name in place.names_below(path):
        if f"{path}/{name}" == metadata_key(path):
            continue
        for chunk in place.names_below(f"{path}/{name}"):
            key = f"{path}/{name}/{chunk}"
            if chunk.startswith("c.") and (data := place.get(key)) is not None:
                # chunks of two arrays have the same name
                total += Objects(n=1, n_bytes=len(data), crc32=zlib.crc32(data, zlib.crc32(name.encode())))
    return total


def table_problem(place: Place, data_set_id: int) -> str | None:
    """Return what is wrong with a table, as a phrase that follows its path; None if nothing is."""
    path = table_path(data_set_id)
    attributes = place.attributes(path)
    if attributes is None:
        return "is missing or cannot be read"
    problem = checksum_problem(attributes)
    if problem is not None:
        return problem
    content = read_content(place, path, TableContent)
    if content is None or not read_table(place, data_set_id):
        return "cannot be read"
    return None if content.objects == table_objects(place, data_set_id) else "is not as it was written"
