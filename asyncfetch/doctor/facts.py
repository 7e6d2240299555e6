"""One thing about the machine, for people and for programs."""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ["Fact", "megabytes"]


class Fact(NamedTuple):
    """One thing about the machine.

    Attributes
    ----------
    name : str
        What it is.
    shown : str
        Its value in words.
    value : JSON value
        The value for programs.
    advice : str or None
        What is wrong with it and what to do, where something is.
    """

    name: str
    shown: str
    value: Any
    advice: str | None = None


def megabytes(size_bytes: float) -> str:
    """Return a size in the unit that suits it.

    Examples
    --------
    >>> megabytes(2_500_000), megabytes(3.2e11)
    ('2.5 MB', '320 GB')
    """
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if size_bytes >= scale:
            return f"{size_bytes / scale:.3g} {unit}"
    return f"{size_bytes / 1e3:.3g} kB"
