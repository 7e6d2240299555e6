"""OME-TIFF: pyramids in tiles, for QuPath, Fiji (Bio-Formats) and whatever else opens slides.

Each image of a file keeps its coarser levels in SubIFDs, as OME-TIFF 6.0 has it. Tiles are read, compressed and written
one after another, so that memory does not grow with the image where the store holds its levels.
"""

from __future__ import annotations

import uuid
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import msgspec
import numpy as np

from asyncfetch.exporting.choices import Downsample, Layer, Quality  # noqa: TC001 - msgspec reads annotations
from asyncfetch.exporting.formats import needed
from asyncfetch.exporting.pictures import SectionPart, open_picture, parts_of, picture_bytes
from asyncfetch.exporting.protocol import Format, Output
from asyncfetch.exporting.stacks import Stack, StackName, check_whole, open_stack
from asyncfetch.failures import Failure
from asyncfetch.geometry import tiles_of
from asyncfetch.imaging.pyramid import halve
from asyncfetch.layout.ome import level_scale
from asyncfetch.layout.paths import level_shapes
from asyncfetch.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from asyncfetch.exporting.chosen import Chosen
    from asyncfetch.exporting.files import Facts
    from asyncfetch.exporting.pictures import Picture

__all__ = ["OmeTiff"]

#: Pixels per side of a tile: the chunks of the store.
TILE = 512
#: Files that could grow beyond what 32 bits address are BigTIFF.
_MAX_CLASSIC_BYTES = 2**31
#: As tifffile names them; 8 is the number of deflate that all readers know, and "deflate" an older one.
_COMPRESSIONS: dict[str, dict[str, Any]] = {
    "deflate": {"compression": "adobe_deflate", "predictor": True},
    "jpeg": {"compression": "jpeg"},
    "none": {},
}


class OmeTiff(Format, frozen=True, kw_only=True):
    """Sections, registered planes or volumes as ``.ome.tif``."""

    needs: ClassVar[tuple[str, ...]] = ("tifffile",)

    layer: Layer = "sections"
    downsample: Downsample = None
    compression: Annotated[
        Literal["deflate", "jpeg", "none"],
        msgspec.Meta(
            description="deflate keeps every pixel as it is; jpeg is lossy and five times smaller.",
            extra={"metavar": "METHOD"},
        ),
    ] = "deflate"
    quality: Quality = 90

    def outputs(self, chosen: Chosen) -> Iterable[Output | Failure]:
        """Return a file per section, or one per view of a data set for planes and volumes."""
        if self.layer == "sections":
            return self._sections(chosen)
        return [self._stack(chosen, self.layer)]

    def _sections(self, chosen: Chosen) -> Iterator[Output | Failure]:
        for part in parts_of(chosen, self.downsample):
            if isinstance(part, Failure):
                yield part
                continue
            yield Output(
                name=f"{chosen.stem_of(part.image_id)}.ome.tif",
                item=f"image:{part.image_id}",
                view=chosen.view,
                content=chosen.content_of([part.image_id], "sections"),
                write=partial(self._write_section, chosen, part),
                working_bytes=picture_bytes(chosen.sections[part.image_id]),
            )

    def _write_section(self, chosen: Chosen, part: SectionPart, path: Path) -> Facts:
        section, box = chosen.sections[part.image_id], part.box
        picture = open_picture(chosen.stored.section(part.image_id), part)
        name = f"{chosen.title}, section {section.section_number}, image {part.image_id}"
        metadata: dict[str, Any] = {"axes": "YXS", "Name": name, "Channel": {"Name": ["RGB"]}}
        pitch_um = None
        if section.resolution_um:
            pitch_um, first_um = level_scale(section.resolution_um, part.tier)
            metadata |= _sizes_um(X=pitch_um, Y=pitch_um)
            metadata["Plane"] = _positions_um(
                1, X=[first_um + pitch_um * box.x0], Y=[first_um + pitch_um * box.y0]
            )
        self._write(path, metadata, pitch_um, picture.shapes, (), 3, partial(_tiles_of_picture, picture))
        return {"shape": list(picture.shapes[0]), "um": pitch_um, "box": list(box), "downsample": part.tier}

    def _stack(self, chosen: Chosen, layer: StackName) -> Output:
        stack = open_stack(chosen, layer)
        return Output(
            name=f"{chosen.stem}_{stack.name}.ome.tif",
            item=chosen.item,
            view=chosen.view,
            content={**chosen.content_of(chosen.sections, "registered"), **stack.content},
            write=partial(self._write_stack, chosen, layer, stack),
            working_bytes=stack.plane_bytes,
        )

    def _write_stack(self, chosen: Chosen, layer: StackName, stack: Stack, path: Path) -> Facts:
        check_whole(chosen, layer)
        z, y, x = stack.axes
        n_z, height, width = (stack.shape[axis] for axis in stack.axes)
        is_rgb = stack.n_channels == 3
        metadata: dict[str, Any] = {
            "axes": "ZYXS" if is_rgb else "ZYX",
            "Name": f"{chosen.title}, {stack.name}",
            "Channel": {"Name": ["RGB" if is_rgb else "expression level"]},
            **_sizes_um(X=stack.step_um[x], Y=stack.step_um[y], Z=stack.step_um[z]),
            "Plane": _positions_um(
                n_z,
                X=[stack.first_um[x]] * n_z,
                Y=[stack.first_um[y]] * n_z,
                Z=[stack.first_um[z] + k * stack.step_um[z] for k in range(n_z)],
            ),
        }
        shapes = level_shapes((height, width))
        self._write(
            path,
            metadata,
            stack.step_um[x],
            shapes,
            (n_z,),
            stack.n_channels,
            partial(_tiles_of_stack, stack),
        )
        return {"shape": [n_z, height, width], "um": stack.step_um[x]}

    def _write(
        self,
        path: Path,
        metadata: dict[str, Any],
        pitch_um: float | None,
        shapes: Sequence[tuple[int, int]],
        leading: tuple[int, ...],
        n_channels: int,
        tiles: Any,
    ) -> None:
        """Write the levels, the finest first; `tiles` yields those of a level."""
        tifffile = needed("tifffile")
        trailing = (3,) if n_channels == 3 else ()
        options: dict[str, Any] = {
            "dtype": np.uint8,
            "tile": (TILE, TILE),
            "photometric": "rgb" if n_channels == 3 else "minisblack",
            **_COMPRESSIONS[self.compression],
            # the threads of the export write other files meanwhile
            "maxworkers": 1,
        }
        if self.compression == "jpeg":
            options["compressionargs"] = {"level": self.quality}
        n_bytes = n_channels * int(np.prod(leading, initial=1)) * sum(h * w for h, w in shapes)
        # tifffile would draw one, and the same export would never give the same bytes
        name = uuid.uuid5(uuid.NAMESPACE_OID, f"{metadata['Name']} {shapes[0]}")
        metadata = {**metadata, "UUID": f"urn:uuid:{name}", "Creator": f"asyncfetch {__version__}"}
        with tifffile.TiffWriter(path, ome=True, bigtiff=n_bytes > _MAX_CLASSIC_BYTES) as out:
            for level, shape in enumerate(shapes):
                of_level: dict[str, Any] = (
                    {"subifds": len(shapes) - 1, "metadata": metadata, "software": "asyncfetch"}
                    if level == 0
                    else {"subfiletype": 1, "metadata": None}
                )
                if pitch_um is not None:
                    per_cm = 1e4 / (pitch_um * 2**level)
                    of_level |= {"resolution": (per_cm, per_cm), "resolutionunit": "CENTIMETER"}
                out.write(tiles(level), shape=(*leading, *shape, *trailing), **options, **of_level)


def _sizes_um(**sizes: float) -> dict[str, Any]:
    pairs = [(f"PhysicalSize{axis}", size) for axis, size in sizes.items()]
    return dict(pairs) | {f"{name}Unit": "µm" for name, _ in pairs}


def _positions_um(n_planes: int, **positions: list[float]) -> dict[str, Any]:
    pairs = [(f"Position{axis}", each) for axis, each in positions.items()]
    return dict(pairs) | {f"{name}Unit": ["µm"] * n_planes for name, _ in pairs}


def _tiles_of_picture(picture: Picture, level: int) -> Iterator[NDArray[np.uint8]]:
    for box in tiles_of(picture.shapes[level], TILE):
        yield _padded(picture.read(level, box))


def _tiles_of_stack(stack: Stack, level: int) -> Iterator[NDArray[np.uint8]]:
    for plane in stack.planes():
        for _ in range(level):
            plane = halve(plane)
        for box in tiles_of((plane.shape[0], plane.shape[1]), TILE):
            tile = _padded(plane[box.slices])
            yield tile if stack.n_channels == 3 else tile[..., 0]


def _padded(tile: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Fill a tile at the edge up with its last pixels, which a JPEG compresses without a halo."""
    missing = [(0, TILE - side) for side in tile.shape[:2]]
    return np.pad(tile, (*missing, (0, 0)), mode="edge") if any(each[1] for each in missing) else tile
