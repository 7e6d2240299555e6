"""Where a store lies, and the wall at which its failures become errors of ours.

A place is a local directory, memory, any Zarr store, or object storage: whatever keeps the objects does what
`asyncfetch.store.backend` asks, and says at the top of its own module what it promises. Here are the words of errors,
and what is written of a group: the attributes of ours, beside those that others have put there.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import msgspec

from asyncfetch.errors import StoreAccessError, StoreError, StoreItemError, StoreSpaceError
from asyncfetch.layout.bounds import MAX_OBJECT_BYTES
from asyncfetch.store.checksums import checksum_problem, is_misspelt, with_checksum, without_checksum
from asyncfetch.store.damage import UNREADABLE, Damage, parse_array, parse_document, parse_group
from asyncfetch.store.folder import PARTIAL
from asyncfetch.store.location import Location, open_backend
from asyncfetch.store.unsynced import Unsynced
from asyncfetch.store.wall import checked_key

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
    from pathlib import Path

    from zarr.abc.store import Store as ZarrStore

    from asyncfetch.settings import Sync

__all__ = ["Location", "Place", "metadata_key"]

_GROUP = "zarr.json"
#: The field of a group in which Zarr keeps a copy of all metadata below it.
_COPY = "consolidated_metadata"
_FIELDS = {"zarr_format", "node_type", "attributes", _COPY}
_OURS = ("asyncfetch", "ome")
_OURS_ON_ARRAYS = ("asyncfetch", "units")
#: Groups of which it is remembered that they hold no copy, some hundred bytes each.
_MAX_REMEMBERED = 10_000
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
#: What the system says of an object that is lost, or of a folder where a file belongs.
_DAMAGED = {errno.EIO, errno.EISDIR}
_NO_ACCESS = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ENOENT, errno.EISDIR}


class Place:
    """Where one store lies: whole objects, read and written, with errors that name it.

    Parameters
    ----------
    location : str, Path or zarr Store
        A directory, an address of object storage such as ``s3://bucket/a.zarr``, ``"memory"`` for a new store in
        memory, or a Zarr store.
    read_only : bool
        Refuse to write.
    sync : str
        What has reached the disk when a claim is written: ``data`` that it vouches for, ``all`` of it, or ``none``.

    Attributes
    ----------
    backend : Backend
        What keeps the objects.
    name : str
        What messages call the place.
    damage : Damage
        What was met that cannot be read and therefore counts as missing.
    guard : callable or None
        Is called before every change, and raises where this run may not make it.
    """

    def __init__(self, location: Location, *, read_only: bool = False, sync: Sync = "none") -> None:
        self.backend = open_backend(location, read_only=read_only)
        self._sync_mode = sync
        is_tracked = sync != "none" and self.backend.forgets
        self._unsynced = Unsynced(self.backend.sync) if is_tracked else None
        self.name = self.backend.name
        self.damage = Damage()
        self.guard: Callable[[], None] | None = None
        self._copies = threading.Lock()
        self._without_copy: set[str] = set()

    def __repr__(self) -> str:
        return f"Place({self.name!r})"

    @property
    def store(self) -> ZarrStore:
        """The same objects as Zarr reads them."""
        return self.backend.store

    @property
    def folder(self) -> Path | None:
        """The directory of the store, None where it is kept otherwise."""
        return self.backend.folder

    @property
    def is_near(self) -> bool:
        """Whether looking at an object takes microseconds: a folder or memory of this process."""
        return self.backend.is_near

    @property
    def can_list(self) -> bool:
        """Whether names can be asked for; elsewhere only what is known by name can be read."""
        return self.backend.can_list

    @contextlib.contextmanager
    def mapped_errors(self, key: str | None = None) -> Iterator[None]:
        """Turn an OSError into the StoreError that says what to do.

        Parameters
        ----------
        key : str, optional
            What is read; None where something is written.

        Raises
        ------
        StoreSpaceError, StoreAccessError, StoreItemError, StoreError
            The disk is full; a path cannot be read or written; the system cannot read this object alone; anything
            else of the operating system.
        """
        try:
            yield
        except OSError as error:
            reason = error.strerror or str(error)
            path = error.filename or self.name
            if key is not None and error.errno in _DAMAGED:
                raise self.damaged_item(key, f"cannot be read ({reason})") from error
            if error.errno in _NO_SPACE:
                raise StoreSpaceError(
                    f"no space left for {self.name} ({reason}); free some space and resume; what is committed stays",
                    location=self.name,
                ) from error
            if error.errno in _NO_ACCESS:
                raise StoreAccessError(
                    f"{self.name} cannot be used: {path}: {reason}; "
                    "choose another directory or change its permissions",
                    location=self.name,
                ) from error
            raise StoreError(f"{self.name} failed: {reason}", location=self.name) from error

    def damaged_item(self, path: str, problem: str) -> StoreItemError:
        """Return the error of something that a commit vouches for and that is not as it was written."""
        return StoreItemError(
            f"{self.name}/{path} {problem}; restore it with: asyncfetch verify {self.name} --repair",
            location=f"{self.name}/{path}",
        )

    def get(self, key: str, limit_bytes: int = MAX_OBJECT_BYTES) -> bytes | None:
        """Return the object of that key, or None if there is none.

        Raises
        ------
        StoreItemError
            It has more than `limit_bytes`, and is a file.
        """
        with self.mapped_errors(key):
            try:
                return self.backend.get(key, limit_bytes)
            except ValueError as error:
                raise self.damaged_item(key, f"cannot be read ({error})") from error

    def tail(self, key: str, n_bytes: int) -> tuple[int, bytes] | None:
        """Return the size of an object and its last bytes, None if there is none."""
        with self.mapped_errors(key):
            try:
                return self.backend.tail(key, n_bytes, MAX_OBJECT_BYTES)
            except ValueError as error:
                raise self.damaged_item(key, f"cannot be read ({error})") from error

    def set(self, key: str, value: bytes) -> None:
        """Write one object whole, in place of any that was there."""
        self._expect_change(key)
        with self._writing(key) as durable:
            self.backend.set(key, value, durable=durable)

    def set_pieces(self, key: str, pieces: Iterable[bytes | memoryview], *, is_claim: bool = False) -> None:
        """Write one object whole, each piece of it when it is made; where that fails, what was there stays.

        Parameters
        ----------
        key : str
            The object.
        pieces : iterable of bytes
            Its content.
        is_claim : bool
            Whether the name alone says that all of it is there, so that it has to reach the disk last.
        """
        self._expect_change(key)
        with self._writing(key, is_claim=is_claim) as durable:
            self.backend.set_pieces(key, pieces, durable=durable)

    @contextlib.contextmanager
    def _writing(self, key: str, *, is_claim: bool = False) -> Iterator[bool]:
        """Do what is due around the writing of an object, and tell whether that is to be durable."""
        unsynced = self._unsynced
        if unsynced is None:
            with self.mapped_errors():
                yield False
            return
        with self.mapped_errors():
            replaces = key.endswith(_GROUP) and self.tail(key, 0) is not None
            if replaces:
                unsynced.settle([key.rpartition("/")[0]])
            yield is_claim or replaces
            unsynced.note(key)
            if replaces:
                unsynced.settle([key])

    def settle(self, *paths: str) -> None:
        """See to it that what was changed at some paths and below them, or everywhere, outlives a power cut."""
        if self._unsynced is not None:
            with self.mapped_errors():
                self._unsynced.settle(paths)

    def delete(self, key: str) -> None:
        """Remove one object if it is there."""
        self._expect_change(key)
        with self.mapped_errors():
            was_there = self.backend.delete(key)
            if was_there and self._unsynced is not None:
                self._unsynced.note(key)
                if key.endswith(_GROUP):
                    self._unsynced.settle([key])

    def rename(self, key: str, new_key: str) -> None:
        """Give one object another name, if it is there; what had that name goes."""
        self._expect_change(key)
        self._expect_change(new_key)
        with self.mapped_errors():
            self.backend.rename(key, new_key)
            if self._unsynced is not None:
                self._unsynced.note(key)
                self._unsynced.note(new_key)

    def delete_below(self, path: str) -> None:
        """Remove everything below a path, leftovers of a killed write (``*.partial``) included.

        A folder that the system still holds, because a file in it is open somewhere (NFS), stays until
        `remove_leftovers`.
        """
        checked_key(path, self.name)
        with self.mapped_errors():
            # a new section has nothing there
            if self.backend.may_hold(path):
                self._expect_change(f"{path}/{_GROUP}")
                self.backend.delete_below(path)
                if self._unsynced is not None:
                    self._unsynced.note(path)

    def remove_leftovers(self) -> None:
        """Remove the folders that could not be removed before; those that still cannot are left."""
        self.backend.remove_leftovers()

    def names_below(self, path: str) -> list[str]:
        """Return the names directly below a path, sorted; none if it does not exist."""
        with self.mapped_errors():
            try:
                return self.backend.names_below(path)
            except ValueError as error:
                self.damage.add(path, f"cannot be read ({error})")
                return []

    def sizes_below(self, path: str) -> dict[str, int] | None:
        """Return the sizes of all objects below a path by key; None where `tail` costs less."""
        return self.backend.sizes_below(path)

    def map[T, R](self, function: Callable[[T], R], items: Iterable[T]) -> list[R]:
        """Call a function of this place for each item, for several at once where each call waits for a server."""
        if self.backend.n_at_once == 1:
            return [function(each) for each in items]
        with ThreadPoolExecutor(self.backend.n_at_once) as pool:
            return list(pool.map(function, items))

    def read[T](self, key: str, parse: Callable[[bytes], T], limit_bytes: int = MAX_OBJECT_BYTES) -> T | None:
        """Return an object as parsed; None where it is missing, or damaged, which `damage` then remembers."""
        try:
            data = self.get(key, limit_bytes)
        except StoreItemError as error:
            reason = getattr(error.__cause__, "strerror", None) or error.__cause__
            self.damage.add(key, f"cannot be read ({reason})")
            return None
        if data is None:
            return None
        try:
            return parse(data)
        except UNREADABLE as error:
            self.damage.add(key, f"cannot be read ({error})" if data else "is empty")
            return None

    def attributes(self, path: str) -> dict[str, Any] | None:
        """Return the attributes of the group at a path; None where there is none, or none that can be read."""
        return self.read(metadata_key(path), parse_group)

    def ours(self, path: str) -> dict[str, Any]:
        """Return what a group says of ours: its attribute ``asyncfetch``, empty where there is none."""
        content = (self.attributes(path) or {}).get("asyncfetch")
        return without_checksum(content) if isinstance(content, dict) else {}

    def is_unchanged(self, path: str) -> bool:
        """Tell whether what a group says of ours is as it was written."""
        return checksum_problem(self.attributes(path) or {}) is None

    def write_group(
        self,
        path: str,
        attributes: Mapping[str, Any],
        *,
        keep: bool = False,
        vouches_for: Collection[str] = (),
    ) -> None:
        """Write what a group says of ours; attributes and fields that others have put there stay.

        What stands there already is not written again.

        Parameters
        ----------
        path : str
            The group.
        attributes : mapping
            The attributes to set. One that is None is removed.
        keep : bool
            Write only where there is no group yet.
        vouches_for : collection of str
            The paths of what is claimed to be there, which reaches the disk before.
        """
        before = self._group(path)
        if keep and before is not None:
            return
        group = {"zarr_format": 3, "node_type": "group", "attributes": {}}
        group |= {name: value for name, value in (before or {}).items() if not is_misspelt(name, _FIELDS)}
        group.pop(_COPY, None)
        merged = {**_others(group, attributes), **attributes}
        group["attributes"] = with_checksum(
            {name: value for name, value in merged.items() if value is not None}
        )
        data = msgspec.json.encode(group)
        if before is not None and msgspec.json.decode(data) == before:
            return
        if vouches_for:
            self.settle(*vouches_for)
        self.set(metadata_key(path), msgspec.json.format(data))
        if vouches_for and self._sync_mode == "all":
            self.settle(metadata_key(path))
        self._without_copy.add(path)

    def withdraw_group(self, path: str) -> None:
        """Take away what a group says of ours; where nobody else says anything there, the group ceases to exist."""
        if self._is_shared(path):
            self.write_group(path, dict.fromkeys(_OURS))
        else:
            self.delete(metadata_key(path))

    def delete_parts(self, path: str, parts: Collection[str]) -> None:
        """Remove parts of a group, and the group itself where others have put nothing in it.

        Parameters
        ----------
        path : str
            The group.
        parts : collection of str
            Names directly below it, of objects or of whole groups and arrays.
        """
        names = self.names_below(path)
        ours = [name for name in names if name in parts or name.endswith(PARTIAL)]
        noted = {name for name in ours if "." not in name and self.notes_on_array(f"{path}/{name}")}
        if not (noted or set(names) - {*ours, _GROUP} or (names and self._is_shared(path))):
            self.delete_below(path)
            return
        self.withdraw_group(path)
        for name in ours:
            if name in noted:
                self._delete_contents(f"{path}/{name}")
                continue
            self.delete_below(f"{path}/{name}")
            if "." in name:
                self.delete(f"{path}/{name}")

    def notes_on_array(self, path: str) -> dict[str, Any]:
        """Return the attributes that others have put on an array of ours."""
        try:
            attributes = parse_array(self.get(metadata_key(path)) or b"").get("attributes")
        except (StoreItemError, *UNREADABLE):
            return {}
        return (
            {}
            if not isinstance(attributes, dict)
            else {
                name: value
                for name, value in attributes.items()
                if name not in _OURS_ON_ARRAYS and not is_misspelt(name, _OURS_ON_ARRAYS)
            }
        )

    def _delete_contents(self, path: str) -> None:
        """Remove what an array holds; its metadata stay until it is written again, for what others say there."""
        for name in self.names_below(path):
            if name != _GROUP:
                self.delete_below(f"{path}/{name}")
                self.delete(f"{path}/{name}")

    def _is_shared(self, path: str) -> bool:
        """Tell whether others have put something into the document of a group."""
        group = self._group(path)
        return group is not None and bool(_others(group, _OURS) or group.keys() - _FIELDS)

    def _group(self, path: str) -> dict[str, Any] | None:
        """Return the whole document of a group, None where there is none that could be read."""
        return self.read(metadata_key(path), parse_document)

    def _expect_change(self, key: str) -> None:
        """Drop the copies of metadata that groups above an object hold, before it is changed.

        Zarr's consolidated metadata, which its readers believe without looking further.
        """
        checked_key(key, self.name)
        if self.guard is not None:
            self.guard()
        if not key.endswith(_GROUP):
            return
        folders = key.split("/")[:-1]
        for group in itertools.chain([""], itertools.accumulate(folders[:-1], "{}/{}".format)):
            if group in self._without_copy:
                continue
            with self._copies:
                data = self.read(metadata_key(group), bytes)
                # most groups have none, and nothing has to be parsed to tell
                found = self._group(group) if data is not None and _COPY.encode() in data else None
                if len(self._without_copy) >= _MAX_REMEMBERED:
                    self._without_copy.clear()
                self._without_copy.add(group)
                if found is not None and found.pop(_COPY, None) is not None:
                    self.set(metadata_key(group), msgspec.json.format(msgspec.json.encode(found)))

    def sweep(self, path: str) -> None:
        """Remove the temporary files that a killed write left directly below a path."""
        if not self.backend.leaves_partials:
            return
        for name in self.names_below(path):
            if name.endswith(PARTIAL):
                self.delete(f"{path}/{name}" if path else name)

    def leftovers(self, path: str, *, deep: bool = True) -> list[str]:
        """Return the keys of the temporary files that killed writes left below a path, however deep or just there."""
        return self.backend.leftovers(path, deep=deep)

    def remove_leftover(self, key: str) -> bool:
        """Remove a temporary file; return whether it is gone, which one that the system holds is not."""
        with contextlib.suppress(StoreError):
            self.delete_below(key)
            self.delete(key)
        return self.folder is None or not (self.folder / key).exists()

    def others_in(self, path: str) -> dict[str, Any]:
        """Return the attributes that others have put on a group of ours."""
        return _others(self._group(path) or {}, _OURS)


def metadata_key(path: str) -> str:
    """Return the key of the metadata of a node."""
    return f"{path}/zarr.json" if path else "zarr.json"


def _others(group: Mapping[str, Any], ours: Collection[str]) -> dict[str, Any]:
    """Return the attributes of a group's document that are not ours, nor ours with a letter changed."""
    return {
        name: value
        for name, value in group.get("attributes", {}).items()
        if name not in ours and not is_misspelt(name, _OURS)
    }
