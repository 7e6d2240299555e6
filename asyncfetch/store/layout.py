"""Where everything lies in a store of layout version 1: paths, chunks, shards and section slots. Pure.

::

    OUT/                                           group
      data_sets/<id>/                              group, the data set's record
        <view>/sections/<image_id>/                group, the commit; scale0/{image,y,x} scale1/… when stored
        <view>/source/<image_id>                   array of one chunk: the server's JPEG
        <view>/registered/scale0/{image,y,x}       array, one z a slot
        <view>/volume/scale0/{image,z,y,x} scale1/…  array of the whole reference space, derived from `registered`
        table/                                     one array a column
      catalogue/structure_centers/<space>          group, the rows of StructureCenter; optional, as all of catalogue
      catalogue/space_transforms                   group, the rows of ReferenceToReferenceTransform
      catalogue/atlases/<id>                       group, the row of Atlas and the data sets of its plates

A chunk holds 512 x 512 pixels of three colours; a shard holds up to 4 x 4 chunks and is clipped to the image
rounded up to chunks, so that a small image does not carry the index of a large one.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

import msgspec

from asyncfetch.store.bounds import Id, Position, SectionNumber  # noqa: TC001 - msgspec reads annotations

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "CHUNK",
    "LAYOUT_VERSION",
    "LOCK_PATH",
    "SHARD",
    "SMALLEST_LEVEL",
    "SPACE_TRANSFORMS_PATH",
    "Slot",
    "atlas_path",
    "data_set_path",
    "level_shapes",
    "plan_slots",
    "registered_path",
    "section_path",
    "sections_path",
    "shard_shape",
    "slot_spacing",
    "source_path",
    "structure_centers_path",
    "table_path",
    "view_path",
    "volume_path",
]

#: What this package writes and reads; a store says it in ``attributes.asyncfetch.layout`` of its root.
LAYOUT_VERSION = 1
#: Pixels a side of a chunk.
CHUNK = 512
#: Most pixels a side of a shard.
SHARD = 2048
#: Levels are halved until the longer side is no longer than this.
SMALLEST_LEVEL = 512

#: The group that is there while a run writes to the store, and names it.
LOCK_PATH = ".asyncfetch-lock"
#: The path of the group that holds the transforms between reference spaces.
SPACE_TRANSFORMS_PATH = "catalogue/space_transforms"


def structure_centers_path(reference_space_id: int | None = None) -> str:
    """Return the path of the group that holds the structure centres of a space, or of the group above them."""
    path = "catalogue/structure_centers"
    return path if reference_space_id is None else f"{path}/{reference_space_id}"


def atlas_path(atlas_id: int | None = None) -> str:
    """Return the path of the group that holds an atlas, or of the group above them."""
    return "catalogue/atlases" if atlas_id is None else f"catalogue/atlases/{atlas_id}"


def data_set_path(data_set_id: int) -> str:
    """Return the path of a data set's group."""
    return f"data_sets/{data_set_id}"


def view_path(data_set_id: int, view: str) -> str:
    """Return the path of the group of one view of a data set."""
    return f"{data_set_path(data_set_id)}/{view}"


def sections_path(data_set_id: int, view: str) -> str:
    """Return the path of the collection of section groups."""
    return f"{view_path(data_set_id, view)}/sections"


def section_path(data_set_id: int, view: str, image_id: int) -> str:
    """Return the path of a section's group, which holds its commit."""
    return f"{sections_path(data_set_id, view)}/{image_id}"


def source_path(data_set_id: int, view: str, image_id: int) -> str:
    """Return the path of the array whose one chunk is the server's JPEG."""
    return f"{view_path(data_set_id, view)}/source/{image_id}"


def registered_path(data_set_id: int, view: str) -> str:
    """Return the path of the registered image's group."""
    return f"{view_path(data_set_id, view)}/registered"


def volume_path(data_set_id: int, view: str) -> str:
    """Return the path of the group of the volume that is derived from the registered image."""
    return f"{view_path(data_set_id, view)}/volume"


def table_path(data_set_id: int) -> str:
    """Return the path of the group that holds the columns of a data set's sections."""
    return f"{data_set_path(data_set_id)}/table"


def shard_shape(shape: tuple[int, int]) -> tuple[int, int]:
    """Return the shard of an image of this shape.

    Parameters
    ----------
    shape : tuple of int
        (y, x) in pixels.

    Returns
    -------
    tuple of int
        (y, x): each side rounded up to whole chunks, at most `SHARD`.

    Examples
    --------
    >>> shard_shape((320, 456)), shard_shape((9000, 600))
    ((512, 512), (2048, 1024))
    """
    height, width = (min(SHARD, CHUNK * max(1, -(-side // CHUNK))) for side in shape)
    return height, width


def level_shapes(shape: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    """Return the shapes of an image's levels, each half of the one before, rounded down.

    The last level is the first whose longer side is at most `SMALLEST_LEVEL`; none has an empty side.

    Parameters
    ----------
    shape : tuple of int
        (y, x) of the finest level, in pixels.

    Examples
    --------
    >>> level_shapes((1800, 1101))
    ((1800, 1101), (900, 550), (450, 275))
    """
    shapes = [shape]
    while max(shapes[-1]) > SMALLEST_LEVEL and min(shapes[-1]) > 1:
        shapes.append((shapes[-1][0] // 2, shapes[-1][1] // 2))
    return tuple(shapes)


class Slot(msgspec.Struct, frozen=True, kw_only=True):
    """Hold one z of a registered image.

    Attributes
    ----------
    z : int
        Index along the slice axis, from 0.
    section_number : int
        The section number that belongs there.
    image_id : int or None
        The section image, or None where the set has no section of that number.
    plane : tuple of float or None
        (a, b, c, d) of the section's plane a·p + b·i + c·r + d = 0 in µm of the reference frame, the normal
        of unit length; None where the plane is not known.
    """

    z: Annotated[int, msgspec.Meta(ge=0)]
    section_number: SectionNumber
    image_id: Id | None = None
    plane: tuple[Position, Position, Position, Position] | None = None


def slot_spacing(section_numbers: Iterable[int]) -> int:
    """Return the greatest step of which all differences of section numbers are multiples.

    A set with one section number has no step; 1 is returned.
    """
    distinct = sorted(set(section_numbers))
    return math.gcd(*(number - distinct[0] for number in distinct)) or 1


def plan_slots(
    section_numbers: Mapping[int, int | None],
    planes: Mapping[int, tuple[float, float, float, float] | None] | None = None,
) -> tuple[Slot, ...]:
    """Give each section of a set its z: one for each step from the first section number to the last.

    Parameters
    ----------
    section_numbers : mapping of int to int or None
        The section number of every section image of the set by image id, failed sections too, so that the
        slots do not move when a section fails. A section without a number gets no slot.
    planes : mapping of int to tuple of float, optional
        Plane equations by image id.

    Returns
    -------
    tuple of Slot
        In order of z. Sections that share a number get one z each, in order of their ids; from there on z no
        longer counts steps, and `Slot.section_number` alone says which section is where.

    Examples
    --------
    >>> [(slot.z, slot.section_number, slot.image_id) for slot in plan_slots({7: 20, 8: 12, 9: 8})]
    [(0, 8, 9), (1, 12, 8), (2, 16, None), (3, 20, 7)]
    """
    images: dict[int, list[int]] = {}
    for image_id, number in sorted(section_numbers.items()):
        if number is not None:
            images.setdefault(number, []).append(image_id)
    if not images:
        return ()
    known = planes or {}
    slots: list[Slot] = []
    for number in range(min(images), max(images) + 1, slot_spacing(images)):
        if number not in images:
            slots.append(Slot(z=len(slots), section_number=number))
        for image_id in images.get(number, ()):
            plane = known.get(image_id)
            slots.append(Slot(z=len(slots), section_number=number, image_id=image_id, plane=plane))
    return tuple(slots)
