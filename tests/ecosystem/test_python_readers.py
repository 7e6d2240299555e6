"""Readers in Python, at their current versions: the values, the place and the orientation that our own reader tells."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

# what others warn of while they are imported and used is theirs
pytestmark = pytest.mark.filterwarnings("ignore")

CODECS = ("zstd", "blosc-lz4", "none", "jpegxl")
#: What readers without a decoder of JPEG XL can read.
COMMON_CODECS = CODECS[:-1]
IMAGES = ("registered", "volume", "section")
CORONAL, SAGITTAL = 479, 69289763
#: Directions of z, y and x by data set: coronal in space 9, and sagittal in space 10, whose r runs to the left.
DIRECTIONS = {
    (CORONAL, "registered"): ("anterior-to-posterior", "superior-to-inferior", "left-to-right"),
    (CORONAL, "volume"): ("anterior-to-posterior", "superior-to-inferior", "left-to-right"),
    (SAGITTAL, "registered"): ("right-to-left", "superior-to-inferior", "anterior-to-posterior"),
    (SAGITTAL, "volume"): ("anterior-to-posterior", "superior-to-inferior", "right-to-left"),
}


def positions(scale, translation, n):
    return translation + scale * np.arange(n)


def assert_same_place(found, image):
    """Hold (scale, translation) by axis against our own positions; a section's z is one thickness without a place."""
    for axis, expected in image.axes_um.items():
        scale, translation = found[axis]
        assert positions(scale, translation, len(expected)) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("name", IMAGES)
def test_zarr_reads_the_values_and_the_coordinates(images_of, needs, codec, name):
    zarr = needs("zarr")
    image = images_of(CORONAL, codec)[name]
    group = zarr.open_group(image.folder, mode="r")
    for level, expected in enumerate(image.levels):
        assert np.array_equal(group[f"scale{level}/image"][...], expected)
    for axis, expected in image.axes_um.items():
        assert group[f"scale0/{axis}"][...] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("name", IMAGES)
def test_dask_reads_the_values(images_of, needs, codec, name):
    dask = needs("dask.array")
    image = images_of(CORONAL, codec)[name]
    for level, expected in enumerate(image.levels):
        assert np.array_equal(dask.from_zarr(str(image.folder / f"scale{level}/image")).compute(), expected)


@pytest.mark.parametrize("codec", COMMON_CODECS)
@pytest.mark.parametrize("name", IMAGES)
def test_tensorstore_reads_the_values_and_the_coordinates(images_of, needs, codec, name):
    tensorstore = needs("tensorstore")
    image = images_of(CORONAL, codec)[name]

    def read(path):
        spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(image.folder / path)}}
        return tensorstore.open(spec, read=True).result()

    for level, expected in enumerate(image.levels):
        array = read(f"scale{level}/image")
        assert array.domain.labels == ("c", "z", "y", "x")
        assert np.array_equal(array.read().result(), expected)
    for axis, expected in image.axes_um.items():
        assert read(f"scale0/{axis}").read().result() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("name", IMAGES)
def test_xarray_opens_a_level_with_its_coordinates(images_of, needs, codec, name):
    xarray = needs("xarray")
    image = images_of(CORONAL, codec)[name]
    for level, expected in enumerate(image.levels):
        group = f"{image.path}/scale{level}"
        found = xarray.open_zarr(image.root, group=group, consolidated=False, chunks=None)
        assert np.array_equal(found["image"], expected)
        if level == 0:
            for axis, positions_um in image.axes_um.items():
                assert found[axis].to_numpy() == pytest.approx(positions_um, abs=1e-6)
                assert found[axis].attrs["units"] == "micrometer"


@pytest.mark.parametrize("name", IMAGES)
def test_xarray_opens_an_image_with_all_its_levels(images_of, needs, name):
    xarray = needs("xarray")
    image = images_of()[name]
    tree = xarray.open_datatree(image.root, group=image.path, engine="zarr", consolidated=False)
    assert tree.attrs["ome"]["version"] == "0.5"
    for level, expected in enumerate(image.levels):
        assert np.array_equal(tree[f"scale{level}/image"], expected)


#: Without what Zarr has codecs from beside its own.
BARE = """
import sys, warnings
for module in ("imagecodecs", "imagecodecs_zarr", "asyncfetch"):
    sys.modules[module] = None
import xarray, zarr
root, path, kind = sys.argv[1:]
warnings.simplefilter("error")
# the file is where the layout of collections wants it, and no node of Zarr
warnings.filterwarnings("ignore", "Object at METADATA.ome.xml")
if kind == "consolidated":
    warnings.filterwarnings("ignore", "Consolidated metadata")
    zarr.consolidate_metadata(root)
tree = xarray.open_datatree(root, engine="zarr", consolidated=kind == "consolidated")
tree.load()
zarr.open_group(root, mode="r").tree()
print(int(tree[path]["image"].sum()), len(tree.leaves), *sorted(tree[path]["image"].coords))
"""


@pytest.mark.parametrize("kind", ["plain", "consolidated"])
@pytest.mark.parametrize("part", ["", f"/data_sets/{CORONAL}"], ids=["store", "data set"])
def test_xarray_opens_the_whole_store_without_other_codecs(images_of, needs, store_copy, kind, part):
    needs("xarray")
    image = images_of()["registered"]
    root = f"{store_copy}{part}"
    path = f"{image.path}/scale0".removeprefix(part[1:]).lstrip("/")
    words = [sys.executable, "-c", BARE, root, path, kind]
    told = subprocess.run(words, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    total, n_leaves, *coordinates = told.stdout.split()
    assert int(total) == image.levels[0].sum(dtype=np.int64)
    assert int(n_leaves) >= 12
    assert coordinates == ["x", "y", "z"]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("name", IMAGES)
def test_ome_zarr_py_reads_values_axes_and_transformations(images_of, needs, codec, name):
    parse_url, reader = needs("ome_zarr.io").parse_url, needs("ome_zarr.reader").Reader
    image = images_of(CORONAL, codec)[name]
    (node,) = reader(parse_url(str(image.folder)))()
    assert [axis["name"] for axis in node.metadata["axes"]] == ["c", "z", "y", "x"]
    for found, expected in zip(node.data, image.levels, strict=True):
        assert np.array_equal(found, expected)
    scale, translation = node.metadata["coordinateTransformations"][0]
    pairs = zip(scale["scale"], translation["translation"], strict=True)
    assert_same_place(dict(zip("czyx", pairs, strict=True)), image)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("name", IMAGES)
def test_bioio_reads_values_sizes_and_channels(images_of, needs, codec, name):
    reader = needs("bioio_ome_zarr").Reader
    image = images_of(CORONAL, codec)[name]
    found = needs("bioio").BioImage(image.folder, reader=reader)
    assert found.channel_names == ["red", "green", "blue"]
    assert found.resolution_levels == tuple(range(len(image.levels)))
    for level, expected in enumerate(image.levels):
        found.set_resolution_level(level)
        assert np.array_equal(found.get_image_data("CZYX"), expected)
    found.set_resolution_level(0)
    for axis, expected in image.axes_um.items():
        assert getattr(found.physical_pixel_sizes, axis.upper()) == pytest.approx(np.diff(expected).mean())


@pytest.mark.parametrize("codec", COMMON_CODECS)
@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("data_set_id", [CORONAL, SAGITTAL])
def test_ngff_zarr_reads_values_place_and_orientation(images_of, needs, data_set_id, codec, name):
    ngff_zarr = needs("ngff_zarr")
    image = images_of(data_set_id, codec)[name]
    read = ngff_zarr.from_ngff_zarr(str(image.folder), validate=True)
    for found, expected in zip(read.images, image.levels, strict=True):
        assert tuple(found.dims) == ("c", "z", "y", "x")
        assert np.array_equal(found.data, expected)
    found = read.images[0]
    assert_same_place({axis: (found.scale[axis], found.translation[axis]) for axis in "zyx"}, image)
    assert {found.axes_units[axis] for axis in "zyx"} == {"micrometer"}
    directions = DIRECTIONS.get((data_set_id, name))
    if directions is None:
        assert not found.axes_orientations
    else:
        assert tuple(found.axes_orientations[axis].value.value for axis in "zyx") == directions


@pytest.mark.parametrize("name", IMAGES)
def test_napari_ome_zarr_gives_a_layer_for_each_colour(images_of, needs, name):
    image = images_of()[name]
    read = needs("napari_ome_zarr").napari_get_reader(str(image.folder))
    layers = read(str(image.folder))
    assert len(layers) == 3
    for channel, (data, options, kind) in enumerate(layers):
        assert kind == "image"
        assert options["name"].endswith(("red", "green", "blue")[channel])
        assert options["units"] == ("micrometer",) * 3
        assert options["contrast_limits"] == [0, 255]
        for found, expected in zip(data, image.levels, strict=True):
            assert np.array_equal(found, expected[channel])
        for axis, scale in zip("zyx", options["scale"], strict=True):
            if axis in image.axes_um:
                assert scale == pytest.approx(np.diff(image.axes_um[axis]).mean())


def test_napari_ome_zarr_opens_a_collection_as_its_sections(images_of, needs):
    image = images_of()["section"]
    sections = image.folder.parent
    layers = needs("napari_ome_zarr").napari_get_reader(str(sections))(str(sections))
    assert len(layers) == 3 * 5
    assert np.array_equal(layers[2 * 3 + 1][0][0], image.levels[0][1])


@pytest.mark.parametrize("name", IMAGES)
def test_ome_zarr_models_take_every_image(images_of, needs, name):
    models, zarr = needs("ome_zarr_models.v05"), needs("zarr")
    image = images_of()[name]
    (multiscale,) = models.Image.from_zarr(zarr.open_group(image.folder, mode="r")).attributes.ome.multiscales
    scale, translation = multiscale.datasets[0].coordinateTransformations
    pairs = zip(scale.scale, translation.translation, strict=True)
    assert_same_place(dict(zip("czyx", pairs, strict=True)), image)
