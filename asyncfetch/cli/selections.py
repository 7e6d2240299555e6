"""Selections from files and from stdin: lists, one or several on a line, and columns of tables."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from asyncfetch.cli.reading import read_text
from asyncfetch.errors import SelectionError
from asyncfetch.names import did_you_mean, spelled_as
from asyncfetch.text import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asyncfetch.selecting.selection import Kind

__all__ = ["Listed", "expand_files"]

# what a spreadsheet writes around a cell, and after the last one that is filled
_AROUND_A_LINE = " \t\v\f\u00a0\"',;"
_MAX_NAMES = 200


class Listed(list[str]):
    """Selections, and where each of them stands.

    Attributes
    ----------
    places : dict of str to str
        The file and the line of a selection that comes from a list.
    """

    def __init__(self) -> None:
        super().__init__()
        self.places: dict[str, str] = {}


def expand_files(selection: list[str], bare: str | None = None, column: str | None = None) -> Listed:
    """Put the selections of a file in the place of each ``@FILE``, and those of stdin in the place of ``@-``.

    Blank lines and what follows a ``#`` are left out. A line may hold several selections, and may be a line of a
    spreadsheet: quotes around it and separators at its end do not count.

    Parameters
    ----------
    selection : list of str
        As they are typed.
    bare : str, optional
        What a selection without a kind is, such as ``gene``.
    column : str, optional
        The column of files that are tables with a header.

    Raises
    ------
    SelectionError
        A selection is malformed; a file cannot be read or holds nothing; or a line of a file is not valid, and the
        message names both.
    """
    from asyncfetch.selecting.selection import kind_called, parse_selection

    kind = None if bare is None else kind_called(bare)
    items = Listed()
    for item in selection:
        if item[:1] == "@":
            items += _listed_in(item[1:], kind, column, items.places)
        else:
            items += map(str, parse_selection(item, kind)) if kind else [item]
    if column is not None and not any(item[:1] == "@" for item in selection):
        raise SelectionError("--column belongs to a list; give the table as @FILE")
    # a run does so again, after it has loaded all that it needs
    parse_selection(items)
    return items


def _listed_in(location: str, kind: Kind | None, column: str | None, places: dict[str, str]) -> list[str]:
    from asyncfetch.selecting.selection import parse_selection

    name = "stdin" if location == "-" else location
    text = read_text(location, "the selection")
    items: list[str] = []
    for number, cell in _cells_of(text, column, name) if column is not None else _lines_of(text, name):
        try:
            parsed = parse_selection(cell, kind)
        except SelectionError as error:
            hint = "; if these are genes, add --as gene" if kind is None and ":" not in cell else ""
            raise SelectionError(f"{name}, line {number}: {error.message}{hint}") from None
        for each in map(str, parsed):
            places.setdefault(each, f"{name}:{number}")
        items += map(str, parsed) if kind else [cell]
    if not items:
        raise SelectionError(f"{name} holds no selections; write one on each line, such as dataset:479")
    return items


def _lines_of(text: str, name: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.split("\n"), start=1):
        cell = line.partition("#")[0].strip(_AROUND_A_LINE)
        if cell.startswith("@"):
            raise SelectionError(
                f"{name}, line {number}: a list cannot name another list; give {cell} as an argument of its own"
            )
        if cell:
            yield number, cell


def _cells_of(text: str, column: str, name: str) -> Iterator[tuple[int, str]]:
    """Yield the cells of a column with their lines; commas, semicolons or tabs stand between cells."""
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    reader = csv.DictReader(io.StringIO(text), skipinitialspace=True, delimiter=delimiter)
    header = [each for each in reader.fieldnames or () if each]
    known = spelled_as(column, header)
    if known not in header:
        shown_names = shown(", ".join(header) or "none", _MAX_NAMES)
        raise SelectionError(
            f"{name} has no column {column}{did_you_mean(column, header)}; it has {shown_names}"
        )
    for row in reader:
        cell = (row[known] or "").strip(_AROUND_A_LINE)
        if cell:
            yield reader.line_num, cell
