"""The catalogue of a store: what the six services can be computed from, of every data set that it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncfetch.allen import parse_data_set, row_id
from asyncfetch.atlas import (
    ATLAS_DATA_SETS,
    SPACE_TRANSFORMS,
    Catalogue,
    DataSetColumns,
    SectionColumns,
    StructureCenters,
    space_transforms_of,
)
from asyncfetch.layout.paths import SPACE_TRANSFORMS_PATH, atlas_path, structure_centers_path
from asyncfetch.store.records import (
    read_atlases,
    read_commits,
    read_record,
    read_space_transforms,
    read_structure_centers,
    read_views,
)
from asyncfetch.store.table import read_table

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from asyncfetch.store.objects import Place

__all__ = ["catalogue_paths", "read_catalogue", "read_center_rows"]


def read_catalogue(place: Place, data_set_ids: Iterable[int]) -> Catalogue:
    """Return the sections and alignments of stored data sets as a catalogue.

    A data set that was not completed has no table yet; then its committed sections are all that is known of it.
    What is known of atlases and of transforms between spaces without asking is there in any case. Of an atlas with
    several data sets the first counts.
    """
    records, columns = [], []
    for data_set_id in data_set_ids:
        record = read_record(place, data_set_id)
        if record is None:
            continue
        records.append(parse_data_set(record))
        columns.append(_sections(place, data_set_id, record))
    plates = {
        atlas_id: each.data_set_ids[0] for atlas_id, each in read_atlases(place).items() if each.data_set_ids
    }
    return Catalogue.from_columns(
        DataSetColumns.of(records),
        columns,
        structure_centers=StructureCenters.of(read_center_rows(place), odd="left out"),
        atlas_data_sets={**ATLAS_DATA_SETS, **plates},
        space_transforms={**SPACE_TRANSFORMS, **space_transforms_of(read_space_transforms(place) or ())},
    )


def read_center_rows(place: Place) -> list[dict[str, Any]]:
    """Return the centres of structures as the API's rows, of all reference spaces, by id."""
    rows = [row for rows in read_structure_centers(place).values() for row in rows]
    return sorted(rows, key=lambda row: row_id(row) or 0)


def catalogue_paths(place: Place, data_set_ids: Iterable[int]) -> list[str]:
    """Return the groups of rows that a catalogue has, and those that it has to have for data sets."""
    paths = [
        f"{path}/{name}"
        for path in (structure_centers_path(), atlas_path())
        for name in place.names_below(path)
        if name.isdecimal()
    ]
    records = [read_record(place, each) for each in data_set_ids]
    known = {parse_data_set(record).reference_space_id for record in records if record is not None}
    spaces = sorted(space for space in known if space)
    if spaces:
        paths += [*map(structure_centers_path, spaces), SPACE_TRANSFORMS_PATH]
    return list(dict.fromkeys(paths))


def _sections(place: Place, data_set_id: int, record: dict[str, Any]) -> SectionColumns:
    table = read_table(place, data_set_id)
    if table:
        return SectionColumns.of_table(data_set_id, table)
    rows = [
        commit.record
        for view in read_views(place, data_set_id)
        for commit in read_commits(place, data_set_id, view).values()
    ]
    return SectionColumns.of(data_set_id, parse_data_set(record, rows).section_images)
