"""A mirrored store as others see it: plain Zarr, the OME-Zarr models, and what xarray goes by."""

from __future__ import annotations

import anyio
import numpy as np
import pytest
import zarr
from ome_zarr_models.v05 import BioFormats2Raw, Image

import asyncfetch
from asyncfetch.imaging import decode
from asyncfetch.replica import open_replica
from asyncfetch.sample import sample_atlas

SMALL = 900000005
IMAGES = (900002005, 900005005)
CODECS = ("zstd", "jpegxl", *(pytest.param(each, marks=pytest.mark.slow) for each in ("blosc-lz4", "none")))
VIEW = f"data_sets/{SMALL}/image"


@pytest.fixture(scope="module")
def atlas():
    return sample_atlas()


@pytest.fixture(scope="module", params=CODECS)
def location(request, atlas, tmp_path_factory):
    """Return a store with all layers of two sections, in one of the codecs."""
    path = tmp_path_factory.mktemp(request.param) / "out.zarr"
    selection = [f"image:{image_id}" for image_id in IMAGES]
    layers = ("source", "sections", "registered")

    async def run():
        async with open_replica(atlas, cache_folder=tmp_path_factory.getbasetemp() / "drawn") as replica:
            return await asyncfetch.mirror(
                selection,
                path,
                base_url=replica.base_url,
                requests_per_s=1000.0,
                codec=request.param,
                layers=layers,
                um=50,
                downsample=0,
            )

    report = anyio.run(run)
    assert (report.n_committed, report.n_failed) == (2, 0)
    return path


def arrays_of(group):
    return {path: node for path, node in group.members(max_depth=None) if isinstance(node, zarr.Array)}


# The file is where the layout of collections wants it, and no node of Zarr.
@pytest.mark.filterwarnings("ignore:Object at METADATA.ome.xml")
def test_plain_zarr_reads_every_array(location):
    arrays = arrays_of(zarr.open(location, mode="r"))
    assert not any("/source/" in path for path in arrays)
    assert sum("/sections/" in path and path.endswith("/image") for path in arrays) == 6
    assert f"{VIEW}/registered/scale0/image" in arrays
    assert sum("/table/" in path for path in arrays) == 3
    for path, array in arrays.items():
        values = array[...]
        assert values.shape == array.shape
        assert array.metadata.dimension_names is not None
        assert len(set(array.metadata.dimension_names)) == array.ndim
        if path.endswith("/image"):
            assert values.any()


@pytest.mark.filterwarnings("ignore:Object at METADATA.ome.xml")
def test_plain_zarr_draws_the_tree_of_the_whole_store(location):
    tree = str(zarr.open_group(location, mode="r").tree())
    assert "registered" in tree
    assert "source" in tree


def test_all_layers_hold_the_pixels_of_the_jpeg(location):
    root = zarr.open(location, mode="r")
    for image_id in IMAGES:
        jpeg = (location / VIEW / "source" / f"{image_id}.jpg").read_bytes()
        pixels = decode(jpeg)
        section = asyncfetch.open(location).data_set(SMALL).section(image_id)
        assert np.array_equal(section.read_source(), pixels)
        stored = root[f"{VIEW}/sections/{image_id}/scale0/image"][:, 0]
        assert np.array_equal(np.moveaxis(stored, 0, -1), pixels)


def test_the_codec_changes_no_pixel(location, atlas, tmp_path_factory):
    data_set = asyncfetch.open(location).data_set(SMALL)
    z = data_set.read_registered_layout().z_by_image[IMAGES[1]]
    plane = np.asarray(data_set.open_registered()[:, z])
    kept = tmp_path_factory.getbasetemp() / "plane-of-the-first-codec.npy"
    if not kept.exists():
        np.save(kept, plane)
    assert np.array_equal(np.load(kept), plane)


def test_images_and_their_collection_validate(location):
    root = zarr.open_group(location, mode="r")
    registered = Image.from_zarr(root[f"{VIEW}/registered"])
    (level,) = registered.attributes.ome.multiscales[0].datasets
    scale, translation = level.coordinateTransformations
    z_um = np.asarray(root[f"{VIEW}/registered/scale0/z"])
    # sections 40 numbers of 25 µm apart, at the tilt and the scale of the alignment
    assert scale.scale == [1, pytest.approx(991.198, abs=0.001), 50, 50]
    assert translation.translation == [0, z_um[0], 25, 25]
    assert scale.scale[1] == pytest.approx(np.diff(z_um)[0], rel=1e-12)
    for image_id in IMAGES:
        image = Image.from_zarr(root[f"{VIEW}/sections/{image_id}"])
        assert len(image.attributes.ome.multiscales[0].datasets) == 3
    collection = BioFormats2Raw.from_zarr(root[f"{VIEW}/sections"])
    assert collection.attributes.ome.bioformats2raw_layout == 3
    series = root[f"{VIEW}/sections/OME"].attrs["ome"]["series"]
    assert series == [str(image_id) for image_id in IMAGES]
    assert (location / VIEW / "sections/OME/METADATA.ome.xml").read_bytes().startswith(b"<?xml")


def test_every_level_is_a_dataset_with_coordinates_in_um(location):
    root = zarr.open_group(location, mode="r")
    levels = [f"{VIEW}/registered/scale0"]
    levels += [f"{VIEW}/sections/{image_id}/scale{n}" for image_id in IMAGES for n in range(3)]
    for path in levels:
        group = root[path]
        image = group["image"]
        assert image.metadata.dimension_names == ("c", "z", "y", "x")
        axes = "zyx" if "registered" in path else "yx"
        for axis, size in zip(axes, image.shape[-len(axes) :], strict=True):
            coordinate = group[axis]
            assert coordinate.metadata.dimension_names == (axis,)
            assert coordinate.attrs["units"] == "micrometer"
            assert coordinate.shape == (size,)
            assert np.ptp(np.diff(coordinate[...])) < 1e-9


@pytest.mark.parametrize("location", ["zstd"], indirect=True)
def test_xarray_opens_a_level_without_glue(location):
    xarray = pytest.importorskip("xarray")
    for path in (f"{VIEW}/registered/scale0", f"{VIEW}/sections/{IMAGES[0]}/scale1"):
        level = xarray.open_zarr(location, group=path, consolidated=False, chunks=None)
        assert level["image"].dims == ("c", "z", "y", "x")
        assert level["image"].sel(y=4000, x=5700, method="nearest").shape[0] == 3
