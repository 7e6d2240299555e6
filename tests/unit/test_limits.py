"""Limits of a run, as they are typed and as they are reached."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from asyncfetch.errors import SettingsError
from asyncfetch.limits import Limits, parse_duration, parse_moment

NOW = datetime(2027, 3, 1, 22, 30).astimezone()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("8h", 28800),
        ("30min", 1800),
        ("30 m", 1800),
        ("1h30min", 5400),
        ("1h 30 min", 5400),
        ("2d", 172800),
        ("1 day", 86400),
        ("3 DAYS", 259200),
        ("1.5h", 5400),
        ("90s", 90),
    ],
)
def test_a_duration_is_a_sum_of_numbers_with_units(text, seconds):
    assert parse_duration(text, setting="max_time") == seconds


@pytest.mark.parametrize("text", ["", "8", "h", "8 weeks", "-8h", "8h!", "1e3s", "٣h"])
def test_what_is_not_a_duration_is_refused_with_an_example(text):
    with pytest.raises(SettingsError, match="write it as 8h, 30min or 1h30min") as caught:
        parse_duration(text, setting="max_time")
    assert caught.value.setting == "max_time"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("23:00", timedelta(minutes=30)),
        ("06:00", timedelta(hours=7, minutes=30)),
        ("6:00", timedelta(hours=7, minutes=30)),
        ("22:30", timedelta(days=1)),
    ],
)
def test_a_time_of_day_is_the_next_one_that_comes(text, expected):
    assert parse_moment(text, NOW, setting="until") - NOW == expected


def test_a_moment_is_local_unless_it_names_a_time_zone():
    assert parse_moment("2027-03-02T06:00", NOW, setting="until") - NOW == timedelta(hours=7, minutes=30)
    zoned = parse_moment("2027-03-02T06:00+05:00", NOW, setting="until")
    assert zoned == datetime(2027, 3, 2, 1, 0, tzinfo=UTC)


@pytest.mark.parametrize("text", ["24:00", "6", "noon", "", "06:60"])
def test_what_is_not_a_time_is_refused_with_an_example(text):
    with pytest.raises(SettingsError, match="write a time of day such as 06:00"):
        parse_moment(text, NOW, setting="until")


def test_a_moment_that_is_over_is_refused():
    with pytest.raises(SettingsError, match="is over: it is 2027-03-01 22:30"):
        parse_moment("2027-03-01T22:00", NOW, setting="until")


def test_the_limit_of_time_that_comes_first_counts():
    now = datetime(2027, 3, 1, 21, 0, tzinfo=UTC)
    limits = Limits(max_time_s=3600, until=now + timedelta(minutes=10))
    assert limits.left_s(0.0, now) == (600.0, "until")
    assert limits.left_s(3500.0, now) == (100.0, "max_time")
    assert Limits(max_bytes=1).left_s(0.0, now) is None


def test_limits_are_typed_as_on_the_command_line_or_given_as_numbers():
    typed = Limits.of(max_bytes="20GB", max_time="8h", until="23:00", now=NOW)
    assert typed == Limits(max_bytes=20 * 10**9, max_time_s=28800.0, until=NOW + timedelta(minutes=30))
    assert Limits.of(max_bytes=5, max_time=2.5) == Limits(max_bytes=5, max_time_s=2.5)
    assert not Limits.of()


@pytest.mark.parametrize(("field", "value"), [("max_bytes", 0), ("max_bytes", -1), ("max_time_s", 0.0)])
def test_a_limit_that_is_not_positive_is_refused(field, value):
    with pytest.raises(SettingsError, match="it has to be positive"):
        Limits(**{field: value})
