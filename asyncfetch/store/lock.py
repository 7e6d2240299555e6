"""One writing run at a time: a lock that names its holder and dies with its process.

The lock is the object ``.asyncfetch-lock/zarr.json``: the metadata of a group whose attributes name the holder, so that
readers of Zarr take it for an empty group while a run is at work. It is removed when the run ends.

In a directory the file is locked as well, which the system undoes when the process ends, however it ends. Where files
cannot be locked, and in other Zarr stores, making the object tells who was first, and what it says of its holder tells
whether that is still alive. In object storage the lock is a lease (`asyncfetch.store.lease`).
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import threading
import time
import weakref
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec
from zarr.buffer import cpu
from zarr.core.sync import sync

from asyncfetch.errors import StoreError
from asyncfetch.layout.live import LIVE_KEY, LIVE_PATH, figures_in, live_document
from asyncfetch.layout.paths import LOCK_PATH
from asyncfetch.store.holder import SILENT_AFTER_S, Holder
from asyncfetch.store.lease import LEASE_S, Lease
from asyncfetch.store.lock_file import (
    LOCK_KEY,
    busy_error,
    document_of,
    holder_in,
    lock_open_file,
    silent_s_of,
)
from asyncfetch.store.object_storage import ObjectStorageBackend

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from asyncfetch.layout.live import LiveFigures
    from asyncfetch.store.objects import Place

__all__ = ["StoreLock", "read_figures", "read_holder"]

_SHOWN_EVERY_S = 20.0
#: How often figures are written to a directory; elsewhere, where a put takes time and money, as often as the lock.
_FIGURES_EVERY_S = 2.0
#: How often the lock is tried where others come and go at the same moment.
_MAX_TRIES = 50
#: What is waited for whoever has just made the lock and has not yet said who they are.
_PAUSE_S, _MAX_PAUSES = 0.02, 15
#: A lock without a holder that is older than this was left by a process killed while it made it.
_UNNAMED_AFTER_S = 10.0

_held: weakref.WeakSet[StoreLock] = weakref.WeakSet()


class StoreLock:
    """The right to write to a store; made by `take`.

    Attributes
    ----------
    holder : Holder
        What is said of the run that has it.
    """

    def __init__(self, place: Place, command: str) -> None:
        self.holder = Holder.of_this_process(command)
        self._place = place
        self._file: int | None = None
        self._lease = (
            Lease(place.backend.bucket, self.holder)
            if isinstance(place.backend, ObjectStorageBackend)
            else None
        )
        self._pid = os.getpid()
        self._done = threading.Event()
        self._figures: Callable[[], LiveFigures] | None = None
        self._showing = threading.Thread(target=self._show, daemon=True, name="asyncfetch-lock")

    @classmethod
    def take(cls, place: Place, command: str) -> StoreLock:
        """Take the lock of a store, or say who has it.

        Parameters
        ----------
        place : Place
            The store, or where it is to be made.
        command : str
            What is said of the run to others.

        Raises
        ------
        StoreBusyError
            Another run has it.
        """
        lock = cls(place, command)
        with place.mapped_errors():
            for _ in range(_MAX_TRIES):
                if lock._try():
                    _held.add(lock)
                    if lock._lease is not None:
                        place.guard = lock._lease.check
                    lock._showing.start()
                    return lock
        raise busy_error(place.name, place.folder, None, None)

    def _try(self) -> bool:
        if self._lease is not None:
            return self._lease.take()
        return self._try_file() if self._place.folder is not None else self._try_object()

    @property
    def is_held(self) -> bool:
        """Whether it is this process that has it, and not the one that it was forked from."""
        return self._pid == os.getpid() and not self._done.is_set()

    def show(self, figures: Callable[[], LiveFigures]) -> None:
        """Show how far the run is from now on; `figures` is called from a thread."""
        self._figures = figures

    def release(self) -> None:
        """Give the lock back; a process that was forked from the holder's leaves it alone."""
        if not self.is_held:
            return
        self._done.set()
        self._showing.join()
        _held.discard(self)
        with contextlib.suppress(OSError, StoreError):
            # also those of a run that was killed
            self._place.backend.delete_below(LIVE_PATH)
        with contextlib.suppress(OSError, StoreError):
            if self._lease is not None:
                self._place.guard = None
                self._lease.release()
            elif self._place.folder is None:
                if _is(holder_in(self._place.get(LOCK_KEY)), self.holder):
                    self._place.delete(LOCK_KEY)
            else:
                self._remove_file(self._place.folder / LOCK_KEY)
        self._close()

    def _remove_file(self, path: Path) -> None:
        if sys.platform == "win32":
            # an open file cannot be removed there
            self._close()
        if _is(holder_in(self._place.get(LOCK_KEY)), self.holder):
            path.unlink()
        self._close()
        # another run may be about to make its lock in it
        path.parent.rmdir()

    def _close(self) -> None:
        number, self._file = self._file, None
        if number is not None:
            os.close(number)

    def _forget(self) -> None:
        """Let go in a process that was forked: it must not keep the lock of its parent."""
        self._done.set()
        self._close()

    def _show(self) -> None:
        """Show from time to time that the run is alive, to those who cannot see its process, and how far it is."""
        every_s = _SHOWN_EVERY_S if self._place.folder is None else _FIGURES_EVERY_S
        shown_s = time.monotonic()
        while not self._done.wait(every_s):
            with contextlib.suppress(Exception):  # figures are worth less than the run
                self._write_figures()
            if time.monotonic() - shown_s < _SHOWN_EVERY_S:
                continue
            shown_s = time.monotonic()
            with contextlib.suppress(Exception):  # a store that fails is noticed by the run itself
                if self._lease is not None:
                    self._lease.renew()
                elif self._place.folder is not None:
                    os.utime(self._place.folder / LOCK_KEY)
                else:
                    now = datetime.now(UTC).isoformat(timespec="seconds")
                    self._place.set(LOCK_KEY, document_of(msgspec.structs.replace(self.holder, seen=now)))

    def _write_figures(self) -> None:
        """Write how far the run is, unless another one has the store by now."""
        if self._figures is not None and (self._lease is None or self._lease.is_ours):
            figures = msgspec.structs.replace(self._figures(), token=self.holder.token)
            self._place.backend.set(LIVE_KEY, live_document(figures))

    def _try_file(self) -> bool:
        """Try to get the file; return whether it is ours, or has to be tried again."""
        path = _path_of(self._place)
        number, is_new = _open_lock(path)
        if number is None:
            return False
        try:
            can_lock = lock_open_file(number)
            if can_lock is False:
                raise busy_error(self._place.name, self._place.folder, *_named_holder(self._place, path))
            if can_lock is None and not is_new:
                self._take_over(path)
                return False
            if not _is_same_file(number, path):
                # removed by the one before, after it was opened here
                return False
            if not is_new:
                self._check_elsewhere(path)
            _write(number, document_of(self.holder))
            if can_lock:
                # it stays open, because closing it would undo the lock
                self._file, number = number, None
            return True
        finally:
            if number is not None:
                os.close(number)

    def _check_elsewhere(self, path: Path) -> None:
        """Raise where the lock is said to be that of another machine, of which ours knows nothing."""
        holder, silent_s = holder_in(self._place.get(LOCK_KEY)), silent_s_of(path)
        if holder is not None and not holder.shares_our_kernel and silent_s < SILENT_AFTER_S:
            raise busy_error(self._place.name, self._place.folder, holder, silent_s)

    def _take_over(self, path: Path) -> None:
        """Remove a lock whose holder is known to be dead, where files cannot be locked; then it is tried again."""
        holder, silent_s = _named_holder(self._place, path)
        if not _is_dead(holder, silent_s):
            raise busy_error(self._place.name, self._place.folder, holder, silent_s)
        turn = path.parent / "taking-over"
        try:
            turn.mkdir()
        except FileExistsError:
            # another run takes over, or was killed when it did
            if silent_s_of(turn) > _UNNAMED_AFTER_S:
                with contextlib.suppress(OSError):
                    turn.rmdir()
            time.sleep(_PAUSE_S)
            return
        except FileNotFoundError:
            return
        try:
            now = holder_in(self._place.get(LOCK_KEY))
            if (now is None and holder is None) or _is(now, holder):
                path.unlink(missing_ok=True)
        finally:
            turn.rmdir()

    def _try_object(self) -> bool:
        """Try to get the object of a store that is not a directory."""
        place = self._place
        document = document_of(
            msgspec.structs.replace(self.holder, seen=datetime.now(UTC).isoformat(timespec="seconds"))
        )
        sync(place.store.set_if_not_exists(LOCK_KEY, cpu.Buffer.from_bytes(document)))
        holder = holder_in(place.get(LOCK_KEY))
        if _is(holder, self.holder):
            return True
        silent_s = None if holder is None or holder.seen is None else _since(holder.seen)
        if holder is not None and holder.is_alive(silent_s) is not False:
            raise busy_error(place.name, place.folder, holder, silent_s)
        place.delete(LOCK_KEY)
        return False


def read_holder(place: Place) -> tuple[Holder | None, bool | None]:
    """Return who holds a store, and whether that run is alive: None where it cannot be told from here.

    Returns
    -------
    tuple of Holder or None, bool or None
        No holder is (None, False); one whose name cannot be read (None, None).
    """
    data = place.get(LOCK_KEY)
    if data is None:
        return None, False
    holder = holder_in(data)
    if holder is None:
        return None, None
    if place.folder is not None:
        silent_s = silent_s_of(place.folder / LOCK_KEY, probe=False)
    else:
        silent_s = _since(holder.seen or holder.since)
    alive = holder.is_alive(silent_s)
    if alive is None and isinstance(place.backend, ObjectStorageBackend):
        return holder, silent_s <= LEASE_S
    return holder, (None if silent_s > SILENT_AFTER_S else True) if alive is None else alive


def read_figures(place: Place, holder: Holder | None) -> LiveFigures | None:
    """Return how far the run that holds a store is, as it said lately; None where it has not said so."""
    figures = None if holder is None else figures_in(place.get(LIVE_KEY))
    return figures if figures is not None and holder is not None and figures.token == holder.token else None


def _is(one: Holder | None, other: Holder | None) -> bool:
    return one is not None and other is not None and one.token == other.token


def _is_dead(holder: Holder | None, silent_s: float) -> bool:
    if holder is None:
        return silent_s > _UNNAMED_AFTER_S
    return holder.is_alive(silent_s) is False


def _path_of(place: Place) -> Path:
    """Return the path of the lock's file, in a folder that is there."""
    assert place.folder is not None
    folder = place.folder / LOCK_PATH
    if folder.is_symlink():
        # nothing of a store lies elsewhere
        folder.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    return place.folder / LOCK_KEY


def _named_holder(place: Place, path: Path) -> tuple[Holder | None, float]:
    """Return who holds a lock and for how long it has been silent; whoever has just made it is given time."""
    holder = holder_in(place.get(LOCK_KEY))
    for _ in range(_MAX_PAUSES):
        if holder is not None:
            break
        time.sleep(_PAUSE_S)
        holder = holder_in(place.get(LOCK_KEY))
    return holder, silent_s_of(path)


def _since(moment: str) -> float:
    try:
        return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds())
    except (ValueError, TypeError):
        return 0.0


def _open_lock(path: Path) -> tuple[int | None, bool]:
    """Open the file of a lock; return it, and whether it was made. None where its folder has just been removed."""
    flags = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    for _ in range(_MAX_TRIES):
        try:
            return os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o666), True
        except FileExistsError:
            pass
        except FileNotFoundError:
            return None, False
        try:
            return os.open(path, flags), False
        except FileNotFoundError:
            continue
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            path.unlink(missing_ok=True)
    return None, False


def _write(number: int, data: bytes) -> None:
    os.lseek(number, 0, os.SEEK_SET)
    os.write(number, data)
    os.ftruncate(number, len(data))


def _is_same_file(number: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(number), path.stat())
    except FileNotFoundError:
        return False


def _forget_all() -> None:
    for lock in list(_held):
        lock._forget()
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
