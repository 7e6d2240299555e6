"""What the API says now of the sections of a data set, against what a stored table says that it said. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from asyncfetch.layout.table import Column

__all__ = ["UpstreamChanges", "compare_tables", "with_rows_of"]

#: Columns on which the pixels of an image depend: another box, scan or scale is another image.
_OF_PIXELS = ("width", "height", "x", "y", "image_width", "image_height", "resolution", "tier_count")
#: Columns on which the place of a section depends.
_OF_PLACE = ("section_number", "tsv", "tvs", "image_to_reference", "plane")
#: Columns that are known of a section and change nothing that is made of it.
_OF_FACTS = ("failed", "annotated", "image_type")
#: The API prints six digits; two ways to read them agree to more than these.
_RELATIVE = 1e-9


class UpstreamChanges(msgspec.Struct, frozen=True, kw_only=True):
    """The sections of one data set that are no longer as they were when their table was written.

    Attributes
    ----------
    new, removed : tuple of int
        Ids of images that the table does not have, and of those that the API no longer has.
    pixels : tuple of int
        Those that are another image now: of another size, box or resolution.
    place : tuple of int
        Those that lie elsewhere: of another number or alignment.
    facts : tuple of int
        Those of which something else is said, such as that they failed.
    """

    new: tuple[int, ...] = ()
    removed: tuple[int, ...] = ()
    pixels: tuple[int, ...] = ()
    place: tuple[int, ...] = ()
    facts: tuple[int, ...] = ()

    @property
    def changed(self) -> tuple[int, ...]:
        """The sections that are stored and are no longer as they were stored."""
        return (*self.pixels, *self.place, *self.facts)


def compare_tables(stored: Mapping[str, Column], now: Mapping[str, Column]) -> UpstreamChanges:
    """Compare the columns of a stored table with those of today's sections.

    Parameters
    ----------
    stored, now : mapping of str to array
        As `asyncfetch.layout.table.table_columns` gives them; an empty `stored` knows no section.

    Returns
    -------
    UpstreamChanges
        Each section counts once, by what matters most.
    """
    ids = now["image_id"].tolist()
    before = {image_id: row for row, image_id in enumerate(stored["image_id"].tolist())} if stored else {}
    found: dict[str, list[int]] = {"new": [], "pixels": [], "place": [], "facts": []}
    for row, image_id in enumerate(ids):
        if image_id not in before:
            found["new"].append(image_id)
            continue
        for kind, names in (("pixels", _OF_PIXELS), ("place", _OF_PLACE), ("facts", _OF_FACTS)):
            if any(_differ(stored[name][before[image_id]], now[name][row]) for name in names):
                found[kind].append(image_id)
                break
    removed = tuple(image_id for image_id in before if image_id not in set(ids))
    return UpstreamChanges(removed=removed, **{kind: tuple(each) for kind, each in found.items()})


def with_rows_of(
    stored: Mapping[str, Column], now: Mapping[str, Column], image_ids: Iterable[int]
) -> dict[str, Column]:
    """Return today's columns, with the rows of some images as they are stored."""
    before = {image_id: row for row, image_id in enumerate(stored["image_id"].tolist())}
    rows = {image_id: row for row, image_id in enumerate(now["image_id"].tolist())}
    mixed = {name: values.copy() for name, values in now.items()}
    for image_id in image_ids:
        for name, values in mixed.items():
            values[rows[image_id]] = stored[name][before[image_id]]
    return mixed


def _differ(one: Column, other: Column) -> bool:
    if np.asarray(one).dtype.kind == "f":
        return not np.allclose(one, other, rtol=_RELATIVE, atol=0, equal_nan=True)
    return bool(one != other)
