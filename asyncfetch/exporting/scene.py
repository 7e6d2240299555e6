"""The sections of a view as a scene of NGFF 0.6 (RFC-5): each with its affine in the reference space, in one folder.

What a store that was made with ``ngff="0.6"`` says of its sections, this says of those of any store; pixels that are
stored as JPEGs alone are decoded for it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from zarr.codecs import ZstdCodec

from asyncfetch.errors import AlignmentError
from asyncfetch.exporting.choices import Downsample  # noqa: TC001 - msgspec reads annotations
from asyncfetch.exporting.pictures import SectionPart, open_picture, parts_of, picture_bytes
from asyncfetch.exporting.protocol import Format, Output
from asyncfetch.failures import Failure
from asyncfetch.geometry import tiles_of
from asyncfetch.layout.ome import section_attributes
from asyncfetch.layout.registered import thickness_um_of
from asyncfetch.layout.scene import SECTION, as_06, scene_attributes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from asyncfetch.exporting.chosen import Chosen
    from asyncfetch.exporting.files import Facts
    from asyncfetch.layout.commit import Commit

__all__ = ["Scene"]

#: Pixels per side of a chunk and of a shard, as in the store.
_CHUNK, _SHARD = 512, 2048


class Scene(Format, frozen=True, kw_only=True):
    """A view of a data set as one ``.ome.zarr``, which napari-ome-zarr shows as a stack of tilted sections."""

    downsample: Downsample = None

    def outputs(self, chosen: Chosen) -> Iterable[Output | Failure]:
        """Return one folder per view of a data set; a section without a place in the reference space is a failure."""
        found: list[SectionPart] = []
        for part in parts_of(chosen, self.downsample):
            if isinstance(part, Failure):
                yield part
            elif chosen.stored.section(part.image_id).commit.image_to_reference is None:
                error = AlignmentError(f"image {part.image_id} has no place in the reference space")
                yield Failure.of(f"image:{part.image_id}", error, chosen.view)
            else:
                found.append(part)
        if found:
            yield Output(
                name=f"{chosen.stem}_scene.ome.zarr",
                item=chosen.item,
                view=chosen.view,
                content=chosen.content_of([part.image_id for part in found], "sections"),
                write=partial(_write, chosen, found),
                working_bytes=max(picture_bytes(chosen.sections[part.image_id]) for part in found),
            )


def _write(chosen: Chosen, parts: Sequence[SectionPart], path: Path) -> Facts:
    root = zarr.open_group(path, mode="w", zarr_format=3)
    commits = [_write_section(chosen, part, root) for part in parts]
    root.attrs["ome"] = scene_attributes(commits, chosen.record)
    return {"n_sections": len(parts)}


def _write_section(chosen: Chosen, part: SectionPart, root: zarr.Group) -> Commit:
    stored = chosen.stored.section(part.image_id)
    commit, picture = stored.commit, open_picture(stored, part)
    group = root.create_group(str(part.image_id))
    for level, shape in enumerate(picture.shapes):
        array = _array(group, f"scale{level}/image", shape)
        for box in tiles_of(shape, _SHARD):
            array[:, 0, box.y0 : box.y1, box.x0 : box.x1] = np.moveaxis(picture.read(level, box), -1, 0)
    ome = section_attributes(
        f"{chosen.title}, section {commit.section_number}",
        n_levels=len(picture.shapes),
        downsample=part.tier,
        resolution_um=commit.resolution_um,
        section_thickness_um=thickness_um_of(chosen.record),
    )
    pixel_um = (commit.resolution_um or 1.0) * 2**part.tier
    for dataset in ome["multiscales"][0]["datasets"]:
        translation = dataset["coordinateTransformations"][1]["translation"]
        # a part begins where its corner is
        translation[2] += part.box.y0 * pixel_um
        translation[3] += part.box.x0 * pixel_um
    group.attrs["ome"] = as_06(ome, SECTION)
    return commit


def _array(group: zarr.Group, path: str, shape: tuple[int, int]) -> zarr.Array[Any]:
    # no larger than the image, rounded up to whole chunks
    shard = tuple(min(_SHARD, -(-side // _CHUNK) * _CHUNK) for side in shape)
    return group.create_array(
        path,
        shape=(3, 1, *shape),
        chunks=(3, 1, _CHUNK, _CHUNK),
        shards=(3, 1, *shard),
        dtype="uint8",
        fill_value=0,
        filters=(),
        compressors=ZstdCodec(level=1, checksum=True),
        dimension_names=("c", "z", "y", "x"),
    )
