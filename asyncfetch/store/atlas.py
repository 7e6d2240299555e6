"""The catalogue of a store: what the six services can be computed from, of every data set that it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncfetch.allen import parse_data_set
from asyncfetch.atlas import (
    ATLAS_DATA_SETS,
    SPACE_TRANSFORMS,
    Catalogue,
    DataSetColumns,
    SectionColumns,
    StructureCenters,
    space_transforms_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from asyncfetch.layout.atlas import AtlasRecord
    from asyncfetch.store.reader import StoredDataSet

__all__ = ["read_catalogue"]


def read_catalogue(
    data_sets: Iterable[StoredDataSet],
    *,
    structure_centers: Iterable[Mapping[str, Any]] = (),
    atlases: Mapping[int, AtlasRecord] | None = None,
    space_transforms: Iterable[Mapping[str, Any]] = (),
) -> Catalogue:
    """Return the sections and alignments of data sets as a catalogue.

    A data set that was not completed has no table yet; then its committed sections are all that is known of it.
    What is known of atlases and of transforms between spaces without asking is there in any case. Of an atlas with
    several data sets the first counts.
    """
    records, columns = [], []
    for data_set in data_sets:
        records.append(parse_data_set(data_set.record))
        table = data_set.table
        if table:
            columns.append(SectionColumns.of_table(data_set.id, table))
        else:
            rows = [commit.record for view in data_set.views for commit in data_set.in_view(view).sections]
            columns.append(
                SectionColumns.of(data_set.id, parse_data_set(data_set.record, rows).section_images)
            )
    plates = {
        atlas_id: each.data_set_ids[0] for atlas_id, each in (atlases or {}).items() if each.data_set_ids
    }
    return Catalogue.from_columns(
        DataSetColumns.of(records),
        columns,
        structure_centers=StructureCenters.of(structure_centers, odd="left out"),
        atlas_data_sets={**ATLAS_DATA_SETS, **plates},
        space_transforms={**SPACE_TRANSFORMS, **space_transforms_of(space_transforms)},
    )
