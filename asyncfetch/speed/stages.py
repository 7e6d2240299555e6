"""Each stage of a section's life alone, on one thread: decode, halve, warp, compress, write, parse."""

from __future__ import annotations

import math
import statistics
import time
from functools import partial
from typing import TYPE_CHECKING, Any, get_args

import msgspec
import numpy as np

from asyncfetch.allen import parse_json, parse_section_image
from asyncfetch.geometry import Affine2D
from asyncfetch.imaging import decode, halve, prepare_source, read_header, warp
from asyncfetch.layout.paths import SHARD, level_chunking
from asyncfetch.settings import Codec
from asyncfetch.store.objects import Place
from asyncfetch.store.shards import encode_shard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["StageMeasurement", "measure_stages"]

#: A turn as sections have; a warp along the axes would be faster than any real one.
_TURN_RAD = 0.05
#: Pixels of a 25 µm grid step at 1.63 µm, the pitch of most mouse sections.
_COARSE_STEP = 25.0 / 1.63
_COARSE_HALVINGS = 2
_PAGE_ROWS = 2000


class StageMeasurement(msgspec.Struct, frozen=True, kw_only=True):
    """What one stage costs.

    Attributes
    ----------
    stage, detail : str
        What was done, and how.
    amount, unit : float, str
        How much of what is done in one go: megapixels, megabytes or rows.
    wall_s, cpu_s : float
        Median seconds for that amount.
    ratio : float or None
        For compression: bytes of pixels for each byte that is stored.
    """

    stage: str
    detail: str
    amount: float
    unit: str
    wall_s: float
    cpu_s: float
    ratio: float | None = None

    @property
    def per_cpu_s(self) -> float:
        """The amount that one core does in a second; NaN where it took less than the clock can tell."""
        return self.amount / self.cpu_s if self.cpu_s else math.nan


def measure_stages(jpeg: bytes, folder: Path, *, repeats: int = 5) -> Iterator[StageMeasurement]:
    """Measure every stage on one thread, one after another.

    Parameters
    ----------
    jpeg : bytes
        A colour image of a section; times depend on what it shows, so it should be like those of the atlas.
    folder : Path
        On the disk that is to be measured; a new folder is made and filled.
    repeats : int
        How often each stage is run, after a first time that is not counted.

    Yields
    ------
    StageMeasurement
        As they are measured.
    """
    height, width = read_header(jpeg).shape
    megapixels = height * width / 1e6
    image = partial(_measured, unit="MPix", repeats=repeats)
    buffer = np.empty(height * width * 3, dtype=np.uint8)
    pixels = decode(jpeg, buffer=buffer)
    yield image("decode", "JPEG, full size", megapixels, partial(decode, jpeg, buffer=buffer))
    yield image(
        "decode",
        f"JPEG, at 1/{2**_COARSE_HALVINGS}",
        megapixels,
        partial(decode, jpeg, reduce=_COARSE_HALVINGS),
    )
    yield image("halve", "one level of the pyramid", megapixels, partial(halve, pixels))
    warped = np.empty_like(pixels)
    turn = _turn(1.0, (height, width))
    yield image(
        "warp",
        "linear, at the image's pitch",
        megapixels,
        partial(warp, pixels, turn, (height, width), out=warped),
    )
    small = decode(jpeg, reduce=_COARSE_HALVINGS)
    yield image("warp", "by area, 25 µm from 1/4", megapixels, partial(_register_coarsely, small))
    yield from _compressed(pixels, repeats)
    yield _written(pixels, folder, repeats)
    page = _page()
    rows = partial(_parsed, page)
    yield _measured(
        "parse", "records of section images, JSON", _PAGE_ROWS, rows, unit="rows", repeats=repeats
    )


def _measured(
    stage: str,
    detail: str,
    amount: float,
    work: Callable[[], object],
    *,
    unit: str,
    repeats: int,
    ratio: float | None = None,
) -> StageMeasurement:
    work()
    walls, cpus = [], []
    for _ in range(repeats):
        wall_s, cpu_s = time.perf_counter(), time.thread_time()
        work()
        cpus.append(time.thread_time() - cpu_s)
        walls.append(time.perf_counter() - wall_s)
    return StageMeasurement(
        stage=stage,
        detail=detail,
        amount=amount,
        unit=unit,
        wall_s=statistics.median(walls),
        cpu_s=statistics.median(cpus),
        ratio=ratio,
    )


def _turn(step: float, shape: tuple[int, int]) -> Affine2D:
    """Return a map that turns a grid of this pitch about the middle of an image."""
    c, s = step * math.cos(_TURN_RAD), step * math.sin(_TURN_RAD)
    linear = np.array([[c, -s], [s, c]])
    middle = np.array([shape[1], shape[0]]) / 2
    return Affine2D(np.column_stack([linear, middle - linear @ (middle / step)]))


def _register_coarsely(small: NDArray[np.uint8]) -> NDArray[np.uint8]:
    step = _COARSE_STEP / 2**_COARSE_HALVINGS
    source, grid_to_source = prepare_source(small, _turn(step, small.shape[:2]))
    shape = (max(1, int(small.shape[0] / step)), max(1, int(small.shape[1] / step)))
    return warp(source, grid_to_source, shape, averaged=True)


def _middle(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return at most one shard from the middle, where there is tissue."""
    height, width = (min(side, SHARD) for side in pixels.shape[:2])
    top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
    return pixels[top : top + height, left : left + width]


def _compressed(pixels: NDArray[np.uint8], repeats: int) -> Iterator[StageMeasurement]:
    part = _middle(pixels)
    for codec in get_args(Codec):
        encode = partial(encode_shard, part, level_chunking((SHARD, SHARD)), codec)
        yield _measured(
            "compress",
            f"shard of 512 x 512 chunks, {codec}",
            part.nbytes / 1e6,
            encode,
            unit="MB",
            repeats=repeats,
            ratio=part.nbytes / len(encode()),
        )


def _written(pixels: NDArray[np.uint8], folder: Path, repeats: int) -> StageMeasurement:
    shard = encode_shard(_middle(pixels), level_chunking((SHARD, SHARD)), "zstd")
    place = Place(folder / "written")
    keys = iter(range(repeats + 1))
    return _measured(
        "write",
        "shards as files, not synced",
        len(shard) / 1e6,
        lambda: place.set(f"c/{next(keys)}", shard),
        unit="MB",
        repeats=repeats,
    )


def _parsed(page: bytes) -> int:
    return len([parse_section_image(row) for row in parse_json(page).rows])


def _page() -> bytes:
    """Return a page as the API sends it, with the fields that a section image has and six digits a matrix number."""
    matrix = {f"{name}_{k:02}": 1.62982 + k for name in ("tsv", "tvs") for k in range(6)}
    rows: list[dict[str, Any]] = [
        {
            "alignment2d": {"id": k, "section_image_id": k, **matrix},
            "annotated": False,
            "data_set_id": 1,
            "expression_path": f"/external/image_series_1/1_1/{k}_expression.aff",
            "failed": False,
            "height": 4936,
            "id": k,
            "image_height": 4936,
            "image_type": "Primary",
            "image_width": 8992,
            "path": f"/external/image_series_1/1_1/{k}.aff",
            "resolution": 1.63,
            "section_number": k,
            "tier_count": 7,
            "width": 8992,
            "x": 0,
            "y": 0,
        }
        for k in range(1, _PAGE_ROWS + 1)
    ]
    n = len(rows)
    return msgspec.json.encode(
        {"success": True, "id": 0, "start_row": 0, "num_rows": n, "total_rows": n, "msg": rows}
    )
