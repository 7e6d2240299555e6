"""Reading of a store: what is committed; everything else in it counts as absent."""

from __future__ import annotations

import itertools
from functools import partial
from typing import TYPE_CHECKING, Any, cast, get_args

import numpy as np
import zarr

from asyncfetch.allen import parse_data_set
from asyncfetch.atlas import Atlas
from asyncfetch.deprecation import OldAttribute
from asyncfetch.errors import ImageError, SelectionError, StoreError, StoreItemError
from asyncfetch.imaging.jet import put_levels
from asyncfetch.imaging.jpeg import decode, read_header
from asyncfetch.imaging.pyramid import halve
from asyncfetch.layout.paths import (
    atlas_path,
    data_set_path,
    level_shapes,
    packed_key,
    planes_path,
    registered_path,
    section_path,
    sections_path,
    selection_path,
    source_key,
    structure_centers_path,
    table_path,
    volume_path,
)
from asyncfetch.layout.table import section_rows
from asyncfetch.settings import View
from asyncfetch.store.arrays import open_array
from asyncfetch.store.blocks import BlockArray
from asyncfetch.store.catalogue import catalogue_paths, read_catalogue, read_center_rows
from asyncfetch.store.checking import (
    Problem,
    decoding_problems,
    group_problem,
    level_problem,
    plane_problem,
    section_problems,
    summary_is_stale,
    unvouched_problems,
    volume_problems,
)
from asyncfetch.store.differences import PLAIN_GROUP, difference
from asyncfetch.store.expected import Expected
from asyncfetch.store.lock import read_figures, read_holder
from asyncfetch.store.objects import Location, Place, metadata_key
from asyncfetch.store.packed import packed_id_of
from asyncfetch.store.packing import archive_problem, is_packed, lies_beside
from asyncfetch.store.progress import ViewProgress, read_progress
from asyncfetch.store.records import (
    read_atlases,
    read_commit,
    read_commits,
    read_record,
    read_registered_layout,
    read_sections,
    read_space_transforms,
    read_views,
)
from asyncfetch.store.root import check_root
from asyncfetch.store.runs import read_runs
from asyncfetch.store.table import read_table, table_problem
from asyncfetch.store.volume import read_volume_layout

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from numpy.typing import NDArray

    from asyncfetch.allen import SectionDataSet
    from asyncfetch.geometry import SectionGeometry
    from asyncfetch.layout.atlas import AtlasRecord
    from asyncfetch.layout.commit import Commit, SectionSummary
    from asyncfetch.layout.live import LiveFigures
    from asyncfetch.layout.registered import RegisteredLayout
    from asyncfetch.layout.table import Column
    from asyncfetch.layout.volume import VolumeLayout
    from asyncfetch.store.holder import Holder

__all__ = ["Store", "StoredDataSet", "StoredSection", "open"]

_VIEWS = frozenset(get_args(View))
#: Data sets that are counted before any of them is told.
_AT_ONCE = 1000


def open(location: Location) -> Store:  # noqa: A001 - the public name is asyncfetch.open, as zarr.open is
    """Open a store for reading.

    Parameters
    ----------
    location : str, Path or zarr Store
        Where it lies.

    Raises
    ------
    StoreLayoutError
        It is not an asyncfetch store, or one of another layout version.
    StoreAccessError
        There is nothing, or it cannot be read.
    """
    place = Place(location, read_only=True)
    check_root(place, create=False)
    return Store(place)


class Store:
    """One store, open for reading; made by `open`."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._sound_ids: set[int] = set()
        self._atlas: Atlas | None = None

    def __repr__(self) -> str:
        return f"Store({self.location!r})"

    @property
    def location(self) -> str:
        """The directory, or the name of the Zarr store."""
        return self._place.name

    @property
    def damage(self) -> list[str]:
        """One sentence for each object that was met so far, cannot be read, and therefore counts as missing."""
        return self._place.damage.sentences

    @property
    def damaged(self) -> dict[str, str]:
        """The same by the key of each object: a phrase that follows it."""
        return self._place.damage.found

    def open_group(self) -> zarr.Group:
        """Return the root group, as Zarr sees it."""
        return zarr.open_group(self._place.store, mode="r", zarr_format=3, use_consolidated=False)

    def read_data_set_ids(self) -> tuple[int, ...]:
        """Return the ids of the data sets in the store, sorted; those whose record cannot be read are left out."""
        ids = self.list_data_set_ids()
        unknown = [each for each in ids if each not in self._sound_ids]
        records = self._place.map(partial(read_record, self._place), unknown)
        self._sound_ids |= {each for each, record in zip(unknown, records, strict=True) if record is not None}
        return tuple(each for each in ids if each in self._sound_ids)

    def read_progress(self) -> Iterator[ViewProgress]:
        """Yield what is committed of each view of each data set, by id, as it is counted."""
        for data_set_ids in itertools.batched(self.list_data_set_ids(), _AT_ONCE):
            for found in self._place.map(partial(read_progress, self._place), data_set_ids):
                yield from found

    def list_data_set_ids(self) -> tuple[int, ...]:
        """Return the ids of all data sets of which there is anything, sorted."""
        names = self._place.names_below("data_sets")
        # a directory shows those that it reads as the folders that they were
        for data_set_id in filter(None, map(packed_id_of, names)):
            words = "is a packed data set, which is read in directories only,"
            self._place.damage.add(packed_key(data_set_id), words)
        return tuple(sorted(int(name) for name in names if name.isdecimal()))

    def read_atlas(self) -> Atlas:
        """Return the six synchronization services over all data sets, as they are stored when this is first called.

        ``Atlas(store.read_atlas().catalogue, …)`` is one with other choices.
        """
        if self._atlas is None:
            self._atlas = Atlas(read_catalogue(self._place, self.read_data_set_ids()))
        return self._atlas

    def read_structure_centers(self) -> list[dict[str, Any]]:
        """Return the centres of structures as the API's rows, in the reference spaces of the stored data sets."""
        return read_center_rows(self._place)

    def read_space_transforms(self) -> list[dict[str, Any]] | None:
        """Return the transforms between reference spaces as the API's rows, None where no run has stored them."""
        return read_space_transforms(self._place)

    def read_atlases(self) -> dict[int, AtlasRecord]:
        """Return the atlases that were selected, by id: their rows, and the data sets that hold their plates."""
        return read_atlases(self._place)

    def read_selections(self) -> dict[str, dict[str, Any]]:
        """Return what selections were resolved to, by the names under which that is stored."""
        names = self._place.names_below(selection_path())
        found = {name: self._place.ours(selection_path(name)) for name in names if name.isalnum()}
        return {name: content for name, content in sorted(found.items()) if content}

    def read_writer(self) -> tuple[Holder | None, bool | None]:
        """Return the run that writes to the store now, and whether it is alive.

        Whether it is alive is None where that cannot be told from here, and (None, False) means that nobody
        writes; a run that was killed is there until the next one begins.
        """
        return read_holder(self._place)

    def read_figures(self) -> LiveFigures | None:
        """Return how far the run is that writes to the store, as it has said in the last seconds.

        None where nobody writes, or where the run does not say. What a killed run said last is there until the next
        one ends; `read_writer` tells whether it is alive.
        """
        return read_figures(self._place, read_holder(self._place)[0])

    def own_problems(self) -> list[tuple[str, str]]:
        """Return what is wrong with the root and the catalogue: paths, and phrases that follow them."""
        paths = ["", *catalogue_paths(self._place, self.read_data_set_ids())]
        problems = [(metadata_key(path), group_problem(self._place, path)) for path in paths]
        return [(path, words) for path, words in problems if words is not None]

    def expected(self) -> Iterator[tuple[str, bytes]]:
        """Yield what the groups that say nothing are to be, by key."""
        for path in ("data_sets", "catalogue", structure_centers_path(), atlas_path(), selection_path()):
            if self._place.names_below(path):
                yield metadata_key(path), PLAIN_GROUP

    def derived_problems(self) -> list[tuple[str, str]]:
        """Return what is wrong with the groups that say nothing: paths, and phrases that follow them."""
        found = [(key, difference(self._place, key, data)) for key, data in self.expected()]
        return [(key, words) for key, words in found if words is not None]

    def archive_problem(
        self, data_set_id: int, *, full: bool = False, may_lie_beside: bool = False
    ) -> tuple[str, str] | None:
        """Return what is wrong with the zip of a packed data set: its key, and a phrase that follows it.

        Parameters
        ----------
        data_set_id : int
            The data set; nothing is wrong with the zip of one that has none.
        full : bool
            Compare the CRC-32 of every file, not only what leads to the files.
        may_lie_beside : bool
            Whether the folder of the data set may be there, too.
        """
        if is_packed(self._place, data_set_id):
            words = archive_problem(self._place, data_set_id, full=full)
        elif may_lie_beside or not lies_beside(self._place, data_set_id):
            return None
        else:
            words = "lies beside the folder of the same data set"
        return None if words is None else (packed_key(data_set_id), words)

    def lost_records(self) -> list[tuple[str, str]]:
        """Return the data sets whose record is missing or cannot be read: paths, and phrases that follow them."""
        names = [name for name in self._place.names_below("data_sets") if name.isdecimal()]
        paths = [data_set_path(int(name)) for name in names if read_record(self._place, int(name)) is None]
        found = self._place.damage.found
        return [(metadata_key(path), found.get(metadata_key(path), "is missing")) for path in paths]

    def leftovers(self, path: str = "", *, deep: bool = True) -> list[str]:
        """Return the temporary files that killed runs left below a path, however deep or just there."""
        return self._place.leftovers(path, deep=deep)

    def read_runs(self) -> list[dict[str, Any]]:
        """Return what the runs that did not come to their end were asked for, the newest at the end."""
        return read_runs(self._place)

    data_set_ids = OldAttribute(read_data_set_ids)
    atlas = OldAttribute(read_atlas)
    structure_centers = OldAttribute(read_structure_centers)
    space_transforms = OldAttribute(read_space_transforms)
    atlases = OldAttribute(read_atlases)
    writer = OldAttribute(read_writer)
    runs = OldAttribute(read_runs)
    group = OldAttribute(open_group)

    def commits(self, data_set_id: int, view: str) -> dict[int, Commit]:
        """Return the commits of a view by image id, also where the record of its data set is lost."""
        return read_commits(self._place, data_set_id, view)

    def sections(self, data_set_id: int, view: str) -> dict[int, SectionSummary]:
        """Return what is stored of a view by image id: from its summary if there is one, else from its commits."""
        return read_sections(self._place, data_set_id, view)

    def commit(self, data_set_id: int, view: str, image_id: int) -> Commit | None:
        """Return the commit of one section, None where there is none that can be read."""
        return read_commit(self._place, data_set_id, view, image_id)

    def data_set(self, data_set_id: int, view: str = "image") -> StoredDataSet:
        """Return one data set, seen in one of its views.

        Raises
        ------
        SelectionError
            The store does not hold it.
        """
        record = read_record(self._place, data_set_id)
        if record is None:
            key = metadata_key(data_set_path(data_set_id))
            problem = self._place.damage.found.get(key)
            if problem is None:
                advice = "read_data_set_ids() lists those it holds"
            else:
                advice = (
                    f"{key} {problem}; restore it with: "
                    f"asyncfetch mirror dataset:{data_set_id} --out {self.location}"
                )
            raise SelectionError(f"{self.location} holds no data set {data_set_id}; {advice}")
        return StoredDataSet(self._place, data_set_id, record, view)


class StoredDataSet:
    """One view of a data set of a store; made by `Store.data_set`.

    Attributes
    ----------
    id : int
        The data set.
    view : str
        The view whose sections and registered planes are read; ``image`` unless another was named.
    record : dict
        The API's row, verbatim.
    """

    def __init__(self, place: Place, data_set_id: int, record: dict[str, Any], view: str) -> None:
        self._place = place
        self.id = data_set_id
        self.record = record
        self.view = view

    def __repr__(self) -> str:
        return f"StoredDataSet({self.id}, {self.view!r}, {self._place.name!r})"

    def read_views(self) -> tuple[str, ...]:
        """Return the views that are stored, sorted."""
        return read_views(self._place, self.id)

    def in_view(self, view: str) -> StoredDataSet:
        """Return the same data set, seen in another view."""
        return StoredDataSet(self._place, self.id, self.record, view)

    def read_table(self) -> dict[str, Column]:
        """Return the columns of all sections of the set, by name; empty until the data set was completed.

        See `asyncfetch.layout.table.table_columns` for what they are.
        """
        return read_table(self._place, self.id)

    def read_commits(self) -> list[Commit]:
        """Return the commits of the view, in order of section number and id."""
        return list(read_commits(self._place, self.id, self.view).values())

    def read_section_data_set(self) -> SectionDataSet:
        """Return the record with all its sections: of those that are not committed what the table tells."""
        rows = {commit.image_id: commit.record for commit in self.read_commits()}
        table = self.read_table()
        if table:
            known = {row["id"]: row for row in section_rows(table, self.id)}
            rows = {
                image_id: _renumbered(rows.get(image_id, row), row) for image_id, row in known.items()
            } | {image_id: row for image_id, row in rows.items() if image_id not in known}
        return parse_data_set(self.record, rows.values())

    def problems(
        self,
        commit: Commit,
        *,
        full: bool = False,
        with_digest: bool = False,
        with_metadata: bool = True,
    ) -> list[Problem]:
        """Return what is wrong with the layers that a commit of the view vouches for.

        Parameters
        ----------
        commit : Commit
            One of `read_commits`.
        full : bool
            Compare the checksum of every object.
        with_digest : bool
            Compare the digest of the JPEG.
        with_metadata : bool
            Look at the metadata of the levels, too.
        """
        return section_problems(
            self._place,
            commit,
            self.read_registered_layout(),
            full=full,
            with_digest=with_digest,
            with_metadata=with_metadata,
        )

    def decoding_problems(self, commit: Commit) -> list[Problem]:
        """Return which layers of pixels that a commit vouches for do not decode."""
        return decoding_problems(self._place, commit, self.read_registered_layout())

    def damaged_planes(self, image_ids: Iterable[int], *, full: bool = False) -> dict[int, StoreError]:
        """Return the errors of registered planes that are not as they were written, by image id.

        Parameters
        ----------
        image_ids : iterable of int
            Committed sections that have a plane.
        full : bool
            Decode the planes, instead of looking at the ends of shards alone.
        """
        layout = self.read_registered_layout()
        errors: dict[int, StoreError] = {}
        for image_id in image_ids:
            try:
                problem = plane_problem(self._place, self._commit(image_id), layout)
                if problem is not None:
                    errors[image_id] = self._place.damaged_item(problem.path, problem.words)
                elif full and layout is not None:
                    _ = self.open_registered()[:, layout.z_by_image[image_id]]
            except StoreError as error:
                errors[image_id] = error
        return errors

    def volume_problems(self, *, full: bool = False) -> list[tuple[str, str]]:
        """Return what is wrong with the volume of the view: paths, and phrases that follow them."""
        return volume_problems(self._place, self.id, self.view, full=full)

    def volume_arrays(self, layout: VolumeLayout) -> tuple[BlockArray, ...]:
        """Return the arrays of a volume, the finest first."""
        path = volume_path(self.id, self.view)
        return tuple(
            BlockArray(f"{path}/scale{level}/image", shape, layout.n_channels, layout.codec)
            for level, shape in enumerate(layout.level_shapes)
        )

    def unvouched_problems(self) -> list[tuple[int, Problem]]:
        """Return what lies in the view though no commit vouches for it: pairs of an image id and a problem."""
        commits = read_commits(self._place, self.id, self.view)
        return unvouched_problems(self._place, self.id, self.view, commits, self.read_registered_layout())

    def commit_problems(self, image_ids: Collection[int] | None = None) -> dict[int, str]:
        """Return what is wrong with commits, by image id: phrases that follow their paths."""
        problems: dict[int, str] = {}
        for name in self._place.names_below(sections_path(self.id, self.view)):
            image_id = int(name) if name.isdecimal() else None
            if image_id is None or (image_ids is not None and image_id not in image_ids):
                continue
            path = section_path(self.id, self.view, image_id)
            if not self._place.names_below(path):
                continue
            problem = group_problem(self._place, path)
            if problem is None and read_commit(self._place, self.id, self.view, image_id) is None:
                problem = self._place.damage.found.get(metadata_key(path), "cannot be read")
            if problem is not None:
                problems[image_id] = problem
        return problems

    def own_problems(self) -> list[tuple[str, str]]:
        """Return what is wrong with what the data set says of itself: paths, and phrases that follow them."""
        paths = [data_set_path(self.id), *self._own_groups()]
        problems = [(metadata_key(path), group_problem(self._place, path)) for path in paths]
        problems.append((table_path(self.id), table_problem(self._place, self.id)))
        return [(path, words) for path, words in problems if words is not None]

    def _own_groups(self) -> Iterator[str]:
        for view in self.read_views():
            for path in (registered_path(self.id, view), volume_path(self.id, view)):
                if self._place.names_below(path):
                    yield path

    def expected(self) -> Iterator[tuple[str, bytes]]:
        """Yield what the metadata of the data set are to say, as its commits and its record have it, by key."""
        return Expected(self._place, self.read_section_data_set(), self.read_views()).objects()

    def derived_problems(self) -> list[tuple[str, str]]:
        """Return what is wrong with metadata that follow from others: paths, and phrases that follow them."""
        expected = Expected(self._place, self.read_section_data_set(), self.read_views())
        found = [(key, difference(self._place, key, data)) for key, data in expected.objects()]
        stale = [view for view in self.read_views() if summary_is_stale(self._place, self.id, view)]
        found += [
            (metadata_key(data_set_path(self.id)), f"summarizes other commits of {each}") for each in stale
        ]
        return expected.problems + [(key, words) for key, words in found if words is not None]

    def section(self, image_id: int) -> StoredSection:
        """Return one section.

        Raises
        ------
        SelectionError
            It is not committed.
        """
        return StoredSection(self._place, self._commit(image_id))

    def read_registered_layout(self) -> RegisteredLayout | None:
        """Return the grid and the slots of the registered image, None where that layer is not stored."""
        return read_registered_layout(self._place, self.id, self.view)

    def open_registered(self) -> zarr.Array[Any]:
        """Open the registered image: (c, z, y, x) uint8, y and x on the reference grid, one z per slot.

        Raises
        ------
        SelectionError
            The view is not registered.
        """
        if self.read_registered_layout() is None:
            raise SelectionError(
                f"data set {self.id}, view {self.view}, is not registered in {self._place.name}; "
                "mirror it with the layer registered"
            )
        return open_array(self._place, planes_path(self.id, self.view))

    def read_volume_layout(self) -> VolumeLayout | None:
        """Return what the volume of the view is and was made from, None where there is none."""
        return read_volume_layout(self._place, self.id, self.view)

    def open_volume_levels(self) -> tuple[zarr.Array[Any], ...]:
        """Return the levels of the volume, (c, z, y, x) uint8 with z, y, x along p, i, r, the finest first; or none."""
        layout = self.read_volume_layout()
        if layout is None:
            return ()
        path = volume_path(self.id, self.view)
        return tuple(
            open_array(self._place, f"{path}/scale{level}/image") for level in range(len(layout.level_shapes))
        )

    def open_volume(self) -> zarr.Array[Any]:
        """Open the volume on the reference grid: (c, z, y, x) uint8, z, y and x along p, i and r.

        Raises
        ------
        SelectionError
            There is none.
        """
        levels = self.open_volume_levels()
        if not levels:
            raise SelectionError(
                f"data set {self.id}, view {self.view}, has no volume in {self._place.name}; "
                "make it with: asyncfetch volume"
            )
        return levels[0]

    views = OldAttribute(read_views)
    sections = OldAttribute(read_commits)
    registered = OldAttribute(open_registered)
    volume = OldAttribute(open_volume)
    table = OldAttribute(read_table)
    section_data_set = OldAttribute(read_section_data_set)
    registered_layout = OldAttribute(read_registered_layout)
    volume_layout = OldAttribute(read_volume_layout)
    volume_levels = OldAttribute(open_volume_levels)

    def geometry(self, image_id: int) -> SectionGeometry:
        """Return where a committed section lies in the reference space.

        Raises
        ------
        SelectionError
            The section is not committed.
        """
        data_set = self._parsed(self._commit(image_id))
        return data_set.geometry(data_set.section_images[0])

    def _parsed(self, commit: Commit) -> SectionDataSet:
        return parse_data_set(self.record, [commit.record])

    def _commit(self, image_id: int) -> Commit:
        commit = read_commit(self._place, self.id, self.view, image_id)
        if commit is None:
            raise SelectionError(
                f"{self._place.name} holds no section {image_id} of data set {self.id}, view {self.view}; "
                "read_commits() lists those it holds"
            )
        return commit


def _renumbered(row: dict[str, Any], later: dict[str, Any]) -> dict[str, Any]:
    """Return a committed row with the section number of the table, which each run writes again."""
    number = later["section_number"]
    return row if row.get("section_number") == number else {**row, "section_number": number}


class StoredSection:
    """One committed section; made by `StoredDataSet.section`.

    Attributes
    ----------
    commit : Commit
        What the section's group says about itself.
    """

    def __init__(self, place: Place, commit: Commit) -> None:
        self._place = place
        self.commit = commit

    def __repr__(self) -> str:
        return f"StoredSection({self.commit.image_id}, {self._place.name!r})"

    def open_levels(self) -> tuple[zarr.Array[Any], ...]:
        """Open the levels, (c, z, y, x) uint8 with one z, the finest first; none without layer ``sections``."""
        if "sections" not in self.commit.layers:
            return ()
        return tuple(self.open_level(level) for level in range(len(level_shapes(self.commit.shape))))

    def open_level(self, level: int) -> zarr.Array[Any]:
        """Open one level, (c, z, y, x) uint8 with one z; 0 is the finest."""
        path = section_path(self.commit.data_set_id, self.commit.view, self.commit.image_id)
        shape = level_shapes(self.commit.shape)[level]
        return open_array(self._place, f"{path}/scale{level}/image", (3, 1, *shape))

    def read_jpeg(self) -> bytes:
        """Return the server's JPEG, byte for byte.

        Raises
        ------
        SelectionError
            The layer ``source`` is not stored.
        StoreItemError
            The commit says that it is, and it is not there.
        """
        commit = self.commit
        if "source" not in commit.layers:
            raise SelectionError(
                f"section {commit.image_id} was stored without its JPEG; mirror it with the layer source"
            )
        key = source_key(commit.data_set_id, commit.view, commit.image_id)
        data = self._place.get(key, commit.max_jpeg_bytes)
        if data is None:
            raise self._place.damaged_item(key, "is missing although it is committed")
        return data

    def read_source(self) -> NDArray[np.uint8]:
        """Return the server's JPEG as pixels, (y, x, c) with c = 3, or 1 for a gray one.

        Raises
        ------
        SelectionError
            The layer ``source`` is not stored.
        StoreItemError
            The JPEG is missing or damaged.
        """
        pixels = self._decoded()
        is_gray = read_header(self.read_jpeg()).n_components == 1
        return np.ascontiguousarray(pixels[..., :1]) if is_gray else pixels

    levels = OldAttribute(open_levels)
    jpeg = OldAttribute(read_jpeg)
    source = OldAttribute(read_source)

    def pixels(self, downsample: int | None = None) -> NDArray[np.uint8]:
        """Return the section's pixels, from its levels if they are stored and whole, else from its JPEG.

        Parameters
        ----------
        downsample : int, optional
            How many times the image is halved from full resolution; as stored by default.

        Returns
        -------
        (y, x, 3) array of uint8
            Halved beyond what is stored by means of 2 x 2 pixels.

        Raises
        ------
        SelectionError
            The section was fetched coarser than that, or neither layer is stored.
        StoreItemError
            What is stored of it is damaged.
        """
        commit = self.commit
        n_halvings = 0 if downsample is None else downsample - commit.downsample
        if n_halvings < 0:
            raise SelectionError(
                f"section {commit.image_id} was fetched at downsample {commit.downsample}; "
                f"{downsample} is finer; mirror it again"
            )
        if "sections" not in commit.layers:
            return self._halved(n_halvings)
        try:
            self.check_levels()
            levels = self.open_levels()
            level = min(n_halvings, len(levels) - 1)
            planes = cast("NDArray[np.uint8]", levels[level][:, 0])
        except StoreItemError:
            if "source" not in commit.layers:
                raise
            # the levels were made of it, so that the pixels are the same
            path = section_path(commit.data_set_id, commit.view, commit.image_id)
            self._place.damage.add(path, "has damaged levels")
            return self._halved(n_halvings)
        pixels = np.ascontiguousarray(planes.transpose(1, 2, 0))
        for _ in range(n_halvings - level):
            pixels = halve(pixels)
        return pixels

    def check_levels(self) -> None:
        """Make sure that the levels are whole, as far as the ends of their shards tell.

        Raises
        ------
        StoreItemError
            Part of them is missing or damaged; Zarr would read a shard that is lost as empty.
        """
        problem = level_problem(self._place, self.commit)
        if problem is not None:
            raise self._place.damaged_item(problem.path, problem.words)

    def _halved(self, n_halvings: int) -> NDArray[np.uint8]:
        pixels = self._decoded()
        if self.commit.recipe.numeric_expression:
            put_levels(pixels)
        for _ in range(n_halvings):
            pixels = halve(pixels)
        return pixels

    def _decoded(self) -> NDArray[np.uint8]:
        jpeg = self.read_jpeg()
        try:
            return decode(jpeg, shape=self.commit.shape)
        except ImageError as error:
            commit = self.commit
            key = source_key(commit.data_set_id, commit.view, commit.image_id)
            raise self._place.damaged_item(key, f"cannot be read ({error.message})") from error
