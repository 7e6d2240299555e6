"""The objects of a store in the memory of this process, reached without a loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zarr.buffer import cpu

from asyncfetch.store.wall import checked_key
from asyncfetch.store.zarr_store import ZarrBackend

if TYPE_CHECKING:
    from zarr.storage import MemoryStore

__all__ = ["MemoryBackend"]


class MemoryBackend(ZarrBackend):
    """The objects of one of Zarr's memory stores, called directly from the caller's thread.

    Parameters
    ----------
    store : MemoryStore
        The class itself: a subclass may have overridden its asynchronous half alone.
    """

    is_near = True

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self._memory = store

    def get(self, key: str, limit_bytes: int) -> bytes | None:
        """Return an object, None if there is none."""
        del limit_bytes  # it is in memory already
        buffer = self._memory.get_sync(checked_key(key, self.name))
        return None if buffer is None else buffer.to_bytes()

    def tail(self, key: str, n_bytes: int, limit_bytes: int) -> tuple[int, bytes] | None:
        """Return the size of an object and its last bytes, None if there is none."""
        data = self.get(key, limit_bytes)
        return None if data is None else (len(data), data[max(0, len(data) - n_bytes) :])

    def set(self, key: str, value: bytes, *, durable: bool = False) -> None:
        """Write one object whole, in place of any that was there."""
        del durable  # memory outlives nothing
        self._memory.set_sync(key, cpu.Buffer.from_bytes(value))

    def delete(self, key: str) -> bool:
        """Remove one object if it is there."""
        self._memory.delete_sync(key)
        return True

    def rename(self, key: str, new_key: str) -> None:
        """Give one object another name, if it is there."""
        buffer = self._memory.get_sync(key)
        if buffer is not None:
            self._memory.set_sync(new_key, buffer)
            self._memory.delete_sync(key)
