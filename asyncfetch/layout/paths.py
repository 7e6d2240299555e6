"""Where everything lies in a store of layout version 2: paths, chunks and shards. Pure.

::

    OUT/                                           group
      data_sets/<id>.ozx                           all below data_sets/<id>/ as one zip, where the set is packed
      data_sets/<id>/                              group, the data set's record
        <view>/sections/<image_id>/                group, the commit; scale0/{image,y,x} scale1/… when stored
        <view>/source/<image_id>.jpg               the server's JPEG, a plain file
        <view>/registered/scale0/{image,z,y,x}     array, one z per slot
        <view>/volume/scale0/{image,z,y,x} scale1/…  array of the whole reference space, derived from `registered`
        table/                                     columns of all sections
      catalogue/structure_centers/<space>          group, the rows of StructureCenter; optional, as all of catalogue
      catalogue/space_transforms                   group, the rows of ReferenceToReferenceTransform
      catalogue/atlases/<id>                       group, the row of Atlas and the data sets of its plates

A chunk of a section holds 512 x 512 pixels of three colours; a shard holds up to 4 x 4 chunks and is clipped to the
image rounded up to chunks, so that a small image does not carry the index of a large one. A registered plane of up to
1024 x 1024 pixels is one chunk, and has no shards: planes are read whole. Chunks lie beside the metadata of their
array, ``c.0.5.0.0``: a folder for each axis would cost two more for every plane.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "CHUNK",
    "LAYOUT_VERSION",
    "LOCK_PATH",
    "PLANE_CHUNK",
    "SHARD",
    "SMALLEST_LEVEL",
    "SPACE_TRANSFORMS_PATH",
    "Chunking",
    "atlas_path",
    "chunk_key",
    "data_set_path",
    "level_chunking",
    "level_shapes",
    "packed_key",
    "plane_chunking",
    "planes_path",
    "registered_path",
    "section_path",
    "sections_path",
    "selection_path",
    "source_folder",
    "source_key",
    "structure_centers_path",
    "table_path",
    "view_path",
    "volume_path",
]

#: What this package writes and reads; a store says it in ``attributes.asyncfetch.layout`` of its root.
LAYOUT_VERSION = 2
#: Pixels per side of a chunk.
CHUNK = 512
#: Most pixels per side of a shard.
SHARD = 2048
#: Most pixels per side of a registered plane that is one chunk.
PLANE_CHUNK = 1024
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


def selection_path(key: str | None = None) -> str:
    """Return the path of the group that holds what a selection was resolved to, or of the group above them."""
    return "catalogue/selections" if key is None else f"catalogue/selections/{key}"


def data_set_path(data_set_id: int) -> str:
    """Return the path of a data set's group."""
    return f"data_sets/{data_set_id}"


def packed_key(data_set_id: int) -> str:
    """Return the key of the zip that holds a data set where it is packed."""
    return f"{data_set_path(data_set_id)}.ozx"


def view_path(data_set_id: int, view: str) -> str:
    """Return the path of the group of one view of a data set."""
    return f"{data_set_path(data_set_id)}/{view}"


def sections_path(data_set_id: int, view: str) -> str:
    """Return the path of the collection of section groups."""
    return f"{view_path(data_set_id, view)}/sections"


def section_path(data_set_id: int, view: str, image_id: int) -> str:
    """Return the path of a section's group, which holds its commit."""
    return f"{sections_path(data_set_id, view)}/{image_id}"


def source_folder(data_set_id: int, view: str) -> str:
    """Return the path of the folder of the JPEGs, which readers of Zarr take for an array and do not walk."""
    return f"{view_path(data_set_id, view)}/source"


def source_key(data_set_id: int, view: str, image_id: int) -> str:
    """Return the key of the server's JPEG, a plain file."""
    return f"{source_folder(data_set_id, view)}/{image_id}.jpg"


def registered_path(data_set_id: int, view: str) -> str:
    """Return the path of the registered image's group."""
    return f"{view_path(data_set_id, view)}/registered"


def planes_path(data_set_id: int, view: str) -> str:
    """Return the path of the array of the registered planes."""
    return f"{registered_path(data_set_id, view)}/scale0/image"


def volume_path(data_set_id: int, view: str) -> str:
    """Return the path of the group of the volume that is derived from the registered image."""
    return f"{view_path(data_set_id, view)}/volume"


def table_path(data_set_id: int) -> str:
    """Return the path of the group that holds the columns of a data set's sections."""
    return f"{data_set_path(data_set_id)}/table"


def chunk_key(path: str, *index: int) -> str:
    """Return the key of a chunk, or of a shard, of an array.

    Examples
    --------
    >>> chunk_key("image", 0, 5, 0, 1)
    'image/c.0.5.0.1'
    """
    return f"{path}/{'.'.join(map(str, ('c', *index)))}"


class Chunking(NamedTuple):
    """How one z of an array of images is cut.

    Attributes
    ----------
    shape : tuple of int
        (y, x) of the image in pixels.
    chunk : tuple of int
        (y, x) of a chunk.
    shard : tuple of int
        (y, x) of what is one object: whole chunks; one chunk where there are no shards.
    is_sharded : bool
        Whether an object has an index of its chunks at its end.
    """

    shape: tuple[int, int]
    chunk: tuple[int, int]
    shard: tuple[int, int]
    is_sharded: bool

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of chunks in a shard."""
        return self.shard[0] // self.chunk[0], self.shard[1] // self.chunk[1]

    @property
    def n_chunks(self) -> int:
        """Chunks of a shard."""
        rows, columns = self.grid
        return rows * columns

    @property
    def index_bytes(self) -> int:
        """Length of the index at the end of a shard, with its checksum; 0 without shards."""
        return 16 * self.n_chunks + 4 if self.is_sharded else 0

    def places(self) -> Iterator[tuple[int, int]]:
        """Yield the row and the column of every shard."""
        for row in range(-(-self.shape[0] // self.shard[0])):
            for column in range(-(-self.shape[1] // self.shard[1])):
                yield row, column


def level_chunking(shape: tuple[int, int]) -> Chunking:
    """Return how a level of a section of this shape is cut.

    Parameters
    ----------
    shape : tuple of int
        (y, x) in pixels.

    Examples
    --------
    >>> level_chunking((320, 456)).shard, level_chunking((9000, 600)).shard
    ((512, 512), (2048, 1024))
    """
    height, width = (min(SHARD, CHUNK * max(1, -(-side // CHUNK))) for side in shape)
    return Chunking(shape, (CHUNK, CHUNK), (height, width), is_sharded=True)


def plane_chunking(shape: tuple[int, int]) -> Chunking:
    """Return how a registered plane of this shape is cut: not at all where it is small enough.

    Parameters
    ----------
    shape : tuple of int
        (y, x) in pixels.

    Examples
    --------
    >>> plane_chunking((320, 456)).chunk, plane_chunking((1600, 2280)).chunk
    ((320, 456), (512, 512))
    """
    if max(shape) > PLANE_CHUNK:
        return level_chunking(shape)
    return Chunking(shape, shape, shape, is_sharded=False)


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
