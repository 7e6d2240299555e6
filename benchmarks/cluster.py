"""Many workers under one limit, and without one: whether the rate is kept and used, and what each of them brings.

A replica of a generated product, whose images are tiny and whose latency is what takes time, in a process of its own;
workers are processes of this machine. Both measures are taken from the server's log, in the middle of the run: the
second half of its requests, and all but the last tenth, so that neither the start of processes nor the last data sets
count.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
import urllib.request
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio

from asyncfetch.cluster import DaskCluster
from asyncfetch.mirroring import mirror
from benchmarks.rate import most_in_a_second, use_of
from benchmarks.results import new_results, write_results
from benchmarks.tables import columns

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

LEAST_USE, LEAST_EFFICIENCY = 0.97, 0.85
_PARTS = 0.5, 0.9
_JOBS_PER_WORKER = 8
_UNLIMITED = 1e6
#: Requests of the replica's log that the limit is about.
_COUNTED = {"download", "image", "query"}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Say what can be chosen."""
    parser.add_argument("--workers", default="1,2,4,8", help="how many (default %(default)s)")
    parser.add_argument("--limit", type=float, default=10.0, help="requests per second (default %(default)s)")
    parser.add_argument(
        "--latency", type=float, default=2.0, help="seconds of each reply (default %(default)s)"
    )
    parser.add_argument("--sets", type=int, default=6, help="data sets for each worker (default %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="where the figures go")


def main(options: argparse.Namespace) -> int:
    """Measure, print a table, keep the figures; 1 where the rate was not kept or used, or workers bring too little."""
    counts = [int(text) for text in options.workers.split(",")]
    limited = [measure(n, options.limit, options.latency, 2 * options.sets) for n in counts]
    free = [measure(n, _UNLIMITED, options.latency, options.sets * n) for n in counts]
    first = free[0]["requests_per_s"] / counts[0]
    for each in free:
        each["efficiency"] = each["requests_per_s"] / (first * each["n_workers"])
    limit = math.ceil(options.limit)
    rows = [
        ("workers", "most arrivals in 1 s", f"use of {options.limit:g}/s", "requests/s without", "efficiency")
    ]
    rows += [
        (
            str(one["n_workers"]),
            str(one["most_arrivals"]),
            f"{one['use']:.1%}",
            f"{other['requests_per_s']:.1f}",
            f"{other['efficiency']:.0%}",
        )
        for one, other in zip(limited, free, strict=True)
    ]
    print("\n".join(columns(rows)))
    path = new_results(options.out, "cluster")
    write_results(path, limited + free)
    print(f"figures in {path}")
    # the law is about starts; what arrives is as late as the machine makes it
    is_kept = all(each["most_arrivals"] <= limit + 1 and each["use"] >= LEAST_USE for each in limited)
    return 0 if is_kept and all(each["efficiency"] >= LEAST_EFFICIENCY for each in free) else 1


def measure(n_workers: int, limit: float, latency_s: float, n_data_sets: int) -> dict[str, Any]:
    """Mirror a product with so many workers, and return what the server saw."""
    with open_server(latency_s, n_data_sets) as base_url, tempfile.TemporaryDirectory() as folder:
        run = partial(
            mirror,
            "product:1",
            Path(folder) / "out.zarr",
            base_url=base_url,
            requests_per_s=limit,
            # with a limit it is the limit that holds back, without one the latency
            jobs=_JOBS_PER_WORKER * n_workers if limit == _UNLIMITED else math.ceil(3 * limit * latency_s),
            layers=("source",),
            cluster=DaskCluster(f"local:{n_workers}"),
        )
        report = anyio.run(run)
        with urllib.request.urlopen(f"{base_url}/replica/requests") as reply:
            requests = json.load(reply)
    assert not report.failures
    # an image is asked for twice: the service answers with a redirect
    times = sorted(each["started_s"] for each in requests if each["kind"] in _COUNTED)
    first, last = (int(part * len(times)) for part in _PARTS)
    middle = times[first:last]
    return {
        "n_workers": n_workers,
        "limit": limit,
        "latency_s": latency_s,
        "n_requests": len(times),
        "most_arrivals": most_in_a_second(times),
        "use": use_of(limit, middle),
        "requests_per_s": (len(middle) - 1) / (middle[-1] - middle[0]),
        "elapsed_s": report.elapsed_s,
    }


@contextmanager
def open_server(latency_s: float, n_data_sets: int) -> Iterator[str]:
    """Start a replica of a generated product; yield its address."""
    options = json.dumps({"generated": n_data_sets, "latency_s": latency_s})
    with subprocess.Popen(
        [sys.executable, "-m", "asyncfetch.replica", options], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()
