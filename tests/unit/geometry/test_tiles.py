from __future__ import annotations

import numpy as np
import pytest

from asyncfetch.errors import SelectionError
from asyncfetch.geometry import Affine2D, Box, source_box, tiles_of


def test_tiles_run_row_by_row_and_are_clipped_at_the_end():
    assert list(tiles_of((3, 5), 2)) == [
        Box(0, 0, 2, 2),
        Box(0, 2, 2, 4),
        Box(0, 4, 2, 5),
        Box(2, 0, 3, 2),
        Box(2, 2, 3, 4),
        Box(2, 4, 3, 5),
    ]
    assert [box.shape for box in tiles_of((4, 7), (4, 3))] == [(4, 3), (4, 3), (4, 1)]
    assert list(tiles_of((0, 5), 2)) == []


def test_a_tile_without_pixels_is_refused():
    with pytest.raises(SelectionError):
        list(tiles_of((3, 5), 0))


def test_boxes_index_arrays_by_rows_and_columns():
    assert np.zeros((10, 20))[Box(1, 2, 4, 8).slices].shape == Box(1, 2, 4, 8).shape == (3, 6)


def test_boxes_that_only_touch_share_no_pixel():
    box = Box(0, 0, 4, 4)
    assert box.intersect(Box(2, 1, 9, 3)) == Box(2, 1, 4, 3)
    assert box.intersect(Box(4, 0, 8, 4)).is_empty
    assert box.intersect(Box(8, 8, 9, 9)).shape == (0, 0)
    assert Box(1, 2, 3, 4).shift(10, -2) == Box(11, 0, 13, 2)
    assert Box.of_shape((3, 4)) == (0, 0, 3, 4)


def test_a_whole_tile_at_the_identity_sees_itself_and_its_margin():
    # Positions stand exactly on pixels; 0.01 px of room on the low side reaches one pixel further.
    seen = source_box(Affine2D.identity(), Box(10, 20, 14, 28), 0, (100, 100))
    assert seen == Box(9, 19, 15, 29)
    assert source_box(Affine2D.identity(), Box(10, 20, 14, 28), 3, (100, 100)) == Box(6, 16, 18, 32)
    assert source_box(Affine2D.identity(), Box(0, 0, 100, 100), 3, (100, 100)) == Box(0, 0, 100, 100)


def test_a_tile_beside_the_source_sees_nothing():
    for offset in (200.0, -200.0, 1e300):
        assert source_box(Affine2D.translation(offset, 0), Box(0, 0, 64, 64), 3, (100, 100)).is_empty
    assert source_box(Affine2D.identity(), Box(3, 3, 3, 9), 1, (100, 100)).is_empty
