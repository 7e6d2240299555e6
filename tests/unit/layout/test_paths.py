"""Where things lie: shards, levels and slots."""

from __future__ import annotations

import pytest

from asyncfetch.layout.paths import level_chunking, level_shapes, plane_chunking
from asyncfetch.layout.slots import plan_slots, slot_spacing


@pytest.mark.parametrize(
    ("shape", "shard"),
    [((1, 1), (512, 512)), ((512, 513), (512, 1024)), ((320, 456), (512, 512)), ((4936, 8992), (2048, 2048))],
)
def test_a_shard_is_the_image_rounded_up_to_chunks_and_at_most_2048(shape, shard):
    assert level_chunking(shape).shard == shard


@pytest.mark.parametrize(
    ("shape", "chunk"), [((320, 528), (320, 528)), ((1024, 1024), (1024, 1024)), ((1025, 4), (512, 512))]
)
def test_a_plane_is_one_chunk_up_to_1024_pixels_a_side(shape, chunk):
    assert plane_chunking(shape).chunk == chunk


def test_levels_halve_and_round_down_until_the_longer_side_fits_one_chunk():
    assert level_shapes((4936, 8993)) == (
        (4936, 8993),
        (2468, 4496),
        (1234, 2248),
        (617, 1124),
        (308, 562),
        (154, 281),
    )


@pytest.mark.parametrize("shape", [(1, 1), (512, 512), (1, 4000)])
def test_no_level_is_empty(shape):
    assert min(level_shapes(shape)[-1]) >= 1


def test_spacing_is_the_greatest_common_step_whatever_the_first_number_is():
    assert slot_spacing([171, 187, 211]) == 8
    assert slot_spacing([5]) == 1
    assert slot_spacing([4, 4]) == 1


def test_gaps_get_a_slot_without_an_image():
    slots = plan_slots({3: 40, 1: 8, 2: 16})
    assert [(slot.z, slot.section_number, slot.image_id) for slot in slots] == [
        (0, 8, 1),
        (1, 16, 2),
        (2, 24, None),
        (3, 32, None),
        (4, 40, 3),
    ]


def test_duplicates_of_a_number_get_one_slot_each_in_order_of_their_ids():
    slots = plan_slots({9: 8, 4: 8, 7: 12})
    assert [(slot.z, slot.section_number, slot.image_id) for slot in slots] == [
        (0, 8, 4),
        (1, 8, 9),
        (2, 12, 7),
    ]


def test_slots_ascend_along_the_axis_where_section_numbers_descend():
    slots = plan_slots({3: 24, 1: 8, 2: 8}, descending=True)
    assert [(slot.z, slot.section_number, slot.image_id) for slot in slots] == [
        (0, 24, 3),
        (1, 8, 1),
        (2, 8, 2),
    ]


def test_a_section_without_a_number_gets_no_slot():
    assert [slot.image_id for slot in plan_slots({1: None, 2: 8})] == [2]
    assert plan_slots({1: None}) == ()


def test_a_slot_carries_the_plane_of_its_section():
    slots = plan_slots({1: 8, 2: 16}, {2: (1.0, 0.0, 0.0, -400.0)})
    assert [slot.plane for slot in slots] == [None, (1.0, 0.0, 0.0, -400.0)]
