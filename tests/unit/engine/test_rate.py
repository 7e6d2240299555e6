from __future__ import annotations

import pytest

from asyncfetch.engine import ByteRate


def test_an_idle_rate_begins_at_once_and_saves_nothing_up() -> None:
    rate = ByteRate(100.0)
    assert rate.take(50, 10.0) == (10.0, 10.5)
    assert rate.take(200, 99.0) == (99.0, 101.0)


def test_those_who_come_together_pass_one_after_another() -> None:
    rate = ByteRate(100.0)
    assert [rate.take(100, 0.0).ends for _ in range(3)] == [1.0, 2.0, 3.0]


def test_a_large_request_waits_only_for_what_stands_before_it() -> None:
    rate = ByteRate(100.0)
    rate.take(50, 0.0)
    large = rate.take(10_000, 0.0)
    small = [rate.take(1, 0.1 * k) for k in range(100)]
    assert large == (0.5, 100.5)
    assert all(turn.begins >= large.ends for turn in small)


def test_nothing_takes_no_time() -> None:
    assert ByteRate(1.0).take(0, 5.0) == (5.0, 5.0)


def test_repr_tells_the_state() -> None:
    rate = ByteRate(100.0)
    rate.take(100, 0.0)
    assert repr(rate) == "ByteRate(100 B/s, free at 1.000)"
    assert rate.bytes_per_s == pytest.approx(100.0)
