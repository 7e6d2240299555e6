"""A small data set, its images, and stores that fail on purpose."""

from __future__ import annotations

import errno
import functools
import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import simplejpeg
from zarr.storage import LocalStore, MemoryStore, WrapperStore

from asyncfetch.allen import parse_data_set
from asyncfetch.errors import AlignmentError
from asyncfetch.geometry import Plane, ReferenceGrid
from asyncfetch.imaging import halve
from asyncfetch.layout.paths import Chunking, level_chunking, plane_chunking
from asyncfetch.layout.recipe import Recipe
from asyncfetch.store import Commit, SectionAffine, StoreWriter, ViewLayout, ViewWriter
from asyncfetch.store.shards import write_shard

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from zarr.core.buffer import Buffer

    from asyncfetch.allen import SectionDataSet, SectionImage
    from asyncfetch.settings import Codec, Layer
    from asyncfetch.store import SectionLevels
    from asyncfetch.store.objects import Place
    from asyncfetch.store.shards import Chunk, ImageArray

DATA_SET_ID = 70813257
TSV = (1.63, 0.02, -0.02, 1.63, -500.0, 300.0)
TVS = (0.613405, -0.00752644, 0.00752644, 0.613405, 308.96, -180.258)
TVR = (0.00587649, 0.0426766, -1.05404, -0.0400542, 0.970878, 0.0400268, 1.07205, 0.0369913, 0.00748419)
TRV = (0.00525716, -0.0357194, 0.931431, 0.0392637, 1.02682, 0.038149, -0.947108, 0.041375, 0.0067375)


def section_row(image_id: int, number: int | None, *, aligned: bool = True) -> dict[str, Any]:
    alignment = {"id": image_id, "section_image_id": image_id}
    alignment |= {f"tsv_0{k}": value for k, value in enumerate(TSV)}
    alignment |= {f"tvs_0{k}": value for k, value in enumerate(TVS)}
    return {
        "id": image_id,
        "data_set_id": DATA_SET_ID,
        "section_number": number,
        "width": 1101,
        "height": 700,
        "x": 0,
        "y": 0,
        "image_width": 1101,
        "image_height": 700,
        "resolution": 1.63,
        "tier_count": 4,
        "image_type": "Primary",
        "annotated": False,
        "failed": False,
        "expression": True,
        "alignment2d": alignment if aligned else None,
    }


def data_set_of(rows: list[dict[str, Any]]) -> SectionDataSet:
    alignment = {"id": 1, "aligned_id": DATA_SET_ID, "aligned_type": "DataSet"}
    for name, rotation, shift in (
        ("tvr", TVR, (13091.5, -1990.7, -1620.28)),
        ("trv", TRV, (1369.25, 1591.87, 12492.3)),
    ):
        alignment |= {f"{name}_{k:02}": value for k, value in enumerate((*rotation, *shift))}
    record = {
        "id": DATA_SET_ID,
        "reference_space_id": 9,
        "plane_of_section_id": 1,
        "section_thickness": 25.0,
        "failed": False,
        "name": None,
        "expression": True,
        "genes": [],
        "products": [],
        "alignment3d": alignment,
    }
    return parse_data_set(record, rows)


@functools.cache
def jpeg_of(image_id: int, shape: tuple[int, int] = (700, 1101)) -> bytes:
    y, x = np.mgrid[: shape[0], : shape[1]]
    pixels = np.stack([x * 255 // shape[1], y * 255 // shape[0], (x // 8 + y // 8 + image_id) % 256], axis=-1)
    return simplejpeg.encode_jpeg(
        np.ascontiguousarray(pixels.astype(np.uint8)), quality=85, colorsubsampling="420"
    )


def plane_of(image_id: int, shape: tuple[int, int]) -> NDArray[np.uint8]:
    return np.random.default_rng(image_id).integers(0, 255, (*shape, 3), dtype=np.uint8)


def _affine_of(data_set: SectionDataSet, section: SectionImage) -> SectionAffine | None:
    try:
        return SectionAffine.of(data_set.geometry(section))
    except AlignmentError:
        return None


def commit_of(
    data_set: SectionDataSet, image_id: int, jpeg: bytes, layers: tuple[Layer, ...], codec: Codec = "zstd"
) -> Commit:
    section = next(each for each in data_set.section_images if each.id == image_id)
    header = simplejpeg.decode_jpeg_header(jpeg)
    return Commit(
        image_id=image_id,
        data_set_id=data_set.id,
        view="image",
        layers=layers,
        record=section.record,
        url=f"http://example.org/api/v2/image_download/{image_id}?downsample=1",
        sha256=hashlib.sha256(jpeg).hexdigest(),
        size_bytes=len(jpeg),
        shape=(header[0], header[1]),
        downsample=1,
        resolution_um=section.record["resolution"],
        section_number=section.record["section_number"],
        recipe=Recipe(**({"um": 100.0, "space": 9} if "registered" in layers else {}), codec=codec),
        image_to_reference=_affine_of(data_set, section),
        time="2026-11-21T10:00:00Z",
    )


def shards_of(pixels: NDArray[np.uint8], chunking: Chunking) -> Iterator[tuple[tuple[int, int], list[Chunk]]]:
    """Yield the corner and the chunks of each shard of a plane, as a run hands them to a store."""
    side_y, side_x = chunking.shard
    height, width = chunking.chunk
    for top in range(0, pixels.shape[0], side_y):
        for left in range(0, pixels.shape[1], side_x):
            shard = pixels[top : top + side_y, left : left + side_x]
            chunks = []
            for row, column in np.ndindex(*chunking.grid):
                part = shard[row * height : (row + 1) * height, column * width : (column + 1) * width]
                chunk = np.zeros((height, width, 3), dtype=np.uint8)
                chunk[: part.shape[0], : part.shape[1]] = part
                chunks.append((row, column, chunk))
            yield (top, left), chunks


def write_plane(place: Place, array: ImageArray, z: int, pixels: NDArray[np.uint8]) -> None:
    """Write a whole plane of an array."""
    for corner, chunks in shards_of(pixels, array.chunking):
        write_shard(place, array, z, corner, chunks)


def write_levels(levels: SectionLevels, pixels: NDArray[np.uint8]) -> None:
    """Write all levels of a section from the pixels of the finest."""
    for level in range(len(levels.shapes)):
        if level:
            pixels = halve(pixels)
        for corner, chunks in shards_of(pixels, level_chunking(pixels.shape[:2])):
            levels.write_shard(level, corner, chunks)


@dataclass
class Mirror:
    """The sections of one small data set, written as a run does."""

    writer: StoreWriter
    data_set: SectionDataSet
    layers: tuple[Layer, ...] = ("source", "sections", "registered")
    codec: Codec = "zstd"
    shape: tuple[int, int] = (700, 1101)
    grid: ReferenceGrid = field(
        default_factory=lambda: ReferenceGrid(
            plane=Plane.CORONAL, um=100.0, box_um=(13200.0, 8000.0, 11400.0)
        )
    )

    _view: ViewWriter | None = None

    def layout(self, **changes: Any) -> ViewLayout:
        grid = changes.pop("grid", self.grid)
        lies = {} if grid is None else {"um": grid.um, "plane": grid.plane, "box_um": grid.box_um, "space": 9}
        recipe = Recipe(**({"codec": self.codec} | lies | changes))
        return ViewLayout.of_data_set(self.data_set, "image", layers=self.layers, recipe=recipe)

    def begin(self) -> Mirror:
        self._view = self.writer.open_view(self.layout())
        return self

    @property
    def view(self) -> ViewWriter:
        if self._view is None:
            self._view = self.writer.view(self.data_set.id, "image")
        return self._view

    def write(self, image_id: int, *, until_commit: bool = False) -> bytes:
        view = self.view
        jpeg = jpeg_of(image_id, self.shape)
        view.begin_section(image_id)
        if "source" in self.layers:
            view.write_source(image_id, jpeg)
        if "sections" in self.layers:
            pixels = simplejpeg.decode_jpeg(jpeg)
            levels = view.create_levels(
                image_id, pixels.shape[:2], codec=self.codec, downsample=1, resolution_um=1.63
            )
            write_levels(levels, pixels)
        if image_id in view.slots and "registered" in self.layers:
            plane = plane_of(image_id, self.grid.shape)
            for corner, chunks in shards_of(plane, plane_chunking(self.grid.shape)):
                view.write_registered_shard(view.slots[image_id], corner, chunks)
        if not until_commit:
            view.commit(commit_of(self.data_set, image_id, jpeg, self.layers, self.codec))
        return jpeg


class FullStore(WrapperStore[MemoryStore]):
    """A store that runs out of space after so many writes."""

    def __init__(self, store: MemoryStore, n_writes: int = 0, code: int = errno.ENOSPC) -> None:
        super().__init__(store)
        self.n_writes = n_writes
        self.code = code

    async def set(self, key: str, value: Buffer) -> None:
        if self.n_writes <= 0:
            raise OSError(self.code, "as if the disk were full")
        self.n_writes -= 1
        await super().set(key, value)


class KilledError(Exception):
    """The end of the process."""


class DyingStore(WrapperStore[LocalStore]):
    """A store that dies at the n-th change, leaving the temporary file of the write that was under way."""

    def __init__(self, store: LocalStore, n_changes: int) -> None:
        super().__init__(store)
        self.n_changes = n_changes

    def _live(self, key: str, *, writes: bool = False) -> None:
        if self.n_changes <= 0:
            path = Path(self._store.root) / key
            if writes:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.with_suffix(".0123456789abcdef.partial").write_bytes(b"half of it")
            raise KilledError(key)
        self.n_changes -= 1

    async def set(self, key: str, value: Buffer) -> None:
        self._live(key, writes=True)
        await super().set(key, value)

    async def set_if_not_exists(self, key: str, value: Buffer) -> None:
        self._live(key, writes=True)
        await super().set_if_not_exists(key, value)

    async def delete(self, key: str) -> None:
        self._live(key)
        await super().delete(key)

    async def delete_dir(self, prefix: str) -> None:
        self._live(prefix)
        await super().delete_dir(prefix)


@pytest.fixture
def data_set() -> SectionDataSet:
    rows = [
        section_row(101349756, 24),
        section_row(101349750, 8),
        section_row(101349753, 16),
        section_row(101349759, 40, aligned=False),
    ]
    return data_set_of(rows)


@pytest.fixture
def mirror(tmp_path: Path, data_set: SectionDataSet) -> Mirror:
    return Mirror(StoreWriter.open(tmp_path / "out.zarr"), data_set).begin()


@pytest.fixture
def kit() -> Any:
    """Return this module's makers, which test modules cannot import."""
    return SimpleNamespace(**{name: value for name, value in globals().items() if not name.startswith("_")})
