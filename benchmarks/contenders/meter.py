"""What the process of a contender takes, measured from inside; needs the standard library alone."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.contenders.job import Job

__all__ = ["metered"]

# kilobytes, but bytes on macOS (getrusage(2))
_PEAK_UNIT = 1 if sys.platform == "darwin" else 1024
# more than a run of planes writes and holds; a run at full resolution comes near it
_WARMED_BYTES = 2**31
_TOUCH = """
import mmap, sys
n = int(sys.argv[1])
memory = mmap.mmap(-1, n)
for k in range(0, n, mmap.PAGESIZE):
    memory[k] = 1
"""


@contextmanager
def metered(job: Job) -> Iterator[dict[str, Any]]:
    """Time the block and print what it took, with the figures that the block adds.

    Parameters
    ----------
    job : Job
        Where the contender writes, the size of which is reported; and whether it has to reach the disk.

    Yields
    ------
    dict
        For figures of the contender's own, such as ``n_images``.
    """
    figures: dict[str, Any] = {}
    _warm_memory()
    if job.on_disk:
        # what others left to be written is not this one's
        os.sync()
    before, started_s = _cpu_s(), time.perf_counter()
    yield figures
    if job.on_disk:
        os.sync()
    wall_s, after = time.perf_counter() - started_s, _cpu_s()
    figures |= {
        "wall_s": wall_s,
        "cpu_s": after[0] - before[0],
        "children_cpu_s": after[1] - before[1],
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _PEAK_UNIT / 2**20,
        "disk_mb": sum(path.stat().st_size for path in Path(job.out).rglob("*") if path.is_file()) / 1e6,
    }
    json.dump(figures, sys.stdout)


def _warm_memory() -> None:
    """Make the host of a virtual machine give back the memory that it took while it lay free.

    A page that the host has to find costs ten times one that is there: of one run's files of 5.5 MB some took 1.5 ms
    each and others 17, and which run met the cheap ones was chance. Another process touches the memory, so that it
    does not count as this one's.
    """
    n_bytes = min(_WARMED_BYTES, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 8)
    subprocess.run([sys.executable, "-S", "-c", _TOUCH, str(n_bytes)], check=True)


def _cpu_s() -> tuple[float, float]:
    """Return the CPU seconds of this process, and of its children that ended."""
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime, children.ru_utime + children.ru_stime
