"""The Zarr arrays of a store: their metadata, and the small arrays that Zarr itself writes.

Zarr itself makes one metadata document for each kind of array, once; the others differ in shape alone. They
are written as objects of their own, because Zarr's own creation also writes every parent group that is
missing, and the metadata of a section's group must come last.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any, Literal, get_args

import msgspec
import numpy as np
import zarr
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, TransposeCodec, ZstdCodec
from zarr.storage import MemoryStore, StorePath

from asyncfetch.layout.paths import level_chunking
from asyncfetch.settings import Codec
from asyncfetch.store.bounded import bounded
from asyncfetch.store.damage import parse_array
from asyncfetch.store.jpegxl import Jpegxl
from asyncfetch.store.objects import metadata_key
from asyncfetch.store.shards import BLOSC_LEVEL, ZSTD_LEVEL

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from zarr.abc.codec import ArrayBytesCodec, BytesBytesCodec

    from asyncfetch.layout.paths import Chunking
    from asyncfetch.store.objects import Place

__all__ = [
    "Axis",
    "block_document",
    "delete_levels",
    "image_document",
    "level_codecs",
    "mend_array_metadata",
    "mend_coordinates",
    "mend_source_folder",
    "one_chunk_key",
    "open_array",
    "prepare_documents",
    "read_column",
    "write_array_metadata",
    "write_column",
    "write_coordinates",
    "write_source_folder",
]

Axis = Literal["z", "y", "x"]
Document = dict[str, Any]

_LEVEL = re.compile(r"scale\d+")

#: The most that the metadata of an array have; ours have 2 kB, and others may add attributes.
_MAX_METADATA_BYTES = 2**22
#: The most that a column takes: 230 000 sections with a 3 x 3 matrix each.
_MAX_COLUMN_BYTES = 2**24

# Names chunks ``c.0.5.0.0`` beside the metadata of their array; with ``/`` each axis would be a folder of its own.
_CHUNK_KEYS = {"name": "default", "separator": "."}
# From (c, z, y, x) to (z, y, x, c), as JPEG XL wants pixels. Other codecs go without: few viewers can transpose.
_INTERLEAVED = (1, 2, 3, 0)


def prepare_documents(codec: Codec) -> None:
    """Have Zarr make what the first data set needs of it, 28 ms in all: worth it while nothing has come yet."""
    image_document(1, level_chunking((1, 1)), codec)
    for dtype in (np.float64, np.int64, np.bool, np.uint8):
        _plain_template(np.dtype(dtype))
    _plain_template(np.dtypes.StringDType())


def image_document(n_z: int, chunking: Chunking, codec: Codec, fill: int = 0) -> Document:
    """Return the metadata of an array of images.

    Parameters
    ----------
    n_z : int
        How many images there are.
    chunking : Chunking
        How each is cut.
    codec : str
        The compressor.
    fill : int
        What pixels that are not written read as.

    Returns
    -------
    dict
        A uint8 array (c, z, y, x) with c = 3.
    """
    template = _image_template(codec, (3, 1, *chunking.chunk), chunking.is_sharded)
    document = _resized(template, (3, n_z, *chunking.shape), (3, 1, *chunking.shard))
    return {**document, "fill_value": fill}


def level_codecs() -> list[Any]:
    """Return what the metadata of a level may name as its codecs: those that were kept may have any of ours."""
    documents = [image_document(1, level_chunking((1, 1)), codec) for codec in get_args(Codec)]
    return [document["codecs"] for document in documents]


def block_document(
    shape: tuple[int, int, int], n_channels: int, chunk: int, shard: tuple[int, int, int], codec: Codec
) -> Document:
    """Return the metadata of a volume.

    Parameters
    ----------
    shape : tuple of int
        (z, y, x) in voxels.
    n_channels : int
        Values of a voxel.
    chunk : int
        Side of a chunk.
    shard : tuple of int
        (z, y, x) of a shard, whole chunks.
    codec : str
        The compressor.
    """
    template = _image_template(codec, (n_channels, chunk, chunk, chunk), is_sharded=True)
    return _resized(template, (n_channels, *shape), (n_channels, *shard))


def one_chunk_key(n_axes: int) -> str:
    """Return the name of the one chunk of a column or of coordinates, below the path of the array."""
    return ".".join(["c", *["0"] * n_axes])


def write_array_metadata(place: Place, path: str, document: Document) -> None:
    """Write the metadata of an array, and nothing of its parents; attributes that others have put there stay."""
    notes = place.notes_on_array(path)
    if notes:
        document = {**document, "attributes": {**notes, **document.get("attributes", {})}}
    place.set(f"{path}/zarr.json", msgspec.json.format(msgspec.json.encode(document)))


def delete_levels(place: Place, path: str, *, keep_group: bool = False) -> None:
    """Remove the levels of an image; what others have put beside them, such as labels, stays.

    Parameters
    ----------
    place : Place
        The store.
    path : str
        The group of the image.
    keep_group : bool
        Let the metadata of that group stand, too.
    """
    levels = [name for name in place.names_below(path) if _LEVEL.fullmatch(name)]
    for name in levels:
        place.delete_parts(f"{path}/{name}", ("image", *get_args(Axis)))
    if not keep_group:
        place.delete_parts(path, ())


def write_coordinates(
    place: Place, group: str, axis: Axis, positions_um: NDArray[np.float64], unit: str | None
) -> None:
    """Write the positions of the pixel centres along one axis as an array beside the image.

    Parameters
    ----------
    place : Place
        The store.
    group : str
        Path of the level's group.
    axis : str
        ``z``, ``y`` or ``x``.
    positions_um : (n,) array of float64
        Pixel centres in µm, or in pixels where `unit` is None.
    unit : str or None
        What to call the unit.
    """
    attributes = {} if unit is None else {"units": unit}
    _write_plain(place, f"{group}/{axis}", positions_um, [axis], attributes)


def mend_coordinates(
    place: Place, group: str, axis: Axis, positions_um: NDArray[np.float64], unit: str | None
) -> None:
    """Write the positions of pixel centres as `write_coordinates` does, unless they stand there."""
    path = f"{group}/{axis}"
    found = place.read(metadata_key(path), parse_array)
    values = place.read(f"{path}/{one_chunk_key(1)}", bytes)
    wanted = _little_endian(positions_um)
    if values != wanted:
        if found is not None:
            place.damage.add(f"{path}/{one_chunk_key(1)}", "is not as it was written")
        place.set(f"{path}/{one_chunk_key(1)}", wanted)
    if found is None or found["shape"] != list(positions_um.shape):
        attributes = {} if unit is None else {"units": unit}
        write_array_metadata(place, path, _whole(positions_um, [axis]) | {"attributes": attributes})


def mend_array_metadata(place: Place, path: str, document: Document) -> None:
    """Write the metadata of an array unless they stand there; attributes that others gave it stay."""
    found = place.read(metadata_key(path), parse_array)
    if found is not None:
        if all(found.get(name) == value for name, value in document.items() if name != "attributes"):
            return
        attributes = found.get("attributes")
        if isinstance(attributes, dict):
            document = {**document, "attributes": attributes}
    write_array_metadata(place, path, document)


def mend_source_folder(place: Place, path: str) -> None:
    """Make the folder of the JPEGs one that readers of Zarr do not look into: an array without elements.

    Below a group, Zarr would warn of every JPEG.
    """
    if place.read(metadata_key(path), parse_array) is None:
        write_source_folder(place, path)


def write_source_folder(place: Place, path: str) -> None:
    """Write what makes the folder of the JPEGs one; see `mend_source_folder`."""
    document = _whole(np.empty(0, dtype=np.uint8), ["jpeg"])
    text = "The server's JPEGs are plain files: <image_id>.jpg"
    write_array_metadata(place, path, document | {"attributes": {"asyncfetch": {"content": text}}})


def write_column(place: Place, path: str, values: NDArray[Any]) -> None:
    """Write a table's column, the rows along ``section``: its one chunk, then its metadata.

    Further axes are named after the column, since those of different columns have nothing in common.
    """
    name = path.rpartition("/")[2]
    axes = ["section", *(f"{name}_{axis}" for axis in range(1, values.ndim))]
    if not _is_text(values.dtype):
        _write_plain(place, path, values, axes)
        return
    document = _whole(values, axes)
    if values.size:
        memory, key = MemoryStore(), one_chunk_key(values.ndim)
        zarr.Array.from_dict(StorePath(memory), document)[...] = values
        chunk = memory.get_sync(key)
        if chunk is not None:
            place.set(f"{path}/{key}", chunk.to_bytes())
    write_array_metadata(place, path, document)


def read_column(place: Place, path: str) -> NDArray[Any]:
    """Return a table's column.

    Raises
    ------
    StoreItemError
        It is missing or cannot be read; Zarr would read a chunk that is lost as zeros.
    """
    array = open_array(place, path)
    is_whole = array.chunks == tuple(max(1, side) for side in array.shape)
    if not is_whole or array.size * array.dtype.itemsize > _MAX_COLUMN_BYTES:
        raise place.damaged_item(path, f"has the shape {array.shape}, as no column has")
    key = f"{path}/{one_chunk_key(array.ndim)}"
    if array.size and place.tail(key, 0) is None:
        raise place.damaged_item(key, "is missing")
    return np.asarray(array[...])


def open_array(place: Place, path: str, shape: tuple[int, ...] | None = None) -> zarr.Array[Any]:
    """Open an array for reading.

    Parameters
    ----------
    place : Place
        The store.
    path : str
        Where the array lies.
    shape : tuple of int, optional
        What its commit or its layout says that it must be.

    Raises
    ------
    StoreItemError
        There is none that can be read, though there should be.
    """
    # Zarr makes objects of all that they say; those of a place that is far away are looked at by nobody before
    document = place.tail(metadata_key(path), 0) if place.is_near else None
    if document is not None and document[0] > _MAX_METADATA_BYTES:
        raise place.damaged_item(path, f"cannot be read (its metadata have {document[0]} bytes)")
    with place.mapped_errors(path):
        try:
            found = bounded(zarr.open_array(place.store, path=path, mode="r", zarr_format=3).async_array)
        except FileNotFoundError as error:
            raise place.damaged_item(path, "is missing although it is committed") from error
        except OSError:
            raise
        except Exception as error:
            raise place.damaged_item(path, f"cannot be read ({error})") from error
    if shape is not None and found.shape != shape:
        raise place.damaged_item(path, f"has the shape {found.shape}, not {shape}")
    return StoredArray(found, place, path)


class StoredArray(zarr.Array[Any]):
    """An array of a store, whose damaged chunks are errors of ours when they are read by an index."""

    _place: Place
    _place_path: str

    def __init__(self, array: Any, place: Place, path: str) -> None:
        super().__init__(array)
        # Zarr's class is frozen
        object.__setattr__(self, "_place", place)
        object.__setattr__(self, "_place_path", path)

    def __reduce__(self) -> Any:
        """Pickle as the array of Zarr that it is, for Dask's workers."""
        return zarr.Array, (self.async_array,)

    def __getitem__(self, selection: Any) -> Any:
        """Return the values of a selection.

        Raises
        ------
        StoreItemError
            A chunk of it is damaged.
        """
        place = self._place
        with place.mapped_errors(self._place_path):
            try:
                return super().__getitem__(selection)
            except IndexError:
                raise
            except (ValueError, RuntimeError, EOFError) as error:
                raise place.damaged_item(
                    self._place_path, f"cannot be read at {selection} ({error})"
                ) from error


def _write_plain(
    place: Place,
    path: str,
    values: NDArray[Any],
    axes: list[str],
    attributes: Mapping[str, Any] | None = None,
) -> None:
    """Write numbers as one chunk: a few kilobytes, for which Zarr's pipeline would take a hundred times as long."""
    if values.size:
        place.set(f"{path}/{one_chunk_key(values.ndim)}", _little_endian(values))
    write_array_metadata(place, path, _whole(values, axes) | {"attributes": dict(attributes or {})})


def _little_endian(values: NDArray[Any]) -> bytes:
    return np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<")).tobytes()


def _whole(values: NDArray[Any], axes: list[str]) -> Document:
    chunk = tuple(max(1, side) for side in values.shape)
    return _resized(_plain_template(values.dtype), values.shape, chunk) | {"dimension_names": axes}


def _resized(template: Document, shape: tuple[int, ...], chunk: tuple[int, ...]) -> Document:
    grid = {"name": "regular", "configuration": {"chunk_shape": list(chunk)}}
    return {**template, "shape": list(shape), "chunk_grid": grid}


def _document_of(**settings: Any) -> Document:
    store = MemoryStore()
    zarr.create_array(store, zarr_format=3, **settings)
    buffer = store.get_sync("zarr.json")
    assert buffer is not None
    document: Document = msgspec.json.decode(buffer.to_bytes())
    return document


def _codecs(codec: Codec) -> tuple[list[Any], ArrayBytesCodec, list[BytesBytesCodec]]:
    """Return what a chunk goes through; all but zstd, which has a checksum of its own, have one behind them."""
    match codec:
        case "zstd":
            return [], BytesCodec(), [ZstdCodec(level=ZSTD_LEVEL, checksum=True)]
        case "blosc-lz4":
            lz4 = BloscCodec(cname="lz4", clevel=BLOSC_LEVEL, shuffle="bitshuffle", typesize=1)
            return [], BytesCodec(), [lz4, Crc32cCodec()]
        case "jpegxl":
            serializer = Jpegxl(lossless=True, effort=1, numthreads=1)
            return [TransposeCodec(order=_INTERLEAVED)], serializer, [Crc32cCodec()]
        case "none":
            return [], BytesCodec(), [Crc32cCodec()]


@functools.lru_cache(maxsize=64)
def _image_template(codec: Codec, chunk: tuple[int, int, int, int], is_sharded: bool) -> Document:
    filters, serializer, compressors = _codecs(codec)
    return _document_of(
        shape=chunk,
        dtype="uint8",
        chunks=chunk,
        shards=chunk if is_sharded else None,
        filters=filters,
        serializer=serializer,
        compressors=compressors,
        fill_value=0,
        dimension_names=("c", "z", "y", "x"),
        chunk_key_encoding=_CHUNK_KEYS,
    )


@functools.cache
def _plain_template(dtype: np.dtype[Any]) -> Document:
    serializer: Any = "auto" if _is_text(dtype) else BytesCodec(endian="little")
    return _document_of(
        shape=(1,),
        dtype=dtype,
        chunks=(1,),
        serializer=serializer,
        compressors=None,
        chunk_key_encoding=_CHUNK_KEYS,
    )


def _is_text(dtype: np.dtype[Any]) -> bool:
    return isinstance(dtype, np.dtypes.StringDType)
