"""A day of mirroring in virtual time: what the engine itself costs, and what it keeps in memory."""

from __future__ import annotations

import resource
import statistics
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

import anyio

from benchmarks.simulation.clock import run_virtually
from benchmarks.simulation.kinds import KINDS
from benchmarks.simulation.runs import simulate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.simulation.kinds import Kind

__all__ = ["Day", "measure_day"]

# A million requests in 24 hours.
_REQUESTS_PER_S = 12.0


class Day(NamedTuple):
    """What a day cost.

    Attributes
    ----------
    n_requests : int
        How many were answered.
    virtual_s, wall_s, cpu_s : float
        Seconds of the run, on the three clocks.
    host_cpu_s : float
        CPU seconds of the same requests against the host without the engine.
    peak_mib : float
        The most memory that the process held.
    """

    n_requests: int
    virtual_s: float
    wall_s: float
    cpu_s: float
    host_cpu_s: float
    peak_mib: float

    @property
    def engine_us(self) -> float:
        """Microseconds of the engine's own CPU time for each request."""
        return (self.cpu_s - self.host_cpu_s) / self.n_requests * 1e6

    def __str__(self) -> str:
        return (
            f"{self.n_requests} requests in {self.virtual_s / 3600:.1f} virtual hours: {self.wall_s:.0f} s, "
            f"{self.cpu_s:.0f} CPU s, {self.host_cpu_s:.0f} of them for the host alone; "
            f"engine {self.engine_us:.0f} µs per request; peak {self.peak_mib:.0f} MiB"
        )


def measure_day(n_requests: int = 10**6, kind: Kind = KINDS["capped_in_all"], seed: int = 0) -> Day:
    """Mirror for a day through the engine, then ask the host for the same without it.

    The requests come from a stream that is made as it is read. Without the engine as many workers as had been busy ask
    one after another, and count bytes as the engine had them counted.
    """
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    run = simulate(kind, "auto", seed, seconds=None, n_requests=n_requests, requests_per_s=_REQUESTS_PER_S)
    wall_s, cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
    n_open = max(1, round(statistics.fmean(run.tally.open_s) / run.tally.bin_s))
    host_cpu_s = time.process_time()
    run_virtually(lambda: _ask_directly(kind, seed, n_requests, n_open))
    host_cpu_s = time.process_time() - host_cpu_s
    # Linux counts in KiB, macOS in bytes.
    unit = 2**20 if sys.platform == "darwin" else 2**10
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    return Day(run.n_done, run.seconds, wall_s, cpu_s, host_cpu_s, peak_mib)


async def _ask_directly(kind: Kind, seed: int, n_requests: int, n_workers: int) -> None:
    host = kind.make(seed)
    numbers = iter(range(n_requests))

    async def work(numbers: Iterator[int], on_bytes: Callable[[int], None]) -> None:
        for number in numbers:
            await host.fetch(f"http://host/{number}", 2**40, on_bytes)

    async with anyio.create_task_group() as workers:
        for _ in range(n_workers):
            workers.start_soon(work, numbers, lambda _n_bytes: None)
    await host.aclose()
