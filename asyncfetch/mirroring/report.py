"""What a run leaves to read: how much was done, and every item that was not, with its cause."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from asyncfetch.deprecation import warn_of_old_name
from asyncfetch.errors import OutageError
from asyncfetch.events import (
    DataSetCompleted,
    ListingDiffered,
    RequestFinished,
    RequestRetried,
    RequestStarted,
    RowsContradicted,
    RunFinished,
    SectionCommitted,
    SectionSkipped,
)
from asyncfetch.failures import Failure  # noqa: TC001 - msgspec reads annotations
from asyncfetch.limits import Limit  # noqa: TC001 - msgspec reads annotations
from asyncfetch.metrics import Metrics
from asyncfetch.mirroring.choices import SelectionOutcome  # noqa: TC001 - msgspec reads annotations
from asyncfetch.mirroring.refreshing import Refresh  # noqa: TC001 - msgspec reads annotations
from asyncfetch.selecting.lock import Lock  # noqa: TC001 - msgspec reads annotations
from asyncfetch.text import counted, shown

if TYPE_CHECKING:
    from asyncfetch.events import Event

__all__ = ["Report", "ReportPart", "add_listing_note"]


class ReportPart(msgspec.Struct, kw_only=True, frozen=True):
    """What a report says of some data sets beside what events add up to; fields as in `Report`."""

    n_data_sets: int = 0
    failures: list[Failure] = msgspec.field(default_factory=list)
    unplaced: list[Failure] = msgspec.field(default_factory=list)
    notes: list[str] = msgspec.field(default_factory=list)
    interrupted: bool = False


class Report(msgspec.Struct, kw_only=True):
    """The summary of one run.

    Attributes
    ----------
    selection : tuple of str
        What was asked for.
    location : str
        The store.
    n_committed, n_skipped : int
        Section views written by this run, and found in the store already.
    failures : list of Failure
        Items that are unavailable.
    unplaced : list of Failure
        Sections that are stored but could not be registered.
    notes : list of str
        What else is unavailable, though no image depends on it, such as structure centres; and listings of which
        fewer or more rows came than were announced, or rows that contradict each other.
    n_data_sets : int
        Data sets that the selection named and the API knew.
    n_completed : int
        Views of data sets whose tables and collection metadata are up to date.
    n_requests, n_retries : int
        Requests sent, and how many of them again.
    received_bytes : int
        Bytes of all bodies.
    pixels : int
        Source pixels decoded into committed sections.
    elapsed_s : float
        Wall time.
    interrupted : bool
        Whether the run was asked to stop before its end, or reached a limit; ``resume`` continues it.
    ended_by : str or None
        The limit that ended the run before its end: ``max_bytes``, ``max_time`` or ``until``.
    outcomes : list of SelectionOutcome
        What became of each selection.
    lock : Lock or None
        What the selections were, by ids; None where that was not found out to its end.
    refresh : Refresh or None
        What is new, changed and gone, where the run was a refresh.
    metrics : Metrics
        Requests and retries by cause, times and sizes, and what held the run back.
    """

    selection: tuple[str, ...]
    location: str
    n_committed: int = 0
    n_skipped: int = 0
    failures: list[Failure] = msgspec.field(default_factory=list)
    unplaced: list[Failure] = msgspec.field(default_factory=list)
    notes: list[str] = msgspec.field(default_factory=list)
    n_data_sets: int = 0
    n_completed: int = 0
    n_requests: int = 0
    n_retries: int = 0
    received_bytes: int = 0
    pixels: int = 0
    elapsed_s: float = 0.0
    interrupted: bool = False
    outcomes: list[SelectionOutcome] = msgspec.field(default_factory=list)
    lock: Lock | None = None
    ended_by: Limit | None = None
    refresh: Refresh | None = None
    metrics: Metrics = msgspec.field(default_factory=Metrics)

    @property
    def figures(self) -> Metrics:
        """The old name of `metrics`."""
        warn_of_old_name("Report.figures", "Report.metrics")
        return self.metrics

    def count(self, event: Event) -> None:
        """Add what an event tells."""
        self.metrics(event)
        if isinstance(event, RequestStarted):
            self.n_requests += 1
        elif isinstance(event, RequestRetried):
            self.n_retries += 1
        elif isinstance(event, RequestFinished):
            self.received_bytes += event.size_bytes
        elif isinstance(event, SectionSkipped):
            self.n_skipped += 1
        elif isinstance(event, SectionCommitted):
            self.n_committed += 1
            self.pixels += event.pixels
        elif isinstance(event, DataSetCompleted):
            self.n_completed += 1
        else:
            add_listing_note(self.notes, event)

    def part(self) -> ReportPart:
        """Return what does not follow from events."""
        return ReportPart(**{name: getattr(self, name) for name in ReportPart.__struct_fields__})

    def add(self, part: ReportPart) -> None:
        """Add what was said of some data sets elsewhere; a note stands once."""
        self.n_data_sets += part.n_data_sets
        self.failures += part.failures
        self.unplaced += part.unplaced
        self.notes += [note for note in part.notes if note not in self.notes]
        self.interrupted |= part.interrupted

    def plus(self, other: Report) -> Report:
        """Return the sum of two reports on one store."""
        sums = {
            name: getattr(self, name) + getattr(other, name)
            for name in self.__struct_fields__
            if name not in {"location", "interrupted", "ended_by", "refresh", "lock"}
        }
        return Report(
            **sums,
            location=self.location,
            interrupted=self.interrupted or other.interrupted,
            ended_by=self.ended_by or other.ended_by,
            refresh=self.refresh or other.refresh,
        )

    @property
    def is_cut_short(self) -> bool:
        """Whether an outage ended the run; what it had not done is among the failures, and ``resume`` continues it."""
        return any(failure.error == OutageError.__name__ for failure in self.failures)

    @property
    def n_failed(self) -> int:
        """How many items failed."""
        return len(self.failures)

    def as_event(self) -> RunFinished:
        """Return what is told when the run has ended."""
        return RunFinished(
            n_committed=self.n_committed,
            n_skipped=self.n_skipped,
            n_failed=self.n_failed,
            elapsed_s=self.elapsed_s,
        )

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        fields: dict[str, Any] = msgspec.to_builtins(msgspec.structs.replace(self, lock=None))
        # which is a file of its own
        del fields["lock"]
        fields["goodput_bytes_per_s"] = self.goodput_bytes_per_s
        fields["held_back_by"] = self.metrics.held_back_by()
        # the old name, for one version
        fields["figures"] = fields["metrics"]
        return fields

    @property
    def goodput_bytes_per_s(self) -> float:
        """Bytes of bodies that came whole, over the wall time."""
        return self.received_bytes / self.elapsed_s if self.elapsed_s else 0.0


def add_listing_note(notes: list[str], event: Event) -> None:
    """Note the first listing of each model whose rows are not as many as were announced, or contradict each other."""
    if isinstance(event, ListingDiffered):
        beginning = f"rows of {event.model}: "
        told = f"the API announced {event.n_announced} and gave {event.n_came} (RMA-5)"
    elif isinstance(event, RowsContradicted):
        beginning = f"contradicting rows of {event.model}: "
        told = (
            f"{counted(event.n_ids, 'id has', 'ids have')} several rows with different content, the first of them "
            f"{shown(event.first_id, 40)}; the first row of each is used (RMA-7)"
        )
    else:
        return
    if not any(note.startswith(beginning) for note in notes):
        notes.append(f"{beginning}{told}; the first such listing was {event.url}")
