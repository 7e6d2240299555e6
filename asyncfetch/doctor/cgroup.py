"""The processors and the memory that the control groups of Linux leave to this process."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

__all__ = ["Limits", "read_limits"]

# Version 1 says "no limit" with a number near 2^63, rounded to pages.
_NO_LIMIT_BYTES = 2**60


class Limits(NamedTuple):
    """What a control group allows; None where it sets no limit, or where there are no control groups.

    Attributes
    ----------
    cores : float or None
        The quota of processor time, in cores.
    memory_bytes : int or None
        The most memory.
    """

    cores: float | None = None
    memory_bytes: int | None = None


def read_limits(
    mounted: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")
) -> Limits:
    """Return the tightest limits of the group of this process and of those above it.

    Parameters
    ----------
    mounted : path
        Where the control groups are mounted.
    membership : path
        The file that names the groups of this process.
    """
    cores: list[float] = []
    memory: list[int] = []
    for folder in _groups(mounted, _read(membership) or ""):
        quota = _quota(folder)
        if quota is not None:
            cores.append(quota)
        for name in ("memory.max", "memory.limit_in_bytes"):
            limit = _read(folder / name)
            if limit is not None and limit.isdecimal() and int(limit) < _NO_LIMIT_BYTES:
                memory.append(int(limit))
    return Limits(min(cores, default=None), min(memory, default=None))


def _groups(mounted: Path, membership: str) -> list[Path]:
    """Return the folders of all groups that hold, those above included; for versions 1 and 2."""
    folders: list[Path] = []
    for line in membership.splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        for root in (mounted / controllers, mounted) if controllers else (mounted,):
            own = root.joinpath(*(part for part in path.split("/") if part not in {"", ".", ".."}))
            above = [own, *own.parents]
            folders += above[: above.index(root) + 1]
    return list(dict.fromkeys([*folders, mounted]))


def _quota(folder: Path) -> float | None:
    """Return the quota of a group in cores: ``cpu.max`` in version 2, two files in version 1."""
    text = _read(folder / "cpu.max")
    if text is None:
        quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
        text = f"{quota} {period}"
    words = text.split()
    if len(words) != 2 or not all(word.isdecimal() for word in words) or not int(words[1]):
        return None
    return int(words[0]) / int(words[1])


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return None
