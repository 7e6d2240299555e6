"""A run: metadata stream in, sections stream out, all under one task group; failures of items are data."""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Unpack

import anyio
import anyio.lowlevel
import msgspec

from asyncfetch.address import credentials_of
from asyncfetch.catalogue import CatalogueChooser
from asyncfetch.client import Client
from asyncfetch.client.resolved import (
    Resolved,
    ResolvedAtlas,
    ResolvedDataSet,
    ResolvedSelection,
    ResolvingNote,
)
from asyncfetch.client.resolving import resolve_selections
from asyncfetch.engine import sharing
from asyncfetch.engine.groups import failing_alone
from asyncfetch.errors import (
    AsyncFetchError,
    ClusterError,
    NotFoundError,
    OutageError,
    SelectionError,
    SettingsError,
    StoreError,
    StoreItemError,
)
from asyncfetch.events import (
    DataSetCompleted,
    DataSetPlanned,
    RunPlanned,
    SectionSkipped,
    ignore,
)
from asyncfetch.failures import Failure
from asyncfetch.mirroring.catalogue import complete_catalogue
from asyncfetch.mirroring.choices import Choices
from asyncfetch.mirroring.crew import Cluster, Crew, Duty, Here
from asyncfetch.mirroring.ending import ending_at
from asyncfetch.mirroring.fetching import mirror_section
from asyncfetch.mirroring.finishing import Finishing
from asyncfetch.mirroring.outcomes import SectionOutcomes
from asyncfetch.mirroring.refreshing import Refresh, drop_planes, find_gone, follow_upstream, lies_otherwise
from asyncfetch.mirroring.report import Report, ReportPart
from asyncfetch.mirroring.runner import Runner, costs_one_item, reported
from asyncfetch.mirroring.runs import begin_run, continue_run, read_lock, records_of
from asyncfetch.mirroring.sizes import SizeLog
from asyncfetch.mirroring.structures import find_region
from asyncfetch.mirroring.turns import open_writer, teller
from asyncfetch.mirroring.unfinished import OpenView, Unfinished
from asyncfetch.options import RequestOptions, refuse_other_content, settings_of
from asyncfetch.planning import plan_view, view_layout
from asyncfetch.planning.region_of_space import RegionOfSpace  # noqa: TC001 - msgspec reads annotations
from asyncfetch.selecting import Filters, Selection, parse_selection
from asyncfetch.settings import Settings
from asyncfetch.store import AtlasRecord, prepare_documents
from asyncfetch.text import counted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from anyio.abc import TaskGroup
    from anyio.streams.memory import MemoryObjectSendStream

    from asyncfetch.allen import SectionDataSet
    from asyncfetch.catalogue import CatalogueFile
    from asyncfetch.engine import Companion, Pause, Transport
    from asyncfetch.events import Event, Listener
    from asyncfetch.limits import Limits
    from asyncfetch.mirroring.flights import Flight
    from asyncfetch.mirroring.runner import Executor
    from asyncfetch.options import MirrorOptions
    from asyncfetch.planning import SectionPlan, ViewPlan
    from asyncfetch.runs import UnfinishedRun
    from asyncfetch.selecting.lock import Lock
    from asyncfetch.settings import View
    from asyncfetch.store import Commit, Location, StoreWriter

__all__ = ["mirror", "resume"]

#: Data sets that are found out while an earlier one is planned.
_LOOK_AHEAD = 1

#: How long a drained run waits for the sections in flight.
_DRAIN_S = 8.0
#: The same in processes elsewhere, whose reports have to be here by then.
_DRAIN_ELSEWHERE_S = 6.0

#: Selections that say by themselves what they are.
_OWN_IDS = {"dataset", "image", "atlas"}

#: Notes on one view of a data set, at most.
_MAX_REMARKS = 4


async def mirror(
    selection: str | Iterable[str],
    location: Location,
    *,
    settings: Settings | None = None,
    on_event: Listener = ignore,
    drain: anyio.Event | None = None,
    limits: Limits | None = None,
    pause: Pause | None = None,
    transport: Transport | None = None,
    executor: Executor[SectionPlan, Commit] | None = None,
    wait: bool = False,
    filters: Filters | None = None,
    catalogue: CatalogueFile | None = None,
    lock: Lock | None = None,
    refresh: bool = False,
    cluster: Cluster | None = None,
    **options: Unpack[MirrorOptions],
) -> Report:
    """Mirror data sets, whole products, atlases or single section images into a store.

    What the store holds already, as its commits say, is not fetched again, so calling this twice costs the
    metadata alone, and a run that was killed continues where it was.

    Parameters
    ----------
    selection : str or iterable of str
        Items such as ``dataset:69289763``, ``image:69177634``, ``gene:Pvalb``, ``product:1`` or ``atlas:1``.
    location : str, Path or zarr Store
        Where the store lies; it is made if there is nothing.
    settings : Settings, optional
        What is fetched, how fast and what is stored; options change single ones.
    on_event : callable, optional
        Is called on the event loop with each event; must not block.
    drain : anyio.Event, optional
        Once set, the run comes to its end soon: sections whose request has been sent are finished, for eight
        seconds at most; whatever waits, be it for the rate, for memory or for another attempt, is left to
        `resume`, and the report says ``interrupted``.
    limits : Limits, optional
        How many bytes or how much time the run may take; the first limit that is reached drains it, and the report
        names it as ``ended_by``.
    pause : Pause, optional
        A switch that may be turned on and off while the run works: nothing new is sent while it is on, and what is on
        its way comes to its end. Machines of a cluster do not heed it.
    transport : Transport, optional
        What moves the bytes instead of HTTP.
    executor : callable, optional
        What brings a section into the store instead of this process: an async function of its plan, which pickles, and
        of a companion that is told when it is under way; it returns the commit.
    wait : bool
        Wait until a run that writes to the store has ended, instead of raising.
    filters : Filters, optional
        Which of the data sets and sections of the selection are meant.
    catalogue : CatalogueFile, optional
        Where data sets are chosen from instead of the API.
    lock : Lock, optional
        What the selection was once, such as `Report.lock` of another run: just these images are fetched, and
        `selection` and `filters` are those of then.
    refresh : bool
        Follow the API where it says something else of a stored section now: fetch it again where it is another image,
        make its plane again where it lies elsewhere. The report tells what is new, changed and gone. Without, such
        sections stay as they are stored, and a note names them.
    cluster : Cluster, optional
        Machines that mirror whole data sets, under one rate and one window; see `asyncfetch.cluster.DaskCluster`. This
        process asks for metadata and writes the report.
    **options
        Single settings, such as ``um=10``; see `Settings`.

    Returns
    -------
    Report
        What was done, and each item that failed with its cause.

    Raises
    ------
    SelectionError, SettingsError
        What was asked for is malformed, or contradicts all that the store holds of it. A data set that contradicts
        the store on its own is a failure of the report.
    StoreBusyError
        Another run is writing to the store.
    StoreError
        The store cannot be written; what was committed stays.
    """
    chosen = settings_of(settings, options)
    selections = parse_selection(selection if lock is None else lock.selection)
    filters = (filters if lock is None else lock.filters) or Filters()
    command = f"mirror {' '.join(map(str, selections))} {filters}".rstrip()
    async with (
        ending_at(limits, drain, on_event, pause) as ending,
        open_writer(
            location,
            command,
            create=True,
            wait=wait,
            drain=ending.drain,
            on_wait=teller(on_event),
            sync=chosen.sync,
        ) as writer,
    ):
        if writer is None:
            names = tuple(map(str, selections))
            return ending.sign(Report(selection=names, location=str(location), interrupted=True))
        if chosen.pack:
            await anyio.to_thread.run_sync(writer.packing.check_place)
        if chosen.ngff is not None:
            await anyio.to_thread.run_sync(writer.choose_ngff, chosen.ngff)
        if lock is not None:
            # before the run is noted, which names it
            await anyio.to_thread.run_sync(writer.write_selection, lock.key, msgspec.to_builtins(lock))
        ending.show_in(writer)
        record = await anyio.to_thread.run_sync(begin_run, writer, selections, chosen, filters, lock)
        try:
            report = await _run(
                selections,
                writer,
                chosen,
                ending.listen,
                ending.drain,
                transport,
                executor,
                filters,
                catalogue,
                Refresh() if refresh else None,
                lock,
                cluster,
                pause,
            )
        except (SettingsError, SelectionError):
            # what contradicts the store or does not exist never succeeds, so there is nothing that could be resumed
            await anyio.to_thread.run_sync(writer.end_run, record)
            raise
        if _is_at_its_end(report):
            await anyio.to_thread.run_sync(writer.end_run, record)
    return ending.sign(report)


async def resume(
    location: Location,
    *,
    settings: Settings | None = None,
    on_event: Listener = ignore,
    drain: anyio.Event | None = None,
    limits: Limits | None = None,
    pause: Pause | None = None,
    transport: Transport | None = None,
    wait: bool = False,
    cluster: Cluster | None = None,
    **options: Unpack[RequestOptions],
) -> Report:
    """Go on with the runs of a store that did not come to their end.

    A run that contradicts the store, or cannot be read, is a failure of the report, and the others continue.

    Parameters
    ----------
    location : str, Path or zarr Store
        The store.
    settings : Settings, optional
        How fast to continue; options change single ones. What is fetched and stored is taken from the runs themselves.
    on_event, drain, transport, wait, cluster
        As for `mirror`.
    limits : Limits, optional
        As for `mirror`; they hold for all runs together.
    pause : Pause, optional
        As for `mirror`.
    **options
        Settings of how fast to ask, and where, such as ``jobs=4``. A run that asked another address than the default
        is continued only where ``base_url`` names one, here or in `settings`: a store that comes from elsewhere must
        not choose whom to ask.

    Returns
    -------
    Report
        Of all runs together; empty when every run had come to its end.

    Raises
    ------
    SettingsError
        An option is not one of how fast to ask, or its value is not allowed.
    StoreBusyError
        Another run is writing to the store.
    StoreError
        There is no store, or it cannot be written.
    """
    refuse_other_content(options, RequestOptions, "resume", "a run is continued with what it was asked for")
    speed = settings_of(settings, options)
    base_url = options.get("base_url")
    if base_url is None and (speed.base_url != Settings().base_url or credentials_of(speed.base_url)):
        base_url = speed.base_url
    async with (
        ending_at(limits, drain, on_event, pause) as ending,
        open_writer(
            location, "resume", wait=wait, drain=ending.drain, on_wait=teller(on_event), sync=speed.sync
        ) as writer,
    ):
        if writer is None:
            return ending.sign(Report(selection=(), location=str(location), interrupted=True))
        ending.show_in(writer)
        total = Report(selection=(), location=writer.location)
        for raw, run in await anyio.to_thread.run_sync(records_of, writer):
            try:
                chosen = run.settings_with(speed, base_url)
                selections, filters = run.selections, run.filters
                lock = await anyio.to_thread.run_sync(read_lock, writer, raw)
                record = await anyio.to_thread.run_sync(continue_run, writer, raw)
                report = await _run(
                    selections,
                    writer,
                    chosen,
                    ending.listen,
                    ending.drain,
                    transport,
                    filters=filters,
                    lock=lock,
                    cluster=cluster,
                    pause=pause,
                )
            except (SettingsError, SelectionError) as error:
                total.failures.append(_failure_of(run, error, writer.location))
                continue
            if _is_at_its_end(report):
                await anyio.to_thread.run_sync(writer.end_run, record)
            total = total.plus(report)
            if report.interrupted or report.is_cut_short:
                break
    return ending.sign(total)


def _failure_of(run: UnfinishedRun, error: AsyncFetchError, location: str) -> Failure:
    """Describe why a run could not be continued, and what to type."""
    if isinstance(error, SettingsError) and error.setting == "base_url" and run.address:
        go_on = f"asyncfetch resume {location} --base-url {run.address}"
    else:
        go_on = f"asyncfetch runs {location} --dismiss {run.number}"
    failure = Failure.of(" ".join(run.selection) or f"run {run.number}", error)
    return msgspec.structs.replace(failure, message=f"{failure.message}; continue with: {go_on}")


def _is_at_its_end(report: Report) -> bool:
    """Tell whether there is nothing left that `resume` could do: what the API does not know never comes."""
    final = {NotFoundError.__name__, SelectionError.__name__, SettingsError.__name__}
    return not report.interrupted and all(failure.error in final for failure in report.failures)


async def _run(
    selections: tuple[Selection, ...],
    writer: StoreWriter,
    settings: Settings,
    on_event: Listener,
    drain: anyio.Event | None,
    transport: Transport | None,
    executor: Executor[SectionPlan, Commit] | None = None,
    filters: Filters | None = None,
    catalogue: CatalogueFile | None = None,
    refresh: Refresh | None = None,
    lock: Lock | None = None,
    cluster: Cluster | None = None,
    pause: Pause | None = None,
) -> Report:
    report = Report(selection=tuple(map(str, selections)), location=writer.location, refresh=refresh)
    choices, ending = Choices(selections, lock), drain or anyio.Event()

    def tell(event: Event) -> None:
        choices(event)
        on_event(event)

    with reported(report, tell) as listen:
        async with AsyncExitStack() as stack:
            crew = None
            if cluster is not None:
                duty = _duty_of(writer, settings, transport)
                crew = await stack.enter_async_context(cluster.open_crew(duty, listen, ending))
            gate = None if crew is None else crew.gate
            client = await stack.enter_async_context(
                Client(settings=settings, on_event=listen, transport=transport, gate=gate, pause=pause)
            )
            run = _Run(client, writer, settings, report, listen, selections, ending, executor, crew)
            chooser = None if catalogue is None else CatalogueChooser(catalogue)
            with failing_alone():
                await run.go(_Source(client, selections, filters, chooser, lock, choices))
            run.raise_where_all_contradict()
        report.outcomes = choices.outcomes()
        report.notes.extend(each for each in writer.damage if each not in report.notes)
    return report


def _duty_of(writer: StoreWriter, settings: Settings, transport: Transport | None) -> Duty:
    if transport is not None:
        raise SettingsError(
            "transport stays in this process, and a cluster asks from many; leave one of them out",
            setting="transport",
        )
    return Duty(
        verb="mirror",
        location=writer.location,
        token=writer.token,
        # it is this process that packs, which holds the store
        settings=settings.replace(pack=False),
        asks=True,
    )


class _Item(NamedTuple):
    """A section on its way, and the view that it belongs to."""

    opened: OpenView
    section: SectionPlan


class _Run:
    """One run: what its tasks share. It is the `Work` of its runner, whose items are sections of open views."""

    def __init__(
        self,
        client: Client,
        writer: StoreWriter,
        settings: Settings,
        report: Report,
        listen: Listener,
        selections: Iterable[Selection],
        drain: anyio.Event,
        executor: Executor[SectionPlan, Commit] | None = None,
        crew: Crew | None = None,
        drain_s: float = _DRAIN_S,
    ) -> None:
        self._executor = executor
        self._crew = crew
        self._drain_s = drain_s
        self._client = client
        self._writer = writer
        self._settings = settings
        self._report = report
        self._listen = listen
        self._unfinished = Unfinished(selections)
        self._outcomes = SectionOutcomes(report, listen)
        self._drain = drain
        self._runner = Runner[_Item, "Commit"](
            self,
            self._bring,
            # as many as keep every connection and every thread busy; the gate and the pool decide the rest
            n_workers=settings.max_images_at_once + 2 * client.pool.n_threads,
            drain=drain,
        )
        self._outage: Failure | None = None
        self._contradictions: list[SettingsError] = []
        self._source: _Source | MirrorJob
        self._region: RegionOfSpace | None = None
        self._sizes = SizeLog()
        self._table_turn = anyio.Semaphore(1)
        self._finishing = Finishing(writer, settings.pack, report, listen, self._drain)
        self._planning = anyio.CancelScope()
        self._everything = anyio.CancelScope()

    async def go(self, source: _Source | MirrorJob) -> list[SettingsError]:
        """Plan and mirror at the same time: metadata of later data sets come while images of earlier ones do.

        Returns
        -------
        list of SettingsError
            What contradicts the store.
        """
        self._source = source
        async with anyio.create_task_group() as watch:
            watch.start_soon(self._end_soon)
            with self._everything:
                await self._plan_and_mirror()
                await self._finishing.end_all()
            watch.cancel_scope.cancel()
        self._report.notes.extend(self._sizes.notes())
        if self._outage is not None:
            self._report.failures.extend(self._unfinished.failures(self._outage))
        else:
            was_stopped = self._planning.cancelled_caught or self._everything.cancelled_caught
            self._report.interrupted |= was_stopped or self._runner.is_interrupted
        return self._contradictions

    def raise_where_all_contradict(self) -> None:
        """Raise what contradicts the store where nothing else was asked for: the request has to be changed."""
        settings = {error.setting for error in self._contradictions}
        n_all = len(self._contradictions)
        is_all = n_all == len(self._report.failures) == self._report.n_data_sets * len(self._settings.views)
        if is_all and len(settings) == 1 and settings <= set(Settings.__struct_fields__):
            raise self._contradictions[0]

    def _end_for_outage(self, cause: Failure) -> None:
        """Stop everything: whatever is asked next would wait for the server, too."""
        if self._outage is None:
            self._outage = cause
        self._everything.cancel()

    async def _end_soon(self) -> None:
        await self._drain.wait()
        self._planning.cancel()
        self._runner.drain()
        await anyio.sleep(self._drain_s)
        self._everything.cancel()

    async def _plan_and_mirror(self) -> None:
        send, receive = anyio.create_memory_object_stream[_Item](0)
        async with receive, anyio.create_task_group() as tasks:
            tasks.start_soon(self._plan_all, send, tasks)
            self._runner.start(tasks, receive)

    async def _plan_all(self, send: MemoryObjectSendStream[_Item], beside: TaskGroup) -> None:
        source = self._source
        async with send:
            with self._planning:
                try:
                    self._region = await source.find_region(self._settings)
                except OutageError as error:
                    self._end_for_outage(Failure.of(source.first, error))
                    await anyio.lowlevel.checkpoint()
                to_plan, found = anyio.create_memory_object_stream[Resolved](_LOOK_AHEAD)
                spaces: set[int] = set()
                ids: set[int] = set()
                async with found, anyio.create_task_group() as tasks:
                    tasks.start_soon(source.find, to_plan)
                    tasks.start_soon(self._prepare)
                    async for each in found:
                        if isinstance(each, ResolvedDataSet):
                            spaces.add(each.data_set.reference_space_id or 0)
                            ids.add(each.data_set.id)
                        source.note(each)
                        await self._take(each, send, beside)
                if self._crew is None:
                    self._unfinished.plan_all()
                    self._listen(RunPlanned(n_data_sets=self._report.n_data_sets))
                else:
                    self._unfinished.find_all()
                await source.keep(self._writer, self._settings, self._report)
                if self._report.refresh is not None:
                    await source.find_gone(self._writer, ids, self._report.refresh)
                self._report.notes.extend(await source.complete(self._writer, spaces - {0}))

    async def _take(
        self,
        found: Resolved,
        send: MemoryObjectSendStream[_Item],
        beside: TaskGroup,
    ) -> None:
        if isinstance(found, Failure):
            if found.error == OutageError.__name__:
                self._end_for_outage(found)
                return
            self._report.failures.append(found)
            self._unfinished.plan([found.item])
        elif isinstance(found, ResolvingNote):
            self._report.notes.append(found.text)
        elif isinstance(found, ResolvedSelection):
            self._unfinished.plan([str(found.selection)])
        elif isinstance(found, ResolvedAtlas):
            atlas = AtlasRecord(record=found.record, data_set_ids=found.data_set_ids)
            try:
                await self._client.pool.run(self._writer.write_atlas, atlas)
            except StoreItemError as error:
                self._report.failures.append(Failure.of(f"atlas:{found.record['id']}", error))
        elif self._crew is not None:
            await self._crew.admit()
            self._unfinished.begin(found.items)
            self._finishing.begin(found.data_set.id)
            beside.start_soon(self._have_done, self._crew, found)
        else:
            self._report.n_data_sets += 1
            self._finishing.begin(found.data_set.id)
            if self._report.refresh is not None:
                await self._client.pool.run(self._follow, self._report.refresh, found)
            for view in self._settings.views:
                try:
                    await self._plan_view(found, view, send, beside)
                except AsyncFetchError as error:
                    self._finishing.fail(found.data_set.id)
                    if isinstance(error, StoreError) and not costs_one_item(error):
                        raise
                    if isinstance(error, SettingsError):
                        self._contradictions.append(error)
                    self._report.failures.append(Failure.of(found.item, error, view))
            self._unfinished.plan(found.items)
            beside.start_soon(self._finishing.end, found.data_set.id)

    async def _have_done(self, crew: Crew, found: ResolvedDataSet) -> None:
        """Have a data set mirrored elsewhere, and take down what became of it."""
        data_set_id, packing = found.data_set.id, self._writer.packing
        await self._client.pool.run(packing.lend, [data_set_id])
        job = MirrorJob(
            found=found,
            settings=self._settings.replace(pack=False),
            region=self._region,
            is_refresh=self._report.refresh is not None,
        )
        try:
            outcome = await crew.do(job)
        except ClusterError as error:
            if error.data_set_id is None:
                raise
            failure = Failure.of(found.item, error)
            outcome = MirrorOutcome(part=ReportPart(n_data_sets=1, failures=[failure]), contradictions=[])
        await self._client.pool.run(packing.take_back, [data_set_id])
        self._report.add(outcome.part)
        self._contradictions += outcome.contradictions
        if self._report.refresh is not None and outcome.refresh is not None:
            self._report.refresh.join(outcome.refresh)
        if outcome.part.failures or outcome.part.interrupted:
            self._finishing.fail(data_set_id)
        if not outcome.part.interrupted:
            self._unfinished.plan(found.items)
        for failure in outcome.part.failures:
            if failure.error == OutageError.__name__:
                self._end_for_outage(failure)
        await self._finishing.end(data_set_id)

    async def _plan_view(
        self,
        found: ResolvedDataSet,
        view: View,
        send: MemoryObjectSendStream[_Item],
        beside: TaskGroup,
    ) -> None:
        pool, data_set = self._client.pool, found.data_set
        if self._region is not None:
            # before there is anything of the data set in the store
            self._region.in_space_of(data_set)
        layout = view_layout(data_set, view, self._settings)
        try:
            writer = await pool.run(self._writer.open_view, layout)
        except SettingsError as error:
            if self._report.refresh is None or not lies_otherwise(error):
                # so that a rebuild lays the planes out for the sections that there are now
                await pool.run(self._writer.write_table, data_set)
                raise
            await pool.run(drop_planes, self._writer, data_set.id, view)
            writer = await pool.run(self._writer.open_view, layout)
        stored = await pool.run(writer.sound_sections, found.image_ids)
        slots = writer.slots if layout.registered else {}
        plan = plan_view(data_set, view, self._settings, stored, slots, found.image_ids, self._region)
        self._tell_plan(found, plan)
        opened = OpenView(found, plan, writer)
        self._finishing.begin(data_set.id)
        if plan.to_fetch:
            # at once, and here: an executor may write from other processes
            await pool.run(self._writer.packing.unpack_to_write, data_set.id)
            self._unfinished.open(opened)
        if view == self._settings.views[0]:
            # the table is that of the data set: all its views share it
            await self._table_turn.acquire()
            self._finishing.begin(data_set.id)
            beside.start_soon(self._write_table, data_set)
        if not plan.to_fetch:
            await self._complete(opened)
        for section in plan.to_fetch:
            await send.send(_Item(opened, section))

    async def _prepare(self) -> None:
        await self._client.pool.run(prepare_documents, self._settings.codec)

    def _follow(self, refresh: Refresh, found: ResolvedDataSet) -> None:
        data_set = found.data_set
        is_new = self._writer.record(data_set.id) is None
        changes = self._writer.upstream_changes(data_set)
        self._report.notes += follow_upstream(self._writer, data_set, changes, found.image_ids)
        refresh.add(data_set.id, changes, is_new=is_new)

    async def _write_table(self, data_set: SectionDataSet) -> None:
        """Write a table while images come; the next data set waits for its turn."""
        write = partial(self._writer.write_table, data_set, with_changes=self._report.refresh is not None)
        try:
            kept = await self._client.pool.run(write)
        finally:
            self._table_turn.release()
        if kept:
            some = f"image:{kept[0]}{', …' if kept[1:] else ''}"
            self._report.notes.append(
                f"{counted(len(kept), 'section')} of data set {data_set.id} ({some}) changed at the API since, and "
                "stay as they are stored; to follow it, mirror again with --refresh"
            )
        await self._finishing.end(data_set.id)

    def _tell_plan(self, found: ResolvedDataSet, plan: ViewPlan) -> None:
        self._listen(
            DataSetPlanned(
                data_set_id=plan.data_set.id,
                view=plan.view,
                n_sections=plan.n_sections,
                n_to_fetch=len(plan.to_fetch),
                n_committed=len(plan.committed),
                estimated_pixels=sum(section.n_pixels for section in plan.to_fetch),
            )
        )
        for image_id in plan.committed:
            self._listen(SectionSkipped(data_set_id=plan.data_set.id, image_id=image_id, view=plan.view))
        self._report.unplaced.extend(
            Failure.of(found.item_of(section.id), error, plan.view) for section, error in plan.unplaced
        )
        # what holds for a data set is told with its first view
        told = self._report.notes[-_MAX_REMARKS * len(self._settings.views) :]
        self._report.notes.extend(note for note in plan.notes if note not in told)

    async def _bring(self, item: _Item, companion: Companion) -> Commit:
        if self._executor is not None:
            return await self._executor(item.section, companion)
        with sharing(f"data set {item.section.data_set_id}"):
            return await mirror_section(
                self._client, item.opened.writer, item.section, self._sizes, companion
            )

    def bytes_of(self, item: _Item) -> int:
        """Return 0: the client holds the memory of a section, and lends it to others while that waits."""
        return 0

    def done(self, item: _Item, result: Commit, flight: Flight) -> None:
        """Tell of a section that is in the store."""
        self._outcomes.committed(item.section, result, flight)

    def failed(self, item: _Item, error: AsyncFetchError) -> bool:
        """Take an error as the section's own, or an outage as that of all that is left."""
        self._finishing.fail(item.section.data_set_id)
        name = item.opened.found.item_of(item.section.section.id)
        if isinstance(error, OutageError):
            self._end_for_outage(Failure.of(name, error, item.section.view))
            return True
        if costs_one_item(error):
            self._outcomes.failed(name, item.section, error)
            return True
        return False

    async def ended(self, item: _Item) -> None:
        """Complete the view with its last section."""
        if self._unfinished.close(item.opened, item.section.section.id):
            await self._complete(item.opened)

    async def _complete(self, opened: OpenView) -> None:
        await self._client.pool.run(opened.writer.finish)
        self._listen(DataSetCompleted(data_set_id=opened.plan.data_set.id))
        await self._finishing.end(opened.plan.data_set.id)


class _Source(NamedTuple):
    """Where the data sets of a run come from: what the API, or a catalogue, knows of selections."""

    client: Client
    selections: tuple[Selection, ...]
    filters: Filters | None
    chooser: CatalogueChooser | None
    lock: Lock | None
    choices: Choices

    @property
    def first(self) -> str:
        """What a failure of all is named after."""
        return str(self.selections[0])

    async def find_region(self, settings: Settings) -> RegionOfSpace | None:
        """Return the region of space that is wanted, if only one is."""
        return await find_region(self.client, settings)

    async def find(self, send: MemoryObjectSendStream[Resolved]) -> None:
        """Send all data sets."""
        await resolve_selections(self.client, self.selections, send, self.filters, self.chooser, self.lock)

    def note(self, found: Resolved) -> None:
        """Note what was found."""
        self.choices.take(found)

    async def keep(self, writer: StoreWriter, settings: Settings, report: Report) -> None:
        """Note what was chosen, in the report, and in the store where that is more than ids."""
        lock = report.lock = self.choices.lock(self.filters, settings.base_url)
        if not (lock.images or lock.atlases):
            return
        has_filters = self.filters is not None and bool(str(self.filters))
        if has_filters or any(each.partition(":")[0] not in _OWN_IDS for each in lock.selection):
            content = msgspec.to_builtins(msgspec.structs.replace(lock, base_url=""))
            await self.client.pool.run(writer.write_selection, lock.key, content)

    async def find_gone(self, writer: StoreWriter, ids: set[int], refresh: Refresh) -> None:
        """Tell which stored data sets are not among those that came."""
        await find_gone(self.client, writer, self.selections, ids, refresh)

    async def complete(self, writer: StoreWriter, spaces: set[int]) -> list[str]:
        """Bring what the services need besides images; return what is unavailable."""
        return await complete_catalogue(self.client, writer, spaces)


class MirrorOutcome(msgspec.Struct, kw_only=True):
    """What became of a data set that was mirrored elsewhere, beside what events tell.

    Attributes
    ----------
    part : ReportPart
        What the report says of it.
    contradictions : list of SettingsError
        What contradicts the store.
    refresh : Refresh or None
        What is new at the API, where that was followed.
    """

    part: ReportPart
    contradictions: list[SettingsError]
    refresh: Refresh | None = None


class MirrorJob(msgspec.Struct, frozen=True, kw_only=True):
    """A data set that is to be mirrored.

    Attributes
    ----------
    found : ResolvedDataSet
        The data set, and what of it is wanted.
    settings : Settings
        What is fetched and stored.
    region : RegionOfSpace or None
        The region of space that is wanted, if only one is.
    is_refresh : bool
        Whether the API is followed where it says something else now.
    """

    verb: ClassVar[str] = "mirror"

    found: ResolvedDataSet
    settings: Settings
    region: RegionOfSpace | None = None
    is_refresh: bool = False

    @property
    def data_set_id(self) -> int:
        """The data set."""
        return self.found.data_set.id

    @property
    def first(self) -> str:
        """What a failure of all is named after."""
        return self.found.item

    async def find_region(self, _settings: Settings) -> RegionOfSpace | None:
        """Return the region of space that is wanted, if only one is."""
        return self.region

    async def find(self, send: MemoryObjectSendStream[Resolved]) -> None:
        """Send the data set."""
        async with send:
            await send.send(self.found)

    def note(self, _found: Resolved) -> None:
        """Do nothing: whoever chose knows."""

    async def keep(self, _writer: StoreWriter, _settings: Settings, _report: Report) -> None:
        """Do nothing: whoever chose keeps what was chosen."""

    async def find_gone(self, _writer: StoreWriter, _ids: set[int], _refresh: Refresh) -> None:
        """Do nothing: whoever knows all data sets sees to that."""

    async def complete(self, _writer: StoreWriter, _spaces: set[int]) -> list[str]:
        """Do nothing: whoever holds the store sees to that."""
        return []

    async def do(self, here: Here) -> MirrorOutcome:
        """Mirror it where this is."""
        assert here.client is not None, "a mirror asks the API"
        assert here.writer is not None, "a mirror writes"
        report = Report(selection=(self.found.item,), location=here.location)
        report.refresh = Refresh() if self.is_refresh else None
        run = _Run(
            here.client,
            here.writer,
            self.settings,
            report,
            here.listen,
            (),
            here.drain,
            drain_s=_DRAIN_ELSEWHERE_S,
        )
        with failing_alone():
            contradictions = await run.go(self)
        report.notes.extend(each for each in here.writer.damage if each not in report.notes)
        return MirrorOutcome(part=report.part(), contradictions=contradictions, refresh=report.refresh)
