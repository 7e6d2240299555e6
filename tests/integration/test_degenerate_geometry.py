"""Sections whose alignment is there and cannot be one: stored, named, and left out of whatever needs a place."""

from __future__ import annotations

import dataclasses
import json
from functools import partial

import anyio
import numpy as np
import pytest
import typer.testing

import asyncfetch
from asyncfetch.cli import app, register_commands
from asyncfetch.mirroring import rebuild, volume
from asyncfetch.replica import open_replica
from asyncfetch.sample import sample_atlas

register_commands()

DATA_SET, ODD, Z = 900000005, 900004005, 6
ATLAS = sample_atlas()


def altered(table, change, **of):
    """Return the sample atlas with the rows of a table changed where their fields are those given."""
    rows = [row | change(row) if of.items() <= row.items() else row for row in ATLAS.tables[table]]
    return dataclasses.replace(ATLAS, tables={**ATLAS.tables, table: rows})


def numbers(row, *names, value=0.0):
    return {name: value for name in row if name[:3] in names}


def stretched(row):
    return {name: row[name] * 1000 for name in row if name[:6] in {"tsv_00", "tsv_01", "tsv_02", "tsv_03"}}


def flat_of(change):
    return altered("Alignment2d", change, section_image_id=ODD)


KINDS = {
    "zeros": (flat_of(lambda row: numbers(row, "tsv", "tvs")), "singular"),
    "zeros one way": (flat_of(lambda row: numbers(row, "tvs")), "singular"),
    "in nanometres": (flat_of(stretched), "scales lengths"),
    "far away": (flat_of(lambda _: {"tvs_04": 5e8}), "moves points"),
    "beyond all numbers": (flat_of(lambda _: {"tvs_04": 1e300}), "tvs is "),
}
OF_THE_SET = {
    "a flat volume": (
        altered("Alignment3d", lambda row: numbers(row, "tvr", "trv"), aligned_id=DATA_SET),
        "tvr is singular",
    ),
    "a way back of another volume": (
        altered("Alignment3d", lambda row: {"trv_11": row["trv_11"] + 500}, aligned_id=DATA_SET),
        "trv is not the inverse of tvr",
    ),
    "a negative thickness": (
        altered("SectionDataSet", lambda _: {"section_thickness": -25.0}, id=DATA_SET),
        "section_thickness is -25.0",
    ),
}


def mirror(atlas, location, **choices):
    async def run():
        async with open_replica(atlas) as replica:
            settings = {"requests_per_s": 1000.0, "um": 100.0, "base_url": replica.base_url} | choices
            return await asyncfetch.mirror(f"dataset:{DATA_SET}", location, **settings)

    return anyio.run(run)


@pytest.mark.parametrize("kind", KINDS)
def test_a_section_that_cannot_be_placed_is_stored_and_named_and_its_slot_holds_fill(kind, tmp_path):
    atlas, reason = KINDS[kind]
    report = mirror(atlas, tmp_path, fill=7)
    assert (report.n_committed, report.failures) == (10, [])
    (odd,) = report.unplaced
    assert (odd.item, odd.error) == (f"image:{ODD}", "AlignmentError")
    assert reason in odd.message
    data_set = asyncfetch.open(tmp_path).data_set(DATA_SET)
    planes = np.asarray(data_set.open_registered()[...])
    assert set(np.unique(planes[:, Z])) <= {0, 7}
    assert all(planes[:, z].max() > 200 for z in range(10) if z != Z)
    commit = data_set.section(ODD).commit
    assert (commit.layers, commit.recipe.um, commit.image_to_reference) == (("source",), None, None)
    # nothing is fetched again for it
    assert mirror(atlas, tmp_path, fill=7).n_committed == 0


@pytest.mark.parametrize("kind", OF_THE_SET)
def test_a_data_set_that_cannot_be_placed_is_stored_and_each_section_is_named(kind, tmp_path):
    atlas, reason = OF_THE_SET[kind]
    report = mirror(atlas, tmp_path)
    assert all(reason in each.message for each in report.unplaced)
    assert (report.n_committed, report.failures, len(report.unplaced)) == (10, [], 10)
    commits = asyncfetch.open(tmp_path).data_set(DATA_SET).read_commits()
    assert {commit.layers for commit in commits} == {("source",)}


@pytest.fixture(scope="module")
def odd_store(tmp_path_factory):
    location = tmp_path_factory.mktemp("odd") / "out.zarr"
    mirror(KINDS["zeros"][0], location)
    return location


def test_the_services_of_a_store_pass_over_it(odd_store):
    atlas = asyncfetch.open(odd_store).read_atlas()
    commit = asyncfetch.open(odd_store).data_set(DATA_SET).section(ODD - 1000).commit
    near = atlas.image_to_reference(commit.image_id, (100.0, 100.0)).pir
    # 20 sections of 25 µm further: at the depth of the odd one
    across = near + 500.0 * np.array([[1.0, 0, 0], [-1.0, 0, 0]])
    found = atlas.reference_to_image(9, across, [DATA_SET])
    assert ODD not in found.section_image_id
    assert np.isfinite(found.xy).all()
    with pytest.raises(asyncfetch.AsyncFetchError, match="cannot be an alignment"):
        atlas.image_to_reference(ODD, (1.0, 1.0))


def test_a_volume_leaves_it_out_and_says_so(odd_store):
    report = anyio.run(partial(volume, odd_store, max_gap_um=5000.0))
    assert report.n_planes == 9
    assert [(each.item, "singular" in each.message) for each in report.unplaced] == [(f"image:{ODD}", True)]
    planes = asyncfetch.open(odd_store).data_set(DATA_SET).read_volume_layout().planes
    assert ODD not in {plane.image_id for plane in planes}


def test_a_rebuild_says_the_same_as_the_mirror(odd_store):
    report = anyio.run(partial(rebuild, odd_store, layers=["registered"], um=200.0))
    assert [each.item for each in report.unplaced] == [f"image:{ODD}"]
    assert (report.failures, report.n_committed, report.n_skipped) == ([], 9, 1)


def test_every_command_works_on_a_store_that_holds_it(odd_store, tmp_path):
    runner = typer.testing.CliRunner()
    assert runner.invoke(app, ["rebuild", str(odd_store), "--um", "100"]).exit_code == 0
    commands = [
        ["status", odd_store],
        ["info", odd_store, "--json"],
        ["volume", odd_store],
        ["preview", odd_store, "-o", tmp_path / "preview.png"],
        ["resume", odd_store],
    ]
    for command in commands:
        done = runner.invoke(app, [str(each) for each in command])
        assert done.exit_code == 0, (command, done.stderr, done.exception)
        assert "NaN" not in done.stdout
    told = json.loads(runner.invoke(app, ["volume", str(odd_store), "--json"]).stdout)
    assert [each["item"] for each in told["unplaced"]] == [f"image:{ODD}"]
