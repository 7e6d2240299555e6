"""What a command chose, as files: the lock by which the same is chosen again, and a table of what became of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from asyncfetch.cli.console import tell
from asyncfetch.cli.reading import read_text
from asyncfetch.cli.tables import Table, require_writable, write_table
from asyncfetch.errors import SelectionError, StoreAccessError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asyncfetch.mirroring import Estimate, Report
    from asyncfetch.selecting.lock import Lock

__all__ = ["read_lock", "write_choices"]


def read_lock(frozen: str | None, selection: list[str], report: str | None, filters: object) -> Lock | None:
    """Return the lock of ``--frozen``, and refuse what goes with it badly before anything is asked.

    Raises
    ------
    SelectionError
        The file is not a lock, or a selection or filters are given beside it.
    SettingsError
        The table of ``--report`` needs what is not installed.
    """
    if report is not None:
        require_writable(report, None)
    if frozen is None:
        return None
    from asyncfetch.selecting.lock import Lock

    if selection or str(filters):
        raise SelectionError(
            "--frozen says what is selected; leave selections and filters out, or leave --frozen out"
        )
    return Lock.read(read_text(frozen, "the lock"), frozen)


def write_choices(
    done: Report | Estimate, lock: str | None, report: str | None, places: Mapping[str, str]
) -> None:
    """Write the files of ``--lock`` and ``--report``.

    Raises
    ------
    StoreAccessError
        One of them cannot be written.
    """
    if report is not None:
        rows = [
            {"place": places.get(each.selection), **msgspec.structs.asdict(each)} for each in done.outcomes
        ]
        names = ("place", *type(done.outcomes[0]).__struct_fields__) if rows else ("place",)
        columns = {name: [row[name] for row in rows] for name in names}
        write_table(
            Table(columns, {name: int if name.startswith("n_") else str for name in names}), report, None
        )
    if lock is None:
        return
    if done.lock is None:
        tell(f"{lock} was not written: not all of the selection was found out")
        return
    try:
        Path(lock).write_text(done.lock.text(), encoding="utf-8")
    except OSError as error:
        raise StoreAccessError(f"{lock} cannot be written: {error.strerror}", location=lock) from error
