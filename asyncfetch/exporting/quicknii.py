"""QuickNII: pictures of sections, and where each lies in the voxels of the CCFv3 of QuickNII, VisuAlign and DeepSlice.

The voxels of these programs count from the corner of the volume that is left, posterior and inferior: x runs to the
right, y to anterior and z to superior, 456 x 528 x 320 of 25 µm. An anchoring has nine numbers: the corner of the
image that is left and above (o), from there to the right one (u), and to the one below (v), so that a point lies at
o + u · x / width + v · y / height. Corners are those of pixels, not their centres.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
import numpy as np

from asyncfetch.exporting.choices import Downsample, Quality  # noqa: TC001 - msgspec reads annotations
from asyncfetch.exporting.pictures import (
    SectionPart,
    coarser,
    open_picture,
    parts_of,
    picture_bytes,
    write_picture,
)
from asyncfetch.exporting.protocol import Format, Made, Output
from asyncfetch.exporting.space import to_world_space
from asyncfetch.failures import Failure
from asyncfetch.geometry import Box
from asyncfetch.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from asyncfetch.exporting.chosen import Chosen
    from asyncfetch.exporting.files import Facts

__all__ = ["QuickNii", "anchoring_of"]

#: The atlas, by the name of the folder that QuickNII and VisuAlign ship it in.
TARGET = "ABA_Mouse_CCFv3_2017_25um.cutlas"
#: Voxels along its x, y and z.
TARGET_SHAPE = (456, 528, 320)
_VOXEL_UM = 25.0
#: QuickNII opens no larger pictures.
MAX_PIXELS = 16_000_000
#: From (p, i, r, 1) of space 9 in µm to (x, y, z) in voxels.
_TO_VOXELS = np.array(
    [
        [0.0, 0.0, 1 / _VOXEL_UM, 0.0],
        [-1 / _VOXEL_UM, 0.0, 0.0, float(TARGET_SHAPE[1])],
        [0.0, -1 / _VOXEL_UM, 0.0, float(TARGET_SHAPE[2])],
    ]
)


class QuickNii(Format, frozen=True, kw_only=True):
    """Pictures ``…_sNNN.png`` and their anchorings as JSON, one list per view of a data set."""

    downsample: Downsample = None
    image: Annotated[
        Literal["png", "jpeg"],
        msgspec.Meta(
            description="png keeps every pixel as it is; jpeg is smaller.", extra={"metavar": "KIND"}
        ),
    ] = "png"
    quality: Quality = 90

    def outputs(self, chosen: Chosen) -> Iterator[Output | Failure]:
        """Return a picture per section."""
        ending = "png" if self.image == "png" else "jpg"
        for part in parts_of(chosen, self.downsample):
            if isinstance(part, Failure):
                yield part
                continue
            section = chosen.sections[part.image_id]
            yield Output(
                # these programs look for the section number at the end
                name=f"{chosen.stem}_{part.image_id}_s{section.section_number or 0:04d}.{ending}",
                item=f"image:{part.image_id}",
                view=chosen.view,
                content=chosen.content_of([part.image_id], "sections"),
                write=partial(self._write, chosen, part),
                working_bytes=picture_bytes(section) + 6 * MAX_PIXELS,
            )

    def _write(self, chosen: Chosen, part: SectionPart, path: Path) -> Facts:
        section = chosen.sections[part.image_id]
        matrix = chosen.stored.geometry(part.image_id).image_to_reference_matrix()
        to_world = to_world_space(chosen.record.reference_space_id, chosen.item)
        while np.prod(part.box.shape) > MAX_PIXELS:
            part = coarser(section, part)
        picture = open_picture(chosen.stored.section(part.image_id), part)
        pixels = picture.read(0, Box.of_shape(picture.shapes[0]))
        write_picture(path, pixels, self.image, self.quality)
        height, width = pixels.shape[:2]
        return {
            "list": f"{chosen.stem}.json",
            "name": chosen.title,
            "nr": section.section_number or 0,
            "width": width,
            "height": height,
            "downsample": part.tier,
            "anchoring": anchoring_of(matrix, to_world, part),
        }

    def closing(self, folder: Path, made: Sequence[Made]) -> Iterable[Output]:
        """Return the lists of anchorings, which name the pictures beside them."""
        lists: dict[str, list[Made]] = {}
        for each in made:
            lists.setdefault(each.facts["list"], []).append(each)
        for name, pictures in lists.items():
            yield Output(
                name=name,
                item=name,
                view=pictures[0].view,
                content={},
                write=partial(_write_list, pictures),
            )


def anchoring_of(
    image_to_reference: NDArray[np.float64], to_world: NDArray[np.float64], part: SectionPart
) -> list[float]:
    """Return the anchoring of a part of a section.

    Parameters
    ----------
    image_to_reference : (3, 3) array of float64
        Takes (x, y, 1), in full-resolution pixels, to (p, i, r) in µm.
    to_world : (4, 4) array of float64
        Takes (p, i, r, 1) of that space to those of space 9.
    part : SectionPart
        The pixels.

    Returns
    -------
    list of float
        (ox, oy, oz, ux, uy, uz, vx, vy, vz) in voxels of the target.
    """
    size, box = 2**part.tier, part.box
    corners = np.array([[box.x0, box.y0], [box.x1, box.y0], [box.x0, box.y1]]) * size - 0.5
    reference = np.column_stack([corners, np.ones(3)]) @ image_to_reference.T
    voxels = np.column_stack([reference, np.ones(3)]) @ (_TO_VOXELS @ to_world).T
    return [float(each) for each in (*voxels[0], *(voxels[1] - voxels[0]), *(voxels[2] - voxels[0]))]


def _write_list(pictures: Sequence[Made], path: Path) -> Facts:
    slices = [
        {
            "filename": each.name.rpartition("/")[2],
            "anchoring": each.facts["anchoring"],
            "height": each.facts["height"],
            "width": each.facts["width"],
            "nr": each.facts["nr"],
            "markers": [],
        }
        for each in sorted(pictures, key=lambda each: (each.facts["nr"], each.name))
    ]
    document = {
        "name": pictures[0].facts["name"],
        "target": TARGET,
        "target-resolution": TARGET_SHAPE,
        "aligner": f"asyncfetch {__version__}",
        "slices": slices,
    }
    path.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=1))
    return {"n_slices": len(slices)}
