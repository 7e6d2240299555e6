from __future__ import annotations

import numpy as np
import pytest

from asyncfetch.geometry import Box
from asyncfetch.imaging import Buffers, encode
from asyncfetch.layers.pixels import Decoded
from asyncfetch.planning.regions import is_box_shape

GRADIENT = np.ascontiguousarray(
    np.broadcast_to(np.arange(40, dtype=np.uint8)[:, None, None] * 5 + 20, (40, 56, 3))
)


@pytest.mark.parametrize(("height", "width"), [(39, 56), (40, 55), (41, 57), (39, 57), (40, 56)])
@pytest.mark.parametrize("reduce", [0, 2])
def test_a_box_that_is_a_pixel_off_is_placed_by_its_first_pixel_and_filled_at_the_end(height, width, reduce):
    pixels = np.pad(GRADIENT, ((0, 1), (0, 1), (0, 0)), mode="edge")[:height, :width]
    shape = (40 >> reduce, 56 >> reduce)
    whole = Decoded(Buffers(0), reduce).decode(encode(np.ascontiguousarray(pixels), 100))
    fitted = Decoded(Buffers(0), reduce, shape=shape, fill=7).decode(
        encode(np.ascontiguousarray(pixels), 100)
    )
    assert fitted.shape == (*shape, 3)
    rows, columns = min(shape[0], whole.shape[0]), min(shape[1], whole.shape[1])
    assert np.array_equal(fitted[:rows, :columns], whole[:rows, :columns])
    assert (fitted[rows:] == 7).all()
    assert (fitted[:, columns:] == 7).all()


@pytest.mark.parametrize(
    ("shape", "downsample", "is_box"),
    [
        ((40, 56), 0, True),
        ((40, 55), 0, False),
        ((40, 55), 1, True),
        ((41, 57), 3, True),
        ((42, 56), 3, False),
        ((0, 56), 3, False),
        ((400, 560), 3, False),
    ],
)
def test_a_box_may_be_a_pixel_off_where_the_image_is_halved(shape, downsample, is_box):
    assert is_box_shape(shape, Box(8, 8, 48, 64), downsample) == is_box
