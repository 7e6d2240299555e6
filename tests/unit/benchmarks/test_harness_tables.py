from __future__ import annotations

import json

from benchmarks.comparison import compare, medians
from benchmarks.results import new_results, write_results
from benchmarks.tables import columns, report


def figures(wall_s):
    return medians([{"wall_s": wall_s, "cpu_s": wall_s, "n_images": 1, "peak_mib": 100, "disk_mb": 5}])


def result(**ratios):
    return {
        "name": "planes",
        "title": "Planes",
        "work": "source, zstd",
        "served_s_per_image": 0.1,
        "medians": {"asyncfetch": figures(1.0), **{name: figures(2.0) for name in ratios}},
        "ratios": ratios,
        "left_out": ["AllenSDK: it is not there"],
    }


def test_columns_stand_below_each_other():
    assert columns([("", "long header"), ("name", "1")]) == ["      long header", "name            1"]


def test_a_report_says_of_each_bar_whether_it_was_met():
    ours, other = figures(1.0), figures(2.0)
    text = report([result(slow=compare(ours, other, 0.1, 2.0), floor=compare(ours, other, 0.1, 2.1))])
    lines = {line.split()[0]: line for line in text.splitlines()}
    assert lines["slow"].endswith("2.00 (CPU 2.00), bar 2 met")
    assert lines["floor"].endswith("bar 2.1 MISSED")


def test_a_report_gives_no_number_where_there_is_no_conclusion():
    text = report([result(slow=compare(figures(1.0), figures(2.0), 0.9, 2.0))])
    assert "no conclusion about slow: the server alone takes 0.9 s" in text
    assert "2.00" not in text.replace("2.000", "")
    assert "left out: AllenSDK: it is not there" in text


def test_results_are_kept_with_what_they_depend_on(tmp_path):
    path = new_results(tmp_path / "new", "whole-runs")
    write_results(path, [1], seed=3)
    write_results(path, [1, 2], seed=3)
    document = json.loads(path.read_text())
    assert (document["results"], document["seed"]) == ([1, 2], 3)
    assert document["cores"] >= 1
    assert document["versions"]["numpy"]
