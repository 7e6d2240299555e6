"""Where a store lies, and the wall at which its failures become errors of ours.

A place is a local directory, memory, or any Zarr store. Local and memory stores are called directly from the
caller's thread; others go through Zarr's own loop thread, so that every function here blocks.

Nothing is synced to the disk: a killed process leaves no half-written file under a final name (files are written
under temporary names and renamed), but a power cut can lose what the system had not yet written.
"""

from __future__ import annotations

import contextlib
import errno
import shutil
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec
from zarr.abc.store import Store as ZarrStore
from zarr.buffer import cpu, default_buffer_prototype
from zarr.core.sync import collect_aiterator, sync
from zarr.storage import LocalStore, MemoryStore

from asyncfetch.errors import StoreAccessError, StoreError, StoreLayoutError, StoreSpaceError
from asyncfetch.store.layout import LAYOUT_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Location", "Place"]

Location = str | Path | ZarrStore

#: How Zarr's local store ends the names of its temporary files.
_PARTIAL = ".partial"
#: How much is handed to the system at once. Linux takes pages as large as what is written, and large pages are slow to
#: come by in a virtual machine that returns free memory to its host: shards of 8 MB took 0.2 s a section more.
_PIECE_BYTES = 2**18
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_ACCESS = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ENOENT, errno.EISDIR}


class Place:
    """Read and write whole objects of one store, with errors that name it.

    Parameters
    ----------
    location : str, Path or zarr Store
        A directory, ``"memory"`` for a new store in memory, or a Zarr store.
    read_only : bool
        Refuse to write.
    """

    def __init__(self, location: Location, *, read_only: bool = False) -> None:
        self.store: ZarrStore
        if isinstance(location, ZarrStore):
            self.store = location.with_read_only(True) if read_only and not location.read_only else location
        elif location == "memory":
            self.store = MemoryStore(read_only=read_only)
        else:
            self.store = LocalStore(Path(location), read_only=read_only)
        self.name = str(self.store.root) if isinstance(self.store, LocalStore) else str(self.store)
        # A subclass may have overridden the asynchronous half alone, so only the classes themselves count.
        self._direct = self.store if type(self.store) in {LocalStore, MemoryStore} else None
        self._files: Path | None = None
        if isinstance(self._direct, LocalStore) and not self._direct.read_only:
            self._files = self._direct.root

    def __repr__(self) -> str:
        return f"Place({self.name!r})"

    @contextlib.contextmanager
    def mapped_errors(self) -> Iterator[None]:
        """Turn an OSError into the StoreError that says what to do.

        Raises
        ------
        StoreSpaceError, StoreAccessError, StoreError
            The disk is full; a path cannot be read or written; anything else of the operating system.
        """
        try:
            yield
        except OSError as error:
            reason = error.strerror or str(error)
            path = error.filename or self.name
            if error.errno in _NO_SPACE:
                raise StoreSpaceError(
                    f"no space left for {self.name} ({reason}); free some and resume, commits stay",
                    location=self.name,
                ) from error
            if error.errno in _NO_ACCESS:
                raise StoreAccessError(
                    f"{self.name} cannot be used: {path}: {reason}; "
                    "choose another place or change its permissions",
                    location=self.name,
                ) from error
            raise StoreError(f"{self.name} failed: {reason}", location=self.name) from error

    def get(self, key: str) -> bytes | None:
        """Return the object of that key, or None if there is none."""
        with self.mapped_errors():
            if isinstance(self._direct, LocalStore | MemoryStore):
                buffer = self._direct.get_sync(key)
            else:
                buffer = sync(self.store.get(key, default_buffer_prototype()))
        return None if buffer is None else buffer.to_bytes()

    def set(self, key: str, value: bytes) -> None:
        """Write one object whole, in place of any that was there."""
        if self._files is not None:
            view = memoryview(value)
            self.set_pieces(key, (view[k : k + _PIECE_BYTES] for k in range(0, len(view), _PIECE_BYTES)))
            return
        buffer = cpu.Buffer.from_bytes(value)
        with self.mapped_errors():
            if isinstance(self._direct, MemoryStore):
                self._direct.set_sync(key, buffer)
            else:
                sync(self.store.set(key, buffer))

    def set_pieces(self, key: str, pieces: Iterable[bytes | memoryview]) -> None:
        """Write one object whole, each piece of it when it is made; where that fails, what was there stays."""
        if self._files is not None:
            with self.mapped_errors():
                _write_pieces(self._files / key, pieces)
        else:
            self.set(key, b"".join(pieces))

    def set_if_missing(self, key: str, value: bytes) -> None:
        """Write one object unless it is there; of several callers at once one wins."""
        with self.mapped_errors():
            sync(self.store.set_if_not_exists(key, cpu.Buffer.from_bytes(value)))

    def delete(self, key: str) -> None:
        """Remove one object if it is there."""
        with self.mapped_errors():
            if isinstance(self._direct, LocalStore | MemoryStore):
                self._direct.delete_sync(key)
            else:
                sync(self.store.delete(key))

    def delete_below(self, path: str) -> None:
        """Remove everything below a path, leftovers of a killed write (``*.partial``) included."""
        with self.mapped_errors():
            if not isinstance(self._direct, LocalStore):
                sync(self.store.delete_dir(path))
            elif (self._direct.root / path).is_dir():
                # A new section has nothing there, and finding that out through the loop thread costs more.
                shutil.rmtree(self._direct.root / path)

    def names_below(self, path: str) -> list[str]:
        """Return the names directly below a path, sorted; none if it does not exist."""
        with self.mapped_errors():
            if not isinstance(self._direct, LocalStore):
                return sorted(collect_aiterator(self.store.list_dir(path)))
            # a run lists some fifteen folders before its first image; through the loop thread each takes 1 ms
            try:
                return sorted(each.name for each in (self._direct.root / path).iterdir())
            except (FileNotFoundError, NotADirectoryError):
                return []

    def attributes(self, path: str) -> dict[str, Any] | None:
        """Return the attributes of the group at a path, or None if there is no group.

        Raises
        ------
        StoreLayoutError
            There is a node whose metadata are no Zarr v3 group.
        """
        key = f"{path}/zarr.json" if path else "zarr.json"
        data = self.get(key)
        if data is None:
            return None
        try:
            node = msgspec.json.decode(data, type=_Group)
        except msgspec.DecodeError as error:
            raise StoreLayoutError(
                f"{self.name}: {key} is no metadata of a Zarr v3 group ({error})", location=self.name
            ) from error
        return node.attributes

    def write_group(self, path: str, attributes: dict[str, Any], *, keep: bool = False) -> None:
        """Write a group's metadata; with `keep`, only where there are none."""
        data = msgspec.json.encode({"zarr_format": 3, "node_type": "group", "attributes": attributes})
        key = f"{path}/zarr.json" if path else "zarr.json"
        if not keep:
            self.set(key, msgspec.json.format(data))
        elif self.get(key) is None:
            self.set_if_missing(key, msgspec.json.format(data))

    def sweep(self, path: str) -> None:
        """Remove the temporary files that a killed write left directly below a path."""
        for name in self.names_below(path):
            if name.endswith(_PARTIAL):
                self.delete(f"{path}/{name}" if path else name)

    def check_root(self, *, create: bool) -> None:
        """Make sure that this is a store of ours, or make it one where there is nothing yet.

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
        attributes = self.attributes("")
        if attributes is not None:
            self._check_layout(attributes)
            return
        # A process killed while it made the store leaves a temporary file and nothing else.
        others = [name for name in self.names_below("") if not name.endswith(_PARTIAL)]
        if others:
            raise StoreLayoutError(
                f"{self.name} is no asyncfetch store and not empty: it holds {others[0]}; "
                "choose another place",
                location=self.name,
            )
        if not create:
            raise self._missing()
        self.write_group("", {"asyncfetch": {"layout": LAYOUT_VERSION, "tool": "asyncfetch"}}, keep=True)

    def _missing(self) -> StoreAccessError:
        return StoreAccessError(f"there is no store at {self.name}; check the path", location=self.name)

    def _check_directory(self, root: Path, *, create: bool) -> None:
        with self.mapped_errors():
            if root.is_file():
                raise StoreLayoutError(
                    f"{root} is a file; a store is a directory: choose another place", location=self.name
                )
            below = next((parent for parent in root.parents if parent.exists()), None)
            if below is not None and not below.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, "a part of the path is a file", str(below))
            if root.is_dir():
                next(root.iterdir(), None)  # listing says at once that a directory cannot be read
            elif not create:
                raise self._missing()

    def _check_layout(self, attributes: dict[str, Any]) -> None:
        ours = attributes.get("asyncfetch")
        if not isinstance(ours, dict) or "layout" not in ours:
            raise StoreLayoutError(
                f"{self.name} is a Zarr store of another kind; choose another place", location=self.name
            )
        if ours["layout"] != LAYOUT_VERSION:
            raise StoreLayoutError(
                f"{self.name} has layout version {ours['layout']}, this version of asyncfetch knows "
                f"{LAYOUT_VERSION}; use the version that wrote it",
                location=self.name,
            )


def _write_pieces(path: Path, pieces: Iterable[bytes | memoryview]) -> None:
    """Write a file under a temporary name, as Zarr's local store does, and give it its own in the end."""
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}{_PARTIAL}")
    file = _opened(partial)
    try:
        with file:
            for piece in pieces:
                file.write(piece)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _opened(path: Path) -> BinaryIO:
    """Open a new file, and make its folder only where there is none: most are written beside others."""
    try:
        return path.open("xb")
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("xb")


class _Group(msgspec.Struct):
    node_type: str
    zarr_format: int
    attributes: dict[str, Any] = {}

    def __post_init__(self) -> None:
        if self.node_type != "group" or self.zarr_format != 3:
            raise ValueError(f"a Zarr v{self.zarr_format} {self.node_type}")
