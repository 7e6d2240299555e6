"""Tables of the command line: CSV, JSON and Parquet in and out, and bad rows by their line."""

from __future__ import annotations

import csv
import importlib
import io
import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from asyncfetch.cli.reading import read_text
from asyncfetch.errors import SelectionError, SettingsError, StoreAccessError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import ModuleType

__all__ = [
    "BadRow",
    "Points",
    "Table",
    "TableFormat",
    "read_points",
    "read_rows",
    "require_writable",
    "write_table",
]

type TableFormat = Literal["csv", "json", "parquet"]
_FORMATS: dict[str, TableFormat] = {".json": "json", ".parquet": "parquet", ".pq": "parquet"}


@dataclass(frozen=True)
class BadRow:
    """A row that could not be used, by its line in the file (by its number in Parquet), and why."""

    line: int
    message: str


@dataclass(frozen=True)
class Points:
    """The usable rows of a table.

    Attributes
    ----------
    rows : list of int
        Number of each row in the table, from 1.
    lines : list of int
        Line of each row.
    columns : dict of str to list
        Values of the columns that were asked for.
    bad : list of BadRow
        The rows that are left out.
    """

    rows: list[int]
    lines: list[int]
    columns: dict[str, list[Any]]
    bad: list[BadRow]


@dataclass(frozen=True)
class Table:
    """Columns of equal length, in the order in which they are written.

    Attributes
    ----------
    columns : dict of str to list
        The values of each column; None where one is missing.
    types : dict of str to type
        ``int``, ``float`` or ``str`` for each column, which Parquet keeps.
    """

    columns: dict[str, list[Any]]
    types: dict[str, type]

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows, each by the names of the columns."""
        return [
            dict(zip(self.columns, cells, strict=True)) for cells in zip(*self.columns.values(), strict=True)
        ]


def read_points(location: str, integers: Sequence[str], numbers: Sequence[str]) -> Points:
    """Read columns of a table.

    Parameters
    ----------
    location : str
        A CSV file with a header, a Parquet file (ending in .parquet or .pq), or ``-`` for CSV on stdin. Commas,
        semicolons or tabs stand between the cells.
    integers, numbers : sequence of str
        The columns that hold ids, and finite numbers.

    Raises
    ------
    SelectionError
        The table cannot be read, or lacks a column.
    SettingsError
        It is a Parquet file, and what reads these is not installed.
    """
    try:
        if _format_of(location) == "parquet":
            return _from_parquet(location, integers, numbers)
        return _from_csv(read_text(location, "the table"), location, integers, numbers)
    except (OSError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise SelectionError(f"the table {location} cannot be read: {reason}") from error


def write_table(table: Table, location: str | None, fmt: TableFormat | None) -> None:
    """Write a table to a file or to stdout.

    Parameters
    ----------
    table : Table
        Missing values are empty in CSV and null elsewhere.
    location : str, optional
        The file; stdout when not given.
    fmt : {"csv", "json", "parquet"}, optional
        By the ending of the file when not given, else CSV.

    Raises
    ------
    StoreAccessError
        The file cannot be written.
    SettingsError
        It is to be Parquet, and what writes that is not installed.
    """
    data = _encoded(table, fmt or _format_of(location))
    if location is None:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    try:
        Path(location).write_bytes(data)
    except OSError as error:
        raise StoreAccessError(
            f"{location} cannot be written: {error.strerror}", location=location
        ) from error


def require_writable(location: str | None, fmt: TableFormat | None) -> None:
    """Raise the SettingsError of `write_table` before there is anything to write."""
    if (fmt or _format_of(location)) == "parquet":
        _pyarrow()


def _format_of(location: str | None) -> TableFormat:
    return _FORMATS.get(Path(location or "").suffix.lower(), "csv")


def _encoded(table: Table, fmt: TableFormat) -> bytes:
    if fmt == "parquet":
        return _parquet(table)
    if fmt == "json":
        return (json.dumps(table.rows(), indent=2) + "\n").encode()
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows(zip(*table.columns.values(), strict=True))
    return text.getvalue().encode()


def _parquet(table: Table) -> bytes:
    pa = _pyarrow()
    import pyarrow.parquet

    types = {int: pa.int64(), float: pa.float64(), str: pa.string()}
    columns = {name: pa.array(values, types[table.types[name]]) for name, values in table.columns.items()}
    sink = io.BytesIO()
    pyarrow.parquet.write_table(pa.table(columns), sink)
    return sink.getvalue()


def _pyarrow() -> ModuleType:
    """Return pyarrow, which is large and comes as an extra."""
    try:
        return importlib.import_module("pyarrow")
    except ImportError as error:
        raise SettingsError(
            "Parquet requires pyarrow; install it with: pip install 'asyncfetch[tables]', or use CSV",
            setting="format",
        ) from error


def read_rows(text: str) -> list[dict[str, Any]]:
    """Return the rows of a CSV table, by the names of its header; commas, semicolons or tabs stand between cells."""
    return list(_reader_of(text))


def _reader_of(text: str) -> csv.DictReader[str]:
    # where a comma is the decimal sign, spreadsheets put semicolons between cells
    header = text.partition("\n")[0]
    delimiter = max(",;\t", key=header.count)
    return csv.DictReader(io.StringIO(text), skipinitialspace=True, delimiter=delimiter)


def _from_csv(text: str, location: str, integers: Sequence[str], numbers: Sequence[str]) -> Points:
    reader = _reader_of(text)
    _require_columns(location, reader.fieldnames or (), [*integers, *numbers])
    points = Points([], [], {name: [] for name in (*integers, *numbers)}, [])
    has_decimal_commas = reader.reader.dialect.delimiter == ";"
    for row, cells in enumerate(reader, start=1):
        if has_decimal_commas:
            cells |= {name: cells[name].replace(",", ".") for name in numbers if cells[name]}
        _append(points, row, reader.line_num, cells, integers, numbers)
    return points


def _from_parquet(location: str, integers: Sequence[str], numbers: Sequence[str]) -> Points:
    pa = _pyarrow()
    import pyarrow.parquet

    names = [*integers, *numbers]
    try:
        _require_columns(location, pyarrow.parquet.read_schema(location).names, names)
        table = pyarrow.parquet.read_table(location, columns=names)
    except pa.ArrowException as error:
        raise SelectionError(f"the table {location} cannot be read: {error}") from error
    points = Points([], [], {name: [] for name in names}, [])
    columns = [table.column(name).to_pylist() for name in names]
    for row, cells in enumerate(zip(*columns, strict=True), start=1):
        _append(points, row, row, dict(zip(names, cells, strict=True)), integers, numbers)
    return points


def _require_columns(location: str, found: Sequence[str], wanted: Sequence[str]) -> None:
    missing = [name for name in wanted if name not in found]
    if missing:
        raise SelectionError(
            f"the table {location} has no column {', '.join(missing)}; it has {', '.join(found) or 'none'}"
        )


def _append(
    points: Points,
    row: int,
    line: int,
    cells: Mapping[str, Any],
    integers: Sequence[str],
    numbers: Sequence[str],
) -> None:
    try:
        values: dict[str, float] = {name: _integer(name, cells[name]) for name in integers}
        values |= {name: _number(name, cells[name]) for name in numbers}
    except ValueError as error:
        points.bad.append(BadRow(line, str(error)))
        return
    points.rows.append(row)
    points.lines.append(line)
    for name, value in values.items():
        points.columns[name].append(value)


def _integer(name: str, cell: Any) -> int:
    try:
        number = float(cell) if isinstance(cell, float) else int(cell)
        if number != int(number):
            raise ValueError
        return int(number)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name} is {_shown(cell)}, not an id") from None


def _number(name: str, cell: Any) -> float:
    try:
        value = float(cell)
    except (TypeError, ValueError):
        raise ValueError(f"{name} is {_shown(cell)}, not a number") from None
    if not math.isfinite(value):
        raise ValueError(f"{name} is {_shown(cell)}, which is not finite")
    return value


def _shown(cell: Any) -> str:
    return "missing" if cell is None or cell == "" else repr(cell)
