"""What a user asks for: ``dataset:70813257``, ``gene:Pvalb``, ``product:1``, several of them, lists of ids. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal, get_args

import msgspec

from asyncfetch.errors import SelectionError
from asyncfetch.names import did_you_mean, nearest
from asyncfetch.text import shown

__all__ = ["KINDS", "SELECTION_FORMS", "Kind", "Selection", "kind_called", "parse_selection"]

type Kind = Literal["dataset", "image", "atlas", "gene", "product", "specimen", "structure"]

#: How a selection is written.
SELECTION_FORMS = "dataset:ID, image:ID, atlas:ID, gene:ACRONYM, product:ID, specimen:ID or structure:ACRONYM"

# ids of the API have at most ten digits; eighteen fit into every integer on the way
_ID = r"[0-9]{1,18}"
# the query language has no way to write a quote; a comma separates; brackets and a dollar are its own
_NAME = r"[^\s,'\"\[\]$](?:[^,'\"\[\]$\n]*[^\s,'\"\[\]$])?"
_BY_ID = re.compile(rf"(?P<kind>dataset|image|atlas):(?P<values>{_ID}(?:\s*,\s*{_ID})*)", re.IGNORECASE)
_BY_NAME = re.compile(
    rf"(?P<kind>gene|product|specimen|structure):(?P<values>{_NAME}(?:\s*,\s*{_NAME})*)", re.IGNORECASE
)
KINDS: tuple[Kind, ...] = get_args(Kind.__value__)

# a name may hold blanks, so that only the word of the next selection ends it
_BETWEEN = re.compile(rf"[\s,;]+(?=(?:{'|'.join(KINDS)}):)", re.IGNORECASE)

# a name may hold a colon, so that only a known kind counts as one
_KIND = re.compile(rf"(?:{'|'.join(KINDS)}):", re.IGNORECASE)

_MAX_SHOWN = 80


class Selection(msgspec.Struct, frozen=True):
    """A data set, a section image or an atlas by its id, or all data sets of something that has many.

    Attributes
    ----------
    kind : "dataset", "image", "atlas", "gene", "product", "specimen" or "structure"
        What the id belongs to; a structure stands for the data sets of specimens that were taken from it.
    id : int or str
        SectionDataSet.id, SectionImage.id or Atlas.id; Gene.id or the acronym of a gene; Product.id or the
        abbreviation of a product; Specimen.id or its name; Structure.id or its acronym.
    """

    kind: Kind
    id: int | str

    def __str__(self) -> str:
        return f"{self.kind}:{self.id}"


def kind_called(name: str) -> Kind:
    """Return the kind that is meant by a name.

    Raises
    ------
    SelectionError
        There is none.
    """
    kind = name.strip().lower()
    if kind not in KINDS:
        raise SelectionError(
            f"there is nothing called {shown(name, _MAX_SHOWN)} to select{did_you_mean(kind, KINDS)}"
            f"; the kinds are {', '.join(KINDS)}"
        )
    return kind


def parse_selection(texts: str | Iterable[str], bare: Kind | None = None) -> tuple[Selection, ...]:
    """Read selections as they are written on the command line.

    Parameters
    ----------
    texts : str or iterable of str
        Items such as ``dataset:69289763``, ``image:69177634``, ``dataset:479,123``, ``gene:Pvalb``,
        ``product:1``, ``product:Mouse`` or ``atlas:1``. Digits alone are an id. One text may hold several,
        with blanks, commas or semicolons between them.
    bare : str, optional
        What a text without a kind is: with ``"gene"`` the text ``Pvalb`` is ``gene:Pvalb``.

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
        for selection in _parse_item(_named(item, bare))
    ]
    if not selections:
        raise SelectionError(f"nothing is selected: name at least one of {SELECTION_FORMS}")
    return tuple(dict.fromkeys(selections))


def _named(text: str, bare: Kind | None) -> str:
    """Return a selection with its kind, where it has none."""
    if bare is None or _KIND.match(text):
        return text
    # ids and acronyms hold no blanks, names of products do
    is_one_word = bare not in {"product", "specimen"}
    return f"{bare}:{','.join(text.replace(';', ' ').replace(',', ' ').split()) if is_one_word else text}"


def _parse_item(text: str) -> list[Selection]:
    match = _BY_ID.fullmatch(text) or _BY_NAME.fullmatch(text)
    if match is None:
        what = f"'{shown(text, _MAX_SHOWN)}' is not a valid selection"
        kind_given, colon, values_given = text.partition(":")
        meant = nearest(kind_given, KINDS, 1) if colon else []
        if meant and meant[0] != kind_given.lower():
            raise SelectionError(f"{what}; did you mean {meant[0]}:{shown(values_given, _MAX_SHOWN)}?")
        raise SelectionError(f"{what}: write {SELECTION_FORMS}, such as dataset:479")
    kind: Kind = match["kind"].lower()  # type: ignore[assignment]  # one of the two patterns' words
    values = (value.strip() for value in match["values"].split(","))
    return [Selection(kind, int(value) if re.fullmatch(_ID, value) else value) for value in values]
