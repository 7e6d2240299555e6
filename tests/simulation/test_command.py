from __future__ import annotations

import argparse
import json

import pytest

from benchmarks.simulation.command import add_options, main
from benchmarks.simulation.day import measure_day
from benchmarks.simulation.rates import most_in_a_second


def run(line):
    parser = argparse.ArgumentParser()
    add_options(parser)
    return main(parser.parse_args(line.split()))


# Matplotlib lists all fonts of the machine when it is first used.
@pytest.mark.timeout(300)
def test_a_sweep_prints_a_line_a_host_and_keeps_figures_and_pictures(tmp_path, capsys):
    assert run(f"--hosts flapping collapsing --fixed 4 --seeds 2 --seconds 10 --out {tmp_path}") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["host", "flapping", "collapsing"]
    figures = json.loads((tmp_path / "simulation.json").read_text())
    assert [each["host"] for each in figures] == ["flapping", "collapsing"]
    assert figures[0]["best_jobs"] == 4
    assert all(len(each["seeds"]) == 2 for each in figures)
    for name in ("flapping", "collapsing", "overview"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_the_rates_are_checked_one_limit_a_line(capsys):
    assert run("--rates --requests 300") == 0
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == [
        "limit 5/s",
        "limit 20/s",
        "limit 50/s",
    ]


def test_a_day_answers_every_request_and_keeps_its_rate():
    day = measure_day(200)
    assert day.n_requests == 200
    assert day.host_cpu_s > 0
    assert day.virtual_s >= 199 / 12


def test_a_second_is_open_at_its_begin_and_closed_at_its_end():
    assert most_in_a_second([0.0, 0.5, 1.0]) == 2
    assert most_in_a_second([0.0, 0.5, 0.99, 1.6]) == 3
