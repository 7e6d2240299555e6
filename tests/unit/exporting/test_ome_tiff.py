"""OME-TIFF by readers that are not its writer: Pillow for the pixels of every level, an XML parser for the rest."""

from __future__ import annotations

import io
import struct
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from asyncfetch.errors import SettingsError
from tests.unit.exporting.conftest import CORONAL, DOWNSAMPLE, SAGITTAL, SECTIONS, UM

OME = {"ome": "http://www.openmicroscopy.org/Schemas/OME/2016-06"}
IMAGE_ID = SECTIONS[CORONAL][1]
SUB_IFDS, DESCRIPTION, COMPRESSION, TILE_WIDTH, X_RESOLUTION, RESOLUTION_UNIT = 330, 270, 259, 322, 282, 296


def file_of(folder, image_id=IMAGE_ID, data_set_id=CORONAL):
    (path,) = folder.glob(f"{data_set_id}/*_{image_id}.ome.tif")
    return path


def directories(path):
    """Return the offsets of the directory of the first image and of its coarser levels."""
    data = path.read_bytes()
    (first,) = struct.unpack("<I", data[4:8])
    with Image.open(path) as image:
        levels = image.tag_v2.get(SUB_IFDS, ())
    return data, [first, *([levels] if isinstance(levels, int) else levels)]


def read_levels(path):
    """Return the pixels of every level, each opened as if it were the first image of the file."""
    data, offsets = directories(path)
    found = []
    for offset in offsets:
        with Image.open(io.BytesIO(data[:4] + struct.pack("<I", offset) + data[8:])) as image:
            found.append(np.asarray(image))
    return found


def described(path):
    with Image.open(path) as image:
        assert isinstance(image, TiffImagePlugin.TiffImageFile)
        # Pillow takes the bytes of a tag for Latin-1
        return ET.fromstring(image.tag_v2[DESCRIPTION].encode("latin-1").decode())


def test_each_level_has_the_pixels_of_the_store(truth, exported):
    section = truth.store.data_set(CORONAL).section(IMAGE_ID)
    expected = [np.moveaxis(np.asarray(level[:, 0]), 0, -1) for level in section.open_levels()]
    levels = read_levels(file_of(exported("ome-tiff")))
    assert len(levels) == len(expected) == 2
    assert all(np.array_equal(one, other) for one, other in zip(levels, expected, strict=True))


def test_a_section_of_which_only_the_jpeg_is_stored_has_its_pixels(store_copy, truth, tmp_path, exported):
    from asyncfetch import blocking

    with_levels = read_levels(file_of(exported("ome-tiff", f"image:{IMAGE_ID}")))
    bare = tmp_path / "bare.ome.zarr"
    bare_store(store_copy, bare)
    report = blocking.export(bare, format="ome-tiff", folder=tmp_path / "bare")
    assert not report.failures
    levels = read_levels(file_of(tmp_path / "bare"))
    assert [each.shape for each in levels] == [each.shape for each in with_levels]
    assert all(np.array_equal(one, other) for one, other in zip(levels, with_levels, strict=True))


def bare_store(source, target):
    """Mirror one section again, with its JPEG alone."""
    import anyio

    import asyncfetch
    from asyncfetch.replica import open_replica
    from asyncfetch.sample import sample_atlas

    async def make():
        async with open_replica(sample_atlas()) as replica:
            await asyncfetch.mirror(
                f"image:{IMAGE_ID}",
                target,
                base_url=replica.base_url,
                layers=("source",),
                downsample=DOWNSAMPLE,
            )

    anyio.run(make)


def test_the_description_tells_sizes_in_um_and_names(truth, exported):
    path = file_of(exported("ome-tiff"))
    pixels = described(path).find("ome:Image/ome:Pixels", OME)
    commit = truth.store.data_set(CORONAL).section(IMAGE_ID).commit
    pitch = commit.resolution_um * 2**DOWNSAMPLE
    assert float(pixels.get("PhysicalSizeX")) == float(pixels.get("PhysicalSizeY")) == pytest.approx(pitch)
    assert pixels.get("PhysicalSizeXUnit") == pixels.get("PhysicalSizeYUnit") == "µm"
    assert (int(pixels.get("SizeY")), int(pixels.get("SizeX"))) == commit.shape
    # how Bio-Formats wants RGB: one channel of three samples
    assert (pixels.get("SizeC"), pixels.get("Type"), pixels.get("Interleaved")) == ("3", "uint8", "true")
    (channel,) = pixels.findall("ome:Channel", OME)
    assert (channel.get("SamplesPerPixel"), channel.get("Name")) == ("3", "RGB")
    assert "Pvalb coronal" in described(path).find("ome:Image", OME).get("Name")
    with Image.open(path) as image:
        tags = image.tag_v2
        assert tags[TILE_WIDTH] == 512
        # per centimetre
        assert (tags[RESOLUTION_UNIT], float(tags[X_RESOLUTION])) == (3, pytest.approx(1e4 / pitch))


def test_jpeg_is_near_and_much_smaller(truth, exported):
    lossless = file_of(exported("ome-tiff", f"image:{IMAGE_ID}"))
    size, exact = lossless.stat().st_size, read_levels(lossless)
    with Image.open(lossless) as image:
        assert image.tag_v2[COMPRESSION] == 8
    lossy = file_of(exported("ome-tiff", f"image:{IMAGE_ID}", compression="jpeg", quality=85))
    with Image.open(lossy) as image:
        assert (image.tag_v2[COMPRESSION], image.mode) == (7, "RGB")
    assert lossy.stat().st_size < size / 2
    for one, other in zip(read_levels(lossy), exact, strict=True):
        assert np.abs(one.astype(int) - other).mean() < 4


def test_a_coarser_tier_is_the_level_of_the_store(truth, exported):
    section = truth.store.data_set(CORONAL).section(IMAGE_ID)
    levels = read_levels(file_of(exported("ome-tiff", f"image:{IMAGE_ID}", downsample=DOWNSAMPLE + 2)))
    assert len(levels) == 1
    assert np.array_equal(levels[0], section.pixels(DOWNSAMPLE + 2))


def test_a_region_shows_what_lies_there(truth, exported):
    p = 13200.0
    roi_um = ((0, p), (1000, 4000), (2000, 7000))
    path = file_of(exported("ome-tiff", f"image:{IMAGE_ID}", roi_um=roi_um))
    data_set = truth.store.data_set(CORONAL)
    section = data_set.section(IMAGE_ID)
    pixels = described(path).find("ome:Image/ome:Pixels", OME)
    plane, pitch = pixels.find("ome:Plane", OME), float(pixels.get("PhysicalSizeX"))
    centre = section.commit.resolution_um * (2**DOWNSAMPLE - 1) / 2
    x, y = (round((float(plane.get(f"Position{axis}")) - centre) / pitch) for axis in "XY")
    (part, *_) = read_levels(path)
    height, width = part.shape[:2]
    assert np.array_equal(part, section.pixels()[y : y + height, x : x + width])
    corners = np.array([[x, y], [x + width, y + height]]) * 2**DOWNSAMPLE - 0.5
    (_, i0, r0), (_, i1, r1) = data_set.geometry(IMAGE_ID).image_to_reference(corners)
    assert i0 <= 1000 < 4000 <= i1
    assert r0 <= 2000 < 7000 <= r1
    assert (i1 - i0, r1 - r0) < (3600, 6000)


@pytest.mark.parametrize(("data_set_id", "layer"), [(CORONAL, "registered"), (SAGITTAL, "volume")])
def test_a_stack_has_a_plane_for_each_z_in_um(truth, exported, data_set_id, layer):
    path = exported("ome-tiff", layer=layer) / f"{data_set_id}/{data_set_id}_{layer}_{UM:g}um.ome.tif"
    data_set = truth.store.data_set(data_set_id)
    array = data_set.open_registered() if layer == "registered" else data_set.open_volume()
    pixels = described(path).find("ome:Image/ome:Pixels", OME)
    assert int(pixels.get("SizeZ")) == array.shape[1]
    step = data_set.read_registered_layout().z_step_um if layer == "registered" else UM
    assert float(pixels.get("PhysicalSizeZ")) == pytest.approx(step)
    with Image.open(path) as image:
        assert image.n_frames == array.shape[1]
        for z in range(0, image.n_frames, 7):
            image.seek(z)
            assert np.array_equal(np.asarray(image), np.moveaxis(np.asarray(array[:, z]), 0, -1))


def test_a_quality_beyond_100_is_refused(truth, tmp_path):
    from asyncfetch import blocking

    with pytest.raises(SettingsError, match="quality = 101 is not allowed"):
        blocking.export(truth.path, format="ome-tiff", folder=tmp_path, quality=101)
