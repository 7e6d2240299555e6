"""What a store says about itself, read from group metadata alone: commits, registered grids, rows.

What cannot be read, or belongs to another path than it lies at, counts as missing; the place remembers it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import msgspec

from asyncfetch.allen import parse_data_set, parse_section_image, row_id
from asyncfetch.errors import AsyncFetchError, StoreItemError
from asyncfetch.layout.atlas import AtlasRecord
from asyncfetch.layout.bounds import Id  # noqa: TC001 - msgspec reads annotations
from asyncfetch.layout.commit import Commit
from asyncfetch.layout.paths import (
    SPACE_TRANSFORMS_PATH,
    atlas_path,
    data_set_path,
    registered_path,
    section_path,
    sections_path,
    structure_centers_path,
)
from asyncfetch.layout.recipe import MadeByRecipe
from asyncfetch.layout.registered import RegisteredLayout
from asyncfetch.layout.summary import ViewSummary
from asyncfetch.settings import View
from asyncfetch.store.objects import metadata_key

if TYPE_CHECKING:
    from collections.abc import Iterable

    from asyncfetch.layout.commit import SectionSummary
    from asyncfetch.layout.summary import StoredCommit
    from asyncfetch.store.objects import Place

__all__ = [
    "check_commit",
    "check_content",
    "check_record",
    "ordered",
    "read_atlases",
    "read_commit",
    "read_commits",
    "read_content",
    "read_record",
    "read_registered_layout",
    "read_sections",
    "read_space_transforms",
    "read_structure_centers",
    "read_summary",
    "read_views",
    "summarize",
]

type Row = dict[str, Any]

_VIEWS = frozenset(get_args(View))

#: Grid points along an axis of a registered image: half a mouse brain at 10 nm.
_MAX_GRID_SIDE = 10**6


class _Identified(msgspec.Struct):
    id: Id


class _Rows(msgspec.Struct):
    rows: list[Row]

    def __post_init__(self) -> None:
        # everybody finds rows by their ids
        msgspec.convert(self.rows, list[_Identified])


class _Record(msgspec.Struct):
    record: Row


def read_commit(place: Place, data_set_id: int, view: str, image_id: int) -> Commit | None:
    """Return the commit of one section, None where there is none that can be read."""
    path = section_path(data_set_id, view, image_id)
    commit = read_content(place, path, Commit)
    if commit is None:
        return None
    problem = _problem_of(commit, data_set_id, view, image_id)
    if problem is not None:
        place.damage.add(metadata_key(path), problem)
        return None
    return commit


def check_commit(commit: Commit) -> None:
    """Make sure that a commit can be read back once it is written.

    Raises
    ------
    StoreItemError
        It holds a number that JSON has not, or one that no section has.
    """
    path = section_path(commit.data_set_id, commit.view, commit.image_id)
    written = msgspec.json.decode(msgspec.json.encode(commit.to_attributes()))
    read_back = Commit.from_attributes(written, location=path)
    problem = _problem_of(read_back, commit.data_set_id, commit.view, commit.image_id)
    if problem is not None:
        raise StoreItemError(
            f"image {commit.image_id} cannot be stored: its commit {problem}; report this record",
            location=path,
        )


def _problem_of(commit: Commit, data_set_id: int, view: str, image_id: int) -> str | None:
    """Return what is wrong with a commit that has the right types, as a phrase that follows its name."""
    # a record is kept as it came, and its id may have come as text or as 123.0
    named = (commit.data_set_id, commit.view, commit.image_id, row_id(commit.record))
    if named != (data_set_id, view, image_id, image_id):
        return "names another section than its path"
    try:
        # a row that does not name its data set is read as one of that which it came for
        of_set = {"data_set_id": data_set_id} if commit.record.get("data_set_id") is None else {}
        parse_section_image(commit.record | of_set)
    except AsyncFetchError as error:
        return f"cannot be read ({error.message})"
    return None


def read_views(place: Place, data_set_id: int) -> tuple[str, ...]:
    """Return the views of a data set that are stored, sorted."""
    path = data_set_path(data_set_id)
    return tuple(
        name
        for name in place.names_below(path)
        if name in _VIEWS
        # a view whose own group is damaged still has its sections
        and (
            place.attributes(f"{path}/{name}") is not None
            or place.names_below(sections_path(data_set_id, name))
        )
    )


def read_commits(place: Place, data_set_id: int, view: str) -> dict[int, Commit]:
    """Return the commits of a view by image id, in order of section number and id."""
    path = sections_path(data_set_id, view)
    names = (name for name in place.names_below(path) if name.isdecimal())
    found = place.map(lambda name: read_commit(place, data_set_id, view, int(name)), names)
    commits = [commit for commit in found if commit is not None]
    commits.sort(
        key=lambda commit: (commit.section_number is None, commit.section_number or 0, commit.image_id)
    )
    return {commit.image_id: commit for commit in commits}


def ordered(content: Row) -> Row:
    """Return what a data set says of itself in the one order of its names, whoever wrote which of them when."""
    last = ("n_sections", "summary")
    return {name: value for name, value in content.items() if name not in last} | {
        name: content[name] for name in last if name in content
    }


def read_summary(place: Place, data_set_id: int, view: str) -> dict[int, StoredCommit] | None:
    """Return the commits of a view as the summary of its data set has them; None where there is none."""
    path = data_set_path(data_set_id)
    summaries = place.ours(path).get("summary")
    found = summaries.get(view) if isinstance(summaries, dict) else None
    if found is None:
        return None
    try:
        return msgspec.convert(found, ViewSummary).sections(data_set_id, view)
    except (msgspec.ValidationError, IndexError) as error:
        place.damage.add(metadata_key(path), f"has a summary that cannot be read ({error})")
        return None


def summarize(place: Place, commits: Iterable[Commit]) -> ViewSummary | None:
    """Return the summary of the commits of a view as they stand in a store; None where one of them is gone."""
    told: list[tuple[Commit, int]] = []
    sizes: dict[str, int] | None = None
    for commit in commits:
        if not told:
            sizes = place.sizes_below(sections_path(commit.data_set_id, commit.view))
        key = metadata_key(section_path(commit.data_set_id, commit.view, commit.image_id))
        size = _size(place, key) if sizes is None else sizes.get(key)
        if size is None:
            return None
        told.append((commit, size))
    return ViewSummary.of(told)


def _size(place: Place, key: str) -> int | None:
    end = place.tail(key, 0)
    return None if end is None else end[0]


def read_sections(place: Place, data_set_id: int, view: str) -> dict[int, SectionSummary]:
    """Return what is stored of a view by image id: from the summary where there is one, else from the commits."""
    summary = read_summary(place, data_set_id, view)
    if summary is None:
        return dict(read_commits(place, data_set_id, view))
    return {image_id: stored.section for image_id, stored in summary.items()}


def read_registered_layout(place: Place, data_set_id: int, view: str) -> RegisteredLayout | None:
    """Return how a view is registered in the store, or None if it is not."""
    path = registered_path(data_set_id, view)
    layout = read_content(place, path, RegisteredLayout)
    if layout is not None and not _is_sound(layout):
        place.damage.add(metadata_key(path), "describes an image that cannot be")
        return None
    return layout


def _is_sound(layout: RegisteredLayout) -> bool:
    are_in_order = all(slot.z == z for z, slot in enumerate(layout.slots))
    return are_in_order and max(layout.grid.box_um) / layout.grid.um <= _MAX_GRID_SIDE


def read_record(place: Place, data_set_id: int) -> Row | None:
    """Return the API's row of a data set, None where the store does not hold it."""
    path = data_set_path(data_set_id)
    content = read_content(place, path, _Record)
    if content is None:
        return None
    try:
        parsed = parse_data_set(content.record)
    except AsyncFetchError as error:
        place.damage.add(metadata_key(path), f"cannot be read ({error.message})")
        return None
    if parsed.id != data_set_id:
        place.damage.add(metadata_key(path), "names another data set than its path")
        return None
    return content.record


def read_structure_centers(place: Place) -> dict[int, list[Row]]:
    """Return the stored rows of StructureCenter by reference space; a space without centres has an empty list."""
    found: dict[int, list[Row]] = {}
    for space in _numbers_below(place, structure_centers_path()):
        rows = read_content(place, structure_centers_path(space), _Rows)
        if rows is not None:
            found[space] = rows.rows
    return found


def read_space_transforms(place: Place) -> list[Row] | None:
    """Return the stored rows of ReferenceToReferenceTransform, None where the store has not asked for them."""
    rows = read_content(place, SPACE_TRANSFORMS_PATH, _Rows)
    return None if rows is None else rows.rows


def read_atlases(place: Place) -> dict[int, AtlasRecord]:
    """Return the atlases whose plates were mirrored, by id."""
    found = {
        atlas_id: read_content(place, atlas_path(atlas_id), AtlasRecord)
        for atlas_id in _numbers_below(place, atlas_path())
    }
    return {atlas_id: record for atlas_id, record in found.items() if record is not None}


def _numbers_below(place: Place, path: str) -> list[int]:
    return sorted(int(name) for name in place.names_below(path) if name.isdecimal())


def check_record(data_set_id: int, record: Row) -> None:
    """Make sure that the API's row of a data set can be read back once it is written.

    Raises
    ------
    StoreItemError
        It cannot.
    """
    path = data_set_path(data_set_id)
    check_content(path, {"record": record}, _Record)
    try:
        parse_data_set(msgspec.json.decode(msgspec.json.encode(record)))
    except AsyncFetchError as error:
        raise StoreItemError(
            f"data set {data_set_id} is not stored because its record could not be read back ({error.message})",
            location=path,
        ) from error


def check_content(path: str, content: Any, wanted: type[Any]) -> None:
    """Make sure that ``attributes.asyncfetch`` of a group can be read back as a type once it is written.

    Raises
    ------
    StoreItemError
        It cannot.
    """
    try:
        msgspec.json.decode(msgspec.json.encode(content), type=wanted)
    except msgspec.ValidationError as error:
        raise StoreItemError(
            f"{path} is not written because it could not be read back ({error})", location=path
        ) from error


def read_content[T](place: Place, path: str, wanted: type[T]) -> T | None:
    """Return ``attributes.asyncfetch`` of a group as a type; None where there is none that can be read."""
    attributes = place.attributes(path)
    if attributes is None:
        return None
    if "asyncfetch" not in attributes:
        place.damage.add(metadata_key(path), "does not hold what asyncfetch writes there")
        return None
    try:
        content = attributes["asyncfetch"]
        if isinstance(wanted, type) and issubclass(wanted, MadeByRecipe):
            return wanted.parsed(content)
        return msgspec.convert(content, wanted)
    except msgspec.ValidationError as error:
        place.damage.add(metadata_key(path), f"cannot be read ({error})")
        return None


# Before there are threads: msgspec ends the process where two of them meet a type for the first time.
_MET = [
    msgspec.json.Decoder(each)
    for each in (AtlasRecord, Commit, RegisteredLayout, _Identified, _Record, _Rows)
]
