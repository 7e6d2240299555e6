"""What a user asks for: ``dataset:70813257``, ``image:101349756``, several of them, lists of ids."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

import msgspec

from asyncfetch.errors import SelectionError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Selection", "parse_selection"]

# ids of the API have at most ten digits; eighteen fit into every integer on the way
_ITEM = re.compile(r"(?P<kind>dataset|image):(?P<ids>[0-9]{1,18}(?:\s*,\s*[0-9]{1,18})*)")

_MOST_SHOWN = 80


class Selection(msgspec.Struct, frozen=True):
    """Name one data set, or one section image, by its id.

    Attributes
    ----------
    kind : "dataset" or "image"
        Which of the two the id belongs to.
    id : int
        SectionDataSet.id or SectionImage.id.
    """

    kind: Literal["dataset", "image"]
    id: int

    def __str__(self) -> str:
        return f"{self.kind}:{self.id}"


def parse_selection(texts: str | Iterable[str]) -> tuple[Selection, ...]:
    """Read selections as they are written on the command line.

    Parameters
    ----------
    texts : str or iterable of str
        Items such as ``dataset:69289763``, ``image:69177634`` or ``dataset:479,123``.

    Returns
    -------
    tuple of Selection
        In the order given, each once.

    Raises
    ------
    SelectionError
        There is nothing to select, or an item is malformed; the message names it.
    """
    items = [texts] if isinstance(texts, str) else list(texts)
    selections = [selection for text in items for selection in _parse_item(text.strip())]
    if not selections:
        raise SelectionError("nothing is selected: name at least one dataset:ID or image:ID")
    return tuple(dict.fromkeys(selections))


def _parse_item(text: str) -> list[Selection]:
    match = _ITEM.fullmatch(text)
    if match is None:
        shown = text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"
        raise SelectionError(f"{shown!r} is no selection: write dataset:ID or image:ID, such as dataset:479")
    kind: Literal["dataset", "image"] = "dataset" if match["kind"] == "dataset" else "image"
    return [Selection(kind, int(number)) for number in match["ids"].split(",")]
