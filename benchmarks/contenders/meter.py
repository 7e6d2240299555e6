"""Measure the process that a contender runs in."""

from __future__ import annotations

import json
import resource
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["metered"]


@contextmanager
def metered(out: Path) -> Iterator[dict[str, Any]]:
    """Time the block and print what it took, with the figures that the block adds.

    Parameters
    ----------
    out : Path
        Where the contender writes; its size afterwards is reported.

    Yields
    ------
    dict
        For figures of the contender's own, such as ``n_images``.
    """
    figures: dict[str, Any] = {}
    before = resource.getrusage(resource.RUSAGE_SELF)
    started_s = time.perf_counter()
    yield figures
    wall_s = time.perf_counter() - started_s
    after = resource.getrusage(resource.RUSAGE_SELF)
    figures |= {
        "wall_s": wall_s,
        "cpu_s": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "peak_mib": after.ru_maxrss / 1024,
        "disk_mb": sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) / 1e6,
    }
    json.dump(figures, sys.stdout)
