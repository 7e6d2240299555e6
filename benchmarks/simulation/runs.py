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
from asyncfetch.errors import AsyncFetchError, NotAnImageError, SettingsError
from asyncfetch.settings import Settings
from benchmarks.simulation.clock import run_virtually
from benchmarks.simulation.host import HTML_BODY

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from asyncfetch.engine import Reply
    from asyncfetch.events import Event
    from benchmarks.simulation.kinds import Kind
    from benchmarks.simulation.tally import Tally

__all__ = ["FIXED", "Run", "Sweep", "engine_adapts", "simulate", "sweep"]

#: The fixed windows of a sweep.
FIXED = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
# More than any window: workers that wait at the gate cost nothing.
_N_WORKERS = 160
_LIMIT_BYTES = 2**40


@dataclass
class Run:
    """Be what one run showed; times are seconds since its begin.

    Attributes
    ----------
    kind, jobs, seed
        What was run; ``jobs`` is "auto" where the engine adapted.
    seconds : float
        How long it took, in virtual time.
    tally : Tally
        What the host saw.
    window : list of tuple of float
        Time and the engine's window, sampled every second.
    events : list of tuple
        Time and tag of every event that is not the start or the end of one request.
    n_done, n_failed : int
        Requests that were answered, and those that were given up.
    """

    kind: str
    jobs: int | Literal["auto"]
    seed: int
    seconds: float = 0.0
    tally: Tally = None  # type: ignore[assignment] # set as soon as there is a loop
    window: list[tuple[float, int]] = field(default_factory=list)
    events: list[tuple[float, str]] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    n_done: int = 0
    n_failed: int = 0

    def goodput(self, since_s: float = 0.0) -> float:
        """Return bytes/s of bodies that came whole or were still coming, from ``since_s`` to the end."""
        return self.tally.mean_rate(since_s, self.seconds)


def engine_adapts() -> bool:
    """Say whether this engine seeks its window by itself."""
    try:
        Settings().replace(jobs="auto")
    except SettingsError:
        return False
    return True


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
        tag = event.__struct_config__.tag
        if tag not in {"request_started", "request_finished"}:
            run.events.append((anyio.current_time() - begins, str(tag)))

    # The jitter of the engine must not follow the latencies of the host.
    jitter = random.Random(~run.seed)
    async with Engine(settings, host, on_event=listen, random=jitter.random) as engine:
        with anyio.move_on_after(seconds or float("inf")):
            async with anyio.create_task_group() as sampling:
                sampling.start_soon(_sample, run, engine, begins)
                async with anyio.create_task_group() as workers:
                    for _ in range(_N_WORKERS):
                        workers.start_soon(_work, run, engine, numbers)
                sampling.cancel_scope.cancel()
    run.seconds = seconds or anyio.current_time() - begins


async def _work(run: Run, engine: Engine, numbers: Iterator[int]) -> None:
    for number in numbers:
        request = Request(f"http://host/{number}", "image", _LIMIT_BYTES)
        try:
            await engine.fetch(request, _check)
        except AsyncFetchError as error:
            run.n_failed += 1
            run.failures[type(error).__name__] += 1
        else:
            run.n_done += 1


async def _check(reply: Reply) -> None:
    if reply.body is HTML_BODY:
        raise NotAnImageError("a page came instead of an image", beginning=HTML_BODY[:16], url=reply.url)


async def _sample(run: Run, engine: Engine, begins: float) -> None:
    while True:
        run.window.append((anyio.current_time() - begins, window_of(engine)))
        await anyio.sleep(1.0)


def window_of(engine: Engine) -> int:
    """Return how many images the engine would have open now."""
    return engine._gate.window.size


@dataclass
class Sweep:
    """Be the runs of one host: fixed windows, and the adaptive one where the engine has it.

    Attributes
    ----------
    fixed : dict of int to list of Run
        By window, one run a seed.
    adaptive : list of Run
        One run a seed, in the same order; empty where the engine does not adapt.
    """

    kind: Kind
    fixed: dict[int, list[Run]]
    adaptive: list[Run]

    @property
    def best_jobs(self) -> int:
        """The fixed window with the highest median goodput."""
        return max(self.fixed, key=lambda jobs: statistics.median(run.goodput() for run in self.fixed[jobs]))

    def over_fixed(self, jobs: int, since_s: float = 0.0) -> list[float]:
        """Return adaptive goodput over that of a fixed window, one ratio a seed."""
        pairs = zip(self.adaptive, self.fixed[jobs], strict=True)
        return [ours.goodput(since_s) / theirs.goodput(since_s) for ours, theirs in pairs]


def sweep(kind: Kind, seeds: Iterable[int], fixed: Iterable[int] = FIXED, seconds: float = 300.0) -> Sweep:
    """Run every window with every seed."""
    seeds = list(seeds)
    return Sweep(
        kind,
        {jobs: [simulate(kind, jobs, seed, seconds=seconds) for seed in seeds] for jobs in fixed},
        [simulate(kind, "auto", seed, seconds=seconds) for seed in seeds] if engine_adapts() else [],
    )
