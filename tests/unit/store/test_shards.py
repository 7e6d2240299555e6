"""Shards encoded here: Zarr reads them, zeros are left out, and its own writing says the same."""

from __future__ import annotations

import numpy as np
import pytest
import zarr

from asyncfetch.errors import StoreItemError
from asyncfetch.layout.paths import CHUNK, level_chunking, plane_chunking
from asyncfetch.store import shards
from asyncfetch.store.arrays import image_document, open_array, write_array_metadata
from asyncfetch.store.objects import Place
from asyncfetch.store.shards import ImageArray, encode_shard

CODECS = ["zstd", "blosc-lz4", "jpegxl", "none"]


def picture(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([(y + x) % 256, (3 * y) % 256, (x * y) % 251], axis=-1).astype(np.uint8)


@pytest.mark.parametrize("codec", CODECS)
def test_a_plane_of_several_shards_reads_back(kit, codec):
    place = Place("memory")
    array = ImageArray("image", level_chunking((2100, 2600)), codec)
    write_array_metadata(place, "image", image_document(2, array.chunking, codec))
    pixels = picture(2100, 2600)
    kit.write_plane(place, array, 1, pixels)
    stored = open_array(place, "image")
    np.testing.assert_array_equal(stored[:, 1].transpose(1, 2, 0), pixels)
    assert not stored[:, 0].any()


@pytest.mark.parametrize("codec", CODECS)
def test_zarr_writes_the_same_pixels_into_the_array(kit, codec):
    pixels = picture(700, 900)
    ours, theirs = Place("memory"), Place("memory")
    array = ImageArray("image", level_chunking((700, 900)), codec)
    for place in (ours, theirs):
        write_array_metadata(place, "image", image_document(1, array.chunking, codec))
    kit.write_plane(ours, array, 0, pixels)
    zarr.open_array(theirs.store, path="image", mode="r+")[...] = pixels.transpose(2, 0, 1)[:, None]
    np.testing.assert_array_equal(open_array(ours, "image")[...], open_array(theirs, "image")[...])


def test_chunks_of_zeros_take_no_room():
    pixels = np.zeros((2 * CHUNK, 2 * CHUNK, 3), np.uint8)
    shard = level_chunking((2 * CHUNK, 2 * CHUNK))
    index_bytes = 4 * 16 + 4
    assert len(encode_shard(pixels, shard, "none")) == index_bytes
    pixels[CHUNK, CHUNK, 1] = 7
    assert len(encode_shard(pixels, shard, "none")) == index_bytes + 3 * CHUNK * CHUNK + 4


@pytest.mark.parametrize("codec", CODECS)
def test_chunks_of_one_colour_and_those_that_only_seem_so_read_back(kit, codec):
    pixels = np.full((CHUNK, 4 * CHUNK, 3), (240, 7, 9), np.uint8)
    pixels[:, CHUNK : 2 * CHUNK] = (7, 9, 240)
    pixels[1, 2 * CHUNK + 1, 2] += 1
    pixels[-1, -1, 0] += 1
    place, array = Place("memory"), ImageArray("image", level_chunking(pixels.shape[:2]), codec)
    write_array_metadata(place, "image", image_document(1, array.chunking, codec))
    kit.write_plane(place, array, 0, pixels)
    np.testing.assert_array_equal(open_array(place, "image")[:, 0].transpose(1, 2, 0), pixels)


@pytest.mark.parametrize("codec", ["zstd", "blosc-lz4", "jpegxl"])
def test_a_chunk_of_one_colour_has_the_bytes_that_its_codec_gives(codec):
    plain = np.full((CHUNK, CHUNK, 3), (240, 7, 9), np.uint8)
    assert shards.encode_chunk(plain, codec) == shards._encoder(codec)(plain)


@pytest.mark.parametrize("codec", CODECS)
def test_the_same_pixels_give_the_same_bytes(codec):
    pixels = picture(600, 600)
    first = encode_shard(pixels, level_chunking((600, 600)), codec)
    assert first == encode_shard(pixels[::1].copy(), level_chunking((600, 600)), codec)


@pytest.mark.parametrize("place", ["memory", "directory"])
def test_shards_of_several_planes_stay_as_they_were_written(kit, place, tmp_path):
    place = Place(tmp_path if place == "directory" else place)
    array = ImageArray("image", level_chunking((600, 600)), "none")
    write_array_metadata(place, "image", image_document(2, array.chunking, "none"))
    first, second = picture(600, 600), 255 - picture(600, 600)
    kit.write_plane(place, array, 0, first)
    kit.write_plane(place, array, 1, second)
    stored = open_array(place, "image")
    np.testing.assert_array_equal(stored[:, 0].transpose(1, 2, 0), first)
    np.testing.assert_array_equal(stored[:, 1].transpose(1, 2, 0), second)


@pytest.mark.parametrize("codec", CODECS)
def test_a_plane_of_up_to_1024_pixels_is_one_chunk_without_shards(kit, codec):
    place, pixels = Place("memory"), picture(320, 456)
    array = ImageArray("image", plane_chunking((320, 456)), codec)
    write_array_metadata(place, "image", image_document(3, array.chunking, codec))
    kit.write_plane(place, array, 2, pixels)
    stored = open_array(place, "image")
    assert (stored.chunks, stored.shards) == ((3, 1, 320, 456), None)
    assert place.get("image/c.0.2.0.0") is not None
    np.testing.assert_array_equal(stored[:, 2].transpose(1, 2, 0), pixels)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("chunking", [plane_chunking((320, 456)), level_chunking((320, 456))])
def test_a_flipped_bit_of_a_chunk_is_an_error_of_whoever_reads_it(kit, codec, chunking):
    place, array = Place("memory"), ImageArray("image", chunking, codec)
    write_array_metadata(place, "image", image_document(1, chunking, codec))
    kit.write_plane(place, array, 0, picture(320, 456))
    data = bytearray(place.get("image/c.0.0.0.0"))
    data[len(data) // 2] ^= 1
    place.set("image/c.0.0.0.0", bytes(data))
    with pytest.raises(StoreItemError):
        open_array(place, "image")[...]
    with pytest.raises((ValueError, RuntimeError)):
        zarr.open_array(place.store, path="image", mode="r")[...]


@pytest.mark.parametrize("codec", ["zstd", "blosc-lz4", "none"])
def test_pixels_are_stored_as_zarr_has_them_without_a_transpose(codec):
    document = image_document(1, level_chunking((600, 600)), codec)
    names = [each["name"] for each in document["codecs"][0]["configuration"]["codecs"]]
    assert "transpose" not in names
    assert names[-1] in {"zstd", "crc32c"}


def test_jpegxl_has_the_name_of_the_registry_and_the_name_of_before_is_read(kit):
    place, pixels = Place("memory"), picture(320, 456)
    array = ImageArray("image", plane_chunking((320, 456)), "jpegxl")
    document = image_document(1, array.chunking, "jpegxl")
    assert [each["name"] for each in document["codecs"]] == ["transpose", "jpegxl", "crc32c"]
    document["codecs"][1]["name"] = "imagecodecs_jpegxl"
    write_array_metadata(place, "image", document)
    kit.write_plane(place, array, 0, pixels)
    np.testing.assert_array_equal(open_array(place, "image")[:, 0].transpose(1, 2, 0), pixels)
