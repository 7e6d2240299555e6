from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncfetch.errors import SelectionError, SettingsError
from asyncfetch.geometry import (
    full_to_tier,
    is_tier_shape,
    last_tier,
    tier_for,
    tier_of_shape,
    tier_shape,
    tier_to_full,
)
from asyncfetch.replica.images import rounded_shape


def test_a_tier_pixel_is_centred_on_the_pixels_it_covers():
    for n in range(6):
        covered = np.arange(3 << n, 4 << n)
        assert tier_to_full(n).apply((3, 0))[0] == covered.mean()
        assert full_to_tier(n).apply((covered.mean(), 0))[0] == 3


def test_the_server_halves_downwards():
    assert tier_shape(7553, 11921, 2) == (1888, 2980)
    assert tier_shape(7553, 11921, 0) == (7553, 11921)
    assert tier_shape(3, 11921, 4) == (1, 745)


@pytest.mark.parametrize(
    ("um", "resolution_um", "tier_count", "tier"),
    [
        (25, 1.049, 7, 3),
        (25, 1.63, 6, 2),
        (25, 0.35, 9, 5),
        (10, 1.049, 7, 2),
        (100, 1.049, 3, 2),
        (100, 1.049, None, 5),
        (1, 1.049, 7, 0),
        (8, 1.0, 7, 2),
    ],
)
def test_the_tier_is_the_coarsest_still_twice_as_fine(um, resolution_um, tier_count, tier):
    assert tier_for(um, resolution_um, tier_count) == tier


def test_what_is_no_tier_or_no_length_is_refused():
    for call in (tier_to_full, full_to_tier, lambda n: tier_shape(10, 10, n)):
        with pytest.raises(SelectionError):
            call(-1)
    for um, resolution_um in ((0, 1), (25, 0), (25, -1)):
        with pytest.raises(SettingsError):
            tier_for(um, resolution_um)


SIDES = st.integers(1, 40_000)


@given(SIDES, SIDES, st.integers(0, 12), st.sampled_from(["down", "nearest", "up", "steps"]))
def test_a_tier_is_known_however_its_sides_are_rounded(height, width, n, rounding):
    shape = rounded_shape(height, width, n, rounding)
    assert is_tier_shape(shape, (height, width), n)
    assert tier_of_shape(shape, (height, width), n) == n


@given(st.integers(600, 40_000), st.integers(600, 40_000), st.data())
def test_a_tier_that_was_not_asked_for_is_found_from_its_size(height, width, data):
    last = last_tier(height, width)
    given_n = data.draw(st.integers(0, last))
    asked = data.draw(st.integers(0, 16).filter(lambda n: n != given_n))
    rounding = data.draw(st.sampled_from(["down", "nearest", "up", "steps"]))
    shape = rounded_shape(height, width, given_n, rounding)
    assert tier_of_shape(shape, (height, width), asked) == given_n


@pytest.mark.parametrize(
    "shape", [(1880, 2980), (1888, 2972), (1, 1), (2980, 1888), (60_000, 60_000), (0, 2980)]
)
def test_a_size_that_no_halving_gives_is_no_tier(shape):
    assert tier_of_shape(shape, (7553, 11921), 2) is None


def test_full_resolution_is_not_rounded():
    assert not is_tier_shape((7553, 11920), (7553, 11921), 0)
    assert is_tier_shape((7553, 11921), (7553, 11921), 0)


@pytest.mark.parametrize(
    ("size", "n"), [((256, 256), 0), ((257, 10), 1), ((4936, 8992), 6), ((7297, 14065), 6)]
)
def test_the_last_tier_is_that_of_the_known_records(size, n):
    assert last_tier(*size) == n
