"""A prefix of object storage, or the files of a web server: the one module that imports obstore.

All requests go through one door: no more than a few are open at a time, what fails for a moment is tried again
for minutes, and what fails for good becomes an error of ours. A put is atomic and durable once it has returned.

The first request to a place is not tried for long, so that a mistyped address is told at once; after one has succeeded,
a server may be away for as long as its restart takes.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError
from obstore.store import AzureStore, GCSStore, HTTPStore, S3Store

from asyncfetch.errors import StoreAccessError
from asyncfetch.store.cloud_environment import MAX_REQUESTS, connection_options
from asyncfetch.store.cloud_failures import failure_of, is_missing_bucket, is_transient, is_whole_reply
from asyncfetch.store.wall import checked_key, require_bounded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from asyncfetch.store.directory import CloudAddress

__all__ = ["Bucket", "Version", "open_bucket"]

#: For how long a request is tried again where the place has answered before, and where it never has. The former is
#: longer than a server takes to start again, and shorter than a signature is valid (15 minutes).
_PATIENCE_S, _FIRST_PATIENCE_S = 300.0, 8.0
_PAUSE_S = 0.5
#: Above this size an object is sent in parts; below, it takes one request.
_MAX_SINGLE_PUT = 2**28
#: How many objects one request may remove (S3's DeleteObjects).
_DELETED_AT_ONCE = 1000
_FAILURES = (BaseError, OSError, NotImplementedError)


class _NoPartsError(Exception):
    """A server that sends whole objects alone, or an object that has no such part."""


class Version(NamedTuple):
    """One object as it was read: its content, what tells this version from others, and when it was written.

    Attributes
    ----------
    data : bytes
        The object.
    e_tag : str
        What a conditional put compares.
    written : datetime
        By the clock of the storage.
    """

    data: bytes
    e_tag: str
    written: datetime


class Bucket:
    """One prefix of object storage; keys are those of a store.

    Parameters
    ----------
    store : obstore store
        Where patience is due.
    name : str
        What messages call it.
    first : obstore store, optional
        The same place for the first request, with less patience.
    can_list : bool
        Whether names can be asked for.
    """

    def __init__(self, store: Any, name: str, *, first: Any = None, can_list: bool = True) -> None:
        self.name = name
        self.can_list = can_list
        self._store = store
        self._first = store if first is None else first
        self._slots = threading.BoundedSemaphore(MAX_REQUESTS)
        self._is_reached = False
        self._has_parts = True

    def __repr__(self) -> str:
        return f"Bucket({self.name!r})"

    def __reduce__(self) -> Any:
        return _made_again, (self._store, self.name, self._first, self.can_list)

    @property
    def scheme(self) -> str:
        """The kind of address: ``s3``, ``gs``, ``az`` or ``http``."""
        kinds = {"GCSStore": "gs", "AzureStore": "az", "HTTPStore": "http"}
        return kinds.get(type(self._store).__name__, "s3")

    def get(self, key: str, limit_bytes: int) -> bytes | None:
        """Return an object, None if there is none.

        Raises
        ------
        ValueError
            It has more than `limit_bytes`.
        """
        found = self.get_version(key, limit_bytes)
        return None if found is None else found.data

    def get_version(self, key: str, limit_bytes: int) -> Version | None:
        """Return an object and its version, None if there is none."""

        def ask(store: Any) -> tuple[int, Version | None]:
            result = obstore.get(store, key)
            meta = result.meta
            if meta["size"] > limit_bytes:
                return meta["size"], None
            return meta["size"], Version(
                result.bytes().to_bytes(), meta["e_tag"] or "", meta["last_modified"]
            )

        found = self._found(key, ask)
        if found is None:
            return None
        require_bounded(found[0], limit_bytes)
        return found[1]

    def get_part(self, key: str, start: int, end: int | None, limit_bytes: int) -> bytes | None:
        """Return the bytes of an object from `start` to before `end`, None if there is none.

        Parameters
        ----------
        key : str
            The object.
        start, end : int, int or None
            The part; a negative start counts from the end of the object, and no end is its end.
        limit_bytes : int
            The most that is read where the server sends whole objects alone.
        """
        if start >= 0 and end is not None:
            require_bounded(end - start, limit_bytes)
        asked: Any = {"suffix": -start} if start < 0 else {"offset": start} if end is None else (start, end)
        try:
            found = self._part(key, asked)
        except _NoPartsError:
            whole = self._whole(key, limit_bytes)
            return None if whole is None else whole[start:end]
        return None if found is None else found[1]

    def tail(self, key: str, n_bytes: int, limit_bytes: int) -> tuple[int, bytes] | None:
        """Return the size of an object and its last bytes, None if there is none."""
        if not n_bytes:
            size = self.size(key)
            return None if size is None else (size, b"")
        try:
            return self._part(key, {"suffix": n_bytes})
        except _NoPartsError:
            whole = self._whole(key, limit_bytes)
            return None if whole is None else (len(whole), whole[-n_bytes:])

    def _part(self, key: str, asked: Any) -> tuple[int, bytes] | None:
        """Return the size of an object and a part of it."""
        if not self._has_parts:
            raise _NoPartsError

        def ask(store: Any) -> tuple[int, bytes]:
            try:
                result = obstore.get(store, key, options={"range": asked})
                return result.meta["size"], result.bytes().to_bytes()
            except _FAILURES as error:
                if is_whole_reply(error):
                    raise _NoPartsError from error
                raise

        return self._found(key, ask)

    def _whole(self, key: str, limit_bytes: int) -> bytes | None:
        """Return an object of which no part was to be had, and remember whether that is so of all."""
        whole = self.get(key, limit_bytes)
        # an empty object has no parts anywhere
        self._has_parts = self._has_parts and not whole
        return whole

    def size(self, key: str) -> int | None:
        """Return the size of an object, None if there is none."""
        size: int | None = self._found(key, lambda store: obstore.head(store, key)["size"])
        return size

    def put(self, key: str, data: bytes) -> None:
        """Write an object in place of any that was there."""
        multipart = len(data) > _MAX_SINGLE_PUT
        self._call(
            lambda store: obstore.put(store, key, data, mode="overwrite", use_multipart=multipart), key
        )

    def put_if(self, key: str, data: bytes, e_tag: str | None) -> str | None:
        """Write an object if it is as it was read, or if there is none yet.

        Parameters
        ----------
        key, data : str, bytes
            The object.
        e_tag : str or None
            Of the version that it replaces; None where there must be none.

        Returns
        -------
        str or None
            Of the version that was written; None where somebody else was first.
        """
        mode: Any = "create" if e_tag is None else {"e_tag": e_tag}

        def ask(store: Any) -> str | None:
            try:
                return obstore.put(store, key, data, mode=mode, use_multipart=False)["e_tag"]
            except (AlreadyExistsError, PreconditionError):
                # a reply that was lost is asked for again, and then the object that is there is this one
                return None

        written: str | None = self._call(ask, key)
        if written is None:
            found = self.get_version(key, len(data))
            return found.e_tag if found is not None and found.data == data else None
        return written

    def delete(self, keys: Iterable[str]) -> None:
        """Remove objects, those of them that are there."""
        for batch in itertools.batched(keys, _DELETED_AT_ONCE):
            names: Any = batch[0] if len(batch) == 1 else list(batch)

            def ask(store: Any, names: Any = names) -> None:
                obstore.delete(store, names)

            self._found(batch[0], ask)

    def copy(self, key: str, new_key: str) -> bool:
        """Copy an object within the storage; return whether it is there."""

        def ask(store: Any) -> bool:
            obstore.copy(store, key, new_key)
            return True

        return self._found(key, ask) is not None

    def names_below(self, path: str) -> tuple[list[str], list[str]]:
        """Return the names of folders and of objects directly below a path."""
        found: Any = self._call(lambda store: obstore.list_with_delimiter(store, path or None), path)
        start = len(path) + 1 if path else 0
        folders = [each[start:] for each in found["common_prefixes"]]
        return folders, [each["path"][start:] for each in found["objects"] if len(each["path"]) > start]

    def sizes_below(self, path: str) -> dict[str, int]:
        """Return the sizes of all objects below a path by key."""

        def ask(store: Any) -> dict[str, int]:
            return {each["path"]: each["size"] for page in obstore.list(store, path or None) for each in page}

        sizes: dict[str, int] = self._call(ask, path)
        return sizes

    def _found[T](self, key: str, ask: Callable[[Any], T]) -> T | None:
        """Call, and return None where there is no such object."""

        def or_none(store: Any) -> T | None:
            try:
                return ask(store)
            except FileNotFoundError as error:
                if is_missing_bucket(error):
                    raise
                return None

        found: T | None = self._call(or_none, key)
        return found

    def _call(self, ask: Callable[[Any], Any], key: str) -> Any:
        """Send a request, and send it again where the connection failed and it is obstore that gives up at once.

        Obstore tries most failures again by itself. It does not where a connection breaks while a reply is read, or
        where it cannot know that a request may be repeated; all of ours may.
        """
        if key:
            checked_key(key, self.name)
        patience_s = _PATIENCE_S if self._is_reached else _FIRST_PATIENCE_S
        until = time.monotonic() + patience_s
        while True:
            with self._slots:
                try:
                    answer = ask(self._store if self._is_reached else self._first)
                except _FAILURES as error:
                    if not is_transient(error) or time.monotonic() > until:
                        raise failure_of(self.name, self.scheme, error) from error
                else:
                    self._is_reached = True
                    return answer
            time.sleep(_PAUSE_S)


def open_bucket(address: CloudAddress) -> Bucket:
    """Return the place of an address; nothing is asked yet.

    Raises
    ------
    StoreAccessError
        The environment lacks what this kind of address needs.
    """
    try:
        patient, first = (_opened(address, patience_s) for patience_s in (_PATIENCE_S, _FIRST_PATIENCE_S))
    except _FAILURES as error:
        raise failure_of(address.text, address.kind, error) from error
    return Bucket(patient, address.text, first=first, can_list=address.kind != "http")


def _opened(address: CloudAddress, patience_s: float) -> Any:
    options: Any = {
        "retry_config": {
            "max_retries": 1000,
            "retry_timeout": timedelta(seconds=patience_s),
            "backoff": {
                "init_backoff": timedelta(milliseconds=100),
                "max_backoff": timedelta(seconds=5),
                "base": 2,
            },
        },
        "client_options": connection_options(address.kind, os.environ),
    }
    match address.kind:
        case "s3":
            return S3Store(address.bucket, prefix=address.prefix or None, **options)
        case "gs":
            return GCSStore(address.bucket, prefix=address.prefix or None, **options)
        case "az":
            return AzureStore(address.bucket, prefix=address.prefix or None, **options)
        case "http":
            return HTTPStore.from_url(address.text, **options)
    raise StoreAccessError(f"{address.text} is not an address of object storage", location=address.text)


def _made_again(store: Any, name: str, first: Any, can_list: bool) -> Bucket:
    return Bucket(store, name, first=first, can_list=can_list)
