"""What a location names, as it was typed: a directory, or an address that cannot be opened."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from asyncfetch.errors import SettingsError

if TYPE_CHECKING:
    from typing import NoReturn

__all__ = ["directory_of", "store_directory"]

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


def store_directory(location: str | Path) -> Path:
    """Return the directory of a store that a location names; nothing is opened.

    Raises
    ------
    SettingsError
        It is empty, an address of another kind, or the name of an archive; the message says what to do instead.
    """
    path = directory_of(location)
    if path.suffix.lower() in _ARCHIVES:
        _check_is_no_archive(path)
    return path


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
