"""Runs of the real engine against a simulated host, and sweeps over its concurrency."""

from __future__ import annotations

import itertools
import random
import statistics
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import anyio

from asyncfetch.engine import Engine, Request
from asyncfetch.errors import AsyncFetchError, NotAnImageError
from asyncfetch.events import HostPaused, OutageBegan, OutageEnded, WindowChanged
from asyncfetch.settings import Settings
from benchmarks.simulation.clock import run_virtually
from benchmarks.simulation.host import HTML_BODY

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from asyncfetch.engine import Acceptance, Reply
    from asyncfetch.events import Event
    from benchmarks.simulation.kinds import Kind
    from benchmarks.simulation.tally import Tally

__all__ = ["FIXED", "Run", "Sweep", "simulate", "sweep"]

#: The fixed windows of a sweep.
FIXED = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
# More than any window: workers that wait at the gate cost nothing.
_N_WORKERS = 160
_LIMIT_BYTES = 2**40


@dataclass
class Run:
    """What one run showed; times are seconds since its begin.

    Attributes
    ----------
    kind, jobs, seed
        What was run; ``jobs`` is "auto" where the engine adapted.
    seconds : float
        How long it took, in virtual time.
    tally : Tally
        What the host saw.
    events : list of tuple of float and Event
        What the engine decided about the host, and when: windows, pauses, outages.
    failures : Counter
        Requests that were given up, by the name of their error.
    n_done : int
        Requests that were answered.
    """

    kind: str
    jobs: int | Literal["auto"]
    seed: int
    seconds: float = 0.0
    tally: Tally = None  # type: ignore[assignment] # set as soon as there is a loop
    events: list[tuple[float, Event]] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    n_done: int = 0

    def goodput(self, since_s: float = 0.0) -> float:
        """Return bytes/s of bodies that came whole or were still coming, from ``since_s`` to the end."""
        return self.tally.mean_rate(since_s, self.seconds)


def simulate(
    kind: Kind,
    jobs: int | Literal["auto"],
    seed: int = 0,
    *,
    seconds: float | None = 300.0,
    n_requests: int | None = None,
    **settings: Any,
) -> Run:
    """Run requests through an engine until the time is over or the requests are.

    Parameters
    ----------
    kind : Kind
        The host.
    jobs : int or "auto"
        The window; "auto" lets the engine seek it.
    seed : int
        Draws the host's sizes, speeds and latencies and the engine's jitter.
    seconds : float or None
        Virtual seconds after which it stops; None goes on until the requests are done.
    n_requests : int or None
        How many requests there are; None means no end.
    **settings
        Further settings of the engine. The rate is out of the way unless ``requests_per_s`` is given.
    """
    run = Run(kind.name, jobs, seed)
    chosen = Settings(**({"requests_per_s": 1e5} | settings)).replace(jobs=jobs)
    numbers: Iterable[int] = itertools.count() if n_requests is None else range(n_requests)
    run_virtually(lambda: _drive(run, kind, chosen, iter(numbers), seconds))
    return run


async def _drive(
    run: Run, kind: Kind, settings: Settings, numbers: Iterator[int], seconds: float | None
) -> None:
    host = kind.make(run.seed)
    begins = anyio.current_time()
    run.tally = host.tally

    def listen(event: Event) -> None:
        if isinstance(event, HostPaused | OutageBegan | OutageEnded | WindowChanged):
            run.events.append((anyio.current_time() - begins, event))

    # The jitter of the engine must not follow the latencies of the host.
    jitter = random.Random(~run.seed)
    async with Engine(settings, host, on_event=listen, random=jitter.random) as engine:
        with anyio.move_on_after(seconds or float("inf")):
            async with anyio.create_task_group() as workers:
                for _ in range(_N_WORKERS):
                    workers.start_soon(_work, run, engine, numbers)
    run.seconds = seconds or anyio.current_time() - begins


async def _work(run: Run, engine: Engine, numbers: Iterator[int]) -> None:
    for number in numbers:
        request = Request(f"http://host/{number}", "image", _LIMIT_BYTES)
        try:
            await engine.fetch(request, _check)
        except AsyncFetchError as error:
            run.failures[type(error).__name__] += 1
        else:
            run.n_done += 1


async def _check(reply: Reply, _accept: Acceptance) -> None:
    if reply.body is HTML_BODY:
        raise NotAnImageError("a page came instead of an image", beginning=HTML_BODY[:16], url=reply.url)


@dataclass
class Sweep:
    """The runs of one host.

    Attributes
    ----------
    fixed : dict of int to list of Run
        By window, one run a seed.
    adaptive : list of Run
        One run a seed, in the same order.
    """

    kind: Kind
    fixed: dict[int, list[Run]]
    adaptive: list[Run]

    @property
    def best_jobs(self) -> int:
        """The fixed window with the highest median goodput, the smallest of those within a hundredth of it."""
        medians = {jobs: self.fixed_goodput(jobs) for jobs in sorted(self.fixed)}
        return next(jobs for jobs, goodput in medians.items() if goodput >= 0.99 * max(medians.values()))

    @property
    def settles_s(self) -> float:
        """When the host may be taken for known: as its kind says, but half of a short run at the latest."""
        return min(self.kind.settles_s, self.adaptive[0].seconds / 2)

    def fixed_goodput(self, jobs: int) -> float:
        """Return the median goodput of a fixed window in bytes/s."""
        return statistics.median(run.goodput() for run in self.fixed[jobs])

    def over_best(self, since_s: float = 0.0) -> list[float]:
        """Return adaptive goodput over the best of any fixed window, one ratio a seed.

        Only windows that every seed was run with count.
        """
        return [
            run.goodput(since_s) / max(runs[k].goodput(since_s) for runs in self._complete())
            for k, run in enumerate(self.adaptive)
        ]

    def over_serial(self) -> list[float]:
        """Return adaptive goodput over that of one request at a time, one ratio a seed."""
        return [
            ours.goodput() / alone.goodput() for ours, alone in zip(self.adaptive, self.fixed[1], strict=True)
        ]

    def _complete(self) -> list[list[Run]]:
        return [runs for runs in self.fixed.values() if len(runs) == len(self.adaptive)]


def sweep(kind: Kind, seeds: Iterable[int], fixed: Iterable[int] = FIXED, seconds: float = 300.0) -> Sweep:
    """Run every window with the first seed, and with the others the adaptive, the serial and the three best ones."""
    first, *others = seeds
    swept = Sweep(
        kind,
        {jobs: [simulate(kind, jobs, first, seconds=seconds)] for jobs in fixed},
        [simulate(kind, "auto", seed, seconds=seconds) for seed in (first, *others)],
    )
    best = sorted(swept.fixed, key=swept.fixed_goodput)[-3:]
    for jobs in {swept.best_jobs, *best, 1} & swept.fixed.keys():
        swept.fixed[jobs] += [simulate(kind, jobs, seed, seconds=seconds) for seed in others]
    return swept
