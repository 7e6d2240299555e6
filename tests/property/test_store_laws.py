"""Laws of the store's layout, for every set of sections and every image."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncfetch.geometry import tiles_of
from asyncfetch.layout.ome import level_positions
from asyncfetch.layout.paths import CHUNK, SHARD, level_chunking, level_shapes, plane_chunking
from asyncfetch.layout.slots import plan_slots, slot_spacing
from asyncfetch.store.arrays import (
    image_document,
    open_array,
    write_array_metadata,
)
from asyncfetch.store.objects import Place
from asyncfetch.store.shards import ImageArray, write_shard


def write_plane(place, array, z, pixels):
    """Write a plane shard by shard, each from its chunks."""
    height, width = array.chunking.chunk
    for shard in tiles_of(pixels.shape[:2], array.chunking.shard):
        chunks = []
        for part in tiles_of(shard.shape, (height, width)):
            chunk = np.zeros((height, width, 3), dtype=np.uint8)
            inner = pixels[part.shift(shard.y0, shard.x0).slices]
            chunk[: inner.shape[0], : inner.shape[1]] = inner
            chunks.append((part.y0 // height, part.x0 // width, chunk))
        write_shard(place, array, z, (shard.y0, shard.x0), chunks)


sets = st.dictionaries(st.integers(1, 10**9), st.one_of(st.none(), st.integers(0, 600)), max_size=30)
shapes = st.tuples(st.integers(1, 40_000), st.integers(1, 40_000))


@given(sets)
def test_every_section_with_a_number_has_exactly_one_slot(numbers):
    slots = plan_slots(numbers)
    assert [slot.z for slot in slots] == list(range(len(slots)))
    placed = {slot.image_id: slot.section_number for slot in slots if slot.image_id is not None}
    assert placed == {image_id: number for image_id, number in numbers.items() if number is not None}


@given(sets)
def test_slots_rise_by_the_spacing_and_repeat_only_for_duplicates(numbers):
    slots = plan_slots(numbers)
    spacing = slot_spacing(slot.section_number for slot in slots)
    for before, after in pairwise(slots):
        step = after.section_number - before.section_number
        assert step == spacing or (step == 0 and before.image_id < after.image_id)
    given_numbers = {number for number in numbers.values() if number is not None}
    assert {slot.section_number for slot in slots if slot.image_id is not None} == given_numbers


@given(sets, st.randoms())
def test_the_order_of_the_sections_changes_no_slot(numbers, random):
    shuffled = list(numbers.items())
    random.shuffle(shuffled)
    assert plan_slots(dict(shuffled)) == plan_slots(numbers)


@given(shapes)
def test_shards_are_whole_chunks_and_cover_small_images_in_one(shape):
    for side, shard in zip(shape, level_chunking(shape).shard, strict=True):
        assert shard % CHUNK == 0
        assert shard <= SHARD
        assert side <= shard or shard == SHARD
        assert shard - side < CHUNK


@given(shapes)
def test_each_level_is_half_of_the_one_before_rounded_down(shape):
    levels = level_shapes(shape)
    assert levels[0] == shape
    for before, after in pairwise(levels):
        assert after == (before[0] // 2, before[1] // 2)


@given(st.integers(2, 400), st.floats(0.1, 40), st.integers(0, 12))
def test_a_pixel_lies_in_the_middle_of_the_two_it_was_made_of(n, resolution_um, n_halvings):
    finer = level_positions(n, resolution_um, n_halvings)
    coarser = level_positions(n // 2, resolution_um, n_halvings + 1)
    middles = finer[: n // 2 * 2].reshape(-1, 2).mean(axis=1)
    assert coarser == pytest.approx(middles, rel=1e-12, abs=1e-9)


@given(
    st.tuples(st.integers(1, 3), st.integers(1, 1300), st.integers(1, 1300)),
    st.sampled_from(["zstd", "blosc-lz4", "jpegxl", "none"]),
    st.sampled_from([level_chunking, plane_chunking]),
    st.data(),
)
@settings(max_examples=20, deadline=None)
def test_what_is_written_is_read_and_other_planes_stay_empty(shape, codec, chunking_of, data):
    place = Place("memory")
    chunking = chunking_of(shape[1:])
    document = image_document(shape[0], chunking, codec)
    write_array_metadata(place, "image", document)
    z = data.draw(st.integers(0, shape[0] - 1))
    pixels = np.random.default_rng(z).integers(0, 255, (*shape[1:], 3), dtype=np.uint8)
    write_plane(place, ImageArray("image", chunking, codec), z, pixels)
    image = open_array(place, "image")[...]
    np.testing.assert_array_equal(image[:, z].transpose(1, 2, 0), pixels)
    assert not np.delete(image, z, axis=1).any()
