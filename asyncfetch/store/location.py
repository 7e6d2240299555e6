"""Where a store can lie: a directory, memory, or a Zarr store of the caller's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from zarr.abc.store import Store as ZarrStore
from zarr.storage import LocalStore, MemoryStore

from asyncfetch.errors import StoreAccessError
from asyncfetch.store.directory import store_directory
from asyncfetch.store.folder import FolderBackend
from asyncfetch.store.memory import MemoryBackend
from asyncfetch.store.walled import WalledStore
from asyncfetch.store.zarr_store import ZarrBackend

if TYPE_CHECKING:
    from asyncfetch.store.backend import Backend

__all__ = ["Location", "open_backend"]

Location = str | Path | ZarrStore


def open_backend(location: Location, *, read_only: bool) -> Backend:
    """Return what keeps the objects of a location; nothing is looked at yet.

    Raises
    ------
    SettingsError
        It names no place that can be opened from here; the message says what to do instead.
    StoreAccessError
        It is a Zarr store that cannot do what is needed of it.
    """
    if location == "memory":
        return MemoryBackend(MemoryStore(read_only=read_only))
    if not isinstance(location, ZarrStore):
        return FolderBackend(WalledStore(store_directory(location), read_only=read_only))
    store = _checked(location, read_only=read_only)
    # A subclass may have overridden the asynchronous half alone, so only the classes themselves count.
    match store:
        case WalledStore():
            return FolderBackend(store)
        case LocalStore() if type(store) is LocalStore:
            return FolderBackend(WalledStore(store.root, read_only=store.read_only))
        case MemoryStore() if type(store) is MemoryStore:
            return MemoryBackend(store)
        case _:
            return ZarrBackend(store)


def _checked(store: ZarrStore, *, read_only: bool) -> ZarrStore:
    name = str(store)
    if not store.supports_listing:
        raise StoreAccessError(
            f"{name} cannot list what it holds; copy it to a directory and give that", location=name
        )
    if read_only:
        return store if store.read_only else _read_only(store)
    if store.read_only:
        raise StoreAccessError(f"{name} was opened read-only; open it for writing", location=name)
    if not (store.supports_writes and store.supports_deletes):
        raise StoreAccessError(
            f"{name} can be read but not changed, because nothing in it can be replaced or removed; write to a "
            "directory and pack that when it is complete",
            location=name,
        )
    return store


def _read_only(store: ZarrStore) -> ZarrStore:
    try:
        return store.with_read_only(True)
    except NotImplementedError:
        # such as a zip archive, which keeps its mode; readers never write
        return store
