from __future__ import annotations

import numpy as np
import pytest

from asyncfetch.errors import SelectionError
from asyncfetch.imaging import halve


def noise(*shape):
    return np.random.default_rng(sum(shape)).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize(
    "shape", [(64, 96, 3), (65, 97, 3), (2, 2, 1), (2, 3, 4), (37, 1024, 1), (3, 500, 3)]
)
def test_halving_is_the_exact_mean_with_halves_rounded_up(shape):
    pixels = noise(*shape)
    height, width = shape[0] // 2 * 2, shape[1] // 2 * 2
    blocks = pixels[:height, :width].astype(int).reshape(height // 2, 2, width // 2, 2, shape[2])
    assert np.array_equal(halve(pixels), (blocks.sum(axis=(1, 3)) + 2) >> 2)


def test_a_side_of_length_one_stays_one():
    line = np.array([10, 11, 20, 20, 7], dtype=np.uint8)
    assert halve(line.reshape(5, 1, 1)).ravel().tolist() == [11, 20]
    assert halve(line.reshape(1, 5, 1)).shape == (1, 2, 1)
    assert halve(line[:1].reshape(1, 1, 1)).tolist() == [[[10]]]
    assert halve(noise(1, 3, 3)).shape == (1, 1, 3)


def test_halving_works_on_views():
    pixels = noise(80, 90, 3)
    view = pixels[3:61, 7:77]
    assert np.array_equal(halve(view), halve(view.copy()))


@pytest.mark.parametrize(
    "pixels", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)]
)
def test_only_pixels_are_halved(pixels):
    with pytest.raises(SelectionError):
        halve(pixels)
