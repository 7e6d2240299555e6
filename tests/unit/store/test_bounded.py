"""A chunk of a store is as large as the layout says, or an error before it is decoded."""

from __future__ import annotations

import imagecodecs
import msgspec
import numcodecs.blosc
import numcodecs.zstd
import numpy as np
import pytest
import zarr
from imagecodecs.zarr import Jpegxl
from zarr.codecs import BloscCodec, ZstdCodec

from asyncfetch.errors import StoreItemError
from asyncfetch.store.arrays import (
    block_document,
    open_array,
    read_column,
    write_array_metadata,
    write_column,
)
from asyncfetch.store.blocks import BLOCK, BLOCK_SHARD, BlockArray
from asyncfetch.store.bounded import zstd_content_bytes
from asyncfetch.store.objects import Place

SIDE = 64
PIXELS = np.arange(SIDE * SIDE * 3, dtype=np.uint8).reshape(SIDE, SIDE, 3)
CODECS = {
    "zstd": {"compressors": ZstdCodec()},
    "blosc": {"compressors": BloscCodec(cname="lz4")},
    "jpegxl": {"serializer": Jpegxl(lossless=True), "compressors": None},
    "none": {"compressors": None},
}
PACK = {
    "zstd": numcodecs.zstd.compress,
    "blosc": lambda data: numcodecs.blosc.compress(data, b"lz4", 5, 1),
    "jpegxl": lambda data: imagecodecs.jpegxl_encode(
        np.frombuffer(data, dtype=np.uint8).reshape(SIDE, -1, 3), lossless=True
    ),
}


def stored(folder, codec, **changes):
    """Write an array with one chunk, and open it as the store does."""
    array = zarr.create_array(
        folder / "image", shape=PIXELS.shape, chunks=PIXELS.shape, dtype="uint8", **CODECS[codec]
    )
    array[...] = PIXELS
    if changes:
        path = folder / "image" / "zarr.json"
        path.write_bytes(msgspec.json.encode(msgspec.json.decode(path.read_bytes()) | changes))
    return Place(folder)


@pytest.mark.parametrize("codec", CODECS)
def test_chunks_are_read_as_zarr_reads_them(tmp_path, codec):
    assert np.array_equal(open_array(stored(tmp_path, codec), "image")[...], PIXELS)


@pytest.mark.parametrize("codec", PACK)
@pytest.mark.parametrize("n_columns", [1, SIDE - 1, SIDE + 1, 100_000])
def test_a_chunk_that_holds_another_number_of_bytes_is_damaged(tmp_path, codec, n_columns):
    place = stored(tmp_path, codec)
    (tmp_path / "image" / "c" / "0" / "0" / "0").write_bytes(PACK[codec](bytes(SIDE * n_columns * 3)))
    with pytest.raises(StoreItemError, match=r"image cannot be read at .*verify"):
        open_array(place, "image")[...]


@pytest.mark.parametrize("n_bytes", [0, 100, 255, 256, 300, 65_791, 65_792, 10**6])
def test_a_zstd_header_tells_what_the_frame_holds(n_bytes):
    assert zstd_content_bytes(numcodecs.zstd.compress(bytes(n_bytes))) == n_bytes


def test_more_frames_than_one_do_not_fit(tmp_path):
    place = stored(tmp_path, "zstd")
    one = numcodecs.zstd.compress(PIXELS.tobytes())
    (tmp_path / "image" / "c" / "0" / "0" / "0").write_bytes(one * 3)
    with pytest.raises(StoreItemError):
        open_array(place, "image")[...]


def test_chunks_beyond_any_that_are_written_are_refused_unread(tmp_path):
    grid = {"name": "regular", "configuration": {"chunk_shape": [2**20, 2**20, 3]}}
    place = stored(tmp_path, "zstd", chunk_grid=grid)
    with pytest.raises(StoreItemError, match="no more than 268435456 are read at once"):
        open_array(place, "image")


@pytest.mark.parametrize("n_texts", [0, 1, 4, 2**32 - 1])
def test_a_column_of_texts_that_claims_another_number_of_them_is_damaged(tmp_path, n_texts):
    place = Place(tmp_path)
    write_column(place, "names", np.array(["a", "bc", ""], dtype=np.dtypes.StringDType()))
    path = tmp_path / "names" / "c.0"
    assert list(read_column(place, "names")) == ["a", "bc", ""]
    path.write_bytes(n_texts.to_bytes(4, "little") + path.read_bytes()[4:])
    with pytest.raises(StoreItemError, match=f"claims {n_texts} texts, and the layout says 3"):
        read_column(place, "names")


@pytest.mark.parametrize("codec", ["gzip", "numcodecs.lzma"])
@pytest.mark.parametrize("kind", ["pixels", "texts"])
def test_codecs_that_are_never_written_are_refused_unread(tmp_path, kind, codec):
    place = Place(tmp_path)
    write_column(place, "image", np.array(["a"] if kind == "texts" else [1]))
    path = tmp_path / "image" / "zarr.json"
    document = msgspec.json.decode(path.read_bytes())
    packer = {"name": codec, "configuration": {"level": 1} if codec == "gzip" else {}}
    document["codecs"].append(packer)
    path.write_bytes(msgspec.json.encode(document))
    with pytest.raises(StoreItemError, match="never written"):
        open_array(place, "image")


@pytest.mark.parametrize("shape", [[2**36], [2**60], [5], [3, 2**40], [2**22]])
def test_a_column_of_a_shape_that_none_has_is_damaged_and_takes_no_memory(tmp_path, shape):
    place = Place(tmp_path)
    write_column(place, "width", np.arange(4.0))
    path = tmp_path / "width" / "zarr.json"
    document = msgspec.json.decode(path.read_bytes()) | {"shape": shape}
    chunk = shape if shape == [2**22] else [4] * len(shape)
    document["chunk_grid"]["configuration"]["chunk_shape"] = chunk
    document["dimension_names"] = ["section"] * len(shape)
    path.write_bytes(msgspec.json.encode(document))
    with pytest.raises(StoreItemError, match="as no column has"):
        read_column(place, "width")


def test_an_array_of_another_shape_than_its_commit_says_is_damaged(tmp_path):
    place = stored(tmp_path, "zstd", shape=[2**40, SIDE, 3])
    with pytest.raises(StoreItemError, match=r"has the shape \(1099511627776, 64, 3\), not \(64, 64, 3\)"):
        open_array(place, "image", PIXELS.shape)


@pytest.mark.parametrize("n_channels", [1, 3])
@pytest.mark.parametrize("codec", ["zstd", "blosc-lz4", "jpegxl", "none"])
def test_the_cubes_of_a_volume_are_read_back(codec, n_channels):
    place, array = Place("memory"), BlockArray("image", (70, 80, 90), n_channels, codec)
    voxels = np.random.default_rng(0).integers(0, 256, (*array.shape, n_channels), dtype=np.uint8)
    document = block_document(array.shape, n_channels, BLOCK, BLOCK_SHARD, codec)
    write_array_metadata(place, "image", document)
    for region in array.shards():
        array.write(place, region, np.ascontiguousarray(voxels[region.slices]))
    assert np.array_equal(np.moveaxis(open_array(place, "image")[...], 0, -1), voxels)
