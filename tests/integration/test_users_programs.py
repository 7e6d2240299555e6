"""The programs that type checkers judge in tests/typing: they also run."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import anyio

import asyncfetch

PROGRAMS = Path(__file__).parents[1] / "typing"


def program(name):
    spec = importlib.util.spec_from_file_location(name, PROGRAMS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_program_with_await_runs(replica_process, tmp_path):
    anyio.run(program("awaiting").main, replica_process.base_url, tmp_path)
    assert asyncfetch.open(tmp_path / "awaited.zarr").data_set(900000005).open_volume().ndim == 4


def test_the_program_without_await_runs(replica_process, tmp_path):
    program("blocking_calls").main(replica_process.base_url, tmp_path)
    assert asyncfetch.open(tmp_path / "blocking.zarr").data_set(900000005).open_volume().ndim == 4
