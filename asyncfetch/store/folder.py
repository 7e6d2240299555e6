"""The objects of a store in a directory, each a file, called directly from the caller's thread.

A killed process leaves no half-written file under a final name: files are written under temporary names and renamed. A
power cut can lose what the system had not yet written, or keep the name of a file and not what is in it, until `sync`
has returned; see `asyncfetch.store.unsynced` for when that is called.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import sys
import threading
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from asyncfetch.store.wall import require_bounded

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from asyncfetch.store.walled import WalledStore

__all__ = ["PARTIAL", "FolderBackend"]

#: How Zarr's local store ends the names of its temporary files.
PARTIAL = ".partial"
#: That, and how NFS names what was removed while it was open.
_IS_LEFT = re.compile(r".*\.partial|\.nfs[0-9a-f]+")
#: How much is handed to the system at once. Linux takes pages as large as what is written, and large pages are slow to
#: come by in a virtual machine that returns free memory to its host: shards of 8 MB took 0.2 s more per section.
_PIECE_BYTES = 2**18
#: Folders that are remembered, some hundred bytes each.
_MAX_FOLDERS = 10_000
#: What file systems say that cannot sync a folder.
_CANNOT_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EROFS}
_IN_USE = {errno.ENOTEMPTY, errno.EEXIST, errno.EBUSY}


class FolderBackend:
    """The files below one directory, behind its wall; see `asyncfetch.store.backend.Backend`.

    Parameters
    ----------
    store : WalledStore
        The same directory as Zarr sees it.
    """

    is_near = True
    can_list = True
    n_at_once = 1
    forgets = True
    leaves_partials = True

    def __init__(self, store: WalledStore) -> None:
        self.store = store
        self.name = str(store.root)
        self._wall = store.wall
        self._in_use: set[Path] = set()
        self._folders = threading.Lock()
        #: Those whose own names are on the disk.
        self._synced: set[str] = set()
        self._is_root_synced = False

    @property
    def folder(self) -> Path:
        """The directory."""
        return self.store.root

    def get(self, key: str, limit_bytes: int) -> bytes | None:
        """Return an object, None if there is none.

        Raises
        ------
        ValueError
            It has more than `limit_bytes`.
        """
        file = self._wall.open_file(key)
        if file is None:
            return None
        with file:
            require_bounded(os.fstat(file.fileno()).st_size, limit_bytes)
            return file.readall()

    def tail(self, key: str, n_bytes: int, limit_bytes: int) -> tuple[int, bytes] | None:
        """Return the size of an object and its last bytes, None if there is none."""
        del limit_bytes  # no more is read than is asked for
        if not n_bytes:
            size = self._wall.size(key)
            return None if size is None else (size, b"")
        file = self._wall.open_file(key)
        if file is None:
            return None
        with file:
            size = os.fstat(file.fileno()).st_size
            return size, os.pread(file.fileno(), n_bytes, max(0, size - n_bytes))

    def set(self, key: str, value: bytes, *, durable: bool = False) -> None:
        """Write one object whole, in place of any that was there; if durable, its name is never one of less."""
        view = memoryview(value)
        pieces = (view[k : k + _PIECE_BYTES] for k in range(0, len(view), _PIECE_BYTES))
        self.set_pieces(key, pieces, durable=durable)

    def set_pieces(self, key: str, pieces: Iterable[bytes | memoryview], *, durable: bool = False) -> None:
        """Write one object whole, each piece of it when it is made; where that fails, what was there stays."""
        _write_pieces(self._wall.writable_path(key), pieces, durable=durable)

    def delete(self, key: str) -> bool:
        """Remove one object; return whether it was there."""
        if not self._wall.reaches(key.rpartition("/")[0]):
            return False
        try:
            self._wall.writable_path(key).unlink()
        except FileNotFoundError:
            return False
        return True

    def sync(self, keys: Collection[str]) -> None:
        """Sync files, and the folders that hold their names: what a power cut leaves of them is what there is now."""
        for key in keys:
            file = self._wall.open_file(key)
            if file is not None:
                with file:
                    os.fsync(file.fileno())
        due, met = set(), set()
        for key in keys:
            folder = key.rpartition("/")[0]
            due.add(folder)
            # a folder that was made in this run, or in one before that was killed, is a name in the one above
            while folder and folder not in self._synced:
                met.add(folder)
                folder = folder.rpartition("/")[0]
                due.add(folder)
        for folder in due:
            _sync_folder(self.folder / folder)
        with self._folders:
            if not self._is_root_synced:
                for parent in (self.folder, *self.folder.parents):
                    _sync_folder(parent)
                self._is_root_synced = True
            if len(self._synced) + len(met) > _MAX_FOLDERS:
                self._synced.clear()
            self._synced |= met

    def rename(self, key: str, new_key: str) -> None:
        """Give one object another name, if it is there; what had that name goes."""
        with contextlib.suppress(FileNotFoundError):
            _rename(self._wall.writable_path(key), self._wall.writable_path(new_key))

    def may_hold(self, path: str) -> bool:
        """Tell whether there is a folder, or a link, at a path."""
        if not self._wall.reaches(path.rpartition("/")[0]):
            return False
        folder = self._wall.writable_path(path)
        return folder.is_symlink() or folder.is_dir()

    def delete_below(self, path: str) -> None:
        """Remove everything below a path, leftovers of a killed write included.

        A folder that the system still holds, because a file in it is open somewhere (NFS), stays until
        `remove_leftovers`.
        """
        folder = self._wall.writable_path(path)
        if folder.is_symlink():
            folder.unlink()
        elif folder.is_dir():
            if not _remove_folder(folder):
                self._in_use.add(folder)
            with self._folders:
                self._synced = {each for each in self._synced if not f"{each}/".startswith(f"{path}/")}

    def names_below(self, path: str) -> list[str]:
        """Return the names directly below a path, sorted; none if it does not exist."""
        # a run lists some fifteen folders before its first image; through the loop thread each takes 1 ms
        if not self._wall.reaches(path):
            return []
        try:
            return sorted(os.listdir(self._wall.path(path)))  # noqa: PTH208 - no path for each name
        except (FileNotFoundError, NotADirectoryError):
            return []

    def sizes_below(self, path: str) -> None:
        """Return nothing: sizes are asked for one by one."""

    def leftovers(self, path: str, *, deep: bool) -> list[str]:
        """Return the keys of the temporary files that killed writes left below a path, however deep or just there."""
        if not self._wall.reaches(path):
            return []
        root, found = self.folder, []
        for folder, folders, files in os.walk(root / path):
            # those of a data set that was being packed or unpacked
            left = [name for name in folders if name.endswith(PARTIAL)]
            folders[:] = [name for name in folders if deep and name not in left]
            found += [
                (Path(folder) / name).relative_to(root).as_posix()
                for name in [*files, *left]
                if _IS_LEFT.fullmatch(name)
            ]
        return sorted(found)

    def remove_leftovers(self) -> None:
        """Remove the folders that could not be removed before; those that still cannot are left."""
        for folder in sorted(self._in_use):
            with contextlib.suppress(OSError):
                if not folder.is_dir() or _remove_empty(folder):
                    self._in_use.discard(folder)


def _write_pieces(path: Path, pieces: Iterable[bytes | memoryview], *, durable: bool) -> None:
    """Write a file under a temporary name, as Zarr's local store does, and give it its own in the end."""
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}{PARTIAL}")
    file = _opened(partial)
    try:
        with file:
            for piece in pieces:
                file.write(piece)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        _rename(partial, path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def _opened(path: Path) -> BinaryIO:
    """Open a new file, and make its folder only where there is none: most are written beside others."""
    try:
        return path.open("xb")
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("xb")


def _sync_folder(folder: Path) -> None:
    """Sync the names in a folder, where the system lets them be synced; one that is gone has none."""
    if sys.platform == "win32":
        # there a folder cannot be opened, and names are written when they are made
        return
    try:
        number = os.open(folder, os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return
    try:
        os.fsync(number)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:
            raise
    finally:
        os.close(number)


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
