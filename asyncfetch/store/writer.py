"""Writing of a store, in an order by which nothing half-written is ever taken for done.

A section is written in this order: `begin_section` takes its old commit away and removes what a killed run left
of it; the layers are written, each object whole and under its final name only when it is complete; `commit`
writes the metadata of the section's own group, last. All functions block and may be called from many threads
at once, as long as each section has one caller. A store has one writing run at a time: whoever opens it as one holds
its lock until `close`, and removes the temporary files that a killed one left.
"""

from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING, Any, Self

import msgspec

from asyncfetch.allen import row_id
from asyncfetch.errors import StoreLayoutError
from asyncfetch.imaging.pyramid import halve
from asyncfetch.layout.ome import collection_attributes, collection_xml, level_positions, section_attributes
from asyncfetch.layout.paths import (
    SHARD,
    SPACE_TRANSFORMS_PATH,
    atlas_path,
    data_set_path,
    level_shapes,
    registered_path,
    section_path,
    sections_path,
    shard_shape,
    source_path,
    structure_centers_path,
    table_path,
    view_path,
    volume_path,
)
from asyncfetch.layout.table import table_columns
from asyncfetch.store.arrays import (
    Axis,
    delete_levels,
    image_document,
    mend_source_folder,
    one_chunk_key,
    write_array_metadata,
    write_column,
    write_coordinates,
)
from asyncfetch.store.checking import section_problems
from asyncfetch.store.lock import StoreLock
from asyncfetch.store.place import Location, Place, new_root
from asyncfetch.store.records import (
    check_commit,
    check_record,
    read_commit,
    read_commits,
    read_registered_layout,
    read_runs,
    read_space_transforms,
    read_structure_centers,
)
from asyncfetch.store.registered import begin_registered
from asyncfetch.store.shards import ImageArray, write_shard, write_shards

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from zarr.abc.store import Store as ZarrStore

    from asyncfetch.allen import SectionDataSet
    from asyncfetch.layout.atlas import AtlasRecord
    from asyncfetch.layout.commit import Commit
    from asyncfetch.layout.registered import RegisteredLayout, ViewLayout
    from asyncfetch.settings import Layer
    from asyncfetch.store.shards import Chunk

__all__ = ["SectionLevels", "StoreWriter"]

_RUNS_KEPT = 64
_REGISTERED: frozenset[Layer] = frozenset({"registered"})


class SectionLevels:
    """The levels of one section, written shard by shard; made by `StoreWriter.create_levels`.

    Attributes
    ----------
    shapes : tuple of tuple of int
        (y, x) of each level in pixels, the finest first.
    """

    def __init__(
        self, place: Place, arrays: tuple[ImageArray, ...], shapes: tuple[tuple[int, int], ...]
    ) -> None:
        self._place = place
        self._arrays = arrays
        self.shapes = shapes
        self._lock = threading.Lock()
        self._n_shards = 0

    @property
    def n_shards(self) -> int:
        """How many shards are stored."""
        return self._n_shards

    def shard_shape(self, level: int) -> tuple[int, int]:
        """Return (y, x) of the shards of a level; those at the end are cut off by the image."""
        return shard_shape(self.shapes[level])

    def write(self, level: int, origin: tuple[int, int], pixels: NDArray[np.uint8]) -> None:
        """Write whole shards.

        Parameters
        ----------
        level : int
            Index into `shapes`.
        origin : tuple of int
            (y, x) of the first pixel in the level, on the corner of a shard.
        pixels : (y, x, 3) array of uint8
            One shard or several, up to the end of a shard or of the level.

        Raises
        ------
        ValueError
            The pixels are not whole shards.
        """
        n_stored = write_shards(self._place, self._arrays[level], 0, origin, pixels)
        with self._lock:
            self._n_shards += n_stored

    def write_shard(self, level: int, origin: tuple[int, int], chunks: Iterable[Chunk]) -> None:
        """Write one shard of a level, whose corner is at `origin`, from its chunks."""
        is_stored = write_shard(self._place, self._arrays[level], 0, origin, chunks)
        with self._lock:
            self._n_shards += is_stored


class StoreWriter:
    """The writer of one store; made by `open`."""

    def __init__(
        self, place: Place, held: StoreLock | None = None, new_folders: Collection[Path] | None = None
    ) -> None:
        self._place = place
        self._held = held
        # of a store that was made here and goes away again where nothing is written to it; None for any other
        self._new_folders = new_folders
        # taken again by what a view is begun with: claims that are taken away are commits, too
        self._lock = threading.RLock()
        self._counting = threading.Lock()
        self._plane_shards: dict[tuple[int, str, int], int] = {}
        self._levels: dict[tuple[int, str, int], SectionLevels] = {}
        self._kept_shards: dict[tuple[int, str, int], dict[Layer, int]] = {}
        self._views: dict[tuple[int, str], ViewLayout] = {}
        self._registered: dict[tuple[int, str], tuple[RegisteredLayout, ImageArray] | None] = {}

    def __repr__(self) -> str:
        return f"StoreWriter({self.location!r})"

    @classmethod
    def open(cls, location: Location, *, create: bool = True, command: str | None = None) -> Self:
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

        Raises
        ------
        StoreBusyError
            Another run has the store.
        StoreLayoutError
            Something else is there; it is left untouched.
        StoreAccessError, StoreSpaceError
            The place cannot be used.
        """
        place = Place(location)
        if command is None:
            place.check_root(create=create)
            return cls(place)
        new_folders = place.missing_folders()
        # what another run is just making is no damage that this one has met
        is_made = Place(location).is_made(create=create)
        held = StoreLock.take(place, command)
        try:
            place.check_root(create=create)
            for path in ("", "data_sets"):
                place.sweep(path)
        except BaseException:
            held.release()
            raise
        return cls(place, held, None if is_made else new_folders)

    def close(self) -> None:
        """Give the store back, so that another run can write to it; a new one in which nothing is goes away."""
        self._place.remove_leftovers()
        if self._held is None or not self._held.is_held:
            return
        is_empty = self._new_folders is not None and self._place.is_empty()
        if is_empty:
            # while the lock is held: another run makes it again once it has that
            self._place.delete("zarr.json")
        self._held.release()
        if is_empty:
            self._place.remove_folders(self._new_folders or ())

    @property
    def token(self) -> str:
        """What tells the run that holds the store from others; empty where none does."""
        return "" if self._held is None else self._held.holder.token

    @property
    def location(self) -> str:
        """The directory, or the name of the Zarr store."""
        return self._place.name

    @property
    def store(self) -> ZarrStore:
        """The Zarr store that is written to; `asyncfetch.open` takes it, too."""
        return self._place.store

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

    def mend_catalogue(self) -> None:
        """Write the metadata of the catalogue's own groups again where they were lost and something lies below."""
        with self._lock:
            for path in ("catalogue", structure_centers_path(), atlas_path()):
                if self._place.names_below(path):
                    self._place.write_group(path, {}, keep=True)

    def _write_catalogue(self, path: str, content: dict[str, Any]) -> None:
        with self._lock:
            *parents, _ = itertools.accumulate(path.split("/"), "{}/{}".format)
            for parent in parents:
                self._place.sweep(parent)
                self._place.write_group(parent, {}, keep=True)
            self._place.sweep(path)
            if self._place.ours(path) != content:
                self._place.write_group(path, {"asyncfetch": content})

    def begin_view(self, layout: ViewLayout) -> ViewLayout:
        """Make the groups of one view of a data set, and the registered array when it is wanted.

        Returns
        -------
        ViewLayout
            As it stands in the store: sections that the data set no longer has keep their slots.

        Raises
        ------
        SettingsError
            The store's registered image has another pitch, codec, interpolation or grid, or its slots would move;
            `setting` names the first that differs. The data set's record is up to date then.
        StoreItemError
            The record or the registered image could not be read back.
        """
        key = (layout.data_set_id, layout.view)
        source = f"{view_path(*key)}/source"
        with self._lock:
            for path in (data_set_path(layout.data_set_id), view_path(*key), sections_path(*key), source):
                self._place.sweep(path)
            self._place.write_group("data_sets", {}, keep=True)
            content = {"record": layout.record}
            if self._place.ours(data_set_path(layout.data_set_id)) != content:
                check_record(layout.data_set_id, layout.record)
                self._place.write_group(data_set_path(layout.data_set_id), {"asyncfetch": content})
            if layout.registered is not None:
                registered = self._begin_registered(*key, layout.registered)
                layout = msgspec.structs.replace(layout, registered=registered)
            self._place.write_group(view_path(*key), {}, keep=True)
            self._place.write_group(sections_path(*key), {}, keep=True)
            if "source" in layout.layers:
                mend_source_folder(self._place, source)
            self._views[key] = layout
        return layout

    def commits(self, data_set_id: int, view: str) -> dict[int, Commit]:
        """Return the commits of a view by image id: all that the store holds of it."""
        return read_commits(self._place, data_set_id, view)

    def sound_commits(
        self, data_set_id: int, view: str, image_ids: Collection[int] | None = None
    ) -> dict[int, Commit]:
        """Return the commits of a view, none of which vouches any longer for a layer whose files are lost or cut.

        Only where looking at a file costs microseconds; elsewhere a verification has to be asked for.

        Parameters
        ----------
        data_set_id, view : int, str
            The view, begun.
        image_ids : collection of int, optional
            The images that are looked at; None means all.
        """
        commits = self.commits(data_set_id, view)
        if not self._place.is_near:
            return commits
        registered = self._registered_of(data_set_id, view)
        layout = None if registered is None else registered[0]
        for image_id, commit in list(commits.items()):
            if image_ids is not None and image_id not in image_ids:
                continue
            problems = section_problems(self._place, commit, layout)
            for problem in problems:
                self._place.damage.add(problem.path, problem.words)
            if problems:
                rest = self.disown(commit, {problem.layer for problem in problems})
                if rest is None:
                    del commits[image_id]
                else:
                    commits[image_id] = rest
        return commits

    def begin_section(
        self, data_set_id: int, view: str, image_id: int, *, keep: Collection[Layer] = ()
    ) -> None:
        """Take a section's commit away, then remove whatever there is of it.

        Parameters
        ----------
        data_set_id, view, image_id : int, str, int
            The section.
        keep : collection of str
            Layers that the old commit vouches for and that will be committed again as they are. Where it vouches
            for no others, it stays until the next `commit` takes its place.
        """
        group = section_path(data_set_id, view, image_id)
        commit = read_commit(self._place, data_set_id, view, image_id) if keep else None
        stays = commit is not None and set(commit.layers) <= set(keep)
        if not stays:
            self._place.withdraw_group(group)
        if "sections" not in keep:
            delete_levels(self._place, group, keep_group=stays)
        if "source" not in keep:
            self._place.delete_below(source_path(data_set_id, view, image_id))
        registered = self._registered_of(data_set_id, view)
        z = None if registered is None else registered[0].z_by_image.get(image_id)
        if "registered" not in keep and z is not None:
            self._place.delete_below(f"{registered_path(data_set_id, view)}/scale0/image/c/0/{z}")
        with self._counting:
            n_kept = {} if commit is None else commit.n_shards
            self._kept_shards[data_set_id, view, image_id] = {
                layer: n for layer, n in n_kept.items() if layer in keep
            }
            self._levels.pop((data_set_id, view, image_id), None)
            if z is not None:
                self._plane_shards.pop((data_set_id, view, z), None)
                if "registered" not in keep:
                    self._plane_shards[data_set_id, view, z] = 0

    def write_source(self, data_set_id: int, view: str, image_id: int, jpeg: bytes) -> None:
        """Write the server's JPEG, byte for byte, as a plain file.

        Parameters
        ----------
        data_set_id, view, image_id : int, str, int
            The section.
        jpeg : bytes
            What the server sent.
        """
        self._place.set(f"{source_path(data_set_id, view, image_id)}/{one_chunk_key(3)}", jpeg)

    def create_levels(
        self,
        data_set_id: int,
        view: str,
        image_id: int,
        shape: tuple[int, int],
        *,
        downsample: int,
        resolution_um: float | None,
    ) -> SectionLevels:
        """Make the level groups of a section, with their coordinates and without pixels.

        Parameters
        ----------
        data_set_id, view, image_id : int, str, int
            The section.
        shape : tuple of int
            (y, x) of the finest level in pixels.
        downsample : int
            Halvings between full resolution and the finest level.
        resolution_um : float or None
            Pitch of the full-resolution pixels in µm; None leaves coordinates in full-resolution pixels.
        """
        layout = self._views.get((data_set_id, view))
        codec = "zstd" if layout is None else layout.recipe.codec
        arrays = []
        shapes = level_shapes(shape)
        for level, (height, width) in enumerate(shapes):
            group = f"{section_path(data_set_id, view, image_id)}/scale{level}"
            unit = "micrometer" if resolution_um else None
            sizes: tuple[tuple[Axis, int], ...] = (("y", height), ("x", width))
            for axis, n in sizes:
                positions = level_positions(n, resolution_um or 1.0, downsample + level)
                write_coordinates(self._place, group, axis, positions, unit)
            document = image_document((1, height, width), codec)
            write_array_metadata(self._place, f"{group}/image", document)
            self._place.write_group(group, {})
            arrays.append(ImageArray(f"{group}/image", (1, height, width), codec))
        levels = SectionLevels(self._place, tuple(arrays), shapes)
        with self._counting:
            self._levels[data_set_id, view, image_id] = levels
        return levels

    def write_levels(
        self,
        data_set_id: int,
        view: str,
        image_id: int,
        pixels: NDArray[np.uint8],
        *,
        downsample: int,
        resolution_um: float | None,
    ) -> None:
        """Write all levels of a section from the pixels of the finest, in bands of whole shards.

        Parameters
        ----------
        data_set_id, view, image_id : int, str, int
            The section.
        pixels : (y, x, 3) array of uint8
            The finest level.
        downsample, resolution_um : int, float or None
            As for `create_levels`.
        """
        height, width = pixels.shape[:2]
        levels = self.create_levels(
            data_set_id, view, image_id, (height, width), downsample=downsample, resolution_um=resolution_um
        )
        for level, (height, _) in enumerate(levels.shapes):
            if level:
                pixels = halve(pixels)
            for top in range(0, height, SHARD):
                levels.write(level, (top, 0), pixels[top : top + SHARD])

    def write_registered(
        self,
        data_set_id: int,
        view: str,
        z: int,
        plane: NDArray[np.uint8],
        *,
        origin: tuple[int, int] = (0, 0),
    ) -> None:
        """Write one registered plane, or whole shards of a plane larger than one shard.

        Parameters
        ----------
        data_set_id, view : int, str
            The view, begun with a registered layout.
        z : int
            The slot.
        plane : (y, x, 3) array of uint8
            Pixels on the registered grid.
        origin : tuple of int
            (y, x) of the first pixel, on the corner of a shard.

        Raises
        ------
        ValueError
            The pixels are not whole shards.
        StoreLayoutError
            The view has no registered image.
        """
        n_stored = write_shards(self._place, self._registered_array(data_set_id, view), z, origin, plane)
        self._count_plane(data_set_id, view, z, n_stored)

    def write_registered_shard(
        self, data_set_id: int, view: str, z: int, origin: tuple[int, int], chunks: Iterable[Chunk]
    ) -> None:
        """Write one shard of a registered plane, whose corner is at `origin`, from its chunks.

        Raises
        ------
        StoreLayoutError
            The view has no registered image.
        """
        is_stored = write_shard(self._place, self._registered_array(data_set_id, view), z, origin, chunks)
        self._count_plane(data_set_id, view, z, is_stored)

    def _count_plane(self, data_set_id: int, view: str, z: int, n_stored: int) -> None:
        key = (data_set_id, view, z)
        with self._counting:
            self._plane_shards[key] = self._plane_shards.get(key, 0) + n_stored

    def commit(self, commit: Commit) -> None:
        """Make a section exist: write the metadata of its group, the last object of all.

        Raises
        ------
        StoreItemError
            The commit could not be read back; nothing is written.
        """
        attributes: dict[str, Any] = {"ome": None}
        layout = self._views.get((commit.data_set_id, commit.view))
        if "sections" in commit.layers:
            attributes["ome"] = section_attributes(
                str(commit.image_id),
                n_levels=len(level_shapes(commit.shape)),
                downsample=commit.downsample,
                resolution_um=commit.resolution_um,
                section_thickness_um=1.0 if layout is None else layout.section_thickness_um,
            )
        commit = self._with_shards(commit)
        check_commit(commit)
        attributes["asyncfetch"] = commit.to_attributes()
        self._place.write_group(section_path(commit.data_set_id, commit.view, commit.image_id), attributes)

    def _with_shards(self, commit: Commit) -> Commit:
        """Return a commit with the number of shards that were written since the section was begun, or kept."""
        section = (commit.data_set_id, commit.view, commit.image_id)
        registered = self._registered_of(commit.data_set_id, commit.view)
        z = None if registered is None else registered[0].z_by_image.get(commit.image_id)
        with self._counting:
            known = self._kept_shards.pop(section, {}) | commit.n_shards
            levels = self._levels.pop(section, None)
            n_of_plane = None
            if z is not None:
                n_of_plane = self._plane_shards.pop((commit.data_set_id, commit.view, z), None)
        if levels is not None:
            known["sections"] = levels.n_shards
        if n_of_plane is not None:
            known["registered"] = n_of_plane
        n_shards = {layer: n for layer, n in known.items() if layer in commit.layers}
        return msgspec.structs.replace(commit, n_shards=n_shards)

    def finish_view(self, data_set_id: int, view: str) -> None:
        """Write the collection metadata of a view, once its sections are committed.

        A collection lists the committed sections that hold pixels, in order of section number and id; where no
        section does there is no image for a viewer to open, and no collection.
        """
        with self._lock:
            self._write_collection(data_set_id, view)

    def write_table(self, data_set: SectionDataSet) -> None:
        """Write the columns of all sections of a data set, in place of any that were there."""
        table = table_path(data_set.id)
        columns = table_columns(data_set)
        with self._lock:
            before = self._place.ours(table).get("columns", ())
            self._place.withdraw_group(table)
            self._place.delete_parts(table, {*before, *columns})
            for name, values in columns.items():
                write_column(self._place, f"{table}/{name}", values)
            self._place.write_group(table, {"asyncfetch": {"columns": list(columns)}})

    @property
    def damage(self) -> list[str]:
        """One sentence for each object that was met so far, could not be read, and counted as missing."""
        return self._place.damage.sentences

    def disown(self, commit: Commit, layers: Collection[Layer]) -> Commit | None:
        """Let a section's commit vouch for fewer layers, before these are written anew or when they proved wrong.

        Parameters
        ----------
        commit : Commit
            As it stands in the store.
        layers : collection of str
            Those that it no longer vouches for; what there is of them stays until they are written again.

        Returns
        -------
        Commit or None
            What stands there now; None where nothing was left, so that the section does not exist any more.
        """
        kept = tuple(layer for layer in commit.layers if layer not in layers)
        if not kept:
            self._place.withdraw_group(section_path(commit.data_set_id, commit.view, commit.image_id))
            return None
        rest = commit.vouching_for(kept)
        self.commit(rest)
        return rest

    def drop_volume(self, data_set_id: int, view: str) -> None:
        """Remove the volume of a view, before it is made again."""
        path = volume_path(data_set_id, view)
        with self._lock:
            self._place.withdraw_group(path)
            delete_levels(self._place, path)

    def drop_registered(self, data_set_id: int, view: str) -> None:
        """Remove the registered image of a view, once no commit vouches for any of it."""
        path = registered_path(data_set_id, view)
        with self._lock:
            self._place.withdraw_group(path)
            delete_levels(self._place, path)
            self._registered.pop((data_set_id, view), None)

    def begin_run(self, run: dict[str, Any]) -> None:
        """Record what a run was asked for, until `end_run`; the last few are kept.

        Parameters
        ----------
        run : dict
            JSON values: the selection and the settings that ``resume`` goes on with.
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

    def _write_collection(self, data_set_id: int, view: str) -> None:
        path = sections_path(data_set_id, view)
        commits = [
            commit for commit in self.commits(data_set_id, view).values() if "sections" in commit.layers
        ]
        if not commits:
            self._place.delete_parts(f"{path}/OME", {"METADATA.ome.xml"})
            self._place.write_group(path, {"ome": None})
            return
        collection, series = collection_attributes([str(commit.image_id) for commit in commits])
        self._place.set(f"{path}/OME/METADATA.ome.xml", collection_xml(commits))
        self._place.write_group(f"{path}/OME", {"ome": series})
        self._place.write_group(path, {"ome": collection})

    def _begin_registered(self, data_set_id: int, view: str, wanted: RegisteredLayout) -> RegisteredLayout:
        layout = begin_registered(
            self._place, data_set_id, view, wanted, lambda commit: self.disown(commit, _REGISTERED)
        )
        path = f"{registered_path(data_set_id, view)}/scale0/image"
        self._registered[data_set_id, view] = (
            layout,
            ImageArray(path, layout.shape, layout.recipe.codec, layout.recipe.fill),
        )
        return layout

    def _registered_array(self, data_set_id: int, view: str) -> ImageArray:
        registered = self._registered_of(data_set_id, view)
        if registered is None:
            raise StoreLayoutError(
                f"{self.location} has no registered image of data set {data_set_id}, view {view}; "
                "begin the view with one",
                location=self.location,
            )
        return registered[1]

    def _registered_of(self, data_set_id: int, view: str) -> tuple[RegisteredLayout, ImageArray] | None:
        key = (data_set_id, view)
        with self._lock:
            if key not in self._registered:
                layout = read_registered_layout(self._place, data_set_id, view)
                if layout is None:
                    return None
                path = f"{registered_path(data_set_id, view)}/scale0/image"
                array = ImageArray(path, layout.shape, layout.recipe.codec, layout.recipe.fill)
                self._registered[key] = (layout, array)
            return self._registered[key]


def _by_id(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    # ids can be texts, or none at all; neither costs the rows beside them
    return sorted(rows, key=lambda row: row_id(row) or 0)
