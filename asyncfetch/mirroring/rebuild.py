"""Layers made from stored JPEGs, offline: what a mirror would have written had it been asked for them at once.

A section is made again in two steps, so that it can be killed at any moment: its commit first ceases to vouch for the
layers that change, then they are written, and the new commit takes the place of the old. Its JPEG is never touched.
"""

from __future__ import annotations

import hashlib
import time
from contextlib import asynccontextmanager
from itertools import groupby
from typing import TYPE_CHECKING, Any, get_args

import anyio
import msgspec

from asyncfetch.client import Jpeg
from asyncfetch.engine import ByteBudget, Ticket
from asyncfetch.errors import (
    AsyncFetchError,
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
    RunStarted,
    SectionCommitted,
    SectionFailed,
    SectionSkipped,
    ignore,
)
from asyncfetch.imaging import Pool, read_header
from asyncfetch.mirroring.plan import interpolation_of, is_numeric, plan_view, tier_of, view_layout
from asyncfetch.mirroring.report import Failure, Report, first_error
from asyncfetch.mirroring.stages import write_layers
from asyncfetch.mirroring.turns import open_writer, teller
from asyncfetch.settings import Layer, Settings, View
from asyncfetch.store import open as open_store
from asyncfetch.text import counted

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection, Iterable, Iterator

    from asyncfetch.allen import SectionDataSet
    from asyncfetch.events import Event, Listener
    from asyncfetch.mirroring.plan import SectionPlan, ViewPlan
    from asyncfetch.store import Commit, Location, Store, StoredDataSet, StoreWriter

__all__ = ["rebuild"]

#: The order of layers in a commit.
_LAYERS: tuple[Layer, ...] = get_args(Layer)
_SOURCE: frozenset[Layer] = frozenset({"source"})
_REGISTERED: frozenset[Layer] = frozenset({"registered"})
#: Choices of a view that a later run takes over from what is stored, unless it is told otherwise.
_TAKEN_OVER = ("um", "codec", "interpolation", "parallel", "fill", "numeric_expression")


async def rebuild(
    location: Location,
    layers: Iterable[Layer] = ("registered",),
    *,
    data_set_ids: Collection[int] | None = None,
    image_ids: Collection[int] | None = None,
    on_event: Listener = ignore,
    drain: anyio.Event | None = None,
    wait: bool = False,
    **choices: Any,
) -> Report:
    """Make layers of a store from the JPEGs that it holds; nothing is fetched.

    What is stored as wanted stays as it is, so that an interrupted run is gone on with by the same call. Another pitch
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
    on_event : callable, optional
        Is called on the event loop with each event; must not block.
    drain : anyio.Event, optional
        Once set, the sections that are being made are finished, and the report says ``interrupted``.
    wait : bool
        Wait until a run that writes to the store has ended, instead of raising.
    **choices
        Fields of `Settings`: ``um``, ``codec``, ``interpolation``, ``parallel``, ``fill`` and ``numeric_expression``,
        which are by default as stored; ``workers`` and ``memory_bytes``.

    Returns
    -------
    Report
        What was done, and each section that failed with its cause. Where a JPEG is not what was committed, its commit
        ceases to vouch for it, so that a mirror of ``image:ID`` fetches it anew.

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
    chosen = {name: value for name, value in choices.items() if value is not None}
    settings = Settings.from_layers(chosen)
    started_s = time.monotonic()
    async with open_writer(location, "rebuild", wait=wait, drain=drain, on_wait=teller(on_event)) as writer:
        if writer is None:
            return Report(selection=(), location=str(location), interrupted=True)
        store = await anyio.to_thread.run_sync(open_store, location)
        report = Report(selection=(), location=store.location)
        ids = await anyio.to_thread.run_sync(_checked_ids, store, data_set_ids)

        def listen(event: Event) -> None:
            report.count(event)
            on_event(event)

        listen(RunStarted(selection=tuple(f"dataset:{each}" for each in ids), location=store.location))
        async with Pool(settings.workers) as pool:
            run = _Rebuild(
                pool, writer, settings.memory_bytes, report, listen, drain or anyio.Event(), image_ids
            )
            try:
                for data_set_id in ids:
                    await run.make_data_set(store.data_set(data_set_id), wanted, chosen)
            except* AsyncFetchError as group:
                raise first_error(group) from None
        report.notes.extend(merged_damage(store, writer))
    report.elapsed_s = time.monotonic() - started_s
    listen(report.as_event())
    return report


def merged_damage(store: Store, writer: StoreWriter) -> list[str]:
    """Return what reading and writing met of damage, each once."""
    return list(dict.fromkeys([*store.damage, *writer.damage]))


def _checked_layers(layers: Iterable[Layer]) -> tuple[Layer, ...]:
    wanted = tuple(layers)
    unknown = [layer for layer in wanted if layer not in _LAYERS or layer == "source"]
    if unknown or not wanted or len(set(wanted)) != len(wanted):
        raise SettingsError(
            f"layers = {','.join(wanted)} is not allowed: sections, registered or both can be made from source",
            setting="layers",
        )
    return wanted


def _checked_ids(store: Store, wanted: Collection[int] | None) -> tuple[int, ...]:
    ids = store.data_set_ids
    missing = sorted(set(wanted or ()) - set(ids))
    if missing:
        raise SelectionError(f"{store.location} holds no data set {', '.join(map(str, missing))}")
    return ids if wanted is None else tuple(each for each in ids if each in wanted)


class _Rebuild:
    """Hold what the tasks of one run share."""

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
        self._budget = ByteBudget(memory_bytes)
        self._admitted: dict[Ticket, anyio.Event] = {}

    async def make_data_set(
        self, data_set: StoredDataSet, layers: tuple[Layer, ...], chosen: dict[str, Any]
    ) -> None:
        self._report.n_data_sets += 1
        for view in await self._pool.run(lambda: data_set.views):
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
        plans = await self._pool.run(view.plan, self._writer)
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
        work = iter([(plan, each) for plan in plans for each in plan.to_fetch])
        async with anyio.create_task_group() as tasks:
            # one more than there are threads reads its JPEG meanwhile
            for _ in range(self._pool.n_threads + 1):
                tasks.start_soon(self._make_sections, view, work)
        if self._report.interrupted:
            return
        await self._pool.run(self._writer.finish_view, view.stored.id, view.view)
        self._listen(DataSetCompleted(data_set_id=view.stored.id))

    async def _make_sections(self, view: _ViewRun, work: Iterator[tuple[ViewPlan, SectionPlan]]) -> None:
        for plan, section in work:
            if self._drain.is_set():
                self._report.interrupted = True
                return
            image_id = section.section.id
            try:
                async with self._room(section.working_bytes):
                    commit = await self._make_section(view, plan, section)
            except (ImageError, SelectionError, StoreItemError) as error:
                self._fail(view, image_id, error)
            else:
                self._listen(
                    SectionCommitted(
                        data_set_id=view.stored.id,
                        image_id=image_id,
                        view=view.view,
                        size_bytes=commit.size_bytes,
                        pixels=section.n_pixels,
                    )
                )

    async def _make_section(self, view: _ViewRun, plan: ViewPlan, section: SectionPlan) -> Commit:
        stored = view.commits[section.section.id]
        try:
            jpeg = await self._pool.run(view.read_jpeg, stored)
            stale = view.stale(stored)
            rest = await self._pool.run(self._writer.disown, stored, stale) if stale else stored
            section = msgspec.structs.replace(section, stored=rest)
            return await write_layers(self._pool, self._writer, plan, section, jpeg, None, view.settings)
        except ImageError:
            # what is not what it was said to be has to be fetched again
            standing = await self._pool.run(view.commit_of, stored.image_id)
            if standing is not None:
                await self._pool.run(self._writer.disown, standing, _SOURCE)
            raise

    def _fail(self, view: _ViewRun, image_id: int, error: AsyncFetchError) -> None:
        self._report.failures.append(Failure.of(f"image:{image_id}", error, view.view))
        self._listen(
            SectionFailed(
                data_set_id=view.stored.id,
                image_id=image_id,
                view=view.view,
                error=type(error).__name__,
                cause=error.message,
            )
        )

    @asynccontextmanager
    async def _room(self, size_bytes: int) -> AsyncGenerator[None]:
        """Hold bytes of the memory budget for the length of a block."""
        ticket = self._budget.request(size_bytes)
        self._admitted[ticket] = anyio.Event()
        try:
            if not ticket.is_admitted:
                await self._admitted[ticket].wait()
            yield
        finally:
            del self._admitted[ticket]
            for each in self._budget.release(ticket):
                self._admitted[each].set()


def _commits_of(data_set: StoredDataSet) -> dict[int, Commit]:
    return {commit.image_id: commit for commit in data_set.sections}


class _ViewRun:
    """Say what is made of one view, from what is stored of it."""

    def __init__(
        self,
        stored: StoredDataSet,
        view: str,
        layers: tuple[Layer, ...],
        chosen: dict[str, Any],
        commits: dict[int, Commit],
        image_ids: Collection[int] | None = None,
    ) -> None:
        self._image_ids = image_ids
        self.stored = stored
        self.view: View = msgspec.convert(view, type=View)
        self.commits = commits
        self._wanted = layers
        self.settings = self._settings(chosen)

    def _settings(self, chosen: dict[str, Any]) -> Settings:
        """Return the settings as chosen, else as stored, else the defaults."""
        taken: dict[str, Any] = {}
        for record in (*self.commits.values(), self.stored.registered_layout):
            if record is not None:
                found = {name: getattr(record, name) for name in _TAKEN_OVER}
                taken |= {name: value for name, value in found.items() if value is not None}
        if self.view == "expression":
            # a mask of colours is nearest whatever was chosen, which is no choice for one of levels
            taken.pop("interpolation", None)
        layers = self._layers_with(layer for commit in self.commits.values() for layer in commit.layers)
        return Settings.from_layers(chosen, {"layers": layers}, taken)

    def _layers_with(self, stored: Iterable[Layer]) -> tuple[Layer, ...]:
        """Return the layers wanted and those stored, in the order in which a commit names them."""
        both = {*self._wanted, *stored}
        return tuple(layer for layer in _LAYERS if layer in both)

    def plan(self, writer: StoreWriter) -> list[ViewPlan]:
        """Make room for the layers, and return what there is to do, a plan for each tier and set of layers.

        Raises
        ------
        SettingsError
            Planes would be lost that cannot be made again.
        """
        data_set = self.stored.section_data_set
        layout = view_layout(data_set, self.view, self.settings)
        before = self.stored.registered_layout
        if (
            before is not None
            and layout.registered is not None
            and not before.is_same_grid(layout.registered)
        ):
            self._check_nothing_is_lost()
            for image_id, commit in self.commits.items():
                if "registered" in commit.layers:
                    rest = writer.disown(commit, _REGISTERED)
                    assert rest is not None, "it vouches for source"
                    self.commits[image_id] = rest
            writer.drop_registered(data_set.id, self.view)
        layout = writer.begin_view(layout)
        if before is None:
            # planes whose layout was lost have lost their claims, unless they were adopted
            self.commits = _commits_of(self.stored)
        slots = layout.registered.z_by_image if layout.registered else {}
        return [self._plan_group(data_set, slots, *group) for group in self._groups()]

    def _groups(self) -> Iterator[tuple[int, tuple[Layer, ...], list[Commit]]]:
        def key(commit: Commit) -> tuple[int, tuple[Layer, ...]]:
            return commit.downsample, self._layers_with(commit.layers)

        chosen = [
            each
            for each in self.commits.values()
            if self._image_ids is None or each.image_id in self._image_ids
        ]
        for (downsample, layers), commits in groupby(sorted(chosen, key=key), key=key):
            yield downsample, layers, list(commits)

    def _plan_group(
        self,
        data_set: SectionDataSet,
        slots: dict[int, int],
        downsample: int,
        layers: tuple[Layer, ...],
        commits: list[Commit],
    ) -> ViewPlan:
        # the JPEG is there, whatever it was fetched for
        settings = self.settings.replace(downsample=downsample, layers=layers, fetch="images")
        rest = {commit.image_id: self._without_stale(commit) for commit in commits}
        plan = plan_view(data_set, self.view, settings, rest, slots, rest.keys())
        in_order = [
            msgspec.structs.replace(each, layers=tuple(layer for layer in _LAYERS if layer in each.layers))
            for each in plan.to_fetch
        ]
        return msgspec.structs.replace(plan, to_fetch=tuple(in_order))

    def _without_stale(self, commit: Commit) -> Commit:
        stale = self.stale(commit)
        layers = tuple(layer for layer in commit.layers if layer not in stale)
        return msgspec.structs.replace(commit, layers=layers, um=None if "registered" in stale else commit.um)

    def stale(self, commit: Commit) -> set[Layer]:
        """Return the layers of a commit that were made otherwise than they are wanted now."""
        settings = self.settings
        stale: set[Layer] = set()
        if (commit.codec, commit.numeric_expression) != (settings.codec, is_numeric(self.view, settings)):
            stale |= {"sections", "registered"}
        how = (interpolation_of(self.view, settings), settings.parallel, settings.fill)
        if (commit.interpolation, commit.parallel, commit.fill) != how:
            stale.add("registered")
        return stale & set(commit.layers)

    def _check_nothing_is_lost(self) -> None:
        lost = [
            commit.image_id
            for commit in self.commits.values()
            if "registered" in commit.layers and "source" not in commit.layers
        ]
        if lost:
            raise SettingsError(
                f"data set {self.stored.id}, view {self.view}, cannot be registered otherwise: {len(lost)} of its "
                f"sections, such as image:{lost[0]}, are stored without their JPEG, so that their planes would be "
                "lost; mirror them with the layer source first",
                setting="um",
            )

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
            data = self.stored.section(commit.image_id).jpeg
        except StoreItemError:
            data = b""
        if hashlib.sha256(data).hexdigest() != commit.sha256:
            what = "is not the one that was committed" if data else "is missing"
            view = "" if self.view == "image" else f" --view {self.view}"
            raise CorruptImageError(
                f"the stored JPEG of image {commit.image_id} {what}; fetch it anew with: "
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

    def notes(self, plans: Iterable[ViewPlan]) -> Iterator[str]:
        """Yield what is worth knowing though nothing failed."""
        free = self.settings.replace(downsample=None)
        n_coarse = sum(
            each.z is not None and tier_of(each.section, free) < each.downsample
            for plan in plans
            for each in plan.to_fetch
        )
        if n_coarse:
            yield (
                f"data set {self.stored.id}, view {self.view}: {counted(n_coarse, 'section is', 'sections are')} "
                f"stored coarser than {free.um} µm call for; planes of them are less sharp than those of a mirror "
                "at that pitch"
            )
