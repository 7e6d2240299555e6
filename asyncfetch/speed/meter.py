"""What a block of code took: wall time, CPU time, peak memory."""

from __future__ import annotations

import importlib
import os
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Cost", "metered"]


class Cost(msgspec.Struct):
    """What a block took; filled in when it ends.

    Attributes
    ----------
    wall_s : float
        Seconds on the clock.
    cpu_s : float
        Seconds of all threads of this process.
    children_cpu_s : float
        Seconds of child processes that ended within the block.
    peak_bytes : int or None
        The most memory that this process ever held, before the block included; None where the system does not
        tell.
    """

    wall_s: float = 0.0
    cpu_s: float = 0.0
    children_cpu_s: float = 0.0
    peak_bytes: int | None = None


@contextmanager
def metered() -> Iterator[Cost]:
    """Measure a block.

    Yields
    ------
    Cost
        Zeros until the block has ended.
    """
    cost = Cost()
    before, started_s = os.times(), time.perf_counter()
    yield cost
    cost.wall_s = time.perf_counter() - started_s
    after = os.times()
    cost.cpu_s = after.user - before.user + after.system - before.system
    cost.children_cpu_s = (
        after.children_user - before.children_user + after.children_system - before.children_system
    )
    cost.peak_bytes = _peak_bytes()


def _peak_bytes() -> int | None:
    # the module is there on Unix alone
    if sys.platform == "win32":
        return None
    resource: Any = importlib.import_module("resource")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # kilobytes, but bytes on macOS (getrusage(2))
    return int(peak) if sys.platform == "darwin" else int(peak) * 1024
