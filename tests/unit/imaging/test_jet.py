"""Expression levels from the colours of a mask, held against the levels that the mask was drawn from."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import minimum_filter
from scipy.stats import spearmanr

from asyncfetch.errors import SelectionError
from asyncfetch.imaging import decode, encode, expression_level
from asyncfetch.sample import sample_atlas
from asyncfetch.sample.phantom import EXPRESSION_THRESHOLD, jet

ATLAS = sample_atlas()


def drawn(image_id, tier):
    """Return the level of the phantom, (y, x) from 0 to 1, and the mask of a section."""
    row, size = ATLAS.image_row(image_id), 2**tier
    to_tier = np.array([[size, 0, (size - 1) / 2], [0, size, (size - 1) / 2], [0, 0, 1]])
    matrix = ATLAS.image_to_reference(image_id) @ to_tier
    place = (matrix, (row["height"] // size, row["width"] // size))
    space = {"reference_space_id": ATLAS.reference_space_id(image_id)}
    level = ATLAS.phantom.expression(*place, **space)
    above = (level - EXPRESSION_THRESHOLD) / (1 - EXPRESSION_THRESHOLD)
    return above, ATLAS.phantom.expression_mask(*place, **space)


@pytest.fixture(scope="module", params=[(101349756, 3), (69177658, 4)], ids=["coronal", "sagittal"])
def section(request):
    return drawn(*request.param)


@pytest.mark.parametrize(("quality", "least", "most"), [(85, 0.99, 3), (60, 0.98, 5)])
def test_levels_rank_as_those_that_the_mask_was_drawn_from(section, quality, least, most):
    true, mask = section
    level = expression_level(decode(encode(mask, quality)))[..., 0]
    expressed = true > 0
    assert expressed.sum() > 5000
    assert spearmanr(level[expressed], true[expressed]).statistic > least
    assert np.abs(level[expressed] - 255 * true[expressed]).mean() < most


def test_black_stays_0_however_the_jpeg_rings_around_it(section):
    true, mask = section
    level = expression_level(decode(encode(mask)))[..., 0]
    black = true <= 0
    beyond_one_pixel = minimum_filter(black, 3)
    assert beyond_one_pixel.sum() > 100_000
    assert not level[beyond_one_pixel].any()
    assert level[black].max() <= 1


def test_every_colour_of_the_map_has_its_level():
    share = np.linspace(0, 1, 1021, dtype=np.float32)
    level = expression_level(jet(share)[np.newaxis])[0, :, 0]
    assert level.min() >= 1
    assert np.abs(level - 255 * share).max() <= 1.5


def test_levels_do_not_depend_on_how_a_mask_is_cut():
    mask = np.random.default_rng(7).integers(0, 256, (600, 70, 3), dtype=np.uint8)
    whole = expression_level(mask)
    assert whole.shape == (600, 70, 1)
    parts = [expression_level(mask[top : top + 37]) for top in range(0, 600, 37)]
    assert np.array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("mask", [np.zeros((3, 3, 1), np.uint8), np.zeros((3, 3, 3), np.float32)])
def test_what_is_no_mask_is_refused(mask):
    with pytest.raises(SelectionError, match=r"\(y, x, 3\) uint8"):
        expression_level(mask)
