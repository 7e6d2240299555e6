"""Whether the rate is kept in real time, and used: real requests on loopback, at several limits.

The law is that no one-second window holds more starts than the limit. Starts are taken from the engine's own events,
when a request is about to be sent; arrivals are what the server saw, each delayed by what the machine happened to do.
"""

from __future__ import annotations

import json
import math
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio

from asyncfetch.engine import Engine, Request
from asyncfetch.events import RequestStarted
from asyncfetch.settings import Settings
from benchmarks.canned_server import open_canned_server
from benchmarks.results import new_results, write_results
from benchmarks.tables import columns

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from asyncfetch.engine import Acceptance, Reply
    from asyncfetch.events import Event

LEAST_USE = 0.98
_BODY_BYTES = 3000
_JOBS = 8


def add_options(parser: argparse.ArgumentParser) -> None:
    """Say what can be chosen."""
    parser.add_argument("--limits", default="5,20,50", help="requests per second (default %(default)s)")
    parser.add_argument("--requests", type=int, default=2000, help="at each limit (default 2000)")
    parser.add_argument("--seconds", type=float, default=100.0, help="most seconds a limit (default 100)")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="where the figures go")


def main(options: argparse.Namespace) -> int:
    """Measure, print a table, keep the figures; 1 where a rate was not kept or not used."""
    limits = [float(text) for text in options.limits.split(",")]
    results = [anyio.run(measure, limit, options.requests, options.seconds) for limit in limits]
    rows = [("limit", "requests", "most starts in 1 s", "most arrivals in 1 s", "use", "")]
    rows += [
        (
            f"{each['limit']:g}/s",
            f"{each['n']}",
            f"{each['most_starts']}",
            f"{each['most_arrivals']}",
            f"{each['use']:.1%}",
            "kept" if each["is_kept"] and each["use"] >= LEAST_USE else "MISSED",
        )
        for each in results
    ]
    print("\n".join(columns(rows)))
    path = new_results(options.out, "rate")
    write_results(path, results)
    print(f"figures in {path}")
    return 0 if all(each["is_kept"] and each["use"] >= LEAST_USE for each in results) else 1


async def measure(limit: float, n_requests: int, most_s: float) -> dict[str, Any]:
    """Send as many requests as fit, and return what the windows held."""
    n = max(2, min(n_requests, int(limit * most_s)))
    starts: list[float] = []

    def listen(event: Event) -> None:
        if isinstance(event, RequestStarted):
            starts.append(time.monotonic())

    async def check(reply: Reply, _accept: Acceptance) -> None:
        assert len(reply.body) == _BODY_BYTES

    async with open_canned_server() as base_url:
        settings = Settings(base_url=base_url, jobs=_JOBS, requests_per_s=limit)
        request = Request(f"{base_url}/{_BODY_BYTES}", "image", 2 * _BODY_BYTES)
        left = iter(range(n))
        arrivals: list[float] = []
        async with Engine(settings, on_event=listen) as engine:

            async def work() -> None:
                for _ in left:
                    await engine.fetch(request, check)

            async with anyio.create_task_group() as tasks:
                for _ in range(_JOBS):
                    tasks.start_soon(work)
        arrivals = await arrivals_of(base_url)
    most = most_in_a_second(starts)
    return {
        "limit": limit,
        "n": n,
        "most_starts": most,
        "most_arrivals": most_in_a_second(arrivals),
        "use": use_of(limit, starts),
        "is_kept": most <= math.ceil(limit),
    }


async def arrivals_of(base_url: str) -> list[float]:
    """Return when the requests came to a canned server."""

    def read() -> list[float]:
        with urllib.request.urlopen(f"{base_url}/log") as reply:
            return json.load(reply)

    return await anyio.to_thread.run_sync(read)


def most_in_a_second(times_s: Sequence[float]) -> int:
    """Return the most times that lie within any window of one second, its end left out."""
    times = sorted(times_s)
    most = first = 0
    for last, now in enumerate(times):
        while now - times[first] >= 1.0:
            first += 1
        most = max(most, last - first + 1)
    return most


def use_of(limit: float, times_s: Sequence[float]) -> float:
    """Return which share of the starts that a limit allows was made, from the first to the last of them."""
    span = max(times_s) - min(times_s)
    return (len(times_s) - 1) / (limit * span) if span else math.inf
