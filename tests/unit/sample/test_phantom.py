from __future__ import annotations

import hashlib
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from asyncfetch.errors import SelectionError
from asyncfetch.geometry import Affine2D, Box, tier_to_full
from asyncfetch.sample.phantom import EXPRESSION_THRESHOLD, MIRROR_UM, Phantom, jet, to_space_9

# A coronal plane at p = 6 500 µm, tilted a little, with pixels of 1.7 µm from the middle of the left hemisphere
# over its lower edge.
CORONAL = np.array([[0.02, 0.05, 6500.0], [0.03, 1.7, 4900.0], [1.7, -0.04, 2600.0]])
# The whole brain in pixels of 25 µm.
COARSE = np.array([[0.0, 0.0, 6500.0], [0.0, 25.0, 12.5], [25.0, 0.0, 12.5]])


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return Phantom()


def of_tier(matrix, downsample):
    return matrix @ np.vstack([tier_to_full(downsample).matrix, [0.0, 0.0, 1.0]])


@pytest.mark.parametrize("downsample", [1, 2, 3, 4, 6])
def test_a_tier_is_the_area_average_of_the_full_resolution(phantom, downsample):
    block = 2**downsample
    full = phantom.render(CORONAL, (1024, 1024)).astype(np.float64)
    mean = full.reshape(1024 // block, block, 1024 // block, block, 3).mean(axis=(1, 3))
    tier = phantom.render(of_tier(CORONAL, downsample), (1024 // block, 1024 // block))
    assert full.min() > 0
    assert full.max() < 255
    assert full.std() > 10
    assert np.abs(tier - mean).max() <= 1.0


def test_a_voxel_is_the_mean_over_its_area(phantom):
    fine = COARSE @ np.vstack(
        [(Affine2D.scaling(1 / 32) @ Affine2D.translation(-15.5, -15.5)).matrix, [0, 0, 1]]
    )
    box = Box(130 * 32, 100 * 32, 146 * 32, 116 * 32)
    full = phantom.render(fine, (320 * 32, 456 * 32), box=box).astype(np.float64)
    mean = full.reshape(16, 32, 16, 32, 3).mean(axis=(1, 3))
    voxels = phantom.render(COARSE, (320, 456), box=Box(130, 100, 146, 116))
    assert np.abs(voxels - mean).max() <= 1.0


def test_left_and_right_differ_so_that_a_mirrored_result_shows(phantom):
    image = phantom.render(COARSE, (320, 454)).astype(np.float64)
    inside = phantom.tissue(COARSE, (320, 454)) > 0.99
    both = inside & inside[:, ::-1]
    assert np.abs(image - image[:, ::-1])[both].mean() > 10
    assert np.count_nonzero(inside ^ inside[:, ::-1]) > 1000


def test_space_10_shows_the_mirrored_brain(phantom):
    flipped = COARSE.copy()
    flipped[2] = MIRROR_UM * np.array([0.0, 0.0, 1.0]) - COARSE[2]
    image = phantom.render(COARSE, (320, 454))
    assert np.array_equal(image, phantom.render(flipped, (320, 454), reference_space_id=10))


def test_a_shift_of_a_tenth_of_a_voxel_is_measured_by_least_squares(phantom):
    shift = np.array([2.5, -1.5])
    moved = COARSE.copy()
    moved[2, 2] += shift[0]
    moved[1, 2] += shift[1]
    box = Box(120, 80, 200, 380)
    still = phantom.render(COARSE, (320, 456), box=box).astype(np.float64)
    difference = phantom.render(moved, (320, 456), box=box) - still
    rows, columns = np.gradient(still, axis=(0, 1))
    a = np.column_stack([columns.ravel(), rows.ravel()]) / 25.0
    measured = np.linalg.lstsq(a, difference.ravel(), rcond=None)[0]
    assert np.abs(measured - shift).max() < 0.2


def test_a_crop_has_the_bytes_of_the_whole(phantom):
    whole = phantom.render(CORONAL, (900, 1300))
    box = Box(301, 177, 640, 1111)
    assert np.array_equal(phantom.render(CORONAL, (900, 1300), box=box), whole[box.slices])
    mask = phantom.expression_mask(COARSE, (320, 456))
    assert np.array_equal(
        phantom.expression_mask(COARSE, (320, 456), box=Box(9, 7, 99, 300)), mask[9:99, 7:300]
    )


def test_a_box_beyond_the_border_goes_on_drawing(phantom):
    box = Box(-50, -20, 30, 40)
    part = phantom.render(CORONAL, (900, 1300), box=box)
    assert part.shape == (80, 60, 3)
    assert np.array_equal(part[50:, 20:], phantom.render(CORONAL, (30, 40)))


def test_another_process_draws_the_same_bytes(phantom):
    program = (
        "import hashlib, numpy as np; from asyncfetch.sample.phantom import Phantom;"
        f"m = np.array({CORONAL.tolist()});"
        "print(hashlib.sha256(Phantom().render(m, (300, 400)).tobytes()).hexdigest())"
    )
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    own = hashlib.sha256(phantom.render(CORONAL, (300, 400)).tobytes()).hexdigest()
    assert other.stdout.strip() == own


def test_tissue_is_full_inside_and_empty_outside(phantom):
    tissue = phantom.tissue(COARSE, (320, 456))
    assert tissue.min() == 0.0
    assert tissue.max() == 1.0
    assert tissue[0, 0] == 0.0
    assert tissue[150, 140] == 1.0
    edge = (tissue > 0) & (tissue < 1)
    # The soft edge is some 200 µm wide, which is 8 voxels along an outline of about 1 000.
    assert 0.02 < edge.mean() < 0.15
    image = phantom.render(COARSE, (320, 456))
    assert np.array_equal(np.unique(image[tissue == 0], axis=0), [[236, 234, 238]])


def test_expression_lies_within_the_tissue_and_its_mask_is_black_below_the_threshold(phantom):
    level = phantom.expression(COARSE, (320, 456))
    mask = phantom.expression_mask(COARSE, (320, 456))
    assert level.min() == 0.0
    assert 0.9 < level.max() <= 1.0
    assert np.all(level[phantom.tissue(COARSE, (320, 456)) == 0] == 0)
    is_black = ~mask.any(axis=2)
    assert np.array_equal(is_black, level <= EXPRESSION_THRESHOLD)
    assert 0.02 < (~is_black).mean() < 0.5


def test_jet_runs_from_blue_to_red():
    colours = jet(np.array([0.0, 0.25, 0.5, 0.75, 1.0], dtype=np.float32))
    assert colours.tolist() == [[0, 0, 128], [0, 128, 255], [128, 255, 128], [255, 128, 0], [128, 0, 0]]


def test_other_spaces_and_shapes_are_refused():
    with pytest.raises(SelectionError, match="spaces 9 and 10"):
        to_space_9(np.eye(3), 6)
    with pytest.raises(SelectionError, match="shape"):
        to_space_9(np.eye(4), 9)


def test_a_mask_drawn_block_by_block_is_that_of_all_levels_at_once(phantom):
    shape, box = (900, 1400), Box(130, 500, 700, 1300)
    level = phantom.expression(CORONAL, shape, box=box)
    mask = jet((level - EXPRESSION_THRESHOLD) / (1.0 - EXPRESSION_THRESHOLD))
    mask[level <= EXPRESSION_THRESHOLD] = 0
    assert mask.any()
    np.testing.assert_array_equal(phantom.expression_mask(CORONAL, shape, box=box), mask)
    grey = np.rint(np.where(level > EXPRESSION_THRESHOLD, level, 0) * 255)
    np.testing.assert_array_equal(phantom.expression_grey(CORONAL, shape, box=box), grey)


@pytest.mark.parametrize(("draw", "n_bytes"), [("expression_mask", 3), ("expression_grey", 1), ("render", 3)])
def test_drawing_takes_no_more_than_the_pixels_and_a_block(phantom, draw, n_bytes):
    shape = (1600, 2000)
    tracemalloc.start()
    try:
        getattr(phantom, draw)(CORONAL, shape)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < n_bytes * shape[0] * shape[1] + 2**23
