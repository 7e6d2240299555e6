"""What each selection of a run came to, and what became of that; sections and selections are never added up.

A run tells what was resolved and what became of sections; this puts both together by data sets and images, as one row
for each selection, and as the lock by which the same ones are fetched again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from asyncfetch.address import without_credentials
from asyncfetch.client.resolved import ResolvedAtlas, ResolvedDataSet, ResolvedSelection
from asyncfetch.events import SectionCommitted, SectionFailed, SectionSkipped
from asyncfetch.failures import Failure
from asyncfetch.selecting import Filters, Selection
from asyncfetch.selecting.lock import Lock, LockedDataSet

if TYPE_CHECKING:
    from collections.abc import Iterable

    from asyncfetch.client.resolved import Resolved
    from asyncfetch.events import Event

__all__ = ["Choices", "SelectionOutcome"]

_WRITTEN, _STORED, _FAILED = 0, 1, 2


class SelectionOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one selection.

    Attributes
    ----------
    selection : str
        As it was asked for.
    name : str
        What it was taken for.
    status : str
        ``mirrored``, ``stored already``, ``partly failed``, ``failed``, ``planned``, ``left out``, ``not found`` or
        ``not reached``.
    n_data_sets : int
        Its data sets, those that other selections name, too, among them.
    n_sections_written, n_sections_stored, n_sections_failed : int
        Section views of these that this run wrote, found in the store, and could not bring.
    message : str
        How it was understood, or what is wrong.
    """

    selection: str
    name: str
    status: str
    n_data_sets: int = 0
    n_sections_written: int = 0
    n_sections_stored: int = 0
    n_sections_failed: int = 0
    message: str = ""


class Choices:
    """What was chosen in a run, while it is; give it what is resolved, and call it with events.

    Parameters
    ----------
    selections : iterable of Selection
        What was asked for.
    lock : Lock, optional
        What that was once; then each of its data sets is a row.
    """

    def __init__(self, selections: Iterable[Selection], lock: Lock | None = None) -> None:
        self._asked = tuple(selections)
        self._lock = lock
        if lock is not None:
            self._asked = (
                *(Selection("dataset", each.id) for each in lock.data_sets),
                *(Selection("atlas", each) for each in lock.atlases),
            )
        self._resolved: dict[str, ResolvedSelection] = {}
        self._failures: dict[str, Failure] = {}
        self._data_sets: dict[int, LockedDataSet] = {}
        self._plates: set[int] = set()
        self._atlases: list[int] = []
        self._by_set: dict[int, list[int]] = {}
        self._by_image: dict[int, list[int]] | None = (
            {} if any(each.kind == "image" for each in self._asked) else None
        )

    def take(self, found: Resolved) -> None:
        """Note what was resolved."""
        if isinstance(found, ResolvedSelection):
            self._resolved[str(found.selection)] = found
        elif isinstance(found, ResolvedDataSet):
            data_set = found.data_set
            if found.atlas_id is not None:
                self._plates.add(data_set.id)
            ids = found.image_ids
            images = [each.id for each in data_set.section_images if ids is None or each.id in ids]
            self._data_sets[data_set.id] = LockedDataSet(data_set.id, tuple(sorted(images)), found.part)
        elif isinstance(found, ResolvedAtlas):
            self._atlases.append(int(found.record["id"]))
        elif isinstance(found, Failure):
            self._failures.setdefault(found.item, found)

    def __call__(self, event: Event) -> None:
        """Note what became of a section."""
        match event:
            case SectionCommitted():
                which = _WRITTEN
            case SectionSkipped():
                which = _STORED
            case SectionFailed():
                which = _FAILED
            case _:
                return
        self._by_set.setdefault(event.data_set_id, [0, 0, 0])[which] += 1
        if self._by_image is not None:
            self._by_image.setdefault(event.image_id, [0, 0, 0])[which] += 1

    def outcomes(self, *, is_planned: bool = False) -> list[SelectionOutcome]:
        """Return what became of each selection, in the order in which they were asked for."""
        return [self._outcome(each, is_planned=is_planned) for each in self._asked]

    def _outcome(self, selection: Selection, *, is_planned: bool) -> SelectionOutcome:
        text = str(selection)
        resolved, failure = self._resolved.get(text), self._failures.get(text)
        ids = () if resolved is None else resolved.data_set_ids
        known = [each for each in ids if each in self._data_sets]
        counts = [0, 0, 0]
        for each in known:
            found = self._by_set.get(each, counts[:0])
            if selection.kind == "image" and self._by_image is not None:
                found = self._by_image.get(int(selection.id), counts[:0])
            counts = [sum(pair) for pair in zip(counts, found or [0, 0, 0], strict=True)]
        message = "" if resolved is None else resolved.message
        return SelectionOutcome(
            selection=text,
            name=str(selection.id) if resolved is None else resolved.name,
            status=_status(resolved, failure, known, counts, is_planned=is_planned),
            n_data_sets=len(known),
            n_sections_written=counts[_WRITTEN],
            n_sections_stored=counts[_STORED],
            n_sections_failed=counts[_FAILED],
            message=message if failure is None else failure.message,
        )

    def lock(self, filters: Filters | None, base_url: str) -> Lock:
        """Return what was chosen, by ids."""
        if self._lock is not None:
            return self._lock
        missing = [str(each) for each in self._asked if str(each) in self._failures]
        sets = [self._data_sets[each] for each in sorted(self._data_sets) if each not in self._plates]
        return Lock(
            selection=tuple(map(str, self._asked)),
            filters=filters or Filters(),
            base_url=without_credentials(base_url),
            data_sets=tuple(sets),
            atlases=tuple(sorted(self._atlases)),
            missing=tuple(missing),
        )


def _status(
    resolved: ResolvedSelection | None,
    failure: Failure | None,
    known: list[int],
    counts: list[int],
    *,
    is_planned: bool,
) -> str:
    if failure is not None and not known:
        return "not found" if failure.error == "NotFoundError" else "failed"
    if resolved is None:
        return "not reached"
    if not known:
        return "left out"
    if is_planned:
        return "planned"
    if counts[_FAILED]:
        return "partly failed" if counts[_WRITTEN] or counts[_STORED] else "failed"
    return "mirrored" if counts[_WRITTEN] else "stored already"
