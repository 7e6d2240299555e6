"""A plain aiohttp + OpenCV + Zarr script, as a good engineer writes it in an afternoon.

It is concurrent, decodes and warps in threads, and writes chunked, compressed arrays; it has no retry, no resume and no
limit of memory but the number of requests. Matrices are read before the clock starts.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import anyio
import anyio.to_thread
import cv2
import numpy as np
import zarr
from zarr.codecs import BloscCodec, ZstdCodec

from benchmarks.contenders.job import Job
from benchmarks.contenders.meter import metered
from benchmarks.contenders.placement import placed_images

if TYPE_CHECKING:
    from benchmarks.contenders.placement import Placed

CHUNK = 512


def main(job: Job) -> None:
    """Do the work of one data set."""
    images = anyio.run(placed_images, job)
    Path(job.out).mkdir(parents=True, exist_ok=True)
    with metered(job) as figures:
        anyio.run(fetch_all, job, images)
        figures["n_images"] = len(images)


async def fetch_all(job: Job, images: list[Placed]) -> None:
    """Fetch a few images at once; threads do the rest."""
    group = zarr.open_group(Path(job.out) / "images.zarr", mode="w")
    compressor: Any = BloscCodec(cname="lz4") if job.codec == "blosc-lz4" else ZstdCodec(level=1)
    registered = None
    if job.does("registered"):
        height, width = images[0].shape
        registered = group.create_array(
            "registered",
            shape=(len(images), height, width, 3),
            chunks=(1, min(CHUNK, height), min(CHUNK, width), 3),
            dtype="uint8",
            compressors=compressor,
        )

    def process(z: int, image: Placed, jpeg: bytes) -> None:
        if job.does("source"):
            (Path(job.out) / f"{image.image_id}.jpg").write_bytes(jpeg)
        pixels = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR_RGB)
        if job.does("sections"):
            level = pixels
            for n in range(6):
                shape = (min(CHUNK, level.shape[0]), min(CHUNK, level.shape[1]), 3)
                name = f"sections/{image.image_id}/{n}"
                group.create_array(name, data=level, chunks=shape, compressors=compressor)
                level = cv2.resize(level, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        if registered is not None:
            registered[z] = register(pixels, image)

    limiter = anyio.CapacityLimiter(os.cpu_count() or 1)
    slots = anyio.Semaphore(job.jobs or 8)
    async with aiohttp.ClientSession(job.base_url) as session:

        async def fetch(z: int, image: Placed) -> None:
            async with slots:
                async with session.get(f"/api/v2/image_download/{image.image_id}") as response:
                    response.raise_for_status()
                    jpeg = await response.read()
                await anyio.to_thread.run_sync(process, z, image, jpeg, limiter=limiter)

        async with anyio.create_task_group() as tasks:
            for z, image in enumerate(images):
                tasks.start_soon(fetch, z, image)


def register(pixels: np.ndarray, image: Placed) -> np.ndarray:
    """Warp at once; an image much finer than the grid is shrunk first, so that no pixel is skipped."""
    n = 2**image.n_halvings
    if n > 1:
        pixels = cv2.resize(
            pixels, (pixels.shape[1] // n, pixels.shape[0] // n), interpolation=cv2.INTER_AREA
        )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(pixels, image.grid_to_pixels, image.shape[::-1], flags=flags)


if __name__ == "__main__":
    main(Job.from_json(sys.argv[1]))
