"""What a location names, as it was typed: a directory, or the address of object storage."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urlsplit

from asyncfetch.errors import SettingsError

if TYPE_CHECKING:
    from typing import NoReturn

__all__ = ["CloudAddress", "cloud_address", "directory_of", "require_writable", "store_directory"]

#: Two letters at least, so that ``C:`` is a drive of Windows.
_ADDRESS = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+)://")
#: What a path keeps of an address: ``Path("s3://bucket/a.zarr")`` is ``s3:/bucket/a.zarr``.
_WAS_ADDRESS = re.compile(r"(?P<scheme>s3|gs|gcs|az|abfss?|https?|ftp|memory|file):", re.IGNORECASE)
_DRIVE = re.compile(r"/[A-Za-z]:")
#: The kinds of storage that can be reached by an address, and their schemes.
_KINDS = {"s3": "s3", "gs": "gs", "gcs": "gs", "az": "az", "http": "http", "https": "http"}
#: What names a file that holds a store (RFC-9 of NGFF calls it .ozx), and not a directory.
_ARCHIVES = {".zip", ".ozx"}


class CloudAddress(NamedTuple):
    """Where a store lies in object storage, or on a web server.

    Attributes
    ----------
    kind : str
        ``s3``, ``gs``, ``az`` or ``http``.
    bucket : str
        The bucket or container; the host of a web server.
    prefix : str
        What the names of all objects begin with, without slashes around it; may be empty.
    text : str
        The address as messages show it.
    """

    kind: str
    bucket: str
    prefix: str
    text: str


def cloud_address(location: object) -> CloudAddress | None:
    """Return the address that a location names, None where it names none of object storage.

    Raises
    ------
    SettingsError
        It holds a password or a query, no bucket, or a name that no object can have.
    """
    found = _ADDRESS.match(location) if isinstance(location, str) else None
    kind = None if found is None else _KINDS.get(found["scheme"].lower())
    if found is None or kind is None:
        return None
    scheme, rest = found["scheme"].lower(), str(location)[found.end() :]
    bucket, _, prefix = rest.partition("/")
    prefix = prefix.strip("/")
    shown = f"{scheme}://{bucket.rpartition('@')[2]}" + (f"/{prefix}" if prefix else "")
    if "@" in bucket:
        raise SettingsError(
            f"{shown} was given with a user or a password, which would be written into reports; give those in the "
            "environment, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
            setting="out",
        )
    if not bucket:
        raise SettingsError(f"{location} does not name a bucket; write {scheme}://BUCKET/PATH", setting="out")
    if re.search(r"[?#\\\0]", rest) or any(part in {"", ".", ".."} for part in prefix.split("/") if prefix):
        raise SettingsError(
            f"{shown} cannot name a store: a path in a bucket has no empty parts, no '..', and none of ? # \\",
            setting="out",
        )
    return CloudAddress(kind, bucket, prefix, shown)


def require_writable(address: CloudAddress) -> None:
    """Make sure that a store can be written at an address.

    Raises
    ------
    SettingsError
        It is that of a web server.
    """
    if address.kind == "http":
        raise SettingsError(
            f"{address.text} can only be read; write to a directory, or to s3://, gs:// or az://",
            setting="out",
        )


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
    if scheme in _KINDS:
        raise SettingsError(
            f"{text} is an address where a directory is needed; an address of object storage is given as text (str), "
            "not as a Path",
            setting="out",
        )
    known = (
        "az://CONTAINER/PATH"
        if scheme in {"abfs", "abfss"}
        else "a directory, or s3://, gs://, az:// or https://"
    )
    raise SettingsError(
        f"{text} cannot be opened: {scheme}:// is not a kind of address that is known here; give {known}",
        setting="out",
    )
