"""Every way in which a command can end has its code."""

from __future__ import annotations

import pytest

from asyncfetch import errors
from asyncfetch.cli.exits import ExitCode, exit_code_of_error, exit_code_of_report
from asyncfetch.mirroring import Failure, Report

MISSING = Failure(item="image:1", error="NotFoundError", message="there is none")
REFUSED = Failure(item="image:2", error="ConnectError", message="no connection", is_transient=True)
BROKEN = Failure(item="image:3", error="QueryError", message="refused")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.SelectionError("x"), 2),
        (errors.SettingsError("x"), 2),
        (errors.NotFoundError("x"), 4),
        (errors.ConnectError("x"), 5),
        (errors.ReplyError("x"), 5),
        (errors.TransientServiceError("x"), 5),
        (errors.QueryError("x"), 1),
        (errors.StoreSpaceError("x"), 1),
        (errors.StoreLayoutError("x"), 1),
    ],
)
def test_an_error_says_who_can_do_something_about_it(error, code):
    assert exit_code_of_error(error) == code


def report(**fields):
    return Report(selection=("image:1",), location="x", **fields)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"n_data_sets": 1}, ExitCode.DONE),
        ({"n_data_sets": 1, "failures": [MISSING]}, ExitCode.SOME_FAILED),
        ({"failures": [MISSING]}, ExitCode.NOTHING_MATCHED),
        ({"failures": [REFUSED]}, ExitCode.SERVICE_UNAVAILABLE),
        ({"failures": [REFUSED, MISSING]}, ExitCode.SOME_FAILED),
        ({"failures": [BROKEN]}, ExitCode.SOME_FAILED),
        ({"n_data_sets": 1, "interrupted": True}, ExitCode.INTERRUPTED),
        ({"interrupted": True, "ended_by": "max_time"}, ExitCode.DONE),
        (
            {"n_data_sets": 1, "interrupted": True, "ended_by": "until", "failures": [MISSING]},
            ExitCode.SOME_FAILED,
        ),
    ],
)
def test_a_report_ends_in_the_code_of_its_worst(fields, code):
    assert exit_code_of_report(report(**fields)) == code


def test_a_resume_with_nothing_to_do_is_done():
    assert exit_code_of_report(Report(selection=(), location="x")) == ExitCode.DONE
