"""Where everything lies in a store of layout version 1: paths, chunks and shards. Pure.

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

__all__ = [
    "CHUNK",
    "LAYOUT_VERSION",
    "LOCK_PATH",
    "SHARD",
    "SMALLEST_LEVEL",
    "SPACE_TRANSFORMS_PATH",
    "atlas_path",
    "data_set_path",
    "level_shapes",
    "registered_path",
    "section_path",
    "sections_path",
    "shard_shape",
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
