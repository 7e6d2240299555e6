"""The exit codes of every command, and the errors and reports behind them."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from asyncfetch.errors import (
    AsyncFetchError,
    NotFoundError,
    ReplyError,
    SelectionError,
    SettingsError,
    TransientServiceError,
    TransportError,
)

if TYPE_CHECKING:
    from asyncfetch.mirroring import Estimate, Report

__all__ = ["ExitCode", "exit_code_of_error", "exit_code_of_estimate", "exit_code_of_report"]


class ExitCode(enum.IntEnum):
    """How a command ended."""

    DONE = 0
    ERROR = 1
    USAGE = 2
    SOME_FAILED = 3
    NOTHING_MATCHED = 4
    SERVICE_UNAVAILABLE = 5
    VERIFICATION_FAILED = 6
    INTERRUPTED = 130


_UNAVAILABLE = (TransportError, TransientServiceError, ReplyError)


def exit_code_of_error(error: AsyncFetchError) -> ExitCode:
    """Return the code of a command that an error ended."""
    if isinstance(error, SelectionError | SettingsError):
        return ExitCode.USAGE
    if isinstance(error, NotFoundError):
        return ExitCode.NOTHING_MATCHED
    if isinstance(error, _UNAVAILABLE):
        return ExitCode.SERVICE_UNAVAILABLE
    return ExitCode.ERROR


def exit_code_of_report(report: Report) -> ExitCode:
    """Return the code of a run that came to its end, was asked to stop before it, or reached a limit.

    A limit that is reached is what was asked for, be there work left or not.
    """
    if report.interrupted and report.ended_by is None:
        return ExitCode.INTERRUPTED
    if report.is_cut_short:
        return ExitCode.SERVICE_UNAVAILABLE
    if report.ended_by is not None and not report.failures:
        return ExitCode.DONE
    return exit_code_of_estimate(report)


def exit_code_of_estimate(report: Report | Estimate) -> ExitCode:
    """Return the code for what was found and what was not."""
    if not report.failures:
        # a resume that finds no unfinished run asked for nothing
        return ExitCode.DONE if report.n_data_sets or not report.selection else ExitCode.NOTHING_MATCHED
    if report.n_data_sets:
        return ExitCode.SOME_FAILED
    errors = {failure.error for failure in report.failures}
    if errors == {NotFoundError.__name__}:
        return ExitCode.NOTHING_MATCHED
    if all(failure.is_transient for failure in report.failures):
        return ExitCode.SERVICE_UNAVAILABLE
    return ExitCode.SOME_FAILED
