"""Data sets of a store packed into one zip each, and unpacked again."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any, Unpack

import anyio
import msgspec

from asyncfetch.engine.groups import share_out
from asyncfetch.errors import SelectionError, StoreItemError
from asyncfetch.events import DataSetPacked, DataSetUnpacked, ignore
from asyncfetch.failures import Failure
from asyncfetch.mirroring.turns import open_writer, teller
from asyncfetch.options import MachineOptions, refuse_other_content, settings_of
from asyncfetch.store import open as open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from asyncfetch.events import Event, Listener
    from asyncfetch.settings import Settings
    from asyncfetch.store import Location, StoreWriter
    from asyncfetch.store.packing import PackedFiles
    from asyncfetch.store.repacking import Packing

__all__ = ["PackReport", "pack", "pack_again", "pack_one", "unpack"]

#: Data sets at a time: one is read back while another is written.
_AT_ONCE = 2


class PackReport(msgspec.Struct, kw_only=True):
    """The summary of a packing or an unpacking.

    Attributes
    ----------
    location : str
        The store.
    n_done, n_before : int
        Data sets that were packed (or unpacked) by this run, and those that were so already.
    n_files, size_bytes : int
        How many files those of this run have, and how long these are together.
    failures : list of Failure
        Data sets that stay as they are, and why: not finished, or damaged.
    notes : list of str
        What in the store cannot be read and counts as missing.
    elapsed_s : float
        Wall time.
    interrupted : bool
        Whether the run was asked to stop before its end; the same call continues.
    """

    location: str
    n_done: int = 0
    n_before: int = 0
    n_files: int = 0
    size_bytes: int = 0
    failures: list[Failure] = msgspec.field(default_factory=list)
    notes: list[str] = msgspec.field(default_factory=list)
    elapsed_s: float = 0.0
    interrupted: bool = False

    def add(self, made: PackedFiles) -> None:
        """Count a data set that was packed or unpacked."""
        self.n_done += 1
        self.n_files += made.n_files
        self.size_bytes += made.n_bytes

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        fields: dict[str, Any] = msgspec.to_builtins(self)
        return fields


async def pack(
    location: Location,
    *,
    data_set_ids: Collection[int] | None = None,
    settings: Settings | None = None,
    on_event: Listener = ignore,
    drain: anyio.Event | None = None,
    wait: bool = False,
    **options: Unpack[MachineOptions],
) -> PackReport:
    """Turn data sets that are finished into one zip each, ``data_sets/<id>.ozx``, which is read as the folder was.

    Each zip is synced and read back before its folder goes, so that a kill at any moment leaves one of the two whole.

    Parameters
    ----------
    location : str or Path
        A store in a directory.
    data_set_ids : collection of int, optional
        Only these data sets.
    settings : Settings, optional
        How much of the machine is used: ``workers`` data sets at a time, two by default.
    on_event : callable, optional
        Is called on the event loop with each event, such as `DataSetPacked`; must not block.
    drain : anyio.Event, optional
        Once set, the data sets that are being packed stay folders, and the report says ``interrupted``.
    wait : bool
        Wait until a run that writes to the store has ended, instead of raising.
    **options
        Single settings: ``workers`` and ``memory_bytes``.

    Returns
    -------
    PackReport
        What was done, and each data set that is not finished or cannot be packed, with the reason.

    Raises
    ------
    SelectionError, SettingsError
        The store does not hold one of the data sets, or an option is not one of the machine.
    StoreBusyError
        Another run is writing to the store.
    StoreAccessError
        The store is not in a directory.
    StoreError
        It cannot be read or written.
    """
    refuse_other_content(options, MachineOptions, "pack", "what is stored stays as it was made")
    n_workers = settings_of(settings, options).workers
    return await _run(location, data_set_ids, "pack", on_event, drain, n_workers, wait=wait)


async def unpack(
    location: Location,
    *,
    data_set_ids: Collection[int] | None = None,
    settings: Settings | None = None,
    on_event: Listener = ignore,
    drain: anyio.Event | None = None,
    wait: bool = False,
    **options: Unpack[MachineOptions],
) -> PackReport:
    """Turn packed data sets into the folders that they were, byte for byte.

    Parameters
    ----------
    location : str or Path
        A store in a directory.
    data_set_ids : collection of int, optional
        Only these data sets.
    settings : Settings, optional
        How much of the machine is used: ``workers`` data sets at a time, two by default.
    on_event : callable, optional
        Is called on the event loop with each event, such as `DataSetUnpacked`; must not block.
    drain : anyio.Event, optional
        Once set, no more data sets are unpacked, and the report says ``interrupted``.
    wait : bool
        Wait until a run that writes to the store has ended, instead of raising.
    **options
        Single settings: ``workers`` and ``memory_bytes``.

    Returns
    -------
    PackReport
        What was done, and each data set whose archive is damaged and stays.

    Raises
    ------
    SelectionError, SettingsError, StoreError
        As of `pack`.
    """
    refuse_other_content(options, MachineOptions, "unpack", "what is stored stays as it was made")
    n_workers = settings_of(settings, options).workers
    return await _run(location, data_set_ids, "unpack", on_event, drain, n_workers, wait=wait)


async def _run(
    location: Location,
    data_set_ids: Collection[int] | None,
    command: str,
    on_event: Listener,
    drain: anyio.Event | None,
    n_workers: int | None,
    *,
    wait: bool,
) -> PackReport:
    started_s, drain = time.monotonic(), drain or anyio.Event()
    async with open_writer(location, command, wait=wait, drain=drain, on_wait=teller(on_event)) as writer:
        report = PackReport(location=str(location))
        if writer is None:
            report.interrupted = True
            return report
        report.location = writer.location
        ids = await anyio.to_thread.run_sync(_checked_ids, location, data_set_ids)
        do = _pack if command == "pack" else _unpack

        async def one(data_set_id: int) -> None:
            if drain.is_set():
                report.interrupted = True
                return
            await do(writer.packing, data_set_id, report, on_event, drain)

        await share_out(ids, one, n_workers or _AT_ONCE)
        report.failures.sort(key=lambda each: int(each.item.partition(":")[2]))
        report.notes = writer.damage
    report.elapsed_s = time.monotonic() - started_s
    return report


def _checked_ids(location: Location, wanted: Collection[int] | None) -> tuple[int, ...]:
    store = open_store(location)
    ids = store.list_data_set_ids()
    missing = sorted(set(wanted or ()) - set(ids))
    if missing:
        raise SelectionError(f"{store.location} holds no data set {', '.join(map(str, missing))}")
    return ids if wanted is None else tuple(each for each in ids if each in wanted)


async def _pack(
    packing: Packing, data_set_id: int, report: PackReport, on_event: Listener, drain: anyio.Event
) -> None:
    if await anyio.to_thread.run_sync(packing.is_packed, data_set_id):
        report.n_before += 1
        return
    reason = await anyio.to_thread.run_sync(packing.unfinished_reason, data_set_id)
    try:
        if reason is not None:
            raise StoreItemError(f"data set {data_set_id} is not finished: {reason}")
        made = await anyio.to_thread.run_sync(partial(packing.pack, data_set_id, drain.is_set))
    except StoreItemError as error:
        report.failures.append(Failure.of(f"dataset:{data_set_id}", error))
        return
    if made is None:
        report.interrupted = True
        return
    report.add(made)
    on_event(DataSetPacked(data_set_id=data_set_id, n_files=made.n_files, size_bytes=made.n_bytes))


async def _unpack(
    packing: Packing, data_set_id: int, report: PackReport, on_event: Listener, drain: anyio.Event
) -> None:
    if not await anyio.to_thread.run_sync(packing.is_packed, data_set_id):
        report.n_before += 1
        return
    try:
        made = await anyio.to_thread.run_sync(packing.unpack, data_set_id)
    except StoreItemError as error:
        report.failures.append(Failure.of(f"dataset:{data_set_id}", error))
        return
    report.add(made)
    on_event(DataSetUnpacked(data_set_id=data_set_id, n_files=made.n_files, size_bytes=made.n_bytes))


async def pack_one(
    writer: StoreWriter,
    data_set_id: int,
    on_event: Callable[[Event], None],
    drain: anyio.Event,
    *,
    counts_sections: bool = True,
) -> str | None:
    """Pack a data set at the end of what a run did with it; one that is not finished is left to another run.

    Parameters
    ----------
    writer : StoreWriter
        The store.
    data_set_id : int
        The data set.
    on_event : callable
        Is told that it was packed.
    drain : Event
        Once set, it stays a folder.
    counts_sections : bool
        As for `asyncfetch.store.finished.unfinished_reason`.

    Returns
    -------
    str or None
        Why it could not be packed.
    """
    packing = writer.packing

    def work() -> PackedFiles | None:
        if (
            drain.is_set()
            or packing.is_packed(data_set_id)
            or packing.unfinished_reason(data_set_id, counts_sections=counts_sections)
        ):
            return None
        return packing.pack(data_set_id, drain.is_set)

    try:
        made = await anyio.to_thread.run_sync(work)
    except StoreItemError as error:
        return f"data set {data_set_id} was not packed: {error.message}"
    if made is not None:
        on_event(DataSetPacked(data_set_id=data_set_id, n_files=made.n_files, size_bytes=made.n_bytes))
    return None


async def pack_again(writer: StoreWriter, on_event: Callable[[Event], None], drain: anyio.Event) -> list[str]:
    """Pack the data sets that were unpacked to be written to; return why some stay folders."""
    notes = []
    for data_set_id in await anyio.to_thread.run_sync(writer.packing.read_to_pack):
        if drain.is_set():
            break
        note = await pack_one(writer, data_set_id, on_event, drain)
        if note is not None:
            notes.append(note)
    return notes
