from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from asyncfetch.imaging import encode
from asyncfetch.speed import StageMeasurement, describe_machine, measure_stages, metered


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    rng = np.random.default_rng(0)
    pixels = rng.integers(100, 130, (400, 600, 3)).astype(np.uint8)
    folder = tmp_path_factory.mktemp("disk")
    return list(measure_stages(encode(pixels), folder, repeats=2)), folder


def test_every_stage_is_measured_with_every_codec(measured):
    measurements, _ = measured
    assert Counter(each.stage for each in measurements) == {
        "decode": 2,
        "halve": 1,
        "warp": 2,
        "compress": 4,
        "write": 1,
        "parse": 1,
    }


def test_amounts_are_those_of_the_image(measured):
    measurements, _ = measured
    assert {each.amount for each in measurements if each.unit == "MPix"} == {0.24}
    assert {each.amount for each in measurements if each.stage == "compress"} == {0.72}
    assert [each.amount for each in measurements if each.unit == "rows"] == [2000]


def test_only_compression_has_a_ratio_and_it_saves_space(measured):
    measurements, _ = measured
    ratios = {each.detail.split(", ")[-1]: each.ratio for each in measurements if each.ratio is not None}
    assert set(ratios) == {"zstd", "blosc-lz4", "jpegxl", "none"}
    assert ratios["jpegxl"] > 1
    assert [each for each in measurements if each.ratio is not None and each.stage != "compress"] == []


def test_shards_are_written_to_the_disk_that_was_named(measured):
    _, folder = measured
    # one before the two that count
    assert sum(path.is_file() for path in folder.rglob("*")) == 3


def test_what_took_no_time_has_no_speed():
    measurements = StageMeasurement(stage="", detail="", amount=1.0, unit="MB", wall_s=0.0, cpu_s=0.0)
    assert math.isnan(measurements.per_cpu_s)


def test_a_block_costs_what_it_uses():
    with metered() as cost:
        assert cost.wall_s == 0
        sum(range(10**6))
    assert cost.wall_s > 0
    assert cost.cpu_s >= 0
    assert cost.children_cpu_s == 0
    assert cost.peak_bytes is None or cost.peak_bytes > 2**20


def test_the_machine_is_told_with_its_versions():
    told = describe_machine()
    assert told["cores"] >= 1
    assert all(told["versions"].values())
