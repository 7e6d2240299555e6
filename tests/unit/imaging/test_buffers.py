from __future__ import annotations

import numpy as np

from asyncfetch.imaging import Buffers

MIB = 2**20


def test_an_array_that_came_back_is_lent_again():
    buffers = Buffers(8 * MIB)
    first = buffers.take(3 * MIB)
    buffers.give(first)
    assert buffers.take(3 * MIB - 5) is first
    assert buffers.n_idle_bytes == 0


def test_two_borrowers_never_share_an_array():
    buffers = Buffers(8 * MIB)
    assert not np.shares_memory(buffers.take(2 * MIB), buffers.take(2 * MIB))


def test_a_large_array_is_kept_for_large_images():
    buffers = Buffers(64 * MIB)
    large = buffers.take(32 * MIB)
    buffers.give(large)
    assert buffers.take(2 * MIB) is not large
    assert buffers.take(32 * MIB) is large


def test_no_more_lies_idle_than_is_allowed():
    buffers = Buffers(5 * MIB)
    lent = [buffers.take(2 * MIB) for _ in range(4)]
    for each in lent:
        buffers.give(each)
    assert buffers.n_idle_bytes == 4 * MIB
    # the ones that came last are kept
    assert {id(buffers.take(2 * MIB)) for _ in range(2)} == {id(each) for each in lent[2:]}


def test_small_arrays_are_not_kept():
    buffers = Buffers(5 * MIB)
    buffers.give(buffers.take(1000))
    assert buffers.n_idle_bytes == 0


def test_an_image_is_a_view_of_what_is_given_back():
    buffers = Buffers(5 * MIB)
    pixels, buffer = buffers.take_image((700, 900))
    assert pixels.shape == (700, 900, 3)
    assert np.shares_memory(pixels, buffer)


def test_more_lies_idle_while_little_is_lent():
    buffers = Buffers(3 * MIB, total_bytes=8 * MIB)
    lent = [buffers.take(2 * MIB) for _ in range(5)]
    for each in lent[:3]:
        buffers.give(each)
    # 4 MiB are still lent
    assert buffers.n_idle_bytes == 4 * MIB
    for each in lent[3:]:
        buffers.give(each)
    assert buffers.n_idle_bytes == 8 * MIB
    buffers.take(6 * MIB)
    assert buffers.n_idle_bytes == 2 * MIB
