"""Whole runs beside each other: asyncfetch and the floor, against one replica in a process of its own.

The runs are interleaved, each contender in a fresh process and a fresh folder, so that what else the machine does hits
all alike. Medians and ratios are what counts. A warm-up run fills the replica's cache; the server's own share is
measured by fetching the same bodies and doing nothing with them, and no conclusion is drawn where that takes more than
half of the fastest contender's time.
"""

from __future__ import annotations

import json
import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import anyio

from asyncfetch.server import open_replica_process
from asyncfetch.server.sample import sample_atlas

CONTENDERS = ("mirror", "floor")
WORK = {
    "source,registered at 25 µm": ("source,registered", "25", "zstd"),
    "source,sections,registered, zstd": ("source,sections,registered", "25", "zstd"),
}


async def run(repeats: int = 5, data_set_id: int = 123, cache: Path | None = None) -> list[dict[str, Any]]:
    """Run every contender on every kind of work and return the medians."""
    folder = Path(tempfile.mkdtemp(prefix="asyncfetch-bench-"))
    try:
        options = {"cache_folder": str(cache or folder / "cache"), "cache_bytes": 2**30, "gzip_level": 0}
        async with open_replica_process(**options) as base_url:
            print(f"warming the replica's cache with data set {data_set_id} …", file=sys.stderr)
            served = await _serve_only(base_url, data_set_id)
            served = await _serve_only(base_url, data_set_id)
            return [
                await _compare(name, work, base_url, data_set_id, folder, repeats, served)
                for name, work in WORK.items()
            ]
    finally:
        shutil.rmtree(folder)


async def _serve_only(base_url: str, data_set_id: int) -> float:
    """Return the seconds that the server takes for all bodies, with nothing done to them."""
    from asyncfetch.engine import AiohttpTransport
    from asyncfetch.settings import Settings

    ids = [row["id"] for row in sample_atlas().tables["SectionImage"] if row["data_set_id"] == data_set_id]
    transport = AiohttpTransport(Settings())
    started_s = anyio.current_time()

    async def fetch() -> None:
        while ids:
            await transport.fetch(f"{base_url}/api/v2/image_download/{ids.pop()}", 2**30)

    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(fetch)
    elapsed_s = anyio.current_time() - started_s
    await transport.aclose()
    return elapsed_s


async def _compare(
    name: str,
    work: tuple[str, str, str],
    base_url: str,
    data_set_id: int,
    folder: Path,
    repeats: int,
    served_s: float,
) -> dict[str, Any]:
    layers, um, codec = work
    results: dict[str, list[dict[str, Any]]] = {contender: [] for contender in CONTENDERS}
    for repeat in range(repeats):
        for contender in CONTENDERS if repeat % 2 else reversed(CONTENDERS):
            out = folder / "out"
            shutil.rmtree(out, ignore_errors=True)
            command = [sys.executable, "-m", f"benchmarks.contenders.{contender}"]
            arguments = [base_url, str(data_set_id), layers, um, codec, str(out)]
            done = await anyio.run_process([*command, *arguments], stderr=None)
            results[contender].append(json.loads(done.stdout))
    medians = {
        contender: {key: statistics.median(each[key] for each in runs) for key in runs[0]}
        for contender, runs in results.items()
    }
    fastest = min(figures["wall_s"] for figures in medians.values())
    summary: dict[str, Any] = {"work": name, "repeats": repeats, "served_s": served_s, "medians": medians}
    if served_s > fastest / 2:
        summary["conclusion"] = "none: the server took more than half of the fastest contender's time"
    else:
        summary["mirror_over_floor_wall"] = medians["floor"]["wall_s"] / medians["mirror"]["wall_s"]
        summary["mirror_over_floor_cpu"] = medians["floor"]["cpu_s"] / medians["mirror"]["cpu_s"]
    return summary


def report(summaries: list[dict[str, Any]]) -> str:
    """Return the summaries as a table for people."""
    lines = []
    for summary in summaries:
        lines.append(
            f"{summary['work']} (medians of {summary['repeats']}; bodies alone {summary['served_s']:.2f} s)"
        )
        for contender, figures in summary["medians"].items():
            lines.append(
                f"  {contender:8} {figures['wall_s'] / figures['n_images']:.3f} s an image, "
                f"{figures['cpu_s'] / figures['n_images']:.3f} CPU s, peak {figures['peak_mib']:.0f} MiB, "
                f"{figures['disk_mb']:.0f} MB on disk"
            )
        if "conclusion" in summary:
            lines.append(f"  no conclusion: {summary['conclusion']}")
        else:
            lines.append(
                f"  throughput of mirror over floor: {summary['mirror_over_floor_wall']:.2f} (wall), "
                f"{summary['mirror_over_floor_cpu']:.2f} (CPU)"
            )
    return "\n".join(lines)
