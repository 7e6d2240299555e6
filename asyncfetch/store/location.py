"""Where a store can lie: a directory, memory, object storage, or a Zarr store of the caller's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from zarr.abc.store import Store as ZarrStore
from zarr.storage import LocalStore, MemoryStore, ObjectStore

from asyncfetch.errors import SettingsError, StoreAccessError
from asyncfetch.store.bucket_store import BucketStore
from asyncfetch.store.directory import cloud_address, require_writable, store_directory
from asyncfetch.store.memory import MemoryBackend
from asyncfetch.store.object_storage import ObjectStorageBackend
from asyncfetch.store.packed_folder import PackedFolderBackend
from asyncfetch.store.packed_store import PackedStore
from asyncfetch.store.web import WebBackend
from asyncfetch.store.zarr_store import ZarrBackend

if TYPE_CHECKING:
    from types import ModuleType

    from asyncfetch.store.backend import Backend
    from asyncfetch.store.directory import CloudAddress

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
    address = cloud_address(location)
    if address is not None:
        return _cloud_backend(address, read_only=read_only)
    if not isinstance(location, ZarrStore):
        return PackedFolderBackend(PackedStore(store_directory(location), read_only=read_only))
    store = _checked(location, read_only=read_only)
    # A subclass may have overridden the asynchronous half alone, so only the classes themselves count.
    match store:
        case PackedStore():
            return PackedFolderBackend(store)
        case LocalStore() if type(store) is LocalStore:
            return PackedFolderBackend(PackedStore(store.root, read_only=store.read_only))
        case MemoryStore() if type(store) is MemoryStore:
            return MemoryBackend(store)
        case ObjectStore() if type(store) is ObjectStore and type(store.store).__name__ != "LocalStore":
            bucket = _bucket_module(str(store)).Bucket(store.store, str(store))
            return ObjectStorageBackend(bucket, read_only=store.read_only)
        case BucketStore():
            return _backend_of(store)
        case _:
            return ZarrBackend(store)


def _cloud_backend(address: CloudAddress, *, read_only: bool) -> Backend:
    if not read_only:
        require_writable(address)
    return _backend_of(BucketStore(_bucket_module(address.text).open_bucket(address), read_only=read_only))


def _backend_of(store: BucketStore) -> Backend:
    make = ObjectStorageBackend if store.bucket.can_list else WebBackend
    return make(store.bucket, read_only=store.read_only)


def _bucket_module(name: str) -> ModuleType:
    try:
        from asyncfetch.store import bucket
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "obstore":
            raise
        raise SettingsError(
            f"{name} is in object storage, which requires obstore; install it with: pip install 'asyncfetch[cloud]'",
            setting="out",
        ) from error
    return bucket


def _checked(store: ZarrStore, *, read_only: bool) -> ZarrStore:
    name = str(store)
    if not store.supports_listing and not isinstance(store, BucketStore):
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
