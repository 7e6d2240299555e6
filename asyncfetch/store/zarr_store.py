"""The objects of any Zarr store of the caller's, reached through Zarr's own loop thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zarr.abc.store import SuffixByteRequest
from zarr.buffer import cpu, default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import LocalStore

from asyncfetch.store.wall import checked_key

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

    from zarr.abc.store import Store as ZarrStore

__all__ = ["ZarrBackend"]


class ZarrBackend:
    """The objects of one Zarr store; see `asyncfetch.store.backend.Backend`.

    Parameters
    ----------
    store : zarr Store
        That can list what it holds.
    """

    folder: Path | None = None
    is_near = False
    can_list = True
    n_at_once = 1
    forgets = False
    # such as a local store within a wrapper
    leaves_partials = True

    def __init__(self, store: ZarrStore) -> None:
        self.store = store
        self.name = str(store.root) if isinstance(store, LocalStore) else str(store)

    def get(self, key: str, limit_bytes: int) -> bytes | None:
        """Return an object, None if there is none."""
        del limit_bytes  # how large an object is shows when it is there
        checked_key(key, self.name)
        buffer = sync(self.store.get(key, default_buffer_prototype()))
        return None if buffer is None else buffer.to_bytes()

    def tail(self, key: str, n_bytes: int, limit_bytes: int) -> tuple[int, bytes] | None:
        """Return the size of an object and its last bytes, None if there is none."""
        if key:
            try:
                size = sync(self.store.getsize(key))
            except FileNotFoundError:
                return None
            if size > n_bytes > 0:
                end = SuffixByteRequest(n_bytes)
                buffer = sync(self.store.get(key, default_buffer_prototype(), byte_range=end))
                return None if buffer is None else (size, buffer.to_bytes())
        data = self.get(key, limit_bytes)
        return None if data is None else (len(data), data[max(0, len(data) - n_bytes) :])

    def set(self, key: str, value: bytes, *, durable: bool = False) -> None:
        """Write one object whole, in place of any that was there."""
        del durable  # the store of the caller keeps its own promises
        sync(self.store.set(key, cpu.Buffer.from_bytes(value)))

    def set_pieces(self, key: str, pieces: Iterable[bytes | memoryview], *, durable: bool = False) -> None:
        """Write one object whole, once all its pieces are made."""
        self.set(key, b"".join(pieces), durable=durable)

    def delete(self, key: str) -> bool:
        """Remove one object if it is there."""
        sync(self.store.delete(key))
        return True

    def sync(self, keys: Collection[str]) -> None:
        """Do nothing: a store of the caller's has no word for it."""

    def rename(self, key: str, new_key: str) -> None:
        """Give one object another name by a copy, if it is there."""
        buffer = sync(self.store.get(key, default_buffer_prototype()))
        if buffer is not None:
            self.set(new_key, buffer.to_bytes())
            self.delete(key)

    def may_hold(self, path: str) -> bool:
        """Return True: nothing is asked."""
        return True

    def delete_below(self, path: str) -> None:
        """Remove everything below a path."""
        sync(self.store.delete_dir(path))

    def names_below(self, path: str) -> list[str]:
        """Return the names directly below a path, sorted; none if it does not exist."""
        if path:
            checked_key(path, self.name)
        return sorted(sync(_names_in(self.store, path)))

    def sizes_below(self, path: str) -> None:
        """Return nothing: sizes are asked for one by one."""

    def leftovers(self, path: str, *, deep: bool) -> list[str]:
        """Return nothing."""
        return []

    def remove_leftovers(self) -> None:
        """Do nothing: nothing is held."""


async def _names_in(store: ZarrStore, path: str) -> list[str]:
    # some stores make their requests as soon as they are called, which needs the loop
    return [name async for name in store.list_dir(path)]
