"""Evaluate metadata queries over rows in memory, and pack the answer as the service does.

Known and kept: 50 rows unless asked otherwise, keys in alphabetical order, errors under HTTP 200 with ``success``
false, and a ``total_rows`` that counts joined rows, so that it can exceed the rows delivered (FACTS.md section 2).

Unknown, and chosen here: without an ``order`` rows come in the order of their ids; nulls come last; with
``count$eqfalse`` the envelope's total is the number of rows delivered; columns named with a table restrict the
rows of that table wherever they stand, columns without one the rows of the query's model. Pipes, services,
``tabular`` and formats other than JSON are not answered yet: they give an error that says so.
"""

from __future__ import annotations

import fnmatch
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Protocol

from asyncfetch.allen.rma import parse_criteria
from asyncfetch.errors import QueryError
from asyncfetch.server.schema import ASSOCIATIONS, MEMBERS, TABLES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from asyncfetch.allen.rma import Filter, Query, Step
    from asyncfetch.server.schema import Association

__all__ = ["Evaluator", "RowSource", "failure", "read_request"]

# Rows in a reply that does not ask for a number.
_DEFAULT_ROWS = 50
_OPTIONS = ("num_rows", "start_row", "order", "only", "except", "tabular", "count")

type Row = dict[str, Any]


class RowSource(Protocol):
    """Give the rows that queries are evaluated over."""

    @property
    def tables(self) -> Mapping[str, Sequence[Row]]:
        """The rows of every model."""
        ...

    @property
    def links(self) -> Mapping[str, Sequence[tuple[int, int]]]:
        """The join tables of many-to-many associations."""
        ...


def read_request(path: Mapping[str, str], parameters: Mapping[str, str]) -> Query:
    """Read a query from an address.

    Parameters
    ----------
    path : mapping
        ``model`` and ``id`` where the path names them.
    parameters : mapping
        The query of the address: ``criteria`` or ``q``, ``include``, and the options by their names.

    Raises
    ------
    QueryError
        The query does not follow the grammar.
    """
    text = (parameters.get("criteria") or parameters.get("q") or "").strip()
    if text.count("'") % 2:
        # The service sees this before anything else; the words are recorded.
        raise QueryError(f'line 1, column {len(text)}: mismatched character <EOF>; expecting "\'"')
    if "model" in path:
        criteria = f",{text}" if text.startswith("rma::") else f",rma::criteria,{text}"
        text = f"model::{path['model']}{criteria if text else ''}"
    options = "".join(
        f"[{name}$eq'{parameters[name].strip("'")}']" for name in _OPTIONS if name in parameters
    )
    query = parse_criteria(f"{text},rma::options{options}" if options else text)
    if "id" in path:
        query = query.filter("id", "eq", path["id"])
    include = parameters.get("include", "").strip()
    return query.include(include) if include else query


def failure(message: str) -> Row:
    """Return the envelope of an error: HTTP 200, ``success`` false, the words as ``msg``."""
    return {"success": False, "id": 0, "start_row": 0, "num_rows": 0, "total_rows": 0, "msg": message}


class Evaluator:
    """Answer queries over the rows of a source, which must not change meanwhile.

    Parameters
    ----------
    source : RowSource
        The rows.
    """

    def __init__(self, source: RowSource) -> None:
        self._source = source
        self._indices: dict[tuple[str, str], dict[Any, list[Row]]] = {}
        self._link_indices: dict[tuple[str, str], dict[int, list[int]]] = {}

    def answer(self, query: Query) -> Row:
        """Return the envelope with the rows that a query asks for.

        Raises
        ------
        QueryError
            A model, an association, a column or an option is unknown or not answered yet.
        """
        options = query.options
        if query.before or not query.model:
            raise QueryError("the replica does not answer pipes, services and queries of several stages")
        if options.tabular:
            raise QueryError("the replica does not answer tabular queries")
        rows: list[Row] = []
        n_joined = 0
        for row in self._rows(query.model):
            n = self._n_matches(query.model, row, query.filters, query.associations)
            if n:
                rows.append(row)
                n_joined += n
        _sort(rows, options.order)
        start = options.start_row
        num_rows = _DEFAULT_ROWS if options.num_rows is None else options.num_rows
        stop = None if num_rows == "all" else start + num_rows
        page = rows[start:stop]
        columns = _Columns(query.model, options.only, options.excepting)
        delivered = [self._with_includes(query.model, row, query.includes, columns) for row in page]
        return {
            "success": True,
            "id": 0,
            "start_row": start,
            "num_rows": len(delivered),
            "total_rows": n_joined if options.count else len(delivered),
            "msg": delivered,
        }

    def _rows(self, model: str) -> list[Row]:
        tables = self._source.tables
        if model not in TABLES:
            raise QueryError(f"there is no model {model} in the replica")
        rows = [row for member in MEMBERS.get(model, (model,)) for row in tables.get(member, ())]
        return sorted(rows, key=lambda row: row["id"])

    def _n_matches(
        self, model: str, row: Row, filters: Sequence[Filter], associations: Sequence[Step]
    ) -> int:
        """Return the number of joined rows that a row stands in: 0 where it does not match."""
        if not all(_passes(model, row, one) for one in filters):
            return 0
        n = 1
        for step in associations:
            way = _way(model, step.name)
            n *= sum(
                self._n_matches(way.model, target, step.filters, step.associations)
                for target in self._targets(row, way)
            )
        return n

    def _with_includes(self, model: str, row: Row, includes: Sequence[Step], columns: _Columns) -> Row:
        full = columns.of(model, row)
        for step in includes:
            way = _way(model, step.name)
            found = [
                self._with_includes(way.model, target, step.associations, columns)
                for target in self._targets(row, way)
                if all(_passes(way.model, target, one) for one in step.filters)
            ]
            full[step.name] = found if way.is_many else next(iter(found), None)
        return dict(sorted(full.items()))

    def _targets(self, row: Row, way: Association) -> list[Row]:
        if way.kind == "belongs_to":
            return self._by_field(way.model, "id").get(row.get(way.key), [])
        if way.kind == "has":
            return self._by_field(way.model, way.key).get(row["id"], [])
        targets = self._by_field(way.model, "id")
        ids = self._by_link(way.key, way.kind).get(row[way.own], [])
        return [target for target_id in ids for target in targets.get(target_id, [])]

    def _by_field(self, model: str, name: str) -> dict[Any, list[Row]]:
        index = self._indices.get((model, name))
        if index is None:
            index = {}
            for row in self._rows(model):
                if row[name] is not None:
                    index.setdefault(row[name], []).append(row)
            self._indices[model, name] = index
        return index

    def _by_link(self, link: str, side: str) -> dict[int, list[int]]:
        index = self._link_indices.get((link, side))
        if index is None:
            index = {}
            for left, right in self._source.links.get(link, ()):
                own, other = (left, right) if side == "left" else (right, left)
                index.setdefault(own, []).append(other)
            self._link_indices[link, side] = index
        return index


class _Columns:
    """Choose the columns of a reply."""

    def __init__(self, model: str, only: Iterable[str], excepting: Iterable[str]) -> None:
        self._only = _by_table(model, only)
        self._except = _by_table(model, excepting)

    def of(self, model: str, row: Row) -> Row:
        """Return the columns of one row that are to be delivered, as a new dict."""
        table = TABLES[model]
        only, without = self._only.get(table), self._except.get(table, set())
        return {
            name: value
            for name, value in row.items()
            if (only is None or name in only) and name not in without
        }


def _by_table(model: str, columns: Iterable[str]) -> dict[str, set[str]]:
    tables: dict[str, set[str]] = {}
    for column in columns:
        table, _, name = column.rpartition(".")
        tables.setdefault(table or TABLES[model], set()).add(name)
    return tables


def _way(model: str, name: str) -> Association:
    try:
        return ASSOCIATIONS[model][name]
    except KeyError:
        raise QueryError(f"{model} has no association {name} in the replica") from None


def _passes(model: str, row: Row, one: Filter) -> bool:
    """Say whether a row passes a filter; a column may be named with its table."""
    name = one.field.rpartition(".")[2]
    if name not in row:
        raise QueryError(f"{model} has no column {name}")
    value = row[name]
    if one.operator is None:
        return value is not None
    if one.operator in {"eq", "ne"} and one.values == ("null",):
        return (value is None) is (one.operator == "eq")
    if value is None:
        # As in SQL, a comparison with null is never true.
        return False
    return _compare(value, one.operator, one.values)


def _compare(value: Any, operator: str, wanted: Sequence[str]) -> bool:
    match operator:
        case "eq" | "in":
            return any(_order(value, one) == 0 for one in wanted)
        case "ne":
            return _order(value, wanted[0]) != 0
        case "lt":
            return _order(value, wanted[0]) < 0
        case "gt":
            return _order(value, wanted[0]) > 0
        case "le":
            return _order(value, wanted[0]) <= 0
        case "ge":
            return _order(value, wanted[0]) >= 0
        case "li":
            return fnmatch.fnmatchcase(_text(value), _pattern(wanted[0]))
        case "il":
            return fnmatch.fnmatchcase(_text(value).lower(), _pattern(wanted[0]).lower())
    raise QueryError(f"there is no operator ${operator}")


def _pattern(wanted: str) -> str:
    # Only * is a wildcard of the API; the others of fnmatch are taken as they stand.
    return "".join(f"[{letter}]" if letter in "?[" else letter for letter in wanted)


def _order(value: Any, wanted: str) -> int:
    """Compare as numbers where both are, else as text: -1, 0 or 1."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            number = float(wanted)
        except ValueError:
            return -1
        return (value > number) - (value < number)
    text = _text(value)
    return (text > wanted) - (text < wanted)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _sort(rows: list[Row], order: Sequence[tuple[str, bool]]) -> None:
    # Stable sorts from the last key to the first.
    for column, is_descending in reversed(order):
        name = column.rpartition(".")[2]
        if rows and name not in rows[0]:
            raise QueryError(f"cannot order by {column}: there is no such column")
        present = [row for row in rows if row[name] is not None]
        absent = [row for row in rows if row[name] is None]
        present.sort(key=itemgetter(name), reverse=is_descending)
        rows[:] = present + absent
