from __future__ import annotations

import math

import pytest

from asyncfetch.speed import SERVER_SHARE, server_share, why_no_conclusion


@pytest.mark.parametrize(
    ("served_s", "wall_s", "share"), [(1.0, 4.0, 0.25), (0.0, 1.0, 0.0), (3.0, 2.0, 1.5)]
)
def test_the_share_is_what_the_server_would_have_taken_alone(served_s, wall_s, share):
    assert server_share(served_s, wall_s) == share


@pytest.mark.parametrize(
    ("served_s", "wall_s"), [(1.0, 0.0), (math.nan, 1.0), (1.0, math.nan), (math.inf, 1.0)]
)
def test_what_was_not_measured_is_all_of_it(served_s, wall_s):
    assert server_share(served_s, wall_s) == math.inf
    assert why_no_conclusion(served_s, wall_s) == "a run or the server was not measured"


def test_a_conclusion_is_refused_from_just_above_half_on():
    assert why_no_conclusion(SERVER_SHARE, 1.0) is None
    reason = why_no_conclusion(SERVER_SHARE + 0.01, 1.0)
    assert reason is not None
    assert "the server alone takes 0.51 s for the bodies, 51% of the fastest run" in reason


def test_the_fastest_of_the_runs_decides():
    assert why_no_conclusion(1.0, 10.0, 2.5) is None
    assert why_no_conclusion(1.0, 10.0, 1.5) is not None


def test_nothing_follows_from_no_run():
    assert why_no_conclusion(1.0) == "there was no run"
