"""Layers made from stored JPEGs, offline: what a mirror would have written had it been asked for them at once.

A section is made again in two steps, so that it can be killed at any moment: its commit first ceases to vouch for the
layers that change, then they are written, and the new commit takes the place of the old. Its JPEG is never touched.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, ClassVar, Unpack

import anyio
import msgspec

from asyncfetch.client import Jpeg
from asyncfetch.deprecation import once_positional
from asyncfetch.engine.groups import failing_alone
from asyncfetch.errors import (
    AsyncFetchError,
    ClusterError,
    CorruptImageError,
    ImageError,
    ImageSizeError,
    SelectionError,
    SettingsError,
    StoreItemError,
)
from asyncfetch.events import (
    DataSetCompleted,
    DataSetPlanned,
    SectionSkipped,
    ignore,
)
from asyncfetch.failures import Failure
from asyncfetch.imaging import Pool, read_header
from asyncfetch.mirroring.crew import Cluster, Duty, Here, work_off
from asyncfetch.mirroring.ending import ending_at
from asyncfetch.mirroring.fetching import write_layers
from asyncfetch.mirroring.outcomes import SectionOutcomes
from asyncfetch.mirroring.packing import pack_again
from asyncfetch.mirroring.report import Report, ReportPart
from asyncfetch.mirroring.runner import Runner, costs_one_item, reported
from asyncfetch.mirroring.turns import open_writer, teller
from asyncfetch.options import RebuildOptions, refuse_other_content, settings_of
from asyncfetch.planning import stale_layers, view_layout
from asyncfetch.planning.rebuilding import (
    LAYERS,
    StoredView,
    as_stored,
    has_to_be_laid_out_again,
    plan_rebuild,
    sharpness_notes,
)
from asyncfetch.settings import Layer, Settings, View
from asyncfetch.store import open as open_store

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from asyncfetch.events import Listener
    from asyncfetch.limits import Limits
    from asyncfetch.mirroring.flights import Flight
    from asyncfetch.planning import SectionPlan, ViewPlan
    from asyncfetch.store import Commit, Location, Store, StoredDataSet, StoreWriter, ViewWriter

__all__ = ["RebuildJob", "rebuild"]

_SOURCE: frozenset[Layer] = frozenset({"source"})
_REGISTERED: frozenset[Layer] = frozenset({"registered"})


@once_positional("layers")
async def rebuild(
    location: Location,
    *,
    layers: Iterable[Layer] = ("registered",),
    data_set_ids: Collection[int] | None = None,
    image_ids: Collection[int] | None = None,
    settings: Settings | None = None,
    on_event: Listener = ignore,
    drain: anyio.Event | None = None,
    limits: Limits | None = None,
    wait: bool = False,
    cluster: Cluster | None = None,
    **options: Unpack[RebuildOptions],
) -> Report:
    """Make layers of a store from the JPEGs that it holds; nothing is fetched.

    What is stored as wanted stays as it is, so that an interrupted run continues with the same call. Another pitch
    or another codec takes the place of the one before.

    Parameters
    ----------
    location : str, Path or zarr Store
        A store that holds the layer ``source``.
    layers : iterable of str
        ``sections``, ``registered`` or both.
    data_set_ids : collection of int, optional
        Only these data sets.
    image_ids : collection of int, optional
        Only these sections; the registered images of all are still laid out for all of them.
    settings : Settings, optional
        How much of the machine is used: ``workers`` and ``memory_bytes``. What is made is taken from the options alone.
    on_event : callable, optional
        Is called on the event loop with each event; must not block.
    drain : anyio.Event, optional
        Once set, the sections that are being made are finished, and the report says ``interrupted``.
    limits : Limits, optional
        How much time it may take; nothing is received, so that ``max_bytes`` is never reached.
    wait : bool
        Wait until a run that writes to the store has ended, instead of raising.
    cluster : Cluster, optional
        Machines that make whole data sets instead of this process; see `asyncfetch.cluster.DaskCluster`.
    **options
        Single settings: ``um``, ``codec``, ``interpolation``, ``parallel``, ``fill`` and ``numeric_expression``, which
        are by default as stored; ``workers`` and ``memory_bytes``.

    Returns
    -------
    Report
        What was done, and each section that failed with its cause. Where a JPEG is not what was committed, its commit
        ceases to vouch for it, so that a mirror of ``image:ID`` fetches it again.

    Raises
    ------
    SelectionError, SettingsError
        What was asked for is malformed or cannot be made from what is stored.
    StoreBusyError
        Another run is writing to the store.
    StoreError
        The store cannot be read or written.
    """
    wanted = _checked_layers(layers)
    refuse_other_content(options, RebuildOptions, "rebuild", "it stays as it is stored")
    chosen = {name: value for name, value in options.items() if value is not None}
    Settings.from_layers(chosen)
    machine = settings_of(settings, chosen)
    async with (
        ending_at(limits, drain, on_event) as ending,
        open_writer(
            location, "rebuild", wait=wait, drain=ending.drain, on_wait=teller(on_event), sync=machine.sync
        ) as writer,
    ):
        if writer is None:
            return ending.sign(Report(selection=(), location=str(location), interrupted=True))
        ending.show_in(writer)
        store = await anyio.to_thread.run_sync(open_store, location)
        ids = await anyio.to_thread.run_sync(_checked_ids, store, data_set_ids)
        report = Report(selection=tuple(f"dataset:{each}" for each in ids), location=store.location)
        jobs = [
            RebuildJob(data_set_id=each, layers=wanted, chosen=chosen, image_ids=_as_tuple(image_ids))
            for each in ids
        ]
        with reported(report, ending.listen) as listen:
            if cluster is None:
                async with Pool(machine.workers) as pool:
                    for job in jobs:
                        await job.do_with(
                            store, writer, pool, machine.memory_bytes, report, listen, ending.drain
                        )
            else:
                duty = Duty(
                    verb="rebuild",
                    location=store.location,
                    token=writer.token,
                    settings=machine,
                    n_jobs=len(jobs),
                )
                await anyio.to_thread.run_sync(writer.packing.lend, ids)
                await _do_elsewhere(cluster, duty, jobs, report, listen, ending.drain)
                await anyio.to_thread.run_sync(writer.packing.take_back, ids)
            if machine.pack is not False:
                report.notes += await pack_again(writer, listen, ending.drain)
            report.notes.extend(merged_damage(store, writer))
    return ending.sign(report)


async def _do_elsewhere(
    cluster: Cluster,
    duty: Duty,
    jobs: list[RebuildJob],
    report: Report,
    listen: Listener,
    drain: anyio.Event,
) -> None:
    parts: dict[int, ReportPart] = {}

    def lost(number: int, error: ClusterError) -> None:
        failure = Failure.of(f"dataset:{jobs[number].data_set_id}", error)
        parts[number] = ReportPart(n_data_sets=1, failures=[failure])

    with failing_alone():
        async with cluster.open_crew(duty, listen, drain) as crew:
            is_whole = await work_off(crew, jobs, parts.__setitem__, drain, lost)
    # in the order of the data sets, whoever was first
    for number in sorted(parts):
        report.add(parts[number])
    report.interrupted |= not is_whole


def _as_tuple(ids: Collection[int] | None) -> tuple[int, ...] | None:
    return None if ids is None else tuple(ids)


def merged_damage(store: Store, writer: StoreWriter) -> list[str]:
    """Return what reading and writing met of damage, each once."""
    return list(dict.fromkeys([*store.damage, *writer.damage]))


def _checked_layers(layers: Iterable[Layer]) -> tuple[Layer, ...]:
    wanted = tuple(layers)
    unknown = [layer for layer in wanted if layer not in LAYERS or layer == "source"]
    if unknown or not wanted or len(set(wanted)) != len(wanted):
        raise SettingsError(
            f"layers = {','.join(wanted)} is not allowed: sections, registered or both can be made from source",
            setting="layers",
        )
    return wanted


def _checked_ids(store: Store, wanted: Collection[int] | None) -> tuple[int, ...]:
    ids = store.read_data_set_ids()
    missing = sorted(set(wanted or ()) - set(ids))
    if missing:
        raise SelectionError(f"{store.location} holds no data set {', '.join(map(str, missing))}")
    return ids if wanted is None else tuple(each for each in ids if each in wanted)


class RebuildJob(msgspec.Struct, frozen=True, kw_only=True):
    """The layers of one data set that are to be made; attributes as the parameters of `rebuild`."""

    verb: ClassVar[str] = "rebuild"

    data_set_id: int
    layers: tuple[Layer, ...]
    chosen: dict[str, Any]
    image_ids: tuple[int, ...] | None = None

    async def do(self, here: Here) -> ReportPart:
        """Make them where this is, and return what events do not tell."""
        store = await anyio.to_thread.run_sync(open_store, here.location)
        writer = here.writer
        assert writer is not None, "a rebuild writes"
        report = Report(selection=(f"dataset:{self.data_set_id}",), location=here.location)
        async with Pool(here.n_threads) as pool:
            await self.do_with(store, writer, pool, here.memory_bytes, report, here.listen, here.drain)
        report.notes.extend(merged_damage(store, writer))
        return report.part()

    async def do_with(
        self,
        store: Store,
        writer: StoreWriter,
        pool: Pool,
        memory_bytes: int,
        report: Report,
        listen: Listener,
        drain: anyio.Event,
    ) -> None:
        """Make them in an open store, on the threads of a pool."""
        run = _Rebuild(pool, writer, memory_bytes, report, listen, drain, self.image_ids)
        try:
            await run.make_data_set(store.data_set(self.data_set_id), self.layers, self.chosen)
        except StoreItemError as error:
            report.failures.append(Failure.of(f"dataset:{self.data_set_id}", error))


class _Rebuild:
    """One rebuild of a data set: what its tasks share."""

    def __init__(
        self,
        pool: Pool,
        writer: StoreWriter,
        memory_bytes: int,
        report: Report,
        listen: Listener,
        drain: anyio.Event,
        image_ids: Collection[int] | None,
    ) -> None:
        self._image_ids = image_ids
        self._pool = pool
        self._writer = writer
        self._report = report
        self._listen = listen
        self._drain = drain
        self._memory_bytes = memory_bytes

    async def make_data_set(
        self, data_set: StoredDataSet, layers: tuple[Layer, ...], chosen: dict[str, Any]
    ) -> None:
        self._report.n_data_sets += 1
        for view in await self._pool.run(data_set.read_views):
            seen = data_set.in_view(view)
            commits = await self._pool.run(_commits_of, seen)
            if not commits:
                continue
            if self._drain.is_set():
                self._report.interrupted = True
                return
            view_run = _ViewRun(seen, view, layers, chosen, commits, self._image_ids)
            await self._make_view(view_run)

    async def _make_view(self, view: _ViewRun) -> None:
        plans = await self._pool.run(view.begin, self._writer)
        n_to_make = sum(len(plan.to_fetch) for plan in plans)
        self._listen(
            DataSetPlanned(
                data_set_id=view.stored.id,
                view=view.view,
                n_sections=len(view.commits),
                n_to_fetch=n_to_make,
                n_committed=len(view.commits) - n_to_make,
                estimated_pixels=sum(each.n_pixels for plan in plans for each in plan.to_fetch),
            )
        )
        for plan in plans:
            for image_id in plan.committed:
                self._listen(SectionSkipped(data_set_id=view.stored.id, image_id=image_id, view=view.view))
            self._report.unplaced.extend(
                Failure.of(f"image:{section.id}", error, view.view) for section, error in plan.unplaced
            )
        self._report.notes.extend(view.notes(plans))
        work = _ViewWork(self._pool, view, SectionOutcomes(self._report, self._listen))
        runner = Runner["SectionPlan", "Commit"](
            work,
            work.make,
            # one more than there are threads reads its JPEG meanwhile
            n_workers=self._pool.n_threads + 1,
            drain=self._drain,
            budget_bytes=self._memory_bytes,
        )
        await runner.run([each for plan in plans for each in plan.to_fetch])
        self._report.interrupted |= runner.is_interrupted
        if self._report.interrupted:
            return
        await self._pool.run(view.writer.finish)
        self._listen(DataSetCompleted(data_set_id=view.stored.id))


class _ViewWork:
    """The sections of one view, made from their JPEGs."""

    def __init__(self, pool: Pool, view: _ViewRun, outcomes: SectionOutcomes) -> None:
        self._pool = pool
        self._view = view
        self._outcomes = outcomes

    async def make(self, section: SectionPlan, _flight: object) -> Commit:
        """Make the layers of a section, and commit it."""
        view = self._view
        stored = view.commits[section.section.id]
        try:
            jpeg = await self._pool.run(view.read_jpeg, stored)
            stale = view.stale(stored)
            if stale:
                await self._pool.run(view.writer.disown, stored, stale)
            return await write_layers(self._pool, view.writer, section, jpeg)
        except ImageError:
            # what is not what it was said to be has to be fetched again
            standing = await self._pool.run(view.commit_of, stored.image_id)
            if standing is not None:
                await self._pool.run(view.writer.disown, standing, _SOURCE)
            raise

    def bytes_of(self, item: SectionPlan) -> int:
        """Return what a section takes while it is made."""
        return item.working_bytes

    def done(self, item: SectionPlan, result: Commit, flight: Flight) -> None:
        """Tell of a section that is made."""
        self._outcomes.committed(item, result, flight)

    def failed(self, item: SectionPlan, error: AsyncFetchError) -> bool:
        """Take an error as the section's own, unless the store cannot be written."""
        if costs_one_item(error):
            self._outcomes.failed(f"image:{item.section.id}", item, error)
            return True
        return False

    async def ended(self, item: SectionPlan) -> None:
        """Do nothing: a view ends with its items."""


def _commits_of(data_set: StoredDataSet) -> dict[int, Commit]:
    return {commit.image_id: commit for commit in data_set.read_commits()}


class _ViewRun:
    """What is made of one view, from what is stored of it.

    Attributes
    ----------
    writer : ViewWriter
        Where it is written, once it is begun.
    """

    writer: ViewWriter

    def __init__(
        self,
        stored: StoredDataSet,
        view: str,
        layers: tuple[Layer, ...],
        chosen: dict[str, Any],
        commits: dict[int, Commit],
        image_ids: Collection[int] | None = None,
    ) -> None:
        self.stored = stored
        self.view: View = msgspec.convert(view, type=View)
        self.commits = commits
        self._image_ids = image_ids
        self._wanted = layers
        self._before = stored.read_registered_layout()
        self._data_set = stored.read_section_data_set()
        self.settings = as_stored(self._there, layers, chosen)
        self._layout = view_layout(self._data_set, self.view, self.settings)

    @property
    def _there(self) -> StoredView:
        return StoredView(
            data_set=self._data_set, view=self.view, commits=self.commits, registered=self._before
        )

    def begin(self, writer: StoreWriter) -> list[ViewPlan]:
        """Make room for the layers, and return what there is to do, a plan for each tier and set of layers.

        Raises
        ------
        SettingsError
            Planes would be lost that cannot be made again.
        """
        if has_to_be_laid_out_again(self._there, self._layout.registered):
            there = writer.view(self._data_set.id, self.view)
            for image_id, commit in self.commits.items():
                if "registered" in commit.layers:
                    rest = there.disown(commit, _REGISTERED)
                    assert rest is not None, "it vouches for source"
                    self.commits[image_id] = rest
            there.drop_registered()
        self.writer = writer.open_view(self._layout)
        if self._before is None:
            # planes whose layout was lost have lost their claims, unless they were adopted
            self.commits = _commits_of(self.stored)
        slots = self.writer.slots if self._layout.registered else {}
        return plan_rebuild(self._there, self.settings, self._wanted, slots, self._image_ids)

    def stale(self, commit: Commit) -> set[Layer]:
        """Return the layers of a commit that were made otherwise than they are wanted now."""
        return stale_layers(commit, self._layout.recipe)

    def notes(self, plans: list[ViewPlan]) -> Iterator[str]:
        """Yield what is worth knowing though nothing failed."""
        return sharpness_notes(self._there, self.settings, plans)

    def read_jpeg(self, commit: Commit) -> Jpeg:
        """Return the stored JPEG of a section.

        Raises
        ------
        SelectionError
            The section was stored without it.
        CorruptImageError
            It is missing, or not the one that was committed.
        """
        try:
            data = self.stored.section(commit.image_id).read_jpeg()
        except StoreItemError:
            data = b""
        if hashlib.sha256(data).hexdigest() != commit.sha256:
            what = "is not the one that was committed" if data else "is missing"
            view = "" if self.view == "image" else f" --view {self.view}"
            raise CorruptImageError(
                f"the stored JPEG of image {commit.image_id} {what}; fetch it again with: "
                f"asyncfetch mirror image:{commit.image_id}{view}"
            )
        header = read_header(data)
        if header.shape != commit.shape:
            raise ImageSizeError(
                f"the stored JPEG of image {commit.image_id} is {header.height} x {header.width} pixels high and wide, "
                f"not {commit.shape[0]} x {commit.shape[1]} as its commit says",
                expected=commit.shape,
                actual=header.shape,
            )
        return Jpeg(data=data, shape=commit.shape, n_components=header.n_components, url=commit.url)

    def commit_of(self, image_id: int) -> Commit | None:
        """Return the commit of a section as it is now."""
        try:
            return self.stored.section(image_id).commit
        except SelectionError:
            return None
