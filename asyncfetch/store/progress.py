"""How far a store is: what is committed of each view, counted from one object per data set where that is possible.

A store of 60 000 data sets is counted in seconds, because of most of them nothing is read but what counts. Data sets
that are being written, or whose metadata are damaged, are counted from their commits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from asyncfetch.layout.bounds import Id, Size  # noqa: TC001 - msgspec reads annotations
from asyncfetch.layout.paths import data_set_path
from asyncfetch.settings import Layer, View  # noqa: TC001 - msgspec reads annotations
from asyncfetch.store.damage import UNREADABLE, parse_counted
from asyncfetch.store.objects import metadata_key
from asyncfetch.store.records import read_record, read_sections, read_views
from asyncfetch.store.table import read_table

if TYPE_CHECKING:
    from asyncfetch.store.objects import Place

__all__ = ["ViewProgress", "read_progress"]


class ViewProgress(msgspec.Struct, frozen=True, kw_only=True):
    """What is committed of one view of a data set.

    Attributes
    ----------
    data_set_id, view : int, str
        Which.
    n_sections : int
        Sections that the data set is known to have; 0 where that is not known yet.
    n_committed : int
        Those that are committed.
    size_bytes : int
        Bytes of their JPEGs.
    layers : list of str
        What any of them has, sorted.
    """

    data_set_id: int
    view: str
    n_sections: int
    n_committed: int
    size_bytes: int
    layers: list[str]


class _Section(msgspec.Struct):
    size_bytes: Size
    layers: tuple[Layer, ...]


class _Entry(msgspec.Struct):
    section: _Section


class _Summary(msgspec.Struct):
    entries: list[_Entry]


class _Record(msgspec.Struct):
    id: Id


class _Content(msgspec.Struct):
    record: _Record
    n_sections: Size
    summary: dict[View, _Summary | None]


class _Attributes(msgspec.Struct):
    asyncfetch: _Content


class _Group(msgspec.Struct):
    node_type: str
    zarr_format: int
    attributes: _Attributes


_GROUPS = msgspec.json.Decoder(_Group)


def read_progress(place: Place, data_set_id: int) -> list[ViewProgress]:
    """Return what is committed of each view of a data set; nothing where its record cannot be read."""
    content = _counted(place, data_set_id)
    if content is None or None in content.summary.values():
        return _from_commits(place, data_set_id)
    return [
        ViewProgress(
            data_set_id=data_set_id,
            view=view,
            n_sections=content.n_sections,
            n_committed=len(summary.entries),
            size_bytes=sum(entry.section.size_bytes for entry in summary.entries),
            layers=sorted({layer for entry in summary.entries for layer in entry.section.layers}),
        )
        for view, summary in sorted(content.summary.items())
        if summary is not None
    ]


def _counted(place: Place, data_set_id: int) -> _Content | None:
    """Return what the group of a data set says of its commits; None where it does not say all."""
    try:
        data = place.get(metadata_key(data_set_path(data_set_id)))
        group = None if data is None else parse_counted(data, _GROUPS)
    except UNREADABLE:
        return None
    if group is None or (group.node_type, group.zarr_format) != ("group", 3):
        return None
    content = group.attributes.asyncfetch
    return content if content.record.id == data_set_id else None


def _from_commits(place: Place, data_set_id: int) -> list[ViewProgress]:
    if read_record(place, data_set_id) is None:
        return []
    n_sections = len(read_table(place, data_set_id).get("image_id", ()))
    found = []
    for view in read_views(place, data_set_id):
        sections = read_sections(place, data_set_id, view).values()
        progress = ViewProgress(
            data_set_id=data_set_id,
            view=view,
            n_sections=n_sections,
            n_committed=len(sections),
            size_bytes=sum(section.size_bytes for section in sections),
            layers=sorted({layer for section in sections for layer in section.layers}),
        )
        found.append(progress)
    return found
