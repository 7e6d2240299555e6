"""Data sets and their section images as the catalogue knows them: enough for an estimate, without alignments."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncfetch.allen import parse_data_set
from asyncfetch.catalogue.choosing import CatalogueChooser, data_set_condition
from asyncfetch.client.resolved import ResolvedDataSet, ResolvedSelection
from asyncfetch.errors import NotFoundError
from asyncfetch.failures import Failure
from asyncfetch.selecting import Filters, Selection
from asyncfetch.selecting.sql import sql_conditions

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from asyncfetch.catalogue.file import CatalogueFile
    from asyncfetch.client.resolved import Resolved

__all__ = ["known_data_sets"]

_SET: tuple[str, ...] = ("id", "name", "failed", "section_thickness", "reference_space_id", "specimen_id")
_IMAGE: tuple[str, ...] = (
    "id",
    "data_set_id",
    "section_number",
    "width",
    "height",
    "resolution",
    "tier_count",
    "failed",
)


def known_data_sets(
    file: CatalogueFile, selections: Iterable[Selection], filters: Filters | None = None
) -> Iterator[Resolved]:
    """Yield what selections name by the catalogue alone; what it does not know is a failure.

    Parameters
    ----------
    file : CatalogueFile
        An open catalogue.
    selections : iterable of Selection
        What is wanted; plates of atlases are not in a catalogue.
    filters : Filters, optional
        What narrows it.
    """
    filters = filters or Filters()
    chooser = CatalogueChooser(file)
    given: set[int] = set()
    for selection in selections:
        ids, name = _find(file, selection, filters)
        if not ids:
            nothing = NotFoundError(f"there is no data set of {selection} {chooser.place}")
            yield Failure.of(str(selection), nothing)
        for data_set_id in ids:
            if data_set_id not in given and (filters.limit is None or len(given) < filters.limit):
                given.add(data_set_id)
                yield _data_set(file, data_set_id, selection, filters)
        yield ResolvedSelection(selection=selection, name=name, data_set_ids=tuple(ids))


def _find(file: CatalogueFile, selection: Selection, filters: Filters) -> tuple[list[int], str]:
    """Return the data sets of a selection, and the name that it was taken for."""
    is_named = selection.kind in {"dataset", "image"}
    conditions, parameters = sql_conditions(filters, failed="with" if is_named else "without")

    def ids_of(one: Selection) -> list[int]:
        condition, value = data_set_condition(one)
        sql = f"SELECT id FROM data_sets WHERE {' AND '.join([condition, *conditions])} ORDER BY id"  # noqa: S608 - ours
        return [each for (each,) in file.rows(sql, [value, *parameters])]

    found = ids_of(selection)
    if found or not isinstance(selection.id, str):
        return found, str(selection.id)
    other = CatalogueChooser(file).spelled(selection.kind, selection.id).other
    return ([], selection.id) if other is None else (ids_of(Selection(selection.kind, other)), other)


def _data_set(
    file: CatalogueFile, data_set_id: int, selection: Selection, filters: Filters
) -> ResolvedDataSet:
    ((values),) = file.rows(f"SELECT {', '.join(_SET)} FROM data_sets WHERE id = ?", [data_set_id])  # noqa: S608 - ours
    images = file.rows(f"SELECT {', '.join(_IMAGE)} FROM images WHERE data_set_id = ?", [data_set_id])  # noqa: S608 - ours
    row = dict(zip(_SET, values, strict=True))
    data_set = parse_data_set(row, [dict(zip(_IMAGE, each, strict=True)) for each in images])
    narrowed = filters.sections_of(data_set.section_images)
    named = frozenset({int(selection.id)}) if selection.kind == "image" else None
    wanted = named if narrowed is None else narrowed if named is None else named & narrowed
    return ResolvedDataSet(data_set=data_set, image_ids=wanted, items=(f"dataset:{data_set_id}",))
