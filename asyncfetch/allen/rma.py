"""Metadata queries (RMA): a tree, its text, and the request that carries it. Pure.

A query is built from the model outwards, prints as the service's criteria string, and is read back from one::

    >>> text(Query("SectionImage").where(data_set_id=479).include("alignment2d").order("sub_images.id"))
    "model::SectionImage,rma::criteria,[data_set_id$eq479],rma::include,alignment2d,rma::options[order$eq'sub_images.id']"

The grammar is that of allen-api.md RMA-9. Values cannot hold a quote, because the service has no way to escape one.
Unknown, and chosen here: whether blanks beside brackets are allowed everywhere (they are read, never written); whether
the service tells ``'null'`` and ``'$name'`` in quotes from the bare words (they are taken for the same, and written
bare); whether an option named twice counts once (the last one does). Words such as ``true`` are written in quotes,
numbers without; clients send both forms of both.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any, Literal, Self
from urllib.parse import quote

import msgspec

from asyncfetch.errors import QueryError, SelectionError

__all__ = [
    "Filter",
    "Options",
    "Pipe",
    "Query",
    "Service",
    "Step",
    "data_set_query",
    "parse_criteria",
    "query_url",
    "section_image_query",
    "section_images_query",
    "text",
]

type Value = str | int | float | bool
type Operator = Literal["eq", "ne", "lt", "gt", "le", "ge", "in", "li", "il"]

OPERATORS = ("eq", "ne", "lt", "gt", "le", "ge", "in", "li", "il")

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")
#: The deepest that a client is seen to go is 3; the bound keeps the reader from being driven without end.
_MAX_NESTED = 32
_PLAIN = re.compile(r"-?\d+(\.\d+)?|null|\$[A-Za-z_][A-Za-z0-9_]*")


class Filter(msgspec.Struct, frozen=True):
    """One condition, ``[field$operator value]``.

    Attributes
    ----------
    field : str
        A column, or ``table.column``.
    operator : str or None
        One of `OPERATORS` without its dollar; None asks that the field is not null.
    values : tuple of str
        What it is compared with; several for ``in``. ``null``, and references such as ``$type_name``, stand as text.
    """

    field: str
    operator: Operator | None = None
    values: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _require_name(_FIELD, self.field, "a column")
        if self.operator is not None and self.operator not in OPERATORS:
            raise SelectionError(
                f"{self.operator!r} is not an operator; the operators are {', '.join(OPERATORS)}"
            )
        if (self.operator is None) is bool(self.values):
            raise SelectionError(f"[{self.field}] takes an operator with at least one value, or neither")
        for value in self.values:
            _require_quotable(value)

    def __str__(self) -> str:
        if self.operator is None:
            return f"[{self.field}]"
        return f"[{self.field}${self.operator}{','.join(map(_printed, self.values))}]"


class Step(msgspec.Struct, frozen=True):
    """One association to follow, with conditions on what it leads to.

    Attributes
    ----------
    name : str
        The association, such as ``section_images``.
    filters : tuple of Filter
        Conditions on the associated rows.
    associations : tuple of Step
        Associations of these rows, printed in parentheses.
    """

    name: str
    filters: tuple[Filter, ...] = ()
    associations: tuple[Step, ...] = ()

    def __post_init__(self) -> None:
        _require_name(_NAME, self.name, "an association")

    def __str__(self) -> str:
        filters = "".join(map(str, self.filters))
        inner = f"({','.join(map(str, self.associations))})" if self.associations else ""
        return f"{self.name}{filters}{inner}"


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """The options of a query: which rows and columns come back, and in which order.

    Attributes
    ----------
    num_rows : int, "all" or None
        Most rows; None leaves it to the service, which gives 50.
    start_row : int
        Rows left out at the beginning.
    order : tuple of (str, bool)
        Columns to sort by, and whether descending.
    only, excepting : tuple of str
        Columns to keep, or to leave out.
    tabular : tuple of str
        Columns of a flat table.
    count : bool
        Whether ``total_rows`` is to be counted.
    """

    num_rows: int | Literal["all"] | None = None
    start_row: int = 0
    order: tuple[tuple[str, bool], ...] = ()
    only: tuple[str, ...] = ()
    excepting: tuple[str, ...] = ()
    tabular: tuple[str, ...] = ()
    count: bool = True

    def __post_init__(self) -> None:
        for name in ("num_rows", "start_row"):
            value = getattr(self, name)
            if isinstance(value, int) and value < 0:
                raise SelectionError(f"{name} = {value} must be 0 or greater")
        for column, _ in self.order:
            _require_name(_FIELD, column, "a column to order by")
        for column in (*self.only, *self.excepting, *self.tabular):
            _require_quotable(column)
            if not column.strip() or "," in column:
                raise SelectionError(f"{column!r} is not a column name; give one name per argument")

    def __str__(self) -> str:
        parts: list[str] = []
        if self.only:
            parts.append(f"[only$eq'{','.join(self.only)}']")
        if self.excepting:
            parts.append(f"[except$eq'{','.join(self.excepting)}']")
        if self.tabular:
            parts.append(f"[tabular$eq'{','.join(self.tabular)}']")
        if self.num_rows is not None:
            parts.append(f"[num_rows$eq{_printed(str(self.num_rows))}]")
        if self.start_row or isinstance(self.num_rows, int):
            parts.append(f"[start_row$eq{self.start_row}]")
        if self.order:
            columns = ",".join(f"{column}$desc" if descends else column for column, descends in self.order)
            parts.append(f"[order$eq'{columns}']")
        if not self.count:
            parts.append("[count$eqfalse]")
        return "".join(parts)


class Pipe(msgspec.Struct, frozen=True):
    """A named list of values of the stage before, for use as ``$name`` afterwards.

    Attributes
    ----------
    name : str
        The name.
    attribute : str
        The column whose values are listed.
    """

    name: str
    attribute: str

    def __post_init__(self) -> None:
        _require_name(_NAME, self.name, "a list")
        _require_quotable(self.attribute)

    def __str__(self) -> str:
        return f"pipe::list[{self.name}$is'{self.attribute}']"


class Service(msgspec.Struct, frozen=True):
    """A call of one of the connected services.

    Attributes
    ----------
    name : str
        The service.
    parameters : tuple of Filter
        What it is called with.
    """

    name: str
    parameters: tuple[Filter, ...] = ()

    def __post_init__(self) -> None:
        _require_name(_NAME, self.name, "a service")

    def __str__(self) -> str:
        return f"service::{self.name}{''.join(map(str, self.parameters))}"


class Query(msgspec.Struct, frozen=True):
    """A query for rows of one model.

    Each method returns a new query. What the query language cannot express raises ``SelectionError``.

    Attributes
    ----------
    model : str
        The model, such as ``SectionImage``; empty where a service gives the rows.
    filters : tuple of Filter
        Conditions on the rows; all must hold.
    associations : tuple of Step
        Conditions on associated rows.
    includes : tuple of Step
        Associated rows to deliver as well.
    options : Options
        What is said of the reply.
    before : tuple of Query, Pipe or Service
        Stages that come first, in the order of `after`.
    """

    model: str
    filters: tuple[Filter, ...] = ()
    associations: tuple[Step, ...] = ()
    includes: tuple[Step, ...] = ()
    options: Options = Options()
    before: tuple[Query | Pipe | Service, ...] = ()

    def __post_init__(self) -> None:
        if self.model:
            _require_name(_NAME, self.model, "a model")
        elif self.filters or self.associations or self.includes:
            raise SelectionError("conditions and includes need a model; name one in Query(…)")

    def where(self, **columns: Value | Iterable[Value] | None) -> Self:
        """Ask that columns equal values; a list asks for any of them, None for null."""
        query = self
        for field, value in columns.items():
            if value is None:
                query = query.filter(field, "eq", "null")
            elif isinstance(value, Iterable) and not isinstance(value, str):
                query = query.filter(field, "in", value)
            else:
                query = query.filter(field, "eq", value)
        return query

    def filter(self, field: str, operator: Operator | None = None, *values: Value | Iterable[Value]) -> Self:
        """Add one condition; values come apart or as lists.

        Raises
        ------
        SelectionError
            The operator is unknown, or a value cannot be written in the query language.
        """
        flat: list[Value] = []
        for value in values:
            flat += value if isinstance(value, Iterable) and not isinstance(value, str) else [value]
        return self._with(filters=(*self.filters, Filter(field, operator, tuple(map(_value, flat)))))

    def association(self, *steps: str | Step) -> Self:
        """Add conditions on associated rows, as steps or as text such as ``products[id$in1,2]``."""
        return self._with(associations=(*self.associations, *_steps(steps)))

    def include(self, *steps: str | Step) -> Self:
        """Deliver associated rows as well, given as steps or as text such as ``section_images(alignment2d)``."""
        return self._with(includes=(*self.includes, *_steps(steps)))

    def order(self, *columns: str) -> Self:
        """Sort by columns; ``name$desc`` descends."""
        parsed = tuple(_order(column) for column in columns)
        return self._option(order=(*self.options.order, *parsed))

    def only(self, *columns: str) -> Self:
        """Deliver these columns alone."""
        return self._option(only=columns)

    def excepting(self, *columns: str) -> Self:
        """Leave these columns out."""
        return self._option(excepting=columns)

    def tabular(self, *columns: str) -> Self:
        """Ask for a flat table of these columns."""
        return self._option(tabular=columns)

    def page(self, start_row: int, num_rows: int) -> Self:
        """Ask for one page of rows."""
        return self._option(start_row=start_row, num_rows=num_rows)

    def all_rows(self) -> Self:
        """Ask for all rows in one reply."""
        return self._option(start_row=0, num_rows="all")

    def count(self, wanted: bool) -> Self:
        """Say whether the rows are to be counted."""
        return self._option(count=wanted)

    def after(self, *stages: Query | Pipe | Service) -> Self:
        """Put stages before this one; a query brings the stages before it along."""
        before = list(self.before)
        for stage in stages:
            if isinstance(stage, Query):
                before += stage.before
                stage = msgspec.structs.replace(stage, before=())
                if not stage.model:
                    continue
            before.append(stage)
        return self._with(before=tuple(before))

    def _with(self, **changes: Any) -> Self:
        return msgspec.structs.replace(self, **changes)

    def _option(self, **changes: Any) -> Self:
        return self._with(options=msgspec.structs.replace(self.options, **changes))


def text(query: Query) -> str:
    """Return the criteria string of a query."""
    stages = [text(each) if isinstance(each, Query) else str(each) for each in query.before]
    if query.model:
        stages.append(f"model::{query.model}")
        filters = "".join(map(str, query.filters))
        criteria = [*([filters] if filters else []), *map(str, query.associations)]
        if criteria:
            stages.append(f"rma::criteria,{','.join(criteria)}")
        if query.includes:
            stages.append(f"rma::include,{','.join(map(str, query.includes))}")
        options = str(query.options)
        if options:
            stages.append(f"rma::options{options}")
    return ",".join(stages)


def query_url(base_url: str, query: Query, fmt: Literal["json", "xml", "csv"] = "json") -> str:
    """Return the address that answers a query.

    Everything but letters, digits and ``_.-~:,$*`` is percent-encoded; the service takes brackets and quotes raw as
    well (RMA-9).
    """
    return f"{base_url.rstrip('/')}/api/v2/data/query.{fmt}?criteria={quote(text(query), safe=':,$*')}"


def data_set_query(data_set_ids: Iterable[int]) -> Query:
    """Ask for data sets by id, with their alignments, and with what they are chosen by."""
    return (
        Query("SectionDataSet")
        .where(id=list(data_set_ids))
        .include("alignment3d", "equalization", "genes", "plane_of_section", "probes", "products")
        .include("specimen(donor(age))", "treatments")
        .order("data_sets.id")
    )


def section_images_query(data_set_id: int) -> Query:
    """Ask for all section images of a data set, with their alignments."""
    return Query("SectionImage").where(data_set_id=data_set_id).include("alignment2d").order("sub_images.id")


def section_image_query(image_ids: Iterable[int]) -> Query:
    """Ask for section images by id, with their alignments."""
    return Query("SectionImage").where(id=list(image_ids)).include("alignment2d").order("sub_images.id")


def parse_criteria(criteria: str) -> Query:
    """Read a criteria string.

    An option named twice counts as said last. What the reader accepts beyond the grammar's letter: blanks, and stages
    ``rma::criteria`` that hold nothing.

    Raises
    ------
    QueryError
        The text is not a query; the message says where, as the service does.
    """
    if criteria.count("'") % 2:
        raise _end_of_text(criteria)
    try:
        return _Reader(criteria).query()
    except SelectionError as error:
        raise QueryError(error.message) from error


def _end_of_text(criteria: str) -> QueryError:
    """Return the error of an unbalanced quote, in the words of a recorded one (RMA-8)."""
    line = criteria.count("\n") + 1
    column = len(criteria) - criteria.rfind("\n") - 1
    return QueryError(f'line {line}, column {column}: mismatched character <EOF>; expecting "\'"')


def _value(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and not math.isfinite(value):
        raise SelectionError(f"{value!r} is not a number that the API can compare with")
    return str(value)


def _require_quotable(value: str) -> None:
    if "'" in value:
        raise SelectionError(
            f"{value!r} holds a quote, which the API's query language cannot express; ask for a part of it with li"
        )


def _require_name(pattern: re.Pattern[str], name: str, what: str) -> None:
    if not pattern.fullmatch(name):
        raise SelectionError(f"{name!r} cannot name {what}; use only letters, digits and underscores")


def _printed(value: str) -> str:
    return value if _PLAIN.fullmatch(value) else f"'{value}'"


def _order(column: str) -> tuple[str, bool]:
    name, _, direction = column.strip().partition("$")
    if direction not in {"", "asc", "desc"}:
        raise SelectionError(f"{column!r} must end in $asc, $desc or the column's name")
    return name, direction == "desc"


def _steps(steps: Iterable[str | Step]) -> tuple[Step, ...]:
    found: list[Step] = []
    for step in steps:
        if isinstance(step, Step):
            found.append(step)
        else:
            try:
                found += _Reader(step).steps_to_end()
            except QueryError as error:
                raise SelectionError(f"{step!r} is not an association: {error.message}") from error
    return tuple(found)


class _Reader:
    """A reader of one text, from left to right."""

    def __init__(self, criteria: str) -> None:
        self._text = criteria
        self._at = 0

    def query(self) -> Query:
        stages: list[Query | Pipe | Service] = []
        current: Query | None = None
        while True:
            self._blanks()
            if self._take("model::"):
                if current is not None:
                    stages.append(current)
                current = Query(self._match(_NAME, "a model"))
            elif self._take("service::"):
                if current is not None:
                    stages.append(current)
                    current = None
                stages.append(Service(self._match(_NAME, "a service"), self._filters()))
            elif self._take("pipe::list"):
                if current is not None:
                    stages.append(current)
                    current = None
                stages.append(self._pipe())
            elif self._take("rma::criteria"):
                current = self._criteria(self._of(current))
            elif self._take("rma::include"):
                self._expect(",")
                current = self._of(current).include(*self._steps())
            elif self._take("rma::options"):
                current = self._options(self._of(current))
            else:
                raise self._error("a stage such as model:: or rma::")
            self._blanks()
            if self._at == len(self._text):
                break
            self._expect(",")
        if current is None:
            return Query("", before=tuple(stages))
        return current.after(*stages)

    def steps_to_end(self) -> list[Step]:
        steps = self._steps()
        if self._at != len(self._text):
            raise self._error("<EOF>")
        return steps

    def _of(self, current: Query | None) -> Query:
        if current is None:
            raise self._error("model::")
        return current

    def _criteria(self, query: Query) -> Query:
        while self._peek(","):
            mark = self._at
            self._expect(",")
            self._blanks()
            if self._text.startswith(("rma::", "model::", "pipe::", "service::"), self._at):
                self._at = mark
                break
            if self._text.startswith("[", self._at):
                query = msgspec.structs.replace(query, filters=(*query.filters, *self._filters()))
            else:
                query = query.association(self._step())
        return query

    def _steps(self) -> list[Step]:
        steps = [self._step()]
        while self._peek(","):
            mark = self._at
            self._expect(",")
            self._blanks()
            if self._text.startswith(("rma::", "model::", "pipe::", "service::"), self._at):
                self._at = mark
                break
            steps.append(self._step())
        return steps

    def _step(self, depth: int = 0) -> Step:
        if depth > _MAX_NESTED:
            raise self._error(f"at most {_MAX_NESTED} nested associations")
        self._blanks()
        name = self._match(_NAME, "an association")
        filters = self._filters()
        associations: list[Step] = []
        if self._take("("):
            while True:
                self._blanks()
                if self._text.startswith("[", self._at):
                    filters += self._filters()
                else:
                    associations.append(self._step(depth + 1))
                self._blanks()
                if not self._take(","):
                    break
            self._expect(")")
        return Step(name, filters, tuple(associations))

    def _filters(self) -> tuple[Filter, ...]:
        found: list[Filter] = []
        while self._peek("["):
            field, operator, values = self._bracket(OPERATORS)
            found.append(Filter(field, operator, values))  # type: ignore[arg-type]  # one of OPERATORS
        return tuple(found)

    def _bracket(self, operators: tuple[str, ...]) -> tuple[str, str | None, tuple[str, ...]]:
        self._expect("[")
        self._blanks()
        field = self._match(_FIELD, "a field")
        self._blanks()
        if self._take("]"):
            return field, None, ()
        self._expect("$")
        operator = next((each for each in operators if self._take(each)), None)
        if operator is None:
            raise self._error("an operator")
        values = self._values()
        self._expect("]")
        return field, operator, values

    def _values(self) -> tuple[str, ...]:
        values: list[str] = []
        while True:
            self._blanks()
            values.append(self._quoted() if self._text.startswith("'", self._at) else self._bare())
            self._blanks()
            if not self._take(","):
                return tuple(values)

    def _quoted(self) -> str:
        end = self._text.find("'", self._at + 1)
        if end < 0:
            raise _end_of_text(self._text)
        value = self._text[self._at + 1 : end]
        self._at = end + 1
        return value

    def _bare(self) -> str:
        end = self._at
        while end < len(self._text) and self._text[end] not in ",]['":
            end += 1
        value = self._text[self._at : end].strip()
        if not value:
            raise self._error("a value")
        self._at = end
        return value

    def _pipe(self) -> Pipe:
        name, _, values = self._bracket(("is",))
        if len(values) != 1:
            raise self._error("[name$is'attribute']")
        return Pipe(name, values[0])

    def _options(self, query: Query) -> Query:
        options = query.options
        for one in self._filters():
            options = _with_option(options, one)
        return msgspec.structs.replace(query, options=options)

    def _blanks(self) -> None:
        while self._at < len(self._text) and self._text[self._at] in " \t\r\n":
            self._at += 1

    def _peek(self, token: str) -> bool:
        self._blanks()
        return self._text.startswith(token, self._at)

    def _take(self, token: str) -> bool:
        if self._text.startswith(token, self._at):
            self._at += len(token)
            return True
        return False

    def _expect(self, token: str) -> None:
        self._blanks()
        if not self._take(token):
            raise self._error(f'"{token}"')

    def _match(self, pattern: re.Pattern[str], what: str) -> str:
        found = pattern.match(self._text, self._at)
        if found is None:
            raise self._error(what)
        self._at = found.end()
        return found[0]

    def _error(self, expected: str) -> QueryError:
        line = self._text.count("\n", 0, self._at) + 1
        column = self._at - (self._text.rfind("\n", 0, self._at) + 1)
        found = self._text[self._at] if self._at < len(self._text) else "<EOF>"
        return QueryError(f"line {line}, column {column}: mismatched character {found}; expecting {expected}")


def _with_option(options: Options, one: Filter) -> Options:
    columns = tuple(part.strip() for value in one.values for part in value.split(",") if part.strip())
    value = one.values[0] if one.operator in {"eq", "in"} else None
    match one.field:
        case "num_rows" if value == "all":
            return msgspec.structs.replace(options, num_rows="all")
        case "num_rows" | "start_row" if value is not None and value.isdecimal() and len(value) < 19:
            return msgspec.structs.replace(options, **{one.field: int(value)})
        case "order" if value is not None:
            return msgspec.structs.replace(options, order=tuple(map(_order, columns)))
        case "only" | "tabular" if value is not None:
            return msgspec.structs.replace(options, **{one.field: columns})
        case "except" if value is not None:
            return msgspec.structs.replace(options, excepting=columns)
        case "count" if value in {"true", "false"}:
            return msgspec.structs.replace(options, count=value == "true")
    raise QueryError(f"there is no option {one}")
