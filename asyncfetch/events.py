"""What a run tells while it works: frozen records, handed to a listener as they happen.

Progress bars, logs and metrics are listeners. A listener is called on the event loop and must not block.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

__all__ = [
    "DataSetCompleted",
    "DataSetPlanned",
    "Event",
    "Listener",
    "RequestFailed",
    "RequestFinished",
    "RequestRetried",
    "RequestStarted",
    "RunFinished",
    "RunStarted",
    "SectionCommitted",
    "SectionFailed",
    "SectionSkipped",
    "ignore",
]


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="event"):
    """Be the base of all events."""


class RunStarted(Event, frozen=True, tag="run_started"):
    """Say that a run began: what it was asked for and where it writes."""

    selection: tuple[str, ...]
    location: str


class DataSetPlanned(Event, frozen=True, tag="data_set_planned"):
    """Say that a data set's metadata are known and its sections compared with the store."""

    data_set_id: int
    view: str
    n_sections: int
    n_to_fetch: int
    n_committed: int
    estimated_pixels: int


class RequestStarted(Event, frozen=True, tag="request_started"):
    """Say that a request was sent; ``attempt`` counts from 1."""

    url: str
    kind: str
    attempt: int


class RequestFinished(Event, frozen=True, tag="request_finished"):
    """Say that a reply came whole."""

    url: str
    kind: str
    attempt: int
    status: int
    size_bytes: int
    elapsed_s: float


class RequestRetried(Event, frozen=True, tag="request_retried"):
    """Say that a request failed and will be sent again after ``delay_s``."""

    url: str
    kind: str
    attempt: int
    error: str
    cause: str
    delay_s: float


class RequestFailed(Event, frozen=True, tag="request_failed"):
    """Say that a request failed for good."""

    url: str
    kind: str
    attempt: int
    error: str
    cause: str


class SectionCommitted(Event, frozen=True, tag="section_committed"):
    """Say that a section is in the store, whole."""

    data_set_id: int
    image_id: int
    view: str
    size_bytes: int
    pixels: int


class SectionSkipped(Event, frozen=True, tag="section_skipped"):
    """Say that the store holds a section already."""

    data_set_id: int
    image_id: int
    view: str


class SectionFailed(Event, frozen=True, tag="section_failed"):
    """Say that a section could not be had, and why."""

    data_set_id: int
    image_id: int
    view: str
    error: str
    cause: str


class DataSetCompleted(Event, frozen=True, tag="data_set_completed"):
    """Say that a data set's tables and collection metadata are written."""

    data_set_id: int


class RunFinished(Event, frozen=True, tag="run_finished"):
    """Say that a run ended, and how."""

    n_committed: int
    n_skipped: int
    n_failed: int
    elapsed_s: float


Listener = Callable[[Event], None]


def ignore(_event: Event) -> None:
    """Listen to nothing."""
