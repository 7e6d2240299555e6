"""Data sets packed into one zip each, read as if they were still folders.

An object below ``data_sets/<id>/`` is looked for in ``data_sets/<id>.ozx`` where there is no such folder. Only the
range that is asked for is read, and no file stays open: what is kept of the last few archives is where their files
lie, for as long as an archive is the same file.
"""

from __future__ import annotations

import os
import re
import threading
from collections import OrderedDict
from contextlib import contextmanager, nullcontext
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from asyncfetch.layout.paths import data_set_path, packed_key
from asyncfetch.store.ozx import Entry, data_offset, read_directory

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from io import FileIO

    from asyncfetch.store.ozx import Read
    from asyncfetch.store.wall import Wall

__all__ = ["Archive", "ObjectFile", "PackedSets", "packed_id_of", "reader_of"]

#: Archives of which it is kept where their files lie, about 300 bytes for each of some thousand files.
_MAX_ARCHIVES = 32
_BELOW = re.compile(r"data_sets/(0|[1-9]\d*)(?:/(.*))?", re.ASCII)
_PACKED = re.compile(r"(0|[1-9]\d*)\.ozx", re.ASCII)


def packed_id_of(name: str) -> int | None:
    """Return the data set that an archive directly below ``data_sets`` holds, None where the name is of no archive."""
    match = _PACKED.fullmatch(name)
    return None if match is None else int(match[1])


class ObjectFile:
    """One object, open for reading: a whole file, or a part of an archive.

    Parameters
    ----------
    file : FileIO
        The file, which is closed with this.
    size : int
        The length of the object.
    at : int
        Where it begins in the file.

    Attributes
    ----------
    size
        As given.
    """

    def __init__(self, file: FileIO, size: int, at: int = 0) -> None:
        self.size = size
        self._file = file
        self._at = at

    @classmethod
    def whole(cls, file: FileIO) -> Self:
        """Return a file as the object that it is."""
        return cls(file, os.fstat(file.fileno()).st_size)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._file.close()

    def read(self, start: int = 0, n_bytes: int | None = None) -> bytes:
        """Return a range of the object, by default all of it; less where that ends before."""
        n_left = max(0, self.size - start)
        return reader_of(self._file)(self._at + start, n_left if n_bytes is None else min(n_bytes, n_left))


class Archive:
    """Where the files of one archive lie.

    Parameters
    ----------
    entries : iterable of Entry
        Its central directory.

    Attributes
    ----------
    entries : dict of str to Entry
        The files by name.
    """

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.entries = {entry.name: entry for entry in entries}
        self._offsets: dict[str, int] = {}

    @cached_property
    def folders(self) -> dict[str, list[str]]:
        """The names directly below each folder; that of the root is empty."""
        found: dict[str, list[str]] = {"": []}
        for name in self.entries:
            path = name
            while path:
                folder, _, last = path.rpartition("/")
                is_known = folder in found
                found.setdefault(folder, []).append(last)
                if is_known:
                    break
                path = folder
        return found

    def offset_of(self, entry: Entry, read: Read) -> int:
        """Return where the bytes of a file begin in the archive.

        Raises
        ------
        ValueError
            They are not there.
        """
        at = self._offsets.get(entry.name)
        if at is None:
            at = self._offsets[entry.name] = data_offset(read, entry)
        return at


class PackedSets:
    """The packed data sets of a store in a directory; safe to use from many threads at once.

    Parameters
    ----------
    wall : Wall
        The way to the files of the store.
    """

    def __init__(self, wall: Wall) -> None:
        self._wall = wall
        self._lock = threading.Lock()
        self._archives: OrderedDict[int, tuple[tuple[int, ...], Archive]] = OrderedDict()
        self._met: set[str] = set()

    def __reduce__(self) -> Any:
        """Pickle without what is only kept for speed."""
        return PackedSets, (self._wall,)

    def id_of(self, key: str) -> int | None:
        """Return the packed data set that a key lies in, None where it lies in none."""
        match = _BELOW.fullmatch(key) if key.startswith("data_sets/") else None
        return int(match[1]) if match is not None and self.is_packed(int(match[1])) else None

    def is_packed(self, data_set_id: int) -> bool:
        """Tell whether a data set is an archive, and not a folder, which counts while both are there."""
        archive, folder = (
            self._wall.path(packed_key(data_set_id)),
            self._wall.path(data_set_path(data_set_id)),
        )
        # before every access; os.path would raise and catch where there is none
        return os.access(archive, os.F_OK) and not os.path.isdir(folder)  # noqa: PTH112

    @contextmanager
    def open(self, data_set_id: int) -> Iterator[FileIO | None]:
        """Open the archive of a data set, also where its folder is there, too; None where there is none."""
        file = self._wall.open_file(packed_key(data_set_id))
        with file if file is not None else nullcontext():
            yield file

    def has(self, key: str) -> bool:
        """Tell whether a packed data set has an object or a folder of that name.

        Raises
        ------
        ValueError
            Its archive cannot be read.
        """
        archive, name = self._archive_of(key)
        return archive is not None and (name in archive.entries or name in archive.folders)

    def was_packed(self, key: str) -> bool:
        """Tell whether a key lies in a data set that has been read from its archive before, without looking."""
        return bool(self._met) and key.startswith("data_sets/") and key.split("/", 2)[1] in self._met

    def look(self, key: str) -> tuple[bool, ObjectFile | None]:
        """Look for an object: whether its data set is packed, and the object, open, where the archive has it.

        Raises
        ------
        ValueError
            The archive cannot be read there.
        """
        data_set_id = self.id_of(key)
        file = None if data_set_id is None else self._wall.open_file(packed_key(data_set_id))
        if data_set_id is None or file is None:
            return False, None
        try:
            archive = self._archive(data_set_id, file)
            entry = archive.entries.get(_name_in(key))
            if entry is not None:
                return True, ObjectFile(file, entry.size, archive.offset_of(entry, reader_of(file)))
        except BaseException:
            file.close()
            raise
        file.close()
        return True, None

    def names_below(self, path: str) -> list[str]:
        """Return the names directly below a path in a packed data set, none where there is nothing.

        Raises
        ------
        ValueError
            The archive cannot be read.
        """
        archive, name = self._archive_of(path)
        return [] if archive is None else archive.folders.get(name, [])

    def keys(self, data_set_id: int) -> list[str]:
        """Return the keys of all objects of a packed data set, none where it is not packed.

        Raises
        ------
        ValueError
            The archive cannot be read.
        """
        path = data_set_path(data_set_id)
        archive, _ = self._archive_of(path)
        return [] if archive is None else [f"{path}/{name}" for name in archive.entries]

    def _archive_of(self, key: str) -> tuple[Archive | None, str]:
        """Return the archive that a key lies in, and its name there."""
        data_set_id = self.id_of(key)
        file = None if data_set_id is None else self._wall.open_file(packed_key(data_set_id))
        if data_set_id is None or file is None:
            return None, ""
        with file:
            return self._archive(data_set_id, file), _name_in(key)

    def _archive(self, data_set_id: int, file: FileIO) -> Archive:
        status = os.fstat(file.fileno())
        identity = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        with self._lock:
            known = self._archives.get(data_set_id)
            if known is not None and known[0] == identity:
                self._archives.move_to_end(data_set_id)
                return known[1]
        try:
            found = Archive(read_directory(reader_of(file), status.st_size))
        except ValueError as error:
            raise ValueError(f"{packed_key(data_set_id)}: {error}") from error
        with self._lock:
            self._met.add(str(data_set_id))
            self._archives[data_set_id] = identity, found
            self._archives.move_to_end(data_set_id)
            while len(self._archives) > _MAX_ARCHIVES:
                self._archives.popitem(last=False)
        return found


def reader_of(file: FileIO) -> Read:
    """Return what reads an open file at a position, however many calls of the system that takes."""

    def read(at: int, n_bytes: int) -> bytes:
        file.seek(at)
        data = file.read(n_bytes)
        while len(data) < n_bytes and (more := file.read(n_bytes - len(data))):
            data += more
        return data

    return read


def _name_in(key: str) -> str:
    match = _BELOW.fullmatch(key)
    return (match and match[2]) or ""
