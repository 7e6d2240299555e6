"""What an export leaves to read: how many files were written and kept, and every item that could not be exported."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from asyncfetch.events import FileExported, RunFinished
from asyncfetch.failures import Failure  # noqa: TC001 - msgspec reads annotations
from asyncfetch.metrics import Metrics

if TYPE_CHECKING:
    from asyncfetch.events import Event

__all__ = ["ExportReport"]


class ExportReport(msgspec.Struct, kw_only=True):
    """The summary of one export.

    Attributes
    ----------
    format : str
        Its name.
    location, folder : str
        The store, and where the files are.
    selection : tuple of str
        What was asked for; empty means everything.
    n_data_sets : int
        Data sets of the store that were meant.
    n_written, n_kept : int
        Files written by this run, and found complete.
    written_bytes : int
        Their size.
    failures : list of Failure
        Items that could not be exported.
    notes : list of str
        What else in the store cannot be read and counts as missing.
    elapsed_s : float
        Wall time.
    interrupted : bool
        Whether the run was asked to stop before its end; the same call continues.
    metrics : Metrics
        What the events of the run add up to.
    """

    format: str
    location: str
    folder: str
    selection: tuple[str, ...] = ()
    n_data_sets: int = 0
    n_written: int = 0
    n_kept: int = 0
    written_bytes: int = 0
    failures: list[Failure] = msgspec.field(default_factory=list)
    notes: list[str] = msgspec.field(default_factory=list)
    elapsed_s: float = 0.0
    interrupted: bool = False
    metrics: Metrics = msgspec.field(default_factory=Metrics)

    def count(self, event: Event) -> None:
        """Add what an event tells."""
        self.metrics(event)
        if isinstance(event, FileExported):
            self.n_written += event.is_new
            self.n_kept += not event.is_new
            self.written_bytes += event.size_bytes if event.is_new else 0

    def as_event(self) -> RunFinished:
        """Return what is told when the run has ended; its items are files."""
        return RunFinished(
            n_committed=self.n_written,
            n_skipped=self.n_kept,
            n_failed=len(self.failures),
            elapsed_s=self.elapsed_s,
        )

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        fields: dict[str, Any] = msgspec.to_builtins(self)
        return fields
