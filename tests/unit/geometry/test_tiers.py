from __future__ import annotations

import numpy as np
import pytest

from asyncfetch.errors import SelectionError, SettingsError
from asyncfetch.geometry import full_to_tier, tier_for, tier_shape, tier_to_full


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
