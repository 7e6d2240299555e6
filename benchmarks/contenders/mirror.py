"""asyncfetch itself."""

from __future__ import annotations

import sys
from typing import Any

import anyio

import asyncfetch
from benchmarks.contenders.job import Job
from benchmarks.contenders.meter import metered


def main(job: Job) -> None:
    """Mirror from full-resolution JPEGs."""
    # what is imported lazily, anyio's backend included, is imported before the clock starts, as for every contender
    mirror = asyncfetch.mirror
    anyio.run(anyio.sleep, 0)
    selection = [f"image:{each}" for each in job.image_ids] or [f"dataset:{job.data_set_id}"]
    choices: dict[str, Any] = {
        "base_url": job.base_url,
        "downsample": 0,
        "um": job.um,
        "layers": job.layers,
        "codec": job.codec,
        "requests_per_s": 10_000.0,
        "jobs": "auto" if job.jobs is None else job.jobs,
        # no other contender waits until the disk has what it was given
        "sync": "none",
    }

    async def run() -> int:
        report = await mirror(selection, job.out, **choices)
        assert not report.failures, report.failures
        assert not report.unplaced, report.unplaced
        return report.n_committed

    with metered(job) as figures:
        figures["n_images"] = anyio.run(run)


if __name__ == "__main__":
    main(Job.from_json(sys.argv[1]))
