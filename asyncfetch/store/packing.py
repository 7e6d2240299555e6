"""Data sets turned into one zip each and back, so that at any moment one of the two is whole.

What is new is written under a temporary name, synced, and read back; then it gets its name in one step, and only then
what it was made of goes, in one step, too. All functions block and need the lock of the store.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from asyncfetch.errors import StoreAccessError, StoreItemError
from asyncfetch.layout.paths import data_set_path, packed_key
from asyncfetch.store.ozx import (
    ArchiveWriter,
    Entry,
    crc32_of,
    data_offset,
    framing_problem,
    in_order,
    pieces_of,
    read_directory,
)
from asyncfetch.store.packed import packed_id_of, reader_of
from asyncfetch.store.packed_store import PackedStore
from asyncfetch.store.root import ngff_of
from asyncfetch.store.wall import checked_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from io import FileIO

    from asyncfetch.store.objects import Place

__all__ = [
    "PackedFiles",
    "archive_problem",
    "is_packed",
    "lies_beside",
    "pack_data_set",
    "packed_store_of",
    "settle",
    "sweep_folders",
    "unpack_data_set",
    "write_folder",
]

_PARTIAL = ".partial"
_DATA_SETS = "data_sets"


class PackedFiles(NamedTuple):
    """What an archive was made of, or what was made of it.

    Attributes
    ----------
    n_files : int
        How many files.
    n_bytes : int
        How long they are together.
    """

    n_files: int
    n_bytes: int


class _File(NamedTuple):
    size: int
    changed_ns: int


class _StoppedError(Exception):
    """The end of a packing that was asked to stop."""


def packed_store_of(place: Place) -> PackedStore:
    """Return the directory of a place.

    Raises
    ------
    StoreAccessError
        It is kept otherwise.
    """
    if not isinstance(place.store, PackedStore):
        raise StoreAccessError(
            f"{place.name} is not a directory, and data sets are packed and unpacked in directories only",
            location=place.name,
        )
    return place.store


def is_packed(place: Place, data_set_id: int) -> bool:
    """Tell whether a data set is packed."""
    return isinstance(place.store, PackedStore) and place.store.packed.is_packed(data_set_id)


def lies_beside(place: Place, data_set_id: int) -> bool:
    """Tell whether an archive lies beside the folder of its data set."""
    if not isinstance(place.store, PackedStore) or place.store.packed.is_packed(data_set_id):
        return False
    with place.store.packed.open(data_set_id) as file:
        return file is not None


def pack_data_set(
    place: Place, data_set_id: int, *, is_stopped: Callable[[], bool] = lambda: False
) -> PackedFiles | None:
    """Turn the folder of a data set into an archive.

    Parameters
    ----------
    place : Place
        The store.
    data_set_id : int
        A data set that is not packed, and that nobody writes to.
    is_stopped : callable
        Is asked before each file whether to stop.

    Returns
    -------
    PackedFiles or None
        What was packed; None where it was stopped, and the folder is as it was.

    Raises
    ------
    StoreItemError
        The folder holds what an archive cannot keep, or changed meanwhile, or the archive did not read back.
    StoreError
        The store cannot be written.
    """
    store = packed_store_of(place)
    with place.mapped_errors():
        folder, archive = _paths(store, data_set_id)
        files = _files_below(place, folder)
        partial_archive = _temporary(archive)
        try:
            entries = _write_archive(partial_archive, folder, files, ngff_of(place), is_stopped)
            _check_archive(place, partial_archive, packed_key(data_set_id), entries)
            if _files_below(place, folder) != files:
                raise StoreItemError(
                    f"data set {data_set_id} was changed while it was packed, and stays as it is; pack it again",
                    location=str(folder),
                )
            partial_archive.replace(archive)
        except _StoppedError:
            return None
        finally:
            partial_archive.unlink(missing_ok=True)
        _sync_folder(archive.parent)
        _remove_folder(folder)
    return _packed_files(entries)


def unpack_data_set(place: Place, data_set_id: int) -> PackedFiles:
    """Turn the archive of a data set into a folder again, byte for byte what it was made of.

    Raises
    ------
    StoreItemError
        The archive is damaged, and stays.
    StoreError
        The store cannot be written.
    """
    store = packed_store_of(place)
    with place.mapped_errors(), store.packed.open(data_set_id) as file:
        if file is None:
            raise StoreItemError(
                f"{place.name} holds no packed data set {data_set_id}", location=f"{place.name}/{_DATA_SETS}"
            )
        read, key = reader_of(file), packed_key(data_set_id)
        try:
            entries = read_directory(read, os.fstat(file.fileno()).st_size)
            located = [(entry, data_offset(read, entry)) for entry in entries]
        except ValueError as error:
            raise place.damaged_item(key, f"cannot be unpacked ({error})") from error
        broken = [entry.name for entry, at in located if crc32_of(read, at, entry.size) != entry.crc32]
        if broken:
            raise place.damaged_item(key, f"cannot be unpacked ({broken[0]} is not as it was packed)")
        write_folder(place, data_set_id, file, located)
    return _packed_files(entries)


def write_folder(place: Place, data_set_id: int, file: FileIO, located: Iterable[tuple[Entry, int]]) -> None:
    """Make the folder of a data set from parts of its archive, which goes then.

    Parameters
    ----------
    place : Place
        The store.
    data_set_id : int
        The data set.
    file : FileIO
        Its archive.
    located : iterable of (Entry, int)
        The files, and where the bytes of each begin.
    """
    folder, archive = _paths(packed_store_of(place), data_set_id)
    partial_folder = _temporary(folder)
    try:
        _write_files(partial_folder, reader_of(file), located)
        _sync_files(partial_folder)
        partial_folder.rename(folder)
    except OSError as error:
        # another process was faster; both have read the same archive
        if error.errno not in {errno.EEXIST, errno.ENOTEMPTY}:
            raise
    finally:
        shutil.rmtree(partial_folder, ignore_errors=True)
    _sync_folder(folder.parent)
    archive.unlink(missing_ok=True)
    _sync_folder(folder.parent)


def archive_problem(place: Place, data_set_id: int, *, full: bool = False) -> str | None:
    """Return what is wrong with the archive of a data set, a phrase that follows its key; None where nothing is.

    Parameters
    ----------
    place : Place
        The store.
    data_set_id : int
        The data set.
    full : bool
        Compare the CRC-32 of every file, too. What is beside the files' own bytes is always compared, to the bit.
    """
    store = packed_store_of(place)
    with place.mapped_errors(), store.packed.open(data_set_id) as file:
        if file is None:
            return None
        return _problem_of(file, ngff_of(place), full=full)


def settle(place: Place) -> None:
    """Let one remain where both the folder and the archive of a data set are there, as a kill can leave them.

    An archive that is whole and has all that the folder has stays; one that is damaged goes where the folder has what
    it can still give. Where they differ otherwise, both stay, and the folder counts.
    """
    if not isinstance(place.store, PackedStore):
        return
    packed = place.store.packed
    root = place.store.root / _DATA_SETS
    names = set(os.listdir(root)) if root.is_dir() else set()  # noqa: PTH208 - no path for each name
    for data_set_id in sorted(filter(None, map(packed_id_of, names))):
        if str(data_set_id) not in names or packed.is_packed(data_set_id):
            continue
        with place.mapped_errors():
            _settle_one(place, data_set_id)


def _settle_one(place: Place, data_set_id: int) -> None:
    store = packed_store_of(place)
    folder, archive = _paths(store, data_set_id)
    with store.packed.open(data_set_id) as file:
        if file is None:
            return
        try:
            is_whole = _problem_of(file, ngff_of(place), full=True) is None
            entries = read_directory(reader_of(file), os.fstat(file.fileno()).st_size)
            located = {entry.name: (entry, data_offset(reader_of(file), entry)) for entry in entries}
        except ValueError:
            is_whole, located = False, {}
    files = _files_below(place, folder)
    same = {
        name for name in files if name in located and _crc32_of_file(folder / name) == located[name][0].crc32
    }
    if is_whole and same == set(files):
        _remove_folder(folder)
    elif set(located) <= same and "zarr.json" in files:
        archive.unlink(missing_ok=True)
        _sync_folder(archive.parent)
    else:
        place.damage.add(packed_key(data_set_id), "differs from the folder of the same data set")


def sweep_folders(place: Place) -> None:
    """Remove the folders that a killed packing or unpacking left under temporary names."""
    root = place.folder
    if root is None or not (root / _DATA_SETS).is_dir():
        return
    with place.mapped_errors():
        for path in (root / _DATA_SETS).iterdir():
            if path.name.endswith(_PARTIAL) and path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)


def _paths(store: PackedStore, data_set_id: int) -> tuple[Path, Path]:
    wall = store.wall
    return wall.writable_path(data_set_path(data_set_id)), wall.writable_path(packed_key(data_set_id))


def _temporary(path: Path) -> Path:
    return path.with_name(f"{path.name}.{uuid.uuid4().hex}{_PARTIAL}")


def _packed_files(entries: list[Entry]) -> PackedFiles:
    return PackedFiles(len(entries), sum(entry.size for entry in entries))


def _files_below(place: Place, folder: Path) -> dict[str, _File]:
    """Return the files below a folder by name, without what a killed run left.

    Raises
    ------
    StoreItemError
        There is something else than files and folders, or a name that no object of a store has.
    """
    found: dict[str, _File] = {}
    folders = [folder]
    while folders:
        with os.scandir(folders.pop()) as items:
            for item in items:
                path = Path(item.path)
                status = item.stat(follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode):
                    folders.append(path)
                elif stat.S_ISREG(status.st_mode):
                    if not item.name.endswith(_PARTIAL):
                        name = checked_key(path.relative_to(folder).as_posix(), place.name)
                        found[name] = _File(status.st_size, status.st_mtime_ns)
                else:
                    what = (
                        "a symbolic link" if stat.S_ISLNK(status.st_mode) else "neither a file nor a folder"
                    )
                    raise StoreItemError(
                        f"{path} is {what}, which an archive cannot keep; put a file in its place",
                        location=str(path),
                    )
    return found


def _write_archive(
    path: Path, folder: Path, files: Iterable[str], ngff: str, is_stopped: Callable[[], bool]
) -> list[Entry]:
    entries = []
    with path.open("xb") as out:
        writer = ArchiveWriter(out, ngff)
        for name in in_order(files):
            if is_stopped():
                raise _StoppedError
            with (folder / name).open("rb", buffering=0) as file:
                entries.append(
                    writer.add(name, pieces_of(reader_of(file), 0, os.fstat(file.fileno()).st_size))
                )
        writer.end()
        out.flush()
        os.fsync(out.fileno())
    return entries


def _check_archive(place: Place, path: Path, key: str, entries: list[Entry]) -> None:
    """Read an archive back and compare it with what it was made of.

    Raises
    ------
    StoreItemError
        It differs.
    """
    with path.open("rb", buffering=0) as file:
        _forget_cached(file)
        problem = _problem_of(file, ngff_of(place), full=True)
        if problem is None and read_directory(reader_of(file), os.fstat(file.fileno()).st_size) != entries:
            problem = "lists other files"
    if problem is not None:
        raise StoreItemError(
            f"{place.name}/{key} was not read back as it was written: it {problem}; the data set stays a folder; "
            "check the disk",
            location=f"{place.name}/{key}",
        )


def _problem_of(file: FileIO, ngff: str, *, full: bool) -> str | None:
    read, n_bytes = reader_of(file), os.fstat(file.fileno()).st_size
    try:
        entries = read_directory(read, n_bytes)
        problem = framing_problem(read, n_bytes, entries, ngff)
        if problem is not None or not full:
            return problem
        for entry in entries:
            if crc32_of(read, data_offset(read, entry), entry.size) != entry.crc32:
                return f"has other bytes of {entry.name} than were packed"
    except ValueError as error:
        return f"cannot be read ({error})"
    return None


def _crc32_of_file(path: Path) -> int:
    with path.open("rb", buffering=0) as file:
        return crc32_of(reader_of(file), 0, os.fstat(file.fileno()).st_size)


def _write_files(
    folder: Path, read: Callable[[int, int], bytes], located: Iterable[tuple[Entry, int]]
) -> None:
    folder.mkdir()
    made = {folder}
    for entry, at in located:
        path = folder / entry.name
        if path.parent not in made:
            path.parent.mkdir(parents=True, exist_ok=True)
            made.add(path.parent)
        with path.open("xb") as out:
            for piece in pieces_of(read, at, entry.size):
                out.write(piece)


def _remove_folder(folder: Path) -> None:
    """Remove a folder that has a successor: in one step by a name that counts for nothing, then for good."""
    gone = _temporary(folder)
    folder.rename(gone)
    _sync_folder(folder.parent)
    # what is still open on a share stays until the next run sweeps
    shutil.rmtree(gone, ignore_errors=True)


def _sync_files(folder: Path) -> None:
    """Have the disk hold all files and folders below one, once all are written."""
    for path, _, names in os.walk(folder):
        for name in names:
            with Path(path, name).open("rb+", buffering=0) as file:
                os.fsync(file.fileno())
        _sync_folder(Path(path))


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":
        # folders cannot be opened there, and renames are kept by the journal
        return
    # some shares know no sync of folders
    with contextlib.suppress(OSError):
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def _forget_cached(file: FileIO) -> None:
    """Have what is read next come from the disk, where the system takes that as a hint."""
    if hasattr(os, "posix_fadvise"):
        with contextlib.suppress(OSError):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
