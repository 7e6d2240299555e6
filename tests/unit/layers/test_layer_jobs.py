"""The jobs that turn pixels into levels and planes, whatever the boxes in which the pixels come."""

from __future__ import annotations

import numpy as np
import pytest

from asyncfetch.geometry import Affine2D, Box, tiles_of
from asyncfetch.imaging import Buffers, Jobs, PlaneWarp, halve, warp
from asyncfetch.layers.pixels import Pixels
from asyncfetch.layers.plane import PlaneJobs
from asyncfetch.layers.pyramid import LevelJobs
from asyncfetch.layout.paths import CHUNK, plane_chunking
from asyncfetch.store import StoreWriter

SHAPE = (4500, 2301)
PIXELS = np.random.default_rng(1).integers(1, 256, (*SHAPE, 3), dtype=np.uint8)


class Levels:
    """The levels of a section: what is written is kept, and writing a shard twice is refused."""

    def __init__(self, shape):
        self._levels = (
            StoreWriter.open("memory")
            .view(1, "image")
            .create_levels(2, shape, codec="zstd", downsample=0, resolution_um=1.0)
        )
        self.shapes = self._levels.shapes
        self.written = [np.zeros((*shape, 3), np.uint8) for shape in self.shapes]
        self.shards = []

    def shard_shape(self, level):
        return self._levels.shard_shape(level)

    def write_shard(self, level, origin, chunks):
        assert (level, origin) not in self.shards
        self.shards.append((level, origin))
        for row, column, chunk in chunks:
            y, x = origin[0] + row * CHUNK, origin[1] + column * CHUNK
            target = self.written[level][y : y + CHUNK, x : x + CHUNK]
            target[...] = chunk[: target.shape[0], : target.shape[1]]


def bring(jobs, sources, order):
    for k in order:
        source = sources[k]
        source.fill(PIXELS[source.box.slices])
        jobs.arrive(source)
        jobs.work()
    assert jobs.error is None


@pytest.mark.parametrize("seed", [None, 0, 1])
def test_levels_from_boxes_are_the_image_halved_again_and_again(seed):
    jobs, levels = Jobs(), Levels(SHAPE)
    boxes = [Box.of_shape(SHAPE)] if seed is None else list(tiles_of(SHAPE, 2048))
    sources = [Pixels(box) for box in boxes]
    LevelJobs(jobs, Buffers(0), levels, sources)
    bring(jobs, sources, np.random.default_rng(seed).permutation(len(sources)))
    expected = PIXELS
    for level, written in enumerate(levels.written):
        expected = halve(expected) if level else expected
        assert np.array_equal(written, expected)
    assert jobs.n_waiting == 0


def test_a_region_is_halved_from_its_own_pixels_alone():
    jobs, levels = Jobs(), Levels(SHAPE)
    region = Box(1999, 501, 3002, 1208)
    sources = [Pixels(tile.intersect(region)) for tile in tiles_of(SHAPE, 2048)]
    sources = [source for source in sources if not source.box.is_empty]
    LevelJobs(jobs, Buffers(0), levels, sources)
    bring(jobs, sources, range(len(sources)))
    assert np.array_equal(levels.written[0][region.slices], PIXELS[region.slices])
    inner = Box(1000, 251, 1501, 604)
    assert np.array_equal(levels.written[1][inner.slices], halve(PIXELS[2000:3002, 502:1208]))
    for level in levels.written[:2]:
        assert (level != 0).any(axis=-1).sum() in {1003 * 707, 501 * 353}


def test_pixels_go_back_when_the_last_job_has_read_them():
    jobs, levels, returned = Jobs(), Levels(SHAPE), []
    source = Pixels(Box.of_shape(SHAPE))
    LevelJobs(jobs, Buffers(0), levels, [source])
    source.fill(PIXELS, lambda: returned.append(jobs.n_ready))
    jobs.arrive(source)
    jobs.work()
    assert len(returned) == 1
    with pytest.raises(RuntimeError, match="not there"):
        _ = source.array


@pytest.mark.parametrize("interpolation", ["nearest", "linear", "cubic", "lanczos"])
def test_a_plane_does_not_depend_on_the_boxes_nor_on_their_order(interpolation):
    cos, sin = np.cos(0.3), np.sin(0.3)
    grid_to_source = Affine2D(np.array([[4 * cos, -4 * sin, 900.0], [4 * sin, 4 * cos, -200.0]]))
    shape = (600, 700) if interpolation == "lanczos" else (1100, 1300)
    if interpolation == "lanczos":
        grid_to_source = grid_to_source @ Affine2D.scaling(0.25)
    expected = warp(PIXELS, grid_to_source, shape, interpolation=interpolation, fill=3)
    plane = PlaneWarp(grid_to_source, shape, SHAPE, interpolation=interpolation, fill=3)
    for side, seed in ((5000, 0), (2048, 1), (512, 2)):
        jobs, found = Jobs(), np.full((*shape, 3), 3, np.uint8)

        def write(origin, chunks, found=found):
            for row, column, chunk in chunks:
                height, width = plane_chunking(found.shape[:2]).chunk
                y, x = origin[0] + row * height, origin[1] + column * width
                target = found[y : y + height, x : x + width]
                target[...] = chunk[: target.shape[0], : target.shape[1]]

        sources = [Pixels(box) for box in tiles_of(SHAPE, side)]
        PlaneJobs(jobs, Buffers(0), plane, shape, sources, write, fill=3)
        bring(jobs, sources, np.random.default_rng(seed).permutation(len(sources)))
        assert np.array_equal(found, expected)


def test_a_plane_beside_the_image_makes_no_shard():
    jobs = Jobs()
    plane = PlaneWarp(Affine2D.translation(10_000, 0), (3000, 3000), SHAPE)
    assert (
        PlaneJobs(jobs, Buffers(0), plane, (3000, 3000), [Pixels(Box.of_shape(SHAPE))], print).n_shards == 0
    )
    assert (jobs.n_ready, jobs.n_waiting) == (0, 0)
