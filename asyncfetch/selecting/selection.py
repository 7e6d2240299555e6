"""What a user asks for: ``dataset:70813257``, ``gene:Pvalb``, ``product:1``, several of them, lists of ids."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

import msgspec

from asyncfetch.errors import SelectionError
from asyncfetch.names import nearest
from asyncfetch.text import shown

__all__ = ["SELECTION_FORMS", "Kind", "Selection", "parse_selection"]

type Kind = Literal["dataset", "image", "atlas", "gene", "product"]

#: How a selection is written.
SELECTION_FORMS = "dataset:ID, image:ID, atlas:ID, gene:ACRONYM or product:ID"

# ids of the API have at most ten digits; eighteen fit into every integer on the way
_ID = r"[0-9]{1,18}"
# the query language has no way to write a quote; a comma separates; brackets and a dollar are its own
_NAME = r"[^\s,'\"\[\]$](?:[^,'\"\[\]$\n]*[^\s,'\"\[\]$])?"
_BY_ID = re.compile(rf"(?P<kind>dataset|image|atlas):(?P<values>{_ID}(?:\s*,\s*{_ID})*)", re.IGNORECASE)
_BY_NAME = re.compile(rf"(?P<kind>gene|product):(?P<values>{_NAME}(?:\s*,\s*{_NAME})*)", re.IGNORECASE)
_KINDS = ("dataset", "image", "atlas", "gene", "product")

# a name may hold blanks, so that only the word of the next selection ends it
_BETWEEN = re.compile(r"[\s,;]+(?=(?:dataset|image|atlas|gene|product):)", re.IGNORECASE)

_MAX_SHOWN = 80


class Selection(msgspec.Struct, frozen=True):
    """A data set, a section image or an atlas by its id, or all data sets of a gene or a product.

    Attributes
    ----------
    kind : "dataset", "image", "atlas", "gene" or "product"
        What the id belongs to.
    id : int or str
        SectionDataSet.id, SectionImage.id or Atlas.id; Gene.id or the acronym of a gene; Product.id or the
        abbreviation of a product.
    """

    kind: Kind
    id: int | str

    def __str__(self) -> str:
        return f"{self.kind}:{self.id}"


def parse_selection(texts: str | Iterable[str]) -> tuple[Selection, ...]:
    """Read selections as they are written on the command line.

    Parameters
    ----------
    texts : str or iterable of str
        Items such as ``dataset:69289763``, ``image:69177634``, ``dataset:479,123``, ``gene:Pvalb``,
        ``product:1``, ``product:Mouse`` or ``atlas:1``. Digits alone are an id. One text may hold several,
        with blanks, commas or semicolons between them.

    Returns
    -------
    tuple of Selection
        In the order given, each once.

    Raises
    ------
    SelectionError
        There is nothing to select, or an item is malformed; the message names it.
    """
    items = list(texts) if isinstance(texts, Iterable) and not isinstance(texts, str) else [texts]
    if strange := [each for each in items if not isinstance(each, str)]:
        raise SelectionError(
            f'{shown(repr(strange[0]), _MAX_SHOWN)} is not a valid selection: write it as text, such as "dataset:479"'
        )
    selections = [
        selection
        for text in items
        for item in _BETWEEN.split(text.strip())
        for selection in _parse_item(item)
    ]
    if not selections:
        raise SelectionError(f"nothing is selected: name at least one of {SELECTION_FORMS}")
    return tuple(dict.fromkeys(selections))


def _parse_item(text: str) -> list[Selection]:
    match = _BY_ID.fullmatch(text) or _BY_NAME.fullmatch(text)
    if match is None:
        what = f"'{shown(text, _MAX_SHOWN)}' is not a valid selection"
        kind_given, colon, values_given = text.partition(":")
        meant = nearest(kind_given, _KINDS, 1) if colon else []
        if meant and meant[0] != kind_given.lower():
            raise SelectionError(f"{what}; did you mean {meant[0]}:{shown(values_given, _MAX_SHOWN)}?")
        raise SelectionError(f"{what}: write {SELECTION_FORMS}, such as dataset:479")
    kind: Kind = match["kind"].lower()  # type: ignore[assignment]  # one of the two patterns' words
    values = (value.strip() for value in match["values"].split(","))
    return [Selection(kind, int(value) if re.fullmatch(_ID, value) else value) for value in values]
