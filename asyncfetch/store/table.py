"""The table of a data set, read array by array."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncfetch.errors import StoreItemError
from asyncfetch.layout.paths import table_path
from asyncfetch.layout.table import ARRAYS, NUMBER_COLUMNS, TableContent, columns_of
from asyncfetch.store.arrays import read_column
from asyncfetch.store.records import read_content

if TYPE_CHECKING:
    from asyncfetch.layout.table import Column
    from asyncfetch.store.objects import Place

__all__ = ["read_table"]


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
        columns = columns_of({name: read_column(place, f"{path}/{name}") for name in ARRAYS})
    except StoreItemError as error:
        place.damage.add(path, f"cannot be read ({error.message})")
        return {}
    if isinstance(columns, str):
        place.damage.add(path, columns)
        return {}
    return columns
