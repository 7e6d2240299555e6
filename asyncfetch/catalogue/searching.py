"""A search in the catalogue: one SQL statement, whose columns are those that the API would give."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asyncfetch.catalogue.choosing import data_set_condition
from asyncfetch.client.searching import COLUMNS
from asyncfetch.selecting.sql import sql_conditions
from asyncfetch.selecting.traits import TRAITS

if TYPE_CHECKING:
    from asyncfetch.catalogue.file import CatalogueFile
    from asyncfetch.client.searching import Search

__all__ = ["search_catalogue"]

_KINDS = {"genes": "gene", "products": "product", "structures": "structure", "atlases": "atlas"}
#: Columns that stand in tables of their own.
_MADE = {
    ("datasets", "genes"): "(SELECT group_concat(acronym) FROM data_set_genes WHERE owner = data_sets.id)",
    (
        "datasets",
        "products",
    ): "(SELECT group_concat(abbreviation) FROM data_set_products WHERE owner = data_sets.id)",
    ("genes", "aliases"): "(SELECT group_concat(alias) FROM gene_aliases WHERE owner = genes.id)",
}
_MADE |= {
    (
        "datasets",
        trait.name,
    ): f"(SELECT group_concat(value) FROM traits WHERE data_set_id = data_sets.id AND trait = '{trait.name}')"  # noqa: S608 - ours
    for trait in TRAITS
}
_TABLES = {"datasets": "data_sets"}
#: Names of fewer letters are not in the index of trigrams.
_N_INDEXED = 3


def search_catalogue(file: CatalogueFile, search: Search) -> list[dict[str, Any]]:
    """Return what is sought, by id."""
    what = search.what
    table = _TABLES.get(what, what)
    conditions, parameters = _of_words(search) if what in _KINDS else _of_sets(search)
    if what in {"genes", "products"} and (search.filters.has_conditions or search.filters.failed):
        inner, more = sql_conditions(search.filters, failed="without")
        link, column = (
            ("data_set_genes", "gene_id") if what == "genes" else ("data_set_products", "product_id")
        )
        conditions.append(
            f"id IN (SELECT {column} FROM {link} JOIN data_sets ON data_sets.id = {link}.owner "  # noqa: S608 - ours
            f"WHERE {' AND '.join(inner)})"
        )
        parameters += more
    columns = ", ".join(f"{_MADE.get((what, name), f'{table}.{name}')} AS {name}" for name in COLUMNS[what])
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    names, rows = file.columns_and_rows(
        f"SELECT {columns} FROM {table}{where} ORDER BY {table}.id",  # noqa: S608 - ours
        parameters,
    )
    return [_typed(search, dict(zip(names, row, strict=True))) for row in rows]


def _of_sets(search: Search) -> tuple[list[str], list[object]]:
    conditions, parameters = sql_conditions(search.filters, failed="without")
    if search.reference_spaces:
        marks = ",".join("?" * len(search.reference_spaces))
        conditions.append(f"data_sets.reference_space_id IN ({marks})")
        parameters += search.reference_spaces
    for group in (search.selections, *search.required):
        if not group:
            continue
        named = [data_set_condition(each) for each in group]
        conditions.append(f"({' OR '.join(condition for condition, _ in named)})")
        parameters += [value for _, value in named]
    if search.what == "datasets":
        return conditions, parameters
    inner = f"data_set_id IN (SELECT id FROM data_sets WHERE {' AND '.join(conditions)})"  # noqa: S608 - ours
    if search.filters.section_range is None:
        return [inner], parameters
    return [inner, "section_number BETWEEN ? AND ?"], [*parameters, *search.filters.section_range]


def _of_words(search: Search) -> tuple[list[str], list[object]]:
    conditions: list[str] = []
    parameters: list[object] = []
    for word in search.words:
        found = (
            "id IN (SELECT rowid FROM name_index WHERE name_index MATCH ?)"
            if len(word) >= _N_INDEXED
            else "name LIKE ? || '%'"
        )
        conditions.append(f"id IN (SELECT owner FROM names WHERE kind = ? AND {found})")  # noqa: S608 - ours
        quoted = '"' + word.replace('"', '""') + '"'
        parameters += [_KINDS[search.what], quoted if len(word) >= _N_INDEXED else word]
    return conditions, parameters


def _typed(search: Search, row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with the types of its columns: SQLite has no truth values."""
    types = COLUMNS[search.what]
    for name, value in row.items():
        if types[name] is bool and value is not None:
            row[name] = bool(value)
    if search.what == "datasets":
        for trait in TRAITS:
            if row[trait.name]:
                row[trait.name] = ",".join(map(trait.shown, row[trait.name].split(",")))
    return row
