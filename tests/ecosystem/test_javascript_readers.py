"""Readers in JavaScript, which fetch a store as browsers do: the values and the place that our own reader tells."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

CODECS = ("zstd", "blosc-lz4", "none")
ZARRITAS = ("zarrita-0.5", "zarrita-0.6", "zarrita-0.7")


def sha256(pixels):
    return hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()


def positions(found, axis, n):
    return found["translation"][axis] + found["scale"][axis] * np.arange(n)


@pytest.fixture
def read(node, address_of, images_of):
    """Return what gives each image as a library read it, all in one process, and as it is."""

    def get(reader, codec="zstd"):
        images = images_of(479, codec)
        asked = [word for image in images.values() for word in (f"{address_of(codec)}/{image.path}", image.z)]
        return list(zip(node(reader, *asked), images.values(), strict=True))

    return get


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("reader", ZARRITAS)
def test_zarrita_reads_the_values_and_the_coordinates(read, reader, codec):
    for found, image in read(reader, codec):
        for level, expected in zip(found["levels"], image.levels, strict=True):
            assert level == {"shape": list(expected.shape), "sha256": sha256(expected)}
        for axis, positions_um in found["positions"].items():
            assert positions_um == pytest.approx(image.axes_um[axis], abs=1e-6)


@pytest.mark.parametrize("codec", CODECS)
def test_viv_loads_every_level_by_planes_and_by_tiles(read, codec):
    for found, image in read("viv", codec):
        for level, expected in zip(found["levels"], image.levels, strict=True):
            assert level["labels"] == ["c", "z", "y", "x"]
            assert level["shape"] == list(expected.shape)
            _, _, height, width = expected.shape
            for channel, plane in enumerate(level["planes"]):
                pixels = expected[channel, image.z]
                assert plane == {"width": width, "height": height, "sha256": sha256(pixels)}
            side = level["tile"]["side"]
            corner = expected[0, image.z, :side, :side]
            assert (level["tile"]["height"], level["tile"]["width"]) == corner.shape
            assert level["tile"]["sha256"] == sha256(corner)


def test_ngff_zarr_reads_the_values_and_the_place(read):
    for found, image in read("ngff-zarr"):
        for level, expected in zip(found["levels"], image.levels, strict=True):
            assert level["dims"] == ["c", "z", "y", "x"]
            assert (level["shape"], level["sha256"]) == (list(expected.shape), sha256(expected))
        level = found["levels"][0]
        for axis, expected in image.axes_um.items():
            assert positions(level, axis, len(expected)) == pytest.approx(expected, abs=1e-6)
            assert level["axesUnits"][axis] == "micrometer"


def test_ome_zarr_js_renders_the_colours_of_a_plane(read):
    for found, image in read("ome-zarr.js"):
        plane = np.moveaxis(image.levels[0][:, image.z], 0, -1)
        rgba = np.dstack([plane, np.full(plane.shape[:2], 255, dtype=np.uint8)])
        assert (found["height"], found["width"]) == plane.shape[:2]
        assert found["sha256"] == sha256(rgba)
