"""Images in OME-Zarr 0.4 by the models of its specification and by Zarr: pixels and places of the store."""

from __future__ import annotations

import numpy as np
import pytest
import zarr
from ome_zarr_models.v04 import Image as NgffImage

from tests.unit.exporting.conftest import CORONAL, DOWNSAMPLE, SAGITTAL, SECTIONS, UM

IMAGE_ID = SECTIONS[CORONAL][1]


def open_image(path):
    group = zarr.open_group(path, mode="r")
    assert group.metadata.zarr_format == 2
    return group, NgffImage.from_zarr(group)


def positions(image, level, axis, n):
    """Return where the pixels of a level are centred along z, y or x."""
    scale, translation = image.attributes.multiscales[0].datasets[level].coordinateTransformations
    return np.arange(n) * scale.scale[axis] + translation.translation[axis]


@pytest.mark.parametrize("data_set_id", [CORONAL, SAGITTAL])
@pytest.mark.parametrize("layer", ["registered", "volume"])
def test_a_stack_has_the_voxels_and_the_places_of_the_store(truth, exported, data_set_id, layer):
    path = exported("ome-zarr-0.4", layer=layer) / f"{data_set_id}/{data_set_id}_{layer}_{UM:g}um.ome.zarr"
    group, image = open_image(path)
    data_set = truth.store.data_set(data_set_id)
    array = data_set.open_registered() if layer == "registered" else data_set.open_volume()
    assert np.array_equal(group["0"][...], array[...])
    stored = truth.store.open_group()[f"data_sets/{data_set_id}/image/{layer}/scale0"]
    for axis, name in enumerate("zyx", start=1):
        assert np.allclose(positions(image, 0, axis, array.shape[axis]), stored[name][...], atol=1e-6)


def test_a_section_has_all_levels_where_they_lie(truth, exported):
    folder = exported("ome-zarr-0.4", f"image:{IMAGE_ID}", layer="sections")
    (path,) = folder.glob(f"{CORONAL}/*_{IMAGE_ID}.ome.zarr")
    group, image = open_image(path)
    levels = truth.store.data_set(CORONAL).section(IMAGE_ID).open_levels()
    assert len(image.attributes.multiscales[0].datasets) == len(levels) == 2
    for level, array in enumerate(levels):
        assert np.array_equal(group[str(level)][...], array[...])
        stored = truth.store.open_group()[f"data_sets/{CORONAL}/image/sections/{IMAGE_ID}/scale{level}"]
        for axis, name in ((2, "y"), (3, "x")):
            assert np.allclose(positions(image, level, axis, array.shape[axis]), stored[name][...], atol=1e-6)


def test_the_corner_of_a_region_is_told(truth, exported):
    folder = exported(
        "ome-zarr-0.4", f"image:{IMAGE_ID}", layer="sections", roi_um=((0, 13200), (1000, 4000), (2000, 7000))
    )
    (path,) = folder.glob(f"{CORONAL}/*_{IMAGE_ID}.ome.zarr")
    group, image = open_image(path)
    data_set = truth.store.data_set(CORONAL)
    pitch = data_set.section(IMAGE_ID).commit.resolution_um * 2**DOWNSAMPLE
    y, x = (round(positions(image, 0, axis, 1)[0] / pitch - 0.5) for axis in (2, 3))
    part = np.moveaxis(group["0"][:, 0], 0, -1)
    height, width = part.shape[:2]
    assert y > 0 < x
    assert np.array_equal(part, data_set.section(IMAGE_ID).pixels()[y : y + height, x : x + width])
    assert positions(image, 1, 2, 1)[0] - positions(image, 0, 2, 1)[0] == pytest.approx(pitch / 2)
