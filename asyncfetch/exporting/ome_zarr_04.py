"""Images in OME-Zarr 0.4 and Zarr v2, for programs that do not read 0.5 yet.

Positions are those of the store; what 0.4 has no word for, such as the orientation of axes, is left out. Chunks have a
codec that every reader of that version knows.
"""

from __future__ import annotations

import itertools
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from numcodecs import Blosc

from asyncfetch.exporting.choices import Downsample, Layer  # noqa: TC001 - msgspec reads annotations
from asyncfetch.exporting.pictures import SectionPart, open_picture, parts_of, picture_bytes
from asyncfetch.exporting.protocol import Format, Output
from asyncfetch.exporting.stacks import check_whole, open_stack
from asyncfetch.failures import Failure
from asyncfetch.geometry import tiles_of
from asyncfetch.imaging.pyramid import halve
from asyncfetch.layout.ome import level_scale
from asyncfetch.layout.paths import level_shapes
from asyncfetch.layout.registered import thickness_um_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from asyncfetch.exporting.chosen import Chosen
    from asyncfetch.exporting.files import Facts
    from asyncfetch.exporting.stacks import Stack, StackName

__all__ = ["OmeZarr04"]

type Shape4 = tuple[int, int, int, int]

_CHUNK = 512
_CUBE = 64
#: Pixels per side of a plane that is one chunk, as in the store.
_PLANE = 1024
#: Pixels a side that are read and written at once.
_BLOCK = 2048
_COLORS = (("red", "FF0000"), ("green", "00FF00"), ("blue", "0000FF"))
_LEVEL = (("expression level", "FFFFFF"),)


class OmeZarr04(Format, frozen=True, kw_only=True):
    """Sections, registered planes or volumes, each as an ``.ome.zarr`` of its own."""

    layer: Layer = "registered"
    downsample: Downsample = None

    def outputs(self, chosen: Chosen) -> Iterable[Output | Failure]:
        """Return an image per section, or one per view of a data set for planes and volumes."""
        if self.layer == "sections":
            return self._sections(chosen)
        stack = open_stack(chosen, self.layer)
        return [
            Output(
                name=f"{chosen.stem}_{stack.name}.ome.zarr",
                item=chosen.item,
                view=chosen.view,
                content={**chosen.content_of(chosen.sections, "registered"), **stack.content},
                write=partial(_write_stack, chosen, self.layer, stack),
                working_bytes=2 * stack.plane_bytes,
            )
        ]

    def _sections(self, chosen: Chosen) -> Iterator[Output | Failure]:
        for part in parts_of(chosen, self.downsample):
            if isinstance(part, Failure):
                yield part
                continue
            yield Output(
                name=f"{chosen.stem_of(part.image_id)}.ome.zarr",
                item=f"image:{part.image_id}",
                view=chosen.view,
                content=chosen.content_of([part.image_id], "sections"),
                write=partial(_write_section, chosen, part),
                working_bytes=picture_bytes(chosen.sections[part.image_id]),
            )


def _write_section(chosen: Chosen, part: SectionPart, path: Path) -> Facts:
    section = chosen.sections[part.image_id]
    picture = open_picture(chosen.stored.section(part.image_id), part)
    resolution_um, thickness_um = section.resolution_um or 1.0, thickness_um_of(chosen.record)
    root = zarr.open_group(path, mode="w", zarr_format=2)
    datasets = []
    for level, shape in enumerate(picture.shapes):
        array = _array(root, level, (3, 1, *shape), (1, 1, _CHUNK, _CHUNK))
        for box in tiles_of(shape, _BLOCK):
            array[:, 0, box.y0 : box.y1, box.x0 : box.x1] = np.moveaxis(picture.read(level, box), -1, 0)
        pitch, first = level_scale(resolution_um, part.tier + level)
        y, x = (first + corner * resolution_um * 2**part.tier for corner in (part.box.y0, part.box.x0))
        datasets.append(_dataset(level, (thickness_um, pitch, pitch), (0.0, y, x)))
    name = f"{chosen.title}, section {section.section_number}, image {part.image_id}"
    root.attrs.update(_attributes(name, datasets, 3, is_known=section.resolution_um is not None))
    return {"shape": list(picture.shapes[0])}


def _write_stack(chosen: Chosen, layer: StackName, stack: Stack, path: Path) -> Facts:
    check_whole(chosen, layer)
    n_z, height, width = (stack.shape[axis] for axis in stack.axes)
    step = [stack.step_um[axis] for axis in stack.axes]
    first = [stack.first_um[axis] for axis in stack.axes]
    chunk: tuple[int, int, int] = (_CUBE, _CUBE, _CUBE) if layer == "volume" else (1, _PLANE, _PLANE)
    root = zarr.open_group(path, mode="w", zarr_format=2)
    datasets = []
    for level, shape in enumerate(level_shapes((height, width))):
        array = _array(root, level, (stack.n_channels, n_z, *shape), (1, chunk[0], chunk[1], chunk[2]))
        planes = stack.planes()
        for begin in range(0, n_z, chunk[0]):
            block = np.stack([_halved(each, level) for each in itertools.islice(planes, chunk[0])])
            array[:, begin : begin + len(block)] = np.moveaxis(block, -1, 0)
        size = 2**level
        # only y and x are halved, whose pixels begin half of those that were added further in
        added = (size - 1) / 2
        datasets.append(
            _dataset(
                level,
                (step[0], step[1] * size, step[2] * size),
                (first[0], first[1] + step[1] * added, first[2] + step[2] * added),
            )
        )
    root.attrs.update(_attributes(f"{chosen.title}, {stack.name}", datasets, stack.n_channels))
    return {"shape": [n_z, height, width]}


def _halved(plane: NDArray[np.uint8], level: int) -> NDArray[np.uint8]:
    for _ in range(level):
        plane = halve(plane)
    return plane


def _array(root: zarr.Group, level: int, shape: Shape4, chunk: Shape4) -> zarr.Array[Any]:
    return root.create_array(
        str(level),
        shape=shape,
        chunks=tuple(min(side, whole) for side, whole in zip(chunk, shape, strict=True)),
        dtype="uint8",
        fill_value=0,
        compressors=Blosc(cname="zstd", clevel=3, shuffle=Blosc.SHUFFLE),
        chunk_key_encoding={"name": "v2", "separator": "/"},
    )


def _dataset(
    level: int, scale: tuple[float, float, float], translation: tuple[float, float, float]
) -> dict[str, Any]:
    """Return a level of the multiscale; scale and translation are those of z, y and x."""
    return {
        "path": str(level),
        "coordinateTransformations": [
            {"type": "scale", "scale": [1.0, *scale]},
            {"type": "translation", "translation": [0.0, *translation]},
        ],
    }


def _attributes(
    name: str, datasets: list[dict[str, Any]], n_channels: int, *, is_known: bool = True
) -> dict[str, Any]:
    space: dict[str, Any] = {"type": "space", "unit": "micrometer"} if is_known else {"type": "space"}
    multiscale = {
        "version": "0.4",
        "name": name,
        "axes": [{"name": "c", "type": "channel"}, *({"name": axis, **space} for axis in "zyx")],
        "datasets": datasets,
        "type": "mean",
    }
    window = {"min": 0, "max": 255, "start": 0, "end": 255}
    channels = [
        {"label": label, "color": color, "active": True, "window": window}
        for label, color in (_COLORS if n_channels == 3 else _LEVEL)
    ]
    return {
        "multiscales": [multiscale],
        "omero": {"name": name, "version": "0.4", "channels": channels, "rdefs": {"model": "color"}},
    }
