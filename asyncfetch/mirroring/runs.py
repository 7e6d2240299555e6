"""The records of runs in a store: begun, continued, and dismissed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from asyncfetch.errors import SelectionError
from asyncfetch.mirroring.turns import open_writer
from asyncfetch.runs import KEPT_SETTINGS, numbered_runs
from asyncfetch.selecting.lock import Lock

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from asyncfetch.runs import UnfinishedRun
    from asyncfetch.selecting import Filters, Selection
    from asyncfetch.settings import Settings
    from asyncfetch.store import Location, StoreWriter

__all__ = ["begin_run", "continue_run", "dismiss_runs", "read_lock", "records_of"]


async def dismiss_runs(location: Location, numbers: Collection[int] | None) -> list[UnfinishedRun]:
    """Forget unfinished runs, so that `resume` does not continue them; what they have stored stays.

    Parameters
    ----------
    location : str, Path or zarr Store
        The store.
    numbers : collection of int or None
        Which; None means all.

    Returns
    -------
    list of UnfinishedRun
        Those that were dismissed.

    Raises
    ------
    SelectionError
        There is no run of a number; then none is dismissed.
    StoreBusyError
        A run is at work.
    """
    async with open_writer(location, "runs --dismiss") as writer:
        assert writer is not None, "nothing was waited for"
        found = {run.number: (raw, run) for raw, run in numbered_runs(writer.runs())}
        unknown = sorted(set(numbers or ()) - found.keys())
        if unknown:
            known = ", ".join(map(str, found)) or "none"
            raise SelectionError(f"there is no unfinished run {unknown[0]}; the numbers are: {known}")
        chosen = [found[number] for number in found if numbers is None or number in numbers]
        for raw, _ in chosen:
            writer.end_run(raw)
    return [run for _, run in chosen]


def begin_run(
    writer: StoreWriter,
    selection: Iterable[Selection],
    settings: Settings,
    filters: Filters | None = None,
    lock: Lock | None = None,
) -> dict[str, Any]:
    """Record a run that begins, and return its record; the same run, begun before, is that one.

    From another address it is the same run, too.
    """
    # through JSON, so that it equals what is read back
    kept = {name: getattr(settings, name) for name in KEPT_SETTINGS}
    wanted: dict[str, Any] = {
        "selection": [str(each) for each in selection],
        "settings": msgspec.json.decode(msgspec.json.encode(kept)),
    }
    narrowed = {} if filters is None else msgspec.to_builtins(filters)
    earlier = numbered_runs(writer.runs())
    for raw, run in earlier:
        is_same = (list(run.selection), run.settings) == (wanted["selection"], wanted["settings"])
        if is_same and run.narrowed == narrowed and raw.get("lock") == (None if lock is None else lock.key):
            writer.end_run(raw)
    record = {
        "number": max((run.number for _, run in earlier), default=0) + 1,
        "selection": wanted["selection"],
        "settings": {**wanted["settings"], "base_url": str(settings.base_url)},
        "begun": datetime.now(UTC).isoformat(timespec="seconds"),
        "token": writer.token,
    }
    if narrowed:
        record["filters"] = narrowed
    if lock is not None:
        record["lock"] = lock.key
    writer.begin_run(record)
    return record


def read_lock(writer: StoreWriter, raw: dict[str, Any]) -> Lock | None:
    """Return the lock that a run was begun with, None where there was none.

    Raises
    ------
    SelectionError
        The store does not have it any more.
    """
    key = raw.get("lock")
    if key is None:
        return None
    try:
        return msgspec.convert(writer.read_selection(str(key)), Lock)
    except msgspec.ValidationError as error:
        raise SelectionError(
            f"the lock {key} of the run cannot be read: {error}; give it again with --frozen"
        ) from error


def continue_run(writer: StoreWriter, raw: dict[str, Any]) -> dict[str, Any]:
    """Record that a run is at work again, and return its record."""
    record = {**raw, "token": writer.token}
    writer.replace_run(raw, record)
    return record


def records_of(writer: StoreWriter) -> list[tuple[dict[str, Any], UnfinishedRun]]:
    """Return the records of the runs that did not come to their end, and what they say."""
    return numbered_runs(writer.runs())
