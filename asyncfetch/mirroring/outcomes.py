"""What became of the sections of a run, as events and in its report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncfetch.engine.clock import now
from asyncfetch.events import SectionCommitted, SectionFailed, SectionStored
from asyncfetch.failures import Failure

if TYPE_CHECKING:
    from asyncfetch.errors import AsyncFetchError
    from asyncfetch.events import Listener
    from asyncfetch.mirroring.flights import Flight
    from asyncfetch.mirroring.report import Report
    from asyncfetch.planning import SectionPlan
    from asyncfetch.store import Commit

__all__ = ["SectionOutcomes"]


class SectionOutcomes:
    """The outcomes of sections, told as they come.

    Parameters
    ----------
    report : Report
        Where failures are kept.
    listen : callable
        Is called with each event.
    """

    def __init__(self, report: Report, listen: Listener) -> None:
        self._report = report
        self._listen = listen

    def committed(self, section: SectionPlan, commit: Commit, flight: Flight) -> None:
        """Tell that a section is in the store."""
        image_id, view = section.section.id, section.view
        if flight.accepted_s is not None:
            self._listen(SectionStored(image_id=image_id, view=view, elapsed_s=now() - flight.accepted_s))
        self._listen(
            SectionCommitted(
                data_set_id=section.data_set_id,
                image_id=image_id,
                view=view,
                size_bytes=commit.size_bytes,
                pixels=section.n_pixels,
            )
        )

    def failed(self, item: str, section: SectionPlan, error: AsyncFetchError) -> None:
        """Keep and tell that a section is unavailable; `item` fetches it alone."""
        self._report.failures.append(Failure.of(item, error, section.view))
        self._listen(
            SectionFailed(
                data_set_id=section.data_set_id,
                image_id=section.section.id,
                view=section.view,
                error=type(error).__name__,
                cause=error.message,
            )
        )
