"""The floor: the same pixels made by the best library calls, written as plain files, and nothing else.

No retry, no budget, no resume, no metadata: what remains is what the work itself costs. Matrices are read before the
clock starts. Buffers are reused, what lies beside the image is not computed, and a level or a plane is one file.
"""

from __future__ import annotations

import math
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import anyio
import anyio.to_thread
import cv2
import imagecodecs
import numpy as np
import simplejpeg
from numcodecs import blosc
from numcodecs.zstd import Zstd
from zlib_ng import zlib_ng

from benchmarks.contenders.job import Job
from benchmarks.contenders.meter import metered
from benchmarks.contenders.placement import placed_images

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.contenders.placement import Placed

CHUNK = 512
TILE = 1024
#: Side of what is sampled in one call.
BLOCK = 256
N_CONNECTIONS = 8
#: Of the samples of a mean, in pixels of an image that was halved while it was decoded.
MAX_SPACING = 1.2


def main(job: Job) -> None:
    """Do the work of one data set."""
    cv2.setNumThreads(1)
    aiohttp.set_zlib_backend(zlib_ng)
    blosc.set_nthreads(1)
    folder = Path(job.out)
    folder.mkdir(parents=True, exist_ok=True)
    images = anyio.run(placed_images, job)
    work = Work(folder, job)
    with metered(job) as figures:
        anyio.run(fetch_all, job, images, work)
        figures["n_images"] = len(images)


async def fetch_all(job: Job, images: list[Placed], work: Work) -> None:
    """Fetch with a few connections; as many threads as cores do the rest."""
    pending = list(images)
    n_connections = job.jobs or N_CONNECTIONS
    limiter = anyio.CapacityLimiter(os.cpu_count() or 1)
    slots = anyio.Semaphore(n_connections)
    async with aiohttp.ClientSession(job.base_url, connector=aiohttp.TCPConnector(limit=0)) as session:

        async def fetch() -> None:
            while pending:
                image = pending.pop()
                async with slots, session.get(f"/api/v2/image_download/{image.image_id}") as response:
                    jpeg = await response.read()
                await anyio.to_thread.run_sync(work.image, image, jpeg, limiter=limiter)

        async with anyio.create_task_group() as tasks:
            for _ in range(n_connections + 2):
                tasks.start_soon(fetch)


def encoder(codec: str) -> Callable[[np.ndarray], bytes]:
    """Return what compresses a chunk, set as asyncfetch sets it."""
    if codec == "jpegxl":
        return lambda chunk: imagecodecs.jpegxl_encode(chunk, lossless=True, effort=1, numthreads=1)
    if codec == "blosc-lz4":
        return blosc.Blosc("lz4", 5, blosc.BITSHUFFLE).encode
    return Zstd(1).encode


class Work:
    """What is done to one image, in one thread."""

    def __init__(self, folder: Path, job: Job) -> None:
        self.folder = folder
        self.job = job
        self.encode = encoder(job.codec)
        self.own = threading.local()

    def image(self, image: Placed, jpeg: bytes) -> None:
        """Do all layers of one image."""
        if self.job.does("source"):
            (self.folder / f"{image.image_id}.jpg").write_bytes(jpeg)
        pixels = None
        if self.job.does("sections"):
            pixels = self.decode(jpeg, 0)
            self.levels(image.image_id, pixels)
        if self.job.does("registered"):
            if pixels is None or image.n_halvings:
                pixels = self.decode(jpeg, image.n_halvings)
            self.plane(image, pixels)

    def decode(self, jpeg: bytes, n_halvings: int) -> np.ndarray:
        """Decode into the thread's own buffer."""
        height, width, *_ = simplejpeg.decode_jpeg_header(jpeg)
        factor = 1 << n_halvings
        least = (-(-height // factor), -(-width // factor))
        return simplejpeg.decode_jpeg(
            jpeg,
            min_height=least[0],
            min_width=least[1],
            min_factor=factor,
            buffer=self.buffer("pixels", least[0] * least[1] * 3),
        )

    def buffer(self, name: str, size: int) -> np.ndarray:
        """Return a buffer of this thread, made when a larger one is first wanted."""
        found = getattr(self.own, name, None)
        if found is None or found.size < size:
            found = np.empty(size, np.uint8)
            setattr(self.own, name, found)
        return found

    def pixels(self, name: str, *shape: int) -> np.ndarray:
        """Return a buffer of this thread as an image."""
        size = math.prod(shape)
        return self.buffer(name, size)[:size].reshape(shape)

    def chunks(self, pixels: np.ndarray, file) -> None:  # noqa: ANN001 - a binary file
        """Compress pixels chunk by chunk, those at the border filled up with zeros."""
        for y in range(0, pixels.shape[0], CHUNK):
            for x in range(0, pixels.shape[1], CHUNK):
                part = pixels[y : y + CHUNK, x : x + CHUNK]
                if part.shape[:2] == (CHUNK, CHUNK):
                    tile = np.ascontiguousarray(part)
                else:
                    tile = np.zeros((CHUNK, CHUNK, 3), np.uint8)
                    tile[: part.shape[0], : part.shape[1]] = part
                file.write(self.encode(tile))

    def levels(self, image_id: int, pixels: np.ndarray) -> None:
        """Write the pyramid."""
        level = 0
        while True:
            with (self.folder / f"{image_id}.{level}").open("wb") as file:
                self.chunks(pixels, file)
            if max(pixels.shape[:2]) <= CHUNK:
                return
            size = (pixels.shape[1] // 2, pixels.shape[0] // 2)
            pixels = cv2.resize(pixels[: size[1] * 2, : size[0] * 2], size, interpolation=cv2.INTER_AREA)
            level += 1

    def plane(self, image: Placed, pixels: np.ndarray) -> None:
        """Write one registered plane, warped by tiles; by area where the grid is much coarser."""
        step = float(np.linalg.norm(image.grid_to_pixels[:, :2], ord=2))
        spacing = MAX_SPACING if image.n_halvings else 1.0
        k = max(1, int(np.ceil(step / spacing - 1e-9))) if step >= 1.5 else 1
        finer = image.grid_to_pixels.copy()
        finer[:, :2] /= k
        finer[:, 2] += image.grid_to_pixels[:, :2].sum(axis=1) * (1 - k) / (2 * k)
        height, width = image.shape
        with (self.folder / f"{image.image_id}.plane").open("wb") as file:
            for y in range(0, height, TILE):
                for x in range(0, width, TILE):
                    tile = self.pixels("tile", min(TILE, height - y), min(TILE, width - x), 3)
                    if self.tile(pixels, finer, (x, y), k, tile):
                        self.chunks(tile, file)

    def tile(
        self, pixels: np.ndarray, finer: np.ndarray, origin: tuple[int, int], k: int, out: np.ndarray
    ) -> bool:
        """Make one tile of the plane; return whether any of it lies in the image."""
        side, is_seen = BLOCK // k, False
        for y in range(0, out.shape[0], side):
            for x in range(0, out.shape[1], side):
                matrix = finer.copy()
                matrix[:, 2] += finer[:, :2] @ ((origin[0] + x) * k, (origin[1] + y) * k)
                is_seen |= self.block(pixels, matrix, k, out[y : y + side, x : x + side])
        return is_seen

    def block(self, pixels: np.ndarray, matrix: np.ndarray, k: int, out: np.ndarray) -> bool:
        """Sample one block; return whether any of it lies in the image."""
        height, width = out.shape[0] * k, out.shape[1] * k
        corners = matrix @ np.array([[0, width, 0, width], [0, 0, height, height], [1, 1, 1, 1]])
        x0, y0 = np.maximum(np.floor(corners.min(axis=1)).astype(int) - 1, 0)
        x1, y1 = np.maximum(np.ceil(corners.max(axis=1)).astype(int) + 2, 0)
        crop = pixels[y0:y1, x0:x1]
        if not crop.size:
            out[...] = 0
            return False
        matrix[:, 2] -= (x0, y0)
        # OpenCV samples four channels twice as fast as three, as long as all of this stays in the cache
        four = self.pixels("source", *crop.shape[:2], 4)
        sampled = self.pixels("sampled", height, width, 4)
        cv2.cvtColor(crop, cv2.COLOR_RGB2RGBA, dst=four)
        cv2.warpAffine(
            four, matrix, (width, height), dst=sampled, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        )
        samples = out if k == 1 else self.pixels("samples", height, width, 3)
        cv2.cvtColor(sampled, cv2.COLOR_RGBA2RGB, dst=samples)
        if k > 1:
            cv2.resize(samples, (out.shape[1], out.shape[0]), dst=out, interpolation=cv2.INTER_AREA)
        return True


if __name__ == "__main__":
    main(Job.from_json(sys.argv[1]))
