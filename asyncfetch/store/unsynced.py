"""What was changed in a store and may not have reached the disk yet, and when it has to.

A claim, such as a commit, is written when what it vouches for has reached the disk. A document that takes the place of
another one has reached it when the call returns, and so has the removal of one: nothing that follows can be there
before a claim was changed that no longer holds. Where a claim itself is new it may reach the disk later: without it its
objects count as absent.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

__all__ = ["Unsynced"]


class Unsynced:
    """The keys of objects that were written, renamed or removed since they were last synced; for many threads.

    Parameters
    ----------
    sync : callable
        Sees to it that objects are on the disk as they are now, or gone from it.
    """

    def __init__(self, sync: Callable[[Collection[str]], None]) -> None:
        self._sync = sync
        self._lock = threading.Lock()
        self._n_changes = 0
        self._changes: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"Unsynced({sorted(self._changes)!r})"

    def note(self, key: str) -> None:
        """Remember that an object was changed, or all below a path."""
        with self._lock:
            self._n_changes += 1
            self._changes[key] = self._n_changes

    def settle(self, paths: Collection[str] = ()) -> None:
        """Sync what was changed at some paths and below them, or everything where none is named.

        What another thread is just syncing is synced here, too, so that it is on the disk when this returns.
        """
        with self._lock:
            due = {key: n for key, n in self._changes.items() if not paths or _is_at(key, paths)}
        if not due:
            return
        self._sync(due.keys())
        with self._lock:
            for key, n in due.items():
                # unless it was changed again meanwhile
                if self._changes.get(key) == n:
                    del self._changes[key]


def _is_at(key: str, paths: Collection[str]) -> bool:
    return any(not path or key == path or key.startswith(f"{path}/") for path in paths)
