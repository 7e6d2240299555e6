"""The reader of every text that a command is given: lists, tables, settings. A file, or ``-`` for stdin."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TextIO
from weakref import WeakKeyDictionary

from asyncfetch.errors import SelectionError
from asyncfetch.text import UnreadableTextError, decode_text, shown

__all__ = ["read_text"]

#: Ten million rows of a table; a device without an end is met here and not when memory is.
_MAX_BYTES = 2**30
_WHAT_STDIN_WAS: WeakKeyDictionary[TextIO, str] = WeakKeyDictionary()


def read_text(location: str, what: str) -> str:
    r"""Return the text of a file, or of stdin for ``-``, whatever the locale and whoever saved it.

    Parameters
    ----------
    location : str
        A path, or ``-``.
    what : str
        What it is, for messages: ``the selection``.

    Returns
    -------
    str
        Its lines end in ``\n``.

    Raises
    ------
    SelectionError
        It cannot be read, is larger than 1 GiB, or is not text; the message names the file and the line.
    """
    name = "stdin" if location == "-" else shown(location)
    try:
        data = _stdin_bytes(what) if location == "-" else _file_bytes(Path(location).expanduser())
    except (OSError, ValueError) as error:
        # a path with a NUL character is a ValueError
        reason = getattr(error, "strerror", None) or str(error)
        raise SelectionError(f"{what} {name} cannot be read: {reason}") from error
    if len(data) > _MAX_BYTES:
        raise SelectionError(f"{what} {name} is larger than 1 GiB; split it into several files")
    try:
        return decode_text(data)
    except UnreadableTextError as error:
        raise SelectionError(f"{what} {name} cannot be read: {error}") from error


def _file_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_MAX_BYTES + 1)


def _stdin_bytes(what: str) -> bytes:
    if sys.stdin is None:
        raise ValueError("it is closed")
    if sys.stdin in _WHAT_STDIN_WAS:
        # whoever reads second would get nothing, and take it for an empty file
        raise ValueError(f"it was read as {_WHAT_STDIN_WAS[sys.stdin]} already; give one of them as a file")
    _WHAT_STDIN_WAS[sys.stdin] = what
    return sys.stdin.buffer.read(_MAX_BYTES + 1)
