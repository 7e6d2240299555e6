"""Parts of a store, and samples: what belongs to them follows from ids alone."""

from __future__ import annotations

import pytest

from asyncfetch.mirroring.parts import EVERYTHING, Part, sampled

IMAGES = range(100_000_000, 100_030_000)


def test_the_parts_of_a_store_are_of_about_one_size_and_overlap_nowhere():
    parts = [Part(k, 30) for k in range(1, 31)]
    sizes = [sum(part.holds_section(image_id) for image_id in IMAGES) for part in parts]
    assert sum(sizes) == len(IMAGES)
    assert 850 < min(sizes) <= max(sizes) < 1150


def test_what_comes_later_moves_nothing_to_another_part():
    few = {image_id for image_id in IMAGES[:1000] if Part(3, 30).holds_section(image_id)}
    many = {image_id for image_id in IMAGES if Part(3, 30).holds_section(image_id)}
    assert few == many & set(IMAGES[:1000])


def test_a_part_is_written_as_it_is_read():
    assert Part.parse(" 7/30 ") == Part(7, 30)
    assert str(Part.parse("7/30")) == "7/30"
    assert all(EVERYTHING.holds(name) for name in ("root", "dataset:1"))


@pytest.mark.parametrize(("n", "size"), [(0, 0), (1, 1), (20, 1), (21, 2), (400, 20)])
def test_a_sample_has_one_in_so_many_and_at_least_one(n, size):
    assert len(sampled(IMAGES[:n], 20, 0)) == size
