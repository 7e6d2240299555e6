"""Locks of selections, and the table of what each selection came to."""

from __future__ import annotations

import csv
import json

import anyio
import pyarrow.parquet
import pytest
from anyio.from_thread import start_blocking_portal
from typer.testing import CliRunner

import asyncfetch
from asyncfetch.cli import app
from asyncfetch.cli.app import register_commands
from asyncfetch.errors import SelectionError
from asyncfetch.replica import open_replica
from asyncfetch.sample import sample_atlas
from asyncfetch.selecting.lock import Lock

PVALB, NISSL, SMALL = 479, 900000004, 900000005
SMALL_IMAGE = 900003005
RECIPE = ("--um", 200, "--layers", "source", "--downsample", 4)

register_commands()


@pytest.fixture(scope="module")
def atlas():
    return sample_atlas()


@pytest.fixture(scope="module")
def replica(atlas):
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(open_replica(atlas)) as opened:
        yield opened


@pytest.fixture(autouse=True)
def no_catalogue(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def run(*arguments, code=0):
    result = CliRunner().invoke(app, [str(each) for each in arguments])
    assert result.exit_code == code, result.output
    return result


def images_of(out):
    store = asyncfetch.open(out)
    return {
        each: [c.image_id for c in store.data_set(each).read_commits()] for each in store.read_data_set_ids()
    }


def test_a_lock_fetches_the_same_images_though_there_are_more_now(tmp_path):
    atlas, lock = sample_atlas(), tmp_path / "chosen.lock"

    def serve(use):
        with (
            start_blocking_portal() as portal,
            portal.wrap_async_context_manager(open_replica(atlas)) as replica,
        ):
            return use("--base-url", replica.base_url, "--rate", 1000)

    serve(lambda *address: run("plan", "product:1", "--age", "P14", "--every", 2, "--lock", lock, *address))
    locked = Lock.read(lock.read_text(), "it")
    assert locked.selection == ("product:1",)
    assert [each.id for each in locked.data_sets] == [NISSL]
    # another set of the product and age comes, and another section of the first
    atlas.links["data_sets_products"].append((SMALL, 1))
    first = next(row for row in atlas.tables["SectionImage"] if row["data_set_id"] == NISSL)
    atlas.tables["SectionImage"].append(first | {"id": 77, "section_number": 1})
    out = tmp_path / "out.zarr"
    done = serve(
        lambda *address: run("mirror", "--frozen", lock, "--out", out, *RECIPE, *address, "--json").stdout
    )
    assert images_of(out) == {NISSL: list(locked.data_sets[0].images)}
    assert [each["selection"] for each in json.loads(done)["outcomes"]] == [f"dataset:{NISSL}"]
    # an image that is gone is named
    atlas.tables["SectionImage"].remove(first)
    gone = serve(
        lambda *address: run(
            "mirror", "--frozen", lock, "--out", tmp_path / "b.zarr", *RECIPE, *address, code=3
        )
    )
    assert f"image {first['id']} is not among the section images" in gone.output


def test_a_frozen_run_that_is_interrupted_is_continued_as_it_was_locked(replica, tmp_path):
    lock = Lock.read(
        json.dumps(
            {
                "lock": 1,
                "selection": ["gene:Gad1"],
                "base_url": "",
                "data_sets": [{"id": SMALL, "images": [SMALL_IMAGE]}],
            }
        ),
        "it",
    )
    options = {"um": 200.0, "layers": ("source",), "downsample": 4, "requests_per_s": 1000.0}

    async def go():
        drain = anyio.Event()
        drain.set()
        address = {"base_url": replica.base_url}
        first = await asyncfetch.mirror(
            (), tmp_path / "out.zarr", lock=lock, drain=drain, **options, **address
        )
        assert first.interrupted
        return await asyncfetch.resume(tmp_path / "out.zarr", requests_per_s=1000.0, **address)

    assert anyio.run(go).n_committed == 1
    assert images_of(tmp_path / "out.zarr") == {SMALL: [SMALL_IMAGE]}


def test_a_store_says_what_its_selections_were(replica, tmp_path):
    address = ("--base-url", replica.base_url, "--rate", 1000)
    out = tmp_path / "out.zarr"
    run("mirror", "gene:Gad1", "--section-range", "100:200", "--out", out, *RECIPE, *address)
    (kept,) = asyncfetch.open(out).read_selections().values()
    assert kept["selection"] == ["gene:Gad1"]
    assert kept["filters"] == {"section_range": [100, 200]}
    assert [each["id"] for each in kept["data_sets"]] == [SMALL]
    assert len(kept["data_sets"][0]["images"]) == 3
    run("verify", out)
    told = json.loads(run("info", out, "--json").stdout)["data_sets"][0]["origin"]
    assert (told["genes"], told["age"], told["treatment"], told["specimen_id"]) == (
        "Gad1",
        "P14",
        "ISH",
        900000504,
    )
    assert "Gad1, coronal, P14, ISH, antisense, C57BL/6J, F, specimen 900000504" in run("info", out).stdout


@pytest.mark.parametrize("ending", ["csv", "json", "parquet"])
def test_the_table_has_a_row_for_each_selection_and_never_adds_sections_to_genes(replica, tmp_path, ending):
    address = ("--base-url", replica.base_url, "--rate", 1000)
    genes = tmp_path / "genes.txt"
    genes.write_text("Gad1\nGAD67\nPvabl\nZzz\nProx1\n")
    table, out = tmp_path / f"told.{ending}", tmp_path / "out.zarr"
    arguments = ("mirror", f"@{genes}", "--as", "gene", "--age", "P14", "--out", out, *RECIPE, *address)
    told = run(*arguments, "--report", table, code=3)
    assert "3 of 5 selections came to nothing" in told.output
    assert "10 sections written, 0 already stored, 0 failed" in told.output
    rows = {
        "csv": lambda: list(csv.DictReader(table.read_text().splitlines())),
        "json": lambda: json.loads(table.read_text()),
        "parquet": lambda: pyarrow.parquet.read_table(table).to_pylist(),
    }[ending]()
    assert [row["selection"] for row in rows] == [
        f"gene:{each}" for each in ("Gad1", "GAD67", "Pvabl", "Zzz", "Prox1")
    ]
    assert [row["status"] for row in rows] == ["mirrored", "mirrored", *["not found"] * 3]
    assert [row["name"] for row in rows[:2]] == ["Gad1", "Gad1"]
    assert rows[1]["place"] == f"{genes}:2"
    assert int(rows[1]["n_sections_written"]) == 10
    assert "did you mean Pvalb" in rows[2]["message"]
    assert "meets --age P14" in rows[4]["message"]
    again = run(*arguments, "--report", tmp_path / "again.json", code=3)
    assert "0 sections written, 10 already stored" in again.output
    assert [row["status"] for row in json.loads((tmp_path / "again.json").read_text())[:2]] == [
        "stored already"
    ] * 2


def test_named_data_sets_that_are_left_out_have_their_reason_in_the_table(replica, tmp_path):
    address = ("--base-url", replica.base_url, "--rate", 1000)
    table = tmp_path / "told.json"
    run("plan", "dataset:479,123", f"image:{SMALL_IMAGE}", "--plane", "coronal", "--report", table, *address)
    told = {row["selection"]: (row["status"], row["message"]) for row in json.loads(table.read_text())}
    assert told == {
        "dataset:479": ("planned", ""),
        "dataset:123": ("left out", "left out: its plane is sagittal (--plane coronal)"),
        f"image:{SMALL_IMAGE}": ("planned", ""),
    }


def test_what_goes_badly_with_a_lock_is_refused(tmp_path):
    lock = tmp_path / "chosen.lock"
    lock.write_text('{"lock": 2}')
    assert "is not a lock of a selection" in run("plan", "--frozen", lock, code=2).output
    assert "--frozen says what is selected" in run("plan", "dataset:479", "--frozen", lock, code=2).output
    assert "--frozen says what is selected" in run("plan", "--frozen", lock, "--age", "P14", code=2).output
    assert "nothing is selected" in run("plan", code=2).output
    with pytest.raises(SelectionError, match="make one with --lock"):
        Lock.read("{}", "it")
