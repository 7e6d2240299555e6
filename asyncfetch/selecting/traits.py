"""What the filters ask of a data set: its traits, each with the way to it in the API's records. Pure.

A trait is the same words in a query of the API, in a record and in the catalogue, so that a filter means one thing
wherever it is applied. Associations and columns are those of the model reference; published clients filter by each of
these ways (allen-api.md REC-10).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from asyncfetch.names import spelled_as

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["PLANE_NAMES", "TRAITS", "Trait", "flag_of_trait", "trait_values"]

#: PlaneOfSection.id and its name.
PLANE_NAMES = {
    1: "coronal",
    2: "sagittal",
    4: "variable",
    5: "n/a",
    6: "transverse",
    7: "Lateral to Medial",
    8: "Medial to Lateral",
    9: "Ventral to Dorsal",
    10: "Dorsal to Ventral",
    11: "Coronal (Caudal to Rostral)",
    531107579: "Coronal (Rostral to Caudal)",
    1082279372: "Tangential",
}
_ORIENTATIONS = {"sense": "1", "antisense": "2"}
_SEXES = {"male": "M", "female": "F"}
_TREATMENTS = ("ISH", "NISSL")
#: An age in days or in days of gestation: P56, E11.5.
_AGE = re.compile(r"[pe]\d+(\.\d+)?", re.IGNORECASE)


class Trait(NamedTuple):
    """One property of data sets that is filtered by.

    Attributes
    ----------
    name : str
        What it is called in options, messages and tables.
    path : tuple of str
        The associations that lead from a data set to it, and the column.
    canonical : callable
        Takes a value as it is typed to how the API spells it, as far as that is known.
    shown : callable
        Takes a value of the API to what people call it.
    """

    name: str
    path: tuple[str, ...]
    canonical: Callable[[str], str] = str
    shown: Callable[[str], str] = str


def _plane(value: str) -> str:
    if value.isdecimal() and len(value) < 12:
        return PLANE_NAMES.get(int(value), value)
    return spelled_as(value, PLANE_NAMES.values())


def _age(value: str) -> str:
    return value.upper() if _AGE.fullmatch(value) else value


def _sense(value: str) -> str:
    return _ORIENTATIONS.get(value.casefold(), value)


def _shown_sense(value: str) -> str:
    return next((name for name, orientation in _ORIENTATIONS.items() if orientation == value), value)


def _sex(value: str) -> str:
    return _SEXES.get(value.casefold(), value.upper() if len(value) == 1 else value)


#: In the order in which they are listed.
TRAITS = (
    Trait("plane", ("plane_of_section", "name"), _plane),
    Trait("age", ("specimen", "donor", "age", "name"), _age),
    Trait("treatment", ("treatments", "name"), lambda value: spelled_as(value, _TREATMENTS)),
    Trait("sense", ("probes", "orientation_id"), _sense, _shown_sense),
    Trait("strain", ("specimen", "donor", "strain")),
    Trait("sex", ("specimen", "donor", "sex"), _sex),
)


def flag_of_trait(name: str) -> str:
    """Return the option that filters by a trait."""
    return f"--{name}"


def trait_values(row: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Return the traits of a record, in the words of the API; a trait that the record does not tell has none.

    Parameters
    ----------
    row : mapping
        A row of SectionDataSet or AtlasDataSet with what `path` of each trait includes.
    """
    found = {trait.name: tuple(dict.fromkeys(_values([row], trait.path))) for trait in TRAITS}
    if not found["plane"]:
        plane = PLANE_NAMES.get(row.get("plane_of_section_id", 0))
        found["plane"] = () if plane is None else (plane,)
    return found


def _values(rows: Iterable[Any], path: tuple[str, ...]) -> list[str]:
    """Follow a path through included rows, each one or a list of them."""
    for name in path[:-1]:
        rows = [inner for row in rows if isinstance(row, dict) for inner in _several(row.get(name))]
    ends = (row.get(path[-1]) for row in rows if isinstance(row, dict))
    return [str(value) for value in ends if isinstance(value, str | int)]


def _several(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
