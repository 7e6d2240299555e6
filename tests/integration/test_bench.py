"""The benchmarks themselves, on work so small that their figures mean nothing."""

from __future__ import annotations

import argparse
import json

import anyio
import pytest
import typer.testing

from asyncfetch.cli import app, register_commands
from asyncfetch.sample import SMALL_DATA_SET_ID
from benchmarks.kinds import OURS, Contender, Kind
from benchmarks.whole_runs import Comparison

register_commands()

TINY = ("--dataset", SMALL_DATA_SET_ID, "--images", 2, "--megapixels", 0.2, "--repeats", 1)


@pytest.mark.timeout(150)
def test_bench_measures_stages_and_whole_runs_on_this_machine_alone(command):
    done = command("bench", *TINY, "--folder", command.folder, "--json", timeout=140)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert len(figures["stages"]) == 11
    assert all(stage["wall_s"] > 0 for stage in figures["stages"])
    assert [run["layers"] for run in figures["runs"]] == ["source,registered", "source,sections,registered"]
    for run in figures["runs"]:
        assert (run["n_images"], run["n_failed"]) == (2, 0)
        assert run["s_per_image"] > 0
        assert run["stored_bytes"] > run["received_bytes"] / 2
    assert figures["runs"][1]["stored_bytes"] > figures["runs"][0]["stored_bytes"]
    assert figures["served_s"] > 0
    # nothing is left on the disk that was named
    assert list(command.folder.iterdir()) == []


@pytest.fixture
def invoke():
    """Return what runs a command in this process, which has imported everything."""
    runner = typer.testing.CliRunner()
    return lambda *args: runner.invoke(app, [str(each) for each in args])


@pytest.mark.timeout(150)
def test_bench_prints_a_table_and_concludes_nothing_about_the_server_of_someone_else(invoke, replica_process):
    n_before = len(replica_process.image_ids)
    done = invoke("bench", *TINY, "--base-url", replica_process.base_url, "--rate", 1000)
    assert done.exit_code == 0, done.stderr
    assert "compress: shard of 512 x 512 chunks, jpegxl" in done.stdout
    assert "no conclusion: the server and the rate decide" in done.stdout
    assert "source,sections,registered" not in done.stdout
    # the server is someone's: each image is asked for once
    fetched = replica_process.image_ids[n_before:]
    assert len(fetched) == len(set(fetched)) == 2


@pytest.mark.timeout(150)
def test_bench_of_a_data_set_that_is_not_there_matches_nothing(invoke, replica_process):
    done = invoke("bench", "--dataset", 1, *TINY[2:], "--base-url", replica_process.base_url)
    assert done.exit_code == 4
    assert "error: there is no " in done.stderr


@pytest.mark.timeout(150)
def test_contenders_take_turns_and_do_the_same_images(tmp_path):
    kind = Kind(
        "tiny",
        "Tiny",
        "source,sections,registered",
        "100",
        "zstd",
        (
            Contender(OURS, "mirror"),
            Contender("floor", "floor"),
            Contender("script", "plain"),
            Contender("absent", "atldld_loop", peer="atldld"),
        ),
        data_set_id=SMALL_DATA_SET_ID,
    )
    options = argparse.Namespace(repeats=1, peer_repeats=None, images=2, seed=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PEER_ATLDLD", raising=False)
        result = anyio.run(Comparison(kind, options, tmp_path / "out", tmp_path / "cache").run)
    assert set(result["medians"]) == {"bodies alone", OURS, "floor", "script"}
    assert result["left_out"] == [
        "absent: PEER_ATLDLD names no Python that has atldld; `uvx nox -s bench` makes one"
    ]
    for name, figures in result["medians"].items():
        assert figures["n_images"] == 2, name
        assert len(result["runs"][name][0]["arrivals_s"]) == 2, name
    assert set(result["ratios"]) == {"floor", "script"}
    bodies = {figures["sent_bytes"] for figures in result["medians"].values()}
    # the bodies are the same; what else is asked for is metadata
    assert max(bodies) - min(bodies) < 100_000
