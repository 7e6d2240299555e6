"""The list of failed items, which a mirror takes again: a selection on each line, and the causes behind a ``#``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asyncfetch.cli.console import tell
from asyncfetch.errors import SelectionError, SettingsError
from asyncfetch.selecting import parse_selection
from asyncfetch.text import counted, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from asyncfetch.failures import Failure

__all__ = ["Failures", "FailuresFile"]

_MAX_CAUSE = 500
_SETTING = "failures"

Failures = Annotated[
    str | None,
    typer.Option(
        "--failures",
        metavar="FILE",
        help="Write the failed items to this file, one per line, so that mirror @FILE fetches them alone.",
    ),
]


class FailuresFile:
    """The file of ``--failures``; nothing where it was not asked for.

    Parameters
    ----------
    location : str or None
        Its path.

    Raises
    ------
    SettingsError
        It cannot be written, which is known before the run begins. What an earlier run wrote stays until `write`.
    """

    def __init__(self, location: str | None) -> None:
        self._path = None if location is None else Path(location).expanduser()
        if self._path is None:
            return
        try:
            self._path.open("ab").close()
        except (OSError, ValueError) as error:
            raise _unwritable(self._path, error) from error

    def write(self, failures: Iterable[Failure], store: str) -> None:
        """Write what failed in place of what the file held, and say so on stderr.

        Parameters
        ----------
        failures : iterable of Failure
            What failed; where that is nothing, the file holds no selection.
        store : str
            Where they are to be mirrored to.

        Raises
        ------
        SettingsError
            The file cannot be written.
        """
        if self._path is None:
            return
        lines = list(_lines_of(failures))
        again = f"asyncfetch mirror @{self._path} --out {store}"
        title = f"# {counted(len(lines), 'failed item')}; with the options of the run, fetched by: {again}"
        try:
            self._path.write_text("\n".join([shown(title), *lines, ""]), encoding="utf-8")
        except OSError as error:
            raise _unwritable(self._path, error) from error
        if lines:
            tell(f"{counted(len(lines), 'failed item')} in {self._path}; fetch them alone with: {again}")


def _lines_of(failures: Iterable[Failure]) -> Iterator[str]:
    """Yield a line for each item, with all its causes."""
    causes: dict[str, list[str]] = {}
    for each in failures:
        causes.setdefault(each.item, []).append(f"{f'{each.view}: ' if each.view else ''}{each.message}")
    for item, why in causes.items():
        is_listable = "#" not in item and _is_selection(item)
        yield f"{'' if is_listable else '# '}{shown(item)}  # {shown('; '.join(why), _MAX_CAUSE)}"


def _is_selection(item: str) -> bool:
    try:
        return bool(parse_selection(item))
    except SelectionError:
        return False


def _unwritable(path: Path, error: Exception) -> SettingsError:
    reason = getattr(error, "strerror", None) or str(error)
    return SettingsError(f"--failures {path} cannot be written: {reason}", setting=_SETTING)
