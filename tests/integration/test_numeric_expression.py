"""Expression as numbers, from the mask's JPEG to the plane, against the level that the mask was drawn from."""

from __future__ import annotations

from functools import partial

import anyio
import numpy as np
import pytest
from scipy.ndimage import minimum_filter
from scipy.stats import spearmanr
from zarr.storage import MemoryStore

import asyncfetch
from asyncfetch.errors import SettingsError
from asyncfetch.imaging import decode
from asyncfetch.replica import MirroredAtlas
from asyncfetch.sample import sample_atlas
from asyncfetch.sample.phantom import EXPRESSION_THRESHOLD

DATA_SET, IMAGE_ID = 69289763, 69177658
LAYERS = ("source", "sections", "registered")


@pytest.fixture(scope="module")
def base_url(replica_process):
    return replica_process.base_url


def mirror(base_url, location, **choices):
    settings = {"base_url": base_url, "requests_per_s": 1000.0, "um": 100.0, "layers": LAYERS}
    settings |= {"views": ("expression",), "numeric_expression": True}
    return anyio.run(partial(asyncfetch.mirror, f"image:{IMAGE_ID}", location, **settings | choices))


@pytest.fixture(scope="module")
def store(base_url):
    location = MemoryStore()
    assert not mirror(base_url, location).failures
    return location


@pytest.fixture(scope="module")
def data_set(store):
    return asyncfetch.open(store).data_set(DATA_SET, "expression")


@pytest.fixture(scope="module")
def truth(data_set):
    """The level on the registered grid as its mask shows it, 0 to 255, each voxel the mean over its area."""
    layout, n = data_set.read_registered_layout(), 4
    to_reference = layout.grid.grid_to_reference(data_set.geometry(IMAGE_ID))
    fine = to_reference @ [[1 / n, 0, 0.5 / n - 0.5], [0, 1 / n, 0.5 / n - 0.5], [0, 0, 1]]
    height, width = layout.grid.shape
    level = sample_atlas().phantom.expression(fine, (n * height, n * width), reference_space_id=10)
    shown = 255 * np.clip((level - EXPRESSION_THRESHOLD) / (1 - EXPRESSION_THRESHOLD), 0, 1)
    return shown.reshape(height, n, width, n).mean(axis=(1, 3))


@pytest.fixture(scope="module")
def plane(data_set):
    z = data_set.read_registered_layout().z_by_image[IMAGE_ID]
    return np.asarray(data_set.open_registered()[:, z])


def test_registered_levels_are_those_of_the_phantom(plane, truth):
    assert (plane == plane[0]).all()
    expressed = truth > 2
    assert expressed.sum() > 500
    assert spearmanr(plane[0][expressed], truth[expressed]).statistic > 0.99
    assert np.abs(plane[0][expressed] - truth[expressed]).mean() < 4


def test_black_stays_0(plane, truth):
    black = minimum_filter(truth == 0, 3)
    assert black.sum() > 2000
    assert not plane[0][black].any()


def test_sections_hold_levels_and_the_jpeg_keeps_its_colours(data_set, store):
    section = data_set.section(IMAGE_ID)
    pixels = section.pixels()
    assert np.array_equal(pixels, np.repeat(pixels[..., :1], 3, axis=2))
    colours = decode(section.read_jpeg())
    assert not np.array_equal(colours, pixels)
    # so that a served store answers as the API does
    served = MirroredAtlas(asyncfetch.open(store))
    assert np.array_equal(
        served.draw(IMAGE_ID, downsample=section.commit.downsample, view="expression"), colours
    )


def test_what_was_made_says_that_it_is_levels(data_set):
    assert data_set.read_registered_layout().recipe.numeric_expression
    assert data_set.read_registered_layout().recipe.interpolation == "linear"
    assert data_set.section(IMAGE_ID).commit.recipe.numeric_expression


def test_colours_and_levels_do_not_meet_in_one_image(base_url, store):
    with pytest.raises(SettingsError, match="numeric_expression"):
        mirror(base_url, store, numeric_expression=False)


def test_other_views_are_not_turned_into_levels(base_url):
    locations = MemoryStore(), MemoryStore()
    for location, numeric in zip(locations, (True, False), strict=True):
        mirror(base_url, location, views=("image",), numeric_expression=numeric)
    planes = [
        np.asarray(asyncfetch.open(each).data_set(DATA_SET).open_registered()[...]) for each in locations
    ]
    assert np.array_equal(*planes)


def test_a_volume_of_levels_has_one_channel(store, plane):
    anyio.run(partial(asyncfetch.volume, store, DATA_SET, view="expression"))
    volume = asyncfetch.open(store).data_set(DATA_SET, "expression").open_volume()
    assert volume.shape == (1, 132, 80, 114)
    # a lone plane fills the voxels that it passes
    assert np.array_equal(np.asarray(volume[...]).max(axis=(0, 3)).T[plane[0] > 0], plane[0][plane[0] > 0])


@pytest.mark.anyio
async def test_a_fetched_section_gives_its_levels(base_url):
    settings = asyncfetch.Settings(base_url=base_url, requests_per_s=1000.0)
    async with (
        asyncfetch.Client(settings=settings) as client,
        client.open_sections(900000005, um=100.0) as sections,
    ):
        section = await anext(aiter(sections))
        level = section.expression_level()
        assert level.shape == (*section.expression.shape[:2], 1)
        assert (level > 0).sum() > 100
        assert section.registered_expression_level().shape == (80, 114, 1)
