"""Images of a store as layers: where each lies in µm, in a space that all layers of one call share."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from asyncfetch.geometry import SPACE_TRANSFORMS, Affine3D
from asyncfetch.readers.images import UNKNOWN
from asyncfetch.readers.napari_plugin.arrays import ColoursLast

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from asyncfetch.readers.images import PlacedImage

__all__ = ["LayerData", "World", "layer_in_space", "layers_in_place", "layers_side_by_side"]

#: What a reader of napari gives for each layer.
type LayerData = tuple[list[ColoursLast], dict[str, Any], str]

_AXES = "pir"
_STILL = Affine3D(np.eye(3, 4))
#: Space 9 runs from left to right, as people draw it.
_COMMON_SPACE = 9
#: Of a cell's side, between sections that lie side by side.
_MARGIN = 0.05


@dataclass(frozen=True)
class World:
    """The space that the layers of one call share.

    Attributes
    ----------
    axes : tuple of int
        Which axes of (p, i, r) its own are.
    space_id : int
        The API's id of the reference space, -1 where it is not known.
    """

    axes: tuple[int, int, int]
    space_id: int

    @classmethod
    def of(cls, images: Iterable[PlacedImage]) -> World:
        """Return the space in which images can be shown together.

        Its axes are those of the planes, so that the viewer opens on planes as they were cut; (p, i, r) where they were
        cut in different directions, or there are volumes alone. Its space is that of the images, or 9 where they lie in
        different ones.
        """
        shown = list(images)
        planes = {image.axes for image in shown if image.kind == "registered" and image.axes is not None}
        spaces = {image.about.reference_space_id for image in shown}
        return cls(
            axes=planes.pop() if len(planes) == 1 else (0, 1, 2),
            space_id=spaces.pop() if len(spaces) == 1 else _COMMON_SPACE,
        )

    def from_space(self, space_id: int) -> Affine3D:
        """Return what leads from (p, i, r) of another reference space to that of this one; none is known of most."""
        return SPACE_TRANSFORMS.get((space_id, self.space_id), _STILL)

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the axes."""
        return tuple(_AXES[axis] for axis in self.axes)


def layer_in_space(image: PlacedImage, world: World, *, is_visible: bool = True) -> LayerData:
    """Return registered planes or a volume as a layer in the reference space."""
    assert image.axes is not None, "sections lie in their own frame"
    order = [image.axes.index(axis) for axis in world.axes]
    finest = image.levels[0]
    moved = world.from_space(image.about.reference_space_id)
    scale, translate = [], []
    for stored, axis in zip(order, world.axes, strict=True):
        # the transforms that are known turn an axis around and move it, and nothing else
        sign, offset = float(moved.linear[axis, axis]), float(moved.offset[axis])
        scale.append(sign * finest.pitch[stored])
        translate.append(sign * finest.origin[stored] + offset)
    options = {
        **_options(image, is_visible=is_visible),
        "scale": scale,
        "translate": translate,
        "axis_labels": world.labels,
        "units": tuple(image.units[stored] or "pixel" for stored in order),
    }
    return _levels(image, order), options, "image"


def layers_side_by_side(images: Sequence[PlacedImage]) -> Iterator[LayerData]:
    """Yield sections as flat layers in their own frames: one where it is, several in rows and columns."""
    if not images:
        return
    sizes = np.array([[_extent(image, axis) for axis in (1, 2)] for image in images])
    cell = sizes.max(axis=0) * (1 + _MARGIN)
    n_columns = math.ceil(math.sqrt(len(images)))
    for number, image in enumerate(images):
        corner = np.array(divmod(number, n_columns)) * cell
        finest = image.levels[0]
        options = {
            **_options(image),
            "scale": list(finest.pitch[1:]),
            "translate": (np.array(finest.origin[1:]) + corner).tolist(),
            "axis_labels": ("y", "x"),
            "units": tuple(unit or "pixel" for unit in image.units[1:]),
        }
        yield _levels(image, (1, 2)), options, "image"


def layers_in_place(images: Iterable[PlacedImage], world: World) -> Iterator[LayerData]:
    """Yield sections as layers of one plane each, where they lie in the reference space; those without a place not."""
    for image in images:
        if image.affine is None or image.across_um is None:
            continue
        finest = image.levels[0]
        moved = world.from_space(image.about.reference_space_id)
        # from z, y and x of the section to (p, i, r), and on to the axes of the viewer
        columns = np.column_stack(
            [image.across_um, image.affine[:, 1], image.affine[:, 0], image.affine[:, 2]]
        )
        placed = moved.linear @ columns
        placed[:, 3] += moved.offset
        affine = np.eye(4)
        affine[:3] = placed[list(world.axes)]
        options = {
            **_options(image),
            "scale": [1.0, *finest.pitch[1:]],
            "translate": [0.0, *finest.origin[1:]],
            "affine": affine,
            "axis_labels": world.labels,
            "units": ("micrometer",) * 3,
        }
        yield _levels(image, (0, 1, 2)), options, "image"


def _levels(image: PlacedImage, axes: Sequence[int]) -> list[ColoursLast]:
    return [ColoursLast(level, axes) for level in image.levels]


def _options(image: PlacedImage, *, is_visible: bool = True) -> dict[str, Any]:
    about = image.about
    sections: dict[str, NDArray[np.int64]] = {
        "image_ids": image.image_ids,
        "section_numbers": image.section_numbers,
    }
    told = {
        "path": image.path,
        "data_set_id": about.data_set_id,
        "view": about.view,
        "gene": about.gene,
        "plane": about.plane,
        "age": about.age,
        "reference_space_id": None if about.reference_space_id == UNKNOWN else about.reference_space_id,
        **{name: values.tolist() for name, values in sections.items() if len(values)},
    }
    return {
        "name": image.name,
        "rgb": len(image.channels) > 1,
        "multiscale": True,
        "visible": is_visible,
        "metadata": {"asyncfetch": told},
    }


def _extent(image: PlacedImage, axis: int) -> float:
    finest = image.levels[0]
    return finest.origin[axis] + finest.pitch[axis] * finest.shape[1 + axis]
