"""A wall clock that is set by hours while a run is under way: nothing depends on it."""

from __future__ import annotations

import datetime as dt
import sys
import time
from itertools import cycle

import pytest

SELECTION = "dataset:900000004"
IMAGES = [900000004 + 1000 * n for n in range(1, 5)]
HOURS = (3, -5, 26, -14)


@pytest.fixture
def setting_the_clock(monkeypatch):
    """Return what has every look at the wall clock, by any module below the replica, find another time of day."""

    def begin():
        hours, looks = cycle(HOURS), []
        tell_time = time.time  # noqa: TID251 - the clock that is set

        class Stepped(dt.datetime):
            @classmethod
            def now(cls, tz=None):
                looks.append(sys._getframe(1).f_globals["__name__"])
                return dt.datetime.now(tz) + dt.timedelta(hours=next(hours))

        def step_time():
            # The replica, in this process, dates its replies by this module: its clock is not ours.
            is_server = sys._getframe(1).f_globals["__name__"] == "aiohttp.helpers"
            return tell_time() if is_server else tell_time() + 3600 * next(hours)

        monkeypatch.setattr(time, "time", step_time)
        for name, module in list(sys.modules.items()):
            is_ours = name.startswith("asyncfetch.") and not name.startswith("asyncfetch.replica")
            if is_ours and vars(module).get("datetime") is dt.datetime:
                monkeypatch.setattr(module, "datetime", Stepped)
        return looks

    return begin


FAULTS = [
    {"kind": "status:503", "ids": IMAGES[:1], "times": 1},
    {"kind": "status:429", "ids": IMAGES[1:2], "times": 1, "retry_after": "0"},
    # The replies of the replica say what time it is there, which is what the date is measured by.
    {"kind": "status:429", "ids": IMAGES[2:3], "times": 1, "retry_after": "date:1"},
    {"kind": "truncate", "ids": IMAGES[3:], "times": 1},
    {"kind": "reset", "on": "query", "matching": "[data_set_id", "times": 1},
]


def test_a_clock_that_is_set_by_hours_changes_neither_bytes_nor_requests(
    run, undisturbed, setting_the_clock, tmp_path
):
    expected = undisturbed(SELECTION)
    steady = run(SELECTION, tmp_path / "steady", FAULTS)
    looks = setting_the_clock()
    stepped = run(SELECTION, tmp_path / "stepped", FAULTS)
    assert {"asyncfetch.engine.fetch", "asyncfetch.mirroring.fetching"} <= set(looks)
    assert steady.objects == stepped.objects == expected
    assert stepped.report.failures == []
    assert stepped.sent == steady.sent
    assert 0 < stepped.report.elapsed_s < 60


def test_a_stall_is_measured_by_a_clock_that_nobody_sets(run, undisturbed, setting_the_clock, tmp_path):
    setting_the_clock()
    rule = {"kind": "stall", "ids": IMAGES[:1]}
    outcome = run(SELECTION, tmp_path, [rule], stall_timeout_s=0.3)
    assert outcome.causes.keys() == {f"image:{IMAGES[0]}"}
    assert outcome.causes[f"image:{IMAGES[0]}"][0] == "StallError"
    assert outcome.report.n_committed == 3
