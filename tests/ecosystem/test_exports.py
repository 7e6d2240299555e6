"""Exports in the programs that they are for, which are too large to be installed with the other tests."""

from __future__ import annotations

import json
import os
import shutil
import threading

import numpy as np
import pytest
from PIL import Image

import asyncfetch
from asyncfetch import blocking

pytestmark = pytest.mark.filterwarnings("ignore")

CORONAL, SAGITTAL = 479, 69289763
SIDE = 300


@pytest.fixture(scope="module")
def draw(needs):
    """Return what draws a state about a position (x, y, z) in µm: (SIDE, SIDE, 3) grey levels."""
    neuroglancer, playwright = needs("neuroglancer"), needs("playwright.sync_api")
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        assert "ECOSYSTEM_ALL" not in os.environ
        pytest.skip("there is no chromium")
    from tests.ecosystem.test_neuroglancer import ARGUMENTS

    neuroglancer.set_server_bind_address("127.0.0.1")
    viewer = neuroglancer.Viewer()
    with (
        playwright.sync_playwright() as driver,
        driver.chromium.launch(executable_path=browser, args=ARGUMENTS) as chromium,
    ):
        page = chromium.new_page()
        page.goto(viewer.get_viewer_url())

        def get(state, position_um, um_per_pixel):
            plain = {"showAxisLines": False, "showScaleBar": False, "showDefaultAnnotations": False}
            shown = {"position": position_um, "crossSectionScale": um_per_pixel, "layout": "xy", **plain}
            viewer.set_state(neuroglancer.ViewerState({**state, **shown}))
            pictures = []
            asking = threading.Thread(
                target=lambda: pictures.append(viewer.screenshot(size=[SIDE, SIDE])), daemon=True
            )
            asking.start()
            while asking.is_alive():
                page.wait_for_timeout(50)
            return pictures[0].screenshot.image_pixels[..., :3]

        yield get
    neuroglancer.stop()


@pytest.fixture
def states(store_of, address_of, tmp_path):
    def get(layer):
        report = blocking.export(
            store_of("zstd"), format="neuroglancer", folder=tmp_path, url=address_of("zstd"), layer=layer
        )
        assert not report.failures
        return lambda data_set_id: json.loads(
            (tmp_path / f"{data_set_id}/{data_set_id}_{layer}.json").read_text()
        )

    return get


def places(position_um, um_per_pixel):
    """Return (p, i, r) of space 9, in µm, of the middle of each pixel of a picture."""
    along = (np.arange(SIDE) + 0.5 - SIDE / 2) * um_per_pixel
    x, y = np.meshgrid(along + position_um[0], along + position_um[1])
    return np.stack([np.full_like(x, position_um[2]), y, x], axis=-1)


@pytest.mark.parametrize("data_set_id", [CORONAL, SAGITTAL])
def test_neuroglancer_draws_a_volume_in_colour_where_it_lies_in_space_9(draw, states, store_of, data_set_id):
    volume = np.asarray(asyncfetch.open(store_of("zstd")).data_set(data_set_id).open_volume()[...])
    p = int(np.argmax(volume[1].std(axis=(1, 2))))
    # no middle of a pixel at a border of voxels
    position_um = [5703.0, 4007.0, (p + 0.5) * 100]
    picture = draw(states("volume")(data_set_id), position_um, 40.0)
    found = places(position_um, 40.0)
    r = found[..., 2] if data_set_id == CORONAL else 11350.0 - found[..., 2]
    i, r = np.floor(found[..., 1] / 100).astype(int), np.floor(r / 100).astype(int)
    inside = (i >= 0) & (i < volume.shape[2]) & (r >= 0) & (r < volume.shape[3])
    expected = np.moveaxis(volume[:, p, i[inside], r[inside]], 0, -1)
    assert expected.std() > 5
    assert np.array_equal(picture[inside], expected)
    # what is beside the volume is Neuroglancer's own grey
    assert (~inside).any()
    assert (picture[~inside] == 128).all()


@pytest.mark.parametrize("data_set_id", [CORONAL, SAGITTAL])
def test_neuroglancer_draws_a_section_where_its_affine_puts_it(draw, states, store_of, data_set_id):
    state = states("sections")(data_set_id)
    layer = state["layers"][0]
    image_id = int(layer["name"].rpartition(" ")[2])
    data_set = asyncfetch.open(store_of("zstd")).data_set(data_set_id)
    section, geometry = data_set.section(image_id), data_set.geometry(image_id)
    height, width = section.commit.shape
    size = 2**section.commit.downsample
    middle = geometry.image_to_reference([width * size / 2, height * size / 2])
    if data_set_id == SAGITTAL:
        middle[2] = 11350.0 - middle[2]
    position_um = [float(middle[2]), float(middle[1]), float(middle[0])]
    um = section.commit.resolution_um * size / 2
    picture = draw({**state, "layers": [layer]}, position_um, um)
    found = places(position_um, um)
    if data_set_id == SAGITTAL:
        found[..., 2] = 11350.0 - found[..., 2]
    x, y = np.moveaxis((geometry.reference_to_image(found) + 0.5) / size, -1, 0)
    across = np.abs(found @ geometry.plane_equation()[:3] + geometry.plane_equation()[3])
    near = (across < 10.0) & (x > 0) & (x < width) & (y > 0) & (y < height)
    assert near.sum() > SIDE
    expected = section.pixels()[y[near].astype(int), x[near].astype(int)].astype(int)
    assert expected.std() > 5
    differences = np.abs(picture[near] - expected)
    # at the borders of pixels either of two may be drawn
    assert np.median(differences) == 0
    assert differences.mean() < 2


@pytest.mark.parametrize("data_set_id", [CORONAL, SAGITTAL])
def test_ome_zarr_py_and_bioio_open_images_of_version_04(needs, store_of, tmp_path, data_set_id):
    reader, io = needs("ome_zarr.reader"), needs("ome_zarr.io")
    bioio, bioio_ome_zarr = needs("bioio"), needs("bioio_ome_zarr")
    report = blocking.export(store_of("zstd"), format="ome-zarr-0.4", folder=tmp_path, layer="volume")
    assert not report.failures
    path = tmp_path / f"{data_set_id}/{data_set_id}_volume_100um.ome.zarr"
    expected = np.asarray(asyncfetch.open(store_of("zstd")).data_set(data_set_id).open_volume()[...])
    (node,) = reader.Reader(io.parse_url(str(path)))()
    assert np.array_equal(np.asarray(node.data[0]), expected)
    image = bioio.BioImage(path, reader=bioio_ome_zarr.Reader)
    assert np.array_equal(image.get_image_data("CZYX"), expected)
    assert (image.physical_pixel_sizes.Z, image.physical_pixel_sizes.X) == (100.0, 100.0)


@pytest.mark.parametrize("layer", ["sections", "volume"])
def test_the_description_of_an_ome_tiff_is_valid_by_the_schema(needs, store_of, tmp_path, layer):
    ome_types = needs("ome_types")
    report = blocking.export(
        store_of("zstd"), f"dataset:{CORONAL}", format="ome-tiff", folder=tmp_path, layer=layer
    )
    assert not report.failures
    for path in (tmp_path / str(CORONAL)).glob("*.ome.tif"):
        with Image.open(path) as image:
            # Pillow takes the bytes of a tag for Latin-1
            described = image.tag_v2[270].encode("latin-1").decode()
        (told,) = ome_types.from_xml(described, validate=True).images
        assert told.pixels.physical_size_x_unit.value == "µm"
        assert (told.pixels.size_c, told.pixels.channels[0].samples_per_pixel) == (3, 3)
        assert len(told.pixels.planes) == told.pixels.size_z


def image_of(sdata, name):
    """Return the finest level of an image of SpatialData, (c, y, x) or (c, z, y, x)."""
    element = sdata.images[name]
    return (
        element
        if hasattr(element, "dims") and "c" in element.dims
        else next(iter(element["scale0"].values()))
    )


@pytest.mark.parametrize("data_set_id", [CORONAL, SAGITTAL])
def test_spatialdata_has_sections_in_their_own_frame_and_in_space_9(needs, store_of, tmp_path, data_set_id):
    spatialdata, transformations = needs("spatialdata"), needs("spatialdata.transformations")
    report = blocking.export(
        store_of("zstd"), f"dataset:{data_set_id}", format="spatialdata", folder=tmp_path
    )
    assert not report.failures
    sdata = spatialdata.read_zarr(tmp_path / f"{data_set_id}/{data_set_id}.spatialdata.zarr")
    data_set = asyncfetch.open(store_of("zstd")).data_set(data_set_id)
    assert len(sdata.images) == len(data_set.read_commits())
    for name in sdata.images:
        image_id = int(name.rpartition("_")[2])
        section, geometry = data_set.section(image_id), data_set.geometry(image_id)
        assert np.array_equal(np.moveaxis(np.asarray(image_of(sdata, name)), 0, -1), section.pixels())
        maps = transformations.get_transformation(sdata.images[name], get_all=True)
        # the first pixel is centred at one half, one half
        size, pixel = 2**section.commit.downsample, np.array([20.0, 10.0])
        full = (pixel + 0.5) * size - 0.5
        to_section = maps["section"].to_affine_matrix(("x", "y"), ("x", "y"))
        assert np.allclose((to_section @ [*(pixel + 0.5), 1])[:2], full * section.commit.resolution_um)
        to_reference = maps["reference"].to_affine_matrix(("x", "y"), ("x", "y", "z"))
        p, i, r = geometry.image_to_reference(full)
        expected = [r if data_set_id == CORONAL else 11350.0 - r, i, p]
        assert np.allclose((to_reference @ [*(pixel + 0.5), 1])[:3], expected, atol=1e-6)


@pytest.mark.parametrize("layer", ["registered", "volume"])
@pytest.mark.parametrize("data_set_id", [CORONAL, SAGITTAL])
def test_spatialdata_has_planes_and_volumes_in_space_9(needs, store_of, tmp_path, data_set_id, layer):
    spatialdata, transformations = needs("spatialdata"), needs("spatialdata.transformations")
    blocking.export(
        store_of("zstd"), f"dataset:{data_set_id}", format="spatialdata", folder=tmp_path, layer=layer
    )
    name = f"{layer}_100um"
    sdata = spatialdata.read_zarr(tmp_path / f"{data_set_id}/{data_set_id}_{name}.spatialdata.zarr")
    data_set = asyncfetch.open(store_of("zstd")).data_set(data_set_id)
    array = data_set.open_registered() if layer == "registered" else data_set.open_volume()
    assert np.array_equal(np.asarray(image_of(sdata, name)), array[...])
    to_reference = transformations.get_transformation(sdata.images[name], "reference").to_affine_matrix(
        ("x", "y", "z"), ("x", "y", "z")
    )
    x, y, z = (to_reference @ [0.5, 0.5, 0.5, 1])[:3]
    first = data_set.read_registered_layout().z_um[0] if layer == "registered" else 50.0
    expected = {
        (CORONAL, "registered"): (50, 50, first),
        (CORONAL, "volume"): (50, 50, 50),
        (SAGITTAL, "registered"): (11350 - first, 50, 50),
        (SAGITTAL, "volume"): (11300, 50, 50),
    }[data_set_id, layer]
    assert np.allclose((x, y, z), expected)
