"""What a run has not done yet, so that a run that an outage ends can name it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from asyncfetch.client.resolved import ResolvedDataSet
    from asyncfetch.failures import Failure
    from asyncfetch.planning import ViewPlan
    from asyncfetch.selecting.selection import Selection
    from asyncfetch.store import ViewWriter

__all__ = ["OpenView", "Unfinished"]


class OpenView:
    """A view of a data set whose sections are on their way.

    Attributes
    ----------
    found : ResolvedDataSet
        The data set.
    plan : ViewPlan
        What there is to do.
    writer : ViewWriter
        Where it is written.
    left : set of int
        Ids of the images that are neither stored nor failed.
    """

    def __init__(self, found: ResolvedDataSet, plan: ViewPlan, writer: ViewWriter) -> None:
        self.found = found
        self.plan = plan
        self.writer = writer
        self.left = {section.section.id for section in plan.to_fetch}


class Unfinished:
    """The selections that were not planned to their end, and the sections that were planned and not stored.

    Parameters
    ----------
    selections : iterable of Selection
        What the run was asked for.
    """

    def __init__(self, selections: Iterable[Selection]) -> None:
        self._selections = dict.fromkeys(map(str, selections))
        self._begun: set[str] = set()
        self._views: dict[int, OpenView] = {}

    def plan(self, items: Iterable[str]) -> None:
        """Note that all of some selections was found, or failed; a product is found when all data sets are."""
        for item in items:
            self._selections.pop(item, None)
            self._begun.discard(item)

    def begin(self, items: Iterable[str]) -> None:
        """Note that some selections were found, and are done elsewhere; `plan` follows."""
        self._selections.update(dict.fromkeys(items))
        self._begun.update(items)

    def find_all(self) -> None:
        """Note that everything was found; what has been begun elsewhere is still to be done."""
        for item in self._selections.keys() - self._begun:
            del self._selections[item]

    def plan_all(self) -> None:
        """Note that everything was found."""
        self._selections.clear()

    def open(self, view: OpenView) -> None:
        """Note that the sections of a view are going to be fetched."""
        self._views[id(view)] = view

    def close(self, view: OpenView, image_id: int) -> bool:
        """Note that a section is stored or failed; tell whether it was the last of its view."""
        view.left.discard(image_id)
        if view.left:
            return False
        self._views.pop(id(view), None)
        return True

    def failures(self, cause: Failure) -> Iterator[Failure]:
        """Yield a failure with the cause of another for everything that is left."""
        for view in self._views.values():
            for image_id in sorted(view.left):
                item = view.found.item_of(image_id)
                yield msgspec.structs.replace(cause, item=item, view=view.plan.view)
        for selection in self._selections:
            yield msgspec.structs.replace(cause, item=selection, view=None)
