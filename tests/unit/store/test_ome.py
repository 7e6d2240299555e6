"""NGFF metadata, with ome-zarr-models as the judge."""

from __future__ import annotations

import numpy as np
import pytest
import zarr
from lxml import etree
from ome_zarr_models.v05 import Image
from ome_zarr_models.v05.bioformats2raw import BioFormats2RawAttrs

from asyncfetch.layout.ome import level_positions, level_scale

SECTION = "data_sets/70813257/image/sections/101349756"


@pytest.fixture
def written(mirror):
    for image_id in (101349756, 101349750):
        mirror.write(image_id)
    mirror.writer.write_table(mirror.data_set)
    mirror.view.finish()
    return mirror


def test_section_and_registered_images_validate(written):
    root = zarr.open_group(written.writer.store, mode="r")
    for path in (SECTION, "data_sets/70813257/image/registered"):
        image = Image.from_zarr(root[path])
        assert [axis.name for axis in image.attributes.ome.multiscales[0].axes] == ["c", "z", "y", "x"]
        assert [axis.unit for axis in image.attributes.ome.multiscales[0].axes[1:]] == ["micrometer"] * 3


def test_a_pixel_of_a_level_lies_in_the_middle_of_the_full_resolution_pixels_it_covers():
    for n_halvings in range(8):
        covered = np.arange(2**n_halvings) * 1.63
        assert level_positions(1, 1.63, n_halvings)[0] == pytest.approx(covered.mean(), abs=1e-12)
        assert level_scale(1.63, n_halvings)[0] == 1.63 * 2**n_halvings


def test_coordinate_arrays_say_what_the_transformations_say(written):
    group = zarr.open_group(written.writer.store, path=SECTION, mode="r")
    multiscale = group.attrs["ome"]["multiscales"][0]
    assert multiscale["type"] == "mean"
    assert multiscale["metadata"]["method"] == "asyncfetch.imaging.pyramid.halve"
    for level, dataset in enumerate(multiscale["datasets"]):
        scale, translation = (each[each["type"]] for each in dataset["coordinateTransformations"])
        image = group[dataset["path"]]
        for axis, name in ((2, "y"), (3, "x")):
            coordinates = group[f"scale{level}/{name}"]
            assert coordinates.metadata.dimension_names == (name,)
            expected = scale[axis] * np.arange(image.shape[axis]) + translation[axis]
            np.testing.assert_array_equal(coordinates[...], expected)
            assert coordinates[0] == pytest.approx(1.63 * (2 ** (level + 1) - 1) / 2, abs=1e-12)


@pytest.mark.parametrize(("parallel", "first"), [(False, 50.0), (True, 0.0)])
def test_registered_voxels_are_centred_where_the_grid_says(mirror, kit, parallel, first):
    writer = kit.StoreWriter.open("memory")
    layout = mirror.layout(parallel=parallel)
    writer.open_view(layout)
    group = zarr.open_group(writer.store, path="data_sets/70813257/image/registered", mode="r")
    transformations = group.attrs["ome"]["multiscales"][0]["datasets"][0]["coordinateTransformations"]
    registered = layout.registered
    step_um = 8 * 25.0 / 0.947108
    assert transformations[0]["scale"] == [1.0, pytest.approx(step_um), 100.0, 100.0]
    assert transformations[1]["translation"] == [0.0, registered.z_um[0], first, first]
    np.testing.assert_array_equal(group["scale0/z"][...], registered.z_um)
    np.testing.assert_allclose(np.diff(registered.z_um), step_um)
    for name, n in (("y", 80), ("x", 114)):
        np.testing.assert_array_equal(group[f"scale0/{name}"][...], first + 100.0 * np.arange(n))


def test_the_collection_lists_committed_sections_in_section_order(written):
    group = zarr.open_group(written.writer.store, path="data_sets/70813257/image/sections", mode="r")
    attributes = BioFormats2RawAttrs.model_validate(group.attrs["ome"])
    assert attributes.bioformats2raw_layout == 3
    assert group["OME"].attrs["ome"] == {"version": "0.5", "series": ["101349750", "101349756"]}


def test_the_xml_names_the_groups_and_their_shapes(written):
    path = written.writer.store.root / "data_sets/70813257/image/sections/OME/METADATA.ome.xml"
    root = etree.fromstring(path.read_bytes())
    assert [child.get("ID") for child in root] == ["Image:101349750", "Image:101349756"]
    pixels = root[0][0]
    assert (pixels.get("SizeY"), pixels.get("SizeX"), pixels.get("SizeC")) == ("700", "1101", "3")
    assert float(pixels.get("PhysicalSizeX")) == 3.26


def test_a_view_without_pixels_is_no_collection(mirror):
    mirror.layers = ("source",)
    mirror.write(101349756)
    mirror.writer.write_table(mirror.data_set)
    mirror.view.finish()
    group = zarr.open_group(mirror.writer.store, path="data_sets/70813257/image/sections", mode="r")
    assert dict(group.attrs) == {}
    assert "ome" not in group["101349756"].attrs
