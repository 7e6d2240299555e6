"""The wall around a store in a directory: nothing is read, written or removed that lies outside of it.

Names of objects have no parts that lead elsewhere. A symbolic link that leads out of the store counts as absent when it
is read, is replaced where a file of its name is written, and is never written through. Links to places
inside the store are followed, and the store's own directory may be a link.

A folder is looked at once; writing beside what was written before costs a look into a set.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from asyncfetch.errors import StoreAccessError
from asyncfetch.layout.bounds import MAX_OBJECT_BYTES

if TYPE_CHECKING:
    from io import FileIO

__all__ = ["Wall", "checked_key", "require_bounded"]

#: An empty part, ``.`` or ``..``, or a character that some system takes for the end of a part.
_LEADS_ELSEWHERE = re.compile(r"(?:^|/)\.{0,2}(?:/|$)|[\\\0]")
#: Whether the system refuses to open a link where it is asked to.
_KNOWS_LINKS = hasattr(os, "O_NOFOLLOW")
#: A pipe must not keep a reader waiting, and a link is looked at before it is followed.
_READING = (
    os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
)
#: Folders that are remembered, some hundred bytes each; a section has about ten.
_MAX_FOLDERS = 10_000


def checked_key(key: str, location: str) -> str:
    """Return the name of an object or a folder as it is.

    Raises
    ------
    StoreAccessError
        It has an empty part, ``.`` or ``..``, is absolute, or holds a backslash or a NUL.
    """
    if _LEADS_ELSEWHERE.search(key):
        raise StoreAccessError(f"{key!r} is not the name of anything in a store", location=location)
    return key


def require_bounded(n_bytes: int, limit_bytes: int = MAX_OBJECT_BYTES) -> None:
    """Make sure that memory is only taken for as many bytes as an object of a store can have.

    Raises
    ------
    ValueError
        There are more.
    """
    if n_bytes > limit_bytes:
        raise ValueError(f"it has {n_bytes} bytes, and no more than {limit_bytes} are read at once")


class Wall:
    """The way from names to paths inside one directory.

    Parameters
    ----------
    root : Path
        The directory of the store.
    """

    def __init__(self, root: Path) -> None:
        self._root = str(root)
        self._inside: set[str] = set()

    def path(self, key: str) -> str:
        """Return the path of a name, wherever it leads."""
        return f"{self._root}/{checked_key(key, self._root)}" if key else self._root

    def reaches(self, folder: str) -> bool:
        """Tell whether a folder lies inside, or does not exist yet below one that does."""
        if not folder or folder in self._inside:
            return True
        checked_key(folder, self._root)
        end = 0
        while end < len(folder):
            end = folder.find("/", end + 1)
            end = len(folder) if end < 0 else end
            part = folder[:end]
            if part in self._inside:
                continue
            try:
                mode = os.lstat(f"{self._root}/{part}").st_mode
            except (FileNotFoundError, NotADirectoryError):
                return True
            if stat.S_ISLNK(mode) and not self._resolves_inside(part):
                return False
            if len(self._inside) >= _MAX_FOLDERS:
                self._inside.clear()
            self._inside.add(part)
        return True

    def writable_path(self, key: str) -> Path:
        """Return the path at which an object may be written or removed; it replaces a link of its name.

        Raises
        ------
        StoreAccessError
            A folder on the way is a link that leads out of the store.
        """
        path = self.path(key)
        folder = key.rpartition("/")[0]
        if not self.reaches(folder):
            raise StoreAccessError(
                f"{self._root}/{folder} leads out of the store through a symbolic link, and nothing is written "
                "there; put what it leads to in its place, or make the whole store the link",
                location=self._root,
            )
        return Path(path)

    def open_file(self, key: str) -> FileIO | None:
        """Open a file for reading; None where there is none, or where it lies outside."""
        path = self.path(key)
        if not self.reaches(key.rpartition("/")[0]):
            return None
        if not _KNOWS_LINKS and not self.is_readable(key):
            return None
        try:
            number = os.open(path, _READING)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError:
            if not Path(path).is_symlink():
                raise
            if not self._resolves_inside(key):
                return None
            number = os.open(Path(path).resolve(), _READING)
        if stat.S_ISREG(os.fstat(number).st_mode):
            return os.fdopen(number, "rb", buffering=0)
        os.close(number)
        return None

    def size(self, key: str) -> int | None:
        """Return the length of a file without opening it; None where there is none, or where it lies outside."""
        path = self.path(key)
        if not self.reaches(key.rpartition("/")[0]):
            return None
        try:
            found = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        if stat.S_ISREG(found.st_mode):
            return found.st_size
        file = self.open_file(key) if stat.S_ISLNK(found.st_mode) else None
        if file is None:
            return None
        with file:
            return os.fstat(file.fileno()).st_size

    def is_readable(self, key: str) -> bool:
        """Tell whether a name may be followed: nothing is there, a file, or a link to a file inside."""
        path = self.path(key)
        if not self.reaches(key.rpartition("/")[0]):
            return False
        try:
            mode = os.lstat(path).st_mode
            if stat.S_ISLNK(mode):
                # a pipe, which would keep a reader waiting, can be at the end of a link, too
                return self._resolves_inside(key) and stat.S_ISREG(Path(path).stat().st_mode)
        except (FileNotFoundError, NotADirectoryError):
            return True
        return stat.S_ISREG(mode)

    def _resolves_inside(self, key: str) -> bool:
        try:
            target = Path(self._root, key).resolve(strict=True)
        except (OSError, RuntimeError):
            return False
        return target.is_relative_to(Path(self._root).resolve())
