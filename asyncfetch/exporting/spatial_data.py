"""SpatialData: the sections of a view as images, or its planes or volume as one, with the place of each in two frames.

``section`` is a section's own frame, in µm. ``reference`` has x, y and z along r, i and p of space 9, in µm, to which
images of space 10 are taken by the API's own transform, r9 = 11350 - r10 (REC-5). Pixels are read while they are
written, so that memory does not grow with the images that the store holds in levels.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from asyncfetch.exporting.choices import Downsample, Layer  # noqa: TC001 - msgspec reads annotations
from asyncfetch.exporting.formats import needed
from asyncfetch.exporting.pictures import SectionPart, open_picture, parts_of, picture_bytes
from asyncfetch.exporting.places import section_to_world, stack_to_world
from asyncfetch.exporting.protocol import Format, Output
from asyncfetch.exporting.stacks import check_whole, open_stack
from asyncfetch.failures import Failure
from asyncfetch.geometry import Box
from asyncfetch.layout.ome import level_scale

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from asyncfetch.exporting.chosen import Chosen
    from asyncfetch.exporting.files import Facts
    from asyncfetch.exporting.pictures import Picture
    from asyncfetch.exporting.stacks import Stack, StackName

__all__ = ["SpatialData"]

_BLOCK = 2048
_COLORS = ("red", "green", "blue")


class SpatialData(Format, frozen=True, kw_only=True):
    """One SpatialData store per view of a data set."""

    needs: ClassVar[tuple[str, ...]] = ("spatialdata",)
    extra: ClassVar[str] = "spatialdata"

    layer: Layer = "sections"
    downsample: Downsample = None

    def outputs(self, chosen: Chosen) -> Iterator[Output | Failure]:
        """Return one store."""
        if self.layer != "sections":
            stack = open_stack(chosen, self.layer)
            to_world = stack_to_world(stack, chosen.item)
            write = partial(_write_stack, chosen, self.layer, stack, to_world)
            content = {**chosen.content_of(chosen.sections, "registered"), **stack.content}
            name, n_bytes = f"{chosen.stem}_{stack.name}", 2 * stack.plane_bytes
        else:
            parts = []
            for part in parts_of(chosen, self.downsample):
                if isinstance(part, Failure):
                    yield part
                else:
                    parts.append(part)
            write = partial(_write_sections, chosen, parts)
            content = chosen.content_of([part.image_id for part in parts], "sections")
            name, n_bytes = chosen.stem, sum(picture_bytes(chosen.sections[part.image_id]) for part in parts)
            if not parts:
                return
        yield Output(f"{name}.spatialdata.zarr", chosen.item, chosen.view, content, write, n_bytes)


def _write_sections(chosen: Chosen, parts: Sequence[SectionPart], path: Path) -> Facts:
    images = {}
    for part in parts:
        section = chosen.sections[part.image_id]
        picture = open_picture(chosen.stored.section(part.image_id), part)
        pitch_um, first_um = level_scale(section.resolution_um or 1.0, part.tier)
        # the first pixel is centred at one half there
        corners_um = [first_um + (corner - 0.5) * pitch_um for corner in (part.box.y0, part.box.x0)]
        to_section = np.array(
            [[pitch_um, 0.0, corners_um[0]], [0.0, pitch_um, corners_um[1]], [0.0, 0.0, 1.0]]
        )
        to_reference = section_to_world(chosen, part.image_id)[:, 1:] @ to_section
        images[f"section_{section.section_number or 0:04d}_{part.image_id}"] = needed(
            "spatialdata.models"
        ).Image2DModel.parse(
            _lazy(picture),
            dims=("c", "y", "x"),
            c_coords=_COLORS,
            scale_factors=[2] * (len(picture.shapes) - 1) or None,
            transformations={
                "section": _affine(to_section, "yx", "yx"),
                "reference": _affine(np.vstack([to_reference, [0.0, 0.0, 1.0]]), "yx", "zyx"),
            },
        )
    return _write(chosen, images, path)


def _write_stack(
    chosen: Chosen, layer: StackName, stack: Stack, to_world: NDArray[np.float64], path: Path
) -> Facts:
    check_whole(chosen, layer)
    step, first = (np.array([each[axis] for axis in stack.axes]) for each in (stack.step_um, stack.first_um))
    to_space = np.eye(4)
    to_space[:3] = np.column_stack([np.diag(step), first - step / 2])
    image = needed("spatialdata.models").Image3DModel.parse(
        _lazy_stack(stack),
        dims=("c", "z", "y", "x"),
        c_coords=_COLORS if stack.n_channels == 3 else ("expression level",),
        transformations={"reference": _affine(np.vstack([to_world @ to_space, [0, 0, 0, 1]]), "zyx", "zyx")},
    )
    return _write(chosen, {stack.name.replace(".", "_"): image}, path)


def _affine(matrix: NDArray[np.float64], source: str, target: str) -> Any:
    return needed("spatialdata.transformations").Affine(
        matrix, input_axes=tuple(source), output_axes=tuple(target)
    )


def _lazy(picture: Picture) -> Any:
    """Return the pixels (c, y, x) as an array of Dask, which reads a block when it is written."""

    def block(block_info: Any = None) -> NDArray[np.uint8]:
        _, (y0, y1), (x0, x1) = block_info[None]["array-location"]
        return np.moveaxis(picture.read(0, Box(y0, x0, y1, x1)), -1, 0)

    chunks = ((3,), *(_cut(side, _BLOCK) for side in picture.shapes[0]))
    return needed("dask.array").map_blocks(block, chunks=chunks, dtype=np.uint8, meta=np.empty(0, np.uint8))


def _lazy_stack(stack: Stack) -> Any:
    """Return the voxels (c, z, y, x) as an array of Dask."""

    def block(block_info: Any = None) -> NDArray[np.uint8]:
        location = block_info[None]["array-location"][1:]
        begin, end = [0, 0, 0], [0, 0, 0]
        for axis, (start, stop) in zip(stack.axes, location, strict=True):
            begin[axis], end[axis] = start, stop
        voxels = stack.read((begin[0], begin[1], begin[2]), (end[0], end[1], end[2]))
        return voxels.transpose(3, *stack.axes)

    n_z, *across = (stack.shape[axis] for axis in stack.axes)
    chunks = ((stack.n_channels,), _cut(n_z, int(stack.array.chunks[1])), *((side,) for side in across))
    return needed("dask.array").map_blocks(block, chunks=chunks, dtype=np.uint8, meta=np.empty(0, np.uint8))


def _cut(side: int, step: int) -> tuple[int, ...]:
    return tuple(min(step, side - begin) for begin in range(0, side, step))


def _write(chosen: Chosen, images: dict[str, Any], path: Path) -> Facts:
    attributes = {"data_set_id": chosen.data_set_id, "view": chosen.view, "genes": chosen.genes}
    store = needed("spatialdata").SpatialData(images=images, attrs={"asyncfetch": attributes})
    # the threads of the export write other files meanwhile
    with needed("dask").config.set(scheduler="synchronous"):
        store.write(path)
    return {"n_images": len(images)}
