"""Whatever a command is pointed at, it ends in one line and one of its exit codes, never in a traceback."""

from __future__ import annotations

import json
import shutil

import anyio
import pytest
import typer.testing

from asyncfetch import mirror
from asyncfetch.cli import app, register_commands

register_commands()
SMALL = "dataset:900000005"
CODES = {0, 1, 2, 3, 4, 5, 6}

#: Each command that takes a store, with what else it needs.
OF_STORES = [
    ["status"],
    ["info"],
    ["info", "--json"],
    ["info", "--dataset", "900000005"],
    ["resume", "--quiet"],
    ["rebuild", "--quiet"],
    ["volume", "--quiet"],
    ["preview", "--out", "page.png"],
    ["preview", "--volume", "--out", "page.png"],
]
OPTIONS = [
    ["audit", "--store", "PLACE", "--points", "1"],
    ["sync", "image-to-reference", "--image", "1", "--x", "1", "--y", "1", "--store", "PLACE"],
    ["plan", SMALL, "--out", "PLACE"],
    ["serve", "--faults", "PLACE"],
    ["serve", "PLACE", "--port", "0", "--rate-limit", "0"],
    ["plan", "@PLACE"],
    ["plan", SMALL, "--config", "PLACE"],
    ["sync", "image-to-reference", "--table", "PLACE"],
    [
        "sync",
        "structure-to-image",
        "--store",
        "PLACE",
        "--centers",
        "PLACE",
        "--data-set",
        "1",
        "--structures",
        "1",
    ],
]
CAN_BE_MADE = {"none", "folder", "no/such/place"}
PLACES = [
    "",
    "none",
    "file",
    "folder",
    "a\0b",
    "x" * 300,
    "no/such/place",
    "\ud800",
    "file/below",
    "picture.zarr",
]

ABSURD = [
    ["info", "STORE", "--dataset", "-1"],
    ["info", "STORE", "--dataset", "99999999999999999999999"],
    ["preview", "STORE", "--view", "\x1b[2J", "-o", "p.png"],
    ["preview", "STORE", "--columns", "1", "--side", "100000", "-o", "no/such/folder/p.png"],
    ["preview", "STORE", "-o", "folder"],
    ["volume", "STORE", "--um", "0.001", "--quiet"],
    ["volume", "STORE", "--um", "1e308", "--quiet"],
    ["volume", "STORE", "--max-gap", "nan", "--quiet"],
    ["volume", "STORE", "--max-gap", "-1", "--quiet"],
    ["volume", "STORE", "--view", "../../x", "--quiet"],
    ["rebuild", "STORE", "--um", "1e-9", "--quiet"],
    ["rebuild", "STORE", "--dataset", "7", "--quiet"],
    ["rebuild", "STORE", "--layers", "source", "--quiet"],
    ["mirror", SMALL, "--out", "o", "--um", "1e300", "--quiet"],
    ["mirror", SMALL, "--out", "o", "--um", "1e-300", "--quiet"],
    ["mirror", SMALL, "--out", "o", "--roi", "-1,-1,0,0", "--layers", "sections"],
    ["mirror", SMALL, "--out", "o", "--roi", "1,2,99999999999999999999,1", "--layers", "sections"],
    ["mirror", SMALL, "--out", "o", "--jobs", "99999999999999999999"],
    ["mirror", SMALL, "--out", "o", "--memory", "1e999"],
    ["mirror", SMALL, "--out", "o", "--base-url", "http://"],
    ["mirror", SMALL, "--out", "o", "--base-url", "http://[::1"],
    ["mirror", SMALL, "--out", "o", "--base-url", "http://127.0.0.1:99999"],
    ["mirror", SMALL, "--out", "o", "--log-json", "folder"],
    ["mirror", SMALL, "--out", "o", "--metrics", ":99999"],
    ["plan", "dataset:" + "9" * 30],
    ["plan", "gene:*"],
    ["search", "--gene", "Pv'alb"],
    ["search", "--gene", ","],
    ["search", "--specimen", "-5"],
    ["image", "-1"],
    ["image", "99999999999999999999"],
    ["image", "69177634", "--downsample", "-3"],
    ["image", "69177634", "--view", "front"],
    ["image", "69177634", "--kind", "x"],
    ["outlines", "1"],
    ["sync", "image-to-reference", "--image", "1", "--x", "nan", "--y", "inf", "--store", "STORE"],
    ["sync", "reference-to-image", "--space", "-1", "--x", "1", "--y", "1", "--z", "1", "--data-sets", "x"],
    ["audit", "--store", "STORE", "--points", "1", "--seed", "-1"],
    ["bench", "--folder", "file"],
    ["serve", "--host", "256.1.1.1"],
    ["serve", "--bandwidth", "-5"],
    ["demo", "--out", "file"],
]


@pytest.fixture(scope="module")
def store(tmp_path_factory, replica_process):
    place = tmp_path_factory.mktemp("odd") / "out.zarr"
    anyio.run(lambda: mirror(SMALL, place, base_url=replica_process.base_url, um=200, requests_per_s=1000))
    return place


@pytest.fixture
def invoke(tmp_path, monkeypatch, replica_process, store):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_bytes(b"\xff\x00 not text")
    (tmp_path / "folder").mkdir()
    (tmp_path / "picture.zarr").write_bytes(b"\x89PNG")
    environment = {
        "ASYNCFETCH_BASE_URL": replica_process.base_url,
        "ASYNCFETCH_REQUESTS_PER_S": "1000",
        "ASYNCFETCH_ATTEMPTS": "1",
        "ASYNCFETCH_TRACEBACK": "1",
    }
    runner = typer.testing.CliRunner()

    def run(*args):
        result = runner.invoke(app, list(args), env=environment)
        assert result.exception is None or isinstance(result.exception, SystemExit), args
        assert "internal error" not in result.stderr, (args, result.stderr)
        assert result.exit_code in CODES, (args, result.exit_code)
        for line in result.stderr.splitlines():
            assert line.isprintable(), (args, line)
            assert len(line) < 1500, (args, line)
        return result

    return run


@pytest.mark.parametrize("place", PLACES)
def test_a_place_that_is_no_store_is_named_by_every_command(invoke, place):
    for name, *options in OF_STORES:
        done = invoke(name, place, *options)
        assert done.exit_code in {1, 2}, (name, place)
        assert done.stderr.count("\n") == 1, (name, place, done.stderr)
    if place not in CAN_BE_MADE:
        assert invoke("mirror", SMALL, "--out", place, "--um", "200", "--quiet").exit_code in {1, 2}
    for arguments in OPTIONS:
        done = invoke(*(each.replace("PLACE", place) for each in arguments))
        assert done.exit_code, arguments


@pytest.mark.parametrize("arguments", ABSURD, ids=" ".join)
def test_an_absurd_option_is_answered(invoke, store, arguments):
    invoke(*(each.replace("STORE", str(store)) for each in arguments))


@pytest.mark.parametrize(
    "content", [b"", b"{", b"null", b"[]", b'"x"', b"\xff", b"[" * 100_000, b'{"node_type": 5}']
)
def test_a_damaged_document_ends_no_command_in_a_traceback(invoke, store, tmp_path, content):
    for part in (
        "",
        "data_sets/900000005",
        "data_sets/900000005/image",
        "data_sets/900000005/table",
    ):
        damaged = tmp_path / "damaged.zarr"
        shutil.copytree(store, damaged)
        (damaged / part / "zarr.json").write_bytes(content)
        for name, *options in OF_STORES[:6]:
            invoke(name, str(damaged), *options)
        shutil.rmtree(damaged)


def test_an_error_in_json_is_one_document(invoke):
    done = invoke("info", "\ud800none\x1b", "--json")
    assert json.loads(done.stdout)["error"] == "StoreAccessError"
