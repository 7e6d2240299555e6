"""Writing of a store, in an order by which nothing half-written is ever taken for done: root, data sets, catalogue.

A store has one writing run at a time: whoever opens it as one holds its lock until `close`, and removes the temporary
files that a killed one left. A view of a data set is written through what `open_view` returns, and nothing else.
All functions block and may be called from many threads at once.
"""

from __future__ import annotations

import itertools
import socket
import threading
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import msgspec
import numpy as np

from asyncfetch.allen import parse_data_set, row_id
from asyncfetch.errors import StoreAccessError
from asyncfetch.layout.citation import citation_of
from asyncfetch.layout.paths import (
    SPACE_TRANSFORMS_PATH,
    atlas_path,
    data_set_path,
    sections_path,
    selection_path,
    source_folder,
    structure_centers_path,
    table_path,
    view_path,
)
from asyncfetch.layout.table import ARRAYS, NUMBER_COLUMNS, columns_of, stored_arrays, table_columns
from asyncfetch.layout.titles import title_of
from asyncfetch.layout.upstream import UpstreamChanges, compare_tables, with_rows_of
from asyncfetch.store.arrays import mend_source_folder, write_column
from asyncfetch.store.differences import difference, rewrite
from asyncfetch.store.lock import StoreLock, read_holder
from asyncfetch.store.objects import Location, Place
from asyncfetch.store.packing import is_packed, settle, sweep_folders
from asyncfetch.store.records import (
    check_record,
    ordered,
    read_commits,
    read_record,
    read_registered_layout,
    read_space_transforms,
    read_structure_centers,
    read_views,
)
from asyncfetch.store.registered import begin_registered
from asyncfetch.store.repacking import TO_PACK, Packing
from asyncfetch.store.root import (
    check_root,
    choose_ngff,
    is_empty,
    is_made,
    lost_root,
    missing_folders,
    new_root,
    remove_folders,
)
from asyncfetch.store.runs import read_runs
from asyncfetch.store.table import sound_arrays, table_objects, table_problem
from asyncfetch.store.view_writer import ViewWriter
from asyncfetch.store.volume import VolumeWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping
    from pathlib import Path

    from zarr.abc.store import Store as ZarrStore

    from asyncfetch.allen import SectionDataSet
    from asyncfetch.layout.atlas import AtlasRecord
    from asyncfetch.layout.commit import Commit
    from asyncfetch.layout.live import LiveFigures
    from asyncfetch.layout.registered import ViewLayout
    from asyncfetch.layout.table import Column
    from asyncfetch.layout.volume import VolumeLayout
    from asyncfetch.settings import Layer, Ngff, Sync

__all__ = ["StoreWriter"]

_RUNS_KEPT = 64
_REGISTERED: frozenset[Layer] = frozenset({"registered"})


class StoreWriter:
    """The writer of one store; made by `open`.

    Attributes
    ----------
    packing : Packing
        What turns data sets into one zip each, and back before something in them changes.
    """

    def __init__(
        self,
        place: Place,
        held: StoreLock | None = None,
        new_folders: Collection[Path] | None = None,
        *,
        is_lent: bool = False,
    ) -> None:
        self._place = place
        self._held = held
        # of a store that was made here and goes away again where nothing is written to it; None for any other
        self._new_folders = new_folders
        # of all metadata that sections and views share
        self._lock = threading.RLock()
        self.packing = Packing(place, self._lock, is_lent=is_lent)

    def __repr__(self) -> str:
        return f"StoreWriter({self.location!r})"

    @classmethod
    def open(
        cls,
        location: Location,
        *,
        create: bool = True,
        command: str | None = None,
        of_any_version: bool = False,
        sync: Sync = "none",
    ) -> Self:
        """Open a store for writing, or make one.

        Parameters
        ----------
        location : str, Path or zarr Store
            A directory that is missing, empty or a store of ours; ``"memory"`` for a new one in memory; or
            any Zarr store.
        create : bool
            Make the store where there is none.
        command : str, optional
            What others are told about the run that writes, such as ``mirror product:1``. The store is locked then,
            until `close`; without it the caller has to see to it that there is no other run.
        of_any_version : bool
            Take a store of an earlier layout version as it is, to upgrade it.
        sync : str
            What has reached the disk when a commit is written: ``data`` that it vouches for, ``all``, or ``none``.

        Raises
        ------
        StoreBusyError
            Another run has the store.
        StoreLayoutError
            Something else is there; it is left untouched.
        StoreAccessError, StoreSpaceError
            The place cannot be used.
        """
        place = Place(location, sync=sync)
        check = partial(is_made, of_any_version=True) if of_any_version else check_root
        if command is None:
            check(place, create=create)
            return cls(place)
        new_folders = missing_folders(place)
        # what another run is just making is not damage that this one has met
        was_made = is_made(Place(location), create=create, of_any_version=of_any_version)
        held = StoreLock.take(place, command)
        try:
            check(place, create=create)
            sweep_folders(place)
            for path in ("", "data_sets"):
                place.sweep(path)
            settle(place)
        except BaseException:
            held.release()
            raise
        return cls(place, held, None if was_made else new_folders)

    @classmethod
    def share(cls, location: Location, guard: Callable[[], None], token: str, *, sync: Sync = "none") -> Self:
        """Open a store that another process holds, for a part of its run; it is not locked once more.

        Parameters
        ----------
        location : str or Path
            The store.
        guard : callable
            Is called before every change, and raises where this process may not make it any more.
        token : str
            Of the run that holds the store.
        sync : str
            As for `open`.

        Raises
        ------
        StoreAccessError
            The store is not there, or held by another run: it is not the same one.
        """
        place = Place(location, sync=sync)
        holder, _ = read_holder(place)
        if holder is None or holder.token != token:
            there = "no run holds it there" if holder is None else f"there it is held by {holder}"
            raise StoreAccessError(
                f"{place.name} is not the store of the run on {socket.gethostname()}: {there}; every machine has to "
                "see the same directory under the same path, or the store has to lie in object storage",
                location=place.name,
            )
        check_root(place, create=False)
        place.guard = guard
        return cls(place, is_lent=True)

    def show(self, figures: Callable[[], LiveFigures]) -> None:
        """Show how far the run is to other processes from now on, until the store is given back.

        Parameters
        ----------
        figures : callable
            Returns how far it is; called from a thread, every few seconds.
        """
        if self._held is not None:
            self._held.show(figures)

    def close(self) -> None:
        """Give the store back, so that another run can write to it; a new one in which nothing is goes away."""
        self._place.remove_leftovers()
        self._place.settle()
        if self._held is None or not self._held.is_held:
            return
        goes_away = self._new_folders is not None and is_empty(self._place)
        if goes_away:
            # while the lock is held: another run makes it again once it has that
            self._place.delete("zarr.json")
        self._held.release()
        if goes_away:
            remove_folders(self._new_folders or ())

    @property
    def token(self) -> str:
        """What tells the run that holds the store from others; empty where none does."""
        return "" if self._held is None else self._held.holder.token

    @property
    def location(self) -> str:
        """The directory, or the name of the Zarr store."""
        return self._place.name

    @property
    def place(self) -> Place:
        """Where the store lies, for what writes to it beside this."""
        return self._place

    @property
    def store(self) -> ZarrStore:
        """The Zarr store that is written to; `asyncfetch.open` takes it, too."""
        return self._place.store

    def choose_ngff(self, version: Ngff) -> None:
        """Let the images of the store follow a version of NGFF.

        Raises
        ------
        SettingsError
            There are images, which follow another one.
        """
        choose_ngff(self._place, version)

    @property
    def centred_spaces(self) -> set[int]:
        """The reference spaces whose structure centres the store holds."""
        return set(read_structure_centers(self._place))

    @property
    def has_space_transforms(self) -> bool:
        """Whether the store holds the transforms between reference spaces."""
        return read_space_transforms(self._place) is not None

    def write_structure_centers(self, reference_space_id: int, rows: list[dict[str, Any]]) -> None:
        """Write the centres of structures in a reference space: rows of StructureCenter."""
        self._write_catalogue(structure_centers_path(reference_space_id), {"rows": _by_id(rows)})

    def write_space_transforms(self, rows: list[dict[str, Any]]) -> None:
        """Write the transforms between reference spaces: rows of ReferenceToReferenceTransform."""
        self._write_catalogue(SPACE_TRANSFORMS_PATH, {"rows": _by_id(rows)})

    def write_atlas(self, atlas: AtlasRecord) -> None:
        """Write the record of an atlas, and which data sets hold its plates."""
        content = {"record": atlas.record, "data_set_ids": list(atlas.data_set_ids)}
        self._write_catalogue(atlas_path(atlas.record["id"]), content)

    def write_selection(self, key: str, content: dict[str, Any]) -> None:
        """Write what a selection was resolved to, under a name of letters and digits."""
        self._write_catalogue(selection_path(key), content)

    def read_selection(self, key: str) -> dict[str, Any]:
        """Return what `write_selection` wrote; empty where there is nothing."""
        return self._place.ours(selection_path(key)) or {}

    def mend_catalogue(self) -> None:
        """Write the metadata of the catalogue's own groups again where they were lost and something lies below."""
        with self._lock:
            for path in ("catalogue", structure_centers_path(), atlas_path(), selection_path()):
                if self._place.names_below(path):
                    self._place.write_group(path, {}, keep=True)

    def _write_catalogue(self, path: str, content: dict[str, Any]) -> None:
        with self._lock:
            *parents, _ = itertools.accumulate(path.split("/"), "{}/{}".format)
            for parent in parents:
                self._place.sweep(parent)
                self._place.write_group(parent, {}, keep=True)
            self._place.sweep(path)
            self._place.write_group(path, {"asyncfetch": content})

    def open_view(self, layout: ViewLayout) -> ViewWriter:
        """Make the groups of one view of a data set, and the registered array when it is wanted.

        Returns
        -------
        ViewWriter
            Through which the view is written; its layout is that which stands in the store.

        Raises
        ------
        SettingsError
            The store's registered image has another pitch, codec, interpolation or grid, or its slots would move;
            `setting` names the first that differs. The data set's record is up to date then.
        StoreItemError
            The record or the registered image could not be read back.
        """
        key = (layout.data_set_id, layout.view)
        source = source_folder(*key)
        with self._lock:
            for path in (data_set_path(layout.data_set_id), view_path(*key), sections_path(*key), source):
                self._place.sweep(path)
            self._place.write_group("data_sets", {}, keep=True)
            path = data_set_path(layout.data_set_id)
            before = self._place.ours(path) if self._place.is_unchanged(path) else {}
            if before.get("record") != layout.record:
                check_record(layout.data_set_id, layout.record)
            data_set = parse_data_set(layout.record)
            content = before | {"record": layout.record, "citation": citation_of(data_set)}
            if content != before:
                self._place.write_group(path, {"asyncfetch": content})
            if layout.registered is not None:
                unplaced = ViewWriter(self._place, self._lock, *key, None, None)
                registered = begin_registered(
                    self._place,
                    *key,
                    layout.registered,
                    lambda commit: unplaced.disown(commit, _REGISTERED),
                    title=title_of(data_set, layout.view),
                )
                layout = msgspec.structs.replace(layout, registered=registered)
            self._place.write_group(view_path(*key), {}, keep=True)
            self._place.write_group(sections_path(*key), {}, keep=True)
            if "source" in layout.layers:
                mend_source_folder(self._place, source)
            # what the commits of sections lean on
            self._place.settle("zarr.json", "data_sets/zarr.json", data_set_path(layout.data_set_id))
        stands = layout.registered or read_registered_layout(self._place, *key)
        return ViewWriter(self._place, self._lock, *key, data_set, stands)

    def begin_volume(self, data_set_id: int, view: str, layout: VolumeLayout) -> VolumeWriter:
        """Make the arrays of a volume, without voxels; what there is of another one is removed."""
        return VolumeWriter.begin(self._place, data_set_id, view, layout)

    def view(self, data_set_id: int, view: str) -> ViewWriter:
        """Return what writes to a view that the store holds, as it stands there; nothing is written yet."""
        record = read_record(self._place, data_set_id)
        data_set = None if record is None else parse_data_set(record)
        registered = read_registered_layout(self._place, data_set_id, view)
        return ViewWriter(self._place, self._lock, data_set_id, view, data_set, registered)

    def data_set_ids(self) -> tuple[int, ...]:
        """Return the ids of the data sets that the store holds, sorted."""
        return tuple(sorted(int(name) for name in self._place.names_below("data_sets") if name.isdecimal()))

    def views(self, data_set_id: int) -> tuple[str, ...]:
        """Return the views of a data set that the store holds, sorted."""
        return read_views(self._place, data_set_id)

    def record(self, data_set_id: int) -> dict[str, Any] | None:
        """Return the stored record of a data set; None where there is none that can be read."""
        return read_record(self._place, data_set_id)

    def commits(self, data_set_id: int, view: str) -> dict[int, Commit]:
        """Return the commits of a view by image id: all that the store holds of it."""
        return read_commits(self._place, data_set_id, view)

    def upstream_changes(self, data_set: SectionDataSet) -> UpstreamChanges:
        """Return which sections of a data set are not as the stored table says; all are new where there is none."""
        before = sound_arrays(self._place, data_set.id)
        return compare_tables(_columns(before), table_columns(data_set))

    def write_table(self, data_set: SectionDataSet, *, with_changes: bool = True) -> tuple[int, ...]:
        """Write the columns of all sections of a data set, in place of others that were there.

        Parameters
        ----------
        data_set : SectionDataSet
            Its sections, as the API has them now.
        with_changes : bool
            Also write the rows of sections whose image or place is another one now. Without, they stay as they are
            stored, as the sections themselves do, so that a refresh finds them.

        Returns
        -------
        tuple of int
            The images whose rows stayed.
        """
        table = table_path(data_set.id)
        columns = table_columns(data_set)
        arrays = stored_arrays(columns)
        kept: tuple[int, ...] = ()
        with self._lock:
            before = self._sound_arrays(data_set.id)
            if _are_same(arrays, before):
                if not is_packed(self._place, data_set.id):
                    # where the group was lost and made again, or written by an earlier version
                    self._note_n_sections(data_set.id, len(arrays["image_id"]))
                return ()
            if before is not None and not with_changes:
                stored = _columns(before)
                changes = compare_tables(stored, columns)
                kept = (*changes.pixels, *changes.place)
                if kept:
                    arrays = stored_arrays(with_rows_of(stored, columns, kept))
                    if _are_same(arrays, before):
                        return kept
            self._note_n_sections(data_set.id, len(arrays["image_id"]))
            self._place.withdraw_group(table)
            self._place.delete_parts(table, ARRAYS)
            for name, values in arrays.items():
                write_column(self._place, f"{table}/{name}", values)
            objects = table_objects(self._place, data_set.id)
            content = {"columns": list(NUMBER_COLUMNS), "objects": msgspec.to_builtins(objects)}
            self._place.write_group(table, {"asyncfetch": content}, vouches_for=(table,))
        return kept

    def _note_n_sections(self, data_set_id: int, n_sections: int) -> None:
        """Say in the group of a data set how many sections it has, so that nobody has to open its table for that."""
        path = data_set_path(data_set_id)
        ours = self._place.ours(path)
        if ours and ours.get("n_sections") != n_sections:
            self._place.write_group(path, {"asyncfetch": ordered(ours | {"n_sections": n_sections})})

    def _sound_arrays(self, data_set_id: int) -> dict[str, Column] | None:
        """Return the arrays of a table that stands there, whole; what is wrong with another one is told."""
        arrays = sound_arrays(self._place, data_set_id)
        if arrays is None:
            table_problem(self._place, data_set_id)
        return arrays

    @property
    def damage(self) -> list[str]:
        """One sentence for each object that was met so far, could not be read, and counted as missing."""
        return self._place.damage.sentences

    def withdraw(self, path: str) -> None:
        """Take away what a group says of ours, because it proved wrong."""
        with self._lock:
            self._place.withdraw_group(path)

    def rewrite(self, objects: Mapping[str, bytes]) -> None:
        """Write metadata as they are to be, where they are not; what others have put there stays."""
        with self._lock:
            for key, data in objects.items():
                if difference(self._place, key, data) is not None:
                    rewrite(self._place, key, data)

    def mend_root(self) -> None:
        """Write what the root says again, with the unfinished runs that can be read."""
        with self._lock:
            runs, to_pack = self.runs(), self.packing.read_to_pack()
            ours = lost_root(self._place) | ({"runs": runs} if runs else {})
            ours |= {TO_PACK: to_pack} if to_pack else {}
            self._place.write_group("", {"asyncfetch": ours})

    def sweep(self, keys: Iterable[str]) -> list[str]:
        """Remove temporary files of killed runs; return those that the system still holds."""
        return [key for key in keys if not self._place.remove_leftover(key)]

    def begin_run(self, run: dict[str, Any]) -> None:
        """Record what a run was asked for, until `end_run`; the last few are kept.

        Parameters
        ----------
        run : dict
            JSON values: the selection and the settings that ``resume`` continues with.
        """
        with self._lock:
            self._write_runs([*(each for each in self.runs() if each != run), run][-_RUNS_KEPT:])

    def replace_run(self, before: dict[str, Any], run: dict[str, Any]) -> None:
        """Record a run in place of what was recorded of it."""
        with self._lock:
            self._write_runs([run if each == before else each for each in self.runs()])

    def end_run(self, run: dict[str, Any]) -> None:
        """Forget a run that came to its end; `run` is equal to what `begin_run` was given."""
        with self._lock:
            self._write_runs([each for each in self.runs() if each != run])

    def runs(self) -> list[dict[str, Any]]:
        """Return what the runs that did not come to their end were asked for, the newest at the end."""
        return read_runs(self._place)

    def _write_runs(self, runs: list[dict[str, Any]]) -> None:
        ours = new_root() | {name: value for name, value in self._place.ours("").items() if name != "runs"}
        if runs:
            ours["runs"] = runs
        self._place.write_group("", {"asyncfetch": ours})


def _by_id(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    # ids can be texts, or none at all; neither costs the rows beside them
    return sorted(rows, key=lambda row: row_id(row) or 0)


def _are_same(arrays: Mapping[str, Column], stored: Mapping[str, Column] | None) -> bool:
    """Tell whether the arrays of a table are those that are stored."""
    return stored is not None and all(
        np.array_equal(values, stored[name], equal_nan=values.dtype.kind == "f")
        for name, values in arrays.items()
    )


def _columns(arrays: Mapping[str, Column] | None) -> dict[str, Column]:
    """Return the columns of sound arrays; none of a table that is not there."""
    columns = {} if arrays is None else columns_of(arrays)
    assert not isinstance(columns, str), "sound arrays have columns"
    return columns
