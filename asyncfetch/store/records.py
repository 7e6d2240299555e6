"""What a store says about itself, read from group metadata alone: commits, registered grids, runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from asyncfetch.errors import StoreLayoutError
from asyncfetch.store.commit import Commit
from asyncfetch.store.layout import (
    SPACE_TRANSFORMS_PATH,
    atlas_path,
    registered_path,
    section_path,
    sections_path,
    structure_centers_path,
)
from asyncfetch.store.view import RegisteredLayout

if TYPE_CHECKING:
    from asyncfetch.store.place import Place

__all__ = [
    "AtlasRecord",
    "read_atlases",
    "read_commit",
    "read_commits",
    "read_registered_layout",
    "read_runs",
    "read_space_transforms",
    "read_structure_centers",
]

type Row = dict[str, Any]


class AtlasRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Hold an atlas whose plates are stored.

    Attributes
    ----------
    record : dict
        The API's row, verbatim.
    data_set_ids : tuple of int
        The data sets of its plates.
    """

    record: Row
    data_set_ids: tuple[int, ...]


class _Rows(msgspec.Struct):
    rows: list[Row]


def read_commit(place: Place, data_set_id: int, view: str, image_id: int) -> Commit | None:
    """Return the commit of one section, None where there is none.

    Raises
    ------
    StoreLayoutError
        The section's group holds a commit that is not of this layout version.
    """
    path = section_path(data_set_id, view, image_id)
    attributes = place.attributes(path)
    if attributes is None or "asyncfetch" not in attributes:
        return None
    return Commit.from_attributes(attributes["asyncfetch"], location=f"{place.name}/{path}")


def read_commits(place: Place, data_set_id: int, view: str) -> dict[int, Commit]:
    """Return the commits of a view by image id, in order of section number and id."""
    path = sections_path(data_set_id, view)
    names = (name for name in place.names_below(path) if name.isdecimal())
    found = (read_commit(place, data_set_id, view, int(name)) for name in names)
    commits = [commit for commit in found if commit is not None]
    commits.sort(
        key=lambda commit: (commit.section_number is None, commit.section_number or 0, commit.image_id)
    )
    return {commit.image_id: commit for commit in commits}


def read_registered_layout(place: Place, data_set_id: int, view: str) -> RegisteredLayout | None:
    """Return how a view is registered in the store, or None if it is not.

    Raises
    ------
    StoreLayoutError
        The registered group's attributes are not of this layout version.
    """
    path = registered_path(data_set_id, view)
    attributes = place.attributes(path)
    if attributes is None:
        return None
    try:
        return msgspec.convert(attributes.get("asyncfetch"), RegisteredLayout)
    except msgspec.ValidationError as error:
        raise StoreLayoutError(
            f"{place.name}/{path} is no registered image of this layout version ({error})",
            location=place.name,
        ) from error


def read_runs(place: Place) -> list[dict[str, Any]]:
    """Return what unfinished runs were asked for, the newest at the end."""
    attributes = place.attributes("") or {}
    return list(attributes.get("asyncfetch", {}).get("runs", []))


def read_structure_centers(place: Place) -> dict[int, list[Row]]:
    """Return the stored rows of StructureCenter by reference space; a space without centres has an empty list.

    Raises
    ------
    StoreLayoutError
        A group of the catalogue is not of this layout version; so for the two functions below.
    """
    found: dict[int, list[Row]] = {}
    for space in _numbers_below(place, structure_centers_path()):
        rows = _read(place, structure_centers_path(space), _Rows)
        if rows is not None:
            found[space] = rows.rows
    return found


def read_space_transforms(place: Place) -> list[Row] | None:
    """Return the stored rows of ReferenceToReferenceTransform, None where the store has not asked for them."""
    rows = _read(place, SPACE_TRANSFORMS_PATH, _Rows)
    return None if rows is None else rows.rows


def read_atlases(place: Place) -> dict[int, AtlasRecord]:
    """Return the atlases whose plates were mirrored, by id."""
    found = {
        atlas_id: _read(place, atlas_path(atlas_id), AtlasRecord)
        for atlas_id in _numbers_below(place, atlas_path())
    }
    return {atlas_id: record for atlas_id, record in found.items() if record is not None}


def _numbers_below(place: Place, path: str) -> list[int]:
    return sorted(int(name) for name in place.names_below(path) if name.isdecimal())


def _read[T](place: Place, path: str, wanted: type[T]) -> T | None:
    attributes = place.attributes(path)
    if attributes is None:
        return None
    try:
        return msgspec.convert(attributes.get("asyncfetch"), wanted)
    except msgspec.ValidationError as error:
        raise StoreLayoutError(
            f"{place.name}/{path} is no part of a catalogue of this layout version ({error})",
            location=place.name,
        ) from error
