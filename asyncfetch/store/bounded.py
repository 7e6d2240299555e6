"""Codecs that decode a chunk of the size that the array's metadata say, and nothing else.

What a compressed chunk claims to hold is in its header, and 30 kB of zstd can hold a gigabyte of zeros. The claim is
compared with the layout before anything is allocated, and what is decoded goes into an array of that size. Codecs that
are never written, of which nobody knows how much they make of how little, are refused.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, Any

import imagecodecs
import imagecodecs.zarr
import numcodecs.blosc
import numcodecs.zstd
import numpy as np
import zarr
from zarr.codecs import (
    BloscCodec,
    BytesCodec,
    Crc32cCodec,
    ShardingCodec,
    TransposeCodec,
    VLenUTF8Codec,
    ZstdCodec,
)

from asyncfetch.store.jpegxl import Jpegxl
from asyncfetch.text import counted

if TYPE_CHECKING:
    from collections.abc import Callable

    from zarr.core.array_spec import ArraySpec
    from zarr.core.buffer import Buffer, NDBuffer

__all__ = ["bounded"]

# Levels come in chunks of 768 kB, planes of 3 MB, and shards of 12 MB; columns of a table are one chunk of all rows.
_MAX_CHUNK_BYTES = 2**28
_MAX_SHARD_BYTES = 2**34
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


class _Zstd(ZstdCodec):
    def _decode_sync(self, chunk_bytes: Buffer, chunk_spec: ArraySpec) -> Buffer:
        data = chunk_bytes.to_bytes()
        return _into(chunk_spec, zstd_content_bytes(data), data, numcodecs.zstd.decompress)


class _Blosc(BloscCodec):
    def _decode_sync(self, chunk_bytes: Buffer, chunk_spec: ArraySpec) -> Buffer:
        data = chunk_bytes.to_bytes()
        # bytes 4 to 7 of the header: the size of the buffer that was compressed
        return _into(chunk_spec, int.from_bytes(data[4:8], "little"), data, numcodecs.blosc.decompress)


class _Jpegxl(imagecodecs.zarr.Jpegxl):
    def _decode_sync(self, chunk_bytes: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        # imagecodecs compares the size of the image with that of the array before it decodes
        data, error = chunk_bytes.as_numpy_array(), ValueError("the chunk is empty")
        for shape in _image_shapes(chunk_spec.shape):
            out = np.empty(shape, dtype=np.uint8)
            try:
                imagecodecs.jpegxl_decode(data, index=self.index, numthreads=self.numthreads, out=out)
            except ValueError as other:
                error = other
            else:
                return chunk_spec.prototype.nd_buffer.from_numpy_array(out.reshape(chunk_spec.shape))
        raise error


class _Text(VLenUTF8Codec):
    def _decode_sync(self, chunk_bytes: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        # a number of texts, and each with its length before it: four bytes each
        data, n_texts = chunk_bytes.as_numpy_array(), prod(chunk_spec.shape)
        claimed = int.from_bytes(data[:4].tobytes(), "little")
        if claimed != n_texts or len(data) < 4 * (n_texts + 1):
            raise ValueError(f"the chunk claims {claimed} texts, and the layout says {n_texts}")
        return super()._decode_sync(chunk_bytes, chunk_spec)


# Zarr looks at the name of the class to tell whether the codec is one for text
_Text.__name__ = VLenUTF8Codec.__name__


def _image_shapes(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Return what a chunk (z, y, x, c) can be as an image, which has no axis for one frame or one colour."""
    as_written = shape[1:] if len(shape) > 3 and shape[0] == 1 else shape
    as_written = as_written[:-1] if as_written[-1:] == (1,) else as_written
    squeezed = tuple(side for side in shape if side > 1)
    # the planes of a cube are written below each other
    below = (prod(shape[:-2]), *shape[-2:])
    below = below[:-1] if below[-1] == 1 else below
    return list(dict.fromkeys([as_written, below, squeezed]))


def bounded(array: Any) -> Any:
    """Return an asynchronous array of Zarr with codecs that decode no more than a chunk holds.

    Raises
    ------
    ValueError
        Its chunks are larger than any that are written, or of a codec that is never written.
    """
    metadata = array.metadata
    item_bytes = metadata.data_type.to_native_dtype().itemsize
    _check(metadata.chunks, item_bytes, _MAX_CHUNK_BYTES)
    if metadata.shards is not None:
        _check(metadata.shards, item_bytes, _MAX_SHARD_BYTES)
    codecs = _bounded_codecs(metadata.codecs)
    return zarr.AsyncArray(replace(metadata, codecs=codecs), array.store_path, array.config)


def zstd_content_bytes(data: bytes) -> int:
    """Return what the header of a zstd frame says that it holds (RFC 8878, 3.1.1.1), -1 where it does not say.

    Raises
    ------
    ValueError
        The data are not a zstd frame.
    """
    if data[:4] != _ZSTD_MAGIC or len(data) < 5:
        raise ValueError("the chunk is not compressed with zstd")
    flag, is_single = data[4] >> 6, bool(data[4] & 0x20)
    n_bytes = (1 if is_single else 0, 2, 4, 8)[flag]
    if not n_bytes:
        return -1
    at = 5 + (not is_single) + (0, 1, 2, 4)[data[4] & 3]
    return int.from_bytes(data[at : at + n_bytes], "little") + (256 if n_bytes == 2 else 0)


def _check(shape: tuple[int, ...], item_bytes: int, most: int) -> None:
    n_bytes = prod(shape) * item_bytes
    if n_bytes > most:
        raise ValueError(f"chunks of {shape} take {n_bytes} bytes, and no more than {most} are read at once")


def _bounded_codecs(codecs: tuple[Any, ...]) -> tuple[Any, ...]:
    kinds = {type(each) for each in codecs}
    if VLenUTF8Codec in kinds and len(codecs) > 1:
        # text takes as many bytes as it takes, so that the layout says nothing of what a compressor may make
        raise ValueError("its texts are compressed, which is never written")
    return tuple(map(_bounded_codec, codecs))


def _bounded_codec(codec: Any) -> Any:
    if isinstance(codec, ShardingCodec):
        return replace(codec, codecs=_bounded_codecs(codec.codecs))
    for kind, ours in _BOUNDED.items():
        if type(codec) is kind:
            same: Any = object.__new__(ours)
            same.__dict__.update(codec.__dict__)
            return same
    if not isinstance(codec, _HARMLESS):
        raise ValueError(f"the codec {_name_of(codec)} is never written")
    return codec


def _name_of(codec: Any) -> str:
    return str(codec.to_dict().get("name"))


#: What decodes by the layout, and what is replaced by what does.
_HARMLESS = (BytesCodec, Crc32cCodec, TransposeCodec)
_BOUNDED = {
    ZstdCodec: _Zstd,
    BloscCodec: _Blosc,
    Jpegxl: _Jpegxl,
    imagecodecs.zarr.Jpegxl: _Jpegxl,
    VLenUTF8Codec: _Text,
}


def _into(
    chunk_spec: ArraySpec, claimed_bytes: int, data: bytes, decompress: Callable[[bytes, Any], Any]
) -> Buffer:
    n_bytes = prod(chunk_spec.shape) * chunk_spec.dtype.to_native_dtype().itemsize
    if claimed_bytes != n_bytes:
        claimed = (
            "does not say what it holds" if claimed_bytes < 0 else f"holds {counted(claimed_bytes, 'byte')}"
        )
        raise ValueError(f"the chunk {claimed}, and the layout says {n_bytes}")
    out: Any = np.empty(n_bytes, dtype=np.uint8)
    decompress(data, out)
    return chunk_spec.prototype.buffer.from_array_like(out)
