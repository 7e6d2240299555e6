"""What people see of a data set in a viewer: its genes, how it was cut, and how old the mouse was. Pure."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from asyncfetch.errors import AlignmentError

if TYPE_CHECKING:
    from asyncfetch.allen import SectionDataSet

__all__ = ["age_of", "title_of"]

#: Genes that are named; a set has one, or one per colour.
_MAX_GENES = 3


def title_of(data_set: SectionDataSet, view: str) -> str:
    """Return the title of a view of a data set.

    Parameters
    ----------
    data_set : SectionDataSet
        The record. The age is told where the record includes ``specimen(donor(age))``.
    view : str
        Named unless it is ``image``.

    Returns
    -------
    str
        Such as ``Pvalb coronal P56 (data set 75457491)``; the number alone where nothing else is known.
    """
    acronyms = [gene.acronym for gene in data_set.genes if gene.acronym]
    words = [", ".join(acronyms[:_MAX_GENES])] if acronyms else []
    # neither the id of the plane nor an alignment may tell
    with contextlib.suppress(AlignmentError):
        words.append(str(data_set.plane))
    age = age_of(data_set)
    words += [age] if age else []
    words += [] if view == "image" else [view.replace("_", " ")]
    number = f"data set {data_set.id}"
    return f"{' '.join(words)} ({number})" if words else number


def age_of(data_set: SectionDataSet) -> str:
    """Return how old the mouse was, such as ``P56``; empty where the record does not tell."""
    age = _inner(data_set.record, "specimen", "donor", "age", "name")
    return age if isinstance(age, str) else ""


def _inner(row: Any, *names: str) -> Any:
    for name in names:
        row = row.get(name) if isinstance(row, dict) else None
    return row
