"""What a command loads before it does its work: large libraries only where they are used."""

from __future__ import annotations

import subprocess
import sys

import pytest

from asyncfetch.store import StoreWriter

#: What takes 30 ms and more to load, and numpy, which all that deals with images needs.
HEAVY = {"aiohttp", "cv2", "fsspec", "imagecodecs", "lxml", "numcodecs", "numpy", "rich", "zarr"}
#: What only typing, parsing and telling need is light enough for all but the help.
HEAVY_FOR_HELP = {*HEAVY, "anyio", "asyncio", "msgspec", "pydantic"}
SCRIPT = """
import sys
from asyncfetch.cli import main
sys.argv = ["asyncfetch", *sys.argv[1:]]
try:
    main()
except SystemExit as end:
    print(end.code, *sys.modules, file=sys.stderr)
"""


def run(*arguments):
    """Return the exit code of a command, what it said on stderr before, and the modules it has loaded."""
    command = [sys.executable, "-c", SCRIPT, *map(str, arguments)]
    process = subprocess.run(command, check=False, capture_output=True, text=True, timeout=100)
    *said, last = process.stderr.splitlines()
    code, *modules = last.split()
    return int(code), "\n".join(said), {*modules}


@pytest.fixture
def busy(tmp_path):
    writer = StoreWriter.open(tmp_path / "busy.zarr", command="mirror product:1")
    yield tmp_path / "busy.zarr"
    writer.close()


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_the_help_loads_nothing_large(argument):
    code, _, modules = run(argument)
    assert (code, HEAVY_FOR_HELP & modules) == (0, set())
    assert not {name for name in modules if name.startswith("asyncfetch.cli.commands.")}


@pytest.mark.parametrize(
    "command",
    [
        ["mirror", "dataset:1", "--out"],
        ["resume"],
        ["rebuild"],
        ["upgrade"],
        ["runs", "--dismiss", "all"],
    ],
    ids=lambda command: command[0],
)
def test_a_run_that_another_keeps_out_is_refused_before_anything_large_is_loaded(command, busy):
    code, said, modules = run(*command, busy)
    assert (code, HEAVY & modules) == (1, set())
    assert f"another run is writing to {busy} (mirror product:1, " in said


@pytest.mark.parametrize("command", ["status", "runs", "info"])
def test_what_only_reads_a_store_loads_nothing_of_runs(command, busy):
    code, _, modules = run(command, busy)
    assert (code, {"aiohttp", "rich", "asyncfetch.engine", "asyncfetch.mirroring"} & modules) == (
        0,
        set(),
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["mirror", "dataset:1", "--out", "a.zarr", "--um", "0"], "--um 0"),
        (["mirror", "@missing.txt", "--out", "a.zarr"], "missing.txt"),
        (["mirror", "dataset:1", "--out", "https://host/a.zarr"], "can only be read"),
        (["mirror", "datasett:1", "--out", "a.zarr"], "did you mean dataset:1?"),
        (["plan", "datasett:1"], "did you mean dataset:1?"),
    ],
)
def test_what_is_mistyped_is_refused_before_anything_large_is_loaded(arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, said, modules = run(*arguments)
    assert (code, HEAVY & modules) == (2, set())
    assert words in said
