from __future__ import annotations

import pytest

from benchmarks.simulation.tally import Tally


def test_bytes_are_spread_over_the_bins_that_they_flowed_in():
    tally = Tally(100.0, bin_s=1.0)
    tally.flowed(100.5, 103.0, 250.0)
    assert tally.sent_bytes == pytest.approx([50.0, 100.0, 100.0, 0.0])


def test_goodput_leaves_out_what_never_came_whole():
    tally = Tally(0.0)
    tally.flowed(0.0, 4.0, 400.0)
    tally.broke(150, 3.5)
    assert tally.rates(4.0, 2.0) == pytest.approx([100.0, 25.0])
    assert tally.mean_rate(0.0, 4.0) == pytest.approx(62.5)


def test_errors_stand_in_the_bin_they_came_in():
    tally = Tally(0.0)
    for time, name in ((0.5, "429"), (2.5, "429"), (2.6, "html")):
        tally.erred(name, time)
    assert [dict(each) for each in tally.errors] == [{"429": 1}, {}, {"429": 1, "html": 1}]
    assert tally.all_errors() == {"429": 2, "html": 1}
