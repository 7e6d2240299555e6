"""The engine beside a bare aiohttp loop: the same bodies from a light server, in turns, in one process.

What the engine adds (gate, budget, checks, events, limits) is what its throughput lacks. The server runs in a process
of its own; CPU seconds are this process's alone.
"""

from __future__ import annotations

import cProfile
import pstats
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import anyio

from asyncfetch.engine import Engine, Request
from asyncfetch.settings import Settings
from asyncfetch.speed import metered
from benchmarks.canned_server import open_canned_server
from benchmarks.results import new_results, write_results
from benchmarks.tables import columns

if TYPE_CHECKING:
    import argparse

    from asyncfetch.engine import Acceptance, Reply

#: Bytes of a body, requests a round, and the share of bare aiohttp that the engine has to reach.
LOADS = {"bodies of 5 MB": (5_000_000, 60, 0.9), "replies of 3 kB": (3000, 2000, 0.8)}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Say what can be chosen."""
    parser.add_argument("--connections", type=int, default=8, help="requests in flight (default 8)")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of each (default 7)")
    parser.add_argument("--redirect", action="store_true", help="every request is redirected first")
    parser.add_argument(
        "--length", action="store_true", help="bodies announce their length instead of chunks"
    )
    parser.add_argument("--profile", action="store_true", help="print where the engine's CPU time goes")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="where the figures go")


def main(options: argparse.Namespace) -> int:
    """Measure, print a table, keep the figures; 1 where a bar is missed."""
    results = anyio.run(run, options)
    rows = [("", "engine", "aiohttp", "", "engine", "aiohttp", "throughput", "CPU", "bar")]
    for result in results:
        engine, bare = result["engine"], result["aiohttp"]
        rows.append(
            (
                f"{result['load']}, {options.connections} at once",
                f"{engine['requests_per_s']:.0f}/s",
                f"{bare['requests_per_s']:.0f}/s",
                "µs CPU each:",
                f"{engine['cpu_us']:.0f}",
                f"{bare['cpu_us']:.0f}",
                f"{result['throughput']:.2f}",
                f"{result['cpu']:.2f}",
                f"{result['bar']} {'met' if result['bar_met'] else 'MISSED'}",
            )
        )
    print("\n".join(columns(rows)))
    conditions = {name: getattr(options, name) for name in ("connections", "rounds", "redirect", "length")}
    path = new_results(options.out, "engine-overhead")
    write_results(path, results, **conditions)
    print(f"figures in {path}")
    return 0 if all(result["bar_met"] for result in results) else 1


async def run(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure every load."""
    results = []
    async with open_canned_server(is_chunked=not options.length) as base_url:
        for load, (size, n, bar) in LOADS.items():
            url = f"{base_url}/{'to/' if options.redirect else ''}{size}"
            results.append({"load": load, **await compare(url, size, n, bar, options)})
    return results


async def compare(url: str, size: int, n: int, bar: float, options: argparse.Namespace) -> dict[str, Any]:
    """Let both do the same, in turns, and return medians and ratios."""
    jobs = options.connections
    rounds: dict[str, list[tuple[float, float]]] = {"engine": [], "aiohttp": []}
    settings = Settings(base_url=url, jobs=jobs, requests_per_s=1e7)
    connector = aiohttp.TCPConnector(limit=0)
    async with Engine(settings) as engine, aiohttp.ClientSession(connector=connector) as session:
        for k in range(options.rounds + 1):
            for name in sorted(rounds, reverse=bool(k % 2)):
                with metered() as cost:
                    if name == "engine":
                        await with_engine(engine, url, size, n, jobs)
                    else:
                        await with_aiohttp(session, url, size, n, jobs)
                # the first round opens the connections
                if k:
                    rounds[name].append((cost.wall_s, cost.cpu_s))
        if options.profile:
            await profile(engine, url, size, n, jobs)
    figures = {
        name: {
            "requests_per_s": n / statistics.median(wall for wall, _ in each),
            "cpu_us": statistics.median(cpu for _, cpu in each) / n * 1e6,
            "rounds": each,
        }
        for name, each in rounds.items()
    }
    # round by round, because what else the machine does changes from one to the next
    pairs = list(zip(rounds["engine"], rounds["aiohttp"], strict=True))
    throughput = statistics.median(bare[0] / ours[0] for ours, bare in pairs)
    cpu = statistics.median(bare[1] / ours[1] for ours, bare in pairs)
    return {
        **figures,
        "throughput": throughput,
        "cpu": cpu,
        "bar": bar,
        "bar_met": throughput >= bar and cpu >= bar,
    }


async def with_engine(engine: Engine, url: str, size: int, n: int, jobs: int) -> None:
    """Fetch with the engine, from as many tasks as there are places."""
    request = Request(url, "image", 2 * size)
    left = iter(range(n))

    async def check(reply: Reply, _accept: Acceptance) -> None:
        assert len(reply.body) == size

    async def work() -> None:
        for _ in left:
            await engine.fetch(request, check)

    async with anyio.create_task_group() as tasks:
        for _ in range(jobs):
            tasks.start_soon(work)


async def with_aiohttp(session: aiohttp.ClientSession, url: str, size: int, n: int, jobs: int) -> None:
    """Fetch with aiohttp alone."""
    left = iter(range(n))

    async def work() -> None:
        for _ in left:
            async with session.get(url) as response:
                assert len(await response.read()) == size

    async with anyio.create_task_group() as tasks:
        for _ in range(jobs):
            tasks.start_soon(work)


async def profile(engine: Engine, url: str, size: int, n: int, jobs: int) -> None:
    """Print where the engine's CPU time goes, on stderr."""
    profiler = cProfile.Profile(time.thread_time)
    profiler.enable()
    await with_engine(engine, url, size, n, jobs)
    profiler.disable()
    pstats.Stats(profiler, stream=sys.stderr).sort_stats("tottime").print_stats(30)
