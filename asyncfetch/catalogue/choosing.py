"""The catalogue as what knows which data sets there are: nothing is asked of the API, and SQL does the filtering."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio.to_thread

from asyncfetch.client.spelling import spelling_of
from asyncfetch.selecting.sql import sql_conditions

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Sequence

    from asyncfetch.catalogue.file import CatalogueFile
    from asyncfetch.client.spelling import Spelling
    from asyncfetch.selecting import Filters, Selection

__all__ = ["CatalogueChooser", "data_set_condition", "known_names"]

#: What a data set has to meet to be of a selection: by a name, and by an id.
_OF = {
    "dataset": ("data_sets.name = ?", "data_sets.id = ?"),
    "image": ("0", "data_sets.id IN (SELECT data_set_id FROM images WHERE id = ?)"),
    "gene": (
        "data_sets.id IN (SELECT owner FROM data_set_genes WHERE acronym = ?)",
        "data_sets.id IN (SELECT owner FROM data_set_genes WHERE gene_id = ?)",
    ),
    "product": (
        "data_sets.id IN (SELECT owner FROM data_set_products WHERE abbreviation = ?)",
        "data_sets.id IN (SELECT owner FROM data_set_products WHERE product_id = ?)",
    ),
    "specimen": ("data_sets.specimen = ?", "data_sets.specimen_id = ?"),
    "structure": (
        (
            "data_sets.structure_id IN (SELECT below.id FROM structures AS below JOIN structures AS above "
            "ON below.structure_id_path LIKE '%/' || above.id || '/%' WHERE above.acronym = ?)"
        ),
        "data_sets.structure_id IN (SELECT id FROM structures WHERE structure_id_path LIKE '%/' || ? || '/%')",
    ),
    "atlas": ("0", "0"),
}
#: Where the names of a kind stand.
_NAMES = {
    "gene": "SELECT acronym FROM genes",
    "product": "SELECT abbreviation FROM products",
    "structure": "SELECT acronym FROM structures",
    "specimen": "SELECT DISTINCT specimen FROM data_sets",
}
_TRAIT_VALUES = "SELECT DISTINCT value FROM traits WHERE trait = ?"
_ALIASES = "SELECT alias, acronym FROM gene_aliases JOIN genes ON genes.id = gene_aliases.owner"


def data_set_condition(selection: Selection) -> tuple[str, int | str]:
    """Return what a data set has to meet to be of a selection, with its parameter."""
    by_name, by_id = _OF[selection.kind]
    return (by_id if isinstance(selection.id, int) else by_name), selection.id


def known_names(file: CatalogueFile, kind: str) -> list[str]:
    """Return all names of a kind, or all values of a trait."""
    rows = file.rows(_NAMES[kind]) if kind in _NAMES else file.rows(_TRAIT_VALUES, [kind])
    return [name for (name,) in rows if name]


class CatalogueChooser:
    """A catalogue as what knows which data sets there are.

    Parameters
    ----------
    file : CatalogueFile
        An open catalogue.
    """

    def __init__(self, file: CatalogueFile) -> None:
        self._file = file
        self._day = (file.fact("updated") or "an unknown day")[:10]

    @property
    def place(self) -> str:
        """Where it looks."""
        return f"in the catalogue of {self._day} (a newer one: asyncfetch catalogue update)"

    @property
    def note(self) -> str:
        """What is told of data sets that were chosen here."""
        return f"data sets were chosen from the catalogue of {self._day}, {self._file.path}"

    @asynccontextmanager
    async def open_data_sets(
        self, selection: Selection, filters: Filters, odd: list[str]
    ) -> AsyncGenerator[AsyncIterator[int]]:
        """Give the ids of the data sets of one selection."""
        found = await anyio.to_thread.run_sync(self._find, selection, filters)

        async def ids() -> AsyncGenerator[int]:
            for each in found:
                yield each

        opened = ids()
        try:
            yield opened
        finally:
            await opened.aclose()

    async def data_sets_of(
        self, selections: Sequence[Selection], filters: Filters, odd: list[str]
    ) -> dict[Selection, list[int]]:
        """Return the ids of the data sets of each of several selections."""
        return await anyio.to_thread.run_sync(
            lambda: {selection: self._find(selection, filters) for selection in selections}
        )

    async def spellings(self, kind: str, asked: Sequence[str]) -> dict[str, Spelling]:
        """Return how each of several names of a kind is spelled."""
        return await anyio.to_thread.run_sync(self._spellings, kind, asked)

    def spelled(self, kind: str, asked: str) -> Spelling:
        """Return how a name of a kind is spelled."""
        return self._spellings(kind, [asked])[asked]

    def _find(self, selection: Selection, filters: Filters) -> list[int]:
        conditions, parameters = sql_conditions(filters, failed="without")
        condition, value = data_set_condition(selection)
        where = " AND ".join([condition, *conditions])
        sql = f"SELECT id FROM data_sets WHERE {where} ORDER BY id"  # noqa: S608 - ours
        return [each for (each,) in self._file.rows(sql, [value, *parameters])]

    def _spellings(self, kind: str, asked: Sequence[str]) -> dict[str, Spelling]:
        names = known_names(self._file, kind)
        aliases: dict[str, list[str]] = {}
        if kind == "gene":
            for alias, acronym in self._file.rows(_ALIASES):
                if acronym:
                    aliases.setdefault(alias.casefold(), []).append(acronym)
        return {each: spelling_of(kind, each, names, aliases) for each in asked}
