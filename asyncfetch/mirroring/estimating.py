"""What a mirror would cost, before any image is asked for: the same resolving and planning, and nothing is written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

import anyio
import msgspec

from asyncfetch.catalogue import CatalogueChooser
from asyncfetch.catalogue.records import known_data_sets
from asyncfetch.client import Client
from asyncfetch.client.resolved import Resolved, ResolvedDataSet, ResolvingNote
from asyncfetch.client.resolving import resolve_selections
from asyncfetch.engine.groups import failing_alone
from asyncfetch.errors import AsyncFetchError, SelectionError, StoreError, StoreItemError
from asyncfetch.events import RequestStarted, ignore
from asyncfetch.failures import Failure
from asyncfetch.mirroring.choices import Choices, SelectionOutcome
from asyncfetch.mirroring.report import add_listing_note
from asyncfetch.mirroring.structures import find_region
from asyncfetch.options import settings_of
from asyncfetch.planning import plan_view, view_layout
from asyncfetch.selecting import parse_selection
from asyncfetch.selecting.lock import Lock  # noqa: TC001 - msgspec reads annotations
from asyncfetch.store import open as open_store

if TYPE_CHECKING:
    from collections.abc import Iterable

    from asyncfetch.catalogue import CatalogueFile
    from asyncfetch.engine import Transport
    from asyncfetch.events import Event, Listener
    from asyncfetch.options import MirrorOptions
    from asyncfetch.planning import ViewPlan
    from asyncfetch.planning.region_of_space import RegionOfSpace
    from asyncfetch.selecting import Filters, Selection
    from asyncfetch.settings import Settings, View
    from asyncfetch.store import Location, Store

__all__ = ["Estimate", "ViewEstimate", "estimate"]

#: An image is answered by a redirect, which is a request like any other to the limit of the rate (HTTP-1).
_STARTS_AN_IMAGE = 2


class ViewEstimate(msgspec.Struct, frozen=True, kw_only=True):
    """The estimate of what one view of one data set costs.

    Attributes
    ----------
    data_set_id, view : int, str
        Which.
    n_to_fetch, n_committed, n_unplaced : int
        Sections to fetch, stored already, and without a position on the registered grid.
    n_image_requests : int
        Images, or boxes of images, that are asked for.
    pixels, estimated_bytes : int
        Of the images to fetch.
    """

    data_set_id: int
    view: str
    n_to_fetch: int
    n_committed: int
    n_unplaced: int
    n_image_requests: int
    pixels: int
    estimated_bytes: int


class Estimate(msgspec.Struct, kw_only=True):
    """The estimate of what a mirror costs.

    Attributes
    ----------
    selection : tuple of str
        What was asked for.
    requests_per_s : float
        The configured rate.
    bytes_per_s : float or None
        The configured limit of bytes.
    views : list of ViewEstimate
        One for each view of each data set.
    failures : list of Failure
        What is unavailable, as far as the records tell.
    notes : list of str
        How names were understood, and what else is worth knowing.
    outcomes : list of SelectionOutcome
        What each selection came to.
    lock : Lock or None
        What the selections were, by ids.
    n_data_sets : int
        Data sets found.
    n_metadata_requests : int
        Requests for records, as many as this estimate took; a run sends them again.
    """

    selection: tuple[str, ...]
    requests_per_s: float
    bytes_per_s: float | None = None
    views: list[ViewEstimate] = msgspec.field(default_factory=list)
    failures: list[Failure] = msgspec.field(default_factory=list)
    notes: list[str] = msgspec.field(default_factory=list)
    outcomes: list[SelectionOutcome] = msgspec.field(default_factory=list)
    lock: Lock | None = None
    n_data_sets: int = 0
    n_metadata_requests: int = 0

    @property
    def n_to_fetch(self) -> int:
        """Images to fetch."""
        return sum(view.n_to_fetch for view in self.views)

    @property
    def n_committed(self) -> int:
        """Sections that the store holds as wanted."""
        return sum(view.n_committed for view in self.views)

    @property
    def n_unplaced(self) -> int:
        """Sections that cannot be registered."""
        return sum(view.n_unplaced for view in self.views)

    @property
    def pixels(self) -> int:
        """Pixels of the images to fetch."""
        return sum(view.pixels for view in self.views)

    @property
    def estimated_bytes(self) -> int:
        """Bytes of the images to fetch, about."""
        return sum(view.estimated_bytes for view in self.views)

    @property
    def n_requests(self) -> int:
        """Requests that count for the rate: two an image or a box of one, and those for records."""
        n_images = sum(view.n_image_requests for view in self.views)
        return _STARTS_AN_IMAGE * n_images + self.n_metadata_requests

    @property
    def minutes(self) -> float:
        """The least that the configured rates allow; a slow server takes longer."""
        seconds = self.n_requests / self.requests_per_s
        if self.bytes_per_s is not None:
            seconds = max(seconds, self.estimated_bytes / self.bytes_per_s)
        return seconds / 60

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, sums included."""
        sums = (
            "n_to_fetch",
            "n_committed",
            "n_unplaced",
            "n_requests",
            "estimated_bytes",
            "pixels",
            "minutes",
        )
        fields: dict[str, Any] = msgspec.to_builtins(msgspec.structs.replace(self, lock=None))
        # which is a file of its own
        del fields["lock"]
        return fields | {name: getattr(self, name) for name in sums}


async def estimate(
    selection: str | Iterable[str],
    location: Location | None = None,
    *,
    settings: Settings | None = None,
    on_event: Listener = ignore,
    transport: Transport | None = None,
    filters: Filters | None = None,
    catalogue: CatalogueFile | None = None,
    lock: Lock | None = None,
    offline: bool = False,
    **options: Unpack[MirrorOptions],
) -> Estimate:
    """Tell what `asyncfetch.mirror` would fetch; the API is asked for records alone, and nothing is written.

    Parameters
    ----------
    selection, settings, on_event, transport, filters, catalogue, lock, **options
        As for `asyncfetch.mirror`.
    offline : bool
        Estimate from `catalogue` alone, which knows the sizes of sections and not where they lie.
    location : str, Path or zarr Store, optional
        The store that would be written; what it holds is not counted. Without one everything is to be fetched.

    Returns
    -------
    Estimate
        Requests, bytes and time, and each item that is unavailable with its cause.

    Raises
    ------
    SelectionError, SettingsError, StoreError
        What was asked for is malformed, or there is no such store.
    """
    chosen = settings_of(settings, options)
    selections = parse_selection(selection if lock is None else lock.selection)
    filters = filters if lock is None else lock.filters
    choices = Choices(selections, lock)
    store = None if location is None else await anyio.to_thread.run_sync(open_store, location)
    total = Estimate(
        selection=tuple(map(str, selections)),
        requests_per_s=chosen.requests_per_s,
        bytes_per_s=chosen.bytes_per_s,
    )

    def listen(event: Event) -> None:
        total.n_metadata_requests += isinstance(event, RequestStarted)
        add_listing_note(total.notes, event)
        on_event(event)

    if offline:
        if catalogue is None:
            raise SelectionError("an estimate without the API requires a catalogue")
        await anyio.to_thread.run_sync(
            _count_offline, total, catalogue, selections, filters, chosen, choices, store
        )
        return total
    chooser = None if catalogue is None else CatalogueChooser(catalogue)
    async with Client(settings=chosen, on_event=listen, transport=transport) as client:
        region = await find_region(client, chosen)
        send, receive = anyio.create_memory_object_stream[Resolved](1)
        with failing_alone():
            async with receive, anyio.create_task_group() as tasks:
                tasks.start_soon(resolve_selections, client, selections, send, filters, chooser, lock)
                async for found in receive:
                    choices.take(found)
                    await _count(total, found, client, chosen, store, region)
    if store is not None:
        total.notes.extend(store.damage)
    total.outcomes = choices.outcomes(is_planned=True)
    total.lock = choices.lock(filters, chosen.base_url)
    return total


def _count_offline(
    total: Estimate,
    catalogue: CatalogueFile,
    selections: Iterable[Selection],
    filters: Filters | None,
    settings: Settings,
    choices: Choices,
    store: Store | None,
) -> None:
    """Count what the catalogue knows; whether a section can be registered is not known there."""
    plain = settings.replace(layers=("source",))
    total.notes.append(CatalogueChooser(catalogue).note)
    total.notes.append(
        "whether sections can be registered is not known offline, and regions are not considered"
    )
    for found in known_data_sets(catalogue, selections, filters):
        choices.take(found)
        if isinstance(found, Failure):
            total.failures.append(found)
        elif isinstance(found, ResolvedDataSet):
            total.n_data_sets += 1
            total.views += [_summed(_planned(found, view, plain, store, None)) for view in settings.views]
    total.outcomes = choices.outcomes(is_planned=True)
    total.lock = choices.lock(filters, settings.base_url)


async def _count(
    total: Estimate,
    found: Resolved,
    client: Client,
    settings: Settings,
    store: Store | None,
    region: RegionOfSpace | None,
) -> None:
    if isinstance(found, Failure):
        total.failures.append(found)
    elif isinstance(found, ResolvingNote):
        total.notes.append(found.text)
    elif isinstance(found, ResolvedDataSet):
        total.n_data_sets += 1
        try:
            for view in settings.views:
                plan = await client.pool.run(_planned, found, view, settings, store, region)
                total.views.append(_summed(plan))
                if view == settings.views[0]:
                    total.notes.extend(plan.notes)
        except AsyncFetchError as error:
            if isinstance(error, StoreError) and not isinstance(error, StoreItemError):
                raise
            total.failures.extend(Failure.of(item, error) for item in found.items)


def _planned(
    found: ResolvedDataSet, view: View, settings: Settings, store: Store | None, region: RegionOfSpace | None
) -> ViewPlan:
    layout = view_layout(found.data_set, view, settings)
    stored = {} if store is None else store.sections(found.data_set.id, view)
    slots = layout.registered.z_by_image if layout.registered else {}
    return plan_view(found.data_set, view, settings, stored, slots, found.image_ids, region)


def _summed(plan: ViewPlan) -> ViewEstimate:
    return ViewEstimate(
        data_set_id=plan.data_set.id,
        view=plan.view,
        n_to_fetch=len(plan.to_fetch),
        n_committed=len(plan.committed),
        n_unplaced=len(plan.unplaced),
        n_image_requests=sum(section.n_requests for section in plan.to_fetch),
        pixels=sum(section.n_pixels for section in plan.to_fetch),
        estimated_bytes=sum(section.estimated_bytes for section in plan.to_fetch),
    )
