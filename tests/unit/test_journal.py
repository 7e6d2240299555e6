"""Events as records of standard logging."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest

from asyncfetch import events
from asyncfetch.journal import _LEVELS, log_event
from asyncfetch.mirroring import mirror
from asyncfetch.replica import open_replica

FAILED = events.SectionFailed(
    data_set_id=479, image_id=7, view="image", error="StallError", cause="no byte\nfor 30 s"
)


def test_an_event_is_a_record_with_its_fields_in_one_line(caplog):
    with caplog.at_level(logging.DEBUG, logger="asyncfetch"):
        log_event(FAILED)
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("asyncfetch", "ERROR")
    assert record.getMessage() == (
        r"section_failed data_set_id=479 image_id=7 view=image error=StallError cause=no byte\nfor 30 s"
    )
    assert record.event is FAILED


def test_what_is_below_the_level_is_not_logged(caplog):
    with caplog.at_level(logging.WARNING, logger="asyncfetch"):
        log_event(events.RunPlanned(n_data_sets=1))
        log_event(events.OutageBegan(cause="no answer"))
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_what_fails_for_good_is_an_error_and_what_is_tried_again_a_warning():
    of = {
        level: {each.__name__ for each, its in _LEVELS.items() if its == level} for level in _LEVELS.values()
    }
    assert of[logging.ERROR] == {"RequestFailed", "SectionFailed", "ItemNotExported"}
    assert {"RequestRetried", "OutageBegan", "HostPaused"} <= of[logging.WARNING]


@pytest.mark.anyio
async def test_a_run_logs_what_happens_to_it(tmp_path, caplog):
    with caplog.at_level(logging.INFO, logger="asyncfetch"):
        async with open_replica() as replica:
            await mirror(
                "dataset:900000005",
                tmp_path / "out.zarr",
                um=200,
                base_url=replica.base_url,
                requests_per_s=1000,
            )
    names = [
        record.getMessage().partition(" ")[0] for record in caplog.records if record.name == "asyncfetch"
    ]
    assert names[0] == "run_started"
    assert names[-1] == "run_finished"
    assert names.count("data_set_planned") == names.count("data_set_completed") == 1


def test_a_program_that_configures_no_logging_hears_nothing():
    script = (
        "from asyncfetch import events, journal\njournal.log_event(events.OutageBegan(cause='no answer'))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("", "")
