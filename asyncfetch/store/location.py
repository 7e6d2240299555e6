"""Where a store can lie: a directory, memory, or a Zarr store of the caller's."""

from __future__ import annotations

from pathlib import Path

from zarr.abc.store import Store as ZarrStore
from zarr.storage import LocalStore, MemoryStore

from asyncfetch.errors import StoreAccessError
from asyncfetch.store.directory import store_directory

__all__ = ["Location", "open_zarr_store"]

Location = str | Path | ZarrStore


def open_zarr_store(location: Location, *, read_only: bool) -> ZarrStore:
    """Return the Zarr store of a location; nothing is looked at yet.

    Raises
    ------
    SettingsError
        It names no place that can be opened from here; the message says what to do instead.
    StoreAccessError
        It is a Zarr store that cannot do what is needed of it.
    """
    if isinstance(location, ZarrStore):
        return _checked(location, read_only=read_only)
    if location == "memory":
        return MemoryStore(read_only=read_only)
    return LocalStore(store_directory(location), read_only=read_only)


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
