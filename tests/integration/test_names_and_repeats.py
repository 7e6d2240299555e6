"""Options that are given twice, names that are typed from memory, lists from Python."""

from __future__ import annotations

import numpy as np
import pytest
import typer.testing

from asyncfetch.cli import app, register_commands
from asyncfetch.client import Client
from asyncfetch.client.spelling import find_spelling
from asyncfetch.errors import SelectionError, SettingsError
from asyncfetch.mirroring import parse_selection
from asyncfetch.replica import FaultScript
from asyncfetch.settings import Settings, read_environment

register_commands()
SMALL = "dataset:900000005"
FAST = Settings(requests_per_s=1000.0)


@pytest.fixture
def invoke(tmp_path, monkeypatch, replica_process):
    monkeypatch.chdir(tmp_path)
    runner = typer.testing.CliRunner()

    def run(*args, **environment):
        base = {"ASYNCFETCH_BASE_URL": replica_process.base_url, "ASYNCFETCH_REQUESTS_PER_S": "1000"}
        return runner.invoke(app, [str(each) for each in args], env=base | environment)

    return run


def test_a_repeated_list_option_adds(invoke):
    views = invoke("plan", SMALL, "--um", 100, "--view", "image", "--view", "expression", "--json")
    both = invoke("plan", SMALL, "--um", 100, "--view", "image,expression", "--json")
    assert (views.exit_code, views.stdout) == (0, both.stdout)
    layers = invoke(
        "mirror", SMALL, "--um", 100, "--layers", "source", "--layers", "Sections", "--out", "o", "--quiet"
    )
    assert layers.exit_code == 0
    assert "layers sections, source" in invoke("status", "o").stdout
    genes = invoke("search", "--gene", "Pvalb", "--gene", "Gad1", "--gene", "Pvalb")
    each = [invoke("search", "--gene", name).stdout.splitlines()[1:] for name in ("Pvalb", "Gad1")]
    assert sorted(genes.stdout.splitlines()[1:]) == sorted(each[0] + each[1])
    assert invoke("search", "gene:Pvalb,Gad1").stdout == genes.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["mirror", SMALL, "--out", "a", "-o", "b"], "--out takes one value, but was given 'a' and 'b'"),
        (["plan", SMALL, "--um", "25", "--um", "50"], "--um takes one value, but was given '25' and '50'"),
        (["info", "o", "--dataset", "1", "--dataset", "2"], "--dataset takes one value"),
        (["serve", "--port", "1", "--port", "2"], "--port takes one value"),
        (["sync", "image-to-reference", "--x", "1", "--x=2"], "--x takes one value"),
    ],
)
def test_a_second_value_of_an_option_that_takes_one_is_refused(invoke, arguments, words):
    done = invoke(*arguments)
    assert done.exit_code == 2
    assert words in " ".join(done.stderr.split())


def test_the_same_value_twice_is_no_contradiction(invoke):
    assert invoke("plan", SMALL, "--um", 100, "--um", 100).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "environment", "words"),
    [
        (["mirrror", SMALL], {}, "Did you mean 'mirror'"),
        (
            ["mirror", SMALL, "--layer", "source", "--out", "o"],
            {},
            "(Possible options: --age, --layers, --plane)",
        ),
        (["plan", "datasett:1"], {}, "'datasett:1' is not a valid selection; did you mean dataset:1?"),
        (["plan", SMALL, "--view", "imgae"], {}, "did you mean image?"),
        (["mirror", SMALL, "--out", "o", "--codec", "zst"], {}, "did you mean zstd?"),
        (
            ["plan", SMALL],
            {"ASYNCFETCH_RATE": "3"},
            "ASYNCFETCH_RATE: there is no setting 'rate'; did you mean requests",
        ),
        (
            ["plan", SMALL, "--config", "s.toml"],
            {},
            "no setting 'reqests_per_s'; did you mean requests_per_s?",
        ),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(invoke, tmp_path, arguments, environment, words):
    (tmp_path / "s.toml").write_text("reqests_per_s = 3")
    done = invoke(*arguments, **environment)
    assert done.exit_code == 2
    assert words in " ".join(done.stderr.split())


def test_capitals_of_names_do_not_count(invoke):
    done = invoke(
        "plan", SMALL.upper().replace("DATASET", "DataSet"), "--um", 100, "--view", "Image", "--json"
    )
    assert done.exit_code == 0
    assert Settings.from_layers({"codec": "ZSTD", "UM": 10, "fetch": "Tiles"}).um == 10
    assert parse_selection("GENE:Pvalb") == parse_selection("gene:Pvalb")


def test_a_gene_is_found_whatever_its_capitals_and_that_is_told(invoke):
    exact = invoke("search", "--gene", "Pvalb")
    other = invoke("search", "--gene", "PVALB", "--plane", "Coronal", "--product", "mouse")
    assert (other.exit_code, exact.exit_code) == (0, 0)
    assert set(other.stdout.splitlines()) <= set(exact.stdout.splitlines())
    assert "note: gene PVALB is spelled Pvalb in the API" in other.stderr
    planned = invoke("plan", "gene:pvalb", "--um", 100)
    exact = invoke("plan", "gene:Pvalb", "--um", 100)
    assert planned.stdout.splitlines()[0] == exact.stdout.splitlines()[0]
    assert planned.stderr == "note: gene pvalb is spelled Pvalb in the API\n"


def test_the_nearest_genes_are_told_where_none_matches(invoke):
    done = invoke("plan", "gene:Pvabl")
    assert done.exit_code == 4
    assert "there is no data set of gene Pvabl at http://127.0.0.1" in done.stderr
    assert "; did you mean Pvalb?" in done.stderr
    assert "there is no gene Pvabl: did you mean Pvalb?" in invoke("search", "--gene", "Pvabl").stderr


@pytest.mark.anyio
async def test_spellings_cost_one_query(replica_process):
    async with Client(replica_process.base_url, settings=FAST) as client:
        found = await find_spelling(client, "gene", "pvalb")
        assert (found.names, found.other) == (("Pvalb",), "Pvalb")
        assert (await find_spelling(client, "gene", "Pvalb")).other is None
        assert (await find_spelling(client, "product", "MOUSE")).other == "Mouse"
        assert (await find_spelling(client, "plane", "Coronal")).other == "coronal"


@pytest.mark.parametrize(
    "views",
    [["image", "expression"], ("image", "expression"), iter(["image", "expression"]), "image, expression"],
)
def test_lists_from_python_are_used_whole(views):
    assert Settings.from_layers({"views": views}).views == ("image", "expression")


def test_sets_numbers_of_numpy_and_single_names_are_taken():
    assert Settings.from_layers({"layers": {"source", "registered"}}).layers == ("registered", "source")
    assert Settings.from_layers({"views": "image"}).views == ("image",)
    numbers = {"um": np.float32(50), "jobs": np.int64(3), "roi": np.array([1, 2, 3, 4])}
    chosen = Settings.from_layers(numbers | {"layers": ["sections"]})
    assert (chosen.um, chosen.jobs, chosen.roi) == (50.0, 3, (1, 2, 3, 4))
    assert parse_selection(f"dataset:{k}" for k in (1, 2)) == parse_selection(["dataset:1", "dataset:2"])
    with pytest.raises(SelectionError, match="479 is not a valid selection: write it as text"):
        parse_selection([479])


@pytest.mark.anyio
async def test_queries_take_every_iterable(replica_process):
    async with Client(replica_process.base_url, settings=FAST) as client:
        wanted = await client.data_sets(gene=["Pvalb", "Gad1"])
        ids = [each.id for each in wanted]
        assert len(ids) > 1
        for given in (iter(ids), tuple(ids), np.array(ids), set(ids), dict.fromkeys(ids)):
            assert [each.id for each in await client.data_sets(ids=given)] == ids
        assert [each.id for each in await client.data_sets(gene=iter(("Pvalb", "Gad1")))] == ids
        assert (await client.data_sets(ids=np.int64(ids[0])))[0].id == ids[0]


def test_a_fault_of_unknown_kind_is_answered():
    with pytest.raises(SettingsError, match="there is no fault 'stal'; did you mean stall"):
        FaultScript.of({"faults": [{"kind": "stal"}]})


def test_a_variable_that_is_no_setting_but_ours_is_passed_over():
    assert read_environment({"ASYNCFETCH_TRACEBACK": "1"}) == {}
