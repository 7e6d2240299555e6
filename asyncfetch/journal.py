"""Events as records of the standard library's logging, under the name ``asyncfetch``; silent unless that is configured.

A record's message is the name of the event with its fields; the event itself is its attribute ``event``.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import msgspec

from asyncfetch.events import (
    DataSetCompleted,
    DataSetPacked,
    DataSetPlanned,
    DataSetUnpacked,
    FileExported,
    HostPaused,
    ItemNotExported,
    LimitReached,
    ListingDiffered,
    OutageBegan,
    OutageEnded,
    OutageProbed,
    RequestFailed,
    RequestFinished,
    RequestRetried,
    RequestStarted,
    RowsContradicted,
    RunFinished,
    RunPlanned,
    RunStarted,
    SectionCommitted,
    SectionFailed,
    SectionSkipped,
    StoreAwaited,
    WindowChanged,
)
from asyncfetch.text import shown

if TYPE_CHECKING:
    from asyncfetch.events import Event

__all__ = ["log_event"]

_LOGGER = logging.getLogger("asyncfetch")
# without a handler Python would print warnings on stderr for a program that has not asked for any
_LOGGER.addHandler(logging.NullHandler())

#: Words of a server may be long.
_MAX_VALUE = 300

_LEVELS: dict[type[Event], int] = {
    RequestStarted: logging.DEBUG,
    RequestFinished: logging.DEBUG,
    SectionCommitted: logging.DEBUG,
    SectionSkipped: logging.DEBUG,
    WindowChanged: logging.DEBUG,
    RunStarted: logging.INFO,
    RunPlanned: logging.INFO,
    RunFinished: logging.INFO,
    DataSetPlanned: logging.INFO,
    DataSetCompleted: logging.INFO,
    DataSetPacked: logging.INFO,
    DataSetUnpacked: logging.INFO,
    FileExported: logging.INFO,
    LimitReached: logging.INFO,
    OutageEnded: logging.INFO,
    StoreAwaited: logging.INFO,
    RequestRetried: logging.WARNING,
    HostPaused: logging.WARNING,
    OutageBegan: logging.WARNING,
    OutageProbed: logging.WARNING,
    ListingDiffered: logging.WARNING,
    RowsContradicted: logging.WARNING,
    RequestFailed: logging.ERROR,
    SectionFailed: logging.ERROR,
    ItemNotExported: logging.ERROR,
}


def log_event(event: Event) -> None:
    """Log an event at the level of its kind: each request is DEBUG, what fails for good ERROR."""
    level = _LEVELS.get(type(event))
    if level is None or not _LOGGER.isEnabledFor(level):
        return
    fields = msgspec.structs.asdict(event).items()
    words = " ".join(f"{name}={shown(value, _MAX_VALUE)}" for name, value in fields)
    _LOGGER.log(level, "%s %s", event.__struct_config__.tag, words, extra={"event": event})
