"""Shards of image arrays, encoded here and written as whole objects.

Zarr's own writing costs more than the compression: it copies every chunk between interleaved and planar pixels, twice,
and hands each through several tasks. Pixels come interleaved from the decoder and the warp, and are stored interleaved
inside a chunk, so that nothing has to be copied but the chunk itself. The format is that of Zarr v3's
``sharding_indexed`` codec (its specification, section "Binary shard format"): the encoded chunks, then an index of
(offset, length) for each, as little-endian uint64, and its CRC-32C. Zarr reads what is written here, as the tests show.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, NamedTuple

import google_crc32c
import imagecodecs
import numpy as np
from numcodecs.blosc import BITSHUFFLE, Blosc
from numcodecs.zstd import Zstd

from asyncfetch.store.layout import CHUNK, shard_shape

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from asyncfetch.settings import Codec
    from asyncfetch.store.place import Place

__all__ = ["BLOSC_LEVEL", "ZSTD_LEVEL", "ImageArray", "encode_shard", "write_shards"]

ZSTD_LEVEL = 1
BLOSC_LEVEL = 5

#: Offset and length of a chunk that is not there: it reads as zeros.
_MISSING = 2**64 - 1


class ImageArray(NamedTuple):
    """Name an array of images that is written in whole shards.

    Attributes
    ----------
    path : str
        Where it lies in the store.
    shape : tuple of int
        (z, y, x); there are three colours before them.
    codec : str
        The compressor.
    """

    path: str
    shape: tuple[int, int, int]
    codec: Codec

    @property
    def shard(self) -> tuple[int, int]:
        """(y, x) of a shard."""
        return shard_shape(self.shape[1:])


def write_shards(
    place: Place, array: ImageArray, z: int, origin: tuple[int, int], pixels: NDArray[np.uint8]
) -> None:
    """Write one or more whole shards of one z, each once.

    Parameters
    ----------
    place : Place
        The store.
    array : ImageArray
        What is written to.
    z : int
        Index along the z axis.
    origin : tuple of int
        (y, x) of the first pixel, on the corner of a shard.
    pixels : (y, x, 3) array of uint8
        Up to the end of a shard or of the image.

    Raises
    ------
    ValueError
        The pixels are not whole shards, so that a shard would be written twice.
    """
    shard = array.shard
    ends = (origin[0] + pixels.shape[0], origin[1] + pixels.shape[1])
    for start, end, size, side in zip(origin, ends, array.shape[1:], shard, strict=True):
        if start % side or end > size or (end % side and end != size):
            raise ValueError(f"{origin} to {ends} of {array.shape[1:]} are not whole shards of {shard}")
    for y in range(0, pixels.shape[0], shard[0]):
        for x in range(0, pixels.shape[1], shard[1]):
            part = pixels[y : y + shard[0], x : x + shard[1]]
            key = f"{array.path}/c/0/{z}/{(origin[0] + y) // shard[0]}/{(origin[1] + x) // shard[1]}"
            place.set(key, encode_shard(part, shard, array.codec))


def encode_shard(pixels: NDArray[np.uint8], shard: tuple[int, int], codec: Codec) -> bytes:
    """Encode one shard.

    Chunks of nothing but zeros, and those beyond the pixels, are left out and read as zeros.

    Parameters
    ----------
    pixels : (y, x, 3) array of uint8
        At most as large as the shard.
    shard : tuple of int
        (y, x), whole chunks.
    codec : str
        The compressor.

    Returns
    -------
    bytes
        The object of the shard.
    """
    encode = _encoder(codec)
    pieces: list[bytes] = []
    index = np.full((shard[0] // CHUNK, shard[1] // CHUNK, 2), _MISSING, dtype="<u8")
    offset = 0
    for row, column in np.ndindex(index.shape[:2]):
        chunk = _chunk(pixels, row * CHUNK, column * CHUNK)
        if chunk is not None:
            piece = encode(chunk)
            index[row, column] = offset, len(piece)
            pieces.append(piece)
            offset += len(piece)
    table = index.tobytes()
    checksum = google_crc32c.value(table).to_bytes(4, "little")
    return b"".join([*pieces, table, checksum])


def _chunk(pixels: NDArray[np.uint8], top: int, left: int) -> NDArray[np.uint8] | None:
    """Return one contiguous chunk, filled up with zeros, or None where there is nothing but zeros."""
    part = pixels[top : top + CHUNK, left : left + CHUNK]
    if not part.any():
        return None
    if part.shape[:2] == (CHUNK, CHUNK):
        return np.ascontiguousarray(part)
    chunk = np.zeros((CHUNK, CHUNK, 3), dtype=np.uint8)
    chunk[: part.shape[0], : part.shape[1]] = part
    return chunk


@functools.cache
def _encoder(codec: Codec) -> Callable[[NDArray[np.uint8]], bytes]:
    match codec:
        case "zstd":
            zstd = Zstd(level=ZSTD_LEVEL)
            return lambda chunk: bytes(zstd.encode(chunk))
        case "blosc-lz4":
            lz4 = Blosc("lz4", clevel=BLOSC_LEVEL, shuffle=BITSHUFFLE)
            return lambda chunk: bytes(lz4.encode(chunk))
        case "jpegxl":
            return lambda chunk: bytes(
                imagecodecs.jpegxl_encode(chunk, lossless=True, effort=1, numthreads=1)
            )
        case "none":
            return lambda chunk: chunk.tobytes()
