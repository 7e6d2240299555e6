"""Layers rebuilt from stored JPEGs have the bytes of those that a mirror writes, whatever happens on the way."""

from __future__ import annotations

import shutil
from functools import partial

import anyio
import pytest
import typer.testing

import asyncfetch
from asyncfetch.cli import app, register_commands
from asyncfetch.errors import SelectionError, SettingsError
from asyncfetch.events import SectionCommitted
from asyncfetch.mirroring import mirror, rebuild

register_commands()

DATA_SET = 900000005
ALL = ("source", "sections", "registered")
IMAGE = 900003005


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory, replica_process):
    """Return what mirrors the small data set, once for each choice, and gives a copy of the store."""
    folder = tmp_path_factory.mktemp("mirrored")

    def copy(location, selection=f"dataset:{DATA_SET}", **choices):
        original = folder / "-".join(map(str, (selection, *choices.values())))
        if not original.exists():
            settings = {"base_url": replica_process.base_url, "requests_per_s": 1000.0, "um": 100.0}
            report = anyio.run(partial(mirror, selection, original, **settings | choices))
            assert not report.failures
        shutil.copytree(original, location)
        return location

    return copy


@pytest.fixture
def sources(mirrored, tmp_path):
    return mirrored(tmp_path / "out.zarr", layers=("source",))


@pytest.fixture
def whole(mirrored, tmp_path):
    return mirrored(tmp_path / "whole.zarr", layers=ALL)


def again(location, layers=("registered",), **options):
    return anyio.run(partial(rebuild, location, layers=layers, **options))


def test_rebuilt_layers_have_the_bytes_of_mirrored_ones(sources, whole, stored_objects):
    report = again(sources, ("sections", "registered"), um=100.0)
    assert (report.n_committed, report.n_requests, report.failures) == (10, 0, [])
    assert stored_objects(sources) == stored_objects(whole)
    report = again(sources, ("sections", "registered"))
    assert (report.n_committed, report.n_skipped) == (0, 10)


def test_another_pitch_and_codec_take_the_place_of_the_ones_before(whole, mirrored, tmp_path, stored_objects):
    # a rebuild keeps the tier that is stored
    other = mirrored(tmp_path / "other.zarr", layers=ALL, um=200.0, downsample=2, codec="jpegxl")
    report = again(whole, ("registered",), um=200.0, codec="jpegxl")
    assert (report.n_committed, report.failures) == (10, [])
    layout = asyncfetch.open(whole).data_set(DATA_SET).read_registered_layout()
    assert (layout.recipe.um, layout.recipe.codec) == (200.0, "jpegxl")
    assert stored_objects(whole) == stored_objects(other)
    # and back, unchanged
    again(whole, ("registered",), um=100.0, codec="zstd")
    assert stored_objects(whole) == stored_objects(mirrored(tmp_path / "peace.zarr", layers=ALL))


def test_slots_are_those_of_the_whole_data_set_though_few_sections_are_stored(
    mirrored, tmp_path, stored_objects
):
    one = {"selection": f"image:{IMAGE}"}
    rebuilt = mirrored(tmp_path / "out.zarr", layers=("source",), **one)
    again(rebuilt, ("registered",), um=100.0)
    assert len(asyncfetch.open(rebuilt).data_set(DATA_SET).read_registered_layout().slots) == 10
    expected = mirrored(tmp_path / "whole.zarr", layers=("source", "registered"), **one)
    assert stored_objects(rebuilt) == stored_objects(expected)


@pytest.mark.parametrize("n_before", [1, 6])
def test_an_interrupted_rebuild_keeps_every_jpeg_and_is_gone_on_with(
    whole, mirrored, tmp_path, stored_objects, n_before
):
    async def cut_short():
        drain, seen = anyio.Event(), []

        def listen(event):
            if isinstance(event, SectionCommitted):
                seen.append(event)
            if len(seen) == n_before:
                drain.set()

        return await rebuild(whole, um=200.0, workers=1, on_event=listen, drain=drain)

    report = anyio.run(cut_short)
    assert report.interrupted
    assert n_before <= report.n_committed <= n_before + 2
    commits = asyncfetch.open(whole).data_set(DATA_SET).read_commits()
    assert [commit.recipe.um for commit in commits if "registered" in commit.layers] == [
        200.0
    ] * report.n_committed
    assert all({"source", "sections"} <= set(commit.layers) for commit in commits)
    report = again(whole, um=200.0)
    assert (report.interrupted, report.n_skipped + report.n_committed) == (False, 10)
    peace = mirrored(tmp_path / "peace.zarr", layers=ALL)
    again(peace, um=200.0)
    assert stored_objects(whole) == stored_objects(peace)


@pytest.mark.parametrize("damage", ["missing", "cut", "another"])
def test_a_damaged_jpeg_is_named_and_fetched_again(
    whole, mirrored, tmp_path, replica_process, stored_objects, damage
):
    folder = whole / f"data_sets/{DATA_SET}/image/source"
    jpeg = folder / f"{IMAGE}.jpg"
    content = {"cut": jpeg.read_bytes()[:500], "another": next(folder.glob("900001005.jpg")).read_bytes()}
    if damage == "missing":
        jpeg.unlink()
    else:
        jpeg.write_bytes(content[damage])
    runner = typer.testing.CliRunner()
    done = runner.invoke(app, ["rebuild", str(whole), "--um", "200", "--quiet"])
    assert done.exit_code == 3
    assert f"image:{IMAGE}" in done.stderr
    assert "fetch it again" in done.stderr
    commits = {each.image_id: each for each in asyncfetch.open(whole).data_set(DATA_SET).read_commits()}
    assert [image_id for image_id, each in commits.items() if "source" not in each.layers] == [IMAGE]
    assert all(each.recipe.um == 200.0 for image_id, each in commits.items() if image_id != IMAGE)
    n_seen = len(replica_process.image_ids)
    wanted = ("--um", "200", "--layers", ",".join(ALL), "--rate", "1000", "--quiet")
    address = ("--base-url", replica_process.base_url)
    fetched = runner.invoke(app, ["mirror", f"image:{IMAGE}", "-o", str(whole), *wanted, *address])
    assert fetched.exit_code == 0
    assert set(replica_process.image_ids[n_seen:]) == {IMAGE}
    peace = mirrored(tmp_path / "peace.zarr", layers=ALL)
    again(peace, um=200.0)
    assert stored_objects(whole) == stored_objects(peace)


def test_planes_that_could_not_be_made_again_are_not_given_up(mirrored, tmp_path, stored_objects):
    location = mirrored(tmp_path / "out.zarr", layers=("registered",))
    before = stored_objects(location)
    with pytest.raises(SettingsError, match="planes would be lost"):
        again(location, um=200.0)
    assert stored_objects(location) == before
    report = again(location, ("sections",))
    assert report.n_failed == 10
    assert "without its JPEG" in report.failures[0].message
    assert stored_objects(location) == before


def test_a_pitch_finer_than_the_stored_tier_is_noted(sources):
    report = again(sources, um=10.0)
    assert (report.n_committed, report.failures) == (10, [])
    assert "10 sections" in report.notes[0]
    assert "coarser" in report.notes[0]


def test_a_mask_becomes_levels_offline(mirrored, tmp_path, stored_objects):
    choices = {"layers": ALL, "views": ("expression",)}
    rebuilt = mirrored(tmp_path / "out.zarr", **choices)
    expected = mirrored(tmp_path / "whole.zarr", **choices, numeric_expression=True)
    report = again(rebuilt, ("registered",), numeric_expression=True)
    assert (report.n_committed, report.failures) == (10, [])
    assert stored_objects(rebuilt) == stored_objects(expected)


@pytest.mark.parametrize("layers", [(), ("source",), ("sections", "sections"), ("pixels",)])
def test_layers_that_cannot_be_made_are_refused(sources, layers):
    with pytest.raises(SettingsError, match="sections, registered or both"):
        again(sources, layers)


def test_a_data_set_that_is_not_stored_is_refused(sources):
    with pytest.raises(SelectionError, match="no data set 7"):
        again(sources, data_set_ids=[7])
    assert again(sources, data_set_ids=[DATA_SET]).n_committed == 10


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--layers", "source"), "sections, registered or both"),
        (("--um", "-1"), "--um"),
        (("--codec", "gzip"), "--codec"),
        (("--dataset", "7"), "no data set 7"),
    ],
)
def test_the_command_refuses_in_words(sources, arguments, words):
    done = typer.testing.CliRunner().invoke(app, ["rebuild", str(sources), *arguments])
    assert done.exit_code == 2
    assert words in done.stderr
