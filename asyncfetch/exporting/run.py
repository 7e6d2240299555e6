"""The run of an export: what is chosen becomes files, on threads, each whole under its name or not there.

Planning goes ahead of writing by one view, so that the first files of a large store are there at once. Files that an
earlier run has made of the same are kept; an item that cannot be exported is a failure in the report.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Unpack

import anyio
import msgspec

from asyncfetch.engine.groups import failing_alone
from asyncfetch.errors import AsyncFetchError, SelectionError, SettingsError
from asyncfetch.events import FileExported, ItemNotExported, ignore
from asyncfetch.exporting.chosen import Chosen, find_data_sets
from asyncfetch.exporting.files import measured, write_whole
from asyncfetch.exporting.formats import check_needs, format_of
from asyncfetch.exporting.manifest import Manifest, Record, digest_of
from asyncfetch.exporting.protocol import Made
from asyncfetch.exporting.report import ExportReport
from asyncfetch.failures import Failure
from asyncfetch.imaging import Pool
from asyncfetch.mirroring.runner import Runner, costs_one_item, reported
from asyncfetch.options import settings_of
from asyncfetch.planning.region_of_space import RegionOfSpace
from asyncfetch.selecting.selection import parse_selection
from asyncfetch.store import open as open_store
from asyncfetch.store.directory import directory_of
from asyncfetch.version import __version__

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping, Sequence

    from anyio.streams.memory import MemoryObjectSendStream

    from asyncfetch.events import Listener
    from asyncfetch.exporting.options import ExportOptions
    from asyncfetch.exporting.protocol import Format, Output
    from asyncfetch.mirroring.flights import Flight
    from asyncfetch.selecting.selection import Selection
    from asyncfetch.settings import Settings
    from asyncfetch.store import Location, Store

__all__ = ["export"]

#: Settings that an export takes; a region goes without the layer source, which is of no concern here.
_SETTINGS = ("views", "roi_um", "roi_space", "memory_bytes", "workers")


async def export(
    location: Location,
    selection: str | Iterable[str] | None = None,
    *,
    format: str,  # noqa: A002 - the word of the command line
    folder: str | os.PathLike[str],
    settings: Settings | None = None,
    on_event: Listener = ignore,
    drain: anyio.Event | None = None,
    **options: Unpack[ExportOptions],
) -> ExportReport:
    """Write what a store holds as files that other programs read.

    Calling it twice changes nothing: files that are complete and were made of the same, with the same options, are
    kept. Otherwise they are made again. Nothing in the store is changed.

    Parameters
    ----------
    location : str, Path or zarr Store
        The store.
    selection : str or iterable of str, optional
        What of it, such as ``dataset:479``, ``gene:Pvalb`` or ``image:101349756``; everything by default. It is looked
        up in the store; nothing is asked of the API.
    format : str
        One of `asyncfetch.exporting.FORMATS`.
    folder : str or path-like
        Where the files go; made where there is none.
    settings : Settings, optional
        How much of the machine is used: ``workers`` and ``memory_bytes``. What is exported is taken from the options
        alone.
    on_event : callable, optional
        Is called on the event loop with each event, such as `FileExported`; must not block.
    drain : anyio.Event, optional
        Once set, the files that are being written are finished, and the report says ``interrupted``.
    **options
        ``views``, ``roi_um`` and ``roi_space``; the options of the format, each of which has a default; ``workers``
        and ``memory_bytes``.

    Returns
    -------
    ExportReport
        What was done, and each item that could not be exported, with its cause.

    Raises
    ------
    SelectionError, SettingsError
        What was asked for is malformed, or the format does not have such an option.
    StoreBusyError
        Another export is writing to the folder.
    StoreError
        The store cannot be read, or the folder cannot be written.
    """
    selections = () if selection is None else parse_selection(selection)
    chosen: Mapping[str, Any] = dict(options)
    machine = settings_of(settings, {name: chosen.get(name) for name in ("memory_bytes", "workers")})
    wanted = settings_of(
        None, {**{name: chosen.get(name) for name in _SETTINGS}, "layers": ("sections", "registered")}
    )
    maker = format_of(format, {name: value for name, value in chosen.items() if name not in _SETTINGS})
    check_needs(format)
    opened = await anyio.to_thread.run_sync(open_store, location)
    target = _target(folder, opened)
    report = ExportReport(
        format=format,
        location=opened.location,
        folder=str(target),
        selection=tuple(str(each) for each in selections),
    )
    manifest = await anyio.to_thread.run_sync(Manifest.open, target)
    with manifest, reported(report, on_event) as listen:
        async with Pool(machine.workers) as pool:
            run = _Export(pool, opened, wanted, _Maker(format, maker), manifest, report, listen, drain)
            await run.go(selections, machine.memory_bytes)
    report.notes.extend(opened.damage)
    return report


def _target(folder: str | os.PathLike[str], store: Store) -> Path:
    """Return the folder of an export.

    Raises
    ------
    SettingsError
        It is not a directory of this machine, or it is within the store, where a run would take the files for damage.
    """
    if isinstance(folder, str) and "://" in folder and not folder.lower().startswith("file:"):
        raise SettingsError(
            f"{folder} is an address; an export goes to a directory of this machine", setting="output"
        )
    target = directory_of(folder if isinstance(folder, str) else Path(folder))
    if target.resolve().is_relative_to(Path(store.location).resolve()):
        raise SettingsError(
            f"{target} is within the store {store.location}; choose another folder", setting="output"
        )
    return target


class _Maker(NamedTuple):
    """A format with its options, under its name."""

    name: str
    format: Format

    def made_from(self, output: Output) -> dict[str, Any]:
        """Return all that the bytes of a file depend on."""
        return {
            "format": self.name,
            "version": self.format.version,
            "options": msgspec.to_builtins(self.format),
            **output.content,
        }


class _Task(NamedTuple):
    """A file that is to be there, and what it is made from."""

    output: Output
    made_from: dict[str, Any]
    digest: str


class _Export:
    """One export: what its tasks share. It is the `Work` of its runner, whose items are files."""

    def __init__(
        self,
        pool: Pool,
        store: Store,
        settings: Settings,
        maker: _Maker,
        manifest: Manifest,
        report: ExportReport,
        listen: Listener,
        drain: anyio.Event | None,
    ) -> None:
        self._pool = pool
        self._store = store
        self._settings = settings
        self._maker = maker
        self._manifest = manifest
        self._report = report
        self._listen = listen
        self._drain = drain or anyio.Event()
        self._made: dict[str, Record] = {}
        self._planning = anyio.CancelScope()
        ranges = settings.roi_um
        self._region = None if ranges is None else RegionOfSpace.of_ranges(ranges, settings.roi_space)

    async def go(self, selections: Sequence[Selection], memory_bytes: int) -> None:
        """Write all files, and those that list them last."""
        found, missing = await self._pool.run(find_data_sets, self._store, selections)
        for each in missing:
            error = SelectionError(f"{self._store.location} holds nothing of {each}")
            self._fail(Failure.of(str(each), error))
        self._report.n_data_sets = len(found)
        await self._work_off(found, memory_bytes)
        if not self._report.interrupted:
            await self._close(memory_bytes)

    def _runner(self, memory_bytes: int) -> Runner[_Task, tuple[Record, float | None]]:
        n_workers = self._pool.n_threads
        return Runner(self, self._do, n_workers=n_workers, drain=self._drain, budget_bytes=memory_bytes)

    async def _work_off(self, found: Mapping[int, set[int] | None], memory_bytes: int) -> None:
        runner = self._runner(memory_bytes)
        send, receive = anyio.create_memory_object_stream[_Task](0)
        with failing_alone():
            async with anyio.create_task_group() as watch:
                watch.start_soon(self._stop_planning)
                async with receive, anyio.create_task_group() as tasks:
                    tasks.start_soon(self._plan_all, found, send)
                    runner.start(tasks, receive)
                watch.cancel_scope.cancel()
        self._report.interrupted |= runner.is_interrupted or self._drain.is_set()

    async def _stop_planning(self) -> None:
        await self._drain.wait()
        self._planning.cancel()

    async def _plan_all(
        self, found: Mapping[int, set[int] | None], send: MemoryObjectSendStream[_Task]
    ) -> None:
        async with send:
            with self._planning:
                for data_set_id, image_ids in found.items():
                    for view in self._settings.views:
                        for output in await self._outputs_of(data_set_id, view, image_ids):
                            if isinstance(output, Failure):
                                self._fail(output)
                            else:
                                await send.send(self._task(output))

    async def _outputs_of(
        self, data_set_id: int, view: str, image_ids: set[int] | None
    ) -> list[Output | Failure]:
        try:
            return await self._pool.run(self._plan, data_set_id, view, image_ids)
        except AsyncFetchError as error:
            if not costs_one_item(error):
                raise
            return [Failure.of(f"dataset:{data_set_id}", error, view)]

    def _plan(self, data_set_id: int, view: str, image_ids: set[int] | None) -> list[Output | Failure]:
        chosen = Chosen.of(self._store, data_set_id, view, image_ids, self._region)
        return list(self._maker.format.outputs(chosen))

    async def _close(self, memory_bytes: int) -> None:
        records = [self._made[name] for name in sorted(self._made)]
        made = [Made(each.name, each.item, each.view, each.facts) for each in records]
        outputs = await self._pool.run(self._maker.format.closing, self._manifest.folder, made)
        of = digest_of({each.name: each.digest for each in records})
        runner = self._runner(memory_bytes)
        await runner.run([self._task(each._replace(content={**each.content, "of": of})) for each in outputs])
        self._report.interrupted |= runner.is_interrupted

    def _task(self, output: Output) -> _Task:
        made_from = self._maker.made_from(output)
        return _Task(output, made_from, digest_of(made_from))

    async def _do(self, item: _Task, _flight: object) -> tuple[Record, float | None]:
        """Write a file unless it is there; return its record and its seconds, None where it was there."""
        return await self._pool.run(self._write, item)

    def _write(self, item: _Task) -> tuple[Record, float | None]:
        output, folder = item.output, self._manifest.folder
        kept = self._manifest.find(output.name, item.digest)
        if kept is not None:
            return kept, None
        started_s = time.monotonic()
        facts = write_whole(folder, output.name, output.write)
        n_bytes, n_files = measured(folder / output.name)
        record = Record(
            name=output.name,
            format=self._maker.name,
            digest=item.digest,
            n_bytes=n_bytes,
            n_files=n_files,
            made_from=item.made_from,
            item=output.item,
            view=output.view,
            facts=facts,
            time=datetime.now(UTC).isoformat(timespec="seconds"),
            tool_version=__version__,
        )
        self._manifest.add(record)
        return record, time.monotonic() - started_s

    def bytes_of(self, item: _Task) -> int:
        """Return what a file takes while it is written."""
        return item.output.working_bytes

    def done(self, item: _Task, result: tuple[Record, float | None], flight: Flight) -> None:
        """Tell of a file that is there."""
        record, elapsed_s = result
        self._made[record.name] = record
        self._listen(
            FileExported(
                name=record.name,
                item=record.item,
                view=record.view,
                is_new=elapsed_s is not None,
                size_bytes=record.n_bytes,
                elapsed_s=elapsed_s or 0.0,
            )
        )

    def failed(self, item: _Task, error: AsyncFetchError) -> bool:
        """Take an error as the item's own, unless the folder cannot be written."""
        if not costs_one_item(error):
            return False
        self._fail(Failure.of(item.output.item, error, item.output.view))
        return True

    async def ended(self, item: _Task) -> None:
        """Do nothing: what follows all files is done behind them."""

    def _fail(self, failure: Failure) -> None:
        self._report.failures.append(failure)
        self._listen(
            ItemNotExported(item=failure.item, view=failure.view, error=failure.error, cause=failure.message)
        )
