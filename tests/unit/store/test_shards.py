"""Shards encoded here: Zarr reads them, zeros are left out, and its own writing says the same."""

from __future__ import annotations

import numpy as np
import pytest
import zarr

from asyncfetch.layout.paths import CHUNK
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
    array = ImageArray("image", (2, 2100, 2600), codec)
    write_array_metadata(place, "image", image_document(array.shape, codec))
    pixels = picture(2100, 2600)
    kit.write_plane(place, array, 1, pixels)
    stored = open_array(place, "image")
    np.testing.assert_array_equal(stored[:, 1].transpose(1, 2, 0), pixels)
    assert not stored[:, 0].any()


@pytest.mark.parametrize("codec", CODECS)
def test_zarr_writes_the_same_pixels_into_the_array(kit, codec):
    pixels = picture(700, 900)
    ours, theirs = Place("memory"), Place("memory")
    array = ImageArray("image", (1, 700, 900), codec)
    for place in (ours, theirs):
        write_array_metadata(place, "image", image_document(array.shape, codec))
    kit.write_plane(ours, array, 0, pixels)
    zarr.open_array(theirs.store, path="image", mode="r+")[...] = pixels.transpose(2, 0, 1)[:, None]
    np.testing.assert_array_equal(open_array(ours, "image")[...], open_array(theirs, "image")[...])


def test_chunks_of_zeros_take_no_room():
    pixels = np.zeros((2 * CHUNK, 2 * CHUNK, 3), np.uint8)
    shard = (2 * CHUNK, 2 * CHUNK)
    index_bytes = 4 * 16 + 4
    assert len(encode_shard(pixels, shard, "none")) == index_bytes
    pixels[CHUNK, CHUNK, 1] = 7
    assert len(encode_shard(pixels, shard, "none")) == index_bytes + 3 * CHUNK * CHUNK


@pytest.mark.parametrize("codec", CODECS)
def test_chunks_of_one_colour_and_those_that_only_seem_so_read_back(kit, codec):
    pixels = np.full((CHUNK, 4 * CHUNK, 3), (240, 7, 9), np.uint8)
    pixels[:, CHUNK : 2 * CHUNK] = (7, 9, 240)
    pixels[1, 2 * CHUNK + 1, 2] += 1
    pixels[-1, -1, 0] += 1
    place, array = Place("memory"), ImageArray("image", (1, *pixels.shape[:2]), codec)
    write_array_metadata(place, "image", image_document(array.shape, codec))
    kit.write_plane(place, array, 0, pixels)
    np.testing.assert_array_equal(open_array(place, "image")[:, 0].transpose(1, 2, 0), pixels)


@pytest.mark.parametrize("codec", ["zstd", "blosc-lz4", "jpegxl"])
def test_a_chunk_of_one_colour_has_the_bytes_that_its_codec_gives(codec):
    plain = np.full((CHUNK, CHUNK, 3), (240, 7, 9), np.uint8)
    assert shards.encode_chunk(plain, codec) == shards._encoder(codec)(plain)


@pytest.mark.parametrize("codec", CODECS)
def test_the_same_pixels_give_the_same_bytes(codec):
    pixels = picture(600, 600)
    first = encode_shard(pixels, (1024, 1024), codec)
    assert first == encode_shard(pixels[::1].copy(), (1024, 1024), codec)


@pytest.mark.parametrize("place", ["memory", "directory"])
def test_shards_of_several_planes_stay_as_they_were_written(kit, place, tmp_path):
    place = Place(tmp_path if place == "directory" else place)
    array = ImageArray("image", (2, 600, 600), "none")
    write_array_metadata(place, "image", image_document(array.shape, "none"))
    first, second = picture(600, 600), 255 - picture(600, 600)
    kit.write_plane(place, array, 0, first)
    kit.write_plane(place, array, 1, second)
    stored = open_array(place, "image")
    np.testing.assert_array_equal(stored[:, 0].transpose(1, 2, 0), first)
    np.testing.assert_array_equal(stored[:, 1].transpose(1, 2, 0), second)
