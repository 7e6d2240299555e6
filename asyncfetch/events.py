"""What a run tells while it works: frozen records, handed to a listener as they happen.

Progress bars, logs and metrics are listeners. A listener is called on the event loop and must not block.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from asyncfetch.deprecation import warn_of_old_name

__all__ = [
    "BudgetGranted",
    "DataSetCompleted",
    "DataSetPacked",
    "DataSetPlanned",
    "DataSetUnpacked",
    "Event",
    "FileExported",
    "HostPaused",
    "ItemNotExported",
    "LimitReached",
    "Listener",
    "ListingDiffered",
    "OutageBegan",
    "OutageEnded",
    "OutageProbed",
    "RequestAccepted",
    "RequestFailed",
    "RequestFinished",
    "RequestHedged",
    "RequestRetried",
    "RequestStarted",
    "RowsContradicted",
    "RunFinished",
    "RunPlanned",
    "RunStarted",
    "SectionCommitted",
    "SectionFailed",
    "SectionSkipped",
    "SectionStored",
    "StoreAwaited",
    "WindowChanged",
    "ignore",
]


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="event"):
    """The base of all events."""


class RunStarted(Event, frozen=True, tag="run_started"):
    """The start of a run: what it was asked for and where it writes."""

    selection: tuple[str, ...]
    location: str


class StoreAwaited(Event, frozen=True, tag="store_awaited"):
    """A run that waits until another one has ended, which the cause names."""

    location: str
    cause: str


class LimitReached(Event, frozen=True, tag="limit_reached"):
    """A limit of a run that is reached: nothing more is begun, and what is in flight is finished.

    ``limit`` is ``max_bytes``, ``max_time`` or ``until``.
    """

    limit: str
    elapsed_s: float


class DataSetPlanned(Event, frozen=True, tag="data_set_planned"):
    """A data set whose metadata are known and whose sections are compared with the store."""

    data_set_id: int
    view: str
    n_sections: int
    n_to_fetch: int
    n_committed: int
    estimated_pixels: int


class RunPlanned(Event, frozen=True, tag="run_planned"):
    """The end of planning: everything that was selected has been compared with the store."""

    n_data_sets: int


class RequestStarted(Event, frozen=True, tag="request_started"):
    """A request that was sent; ``attempt`` counts from 1."""

    url: str
    kind: str
    attempt: int


class RequestFinished(Event, frozen=True, tag="request_finished"):
    """A reply that came whole, and what its request had waited for before it was sent.

    ``waited_window_s`` for a permit of the window, ``waited_host_s`` for a host that had asked for a pause or did
    not answer, ``waited_rate_s`` for its turn at the rate.
    """

    url: str
    kind: str
    attempt: int
    status: int
    size_bytes: int
    elapsed_s: float
    waited_window_s: float = 0.0
    waited_host_s: float = 0.0
    waited_rate_s: float = 0.0

    @property
    def waited_place_s(self) -> float:
        """The old name of `waited_window_s`."""
        warn_of_old_name("RequestFinished.waited_place_s", "RequestFinished.waited_window_s")
        return self.waited_window_s


class RequestAccepted(Event, frozen=True, tag="request_accepted"):
    """A reply that passed its check, which for an image is its decoding, and how long that took."""

    url: str
    kind: str
    attempt: int
    check_s: float


class RequestHedged(Event, frozen=True, tag="request_hedged"):
    """A second request, sent because the first one takes longer than almost all others."""

    url: str
    kind: str
    attempt: int
    after_s: float


class BudgetGranted(Event, frozen=True, tag="budget_granted"):
    """Bytes of the memory budget that were reserved, and how long that was waited for."""

    size_bytes: int
    waited_s: float


class WindowChanged(Event, frozen=True, tag="window_changed"):
    """A new number of images at once, why, and at which goodput."""

    before: int
    after: int
    reason: str
    goodput_bytes_per_s: float


class HostPaused(Event, frozen=True, tag="host_paused"):
    """A pause that the host asked for: nothing starts for ``delay_s``."""

    delay_s: float
    cause: str


class ListingDiffered(Event, frozen=True, tag="listing_differed"):
    """A listing whose announced number of rows is not the number that came, and that joins do not explain."""

    model: str
    url: str
    n_announced: int
    n_came: int


class RowsContradicted(Event, frozen=True, tag="rows_contradicted"):
    """A listing in which other rows came with the id of one before and with other content; the first ones count.

    ``n_ids`` is how many ids that concerns, and ``first_id`` the first of them.
    """

    model: str
    url: str
    n_ids: int
    first_id: str


class OutageBegan(Event, frozen=True, tag="outage_began"):
    """The start of an outage: the host gives no answers any more, or only errors; it is probed until that changes.

    ``is_silent`` is true where it gives no answer at all.
    """

    cause: str
    is_silent: bool = True


class OutageProbed(Event, frozen=True, tag="outage_probed"):
    """A probe that was not answered, and when the next one follows."""

    url: str
    cause: str
    elapsed_s: float
    next_s: float


class OutageEnded(Event, frozen=True, tag="outage_ended"):
    """The end of an outage: the host answers again."""

    elapsed_s: float


class RequestRetried(Event, frozen=True, tag="request_retried"):
    """A request that failed and will be sent again after ``delay_s``."""

    url: str
    kind: str
    attempt: int
    error: str
    cause: str
    delay_s: float


class RequestFailed(Event, frozen=True, tag="request_failed"):
    """A request that failed for good."""

    url: str
    kind: str
    attempt: int
    error: str
    cause: str


class SectionCommitted(Event, frozen=True, tag="section_committed"):
    """A section that is in the store, whole."""

    data_set_id: int
    image_id: int
    view: str
    size_bytes: int
    pixels: int


class SectionSkipped(Event, frozen=True, tag="section_skipped"):
    """A section that was skipped because the store holds it already."""

    data_set_id: int
    image_id: int
    view: str


class SectionFailed(Event, frozen=True, tag="section_failed"):
    """A section that is unavailable, and why."""

    data_set_id: int
    image_id: int
    view: str
    error: str
    cause: str


class DataSetCompleted(Event, frozen=True, tag="data_set_completed"):
    """A data set whose tables and collection metadata are written."""

    data_set_id: int


class DataSetPacked(Event, frozen=True, tag="data_set_packed"):
    """A data set that is one zip now; ``size_bytes`` is that of its files."""

    data_set_id: int
    n_files: int
    size_bytes: int


class DataSetUnpacked(Event, frozen=True, tag="data_set_unpacked"):
    """A packed data set that is a folder again; ``size_bytes`` is that of its files."""

    data_set_id: int
    n_files: int
    size_bytes: int


class SectionStored(Event, frozen=True, tag="section_stored"):
    """How long a section's layers took from the accepted image to the commit."""

    image_id: int
    view: str
    elapsed_s: float


class ShardMade(Event, frozen=True, tag="shard_made"):
    """A shard of a volume that is in the store, ``n_done`` of ``n_shards``; ``is_new`` unless it was there."""

    data_set_id: int
    view: str
    level: int
    is_new: bool
    n_done: int
    n_shards: int
    elapsed_s: float


class FileExported(Event, frozen=True, tag="file_exported"):
    """A file of an export that is there; ``is_new`` unless an earlier run wrote it.

    ``item`` is the selection that it is of, and ``name`` its path below the folder of the export.
    """

    name: str
    item: str
    view: str | None
    is_new: bool
    size_bytes: int
    elapsed_s: float


class ItemNotExported(Event, frozen=True, tag="item_not_exported"):
    """An item that could not be exported, and why."""

    item: str
    view: str | None
    error: str
    cause: str


class RunFinished(Event, frozen=True, tag="run_finished"):
    """The end of a run, and how it ended."""

    n_committed: int
    n_skipped: int
    n_failed: int
    elapsed_s: float


Listener = Callable[[Event], None]


def ignore(_event: Event) -> None:
    """Listen to nothing."""
