"""Where a store lies, and the wall at which its failures become errors of ours.

A place is a local directory, memory, or any Zarr store. Local and memory stores are called directly from the
caller's thread; others go through Zarr's own loop thread, so that every function here blocks.

Nothing is synced to the disk: a killed process leaves no half-written file under a final name (files are written
under temporary names and renamed), but a power cut can lose what the system had not yet written.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import re
import shutil
import threading
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec
from zarr.abc.store import SuffixByteRequest
from zarr.buffer import cpu, default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import LocalStore, MemoryStore

from asyncfetch.errors import StoreAccessError, StoreError, StoreItemError, StoreLayoutError, StoreSpaceError
from asyncfetch.layout.bounds import MAX_OBJECT_BYTES
from asyncfetch.layout.paths import LAYOUT_VERSION, LOCK_PATH
from asyncfetch.store.checksums import (
    CHECKSUM,
    checksum_problem,
    is_misspelt,
    with_checksum,
    without_checksum,
)
from asyncfetch.store.damage import UNREADABLE, Damage, parse_array, parse_document, parse_group
from asyncfetch.store.location import Location, open_zarr_store
from asyncfetch.store.wall import checked_key, require_bounded
from asyncfetch.store.walled import WalledStore

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
    from io import FileIO

    from zarr.abc.store import Store as ZarrStore

__all__ = ["UPGRADING", "Location", "Place", "metadata_key", "new_root"]

#: The field of ``attributes.asyncfetch`` of the root by which a store says that its upgrade has not ended.
UPGRADING = "upgrading"

_GROUP = "zarr.json"
#: The field of a group in which Zarr keeps a copy of all metadata below it.
_COPY = "consolidated_metadata"
_FIELDS = {"zarr_format", "node_type", "attributes", _COPY}
_OURS = ("asyncfetch", "ome")
_OURS_ON_ARRAYS = ("asyncfetch", "units")
#: Groups of which it is remembered that they hold no copy, some hundred bytes each.
_MAX_REMEMBERED = 10_000
#: How Zarr's local store ends the names of its temporary files.
_PARTIAL = ".partial"
#: That, and how NFS names what was removed while it was open.
_IS_LEFT = re.compile(r".*\.partial|\.nfs[0-9a-f]+")
#: How much is handed to the system at once. Linux takes pages as large as what is written, and large pages are slow to
#: come by in a virtual machine that returns free memory to its host: shards of 8 MB took 0.2 s more per section.
_PIECE_BYTES = 2**18
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_IN_USE = {errno.ENOTEMPTY, errno.EEXIST, errno.EBUSY}
#: What the system says of an object that is lost, or of a folder where a file belongs.
_DAMAGED = {errno.EIO, errno.EISDIR}
_NO_ACCESS = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ENOENT, errno.EISDIR}


class Place:
    """Where one store lies: whole objects, read and written, with errors that name it.

    Parameters
    ----------
    location : str, Path or zarr Store
        A directory, ``"memory"`` for a new store in memory, or a Zarr store.
    read_only : bool
        Refuse to write.

    Attributes
    ----------
    damage : Damage
        What was met that cannot be read and therefore counts as missing.
    """

    def __init__(self, location: Location, *, read_only: bool = False) -> None:
        self.store: ZarrStore = open_zarr_store(location, read_only=read_only)
        # A subclass may have overridden the asynchronous half alone, so only the classes themselves count.
        if type(self.store) is LocalStore:
            self.store = WalledStore(self.store.root, read_only=self.store.read_only)
        self.name = str(self.store.root) if isinstance(self.store, LocalStore) else str(self.store)
        self._folder = self.store if type(self.store) is WalledStore else None
        self._memory = self.store if type(self.store) is MemoryStore else None
        self.damage = Damage()
        self._copies = threading.Lock()
        self._without_copy: set[str] = set()
        self._in_use: set[Path] = set()

    def __repr__(self) -> str:
        return f"Place({self.name!r})"

    @property
    def folder(self) -> Path | None:
        """The directory of the store, None where it is kept otherwise."""
        return None if self._folder is None else self._folder.root

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
            A file of that name has more than `limit_bytes`.
        """
        with self.mapped_errors(key):
            if self._folder is not None:
                file = self._folder.wall.open_file(key)
                if file is None:
                    return None
                with file:
                    return self._read_file(key, file, limit_bytes)
            checked_key(key, self.name)
            if self._memory is not None:
                buffer = self._memory.get_sync(key)
            else:
                buffer = sync(self.store.get(key, default_buffer_prototype()))
        return None if buffer is None else buffer.to_bytes()

    def _read_file(self, key: str, file: FileIO, limit_bytes: int) -> bytes:
        try:
            require_bounded(os.fstat(file.fileno()).st_size, limit_bytes)
        except ValueError as error:
            raise self.damaged_item(key, f"cannot be read ({error})") from error
        return file.readall()

    def tail(self, key: str, n_bytes: int) -> tuple[int, bytes] | None:
        """Return the size of an object and its last bytes, None if there is none."""
        with self.mapped_errors(key):
            if self._folder is not None:
                file = self._folder.wall.open_file(key)
                if file is None:
                    return None
                with file:
                    size = os.fstat(file.fileno()).st_size
                    return size, os.pread(file.fileno(), n_bytes, max(0, size - n_bytes)) if n_bytes else b""
            if self._memory is None and key:
                try:
                    size = sync(self.store.getsize(key))
                except FileNotFoundError:
                    return None
                if size > n_bytes > 0:
                    end = SuffixByteRequest(n_bytes)
                    buffer = sync(self.store.get(key, default_buffer_prototype(), byte_range=end))
                    return None if buffer is None else (size, buffer.to_bytes())
        data = self.get(key)
        return None if data is None else (len(data), data[max(0, len(data) - n_bytes) :])

    @property
    def is_near(self) -> bool:
        """Whether looking at an object takes microseconds: a folder or memory of this process."""
        return self._folder is not None or self._memory is not None

    def set(self, key: str, value: bytes) -> None:
        """Write one object whole, in place of any that was there."""
        if self._folder is not None:
            view = memoryview(value)
            self.set_pieces(key, (view[k : k + _PIECE_BYTES] for k in range(0, len(view), _PIECE_BYTES)))
            return
        self._expect_change(key)
        buffer = cpu.Buffer.from_bytes(value)
        with self.mapped_errors():
            if self._memory is not None:
                self._memory.set_sync(key, buffer)
            else:
                sync(self.store.set(key, buffer))

    def set_pieces(self, key: str, pieces: Iterable[bytes | memoryview]) -> None:
        """Write one object whole, each piece of it when it is made; where that fails, what was there stays."""
        if self._folder is not None:
            self._expect_change(key)
            with self.mapped_errors():
                _write_pieces(self._folder.wall.writable_path(key), pieces)
        else:
            self.set(key, b"".join(pieces))

    def delete(self, key: str) -> None:
        """Remove one object if it is there."""
        self._expect_change(key)
        with self.mapped_errors():
            if self._folder is not None:
                if self._folder.wall.reaches(key.rpartition("/")[0]):
                    self._folder.wall.writable_path(key).unlink(missing_ok=True)
            elif self._memory is not None:
                self._memory.delete_sync(key)
            else:
                sync(self.store.delete(key))

    def rename(self, key: str, new_key: str) -> None:
        """Give one object another name, if it is there; what had that name goes."""
        if self._folder is None:
            data = self.get(key)
            if data is not None:
                self.set(new_key, data)
                self.delete(key)
            return
        self._expect_change(key)
        with self.mapped_errors(), contextlib.suppress(FileNotFoundError):
            _rename(self._folder.wall.writable_path(key), self._folder.wall.writable_path(new_key))

    def delete_below(self, path: str) -> None:
        """Remove everything below a path, leftovers of a killed write (``*.partial``) included.

        A folder that the system still holds, because a file in it is open somewhere (NFS), stays until
        `remove_leftovers`.
        """
        with self.mapped_errors():
            if self._folder is None:
                self._expect_change(f"{checked_key(path, self.name)}/{_GROUP}")
                sync(self.store.delete_dir(path))
                return
            if not self._folder.wall.reaches(path.rpartition("/")[0]):
                return
            folder = self._folder.wall.writable_path(path)
            if folder.is_symlink():
                folder.unlink()
            elif folder.is_dir():
                # a new section has nothing there
                self._expect_change(f"{path}/{_GROUP}")
                if not _remove_folder(folder):
                    self._in_use.add(folder)

    def remove_leftovers(self) -> None:
        """Remove the folders that could not be removed before; those that still cannot are left."""
        for folder in sorted(self._in_use):
            with contextlib.suppress(OSError):
                if not folder.is_dir() or _remove_empty(folder):
                    self._in_use.discard(folder)

    def names_below(self, path: str) -> list[str]:
        """Return the names directly below a path, sorted; none if it does not exist."""
        with self.mapped_errors():
            if self._folder is None:
                if path:
                    checked_key(path, self.name)
                return sorted(sync(_names_in(self.store, path)))
            # a run lists some fifteen folders before its first image; through the loop thread each takes 1 ms
            if not self._folder.wall.reaches(path):
                return []
            try:
                return sorted(os.listdir(self._folder.wall.path(path)))  # noqa: PTH208 - no path for each name
            except (FileNotFoundError, NotADirectoryError):
                return []

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

    def write_group(self, path: str, attributes: Mapping[str, Any], *, keep: bool = False) -> None:
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
        self.set(metadata_key(path), msgspec.json.format(data))
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
        ours = [name for name in names if name in parts or name.endswith(_PARTIAL)]
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
        for name in self.names_below(path):
            if name.endswith(_PARTIAL):
                self.delete(f"{path}/{name}" if path else name)

    def leftovers(self, path: str, *, deep: bool = True) -> list[str]:
        """Return the keys of the temporary files that killed writes left below a path, however deep or just there."""
        if self._folder is None or not self._folder.wall.reaches(path):
            return []
        root, found = self._folder.root, []
        for folder, folders, files in os.walk(root / path):
            if not deep:
                folders.clear()
            found += [
                (Path(folder) / name).relative_to(root).as_posix()
                for name in files
                if _IS_LEFT.fullmatch(name)
            ]
        return sorted(found)

    def remove_leftover(self, key: str) -> bool:
        """Remove a temporary file; return whether it is gone, which one that the system holds is not."""
        with contextlib.suppress(StoreError):
            self.delete(key)
        return self._folder is None or not (self._folder.root / key).exists()

    def check_root(self, *, create: bool) -> None:
        """Make sure that this is a store of ours, or make it one where there is nothing yet.

        Where the root's metadata are missing or cannot be read, the data sets below tell that this is a store of
        ours; with `create` the metadata are written again, without the unfinished runs that they named.

        Raises
        ------
        StoreLayoutError, StoreAccessError
            As `is_made`; or there is nothing, and `create` is false.
        """
        if not self.is_made(create=create):
            self.write_group("", {"asyncfetch": new_root()}, keep=True)
        elif not self.store.read_only and _layout_of(self.attributes("")) != LAYOUT_VERSION:
            self.write_group("", {"asyncfetch": new_root()})

    def is_empty(self) -> bool:
        """Tell whether there is nothing but the root that `check_root` makes, and perhaps a lock."""
        is_bare = self.ours("") == new_root() and not _others(self._group("") or {}, _OURS)
        return is_bare and set(self.names_below("")) <= {_GROUP, LOCK_PATH}

    def missing_folders(self) -> list[Path]:
        """Return the directory of the store and those above it as far as they do not exist, the innermost first."""
        folder = self.folder
        return [] if folder is None else [each for each in (folder, *folder.parents) if not each.exists()]

    def remove_folders(self, folders: Iterable[Path]) -> None:
        """Remove directories, each after what lies in it; one that is not empty stays, and those above it."""
        with contextlib.suppress(OSError):
            for each in folders:
                each.rmdir()

    def is_made(self, *, create: bool, of_any_version: bool = False) -> bool:
        """Tell whether this is a store of ours already, or a place where one can be made.

        Parameters
        ----------
        create : bool
            Whether there may be nothing yet.
        of_any_version : bool
            Take a store of an earlier layout version, too, and one whose upgrade has not ended.

        Raises
        ------
        StoreLayoutError
            The place is a file, another kind of store, a directory with other things in it, or a store of
            another layout version. It is left as it was.
        StoreAccessError
            There is nothing, and `create` is false; or the place cannot be reached.
        """
        if isinstance(self.store, LocalStore):
            self._check_directory(self.store.root, create=create)
        # before the metadata are read, because another run may be making the store
        names = self.names_below("")
        attributes = self.attributes("")
        layout = _layout_of(attributes)
        # a number that was changed is damage where the sections below name another
        is_changed = layout not in {None, LAYOUT_VERSION} and _is_changed(attributes)
        if layout is not None and not (is_changed and self._holds_data_sets(of_any_version=of_any_version)):
            self._check_layout(layout, of_any_version=of_any_version, is_upgrading=_is_upgrading(attributes))
            return True
        if self._holds_data_sets(of_any_version=of_any_version):
            if "zarr.json" not in self.damage.found:
                self.damage.add("zarr.json", "is missing or does not name the layout of the store")
            return True
        if attributes is not None:
            raise StoreLayoutError(
                f"{self.name} is a Zarr store of another kind; choose another directory", location=self.name
            )
        # A process killed while it made the store leaves a temporary file, or an empty one, and nothing else.
        is_empty = self.damage.found.get("zarr.json") == "is empty"
        others = [
            name
            for name in names
            if not (name.endswith(_PARTIAL) or name == LOCK_PATH or (is_empty and name == "zarr.json"))
        ]
        if others:
            raise StoreLayoutError(
                f"{self.name} is not an asyncfetch store and is not empty: it holds {others[0]}; "
                "choose another directory",
                location=self.name,
            )
        if not create:
            raise self._missing()
        return False

    def _holds_data_sets(self, *, of_any_version: bool) -> bool:
        """Tell whether there are data sets of ours, whatever the root's metadata say.

        Raises
        ------
        StoreLayoutError
            There are, of another layout version.
        """
        names = self.names_below("data_sets")
        for data_set in (name for name in names if name.isdecimal()):
            path = f"data_sets/{data_set}"
            for view in self.names_below(path):
                for image in self.names_below(f"{path}/{view}/sections"):
                    if not image.isdecimal():
                        continue
                    layout = _layout_of(self.attributes(f"{path}/{view}/sections/{image}"))
                    if layout is not None:
                        self._check_layout(layout, of_any_version=of_any_version)
                        return True
            if isinstance((self.attributes(path) or {}).get("asyncfetch"), dict):
                return True
        # a run that was killed before its first data set
        others = {name for name in self.names_below("") if not name.endswith(_PARTIAL)} - {LOCK_PATH}
        return names == ["zarr.json"] and others <= {"zarr.json", "data_sets", "catalogue"}

    def _missing(self) -> StoreAccessError:
        return StoreAccessError(f"there is no store at {self.name}; check the path", location=self.name)

    def _check_directory(self, root: Path, *, create: bool) -> None:
        with self.mapped_errors():
            if root.is_file():
                raise StoreLayoutError(
                    f"{root} is a file; a store is a directory: choose another directory", location=self.name
                )
            below = next((parent for parent in root.parents if parent.exists()), None)
            if below is not None and not below.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, "a part of the path is a file", str(below))
            if root.is_dir():
                next(root.iterdir(), None)  # listing says at once that a directory cannot be read
            elif not create:
                raise self._missing()

    def _check_layout(self, layout: int, *, of_any_version: bool, is_upgrading: bool = False) -> None:
        if layout > LAYOUT_VERSION:
            raise StoreLayoutError(
                f"{self.name} has layout version {layout}, and this asyncfetch knows versions up to {LAYOUT_VERSION}; "
                "use a newer asyncfetch",
                location=self.name,
            )
        if of_any_version or (layout == LAYOUT_VERSION and not is_upgrading):
            return
        if is_upgrading:
            raise StoreLayoutError(
                f"{self.name} is being upgraded to layout version {LAYOUT_VERSION}, and that is not finished; "
                f"continue it with: asyncfetch upgrade {self.name}",
                location=self.name,
            )
        raise StoreLayoutError(
            f"{self.name} is a store of layout version {layout}, and this asyncfetch reads version {LAYOUT_VERSION}; "
            f"upgrade it, offline, with: asyncfetch upgrade {self.name}",
            location=self.name,
        )


def metadata_key(path: str) -> str:
    """Return the key of the metadata of a node."""
    return f"{path}/zarr.json" if path else "zarr.json"


def new_root() -> dict[str, Any]:
    """Return ``attributes.asyncfetch`` of the root of a new store."""
    return {"layout": LAYOUT_VERSION, "tool": "asyncfetch"}


def _is_changed(attributes: dict[str, Any] | None) -> bool:
    """Tell whether a checksum says that attributes are not as they were written."""
    ours = (attributes or {}).get("asyncfetch")
    return isinstance(ours, dict) and CHECKSUM in ours and checksum_problem(attributes or {}) is not None


def _layout_of(attributes: dict[str, Any] | None) -> int | None:
    """Return the layout version that attributes of ours name, unless they were changed since."""
    ours = (attributes or {}).get("asyncfetch")
    layout = ours.get("layout") if isinstance(ours, dict) else None
    return layout if isinstance(layout, int) and not isinstance(layout, bool) and layout > 0 else None


def _is_upgrading(attributes: dict[str, Any] | None) -> bool:
    ours = (attributes or {}).get("asyncfetch")
    return isinstance(ours, dict) and UPGRADING in ours


def _write_pieces(path: Path, pieces: Iterable[bytes | memoryview]) -> None:
    """Write a file under a temporary name, as Zarr's local store does, and give it its own in the end."""
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}{_PARTIAL}")
    file = _opened(partial)
    try:
        with file:
            for piece in pieces:
                file.write(piece)
        _rename(partial, path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def _rename(path: Path, name: Path) -> None:
    try:
        path.replace(name)
    except FileExistsError:
        # some shares do not rename over a file
        name.unlink()
        path.replace(name)


def _remove_folder(folder: Path) -> bool:
    """Remove a folder and all that is in it; return whether nothing of it is still held by the system."""
    held = []

    def pass_over(function: object, name: str, error: BaseException) -> None:
        if isinstance(error, FileNotFoundError):
            return
        # NFS keeps a file that is open somewhere under such a name, and its folder with it
        is_kept = os.path.basename(name).startswith(".nfs") or function is os.rmdir  # noqa: PTH119
        if not (is_kept and isinstance(error, OSError) and error.errno in _IN_USE):
            raise error
        held.append(name)

    shutil.rmtree(folder, onexc=pass_over)
    return not held


def _remove_empty(folder: Path) -> bool:
    """Remove a folder in which nothing but folders is left; return whether it is gone."""
    for path, _, files in os.walk(folder, topdown=False):
        if not [name for name in files if not name.startswith(".nfs")]:
            with contextlib.suppress(OSError):
                os.rmdir(path)  # noqa: PTH106
    return not folder.exists()


async def _names_in(store: ZarrStore, path: str) -> list[str]:
    # some stores make their requests as soon as they are called, which needs the loop
    return [name async for name in store.list_dir(path)]


def _document(path: str) -> str:
    return f"{path}/{_GROUP}" if path else _GROUP


def _others(group: Mapping[str, Any], ours: Collection[str]) -> dict[str, Any]:
    """Return the attributes of a group's document that are not ours, nor ours with a letter changed."""
    return {
        name: value
        for name, value in group.get("attributes", {}).items()
        if name not in ours and not is_misspelt(name, _OURS)
    }


def _opened(path: Path) -> BinaryIO:
    """Open a new file, and make its folder only where there is none: most are written beside others."""
    try:
        return path.open("xb")
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("xb")
