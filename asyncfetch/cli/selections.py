"""Selections from files and from stdin."""

from __future__ import annotations

from asyncfetch.cli.reading import read_text
from asyncfetch.errors import SelectionError

__all__ = ["expand_files"]

# what a spreadsheet writes around a cell, and after the last one that is filled
_AROUND_A_LINE = " \t\v\f\u00a0\"',;"


def expand_files(selection: list[str]) -> list[str]:
    """Put the selections of a file in the place of each ``@FILE``, and those of stdin in the place of ``@-``.

    Blank lines and what follows a ``#`` are left out. A line may hold several selections, and may be a line of a
    spreadsheet: quotes around it and separators at its end do not count.

    Raises
    ------
    SelectionError
        A selection is malformed; a file cannot be read or holds nothing; or a line of a file is not valid, and the
        message names both.
    """
    from asyncfetch.selecting.selection import parse_selection

    items = [each for item in selection for each in (_listed_in(item[1:]) if item[:1] == "@" else [item])]
    # a run does so again, after it has loaded all that it needs
    parse_selection(items)
    return items


def _listed_in(location: str) -> list[str]:
    from asyncfetch.selecting.selection import parse_selection

    name = "stdin" if location == "-" else location
    items: list[str] = []
    for number, line in enumerate(read_text(location, "the selection").split("\n"), start=1):
        text = line.partition("#")[0].strip(_AROUND_A_LINE)
        if not text:
            continue
        if text.startswith("@"):
            raise SelectionError(
                f"{name}, line {number}: a list cannot name another list; give {text} as an argument of its own"
            )
        try:
            parse_selection(text)
        except SelectionError as error:
            raise SelectionError(f"{name}, line {number}: {error.message}") from None
        items.append(text)
    if not items:
        raise SelectionError(f"{name} holds no selections; write one on each line, such as dataset:479")
    return items
