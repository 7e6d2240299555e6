"""The volume of a view: what it was made from, and how it is written so that none half-written is taken for done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import msgspec
import numpy as np

from asyncfetch.allen import SectionDataSet, parse_data_set
from asyncfetch.layout.ome import volume_attributes
from asyncfetch.layout.paths import volume_path
from asyncfetch.layout.scene import as_06, reference_system
from asyncfetch.layout.titles import title_of
from asyncfetch.layout.volume import VolumeLayout
from asyncfetch.store.arrays import (
    Axis,
    block_document,
    delete_levels,
    open_array,
    write_array_metadata,
    write_coordinates,
)
from asyncfetch.store.blocks import BLOCK, BLOCK_SHARD, BlockArray
from asyncfetch.store.objects import metadata_key
from asyncfetch.store.records import read_content, read_record
from asyncfetch.store.root import check_root, ngff_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from asyncfetch.store.blocks import Region
    from asyncfetch.store.objects import Place

__all__ = ["VolumeWriter", "read_volume_layout"]


#: Voxels along an axis: half a mouse brain at 1 µm.
_MAX_GRID_SIDE = 10**4


class VolumeWriter:
    """The writer of the volume of one view, shard by shard; made by `begin`.

    Its group's metadata say first what is being made, so that what an interrupted run has written of the same volume is
    kept, and in the end what it is. All functions block; shards may be written from many threads at once.

    Attributes
    ----------
    levels : tuple of BlockArray
        The arrays, the finest first.
    """

    def __init__(self, place: Place, data_set_id: int, view: str, layout: VolumeLayout) -> None:
        self._place = place
        self._path = volume_path(data_set_id, view)
        self._data_set_id = data_set_id
        self._view = view
        self._layout = layout
        self.levels = tuple(
            BlockArray(f"{self._path}/scale{level}/image", shape, layout.n_channels, layout.codec)
            for level, shape in enumerate(layout.level_shapes)
        )

    @classmethod
    def begin(cls, place: Place, data_set_id: int, view: str, layout: VolumeLayout) -> Self:
        """Make the arrays of a volume, without voxels; what there is of another one is removed.

        Raises
        ------
        StoreError
            There is no store, or it cannot be written.
        """
        check_root(place, create=False)
        writer = cls(place, data_set_id, view, layout)
        writer._begin()
        return writer

    def _begin(self) -> None:
        place, path, layout = self._place, self._path, self._layout
        # through JSON, so that it equals what is read back
        building = {"building": msgspec.json.decode(msgspec.json.encode(layout))}
        if place.ours(path) == building:
            for array in self.levels:
                array.sweep(place)
            return
        place.withdraw_group(path)
        delete_levels(place, path)
        for level, array in enumerate(self.levels):
            group, pitch_um = f"{path}/scale{level}", layout.um * 2**level
            axes: tuple[Axis, ...] = ("z", "y", "x")
            for axis, n in zip(axes, array.shape, strict=True):
                positions = (np.arange(n, dtype=np.float64) + 0.5) * pitch_um
                write_coordinates(place, group, axis, positions, layout.unit)
            document = block_document(array.shape, layout.n_channels, BLOCK, BLOCK_SHARD, layout.codec)
            write_array_metadata(place, array.path, document)
            place.write_group(group, {})
        # which says that the arrays are made
        place.write_group(path, {"asyncfetch": building}, vouches_for=(path,))

    def _title(self) -> str:
        record = read_record(self._place, self._data_set_id)
        data_set = SectionDataSet(id=self._data_set_id) if record is None else parse_data_set(record)
        return title_of(data_set, self._view)

    def holds(self, level: int, region: Region) -> bool:
        """Tell whether a shard of this very volume has been written."""
        return self.levels[level].holds(self._place, region)

    def write(self, level: int, region: Region, voxels: NDArray[np.uint8]) -> None:
        """Write one whole shard of (z, y, x, c) uint8 voxels."""
        self.levels[level].write(self._place, region, voxels)

    def read(self, level: int, region: Region) -> NDArray[np.uint8]:
        """Return voxels that have been written, as (z, y, x, c)."""
        array = open_array(self._place, self.levels[level].path)
        return np.moveaxis(np.asarray(array[(slice(None), *region.slices)]), 0, -1)

    def commit(self) -> None:
        """Make the volume exist: write the metadata of its group, the last object of all."""
        layout = self._layout
        attributes = volume_attributes(
            f"{self._title()}, volume {layout.um:g} µm",
            n_levels=len(self.levels),
            um=layout.um,
            n_channels=layout.n_channels,
            n_sections=len(layout.planes),
            reference_space_id=layout.reference_space_id,
        )
        if ngff_of(self._place) == "0.6":
            attributes = as_06(attributes, reference_system(layout.reference_space_id))
        content = {"ome": attributes, "asyncfetch": msgspec.to_builtins(layout)}
        self._place.write_group(self._path, content, vouches_for=(self._path,))


def read_volume_layout(place: Place, data_set_id: int, view: str) -> VolumeLayout | None:
    """Return what the volume of a view is, None where there is none that was finished and can be read."""
    path = volume_path(data_set_id, view)
    content = read_content(place, path, dict[str, Any])
    if content is None or "building" in content:
        return None
    layout = read_content(place, path, VolumeLayout)
    if layout is not None and max(layout.box_um) / layout.um > _MAX_GRID_SIDE:
        place.damage.add(metadata_key(path), "describes a volume that cannot be")
        return None
    return layout
