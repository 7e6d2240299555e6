"""What a store says about itself, read from group metadata alone: commits, registered grids, runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from asyncfetch.errors import StoreLayoutError
from asyncfetch.store.commit import Commit
from asyncfetch.store.layout import registered_path, section_path, sections_path
from asyncfetch.store.view import RegisteredLayout

if TYPE_CHECKING:
    from asyncfetch.store.place import Place

__all__ = ["read_commit", "read_commits", "read_registered_layout", "read_runs"]


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
