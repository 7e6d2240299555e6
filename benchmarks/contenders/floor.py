"""The floor: the same pixels made by the best library calls, written as plain files, and nothing else.

No retry, no budget, no resume, no metadata: what remains is what the work itself costs. Matrices are read before the
clock starts.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import aiohttp
import anyio
import anyio.to_thread
import cv2
import numpy as np
import simplejpeg
from numcodecs import blosc
from numcodecs.zstd import Zstd

import asyncfetch
from asyncfetch.geometry import full_to_tier, tier_for
from asyncfetch.mirroring import registered_grid
from asyncfetch.settings import Settings
from benchmarks.contenders.meter import metered

CHUNK = 512
N_CONNECTIONS = 8


def main(base_url: str, data_set_id: str, layers: str, um: str, codec: str, out: str) -> None:
    """Do the work of one data set."""
    cv2.setNumThreads(1)
    blosc.set_nthreads(1)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    work = Work(folder, layers.split(","), codec)
    images = anyio.run(plan, base_url, int(data_set_id), float(um))
    with metered(folder) as figures:
        anyio.run(fetch_all, base_url, images, work)
        figures["n_images"] = len(images)


async def plan(
    base_url: str, data_set_id: int, um: float
) -> list[tuple[int, np.ndarray, tuple[int, int], int]]:
    """Return image id, matrix from grid to the reduced image, grid shape, and log2 of the reduction."""
    async with asyncfetch.Client(base_url) as client:
        data_set = await client.data_set(data_set_id)
    grid = registered_grid(data_set, Settings(um=um))
    planned = []
    for section in data_set.section_images:
        reduce = min(3, tier_for(um, section.resolution or 1.0))
        matrix = full_to_tier(reduce) @ grid.grid_to_image(data_set.geometry(section))
        planned.append((section.id, matrix.matrix, grid.shape, reduce))
    return planned


async def fetch_all(base_url: str, images: list, work: Work) -> None:
    """Fetch with a few connections; two threads do the rest."""
    pending = list(images)
    limiter = anyio.CapacityLimiter(os.cpu_count() or 1)
    slots = anyio.Semaphore(N_CONNECTIONS)
    async with aiohttp.ClientSession(base_url, connector=aiohttp.TCPConnector(limit=0)) as session:

        async def fetch() -> None:
            while pending:
                image_id, *how = pending.pop()
                async with slots, session.get(f"/api/v2/image_download/{image_id}") as response:
                    jpeg = await response.read()
                await anyio.to_thread.run_sync(work.image, image_id, jpeg, *how, limiter=limiter)

        async with anyio.create_task_group() as tasks:
            for _ in range(N_CONNECTIONS + 2):
                tasks.start_soon(fetch)


class Work:
    """What is done to one image, in one thread."""

    def __init__(self, folder: Path, layers: list[str], codec: str) -> None:
        self.folder = folder
        self.layers = layers
        self.encode = {"zstd": Zstd(1).encode, "blosc-lz4": blosc.Blosc("lz4", 5, blosc.BITSHUFFLE).encode}[
            codec
        ]
        self.pool = ThreadPoolExecutor(1)

    def image(
        self, image_id: int, jpeg: bytes, matrix: np.ndarray, shape: tuple[int, int], reduce: int
    ) -> None:
        """Do all layers of one image."""
        if "source" in self.layers:
            (self.folder / f"{image_id}.jpg").write_bytes(jpeg)
        if "sections" in self.layers:
            self.levels(image_id, simplejpeg.decode_jpeg(jpeg))
        if "registered" in self.layers:
            height, width, *_ = simplejpeg.decode_jpeg_header(jpeg)
            factor = 1 << reduce
            least = (-(-height // factor), -(-width // factor))
            small = simplejpeg.decode_jpeg(jpeg, min_height=least[0], min_width=least[1], min_factor=1)
            self.plane(image_id, small, matrix, shape)

    def levels(self, image_id: int, pixels: np.ndarray) -> None:
        """Write the pyramid, chunk by chunk into one file a level."""
        level = 0
        while True:
            with (self.folder / f"{image_id}.{level}").open("wb") as file:
                for y in range(0, pixels.shape[0], CHUNK):
                    for x in range(0, pixels.shape[1], CHUNK):
                        tile = np.zeros((CHUNK, CHUNK, 3), np.uint8)
                        part = pixels[y : y + CHUNK, x : x + CHUNK]
                        tile[: part.shape[0], : part.shape[1]] = part
                        file.write(self.encode(tile))
            if max(pixels.shape[:2]) <= CHUNK:
                return
            size = (pixels.shape[1] // 2, pixels.shape[0] // 2)
            pixels = cv2.resize(pixels[: size[1] * 2, : size[0] * 2], size, interpolation=cv2.INTER_AREA)
            level += 1

    def plane(self, image_id: int, pixels: np.ndarray, matrix: np.ndarray, shape: tuple[int, int]) -> None:
        """Write one registered plane."""
        step = float(np.linalg.norm(matrix[:, :2], ord=2))
        k = max(1, int(np.ceil(step - 1e-9)))
        finer = matrix.copy()
        finer[:, :2] /= k
        finer[:, 2] += matrix[:, :2].sum(axis=1) * (1 - k) / (2 * k)
        size = (shape[1] * k, shape[0] * k)
        samples = cv2.warpAffine(pixels, finer, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        plane = cv2.resize(samples, (shape[1], shape[0]), interpolation=cv2.INTER_AREA) if k > 1 else samples
        (self.folder / f"{image_id}.plane").write_bytes(self.encode(np.ascontiguousarray(plane)))


if __name__ == "__main__":
    main(*sys.argv[1:])
