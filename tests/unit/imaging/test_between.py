"""Voxels between planes, against a field that is linear, so that the linear mean of two planes is the field itself."""

from __future__ import annotations

import numpy as np
import pytest

from asyncfetch.imaging.between import SeenPlane, fill_between

SHAPE = (40, 30)
N_SLICES = 50
Y, X = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(np.float64)
#: Three channels, linear along slice, y and x, within 0 and 255.
SLOPES = np.array([(3.5, 0.4, 0.3), (-2.0, 0.5, -0.6), (1.25, -0.9, 0.8)])
STARTS = np.array([20.0, 150.0, 90.0])


def field(depth):
    """Return the (..., y, x, c) field at a depth for each place."""
    value = depth[..., None] * SLOPES[:, 0] + Y[..., None] * SLOPES[:, 1] + X[..., None] * SLOPES[:, 2]
    return value + STARTS


def tilted(depth):
    return depth + 0.11 * Y - 0.07 * X


def plane_at(depth, is_seen=None):
    depths = tilted(depth)
    pixels = np.rint(field(depths)).astype(np.uint8)
    seen = np.ones(SHAPE, dtype=bool) if is_seen is None else is_seen
    return SeenPlane(pixels, seen, depths)


def filled(planes, is_bridged, first=0, n=N_SLICES, *, mixes=True, rows=slice(None)):
    parts = [SeenPlane(each.pixels[rows], each.is_seen[rows], each.depth[rows]) for each in planes]
    out = np.zeros((n, *parts[0].depth.shape, 3), dtype=np.uint8)
    fill_between(parts, is_bridged, first, out, mixes=mixes)
    return out


TRUTH = field(np.broadcast_to(np.arange(N_SLICES, dtype=np.float64)[:, None, None], (N_SLICES, *SHAPE)))
SLICES = np.arange(N_SLICES)[:, None, None]


def test_a_linear_field_is_itself_between_tilted_planes():
    planes = [plane_at(4.3), plane_at(12.3), plane_at(20.3), plane_at(35.9)]
    result = filled(planes, [True, True, True, False])
    enclosed = (tilted(4.3) <= SLICES) & (tilted(35.9) > SLICES)
    assert enclosed.sum() > 30_000
    assert np.abs(result - TRUTH)[enclosed].max() <= 1.01


def test_gaps_that_are_not_bridged_and_what_is_not_enclosed_stay_empty():
    planes = [plane_at(4.3), plane_at(12.3), plane_at(30.3)]
    result = filled(planes, [True, False, False]).any(axis=-1)
    expected = (tilted(4.3) - 0.5 <= SLICES) & (tilted(12.3) + 0.5 > SLICES)
    # a plane that nothing is joined to fills the voxels that it passes
    expected |= (tilted(30.3) - 0.5 <= SLICES) & (tilted(30.3) + 0.5 > SLICES)
    assert np.array_equal(result, expected)


def test_voxels_beside_an_image_stay_empty_instead_of_fading_to_black():
    seen = X < 17
    result = filled([plane_at(4.3), plane_at(20.3, seen)], [True, False])
    between = (tilted(4.8) < SLICES) & (tilted(19.8) > SLICES)
    assert not result[between & ~seen].any()
    assert np.abs(result - TRUTH)[between & seen].max() <= 1.01


def test_codes_are_taken_from_the_nearer_plane():
    planes = [plane_at(4.3), plane_at(20.3)]
    result = filled(planes, [True, False], mixes=False)
    first_half = (tilted(4.3) <= SLICES) & (tilted(12.2) > SLICES)
    second_half = (tilted(12.4) <= SLICES) & (tilted(20.3) > SLICES)
    for half, plane in ((first_half, planes[0]), (second_half, planes[1])):
        assert np.array_equal(result[half], np.broadcast_to(plane.pixels, result.shape)[half])


@pytest.mark.parametrize("mixes", [True, False])
def test_the_result_does_not_depend_on_how_the_volume_is_cut(mixes):
    planes = [plane_at(4.3), plane_at(12.3), plane_at(20.3)]
    whole = filled(planes, [True, True, False], mixes=mixes)
    for first, n, rows in ((0, 7, slice(0, 13)), (9, 30, slice(11, 12)), (13, 2, slice(20, 40))):
        part = filled(planes, [True, True, False], first, n, mixes=mixes, rows=rows)
        assert np.array_equal(part, whole[first : first + n, rows])
