"""The numbers that records can hold, with the bounds of what is physically possible. Pure.

Whatever comes from a server or a store passes these types before anything is computed, allocated or requested with it.
Integers may come as text or as 123.0, as XML and some writers of JSON give them; truth values are not numbers. The
bounds are far beyond everything on record (REC-1, REC-2): they keep out what would take all memory or end in NaN.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from asyncfetch.text import shown

__all__ = [
    "Coordinate",
    "Id",
    "MatrixNumber",
    "PixelOffset",
    "PixelSize",
    "ResolutionUm",
    "SectionNumber",
    "ThicknessUm",
    "TierCount",
    "row_id",
    "shown_value",
]

_MAX_SHOWN = 61

#: An id: a positive integer below 2^63 (REC-2).
Id = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
#: A side of an image in pixels; the largest on record has 34 000.
PixelSize = Annotated[int, msgspec.Meta(ge=1, le=10**6)]
#: Where an image lies on a scan, in pixels.
PixelOffset = Annotated[int, msgspec.Meta(ge=-(10**6), le=10**6)]
#: A section number; those on record stay below 1000.
SectionNumber = Annotated[int, msgspec.Meta(gt=-(10**6), lt=10**6)]
#: Tiers of an image; 32 of them are more than 10^6 pixels can be halved.
TierCount = Annotated[int, msgspec.Meta(ge=1, le=32)]
#: The pitch of a pixel in µm.
ResolutionUm = Annotated[float, msgspec.Meta(ge=1e-3, le=1e4)]
#: What one section number is worth in µm.
ThicknessUm = Annotated[float, msgspec.Meta(gt=0, le=1e5)]
#: A number of an alignment: a factor, or a shift in µm or pixels.
MatrixNumber = Annotated[float, msgspec.Meta(ge=-1e9, le=1e9)]
#: A coordinate in pixels or µm.
Coordinate = MatrixNumber


def row_id(row: Any, name: str = "id") -> int | None:
    """Return an id of a row, None where there is none that could be one.

    Parameters
    ----------
    row : object
        What came as a row.
    name : str
        The field, such as ``data_set_id``.
    """
    if not isinstance(row, Mapping):
        return None
    try:
        return msgspec.convert(row.get(name), Id, strict=False)
    except msgspec.ValidationError:
        return None


def shown_value(value: Any) -> str:
    """Return a value that came from outside, escaped and short enough for a message."""
    return shown(reprlib.repr(value), _MAX_SHOWN)
