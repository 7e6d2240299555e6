"""The options that say how long a run may last."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from asyncfetch.cli.configuration import as_typed
from asyncfetch.errors import SettingsError

if TYPE_CHECKING:
    from asyncfetch.limits import Limits

__all__ = ["MaxBytes", "MaxTime", "Until", "read_limits"]

_PANEL = "When it ends"

MaxBytes = Annotated[
    str | None,
    typer.Option(
        "--max-bytes",
        metavar="SIZE",
        help="End once so much has been received, such as 20GB; resume continues.",
        rich_help_panel=_PANEL,
    ),
]
MaxTime = Annotated[
    str | None,
    typer.Option(
        "--max-time",
        metavar="DURATION",
        help="End after this time, such as 8h, 30min or 1h30min.",
        rich_help_panel=_PANEL,
    ),
]
Until = Annotated[
    str | None,
    typer.Option(
        "--until",
        metavar="TIME",
        help="End at this time of day, such as 06:00, or at this moment, such as 2027-03-01T06:00.",
        rich_help_panel=_PANEL,
    ),
]


def read_limits(max_bytes: str | None, max_time: str | None, until: str | None) -> Limits:
    """Return the limits that a command was given.

    Raises
    ------
    SettingsError
        One of them is malformed, not positive, or over.
    """
    from asyncfetch.limits import Limits

    try:
        return Limits.of(max_bytes=max_bytes, max_time=max_time, until=until)
    except SettingsError as error:
        raise SettingsError(as_typed(error.message, error.setting or ""), setting=error.setting) from None
