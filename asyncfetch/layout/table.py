"""The columns of a data set's sections: what can be asked of a whole set at once.

A store keeps them in three arrays, since every array costs three files and a mirror has tens of thousands of tables:
``image_id``, ``image_type``, and ``numbers`` with one column for each number, whose names the table's group has.
"""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import numpy.typing as npt

from asyncfetch.errors import AlignmentError
from asyncfetch.layout.commit import Objects

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from asyncfetch.allen import SectionDataSet, SectionImage

__all__ = [
    "ARRAYS",
    "NUMBER_COLUMNS",
    "Column",
    "TableContent",
    "columns_of",
    "section_rows",
    "stored_arrays",
    "table_columns",
]

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

#: The arrays of a table.
ARRAYS = ("image_id", "image_type", "numbers")
_FLAGS = {"failed", "annotated"}
_IN_NUMBERS = tuple(name for name in _SHAPES if name not in {"image_id", "image_type"})
#: The columns of ``numbers``: a matrix has one for each of its elements.
NUMBER_COLUMNS = tuple(
    "_".join([name, *map(str, index)]) for name in _IN_NUMBERS for index in np.ndindex(*_SHAPES[name])
)


class TableContent(msgspec.Struct, frozen=True, kw_only=True):
    """What a table's group says of it; this is ``attributes.asyncfetch`` of ``table``.

    Attributes
    ----------
    columns : tuple of str
        Names of the columns of the array ``numbers``, in order.
    objects : Objects
        The chunks of the arrays, all together; their checksum is that of the array's name and of the bytes.
    """

    columns: tuple[str, ...]
    objects: Objects = Objects()


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


def stored_arrays(columns: Mapping[str, Column]) -> dict[str, Column]:
    """Return the arrays in which a store keeps columns, by name: those of `ARRAYS`."""
    n = len(columns["image_id"])
    parts = [columns[name].reshape(n, math.prod(_SHAPES[name])).astype(np.float64) for name in _IN_NUMBERS]
    return {
        "image_id": columns["image_id"],
        "image_type": columns["image_type"],
        "numbers": np.concatenate(parts, axis=1),
    }


def columns_of(arrays: Mapping[str, Column]) -> dict[str, Column] | str:
    """Return the columns that stored arrays hold; or what is wrong with them, as a phrase that follows their name.

    It is the way back from `stored_arrays`.
    """
    n = len(arrays["image_id"])
    shapes = {"image_id": (n,), "image_type": (n,), "numbers": (n, len(NUMBER_COLUMNS))}
    for name, shape in shapes.items():
        if arrays[name].shape != shape:
            return f"has the array {name} in the shape {arrays[name].shape}, not {shape}"
    columns = {"image_id": arrays["image_id"], "image_type": arrays["image_type"]}
    first = 0
    for name in _IN_NUMBERS:
        size = math.prod(_SHAPES[name])
        values = arrays["numbers"][:, first : first + size].reshape(n, *_SHAPES[name])
        columns[name] = values == 1 if name in _FLAGS else values
        first += size
    return {name: columns[name] for name in _SHAPES}


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
        row["image_type"] = str(columns["image_type"][index]) or None
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
