"""Search: what there is, by the API and by the catalogue alike, as columns, JSON and tables."""

from __future__ import annotations

import json

import pyarrow.parquet
import pytest
from anyio.from_thread import start_blocking_portal
from typer.testing import CliRunner

from asyncfetch.cli import app
from asyncfetch.cli.app import register_commands
from asyncfetch.replica import open_replica
from asyncfetch.sample import sample_atlas

NISSL, SMALL, HUMAN = 900000004, 900000005, 900000007
PVALB, ADORA, PROX = 479, 123, 69289763

register_commands()


@pytest.fixture(scope="module")
def replica():
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(open_replica(sample_atlas())) as opened,
    ):
        yield opened


@pytest.fixture(scope="module")
def catalogue(replica, tmp_path_factory):
    path = tmp_path_factory.mktemp("search") / "all.sqlite"
    run("catalogue", "update", "--catalogue", path, "--base-url", replica.base_url, "--rate", 1000)
    return path


def run(*arguments, code=0):
    result = CliRunner().invoke(app, [str(each) for each in arguments])
    assert result.exit_code == code, result.output
    return result


SEARCHES = [
    (["datasets", "gene:Pvalb,Gad1"], [PVALB, SMALL]),
    (["datasets", "gene:gad67"], [SMALL]),
    (
        ["datasets", "product:Mouse", "specimen:900000504"],
        [ADORA, PVALB, PROX, 900000002, 900000003, NISSL, SMALL],
    ),
    (["datasets", "--product", "Mouse", "--age", "P14"], [NISSL]),
    (["datasets", "structure:SSp"], [HUMAN]),
    (["datasets", "dataset:479", "dataset:123", "--plane", "sagittal"], [ADORA]),
    (["datasets", "--failed"], [900000001]),
    (["datasets", "--sense", "sense", "--with-failed"], [900000002]),
    (["datasets", "--reference-space", "10", "--limit", "1"], [ADORA]),
    (["genes", "pval"], ["Pvalb"]),
    (["genes", "GAD67"], ["Gad1"]),
    (["genes", "homeobox"], ["Prox1"]),
    (["genes", "--plane", "sagittal"], ["Prox1", "Adora2a"]),
    (["gene", "--age", "P14"], ["Gad1"]),
    (["products", "mouse"], [1, 3, 5]),
    (["products", "--strain", "A930038C07Rik-Tg1"], [5]),
    (["structures", "auditory"], [1018]),
    (["structure", "ss"], [322]),
    (["atlases", "sagittal"], [2]),
    (["images", "dataset:900000005", "--section-range", "100:200"], [900003005, 900002005, 900004005]),
    (["images", "gene:Gad1", "--every", "5"], [900001005, 900006005]),
]


@pytest.mark.parametrize(("arguments", "expected"), SEARCHES, ids=lambda each: " ".join(map(str, each)))
def test_the_api_and_the_catalogue_find_the_same(replica, catalogue, arguments, expected):
    address = ("--base-url", replica.base_url, "--rate", 1000, "--json")
    asked = json.loads(run("search", *arguments, *address, "--catalogue", "none").stdout)
    n_before = len(replica.requests)
    kept = json.loads(run("search", *arguments, *address, "--catalogue", catalogue, "--offline").stdout)
    assert len(replica.requests) == n_before
    key = "acronym" if isinstance(expected[0], str) else "id"
    assert sorted(str(row[key]) for row in asked) == sorted(map(str, expected))
    assert kept == asked


def test_columns_are_tabs_in_a_pipe_and_tables_keep_types(replica, catalogue, tmp_path):
    arguments = ("search", "datasets", "gene:Pvalb", "--catalogue", catalogue, "--base-url", replica.base_url)
    header, line = run(*arguments).stdout.splitlines()
    row = dict(zip(header.split("\t"), line.split("\t"), strict=True))
    assert row["genes"] == "Pvalb"
    assert (row["plane"], row["age"], row["sex"], row["sense"]) == ("coronal", "P56", "M", "antisense")
    run(*arguments, "-o", tmp_path / "found.parquet")
    table = pyarrow.parquet.read_table(tmp_path / "found.parquet").to_pylist()
    assert (table[0]["id"], table[0]["section_thickness"], table[0]["failed"]) == (PVALB, 25.0, 0)
    assert run(*arguments, "--format", "csv").stdout.startswith("id,genes,plane")
    assert "did you mean parquet?" in run(*arguments, "--format", "parquett", code=2).output


@pytest.mark.parametrize(
    ("arguments", "words", "code"),
    [
        (["genes", "gene:Pvalb", "--gene", "Gad1"], "found by parts of their names", 2),
        (["structures", "x", "--plane", "coronal"], "have no data sets of their own", 2),
        (["images"], "there are millions of images", 2),
        (["genes", "nothingness"], "no gene at http", 4),
        (["datasets", "gene:Pvabl"], "there is no gene Pvabl: did you mean Pvalb?", 4),
        (["dataset:479", "dataset:123"], "write: search datasets dataset:479", 2),
        (["datasets", "--offline"], "make one with: asyncfetch catalogue update", 1),
    ],
)
def test_what_cannot_be_sought_or_found_is_said(replica, tmp_path, monkeypatch, arguments, words, code):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    told = run("search", *arguments, "--base-url", replica.base_url, "--rate", 1000, code=code)
    assert words in " ".join(told.output.split())
