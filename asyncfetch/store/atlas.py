"""The catalogue of a store: what the six services can be computed from, of every data set that it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncfetch.allen import parse_data_set
from asyncfetch.atlas import Catalogue, DataSetColumns, SectionColumns

if TYPE_CHECKING:
    from collections.abc import Iterable

    from asyncfetch.store.reader import StoredDataSet

__all__ = ["read_catalogue"]


def read_catalogue(data_sets: Iterable[StoredDataSet]) -> Catalogue:
    """Return the sections and alignments of data sets as a catalogue.

    A data set that was not completed has no table yet; then its committed sections are all that is known of it.
    A store holds no structure centres: give them to the catalogue for structure_to_image.
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
    return Catalogue.from_columns(DataSetColumns.of(records), columns)
