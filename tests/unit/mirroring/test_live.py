"""The figures of a run while it works."""

from __future__ import annotations

import pytest

from asyncfetch.events import (
    DataSetPlanned,
    OutageBegan,
    OutageEnded,
    RequestFinished,
    RunPlanned,
    SectionCommitted,
    SectionFailed,
    SectionSkipped,
)
from asyncfetch.layout.live import figures_in, live_document
from asyncfetch.mirroring.live import LiveTally

SECTION = {"data_set_id": 479, "view": "image"}


class Clock:
    def __init__(self):
        self.now_s = 1000.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def tally(clock):
    return LiveTally(clock)


def plan(tally, n_to_fetch, data_set_id=479):
    tally(
        DataSetPlanned(
            data_set_id=data_set_id,
            view="image",
            n_sections=n_to_fetch,
            n_to_fetch=n_to_fetch,
            n_committed=0,
            estimated_pixels=1,
        )
    )


def commit(tally, n):
    for number in range(n):
        tally(SectionCommitted(**SECTION, image_id=number, size_bytes=10, pixels=100))


def test_what_is_done_is_counted_and_what_failed_by_its_cause(tally, clock):
    plan(tally, 6)
    plan(tally, 4, data_set_id=480)
    commit(tally, 3)
    tally(SectionSkipped(**SECTION, image_id=7))
    for image_id, error in ((1, "StallError"), (2, "StallError"), (3, "CorruptImageError")):
        tally(SectionFailed(**SECTION, image_id=image_id, error=error, cause="x"))
    tally(RequestFinished(url="u", kind="image", attempt=1, status=200, size_bytes=5000, elapsed_s=1.0))
    clock.now_s += 50
    found = tally.figures()
    assert (found.n_data_sets, found.n_sections, found.n_committed, found.n_skipped) == (2, 10, 3, 1)
    assert found.n_failed == {"StallError": 2, "CorruptImageError": 1}
    assert (found.elapsed_s, found.goodput_bytes_per_s) == (50.0, 100.0)


def test_the_time_left_is_that_of_the_plan_at_the_speed_of_the_last_minutes(tally, clock):
    plan(tally, 1000)
    assert tally.figures().left_s is None
    # ten sections each five seconds for ten minutes, then one
    for n in [10] * 120 + [1] * 60:
        commit(tally, n)
        clock.now_s += 5
        tally.figures()
    plan(tally, 1000)
    found = tally.figures()
    assert found.sections_per_s == pytest.approx(0.2, rel=0.05)
    assert found.left_s == pytest.approx((2000 - 1260) / 0.2, rel=0.05)


def test_a_plan_is_whole_when_it_is_said_to_be(tally):
    assert not tally.figures().is_plan_whole
    tally(RunPlanned(n_data_sets=1))
    assert tally.figures().is_plan_whole


def test_an_outage_shows_until_it_ends_or_the_run_does_something_else(tally):
    tally(OutageBegan(cause="no answer"))
    assert tally.figures().state == "waiting for the server"
    assert tally.figures("ending").state == "ending"
    tally(OutageEnded(elapsed_s=3.0))
    assert tally.figures().state == "working"


def test_figures_are_read_as_they_were_written(tally):
    plan(tally, 3)
    commit(tally, 2)
    figures = tally.figures("paused")
    assert figures_in(live_document(figures)) == figures


@pytest.mark.parametrize("data", [None, b"", b"{", b"[]", b'{"attributes": {"asyncfetch": {"figures": 3}}}'])
def test_what_holds_no_figures_is_none(data):
    assert figures_in(data) is None
