"""Text: bytes become characters, foreign words safe to show, numbers take a noun or a unit, long lists end. Pure."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["UnreadableTextError", "counted", "decode_text", "lasting", "listed", "shown", "sized"]

# UTF-32 first: its little-endian mark begins as that of UTF-16 does
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
#: Lines of one kind that are shown at the most; ``--json`` has all.
_MAX_LISTED = 20
#: From here on a duration is told in minutes, and in days.
_MIN_WITH_SECONDS, _HOURS_WITH_MINUTES = 10, 48
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


class UnreadableTextError(ValueError):
    """Bytes that are not text in an encoding that is read.

    Attributes
    ----------
    line : int
        The line that holds the first such byte, from 1.
    """

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message, line)
        self.line = line

    def __str__(self) -> str:
        return f"line {self.line}: {self.args[0]}"


def decode_text(data: bytes) -> str:
    r"""Return a text that a person, a spreadsheet or a program has saved.

    Parameters
    ----------
    data : bytes
        UTF-8 with or without a byte order mark, or UTF-16 or UTF-32 with one. The locale does not matter.

    Returns
    -------
    str
        Without the mark; every line ends in ``\n``, whether it was written as ``\n``, ``\r\n`` or ``\r``.

    Raises
    ------
    UnreadableTextError
        A byte is not of that encoding, or the text holds a NUL.
    """
    mark, encoding = next((each for each in _MARKS if data.startswith(each[0])), (b"", "utf-8"))
    body = data[len(mark) :]
    try:
        text = body.decode(encoding)
    except UnicodeDecodeError as error:
        before = body[: error.start].decode(encoding, "replace")
        name = encoding.upper().removesuffix("-LE").removesuffix("-BE")
        wrong = f"byte 0x{body[error.start]:02x} is not valid {name}; save the file as UTF-8"
        raise UnreadableTextError(wrong, _with_line_feeds(before).count("\n") + 1) from None
    text = _with_line_feeds(text)
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise UnreadableTextError("there is a NUL character, so this is not text; save it as UTF-8", line)
    return text


def _with_line_feeds(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def shown(words: object, width: int | None = None) -> str:
    r"""Return words of a server, of a store or of a user so that they can be shown inside a line.

    Characters that a terminal would obey or hide (controls, escape sequences, marks of direction, characters of no
    width, ends of lines, lone surrogates) are written as escapes such as ``\x1b``.

    Parameters
    ----------
    words : object
        Its ``str``.
    width : int, optional
        The most characters that are shown; what is longer ends in ``…``.

    Examples
    --------
    >>> shown("Site\tunavailable\x1b[2J")
    'Site\\tunavailable\\x1b[2J'
    >>> shown("a very long name", 8)
    'a very …'
    """
    text = str(words)
    if width is not None:
        # what is cut off need not be looked at: a body may be megabytes
        text = text[: width + 1]
    if not text.isprintable():
        text = "".join(each if each.isprintable() else _escaped(each) for each in text)
    if width is not None and len(text) > width:
        text = f"{text[: max(width - 1, 0)]}…"
    return text


def counted(n: int, singular: str, plural: str | None = None) -> str:
    """Return a number with its noun in the form that it takes.

    Parameters
    ----------
    n : int
        The number.
    singular : str
        What follows 1; it may go on behind the noun.
    plural : str, optional
        What follows any other number; `singular` with an s unless told otherwise.

    Examples
    --------
    >>> counted(1, "section"), counted(0, "section"), counted(2, "point lies", "points lie")
    ('1 section', '0 sections', '2 points lie')
    """
    return f"{n} {singular if n == 1 else plural or f'{singular}s'}"


def listed[T](items: Sequence[T], line: Callable[[T], str], more: Callable[[int], str]) -> list[str]:
    """Return a line for each of the first items, and one for all that are left out.

    Parameters
    ----------
    items : sequence
        What is listed, the first twenty of it.
    line : callable
        Returns the line of an item.
    more : callable
        Returns the line that says how many more there are.
    """
    lines = [line(each) for each in items[:_MAX_LISTED]]
    if len(items) > _MAX_LISTED:
        lines.append(more(len(items) - _MAX_LISTED))
    return lines


def sized(n_bytes: float) -> str:
    """Return a number of bytes for people, in the unit that leaves one to three digits before the point.

    Examples
    --------
    >>> sized(20_300), sized(1_250_000), sized(999)
    ('20 kB', '1.2 MB', '999 bytes')
    """
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        # rounded up, what is just below it reads as one of it
        if n_bytes >= 0.9995 * size:
            return f"{n_bytes / size:.1f} {unit}"
    return f"{n_bytes / 1e3:.0f} kB" if n_bytes >= 1000 else counted(round(n_bytes), "byte")


def lasting(seconds: float) -> str:
    """Return a duration for people: two units at the most, none of them finer than anybody would plan with.

    Examples
    --------
    >>> lasting(0.42), lasting(43), lasting(200), lasting(11_500), lasting(400_000)
    ('0.4 s', '43 s', '3 min 20 s', '3 h 12 min', '4 days 15 h')
    """
    # rounded before the unit is chosen, so that nothing reads as 60 s or 24 h
    if round(seconds, 1) < 10:
        return f"{seconds:.1f} s" if round(seconds, 1) else "less than 0.1 s"
    if round(seconds) < 60:
        return f"{seconds:.0f} s"
    if round(seconds) < _MIN_WITH_SECONDS * 60:
        return _in_two_units(round(seconds), 60, "min", "s")
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < _HOURS_WITH_MINUTES * 60:
        return _in_two_units(minutes, 60, "h", "min")
    return _in_two_units(round(seconds / 3600), 24, "days", "h")


def _in_two_units(n: int, n_per_unit: int, unit: str, part: str) -> str:
    whole, rest = divmod(n, n_per_unit)
    return f"{whole} {unit} {rest} {part}" if rest else f"{whole} {unit}"


def _escaped(character: str) -> str:
    return _SHORT.get(character) or character.encode("unicode_escape", "surrogatepass").decode("ascii")
