"""Settings: layers merged, texts read, wrong values named."""

from __future__ import annotations

import pytest

from asyncfetch.errors import SettingsError
from asyncfetch.settings import Settings, parse_size


def test_the_first_layer_that_names_a_setting_wins():
    settings = Settings.from_layers({"jobs": 2}, {"jobs": "5", "um": "10"}, {"um": 50.0, "codec": "jpegxl"})
    assert (settings.jobs, settings.um, settings.codec) == (2, 10.0, "jpegxl")


def test_none_means_not_given():
    assert Settings.from_layers({"jobs": None}, {"jobs": 3}).jobs == 3


def test_texts_become_numbers_lists_and_sizes():
    settings = Settings.from_layers(
        {"layers": "source, sections", "memory_bytes": "2GiB", "requests_per_s": "0.5", "downsample": "0"}
    )
    assert settings.layers == ("source", "sections")
    assert settings.memory_bytes == 2**31
    assert settings.requests_per_s == 0.5
    assert settings.downsample == 0


def test_full_is_a_pitch():
    assert Settings.from_layers({"um": "full"}).um == "full"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("um", "0"),
        ("um", -0.5),
        ("um", -25.0),
        ("um", "fine"),
        ("um", float("nan")),
        ("um", float("inf")),
        ("jobs", 0),
        ("downsample", -1),
        ("downsample", "two"),
        ("layers", "pixels"),
        ("layers", ""),
        ("views", "picture"),
        ("codec", "zip"),
        ("memory_bytes", "much"),
        ("memory_bytes", "1kB"),
        ("requests_per_s", 0),
        ("base_url", "ftp://somewhere"),
        ("jbos", 3),
    ],
)
def test_a_wrong_value_is_refused_by_name(name, value):
    with pytest.raises(SettingsError, match=name) as caught:
        Settings.from_layers({name: value})
    assert caught.value.setting == name


def test_a_copy_is_checked_again():
    with pytest.raises(SettingsError):
        Settings().replace(um=-1.0)


@pytest.mark.parametrize(
    ("text", "size"),
    [("1024", 1024), ("1KiB", 1024), ("1.5 GB", 1_500_000_000), ("2mib", 2**21), ("7 B", 7)],
)
def test_sizes_are_read_with_their_units(text, size):
    assert parse_size(text) == size
