"""Products of 10^6 sections: what planning, counting and asking again cost, on a replica that generates them.

Each command runs in a process of its own. Stores of 10^3 to 10^4 sections are mirrored for real, so that what a section
costs is the slope between them; of the large store only the documents are there that its commands read
(`benchmarks.scale_store`).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from asyncfetch.replica import GeneratedAtlas, open_replica_process
from benchmarks.results import new_results, write_results
from benchmarks.scale_store import N_MODELS, grow
from benchmarks.tables import columns

if TYPE_CHECKING:
    import argparse

#: The most of each figure.
BARS = {
    "plan, s of CPU": 180.0,
    "plan, MB": 1000.0,
    "plan with a half-full store, s of CPU": 180.0,
    "plan with a half-full store, MB": 1000.0,
    "plan with a store, times that without": 1.2,
    "status, s of CPU": 5.0,
    "mirror again, ms of CPU per committed section": 0.1,
    "sync from the largest mirrored store, s of CPU": 1.0,
}
_FAST = ("--rate", "100000")
_WHOLE = ("--layers", "source,registered", "--um", "200", "--jobs", "16", *_FAST, "--quiet")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Say what can be chosen."""
    parser.add_argument("--data-sets", type=int, default=60_000, help="of the large product (default 60000)")
    parser.add_argument(
        "--mirrored",
        default="60,180,600",
        help="data sets of the stores that are mirrored (default 60,180,600)",
    )
    parser.add_argument(
        "--work", type=Path, help="where stores go, which take 2 GB (default: a temporary folder)"
    )
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="where the figures go")


def main(options: argparse.Namespace) -> int:
    """Measure, print a table, keep the figures; 1 where a bar is missed."""
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        found = anyio.run(run, options, work)
    rows = [("", "found", "bar")]
    rows += [
        (name, f"{value:.3g}", f"{BARS[name]:g}" if name in BARS else "") for name, value in found.items()
    ]
    sys.stdout.write("\n".join(columns(rows)) + "\n")
    path = new_results(options.out, "scale")
    write_results(path, found, data_sets=options.data_sets, mirrored=options.mirrored)
    sys.stdout.write(f"{path}\n")
    return int(any(found[name] > bar for name, bar in BARS.items() if name in found))


async def run(options: argparse.Namespace, work: Path) -> dict[str, float]:
    """Return the figures by name."""
    sizes = [int(each) for each in options.mirrored.split(",")]
    found: dict[str, float] = {}
    costs: dict[int, float] = {}
    for n in sizes:
        async with open_replica_process(generated=n, gzip_level=-1) as url:
            store = str(work / f"mirrored-{n}.zarr")
            await measured("mirror", "product:1", "-o", store, "--base-url", url, *_WHOLE)
            again = await measured("mirror", "product:1", "-o", store, "--base-url", url, *_WHOLE)
        n_sections = GeneratedAtlas(n).n_sections
        costs[n_sections] = again["cpu_s"]
        found[f"mirror again over {n_sections} sections, s of CPU"] = again["cpu_s"]
    (least, _), (most, _) = min(costs.items()), max(costs.items())
    found["mirror again, ms of CPU per committed section"] = (
        1e3 * (costs[most] - costs[least]) / (most - least)
    )
    point = ("--image", "1100000010", "--x", "50", "--y", "40")
    sync = await measured(
        "sync", "image-to-reference", *point, "--store", str(work / f"mirrored-{max(sizes)}.zarr")
    )
    found["sync from the largest mirrored store, s of CPU"] = sync["cpu_s"]
    return found | await _large(options.data_sets, work)


async def _large(n: int, work: Path) -> dict[str, float]:
    """Return the figures of the large product and of its store."""
    store = work / "large.zarr"
    async with open_replica_process(generated=N_MODELS, gzip_level=-1) as url:
        await measured(
            "mirror",
            "product:1",
            "-o",
            str(store),
            "--base-url",
            url,
            "--layers",
            "source",
            *_FAST,
            "--quiet",
        )
    await anyio.to_thread.run_sync(grow, store, n // 2)
    async with open_replica_process(generated=n, gzip_level=-1) as url:
        asked = ("plan", "product:1", "--base-url", url, "--layers", "source", "--json", *_FAST)
        plain = await measured(*asked)
        half = await measured(*asked, "--out", str(store))
    await anyio.to_thread.run_sync(grow, store, n)
    status = await measured("status", str(store))
    n_requests = json.loads(plain["stdout"])["n_metadata_requests"]
    assert json.loads(half["stdout"])["n_committed"] == GeneratedAtlas(n // 2).n_sections
    return {
        "plan, s of CPU": plain["cpu_s"],
        "plan, MB": plain["peak_mb"],
        "plan, requests": n_requests,
        "plan, minutes at 10 requests per second": n_requests / 600,
        "plan with a half-full store, s of CPU": half["cpu_s"],
        "plan with a half-full store, MB": half["peak_mb"],
        "plan with a store, times that without": half["cpu_s"] / plain["cpu_s"],
        "status, s of CPU": status["cpu_s"],
        "status, s": status["wall_s"],
    }


async def measured(*arguments: str) -> dict[str, Any]:
    """Run a command of asyncfetch in a process of its own; return what it took and what it printed."""
    return await anyio.to_thread.run_sync(_measured, arguments)


def _measured(arguments: tuple[str, ...]) -> dict[str, Any]:
    started_s = time.perf_counter()
    with (
        tempfile.TemporaryFile() as printed,
        subprocess.Popen([sys.executable, "-m", "asyncfetch", *arguments], stdout=printed) as process,
    ):
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"asyncfetch {' '.join(arguments)} ended with {process.returncode}")
        printed.seek(0)
        stdout = printed.read().decode()
    return {
        "wall_s": time.perf_counter() - started_s,
        "cpu_s": used.ru_utime + used.ru_stime,
        "peak_mb": used.ru_maxrss * 1024 / 1e6,
        "stdout": stdout,
    }
