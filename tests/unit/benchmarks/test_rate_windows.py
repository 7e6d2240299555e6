from __future__ import annotations

import math

import pytest

from benchmarks.rate import most_in_a_second, use_of


@pytest.mark.parametrize(
    ("times_s", "most"),
    [
        ([], 0),
        ([3.0], 1),
        ([0.0, 0.5, 1.0], 2),
        ([0.0, 0.5, 0.999], 3),
        ([5.0, 0.0, 5.1, 5.2], 3),
    ],
)
def test_a_window_of_one_second_leaves_its_end_out(times_s, most):
    assert most_in_a_second(times_s) == most


def test_a_rate_that_is_used_up_is_used_wholly():
    assert use_of(4.0, [k / 4 for k in range(40)]) == pytest.approx(1.0)
    assert use_of(4.0, [k / 2 for k in range(40)]) == pytest.approx(0.5)
    assert use_of(4.0, [1.0]) == math.inf
