"""Files and folders of an export: whole under their name, or not there at all."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from typing import IO, TYPE_CHECKING, Any, cast

from zlib_ng import gzip_ng

from asyncfetch.errors import StoreAccessError, StoreError, StoreSpaceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["Facts", "gzipped", "mapped_errors", "measured", "write_whole"]

#: What the writer of a file tells about it, in values that JSON knows.
type Facts = dict[str, Any]

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_ACCESS = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ENOENT, errno.EISDIR}


@contextlib.contextmanager
def mapped_errors(folder: Path) -> Iterator[None]:
    """Turn an OSError of writing to a folder into the StoreError that says what to do.

    Raises
    ------
    StoreSpaceError, StoreAccessError, StoreError
        The disk is full; a path cannot be written; anything else of the operating system.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno in _NO_SPACE:
            raise StoreSpaceError(
                f"no space left for {folder} ({reason}); free some space and run the same command again, "
                "which keeps what is complete",
                location=str(folder),
            ) from error
        if error.errno in _NO_ACCESS:
            raise StoreAccessError(
                f"{folder} cannot be used: {error.filename or folder}: {reason}; choose another folder with -o, or "
                "change its permissions",
                location=str(folder),
            ) from error
        raise StoreError(f"{folder} failed: {reason}", location=str(folder)) from error


def write_whole(folder: Path, name: str, write: Callable[[Path], Facts]) -> Facts:
    """Write a file or a folder under a temporary name, and give it its own when it is complete.

    What has that name before is replaced. A temporary file that a killed run has left is replaced, too.

    Parameters
    ----------
    folder : Path
        The folder of the export.
    name : str
        The path below it.
    write : callable
        Takes the temporary path, and returns what `write_whole` returns.

    Raises
    ------
    StoreError
        It cannot be written.
    """
    path = folder / name
    temporary = path.with_name(f".{path.name}.part")
    with mapped_errors(folder):
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove(temporary)
        try:
            facts = write(temporary)
            if path.is_dir():
                before = path.with_name(f".{path.name}.old")
                _remove(before)
                path.rename(before)
                temporary.rename(path)
                _remove(before)
            else:
                os.replace(temporary, path)  # noqa: PTH105 - atomic on every system
        except BaseException:
            with contextlib.suppress(OSError):
                _remove(temporary)
            raise
    return facts


def gzipped(file: IO[bytes]) -> IO[bytes]:
    """Return what compresses into an open file; the same bytes give the same file, without name and time."""
    level = 4  # as small as 6 to a few per cent, in half the time
    out = gzip_ng.GzipNGFile("", "wb", level, file, 0)  # type: ignore[no-untyped-call]  # its types are those of zlib
    return cast("IO[bytes]", out)


def measured(path: Path) -> tuple[int, int]:
    """Return how long a file is, or all files below a folder together, and how many there are; (0, 0) of none."""
    try:
        if path.is_dir():
            sizes = [each.stat().st_size for each in path.rglob("*") if each.is_file()]
            return sum(sizes), len(sizes)
        return path.stat().st_size, 1
    except (FileNotFoundError, NotADirectoryError):
        return 0, 0


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
