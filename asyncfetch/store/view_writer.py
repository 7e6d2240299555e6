"""What writes one view of a data set: its sections one by one, each committed last, and what they have in common."""

from __future__ import annotations

import threading
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec

from asyncfetch.errors import StoreLayoutError
from asyncfetch.layout.commit import Objects
from asyncfetch.layout.ome import collection_attributes, level_positions, section_attributes
from asyncfetch.layout.ome_xml import collection_xml
from asyncfetch.layout.paths import (
    data_set_path,
    level_chunking,
    level_shapes,
    registered_path,
    section_path,
    sections_path,
    source_key,
    volume_path,
)
from asyncfetch.layout.registered import thickness_um_of
from asyncfetch.layout.scene import SECTION, as_06, scene_attributes
from asyncfetch.layout.titles import title_of
from asyncfetch.store.arrays import (
    Axis,
    delete_levels,
    image_document,
    write_array_metadata,
    write_coordinates,
)
from asyncfetch.store.checking import section_problems
from asyncfetch.store.objects import metadata_key
from asyncfetch.store.records import (
    check_commit,
    ordered,
    read_commit,
    read_commits,
    read_summary,
    summarize,
)
from asyncfetch.store.root import ngff_of
from asyncfetch.store.sections import SectionLevels
from asyncfetch.store.shards import ImageArray, write_shard

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from asyncfetch.allen import SectionDataSet
    from asyncfetch.layout.commit import Commit, SectionSummary
    from asyncfetch.layout.registered import RegisteredLayout
    from asyncfetch.layout.volume import VolumeLayout
    from asyncfetch.settings import Codec, Layer, Ngff
    from asyncfetch.store.objects import Place
    from asyncfetch.store.shards import Chunk

__all__ = ["ViewWriter"]


class ViewWriter:
    """One view of a data set, to be written; made by `StoreWriter.open_view`.

    A section is written in this order: `begin_section` takes its old commit away and removes what a killed run left of
    it; the layers are written, each object whole and under its final name only when it is complete; `commit` writes the
    metadata of the section's own group, last. All functions block and may be called from many threads at once, as long
    as each section has one caller.

    Parameters
    ----------
    place : Place
        The store.
    lock : RLock
        Of all metadata that sections and views share.
    data_set_id, view : int, str
        The view.
    data_set : SectionDataSet or None
        The stored record, for the thickness of a section and the names that viewers show; None where it cannot be
        read, and then no layer ``sections`` can be committed.
    registered : RegisteredLayout, optional
        The registered image, where there is one.

    Attributes
    ----------
    data_set_id, view, registered
        As given.
    """

    def __init__(
        self,
        place: Place,
        lock: threading.RLock,
        data_set_id: int,
        view: str,
        data_set: SectionDataSet | None,
        registered: RegisteredLayout | None,
    ) -> None:
        self.data_set_id = data_set_id
        self.view = view
        self.registered = registered
        self._place = place
        self._lock = lock
        self._data_set = data_set
        self._z_by_image = {} if registered is None else registered.z_by_image
        self._planes = None if registered is None else ImageArray.of_planes(registered, data_set_id, view)
        self._counting = threading.Lock()
        self._plane_objects: dict[int, Objects] = {}
        self._levels: dict[int, SectionLevels] = {}
        self._kept_objects: dict[int, dict[Layer, Objects]] = {}
        self._is_summarized: bool | None = None
        # the images of which something may be there, where asking for each costs more than a list of all
        self._present: set[int] | None = None
        self._is_listed = False

    def __repr__(self) -> str:
        return f"ViewWriter({self._place.name!r}, {self.data_set_id}, {self.view!r})"

    @cached_property
    def _ngff(self) -> Ngff:
        return ngff_of(self._place)

    @property
    def slots(self) -> dict[int, int]:
        """The z of each image that has a slot in the registered image."""
        return self._z_by_image

    def commits(self) -> dict[int, Commit]:
        """Return the commits of the view by image id: all that the store holds of it."""
        return read_commits(self._place, self.data_set_id, self.view)

    def sound_sections(self, image_ids: Collection[int] | None = None) -> dict[int, SectionSummary]:
        """Return what is stored of a view; no commit vouches any longer for a layer whose files are lost or cut.

        Only where looking at a file costs microseconds; elsewhere a verification has to be asked for.

        Parameters
        ----------
        image_ids : collection of int, optional
            The images that are looked at; None means all.
        """
        sections = self._summarized_sections() or dict(self.commits())
        if not self._place.is_near:
            return sections
        for image_id, section in list(sections.items()):
            if image_ids is not None and image_id not in image_ids:
                continue
            problems = section_problems(self._place, section, self.registered)
            for problem in problems:
                self._place.damage.add(problem.path, problem.words)
            if problems:
                commit = read_commit(self._place, self.data_set_id, self.view, image_id)
                rest = commit and self.disown(commit, {problem.layer for problem in problems})
                if rest is None:
                    del sections[image_id]
                else:
                    sections[image_id] = rest
        return sections

    def _summarized_sections(self) -> dict[int, SectionSummary] | None:
        """Return the sections that the summary has; None without one, or where a commit is not as long as it says."""
        summary = read_summary(self._place, self.data_set_id, self.view)
        if summary is None:
            return None
        if self._place.is_near:
            for image_id, stored in summary.items():
                end = self._place.tail(metadata_key(self._path_of(image_id)), 0)
                if end is None or end[0] != stored.n_bytes:
                    return None
        self._is_summarized = True
        return {image_id: stored.section for image_id, stored in summary.items()}

    def begin_section(self, image_id: int, *, keep: Collection[Layer] = ()) -> None:
        """Take a section's commit away, then remove whatever there is of it.

        Parameters
        ----------
        image_id : int
            The section.
        keep : collection of str
            Layers that the old commit vouches for and that will be committed again as they are. Where it vouches
            for no others, it stays until the next `commit` takes its place.
        """
        self._withdraw_summary()
        commit = None if self._is_absent(image_id) else self._remove(image_id, keep)
        z = self._z_by_image.get(image_id)
        with self._counting:
            kept = {} if commit is None else commit.objects
            self._kept_objects[image_id] = {layer: each for layer, each in kept.items() if layer in keep}
            self._levels.pop(image_id, None)
            if z is not None:
                self._plane_objects.pop(z, None)
                if "registered" not in keep:
                    self._plane_objects[z] = Objects()

    def _remove(self, image_id: int, keep: Collection[Layer]) -> Commit | None:
        """Remove what there is of a section, and return the commit that vouches for what is kept."""
        group = self._path_of(image_id)
        commit = read_commit(self._place, self.data_set_id, self.view, image_id) if keep else None
        stays = commit is not None and set(commit.layers) <= set(keep)
        if not stays:
            self._place.withdraw_group(group)
        if "sections" not in keep:
            delete_levels(self._place, group, keep_group=stays)
        if "source" not in keep:
            self._place.delete(source_key(self.data_set_id, self.view, image_id))
        z = self._z_by_image.get(image_id)
        if "registered" not in keep and z is not None and self._planes is not None:
            for key in self._planes.keys(z):
                self._place.delete(key)
        return commit

    def _is_absent(self, image_id: int) -> bool:
        """Tell whether a list of the view says that nothing is there of a section; from now on there may be."""
        with self._lock:
            if not self._is_listed:
                self._present, self._is_listed = self._listed(), True
            if self._present is None or image_id in self._present:
                return False
            self._present.add(image_id)
            return True

    def _listed(self) -> set[int] | None:
        """Return the images of which anything is there; None where looking for each costs less than a list."""
        sizes = self._place.sizes_below(f"{data_set_path(self.data_set_id)}/{self.view}")
        if sizes is None:
            return None
        sections = f"{sections_path(self.data_set_id, self.view)}/"
        names = {key.removeprefix(sections).partition("/")[0] for key in sizes if key.startswith(sections)}
        names |= {key.rpartition("/")[2].removesuffix(".jpg") for key in sizes if key.endswith(".jpg")}
        of_planes = {
            image_id
            for image_id, z in self._z_by_image.items()
            if self._planes is not None and not sizes.keys().isdisjoint(self._planes.keys(z))
        }
        return of_planes | {int(name) for name in names if name.isdecimal()}

    def write_source(self, image_id: int, jpeg: bytes) -> None:
        """Write the server's JPEG, byte for byte, as a plain file.

        Parameters
        ----------
        image_id : int
            The section.
        jpeg : bytes
            What the server sent.
        """
        self._place.set(source_key(self.data_set_id, self.view, image_id), jpeg)

    def create_levels(
        self,
        image_id: int,
        shape: tuple[int, int],
        *,
        codec: Codec,
        downsample: int,
        resolution_um: float | None,
    ) -> SectionLevels:
        """Make the level groups of a section, with their coordinates and without pixels.

        Parameters
        ----------
        image_id : int
            The section.
        shape : tuple of int
            (y, x) of the finest level in pixels.
        codec : str
            Compressor of the pixels.
        downsample : int
            Halvings between full resolution and the finest level.
        resolution_um : float or None
            Pitch of the full-resolution pixels in µm; None leaves coordinates in full-resolution pixels.
        """
        arrays = []
        shapes = level_shapes(shape)
        for level, (height, width) in enumerate(shapes):
            group = f"{self._path_of(image_id)}/scale{level}"
            unit = "micrometer" if resolution_um else None
            sizes: tuple[tuple[Axis, int], ...] = (("y", height), ("x", width))
            for axis, n in sizes:
                positions = level_positions(n, resolution_um or 1.0, downsample + level)
                write_coordinates(self._place, group, axis, positions, unit)
            chunking = level_chunking((height, width))
            write_array_metadata(self._place, f"{group}/image", image_document(1, chunking, codec))
            self._place.write_group(group, {})
            arrays.append(ImageArray(f"{group}/image", chunking, codec))
        levels = SectionLevels(self._place, tuple(arrays), shapes)
        with self._counting:
            self._levels[image_id] = levels
        return levels

    def write_registered_shard(self, z: int, origin: tuple[int, int], chunks: Iterable[Chunk]) -> None:
        """Write one shard of a registered plane from its chunks.

        Parameters
        ----------
        z : int
            The slot.
        origin : tuple of int
            (y, x) of the shard's corner.
        chunks : iterable of Chunk
            Those that may hold something, in the order of rows and columns.

        Raises
        ------
        StoreLayoutError
            The view has no registered image.
        """
        if self._planes is None:
            raise StoreLayoutError(
                f"{self._place.name} has no registered image of data set {self.data_set_id}, view {self.view}; "
                "open the view with one",
                location=self._place.name,
            )
        stored = write_shard(self._place, self._planes, z, origin, chunks)
        with self._counting:
            self._plane_objects[z] = self._plane_objects.get(z, Objects()) + stored

    def commit(self, commit: Commit) -> None:
        """Make a section exist: write the metadata of its group, the last object of all.

        Raises
        ------
        StoreItemError
            The commit could not be read back; nothing is written.
        """
        attributes: dict[str, Any] = {"ome": None}
        if "sections" in commit.layers:
            if self._data_set is None:
                raise StoreLayoutError(
                    f"{self._place.name} holds no record of data set {self.data_set_id} that can be read, so that "
                    "the thickness of its sections is not known; mirror it again",
                    location=self._place.name,
                )
            ome = section_attributes(
                f"{title_of(self._data_set, self.view)}, section {commit.section_number}",
                n_levels=len(level_shapes(commit.shape)),
                downsample=commit.downsample,
                resolution_um=commit.resolution_um,
                section_thickness_um=thickness_um_of(self._data_set),
            )
            attributes["ome"] = as_06(ome, SECTION) if self._ngff == "0.6" else ome
        self._write(commit, attributes)

    def disown(self, commit: Commit, layers: Collection[Layer]) -> Commit | None:
        """Let a section's commit vouch for fewer layers, before these are written again or when they proved wrong.

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
        kept: tuple[Layer, ...] = tuple(layer for layer in commit.layers if layer not in layers)
        if not kept:
            self.withdraw(commit.image_id)
            return None
        rest = commit.vouching_for(kept)
        # what a viewer reads stays with the pixels
        self._write(rest, {} if "sections" in kept else {"ome": None})
        return rest

    def drop_registered(self) -> None:
        """Remove the registered image, once no commit vouches for any of it."""
        self._withdraw_summary()
        path = registered_path(self.data_set_id, self.view)
        with self._lock:
            self._place.withdraw_group(path)
            delete_levels(self._place, path)
            self.registered, self._planes, self._z_by_image = None, None, {}

    @property
    def has_volume(self) -> bool:
        """Whether there is a volume, or what one is being made into."""
        return bool(self._place.ours(volume_path(self.data_set_id, self.view)))

    def drop_volume(self) -> None:
        """Remove the volume, before it is made again."""
        path = volume_path(self.data_set_id, self.view)
        with self._lock:
            self._place.withdraw_group(path)
            delete_levels(self._place, path)

    def withdraw(self, image_id: int) -> None:
        """Let a section cease to exist, because its commit proved wrong; what there is of it stays until it is made."""
        self._withdraw_summary()
        self._place.withdraw_group(self._path_of(image_id))

    def reopen_volume(self, layout: VolumeLayout, keys: Collection[str]) -> None:
        """Let the volume be one that is being made, of which some shards are missing."""
        path = volume_path(self.data_set_id, self.view)
        building = {"building": msgspec.json.decode(msgspec.json.encode(layout))}
        with self._lock:
            self._place.write_group(path, {"ome": None, "asyncfetch": building})
            for key in keys:
                self._place.delete(key)

    def finish(self) -> None:
        """Write what the view says of all its sections, once these are committed: its collection and its summary.

        A collection lists the committed sections that hold pixels, in order of section number and id; where no
        section does there is no image for a viewer to open, and no collection. Where no commit has changed since the
        summary was written, there is nothing to do.
        """
        with self._lock:
            if self._is_summarized:
                return
            commits = self.commits()
            self._write_collection([commit for commit in commits.values() if "sections" in commit.layers])
            self._write_summary(commits)

    def _write_collection(self, commits: list[Commit]) -> None:
        path = sections_path(self.data_set_id, self.view)
        scene = None
        if self._ngff == "0.6" and self._data_set is not None:
            scene = scene_attributes(commits, self._data_set)
        if not commits or scene is not None:
            self._place.delete_parts(f"{path}/OME", {"METADATA.ome.xml"})
            self._place.write_group(path, {"ome": scene})
            return
        collection, series = collection_attributes([str(commit.image_id) for commit in commits])
        xml = collection_xml(commits)
        if self._place.read(f"{path}/OME/METADATA.ome.xml", bytes) != xml:
            self._place.set(f"{path}/OME/METADATA.ome.xml", xml)
        self._place.write_group(f"{path}/OME", {"ome": series})
        self._place.write_group(path, {"ome": collection})

    def _write_summary(self, commits: dict[int, Commit]) -> None:
        summary = summarize(self._place, commits.values())
        if summary is not None:
            self._set_summary(msgspec.to_builtins(summary))
            self._is_summarized = True

    def _withdraw_summary(self) -> None:
        """Take the summary of the view away, before a commit of it changes."""
        with self._lock:
            if self._is_summarized is not False:
                self._set_summary(None)
                self._is_summarized = False

    def _set_summary(self, summary: dict[str, Any] | None) -> None:
        path = data_set_path(self.data_set_id)
        ours = self._place.ours(path)
        summaries = ours.get("summary")
        views = dict(summaries) if isinstance(summaries, dict) else {}
        # that there is none is said, too, so that no other view's is taken for all
        views[self.view] = summary
        content = ordered(ours | {"summary": dict(sorted(views.items()))})
        if ours and content != ours:
            self._place.write_group(path, {"asyncfetch": content})

    def _write(self, commit: Commit, attributes: dict[str, Any]) -> None:
        self._withdraw_summary()
        commit = self._with_objects(commit)
        check_commit(commit)
        content = {"asyncfetch": commit.to_attributes()}
        path = self._path_of(commit.image_id)
        self._place.write_group(
            path, attributes | content, vouches_for=(path, *self._other_keys(commit.image_id))
        )

    def _other_keys(self, image_id: int) -> list[str]:
        """Return the keys of the objects of a section that do not lie below its group."""
        z = self._z_by_image.get(image_id)
        planes = () if z is None or self._planes is None else self._planes.keys(z)
        return [source_key(self.data_set_id, self.view, image_id), *planes]

    def _path_of(self, image_id: int) -> str:
        return section_path(self.data_set_id, self.view, image_id)

    def _with_objects(self, commit: Commit) -> Commit:
        """Return a commit with the objects that were written since the section was begun, or kept."""
        z = self._z_by_image.get(commit.image_id)
        with self._counting:
            known = self._kept_objects.pop(commit.image_id, {}) | commit.objects
            levels = self._levels.pop(commit.image_id, None)
            of_plane = None if z is None else self._plane_objects.pop(z, None)
        if levels is not None:
            known["sections"] = levels.objects
        if of_plane is not None:
            known["registered"] = of_plane
        objects = {layer: each for layer, each in known.items() if layer in commit.layers}
        return msgspec.structs.replace(commit, objects=objects)
