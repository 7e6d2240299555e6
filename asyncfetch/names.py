"""Names as people type them: capitals do not count where that is unambiguous, and wrong names are answered. Pure."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["did_you_mean", "nearest", "spelled_as"]

# two letters changed places in a name of five; what is less alike misleads
_MIN_RATIO = 0.7


def spelled_as(name: str, known: Iterable[str]) -> str:
    """Return the known name that is the same but for capitals, or the name as it is where there is not exactly one.

    Examples
    --------
    >>> spelled_as("Image", ["image", "expression"])
    'image'
    >>> spelled_as("front", ["image", "expression"])
    'front'
    """
    names = list(known)
    if name in names:
        return name
    folded = name.casefold()
    same = {each for each in names if each.casefold() == folded}
    return same.pop() if len(same) == 1 else name


def nearest(name: str, known: Iterable[str], n: int = 3) -> list[str]:
    """Return the known names that are most like one, the most alike first; capitals do not count.

    Examples
    --------
    >>> nearest("reqests_per_s", ["requests_per_s", "views", "um"])
    ['requests_per_s']
    """
    by_folded = {each.casefold(): each for each in known}
    return [by_folded[each] for each in difflib.get_close_matches(name.casefold(), by_folded, n, _MIN_RATIO)]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return what is added to a message about a wrong name: the nearest known ones, or nothing.

    Examples
    --------
    >>> did_you_mean("imgae", ["image", "expression"])
    '; did you mean image?'
    """
    alike = nearest(name, known)
    return f"; did you mean {' or '.join(alike)}?" if alike else ""
