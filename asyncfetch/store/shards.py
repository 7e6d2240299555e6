"""Chunks and shards of image arrays, encoded here and written as whole objects.

A shard is encoded from its chunks one after the other, so that whoever makes them needs room for one alone.

Zarr's own writing costs more than the compression: it copies every chunk twice, and hands each through several tasks.
Pixels come interleaved from the decoder and the warp, and each chunk is split into its colours once, by OpenCV; JPEG
XL takes them interleaved. The format of a shard is that of Zarr v3's ``sharding_indexed`` codec (its specification,
section "Binary shard format"): the encoded chunks, then an index of (offset, length) for each, as little-endian uint64,
and its CRC-32C. Every chunk has a checksum: zstd's own, or a CRC-32C behind it. Zarr reads what is written here, as the
tests show.
"""

from __future__ import annotations

import functools
import itertools
import zlib
from typing import TYPE_CHECKING, NamedTuple

import google_crc32c
import imagecodecs
import numpy as np
from numcodecs.blosc import BITSHUFFLE, Blosc
from numcodecs.zstd import Zstd

from asyncfetch.errors import StoreItemError
from asyncfetch.imaging import split_colours
from asyncfetch.layout.commit import Objects
from asyncfetch.layout.paths import Chunking, chunk_key, plane_chunking, planes_path
from asyncfetch.text import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    from asyncfetch.layout.registered import RegisteredLayout
    from asyncfetch.settings import Codec
    from asyncfetch.store.objects import Place

__all__ = [
    "BLOSC_LEVEL",
    "ZSTD_LEVEL",
    "Chunk",
    "ImageArray",
    "cut_chunks",
    "encode_chunk",
    "encode_shard",
    "join_chunks",
    "object_of",
    "shard_problem",
    "write_shard",
]

#: Row and column of a chunk within its shard, and its (y, x, 3) contiguous uint8 pixels.
type Chunk = tuple[int, int, NDArray[np.uint8]]

ZSTD_LEVEL = 1
BLOSC_LEVEL = 5

#: Offset and length of a chunk that is not there: it reads as the fill.
_MISSING = 2**64 - 1
#: What ends a chunk, and an index: zstd's checksum of what is compressed, or a CRC-32C.
_CHECKSUM_BYTES = 4
#: Every so many pixels of a chunk are looked at before all of it is: nearly every chunk shows there that it holds
#: several colours.
_PROBE = 64
#: Encoded chunks of one colour that are remembered, a few kB each.
_MAX_PLAIN = 64


class ImageArray(NamedTuple):
    """An array of images that is written in whole shards.

    Attributes
    ----------
    path : str
        Where it lies in the store.
    chunking : Chunking
        How each image is cut.
    codec : str
        The compressor.
    fill : int
        What pixels that are not written read as.
    """

    path: str
    chunking: Chunking
    codec: Codec
    fill: int = 0

    @classmethod
    def of_planes(cls, registered: RegisteredLayout, data_set_id: int, view: str) -> ImageArray:
        """Return the array of the planes of a registered image."""
        recipe, chunking = registered.recipe, plane_chunking(registered.grid.shape)
        return cls(planes_path(data_set_id, view), chunking, recipe.codec, recipe.fill)

    def key(self, z: int, origin: tuple[int, int]) -> str:
        """Return the key of the object whose corner is at `origin`."""
        height, width = self.chunking.shard
        return chunk_key(self.path, 0, z, origin[0] // height, origin[1] // width)

    def keys(self, z: int) -> Iterator[str]:
        """Yield the keys of all objects that an image may have."""
        for row, column in self.chunking.places():
            yield chunk_key(self.path, 0, z, row, column)


def write_shard(
    place: Place, array: ImageArray, z: int, origin: tuple[int, int], chunks: Iterable[Chunk]
) -> Objects:
    """Write one shard from its chunks, or one chunk where there are no shards, and return what is stored.

    Nothing is written, and what was there goes, where all chunks are empty.

    Parameters
    ----------
    place : Place
        The store.
    array : ImageArray
        What is written to.
    z : int
        Index along the z axis.
    origin : tuple of int
        (y, x) of the shard's corner.
    chunks : iterable of Chunk
        Those that may hold something, in the order of rows and columns; each is used up before the next is asked
        for. Beyond the end of the image they hold the fill.
    """
    key = array.key(z, origin)
    encoded = _encode_chunks(chunks, array.chunking, array.codec, array.fill)
    first = next(encoded, None)
    if first is None:
        place.delete(key)
        return Objects()
    if not array.chunking.is_sharded:
        place.set(key, first[1])
        return object_of(key, first[1], 0)
    n_bytes, ends = 0, bytearray()

    def counted_pieces() -> Iterator[bytes]:
        nonlocal n_bytes
        for piece in join_chunks(itertools.chain([first], encoded), array.chunking.n_chunks):
            n_bytes += len(piece)
            ends.extend(piece[-_CHECKSUM_BYTES:])
            yield piece

    place.set_pieces(key, counted_pieces())
    # the last piece is the index
    return _object(key, n_bytes, bytes(ends[:-_CHECKSUM_BYTES]))


def object_of(key: str, data: bytes, index_bytes: int) -> Objects:
    """Return what a commit says of one object.

    Parameters
    ----------
    key : str
        Its key.
    data : bytes
        The object.
    index_bytes : int
        Length of the index at its end; 0 where it is one chunk.
    """
    if not index_bytes:
        return _object(key, len(data), data[-_CHECKSUM_BYTES:])
    chunks = _stored_chunks(data[-index_bytes:-_CHECKSUM_BYTES])
    ends = (data[offset + size - _CHECKSUM_BYTES : offset + size] for offset, size in chunks.tolist())
    return _object(key, len(data), b"".join(ends))


def _object(key: str, n_bytes: int, ends: bytes) -> Objects:
    # row and column: planes may move along, whole
    name = ".".join(key.split(".")[-2:]).encode()
    return Objects(n=1, n_bytes=n_bytes, crc32=zlib.crc32(name + ends))


def _stored_chunks(table: bytes) -> NDArray[np.uint64]:
    """Return offset and length of the chunks that an index names, in their order."""
    whole = table[: len(table) // 16 * 16]
    index: NDArray[np.uint64] = np.frombuffer(whole, dtype="<u8").reshape(-1, 2)
    stored: NDArray[np.uint64] = index[index[:, 0] != _MISSING]
    return stored


def encode_shard(pixels: NDArray[np.uint8], chunking: Chunking, codec: Codec, fill: int = 0) -> bytes:
    """Encode one shard.

    Chunks of nothing but the fill, and those beyond the pixels, are left out and read as the fill.

    Parameters
    ----------
    pixels : (y, x, 3) array of uint8
        At most as large as the shard.
    chunking : Chunking
        Of the array.
    codec : str
        The compressor.
    fill : int
        What is left out.

    Returns
    -------
    bytes
        The object of the shard.
    """
    encoded = _encode_chunks(cut_chunks(pixels, chunking, fill), chunking, codec, fill)
    return b"".join(join_chunks(encoded, chunking.n_chunks))


def _encode_chunks(
    chunks: Iterable[Chunk], chunking: Chunking, codec: Codec, fill: int
) -> Iterator[tuple[int, bytes]]:
    _, n_columns = chunking.grid
    for row, column, chunk in chunks:
        if (encoded := encode_chunk(chunk, codec, fill)) is not None:
            yield row * n_columns + column, encoded


def encode_chunk(chunk: NDArray[np.uint8], codec: Codec, fill: int = 0) -> bytes | None:
    """Encode one contiguous chunk, whose last axis is that of the colours; None where all of it is the fill."""
    # to JPEG XL a cube is a tall image of its planes, which the codec's decoder takes apart again
    image = chunk.reshape(-1, *chunk.shape[-2:])
    colour = _only_colour(image)
    if colour is not None and colour == bytes([fill]) * len(colour):
        return None
    if colour is None or codec == "none":
        return _encoder(codec)(image)
    return _encode_plain(image.shape, colour, codec)


def join_chunks(encoded: Iterable[tuple[int, bytes]], n_chunks: int) -> Iterator[bytes]:
    """Yield the object of a shard piece by piece, so that nobody has to hold or copy the whole of it.

    Parameters
    ----------
    encoded : iterable of (int, bytes)
        Chunks and their places in C order; those that are missing are left out.
    n_chunks : int
        How many chunks a shard has.

    Yields
    ------
    bytes
        Each chunk, and at the end the index of them all.
    """
    index = np.full((n_chunks, 2), _MISSING, dtype="<u8")
    size = 0
    for k, piece in encoded:
        index[k] = size, len(piece)
        size += len(piece)
        yield piece
    table = index.tobytes()
    yield table + google_crc32c.value(table).to_bytes(4, "little")


def cut_chunks(pixels: NDArray[np.uint8], chunking: Chunking, fill: int) -> Iterator[Chunk]:
    """Cut pixels into contiguous chunks, filled up at the end; all share one array."""
    height, width = chunking.chunk
    chunk = np.empty((height, width, 3), dtype=np.uint8)
    for row, column in np.ndindex(*chunking.grid):
        top, left = row * height, column * width
        part = pixels[top : top + height, left : left + width]
        if not part.size:
            continue
        if part.shape != chunk.shape:
            chunk[...] = fill
        chunk[: part.shape[0], : part.shape[1]] = part
        yield row, column, chunk


def _only_colour(image: NDArray[np.uint8]) -> bytes | None:
    """Return the colour of a contiguous image that has no other.

    Scans have wide margins of one colour, and JPEG XL takes longer for them than for tissue: 1.1 ms a chunk, where
    this takes 0.05 ms, or 0.01 ms where there are others.
    """
    if (image[::_PROBE, ::_PROBE] != image[0, 0]).any():
        return None
    # what has one colour is what it is moved by a pixel
    n_values, values = image.shape[-1], image.reshape(-1)
    return image[0, 0].tobytes() if np.array_equal(values[n_values:], values[:-n_values]) else None


@functools.lru_cache(maxsize=_MAX_PLAIN)
def _encode_plain(shape: tuple[int, ...], colour: bytes, codec: Codec) -> bytes:
    return _encoder(codec)(np.full(shape, np.frombuffer(colour, dtype=np.uint8)))


@functools.cache
def _encoder(codec: Codec) -> Callable[[NDArray[np.uint8]], bytes]:
    match codec:
        case "zstd":
            zstd = Zstd(level=ZSTD_LEVEL, checksum=True)
            return lambda chunk: bytes(zstd.encode(split_colours(chunk)))
        case "blosc-lz4":
            lz4 = Blosc("lz4", clevel=BLOSC_LEVEL, shuffle=BITSHUFFLE)
            return lambda chunk: _with_checksum(lz4.encode(split_colours(chunk)))
        case "jpegxl":
            return lambda chunk: _with_checksum(
                imagecodecs.jpegxl_encode(chunk, lossless=True, effort=1, numthreads=1)
            )
        case "none":
            return lambda chunk: _with_checksum(split_colours(chunk).tobytes())


def _with_checksum(encoded: bytes | bytearray | memoryview) -> bytes:
    data = bytes(encoded)
    checksum: int = google_crc32c.value(data)
    return data + checksum.to_bytes(4, "little")


def shard_problem(place: Place, key: str, index_bytes: int) -> str | None:
    """Return what the end of a shard says to be wrong with it, None where nothing is.

    Parameters
    ----------
    place : Place
        The store.
    key : str
        The shard.
    index_bytes : int
        Length of the index of its chunks, with the checksum at its end; 0 where the object is one chunk.
    """
    try:
        end = place.tail(key, index_bytes)
    except StoreItemError as error:
        return f"cannot be read ({error.__cause__})"
    if end is None:
        return "is missing"
    size, data = end
    if not size:
        return "is empty"
    if not index_bytes:
        return None
    table, checksum = data[:-4], data[-4:]
    if len(data) < index_bytes or google_crc32c.value(table).to_bytes(4, "little") != checksum:
        return "is cut or changed: the checksum of its index is wrong"
    stored = _stored_chunks(table)
    if len(stored) and int(stored.sum(axis=1).max()) != size - index_bytes:
        return f"has {counted(size, 'byte')}, not as many as its index says"
    return None
