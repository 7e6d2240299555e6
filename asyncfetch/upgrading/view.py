"""One view of a data set of layout version 1, turned into today's section by section.

Each section is written beside what there is of it, in objects of other names; then its commit takes the place of the
old one, and what that vouched for is removed. What the sections have in common is written when all of them are done, so
that a run that goes on after a kill finds both where they were. All functions block.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np

from asyncfetch.errors import StoreItemError
from asyncfetch.layout.commit import Commit, Objects
from asyncfetch.layout.ome import level_positions
from asyncfetch.layout.paths import (
    level_chunking,
    level_shapes,
    planes_path,
    registered_path,
    section_path,
    sections_path,
    source_folder,
    source_key,
)
from asyncfetch.layout.recipe import Recipe
from asyncfetch.layout.registered import ViewLayout
from asyncfetch.layout.titles import title_of
from asyncfetch.store.arrays import (
    delete_levels,
    image_document,
    open_array,
    write_array_metadata,
    write_coordinates,
    write_source_folder,
)
from asyncfetch.store.damage import parse_array
from asyncfetch.store.objects import metadata_key
from asyncfetch.store.records import read_commit, read_registered_layout
from asyncfetch.store.registered import coordinates_of, write_registered
from asyncfetch.store.shards import ImageArray, cut_chunks, object_of, write_shard
from asyncfetch.upgrading import version1

if TYPE_CHECKING:
    import zarr

    from asyncfetch.allen import SectionDataSet
    from asyncfetch.layout.registered import RegisteredLayout
    from asyncfetch.settings import Layer
    from asyncfetch.store import StoreWriter
    from asyncfetch.store.arrays import Axis
    from asyncfetch.store.objects import Place

__all__ = ["Outcome", "ViewUpgrade"]


class Outcome(NamedTuple):
    """What became of one section.

    Attributes
    ----------
    commit : Commit or None
        As it stands now; None where there is no such section.
    is_new : bool
        Whether this run wrote it.
    errors : dict of str to StoreItemError
        Why layers were left out, by their names.
    """

    commit: Commit | None
    is_new: bool = False
    errors: dict[Layer, StoreItemError] = {}  # noqa: RUF012 - never changed


class ViewUpgrade:
    """What one view is turned into.

    Parameters
    ----------
    place : Place
        The store.
    writer : StoreWriter
        Of the same store.
    data_set_id, view : int, str
        The view.
    data_set : SectionDataSet or None
        The record, without sections; None where it cannot be read, and then nothing but JPEGs can be kept.

    Attributes
    ----------
    image_ids : list of int
        The sections, the last name first.
    """

    def __init__(
        self, place: Place, writer: StoreWriter, data_set_id: int, view: str, data_set: SectionDataSet | None
    ) -> None:
        self._place = place
        self._writer = writer
        self._key = (data_set_id, view)
        self._data_set = data_set
        version1.sweep_levels(place, registered_path(*self._key))
        self._old = version1.read_registered(place, *self._key)
        if self._old is not None:
            version1.mend_plane_array(place, *self._key, self._old)
        self.registered = self._registered_today()
        self._view_writer = writer.view(*self._key)
        names = place.names_below(sections_path(*self._key))
        self.image_ids = [int(name) for name in reversed(names) if name.isdecimal()]

    def _registered_today(self) -> RegisteredLayout | None:
        if self._old is None:
            return read_registered_layout(self._place, *self._key)
        return None if self._data_set is None else version1.registered_today(self._old, self._data_set)

    def count_old(self) -> int:
        """Return how many sections are still as they were."""
        return sum(version1.has_commit(self._place, *self._key, image_id) for image_id in self.image_ids)

    def moved_arrays(self) -> list[str]:
        """Return the arrays that others have put beside planes whose order changes."""
        if self._old is None or self.registered is None or self.registered.slots == self._old.slots:
            return []
        level = f"{registered_path(*self._key)}/scale0"
        ours = {"image", "z", "y", "x", "zarr.json"}
        return [f"{level}/{name}" for name in self._place.names_below(level) if name not in ours]

    def upgrade_section(self, image_id: int) -> Outcome:
        """Turn one section into one of today, and remove what there was; one that is done already is swept."""
        place = self._place
        version1.sweep_levels(place, section_path(*self._key, image_id))
        old = version1.read_section(place, *self._key, image_id)
        if old is None:
            commit = read_commit(place, *self._key, image_id)
            if commit is None:
                # what has no commit does not exist
                delete_levels(place, section_path(*self._key, image_id))
            self._remove_old(image_id, commit)
            return Outcome(commit)
        objects: dict[Layer, Objects] = {}
        errors: dict[Layer, StoreItemError] = {}
        layers = []
        for layer in old.commit.layers:
            try:
                stored = self._write_layer(layer, old)
            except StoreItemError as error:
                errors[layer] = error
                continue
            layers.append(layer)
            if stored is not None:
                objects[layer] = stored
        if not layers:
            place.withdraw_group(section_path(*self._key, image_id))
            delete_levels(place, section_path(*self._key, image_id))
            self._remove_old(image_id, None)
            return Outcome(None, errors=errors)
        commit = msgspec.structs.replace(old.commit.vouching_for(tuple(layers)), objects=objects)
        if "registered" in layers and self.registered is not None:
            # version 1 told the space of a plane in its layout alone
            recipe = msgspec.structs.replace(commit.recipe, space=self.registered.recipe.space)
            commit = msgspec.structs.replace(commit, recipe=recipe)
        # the plane is in a slot of today's layout, which stands nowhere yet
        place.settle(planes_path(*self._key))
        self._view_writer.commit(commit)
        self._remove_old(image_id, commit)
        return Outcome(commit, is_new=True, errors=errors)

    def _write_layer(self, layer: Layer, old: version1.OldSection) -> Objects | None:
        """Write one layer of a section, and return the objects of its pixels.

        Raises
        ------
        StoreItemError
            It is damaged.
        """
        match layer:
            case "source":
                jpeg = version1.read_source(self._place, old.commit)
                self._place.set(source_key(*self._key, old.commit.image_id), jpeg)
                return None
            case "registered":
                return self._write_plane(old)
            case "sections":
                if self._data_set is None:
                    raise self._without_record("sections")
                version1.check_levels(self._place, old)
                levels = enumerate(level_shapes(old.commit.shape))
                return sum((self._write_level(old.commit, *each) for each in levels), Objects())

    def _write_plane(self, old: version1.OldSection) -> Objects:
        if self._old is None or self.registered is None:
            raise self._without_record("registered")
        array = version1.open_plane(self._place, old, self._old)
        image_id = old.commit.image_id
        planes = ImageArray.of_planes(self.registered, *self._key)
        before, now = self._old.z_by_image[image_id], self.registered.z_by_image[image_id]
        try:
            return self._write_image(array, before, planes, now)
        except StoreItemError:
            for key in planes.keys(now):
                self._place.delete(key)
            raise

    def _write_level(self, commit: Commit, level: int, shape: tuple[int, int]) -> Objects:
        place, group = self._place, f"{section_path(*self._key, commit.image_id)}/scale{level}"
        path, chunking = f"{group}/image", level_chunking(shape)
        document = place.read(metadata_key(path), parse_array)
        if document is not None and not version1.is_array(document):
            # its metadata were written when its pixels were there
            return _stored(place, ImageArray(path, chunking, commit.recipe.codec))
        array = open_array(place, path, (3, 1, *shape))
        codec = version1.codec_of(document or {})
        objects = self._write_image(array, 0, ImageArray(path, chunking, codec), 0)
        unit = "micrometer" if commit.resolution_um else None
        sizes: tuple[tuple[Axis, int], ...] = (("y", shape[0]), ("x", shape[1]))
        for axis, n in sizes:
            positions = level_positions(n, commit.resolution_um or 1.0, commit.downsample + level)
            write_coordinates(place, group, axis, positions, unit)
        place.write_group(group, {}, keep=True)
        write_array_metadata(place, path, image_document(1, chunking, codec))
        return objects

    def _write_image(self, array: zarr.Array[Any], before: int, images: ImageArray, now: int) -> Objects:
        """Write one image of an array as another stores it, a shard at a time."""
        stored, chunking = Objects(), images.chunking
        for row, column in chunking.places():
            y, x = row * chunking.shard[0], column * chunking.shard[1]
            colours = array[:, before, y : y + chunking.shard[0], x : x + chunking.shard[1]]
            pixels = np.ascontiguousarray(np.moveaxis(np.asarray(colours), 0, -1))
            chunks = cut_chunks(pixels, chunking, images.fill)
            stored += write_shard(self._place, images, now, (y, x), chunks)
        return stored

    def _remove_old(self, image_id: int, commit: Commit | None) -> None:
        """Remove what the commit before vouched for, and what that of today does not."""
        place, section = self._place, section_path(*self._key, image_id)
        layers = () if commit is None else commit.layers
        if "sections" in layers:
            for name in place.names_below(section):
                if name.startswith("scale"):
                    version1.delete_chunks(place, f"{section}/{name}")
        elif commit is not None:
            delete_levels(place, section, keep_group=True)
        place.delete_below(version1.source_of(*self._key, image_id))
        if "source" not in layers:
            place.delete(source_key(*self._key, image_id))
        z = None if self._old is None else self._old.z_by_image.get(image_id)
        if z is not None:
            version1.delete_plane(place, *self._key, z)

    def finish(self) -> None:
        """Write what the sections have in common, once all of them are done."""
        place, registered = self._place, registered_path(*self._key)
        if self.registered is not None and self._data_set is not None:
            version1.delete_chunks(place, f"{registered}/scale0")
            for axis, (positions, unit) in coordinates_of(self.registered).items():
                write_coordinates(place, f"{registered}/scale0", axis, positions, unit)
            title = title_of(self._data_set, self._key[1])
            write_registered(place, *self._key, self.registered, title)
        elif self.registered is None and place.names_below(registered):
            place.withdraw_group(registered)
            delete_levels(place, registered)
        folder = source_folder(*self._key)
        names = place.names_below(folder)
        for name in names:
            if name.isdecimal():
                place.delete_below(f"{folder}/{name}")
        if names:
            write_source_folder(place, folder)
        if self._data_set is not None:
            # the groups above, as they are written today
            layout = ViewLayout(
                data_set_id=self._key[0],
                view=self._key[1],
                layers=("source",) if names else (),
                record=self._data_set.record,
                recipe=Recipe(),
            )
            self._writer.open_view(layout)
        self._view_writer.finish()

    def _without_record(self, layer: Layer) -> StoreItemError:
        what = "record of the data set" if self._data_set is None else "metadata of the registered image"
        path = registered_path(*self._key) if layer == "registered" else sections_path(*self._key)
        return self._place.damaged_item(path, f"cannot be upgraded, because the {what} cannot be read")


def _stored(place: Place, array: ImageArray) -> Objects:
    """Return the objects of an image that are there."""
    found = ((key, place.get(key)) for key in array.keys(0))
    index_bytes = array.chunking.index_bytes
    return sum((object_of(key, data, index_bytes) for key, data in found if data is not None), Objects())
