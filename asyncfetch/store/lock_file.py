"""The file of a lock: what it says of its holder, whether the system has it locked, and what a refused run is told.

Reading it takes nothing of Zarr, so that a run that another one keeps out learns so before anything large is loaded.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from asyncfetch.errors import StoreBusyError
from asyncfetch.layout.paths import LOCK_PATH
from asyncfetch.store.directory import cloud_address, require_writable, store_directory
from asyncfetch.store.holder import SILENT_AFTER_S, Holder
from asyncfetch.store.wall import Wall
from asyncfetch.text import lasting

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "LOCK_KEY",
    "busy_error",
    "document_of",
    "holder_in",
    "lock_open_file",
    "refuse_if_busy",
    "silent_s_of",
]

LOCK_KEY = f"{LOCK_PATH}/zarr.json"
_BUSY = {errno.EAGAIN, errno.EACCES, errno.EDEADLK}
#: The most that is read of a lock; ours have half a kilobyte.
_MAX_LOCK_BYTES = 2**16


def refuse_if_busy(location: str | Path) -> None:
    """Make sure that no run is known to write to the store of a directory; nothing is changed.

    What cannot be told at once, such as a run on another machine, is left to the lock itself.

    Raises
    ------
    StoreBusyError
        A run on this machine has the store.
    SettingsError
        The location cannot name a store.
    """
    address = cloud_address(location)
    if address is not None:
        require_writable(address)
    if location == "memory" or address is not None:
        return
    folder = store_directory(location)
    with contextlib.suppress(OSError):
        file = Wall(folder).open_file(LOCK_KEY)
        if file is None:
            return
        with file:
            holder = holder_in(file.read(_MAX_LOCK_BYTES))
            # a file that its holder could not remove is not locked any more
            if holder is None or not holder.is_alive() or lock_open_file(file.fileno()):
                return
        raise busy_error(str(folder), folder, holder, None)


def busy_error(
    name: str,
    folder: Path | None,
    holder: Holder | None,
    silent_s: float | None,
    *,
    lease_s: float | None = None,
) -> StoreBusyError:
    """Return what a run is told that is refused.

    Parameters
    ----------
    name : str
        The store.
    folder : Path or None
        Its directory, None where it is kept otherwise.
    holder : Holder or None
        Who has it; None for somebody who has not said so yet.
    silent_s : float or None
        For how long the holder has not shown itself.
    lease_s : float, optional
        After how long of that the lock ends by itself.
    """
    lock = folder / LOCK_PATH if folder is not None else f"the object {LOCK_KEY}"
    if holder is None:
        return StoreBusyError(
            f"another run is beginning to write to {name}; wait for it with --wait (wait=True in Python)",
            location=name,
        )
    advice = "wait for it with --wait (wait=True in Python)"
    if lease_s is not None:
        advice += f"; if that process has ended, the store is free within {lasting(lease_s)}"
    elif holder.is_alive(silent_s) is None:
        is_silent = silent_s is not None and silent_s > SILENT_AFTER_S
        silent = f", which has not shown itself for {lasting(silent_s or 0)}" if is_silent else ""
        advice += f"; if that process{silent} has ended, remove {lock}"
    return StoreBusyError(
        f"another run is writing to {name} ({holder}); {advice}",
        location=name,
        command=holder.command,
        host=holder.host,
        pid=holder.pid,
        since=holder.since,
    )


def document_of(holder: Holder) -> bytes:
    """Return the object of a lock: the metadata of an empty group that name the holder."""
    return msgspec.json.encode(
        {"zarr_format": 3, "node_type": "group", "attributes": {"asyncfetch": {"writer": holder}}}
    )


def holder_in(data: bytes | None) -> Holder | None:
    """Return the holder that a lock names, None where it names none that can be read."""
    try:
        document: Any = msgspec.json.decode(data or b"")
        return msgspec.convert(document["attributes"]["asyncfetch"]["writer"], Holder)
    except (msgspec.DecodeError, msgspec.ValidationError, LookupError, TypeError):
        return None


def lock_open_file(number: int) -> bool | None:
    """Lock an open file until it is closed; False where another has it, None where files cannot be locked."""
    try:
        if sys.platform == "win32":
            os.lseek(number, 2**30, os.SEEK_SET)
            msvcrt.locking(number, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return False if error.errno in _BUSY else None
    return True


def silent_s_of(path: Path, *, probe: bool = True) -> float:
    """Return how old a file is, by the clock of the file system where that may be probed by writing."""
    try:
        now = _clock_of(path.parent) if probe else datetime.now(UTC).timestamp()
        age_s = now - path.stat().st_mtime
    except OSError:
        return 0.0
    return max(0.0, age_s)


def _clock_of(folder: Path) -> float:
    """Return the time as a file server tells it, which may be another than ours; ours where nothing can be written."""
    probe = folder / f"{os.getpid()}-{threading.get_ident()}.partial"
    try:
        probe.touch()
        return probe.stat().st_mtime
    except OSError:
        return datetime.now(UTC).timestamp()
    finally:
        with contextlib.suppress(OSError):
            probe.unlink()
