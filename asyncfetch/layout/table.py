"""The columns of a data set's sections, as arrays: what can be asked of a whole set at once."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import numpy.typing as npt

from asyncfetch.errors import AlignmentError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from asyncfetch.allen import SectionDataSet, SectionImage

__all__ = ["Column", "TableContent", "section_rows", "table_columns", "table_problem"]

Column = npt.NDArray[Any]

_NUMBERS = (
    "section_number",
    "width",
    "height",
    "x",
    "y",
    "image_width",
    "image_height",
    "resolution",
    "tier_count",
)


#: Numbers that need not be whole.
_FRACTIONAL = {"resolution"}

#: The columns beside `_NUMBERS`, and what follows the rows of each.
_SHAPES: dict[str, tuple[int, ...]] = {
    "image_id": (),
    **dict.fromkeys(_NUMBERS, ()),
    "failed": (),
    "annotated": (),
    "image_type": (),
    "tsv": (6,),
    "tvs": (6,),
    "image_to_reference": (3, 3),
    "plane": (4,),
}


class TableContent(msgspec.Struct, frozen=True, kw_only=True):
    """What a table's group says of it; this is ``attributes.asyncfetch`` of ``table``.

    Attributes
    ----------
    columns : tuple of str
        Names of the arrays below.
    """

    columns: tuple[str, ...]


def table_columns(data_set: SectionDataSet) -> dict[str, Column]:
    """Return the columns of all sections of a data set, in order of section number and id.

    Returns
    -------
    dict of str to array
        ``image_id`` (n,) int64; numbers of the API's row, ``section_number`` to ``tier_count``, (n,) float64;
        ``failed`` and ``annotated`` (n,) bool; ``tsv`` and ``tvs`` (n, 6) float64 in the API's order 00 … 05;
        ``image_to_reference`` (n, 3, 3) float64, full-resolution pixels (x, y, 1) to (p, i, r) in µm;
        ``plane`` (n, 4) float64, the section's plane; ``image_type`` (n,) text. What is missing is NaN, false
        or empty.
    """
    sections = sorted(data_set.section_images, key=_by_number)
    columns: dict[str, Column] = {
        "image_id": np.array([section.id for section in sections], dtype=np.int64),
        **{name: _numbers(sections, name) for name in _NUMBERS},
        **{
            name: np.array([bool(getattr(section, name)) for section in sections], dtype=bool)
            for name in ("failed", "annotated")
        },
        "image_type": np.array(
            [section.image_type or "" for section in sections],
            dtype=np.dtypes.StringDType(),
        ),
    }
    return columns | _matrices(data_set, sections)


def table_problem(columns: Mapping[str, Column]) -> str | None:
    """Return what is wrong with a table that was read, as a phrase that follows its name; None if nothing is."""
    missing = sorted(_SHAPES.keys() - columns.keys())
    if missing:
        return f"lacks the column {missing[0]}"
    n = columns["image_id"].shape[:1]
    for name, inner in _SHAPES.items():
        if columns[name].shape != (*n, *inner):
            return f"has the column {name} in the shape {columns[name].shape}, not {(*n, *inner)}"
    return None


def section_rows(columns: Mapping[str, Column], data_set_id: int) -> list[dict[str, Any]]:
    """Return the rows of SectionImage that a table was made of, as far as it tells; the way back from `table_columns`.

    Parameters
    ----------
    columns : mapping of str to array
        Of one data set.
    data_set_id : int
        The data set.
    """
    rows = []
    for index, image_id in enumerate(columns["image_id"].tolist()):
        row: dict[str, Any] = {"id": image_id, "data_set_id": data_set_id}
        for name in _NUMBERS:
            value = float(columns[name][index])
            row[name] = (value if name in _FRACTIONAL else int(value)) if np.isfinite(value) else None
        row |= {name: bool(columns[name][index]) for name in ("failed", "annotated")}
        matrices = {name: columns[name][index].tolist() for name in ("tsv", "tvs")}
        row["alignment2d"] = {
            f"{name}_{k:02}": value
            for name, numbers in matrices.items()
            for k, value in enumerate(numbers)
            if not np.isnan(value)
        }
        rows.append(row)
    return rows


def _by_number(section: SectionImage) -> tuple[bool, int, int]:
    return section.section_number is None, section.section_number or 0, section.id


def _numbers(sections: Sequence[SectionImage], name: str) -> Column:
    values = [getattr(section, name) for section in sections]
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _matrices(data_set: SectionDataSet, sections: Sequence[SectionImage]) -> dict[str, Column]:
    n = len(sections)
    columns = {
        "tsv": np.full((n, 6), np.nan),
        "tvs": np.full((n, 6), np.nan),
        "image_to_reference": np.full((n, 3, 3), np.nan),
        "plane": np.full((n, 4), np.nan),
    }
    for index, section in enumerate(sections):
        flat = section.alignment2d
        for name in ("tsv", "tvs"):
            affine = None if flat is None else getattr(flat, name)
            if affine is not None:
                columns[name][index] = affine.to_api()
        with contextlib.suppress(AlignmentError):
            geometry = data_set.geometry(section)
            # each needs matrices of its own, and what is missing stays NaN
            with contextlib.suppress(AlignmentError):
                columns["image_to_reference"][index] = geometry.image_to_reference_matrix()
            columns["plane"][index] = geometry.plane_equation()
    return columns


# Before there are threads: msgspec ends the process where two of them meet a type for the first time.
_MET = msgspec.json.Decoder(TableContent)
