from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncfetch.geometry import Affine2D, Box, tiles_of
from asyncfetch.imaging import PlaneWarp, decode, encode, halve, prepare_source, read_header, warp

SOURCE = np.random.default_rng(0).integers(0, 256, (200, 230, 3), dtype=np.uint8)


@st.composite
def maps(draw):
    step, angle = draw(st.floats(0.2, 12)), draw(st.floats(-3.2, 3.2))
    cos, sin = step * np.cos(angle), step * np.sin(angle)
    shear = draw(st.floats(-0.2, 0.2))
    tx, ty = draw(st.floats(-100, 250)), draw(st.floats(-100, 250))
    return Affine2D(np.array([[cos, -sin + shear, tx], [sin, cos, ty]]))


@settings(max_examples=60, deadline=None)
@given(
    maps(),
    st.sampled_from(["nearest", "linear", "cubic"]),
    st.integers(1, 400),
    st.integers(1, 400),
    st.data(),
)
def test_any_box_is_that_part_of_the_whole(grid_to_source, interpolation, height, width, data):
    whole = warp(SOURCE, grid_to_source, (height, width), interpolation=interpolation, fill=9)
    y0, y1 = sorted(data.draw(st.tuples(st.integers(0, height), st.integers(0, height))))
    x0, x1 = sorted(data.draw(st.tuples(st.integers(0, width), st.integers(0, width))))
    box = Box(y0, x0, y1, x1)
    part = warp(SOURCE, grid_to_source, (height, width), box=box, interpolation=interpolation, fill=9)
    assert np.array_equal(part, whole[box.slices])


@settings(max_examples=40, deadline=None)
@given(
    maps(),
    st.sampled_from(["nearest", "linear", "cubic", "lanczos"]),
    st.integers(1, 90),
    st.integers(1, 90),
    st.data(),
)
def test_a_part_of_the_source_gives_what_the_whole_source_gives(
    grid_to_source, interpolation, height, width, data
):
    plane = PlaneWarp(grid_to_source, (height, width), SOURCE.shape[:2], interpolation=interpolation, fill=9)
    y0, y1 = sorted(data.draw(st.tuples(st.integers(0, height), st.integers(0, height))))
    x0, x1 = sorted(data.draw(st.tuples(st.integers(0, width), st.integers(0, width))))
    box = Box(y0, x0, y1, x1)
    seen = plane.source_of(box)
    if seen.is_empty:
        assert plane.sees_nothing(box)
        assert (plane.render(SOURCE, box=box) == 9).all()
        return
    part = plane.render(SOURCE[seen.slices].copy(), origin=(seen.y0, seen.x0), box=box)
    assert np.array_equal(part, plane.render(SOURCE, box=box))


@settings(max_examples=40, deadline=None)
@given(maps(), st.integers(0, 255), st.sampled_from(["nearest", "linear", "cubic"]))
def test_a_plain_image_on_its_own_grey_stays_plain(grid_to_source, grey, interpolation):
    plain = np.full((90, 120, 3), grey, dtype=np.uint8)
    reduced, grid_to_reduced = prepare_source(plain, grid_to_source)
    assert (warp(reduced, grid_to_reduced, (70, 80), interpolation=interpolation, fill=grey) == grey).all()


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 12), st.integers(1, 12))
def test_halving_tiles_that_begin_at_even_pixels_is_halving_the_whole(height, width, half_y, half_x):
    pixels = SOURCE[:height, :width]
    whole = halve(pixels)
    if min(height, width) < 2:
        return
    for box in tiles_of(whole.shape[:2], (half_y, half_x)):
        doubled = Box(*(2 * side for side in box))
        assert np.array_equal(halve(pixels[doubled.slices]), whole[box.slices])


@settings(deadline=None)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(0, 3), st.sampled_from([1, 3]))
def test_every_size_decodes_to_what_its_header_says(height, width, reduce, n_channels):
    data = encode(np.ascontiguousarray(SOURCE[:height, :width, :n_channels]))
    header = read_header(data)
    assert header[:3] == (height, width, n_channels)
    assert decode(data, reduce=reduce).shape == (-(-height >> reduce), -(-width >> reduce), 3)
