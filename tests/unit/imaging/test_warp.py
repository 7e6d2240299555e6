from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates

from asyncfetch.errors import SelectionError
from asyncfetch.geometry import WARP_BLOCK, Affine2D, Box, step_of, tiles_of
from asyncfetch.imaging import halve, prepare_source, warp

INTERPOLATIONS = ("nearest", "linear", "cubic", "lanczos")


def turn(step, angle, tx, ty):
    cos, sin = step * np.cos(angle), step * np.sin(angle)
    return Affine2D(np.array([[cos, -sin, tx], [sin, cos, ty]]))


def noise(*shape):
    return np.random.default_rng(sum(shape)).integers(0, 256, shape, dtype=np.uint8)


def smooth(side, sigma=3.0):
    waves = gaussian_filter(np.random.default_rng(5).normal(size=(side, side)), sigma, mode="wrap")
    waves = 128 + 30 * waves / waves.std()
    return np.repeat(np.clip(np.rint(waves), 0, 255).astype(np.uint8)[..., None], 3, axis=-1)


def positions(grid_to_source, shape):
    y, x = np.mgrid[: shape[0], : shape[1]]
    return grid_to_source.apply(np.stack([x, y], axis=-1))


def area_average(source, grid_to_source, shape, n):
    """Average n x n nearest samples a grid pixel, in float64."""
    grey = source[..., 0].astype(float)
    total = np.zeros(shape)
    for j in range(n):
        for i in range(n):
            offset = Affine2D.translation((i + 0.5) / n - 0.5, (j + 0.5) / n - 0.5)
            x, y = np.moveaxis(np.rint(positions(grid_to_source @ offset, shape)).astype(int), -1, 0)
            total += grey[y, x]
    return total / n**2


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_the_identity_changes_nothing(interpolation):
    source = noise(70, 300, 3)
    assert np.array_equal(warp(source, Affine2D.identity(), (70, 300), interpolation=interpolation), source)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("step", [0.7, 1.02, 2.3])
def test_boxes_assembled_are_the_whole(interpolation, step):
    source = noise(300, 420, 3)
    grid_to_source = turn(step, 0.1, 9.3, -20.8)
    shape = (300, 350)
    if interpolation == "lanczos":
        shape = (270, 70)
    whole = warp(source, grid_to_source, shape, interpolation=interpolation, fill=7)
    for tile in ((97, 131), (256, 256), (300, 64)):
        assembled = np.full_like(whole, 99)
        for box in tiles_of(shape, tile):
            part = warp(source, grid_to_source, shape, box=box, interpolation=interpolation, fill=7)
            assembled[box.slices] = part
        assert np.array_equal(assembled, whole)


@pytest.mark.parametrize("step", [0.7, 1.3, 2.6])
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("n_channels", [3, 4])
def test_each_channel_is_warped_as_if_it_were_alone(n_channels, interpolation, step):
    source, grid_to_source = noise(400, 500, n_channels), turn(step, 0.4, 90.3, -20.8)

    together = warp(source, grid_to_source, (300, 280), interpolation=interpolation, fill=9)

    for k in range(n_channels):
        alone = warp(source[..., k : k + 1], grid_to_source, (300, 280), interpolation=interpolation, fill=9)
        assert np.array_equal(together[..., k], alone[..., 0])


def test_the_result_can_be_written_into_part_of_an_array():
    source, grid_to_source = noise(300, 300, 3), turn(1.1, 0.2, 3, 4)
    whole = warp(source, grid_to_source, (280, 300))
    band = np.full((280, 400, 3), 99, dtype=np.uint8)
    returned = warp(source, grid_to_source, (280, 300), out=band[:, 50:350])
    assert np.shares_memory(returned, band)
    assert np.array_equal(band[:, 50:350], whole)
    assert (band[:, :50] == 99).all()
    assert (band[:, 350:] == 99).all()


@pytest.mark.parametrize("n_channels", [1, 3, 4])
def test_linear_sampling_agrees_with_scipy_in_float64(n_channels):
    source = noise(260, 310, n_channels)
    for grid_to_source in (turn(1.03, 0.13, 12.6, -18.2), turn(0.6, -2.9, 200.1, 180.7)):
        shape = (300, 320)
        ours = warp(source, grid_to_source, shape, fill=40)
        x, y = np.moveaxis(positions(grid_to_source, shape), -1, 0)
        for channel in range(n_channels):
            plane = source[..., channel].astype(float)
            exact = map_coordinates(plane, [y, x], order=1, mode="grid-constant", cval=40)
            assert np.abs(ours[..., channel] - exact).max() <= 1


@pytest.mark.parametrize("interpolation", ["linear", "cubic", "lanczos"])
def test_positions_are_exact_to_a_thousandth_of_a_pixel(interpolation):
    # Stripes of one pixel: from black to white within one step, so a level stands for 1/255 px.
    source = np.zeros((500, 500, 3), dtype=np.uint8)
    source[:, 1::2] = 255
    shape = (300, 300) if interpolation != "lanczos" else (260, 100)
    grid_to_source = turn(1.013, 0.031, 20.3, 7.7)
    ours = warp(source, grid_to_source, shape, interpolation=interpolation)[..., 0].astype(float)
    x = positions(grid_to_source, shape)[..., 0]
    below = np.floor(x)
    reach = {"linear": 1, "cubic": 2, "lanczos": 4}[interpolation]
    taps = np.arange(1 - reach, reach + 1)
    distance = np.abs((x - below)[..., None] - taps)
    if interpolation == "linear":
        weights = 1 - distance
    elif interpolation == "cubic":
        a = -0.75
        inner = ((a + 2) * distance - (a + 3)) * distance**2 + 1
        weights = np.where(distance <= 1, inner, ((distance - 5) * distance + 8) * distance * a - 4 * a)
    else:
        weights = np.sinc(distance) * np.sinc(distance / 4)
        weights /= weights.sum(axis=-1, keepdims=True)
    exact = (weights * ((below[..., None] + taps) % 2 * 255)).sum(axis=-1)
    # Half a level is rounding. The steepest of the curves, Lanczos, rises by π/2 · 255 levels a pixel.
    assert np.abs(ours - np.clip(exact, 0, 255)).max() < 0.5 + 255 * np.pi / 2 * 1e-3


def test_nearest_takes_the_pixel_that_a_position_is_in():
    source = noise(300, 300, 1)
    grid_to_source = turn(0.9, 0.3, 60.2, 10.4)
    ours = warp(source, grid_to_source, (200, 200), interpolation="nearest")[..., 0]
    place = positions(grid_to_source, (200, 200))
    x, y = np.moveaxis(np.rint(place).astype(int), -1, 0)
    decided = (np.abs(place - np.floor(place) - 0.5) > 1e-3).all(axis=-1)
    inside = decided & (x >= 0) & (x < 300) & (y >= 0) & (y < 300)
    assert inside.sum() > 30_000
    assert np.array_equal(ours[inside], source[y[inside], x[inside], 0])


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_images_beyond_32767_px_are_sampled_everywhere(interpolation):
    source = np.zeros((12, 40_000, 1), dtype=np.uint8)
    source[...] = (np.arange(40_000) // 4 % 200)[None, :, None]
    grid_to_source = Affine2D.translation(39_000.25, 2)
    row = warp(source, grid_to_source, (8, 900), interpolation=interpolation)[4, :, 0].astype(float)
    x = 39_000.25 + np.arange(900)
    # Far from where the ramp falls back to 0, the samples follow its stairs.
    flat = (x // 4 % 200 > 3) & (x // 4 % 200 < 197)
    assert np.abs(row - x // 4 % 200)[flat].max() <= 1


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_outside_of_the_source_is_fill(interpolation):
    source = np.full((100, 100, 3), 200, dtype=np.uint8)
    ours = warp(source, Affine2D.translation(-50, -50), (700, 700), interpolation=interpolation, fill=31)
    assert (ours[60:140, 60:140] == 200).all()
    ours[40:160, 40:160] = 31
    assert (ours == 31).all()


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_blocks_beside_the_source_are_fill(interpolation):
    source = noise(40, 40, 3)
    ours = warp(source, Affine2D.translation(1e7, -1e9), (300, 300), interpolation=interpolation, fill=5)
    assert (ours == 5).all()


def test_a_fine_grating_does_not_alias():
    # Period 2.2 px seen at a step of 2: sampled at points it would turn into stripes of 22 px.
    grating = 128 + 120 * np.sin(2 * np.pi * np.arange(900) / 2.2)
    source = np.repeat(np.rint(grating).astype(np.uint8)[None, :, None], 900, axis=0)
    for step in (2.0, 3.3, 5.0):
        grid_to_source = turn(step, 0.02, 40, 10)
        shape = (100, 140)
        points = warp(source, grid_to_source, shape, interpolation="nearest")
        assert points.std() > 80
        # The mean over an area passes at most 22 % of a wave shorter than it (the first lobe of its sinc).
        assert warp(source, grid_to_source, shape).std() < 0.22 * points.std()


def test_fewer_samples_of_means_leave_no_alias():
    # Samples 1.2 px apart see a wave of 2.4 px, here 4.8 of the full image, at its peaks alone or not at all.
    grating = 128 + 120 * np.sin(2 * np.pi * np.arange(900) / 4.8)
    source = halve(np.repeat(np.rint(grating).astype(np.uint8)[None, :, None], 900, axis=0))
    grid_to_source, shape = turn(5.9, 0.02, 40, 10), (60, 60)
    means = warp(source, grid_to_source, shape, averaged=True)
    assert not np.array_equal(means, warp(source, grid_to_source, shape))
    points = warp(source, grid_to_source, shape, interpolation="nearest")
    assert points.std() > 40
    assert means.std() < 0.22 * points.std()


@pytest.mark.parametrize("step", [1.6, 2.4, 3.9, 6.0, 11.0, 24.0])
def test_downsampling_is_within_half_a_level_of_the_area_average(step):
    source = smooth(1200, sigma=8.0)
    side = min(int(800 / step), 60)
    grid_to_source = turn(step, 0.07, 200.3, 100.7)
    exact = area_average(source, grid_to_source, (side, side), max(int(4 * step), 12))
    direct = warp(source, grid_to_source, (side, side))[..., 0]
    assert np.sqrt(((direct - exact) ** 2).mean()) < 0.5
    reduced, grid_to_reduced = prepare_source(source, grid_to_source)
    assert step_of(grid_to_reduced) < 8
    prepared = warp(reduced, grid_to_reduced, (side, side), averaged=reduced is not source)[..., 0]
    assert np.sqrt(((prepared - exact) ** 2).mean()) < 0.5
    assert abs((prepared - exact).mean()) < 0.2


def test_an_aligned_whole_step_is_the_exact_block_mean():
    source = noise(240, 360, 3)
    blocks = source.reshape(60, 4, 90, 4, 3).mean(axis=(1, 3))
    grid_to_source = Affine2D.translation(1.5, 1.5) @ Affine2D.scaling(4)
    assert np.abs(warp(source, grid_to_source, (60, 90)) - blocks).max() <= 0.5


def test_a_prepared_source_is_half_pixel_exact():
    y, x = np.mgrid[:1024, :1024]
    source = (x // 8 + y // 16).astype(np.uint8)[..., None]
    grid_to_source = turn(17.3, 0.1, 150.2, 30.4)
    reduced, grid_to_reduced = prepare_source(source, grid_to_source)
    assert reduced.shape == (256, 256, 1)
    place = positions(grid_to_reduced, (40, 40))
    assert np.allclose(place * 4 + 1.5, positions(grid_to_source, (40, 40)), rtol=0, atol=1e-9)
    sampled = warp(reduced, grid_to_reduced, (40, 40), averaged=True)[..., 0]
    exact = area_average(source, grid_to_source, (40, 40), 32)
    assert abs((sampled - exact).mean()) < 0.1


def test_a_source_that_is_coarse_enough_is_left_alone():
    source = noise(64, 64, 3)
    grid_to_source = turn(7.9, 0.3, 0, 0)
    reduced, same = prepare_source(source, grid_to_source)
    assert reduced is source
    assert same is grid_to_source


def test_preparing_once_is_one_halving_for_a_step_of_eight():
    source = noise(65, 97, 3)
    reduced, grid_to_reduced = prepare_source(source, Affine2D.scaling(8))
    assert np.array_equal(reduced, halve(source))
    assert grid_to_reduced.apply((0, 0)).tolist() == [-0.25, -0.25]


def test_preparing_stops_at_the_last_pixel():
    reduced, grid_to_reduced = prepare_source(noise(5, 40, 3), Affine2D.scaling(1000))
    assert reduced.shape == (1, 10, 3)
    assert step_of(grid_to_reduced) == 250


def test_the_step_is_the_longest_direction():
    assert step_of(Affine2D.scaling(2, 5)) == 5
    assert step_of(turn(1.7, 1.0, 50, 50)) == pytest.approx(1.7)


def test_views_of_other_arrays_are_sources_too():
    pixels = noise(3, 300, 320)
    channels_apart = np.moveaxis(pixels, 0, -1)
    grid_to_source = turn(1.05, 0.2, 10, -5)
    expected = warp(np.ascontiguousarray(channels_apart), grid_to_source, (280, 300))
    assert np.array_equal(warp(channels_apart, grid_to_source, (280, 300)), expected)


def test_an_empty_box_has_no_pixels():
    source = noise(20, 20, 3)
    empty = Box(5, 5, 5, 9)
    assert warp(source, Affine2D.identity(), (20, 20), box=empty).shape == (0, 4, 3)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"source": np.zeros((4, 4, 3))}, "uint8"),
        ({"source": np.zeros((4, 4), np.uint8)}, "channels"),
        ({"source": np.zeros((4, 4, 2), np.uint8)}, "channels"),
        ({"interpolation": "bilinear"}, "interpolation"),
        ({"box": Box(0, 0, 9, 4)}, "within the grid"),
        ({"box": Box(-1, 0, 4, 4)}, "within the grid"),
        ({"out": np.zeros((4, 4, 3))}, "out"),
        ({"out": np.zeros((4, 4, 4), np.uint8)[..., :3]}, "contiguous"),
        ({"grid_to_source": Affine2D.scaling(2.0 * WARP_BLOCK)}, "prepare_source"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, reason):
    defaults = {
        "source": np.zeros((4, 4, 3), np.uint8),
        "grid_to_source": Affine2D.identity(),
        "shape": (4, 4),
    }
    with pytest.raises(SelectionError, match=reason):
        warp(**(defaults | arguments))
