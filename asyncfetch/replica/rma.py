"""Metadata queries, evaluated over rows in memory.

Known and kept: 50 rows unless asked otherwise, keys in alphabetical order, a ``total_rows`` that counts joined rows
and so can exceed the rows delivered, and the empty result of a connected service (RMA-1, RMA-5).

Unknown, and chosen here: without an ``order`` rows come in the order of their ids; nulls come last; with
``count$eqfalse`` the envelope's total is the number of rows delivered; columns named with a table restrict the rows
of that table wherever they stand, columns without one the rows of the query's model; a condition on a column of
another table asks that some row of an association with that table meets it; a stage that feeds a pipe gives all of
its rows unless it says how many; a name that no pipe made is an error. A tabular query gives one row for each row of
the join over its criteria and includes; ``table.column as name`` renames a column, and a column whose name is taken
is called ``table_column``.
"""

from __future__ import annotations

import fnmatch
import math
import threading
import time
from array import array
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import msgspec

from asyncfetch.allen.rma import Pipe, Query, Service, parse_criteria
from asyncfetch.errors import QueryError
from asyncfetch.replica.schema import ASSOCIATIONS, MEMBERS, TABLES
from asyncfetch.replica.tables import HeldLinks, HeldTable, Links, Picked, Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from asyncfetch.allen.rma import Filter, Step
    from asyncfetch.replica.schema import Association

__all__ = ["CONNECTED_SERVICES", "Answer", "Evaluator", "RowSource", "envelope", "failure", "read_request"]

# Rows that one query may visit, which takes seconds, and how long it may take whatever it does. A row that is made for
# the reply takes a kilobyte and counts as ten: all sections of a product with three associations each are 400 000.
_MAX_VISITS = 5_000_000
_VISITS_PER_MADE_ROW = 10
_MAX_SECONDS = 20.0
# Rows in a reply that does not ask for a number.
_DEFAULT_ROWS = 50
# Queries over whole tables of which it is remembered which rows match, eight bytes a row: further pages follow.
_QUERIES_KEPT = 8
_OPTIONS = ("num_rows", "start_row", "order", "only", "except", "tabular", "count")

#: Services that the API's queries can call. The replica computes none: each answers as one without a result.
CONNECTED_SERVICES = frozenset(
    {
        "dev_human_correlation",
        "dev_human_expression",
        "dev_mouse_agea",
        "human_correlation",
        "human_differential",
        "human_microarray_expression",
        "mouse_agea",
        "mouse_connectivity_correlation",
        "mouse_connectivity_injection_coordinate",
        "mouse_connectivity_injection_structure",
        "mouse_connectivity_target_spatial",
        "mouse_correlation",
        "mouse_differential",
        "mouse_expression",
    }
)

type Row = dict[str, Any]
type Names = Mapping[str, tuple[str, ...]]
type Test = Callable[[Row], bool]
type _Includes = Sequence[tuple[str, Association, _Join]]


class RowSource(Protocol):
    """The rows that queries are evaluated over."""

    @property
    def tables(self) -> Mapping[str, Sequence[Row]]:
        """The rows of every model; a `Table` where they are made when they are asked for."""
        ...

    @property
    def links(self) -> Mapping[str, Sequence[tuple[int, int]] | Links]:
        """The join tables of many-to-many associations."""
        ...


class Answer(NamedTuple):
    """The rows of a reply, before they are packed.

    Attributes
    ----------
    model : str
        What the rows are of; empty for a connected service.
    rows : list of dict
        With the included rows as dicts and lists of dicts.
    start_row : int
        Where the page begins.
    total_rows : int
        Joined rows, or the rows delivered where they were not to be counted.
    """

    model: str
    rows: list[Row]
    start_row: int = 0
    total_rows: int = 0


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
        f"[{name}$eq'{parameters[name].strip("'")}']" for name in _OPTIONS if parameters.get(name)
    )
    query = parse_criteria(f"{text},rma::options{options}" if options else text)
    if "id" in path:
        query = query.filter("id", "eq", path["id"])
    include = parameters.get("include", "").strip()
    return query.include(include) if include else query


def envelope(answer: Answer) -> Row:
    """Return what JSON carries: rows under ``msg``, or for a service without a result an empty object."""
    head = {"success": True, "id": 0, "start_row": answer.start_row, "num_rows": len(answer.rows)}
    if not answer.model:
        return head | {"msg": answer.rows or {}}
    return head | {"total_rows": answer.total_rows, "msg": answer.rows}


def failure(message: str) -> Row:
    """Return the envelope of an error: HTTP 200, ``success`` false, the words as ``msg``."""
    return {"success": False, "id": 0, "start_row": 0, "num_rows": 0, "total_rows": 0, "msg": message}


class _Effort(threading.local):
    """What the query of this thread has taken so far."""

    n_visits = 0
    ends_at = math.inf

    def begin(self) -> None:
        """Begin a query."""
        self.n_visits, self.ends_at = 0, time.monotonic() + _MAX_SECONDS

    def spend(self, n_rows: int) -> None:
        """Count rows that are visited or made.

        Raises
        ------
        QueryError
            The query takes more than any should.
        """
        self.n_visits += n_rows
        if self.n_visits > _MAX_VISITS or time.monotonic() > self.ends_at:
            raise QueryError(
                f"Error in query: its joins and includes take more than {_MAX_VISITS} rows or {_MAX_SECONDS:.0f} s; "
                "ask for fewer rows or associations at once"
            )


class Evaluator:
    """The answers to queries over the rows of a source, which must not change meanwhile.

    Parameters
    ----------
    source : RowSource
        The rows.
    """

    def __init__(self, source: RowSource) -> None:
        self._source = source
        self._effort = _Effort()
        self._tables: dict[str, Table] = {}
        self._links: dict[str, Links] = {}
        self._matches: OrderedDict[Query, tuple[Sequence[int], int]] = OrderedDict()

    def answer(self, query: Query) -> Row:
        """Return the envelope with the rows that a query asks for.

        Raises
        ------
        QueryError
            As for `evaluate`.
        """
        return envelope(self.evaluate(query))

    def evaluate(self, query: Query) -> Answer:
        """Return the rows that a query asks for: those of its last stage.

        Raises
        ------
        QueryError
            A model, an association, a column, a name, a service or an option is unknown.
        """
        self._effort.begin()
        names: dict[str, tuple[str, ...]] = {}
        answer: Answer | None = None
        stages = [*query.before, *([query] if query.model else [])]
        for i, stage in enumerate(stages):
            is_last = i == len(stages) - 1
            if isinstance(stage, Query):
                answer = self._select(stage, names, is_last=is_last)
            elif isinstance(stage, Service):
                answer = _call(stage)
            elif answer is None or is_last:
                raise QueryError(
                    f"{stage} stands between a stage that gives rows and one that uses ${stage.name}"
                )
            else:
                names[stage.name] = _piped(stage, answer)
        if answer is None:
            raise QueryError("the query asks for nothing: it names neither a model nor a service")
        return answer

    def columns(self, model: str) -> frozenset[str]:
        """Return the columns that the rows of a model have."""
        return self.rows(model).columns

    def rows(self, model: str) -> Table:
        """Return all rows of a model in the order of their ids.

        Raises
        ------
        QueryError
            There is no such model.
        """
        if model not in TABLES:
            raise QueryError(f"there is no model {model} in the replica")
        if model not in self._tables:
            members = (self._source.tables.get(member, ()) for member in MEMBERS.get(model, (model,)))
            filled = [rows for rows in members if rows]
            if len(filled) == 1 and isinstance(filled[0], Table):
                self._tables[model] = filled[0]
            else:
                self._tables[model] = HeldTable(row for rows in filled for row in rows)
        return self._tables[model]

    def _select(self, query: Query, names: Names, *, is_last: bool) -> Answer:
        options = query.options
        self.rows(query.model)  # an unknown model is the first thing to be told
        join = _Join(self, query.model, query.filters, query.associations, names)
        includes = [_Join.of_step(self, query.model, step, names) for step in query.includes]
        found, n_joined = self._matching(query, names, join, includes)
        rows: Sequence[Row] = found
        if options.tabular:
            table = _Table(query.model, options.tabular)
            rows = [table.row(each) for row in rows for each in join.joined(row, includes)]
            n_joined = len(rows)
        num_rows = options.num_rows
        if num_rows is None:
            num_rows = _DEFAULT_ROWS if is_last else "all"
        start = options.start_row
        page = list(rows[start : None if num_rows == "all" else start + num_rows])
        if not options.tabular:
            columns = _Columns(query.model, options.only, options.excepting)
            page = [self._with_includes(query.model, row, includes, columns) for row in page]
        return Answer(query.model, page, start, n_joined if options.count else len(page))

    def _matching(self, query: Query, names: Names, join: _Join, includes: _Includes) -> tuple[Picked, int]:
        """Return the rows that pass, in their order, and how many joined rows they stand in."""
        found = self._candidates(query, names)
        if found is not None:
            return self._tried(query, found, join, includes)
        rows = self.rows(query.model)
        if names:
            # what they stand for is not in the query
            return self._tried(query, rows, join, includes)
        options = msgspec.structs.replace(query.options, start_row=0, num_rows=None)
        asked = msgspec.structs.replace(query, options=options)
        kept = self._matches.get(asked)
        if kept is None:
            picked, n_joined = self._tried(query, rows, join, includes)
            kept = self._matches[asked] = (picked.positions, n_joined)
            while len(self._matches) > _QUERIES_KEPT:
                self._matches.popitem(last=False)
        return Picked(rows, kept[0]), kept[1]

    def _tried(
        self, query: Query, rows: Sequence[Row], join: _Join, includes: _Includes
    ) -> tuple[Picked, int]:
        """Try each row, and return those that pass as `_matching` does."""
        self.spend(len(rows) * max(1, len(query.filters)))
        positions = array("q")
        n_joined = 0
        for position, row in enumerate(rows):
            n = join.n_matches(row)
            if n:
                positions.append(position)
                n_joined += n
        return Picked(rows, self._sorted(query, rows, positions, join, includes)), n_joined

    def _candidates(self, query: Query, names: Names) -> list[Row] | None:
        """Return the rows that can pass, where a condition on an id tells which; None where all can."""
        for one in query.filters:
            table, _, name = one.field.rpartition(".")
            is_own = table in {"", TABLES[query.model], query.model}
            if is_own and one.operator in {"eq", "in"} and (name == "id" or name.endswith("_id")):
                values = _values(one, names)
                if all(value.isdecimal() for value in values) and name in self.columns(query.model):
                    rows = self.rows(query.model)
                    found = {row["id"]: row for value in values for row in rows.where(name, int(value))}
                    return [found[row_id] for row_id in sorted(found)]
        return None

    def _with_includes(self, model: str, row: Row, includes: _Includes, columns: _Columns) -> Row:
        self._effort.spend(_VISITS_PER_MADE_ROW)
        full = columns.of(model, row)
        for name, way, join in includes:
            found = [
                self._with_includes(way.model, target, join.steps, columns)
                for target in self.targets(row, way)
                if join.passes(target)
            ]
            full[name] = found if way.is_many else next(iter(found), None)
        return dict(sorted(full.items()))

    def spend(self, n_rows: int) -> None:
        """Count rows that a query visits or makes; QueryError is raised where they become too many."""
        self._effort.spend(n_rows)

    def targets(self, row: Row, way: Association) -> Sequence[Row]:
        """Return the rows that an association leads to from a row."""
        targets = self._targets(row, way)
        self._effort.spend(len(targets) + 1)
        return targets

    def _targets(self, row: Row, way: Association) -> Sequence[Row]:
        rows = self.rows(way.model)
        if way.kind == "belongs_to":
            key = row.get(way.key)
            return () if key is None else rows.where("id", key)
        if way.kind == "has":
            return rows.where(way.key, row["id"])
        ids = self._links_of(way.key).others(way.kind, row[way.own])
        return [target for target_id in ids for target in rows.where("id", target_id)]

    def _links_of(self, name: str) -> Links:
        if name not in self._links:
            links = self._source.links.get(name, ())
            self._links[name] = links if isinstance(links, Links) else HeldLinks(links)
        return self._links[name]

    def _sorted(
        self, query: Query, rows: Sequence[Row], positions: Sequence[int], join: _Join, includes: _Includes
    ) -> Sequence[int]:
        """Return the positions of rows in the order that is asked for; rows come by their ids."""
        own = {"", TABLES[query.model]}
        if query.options.order in {(), *(((f"{table}.id".lstrip("."), False),) for table in own)}:
            return positions
        # Stable sorts from the last key to the first.
        for column, is_descending in reversed(query.options.order):
            table, _, name = column.rpartition(".")
            if table in own:
                if positions and name not in self.columns(query.model):
                    raise QueryError(f"cannot order by {column}: there is no such column")
                keyed = [(rows[each].get(name), each) for each in positions]
            else:
                joined = (next(join.joined(rows[each], includes)) for each in positions)
                keyed = [(_cell(row, column), each) for row, each in zip(joined, positions, strict=True)]
            present = [(value, each) for value, each in keyed if value is not None]
            absent = [each for value, each in keyed if value is None]
            present.sort(key=lambda pair: pair[0], reverse=is_descending)
            positions = array("q", [each for _, each in present] + absent)
        return positions


class _Join:
    """The conditions on the rows of one model, ready to be tried."""

    def __init__(
        self,
        evaluator: Evaluator,
        model: str,
        filters: Sequence[Filter],
        associations: Sequence[Step],
        names: Names,
    ) -> None:
        self._evaluator = evaluator
        self._model = model
        self._tests = [_test(evaluator, model, one, names) for one in filters]
        self.steps = [_Join.of_step(evaluator, model, step, names) for step in associations]

    @staticmethod
    def of_step(evaluator: Evaluator, model: str, step: Step, names: Names) -> tuple[str, Association, _Join]:
        """Return an association of a model with the conditions on what it leads to."""
        way = _way(model, step.name)
        return step.name, way, _Join(evaluator, way.model, step.filters, step.associations, names)

    def passes(self, row: Row) -> bool:
        """Say whether a row meets the conditions on its own columns."""
        return all(test(row) for test in self._tests)

    def n_matches(self, row: Row) -> int:
        """Return the number of joined rows that a row stands in: 0 where it does not match."""
        if not self.passes(row):
            return 0
        n = 1
        for _, way, join in self.steps:
            n *= sum(join.n_matches(target) for target in self._evaluator.targets(row, way))
            if not n:
                break
        return n

    def joined(
        self,
        row: Row,
        includes: _Includes = (),
        *,
        is_outer: bool = False,
    ) -> Iterator[dict[str, Row]]:
        """Yield the joined rows of a row that passes: by table, and by the names of the associations.

        Included associations that lead nowhere leave the row as it is; so do all where ``is_outer``.
        """
        start = [{TABLES[self._model]: row}]
        for steps, is_optional in ((self.steps, is_outer), (includes, True)):
            for name, way, join in steps:
                found = [
                    {**each, name: target}
                    for target in self._evaluator.targets(row, way)
                    if join.passes(target)
                    for each in join.joined(target, is_outer=is_optional)
                ]
                if is_optional and not found:
                    continue
                self._evaluator.spend(len(start) * len(found))
                # What came first keeps the name of the table.
                start = [{**each, **left} for left in start for each in found]
        yield from start


def _test(evaluator: Evaluator, model: str, one: Filter, names: Names) -> Test:
    """Return what says of a row whether it passes a filter; a column may be named with its table."""
    table, _, name = one.field.rpartition(".")
    if table not in {"", TABLES[model], model}:
        ways = [
            way
            for association, way in ASSOCIATIONS[model].items()
            if table in {association, TABLES[way.model]}
        ]
        if not ways:
            raise QueryError(f"{model} has no association with the table {table} of {one.field}")
        test = _test_column(evaluator, ways[0].model, name, one, names)
        return lambda row: any(map(test, evaluator.targets(row, ways[0])))
    return _test_column(evaluator, model, name, one, names)


def _test_column(evaluator: Evaluator, model: str, name: str, one: Filter, names: Names) -> Test:
    if evaluator.rows(model) and name not in evaluator.columns(model):
        raise QueryError(f"{model} has no column {name}")
    if one.operator is None:
        return lambda row: row.get(name) is not None
    values = _values(one, names)
    if one.operator in {"eq", "ne"} and values == ("null",):
        is_null = one.operator == "eq"
        return lambda row: (row.get(name) is None) is is_null
    compare = _comparison(one.operator, values)
    # As in SQL, a comparison with null is never true.
    return lambda row: (value := row.get(name)) is not None and compare(value)


def _values(one: Filter, names: Names) -> tuple[str, ...]:
    values: list[str] = []
    for value in one.values:
        if value.startswith("$"):
            if value[1:] not in names:
                raise QueryError(f"{value} is not a list that a pipe made")
            values += names[value[1:]]
        else:
            values.append(value)
    return tuple(values)


def _comparison(operator: str, wanted: Sequence[str]) -> Callable[[Any], bool]:
    if operator in {"eq", "in"}:
        return _any_of(wanted)
    if operator == "ne":
        is_any = _any_of(wanted)
        return lambda value: not is_any(value)
    if not wanted:
        return lambda _value: False
    first = wanted[0]
    match operator:
        case "lt":
            return lambda value: _order(value, first) < 0
        case "gt":
            return lambda value: _order(value, first) > 0
        case "le":
            return lambda value: _order(value, first) <= 0
        case "ge":
            return lambda value: _order(value, first) >= 0
        case "li":
            pattern = _pattern(first)
            return lambda value: fnmatch.fnmatchcase(_text(value), pattern)
        case "il":
            lowered = _pattern(first.lower())
            return lambda value: fnmatch.fnmatchcase(_text(value).lower(), lowered)
    raise QueryError(f"there is no operator ${operator}")


def _any_of(wanted: Sequence[str]) -> Callable[[Any], bool]:
    texts = frozenset(wanted)
    numbers = frozenset(number for value in wanted if (number := _number(value)) is not None)

    def is_any(value: Any) -> bool:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return value in numbers
        return _text(value) in texts

    return is_any


def _pattern(wanted: str) -> str:
    # Only * is a wildcard of the API; the others of fnmatch are taken as they stand.
    return "".join(f"[{letter}]" if letter in "?[" else letter for letter in wanted)


def _number(wanted: str) -> float | None:
    try:
        return float(wanted)
    except ValueError:
        return None


def _order(value: Any, wanted: str) -> int:
    """Compare as numbers where both are, else as text: -1, 0 or 1."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        number = _number(wanted)
        return -1 if number is None else (value > number) - (value < number)
    text = _text(value)
    return (text > wanted) - (text < wanted)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


class _Columns:
    """The columns of a reply."""

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


class _Table:
    """The columns of a flat table, picked out of joined rows."""

    def __init__(self, model: str, columns: Iterable[str]) -> None:
        self._columns: dict[str, str] = {}
        for column in columns:
            source, _, alias = column.partition(" as ")
            source = source.strip().removeprefix("distinct ").strip()
            table, _, name = source.rpartition(".")
            shown = alias.strip() or (name if name not in self._columns else f"{table}_{name}")
            self._columns[shown] = f"{table or TABLES[model]}.{name}"

    def row(self, joined: Mapping[str, Row]) -> Row:
        """Return one row of the table, its columns in the order asked for."""
        return {shown: _cell(joined, column) for shown, column in self._columns.items()}


def _cell(joined: Mapping[str, Row], column: str) -> Any:
    table, _, name = column.rpartition(".")
    row = joined.get(table)
    if row is None:
        if table in TABLES.values():
            # An included row that is not there leaves its columns empty.
            return None
        raise QueryError(f"{column} is of no table that the query joins")
    if name not in row:
        raise QueryError(f"{table} has no column {name}")
    return row[name]


def _way(model: str, name: str) -> Association:
    try:
        return ASSOCIATIONS[model][name]
    except KeyError:
        raise QueryError(f"{model} has no association {name} in the replica") from None


def _call(service: Service) -> Answer:
    if service.name not in CONNECTED_SERVICES:
        raise QueryError(f"Error in query: there is no service::{service.name}")
    return Answer("", [])


def _piped(pipe: Pipe, answer: Answer) -> tuple[str, ...]:
    missing = [row for row in answer.rows if pipe.attribute not in row]
    if missing:
        raise QueryError(f"{pipe}: the rows before it have no {pipe.attribute}")
    values = (row[pipe.attribute] for row in answer.rows)
    return tuple(dict.fromkeys(_text(value) for value in values if value is not None))
