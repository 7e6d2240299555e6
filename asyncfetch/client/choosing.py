"""Which data sets a selection names, as ids alone, and how what was not known is spelled.

`Chooser` is the seam: the API answers here, the catalogue in a package of its own. Many genes or specimens are asked
for in one query, whose rows tell which of them each data set is of, so that two hundred genes cost as many requests as
the API needs pages. Nothing else is taken from these rows: whether a query that filters by genes delivers all genes of
a set, or only those it filtered by, is not known, so that each record comes from the same query, however its data set
was selected.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol

from asyncfetch.allen import Filter, Query, Step, row_id, shown_value
from asyncfetch.client.spelling import find_spellings
from asyncfetch.selecting.criteria import restricted

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
    from contextlib import AbstractAsyncContextManager

    from asyncfetch.client.client import Client
    from asyncfetch.client.pages import OddRow
    from asyncfetch.client.spelling import Spelling
    from asyncfetch.selecting import Filters, Selection

__all__ = ["ApiChooser", "Chooser"]

type Row = dict[str, Any]


class Chooser(Protocol):
    """What knows which data sets there are.

    Raises
    ------
    AsyncFetchError
        By every method: what is known could not be asked.
    """

    @property
    def place(self) -> str:
        """Where it looks, as messages name it: ``at https://…``."""
        ...

    @property
    def note(self) -> str:
        """What is told of data sets that were chosen here; empty where that is nothing."""
        ...

    def open_data_sets(
        self, selection: Selection, filters: Filters, odd: list[str]
    ) -> AbstractAsyncContextManager[AsyncIterator[int]]:
        """Give the ids of the data sets of one selection while later ones are still being found out.

        `odd` takes what came as a data set and is not one, in words.
        """
        ...

    async def data_sets_of(
        self, selections: Sequence[Selection], filters: Filters, odd: list[str]
    ) -> dict[Selection, list[int]]:
        """Return the ids of the data sets of each of several genes or specimens; an unknown one has none."""
        ...

    async def spellings(self, kind: str, asked: Sequence[str]) -> dict[str, Spelling]:
        """Return how each of several names of a kind is spelled."""
        ...


class ApiChooser:
    """The API as what knows which data sets there are.

    Parameters
    ----------
    client : Client
        Asks.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    @property
    def place(self) -> str:
        """Where it looks."""
        return f"at {self._client.settings.base_url}"

    @property
    def note(self) -> str:
        """Empty: the API knows all that there is now."""
        return ""

    @asynccontextmanager
    async def open_data_sets(
        self, selection: Selection, filters: Filters, odd: list[str]
    ) -> AsyncGenerator[AsyncIterator[int]]:
        """Give the ids of the data sets of one selection, page after page."""
        queries = [
            restricted(query, filters, failed="without").order("data_sets.id")
            for query in await self._queries_of(selection)
        ]

        async def ids() -> AsyncGenerator[int]:
            odd_rows: list[OddRow] = []
            for query in queries:
                async with self._client.open_rows(query, odd_rows=odd_rows) as rows:
                    async for row in rows:
                        data_set_id = row_id(row)
                        if data_set_id is None:
                            odd.append(f"{shown_value(row.get('id'))} has no id that can be one")
                        else:
                            yield data_set_id
            odd.extend(f"{shown_value(row)} is not a record" for _, row in odd_rows)

        found = ids()
        try:
            yield found
        finally:
            await found.aclose()

    async def _queries_of(self, selection: Selection) -> list[Query]:
        """Return the queries of a selection whose rows together are its data sets."""
        query, kind, value = Query("SectionDataSet"), selection.kind, selection.id
        match kind:
            case "gene":
                return [query.association(Step("genes", (_equals("acronym", value),)))]
            case "product":
                return [query.association(Step("products", (_equals("abbreviation", value),)))]
            case "specimen" if isinstance(value, int):
                return [query.where(specimen_id=value)]
            case "specimen":
                return [query.association(Step("specimen", (_equals("name", value),)))]
        below = [
            Filter("structure_id_path", "li", (f"*/{each}/*",)) for each in await self._structures(value)
        ]
        return [
            query.association(Step("specimen", (), (Step("structure", (condition,)),))) for condition in below
        ]

    async def _structures(self, name: int | str) -> list[int]:
        """Return the ids of a structure, of which each ontology may have one with the same acronym."""
        if isinstance(name, int):
            return [name]
        rows = await self._client.rows(Query("Structure").where(acronym=name).order("structures.id"))
        return [structure_id for row in rows if (structure_id := row_id(row)) is not None]

    async def data_sets_of(
        self, selections: Sequence[Selection], filters: Filters, odd: list[str]
    ) -> dict[Selection, list[int]]:
        """Return the ids of the data sets of each of several genes or specimens, in two listings at most."""
        found: dict[Selection, list[int]] = {each: [] for each in selections}
        for kind in (int, str):
            wanted = [each for each in selections if isinstance(each.id, kind)]
            if wanted:
                await self._list_data_sets_of(wanted, filters, found, odd)
        return found

    async def _list_data_sets_of(
        self,
        wanted: Sequence[Selection],
        filters: Filters,
        found: dict[Selection, list[int]],
        odd: list[str],
    ) -> None:
        by_key = {each.id: each for each in wanted}
        is_gene, is_named = wanted[0].kind == "gene", isinstance(wanted[0].id, str)
        way = "genes" if is_gene else "specimen"
        column = ("acronym" if is_gene else "name") if is_named else "id"
        query = Query("SectionDataSet").association(Step(way, (_any_of(column, by_key),))).include(way)
        odd_rows: list[OddRow] = []
        query = restricted(query, filters, failed="without").order("data_sets.id")
        for row in await self._client.rows(query, odd_rows=odd_rows):
            data_set_id = row_id(row)
            if data_set_id is None:
                odd.append(f"{shown_value(row.get('id'))} has no id that can be one")
                continue
            named = [by_key[key] for key in _keys(row.get(way), column) if key in by_key]
            if not named and len(wanted) > 1:
                odd.append(f"data set {data_set_id} is of none of those that were asked for")
            for each in named or wanted[:1] if named or len(wanted) == 1 else ():
                found[each].append(data_set_id)
        odd.extend(f"{shown_value(row)} is not a record" for _, row in odd_rows)

    async def spellings(self, kind: str, asked: Sequence[str]) -> dict[str, Spelling]:
        """Return how each of several names of a kind is spelled."""
        return await find_spellings(self._client, kind, asked)


def _equals(column: str, value: int | str) -> Filter:
    """Return a condition on a name, or on the id where that is given."""
    return Filter(column if isinstance(value, str) else "id", "eq", (str(value),))


def _any_of(column: str, values: Iterable[int | str]) -> Filter:
    texts = tuple(map(str, values))
    return Filter(column, "eq" if len(texts) == 1 else "in", texts)


def _keys(included: Any, column: str) -> list[int | str]:
    """Return the names or ids of included rows."""
    rows = included if isinstance(included, list) else [included]
    values = [row_id(row) if column == "id" else row.get(column) for row in rows if isinstance(row, dict)]
    return [value for value in values if isinstance(value, int | str)]
