"""Events of work that was begun again elsewhere: what is told twice counts once, so that a report adds up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncfetch.events import DataSetCompleted, DataSetPlanned, SectionCommitted, SectionSkipped

if TYPE_CHECKING:
    from asyncfetch.events import Event, Listener

__all__ = ["Once"]


class Once:
    """A listener between the machines of a run and whoever writes its report.

    A machine that takes over a data set plans it again: it finds stored what the one before had stored, which was told
    as stored by this run, and completes it, which may have been told, too.

    Parameters
    ----------
    listen : callable
        Is told each event once.
    """

    def __init__(self, listen: Listener) -> None:
        self._listen = listen
        # of data sets at work: what was told of their sections, and of their views
        self._sections: dict[int, set[tuple[str, int]]] = {}
        self._planned: dict[int, set[str]] = {}
        self._n_completed: dict[int, int] = {}

    def __call__(self, event: Event) -> None:
        """Tell an event, unless it was told before the data set was begun again."""
        if self._is_new(event):
            self._listen(event)

    def forget(self, data_set_id: int) -> None:
        """Note that a data set is done."""
        for each in (self._sections, self._planned, self._n_completed):
            each.pop(data_set_id, None)

    def _is_new(self, event: Event) -> bool:
        if isinstance(event, SectionCommitted):
            self._sections.setdefault(event.data_set_id, set()).add((event.view, event.image_id))
        elif isinstance(event, SectionSkipped):
            told = self._sections.setdefault(event.data_set_id, set())
            is_new = (event.view, event.image_id) not in told
            told.add((event.view, event.image_id))
            return is_new
        elif isinstance(event, DataSetPlanned):
            planned = self._planned.setdefault(event.data_set_id, set())
            is_new = event.view not in planned
            planned.add(event.view)
            return is_new
        elif isinstance(event, DataSetCompleted):
            n = self._n_completed[event.data_set_id] = self._n_completed.get(event.data_set_id, 0) + 1
            return n <= len(self._planned.get(event.data_set_id, ()))
        return True
