"""The disk of a directory: its file system, free space and inodes, and how fast it takes bytes."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from time import perf_counter

from asyncfetch.doctor.facts import Fact, megabytes

__all__ = ["examine_disk", "write_speed"]

_PIECE_BYTES = 2**20
_N_PIECES = 32
_LONGEST_S = 2.0
# A data set of 20 sections with its JPEGs and planes; with less than that the first run ends early.
_ENOUGH_BYTES = 2**30
# Up to six inodes per section: enough for some 15 000 sections.
_ENOUGH_INODES = 100_000
# One connection brings 0.4 to 0.8 MB/s (HTTP-7); beside what ten bring, a slower disk is what holds a run back.
_ENOUGH_BYTES_PER_S = 10_000_000
_ON_THE_NETWORK = frozenset({"9p", "afs", "cifs", "fuse.sshfs", "lustre", "nfs", "nfs4", "smb3", "smbfs"})


def examine_disk(directory: Path) -> list[Fact]:
    """Return the facts about the disk of a directory; 32 MB are written to it, and removed.

    Parameters
    ----------
    directory : path
        A folder; where it does not exist yet, the nearest above it that does.
    """
    folder = _existing(directory)
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return [Fact("place", str(directory), None, f"{folder} cannot be read: {error.strerror}")]
    kind = _file_system(folder)
    is_far = f"; on the network ({kind})" if kind in _ON_THE_NETWORK else f" ({kind})" if kind else ""
    return [
        Fact("place", f"{directory}{is_far}", {"path": str(directory), "file_system": kind}),
        Fact(
            "free space",
            megabytes(free),
            free,
            "choose another location with --out" if free < _ENOUGH_BYTES else None,
        ),
        _inodes(folder),
        _speed(folder),
    ]


def write_speed(folder: Path, *, n_pieces: int = _N_PIECES, longest_s: float = _LONGEST_S) -> float:
    """Return the bytes per second that the disk of a folder takes, synchronized; the file is removed.

    Raises
    ------
    OSError
        Nothing can be written there.
    """
    piece = os.urandom(_PIECE_BYTES)
    with tempfile.TemporaryFile(dir=folder, prefix=".asyncfetch-doctor-") as file:
        began, n_written = perf_counter(), 0
        while n_written < n_pieces and (not n_written or perf_counter() - began < longest_s):
            file.write(piece)
            file.flush()
            n_written += 1
        os.fsync(file.fileno())
        return n_written * _PIECE_BYTES / max(perf_counter() - began, 1e-6)


def _inodes(folder: Path) -> Fact:
    if not hasattr(os, "statvfs"):
        return Fact("free inodes", "not limited on this system", None)
    numbers = os.statvfs(folder)
    if not numbers.f_files:
        # btrfs and others make inodes as they are needed
        return Fact("free inodes", "not limited by this file system", None)
    free = numbers.f_favail
    advice = "a section takes up to 6; choose another location with --out" if free < _ENOUGH_INODES else None
    return Fact("free inodes", f"{free}", free, advice)


def _speed(folder: Path) -> Fact:
    try:
        speed = write_speed(folder)
    except OSError as error:
        return Fact("disk speed", "unknown", None, f"nothing can be written to {folder}: {error.strerror}")
    advice = "the disk will hold runs back; choose another location with --out"
    return Fact(
        "disk speed",
        f"{megabytes(speed)}/s written",
        round(speed),
        advice if speed < _ENOUGH_BYTES_PER_S else None,
    )


def _existing(directory: Path) -> Path:
    absolute = directory.absolute()
    return next((folder for folder in (absolute, *absolute.parents) if folder.is_dir()), Path.cwd())


def _file_system(folder: Path, mounts: Path = Path("/proc/self/mounts")) -> str | None:
    """Return the kind of the file system that holds a folder, as the kernel names it."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    resolved = folder.resolve()
    points = {
        Path(words[1].replace("\\040", " ")): words[2] for words in map(str.split, lines) if len(words) > 2
    }
    return next((points[each] for each in (resolved, *resolved.parents) if each in points), None)
