"""What a location names, as it was typed: a directory, memory, or an address that cannot be opened."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from zarr.abc.store import Store as ZarrStore
from zarr.storage import LocalStore, MemoryStore

from asyncfetch.errors import SettingsError, StoreAccessError

if TYPE_CHECKING:
    from typing import NoReturn

__all__ = ["Location", "directory_of", "open_zarr_store"]

Location = str | Path | ZarrStore

#: Two letters at least, so that ``C:`` is a drive of Windows.
_ADDRESS = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+)://")
#: What a path keeps of an address: ``Path("s3://bucket/a.zarr")`` is ``s3:/bucket/a.zarr``.
_WAS_ADDRESS = re.compile(r"(?P<scheme>s3|gs|gcs|az|abfss?|https?|ftp|memory|file):", re.IGNORECASE)
_DRIVE = re.compile(r"/[A-Za-z]:")
#: The class of obstore that reaches each kind of object storage.
_OBSTORE = {
    "s3": "S3Store",
    "gs": "GCSStore",
    "gcs": "GCSStore",
    "az": "AzureStore",
    "abfs": "AzureStore",
    "abfss": "AzureStore",
    "http": "HTTPStore",
    "https": "HTTPStore",
}
#: What names a file that holds a store (RFC-9 of NGFF calls it .ozx), and not a directory.
_ARCHIVES = {".zip", ".ozx"}
#: Of these nothing can be written.
_READ_ONLY = {"http", "https"}


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
    path = directory_of(location)
    if path.suffix.lower() in _ARCHIVES:
        _check_is_no_archive(path)
    return LocalStore(path, read_only=read_only)


def directory_of(location: str | Path) -> Path:
    """Return the directory that a location names: ``~`` is the user's home, ``file://`` an address on this machine.

    Raises
    ------
    SettingsError
        It is empty, or an address of another kind.
    """
    text = str(location)
    if not text.strip() or "\0" in text:
        what = "a NUL character" if text.strip() else "an empty name"
        raise SettingsError(f"{what} cannot name a store; give a directory", setting="out")
    pattern = _WAS_ADDRESS if isinstance(location, Path) else _ADDRESS
    address = pattern.match(text)
    if address is not None:
        if isinstance(location, str) and address["scheme"].lower() == "file":
            return _path_of_file(text)
        _refuse(text, address["scheme"].lower())
    if isinstance(location, str) and text.lower().startswith("file:/"):
        return _path_of_file(text)
    try:
        return Path(location).expanduser()
    except RuntimeError:
        raise SettingsError(
            f"{text}: the home directory is not known; write the whole path", setting="out"
        ) from None


def _check_is_no_archive(path: Path) -> None:
    """See that a name that ends as archives do is that of a directory: one made before is used as it is."""
    try:
        if path.is_dir():
            return
        is_there = path.exists()
    except OSError:
        is_there = False
    if is_there:
        raise SettingsError(
            f"{path} is an archive, and a store that is read or written here is a directory; unpack it and give that. "
            f'From Python, zarr.storage.ZipStore("{path}", mode="r") can be read as it is',
            setting="out",
        )
    directory = path.with_suffix("") if path.stem.lower().endswith(".zarr") else path.with_suffix(".zarr")
    raise SettingsError(
        f"{path} is the name of an archive, and a store is a directory; use {directory}, "
        "and pack it when it is complete",
        setting="out",
    )


def _path_of_file(text: str) -> Path:
    parts = urlsplit(text)
    path = unquote(parts.path)
    if parts.netloc not in {"", "localhost"}:
        raise SettingsError(
            f"{text} is on the host {parts.netloc}; a file address without a host is on this machine, as in "
            f"file:///{parts.netloc}{path}",
            setting="out",
        )
    if not path.strip("/") or "\0" in path:
        raise SettingsError(f"{text} does not name a directory; write file:///PATH", setting="out")
    return Path(path[1:] if os.name == "nt" and _DRIVE.match(path) else path)


def _refuse(text: str, scheme: str) -> NoReturn:
    if scheme == "memory":
        raise SettingsError(
            f'{text} cannot be opened; from Python, "memory" is a new store in memory', setting="out"
        )
    if scheme not in _OBSTORE:
        raise SettingsError(
            f"{text} cannot be opened: {scheme}:// is not a kind of address that is known here; give a directory",
            setting="out",
        )
    what = "can only be read, and only" if scheme in _READ_ONLY else "can only be used"
    raise SettingsError(
        f"{text} cannot be opened by its address: object storage {what} from Python, with a Zarr store as the "
        f"location (pip install obstore; zarr.storage.ObjectStore(obstore.store.{_OBSTORE[scheme]}(...))); "
        "give a directory",
        setting="out",
    )


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
