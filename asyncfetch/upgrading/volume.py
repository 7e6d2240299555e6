"""The volume of a view of layout version 1, turned into today's shard by shard, be it finished or not.

All functions block.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from asyncfetch.layout.paths import volume_path
from asyncfetch.layout.volume import VolumeLayout
from asyncfetch.store.arrays import (
    block_document,
    delete_levels,
    open_array,
    write_array_metadata,
    write_coordinates,
)
from asyncfetch.store.blocks import BLOCK, BLOCK_SHARD
from asyncfetch.store.damage import parse_array
from asyncfetch.store.objects import metadata_key
from asyncfetch.store.volume import VolumeWriter
from asyncfetch.upgrading import version1

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asyncfetch.settings import Codec
    from asyncfetch.store.arrays import Axis
    from asyncfetch.store.blocks import BlockArray, Region
    from asyncfetch.store.objects import Place

__all__ = ["VolumeUpgrade"]

_BUILDING = "building"
_AXES: tuple[Axis, ...] = ("z", "y", "x")


class VolumeUpgrade:
    """What the volume of one view is turned into; made by `begin`.

    A volume that was being made stays one, with the shards that it has.
    """

    def __init__(
        self, place: Place, data_set_id: int, view: str, layout: VolumeLayout, *, is_finished: bool
    ) -> None:
        self._place = place
        self._path = volume_path(data_set_id, view)
        self._layout = layout
        self._is_finished = is_finished
        self._writer = VolumeWriter(place, data_set_id, view, layout)

    @classmethod
    def begin(
        cls, place: Place, data_set_id: int, view: str, z_by_image: dict[int, int]
    ) -> VolumeUpgrade | None:
        """Return the upgrade of a volume, whose planes lie in other slots now; None where there is no volume.

        Raises
        ------
        StoreItemError
            What the volume is cannot be read.
        """
        path = volume_path(data_set_id, view)
        if not place.names_below(path):
            return None
        version1.sweep_levels(place, path)
        content = place.ours(path)
        is_finished = _BUILDING not in content
        try:
            layout = msgspec.convert(content.get(_BUILDING, content), VolumeLayout)
        except msgspec.ValidationError as error:
            raise place.damaged_item(metadata_key(path), f"cannot be read ({error})") from error
        planes = tuple(
            msgspec.structs.replace(plane, z=z_by_image.get(plane.image_id, plane.z))
            for plane in layout.planes
        )
        return cls(
            place,
            data_set_id,
            view,
            msgspec.structs.replace(layout, planes=planes),
            is_finished=is_finished,
        )

    def shards(self) -> Iterator[tuple[BlockArray, Region]]:
        """Yield the shards that are still as they were."""
        for array in self._writer.levels:
            document = self._place.read(metadata_key(array.path), parse_array)
            if document is None:
                raise self._place.damaged_item(metadata_key(array.path), "is missing or cannot be read")
            if version1.is_array(document):
                for region in array.shards():
                    yield array, region

    def upgrade_shard(self, array: BlockArray, region: Region) -> None:
        """Write one shard as it is stored today, and remove what it was.

        Raises
        ------
        StoreItemError
            It is damaged.
        """
        place = self._place
        starts = (begin // side for begin, side in zip(region.start, BLOCK_SHARD, strict=True))
        key = version1.block_key(array.path, starts)
        if not array.holds(place, region):
            if place.tail(key, 0) is None:
                if self._is_finished:
                    raise place.damaged_item(key, "is missing")
                return
            before = open_array(place, array.path, (array.n_channels, *array.shape))
            voxels = np.moveaxis(np.asarray(before[(slice(None), *region.slices)]), 0, -1)
            array.write(place, region, voxels)
        # a power cut must not take both
        place.settle(array.key(region))
        place.delete(key)

    def finish(self) -> None:
        """Write the metadata of the volume, those of its group last."""
        place, layout = self._place, self._layout
        for level, array in enumerate(self._writer.levels):
            group, pitch_um = f"{self._path}/scale{level}", layout.um * 2**level
            version1.delete_chunks(place, group)
            for axis, n in zip(_AXES, array.shape, strict=True):
                positions = (np.arange(n, dtype=np.float64) + 0.5) * pitch_um
                write_coordinates(place, group, axis, positions, layout.unit)
            place.write_group(group, {}, keep=True)
            write_array_metadata(place, array.path, _document(array, layout.codec))
        if self._is_finished:
            self._writer.commit()
        else:
            building: Any = msgspec.json.decode(msgspec.json.encode(layout))
            place.write_group(self._path, {"asyncfetch": {_BUILDING: building}})

    @classmethod
    def drop(cls, place: Place, data_set_id: int, view: str) -> None:
        """Remove a volume that is damaged."""
        path = volume_path(data_set_id, view)
        place.withdraw_group(path)
        delete_levels(place, path)


def _document(array: BlockArray, codec: Codec) -> dict[str, Any]:
    return block_document(array.shape, array.n_channels, BLOCK, BLOCK_SHARD, codec)
