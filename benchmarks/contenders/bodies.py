"""The bodies alone: fetched and thrown away, to know what the server takes."""

from __future__ import annotations

import sys
from pathlib import Path

import aiohttp
import anyio

from benchmarks.contenders.job import Job
from benchmarks.contenders.meter import metered


def main(job: Job) -> None:
    """Fetch all bodies and do nothing with them."""
    Path(job.out).mkdir(parents=True, exist_ok=True)
    with metered(job) as figures:
        anyio.run(fetch_all, job)
        figures["n_images"] = len(job.image_ids)


async def fetch_all(job: Job) -> None:
    """Fetch with many connections."""
    pending = list(job.image_ids)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(job.base_url, connector=connector, read_bufsize=2**18) as session:

        async def fetch() -> None:
            while pending:
                async with session.get(f"/api/v2/image_download/{pending.pop()}") as response:
                    response.raise_for_status()
                    async for _ in response.content.iter_any():
                        pass

        async with anyio.create_task_group() as tasks:
            for _ in range(job.jobs or 8):
                tasks.start_soon(fetch)


if __name__ == "__main__":
    main(Job.from_json(sys.argv[1]))
