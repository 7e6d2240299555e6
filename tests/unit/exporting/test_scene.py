"""Scenes of NGFF 0.6 by the models of its specification: every pixel lies where the services of the store place it."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import zarr
from ome_zarr_models.v06 import Image as NgffImage
from ome_zarr_models.v06.scene import Scene as NgffScene

from tests.unit.exporting.conftest import CORONAL, DOWNSAMPLE, SAGITTAL, SECTIONS


def open_scene(folder, data_set_id):
    group = zarr.open_group(folder / f"{data_set_id}/{data_set_id}_scene.ome.zarr", mode="r")
    return group, NgffScene.from_zarr(group).attributes.ome.scene


def place_of(group, scene, image_id, level, index):
    """Return where a (c, z, y, x) index of a level lies, and in which coordinate system."""
    image = NgffImage.from_zarr(group[str(image_id)]).attributes.ome.multiscales[0]
    (to_section,) = image.datasets[level].coordinateTransformations
    scale, translation = to_section.transformations
    point = np.array(index) * scale.scale + translation.translation
    (placing,) = [each for each in scene.coordinateTransformations if each.input.path == str(image_id)]
    assert placing.input.name == to_section.output.name
    affine = np.array(placing.affine)
    return affine[:, :4] @ point + affine[:, 4], placing.output.name


@pytest.mark.parametrize(("data_set_id", "space"), [(CORONAL, 9), (SAGITTAL, 10)])
def test_a_scene_has_all_sections_with_their_pixels_and_places(truth, exported, data_set_id, space):
    group, scene = open_scene(exported("scene"), data_set_id)
    assert [each.input.path for each in scene.coordinateTransformations] == list(
        map(str, SECTIONS[data_set_id])
    )
    data_set, atlas = truth.store.data_set(data_set_id), truth.store.read_atlas()
    for image_id in SECTIONS[data_set_id]:
        for level, array in enumerate(data_set.section(image_id).open_levels()):
            assert np.array_equal(group[f"{image_id}/scale{level}/image"][...], array[...])
            y, x = 40, 30
            found, system = place_of(group, scene, image_id, level, (1, 0, y, x))
            xy = (np.array([[x, y]]) + 0.5) * 2 ** (DOWNSAMPLE + level) - 0.5
            expected = atlas.image_to_reference(image_id, xy).pir[0]
            assert system == f"reference space {space}"
            np.testing.assert_allclose(found, [1, *expected], rtol=0, atol=1e-6)


def test_a_part_lies_where_it_lies_in_the_whole(truth, exported, tmp_path):
    image_id, selection = SECTIONS[CORONAL][1], f"dataset:{CORONAL}"
    kept = shutil.copytree(exported("scene", selection), tmp_path / "kept")
    whole, scene = open_scene(kept, CORONAL)
    folder = exported("scene", selection, roi_um=((0, 13200), (1000, 4000), (2000, 7000)))
    part, scene_of_part = open_scene(folder, CORONAL)
    here = part[f"{image_id}/scale0/image"]
    assert here.shape < whole[f"{image_id}/scale0/image"].shape
    corner, _ = place_of(part, scene_of_part, image_id, 0, (0, 0, 0, 0))
    # the index in the whole that lies there
    origin, *steps = (
        place_of(whole, scene, image_id, 0, index)[0] for index in ((0, 0, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1))
    )
    index = np.linalg.lstsq(np.column_stack([step - origin for step in steps]), corner - origin, rcond=None)[
        0
    ]
    y, x = np.round(index).astype(int)
    np.testing.assert_allclose(index, [y, x], atol=1e-6)
    height, width = here.shape[2:]
    pixels = whole[f"{image_id}/scale0/image"][..., y : y + height, x : x + width]
    assert np.array_equal(here[...], pixels)


def test_pixels_that_are_not_stored_are_decoded(truth, exported):
    group, _ = open_scene(exported("scene", downsample=DOWNSAMPLE + 1), CORONAL)
    image_id = SECTIONS[CORONAL][0]
    expected = truth.store.data_set(CORONAL).section(image_id).pixels(DOWNSAMPLE + 1)
    assert np.array_equal(np.moveaxis(group[f"{image_id}/scale0/image"][:, 0], 0, -1), expected)
