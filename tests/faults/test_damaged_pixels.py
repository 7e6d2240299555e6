"""Pixels that were lost after the commit: whoever shows or sends them leaves out that plane alone, and says so."""

from __future__ import annotations

import json
import shutil
from functools import partial

import aiohttp
import anyio
import numpy as np
import pytest
import typer.testing

import asyncfetch
from asyncfetch.cli import app, register_commands
from asyncfetch.errors import StoreItemError
from asyncfetch.mirroring import verify, volume
from asyncfetch.replica import MirroredAtlas, open_replica

register_commands()

DATA_SET = 900000005
IMAGES = [900001005 + 1000 * k for k in range(10)]
VICTIM = 900004005
VIEW = f"data_sets/{DATA_SET}/image"
LAYERS = ("source", "sections", "registered")
HOWS = ["missing", "empty", "cut", "flipped"]


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return tmp_path_factory.mktemp("kept") / "out.zarr"


@pytest.fixture
def stored(run, kept, tmp_path):
    """Return the folder of a store with all layers."""
    if not kept.exists():
        assert run(f"dataset:{DATA_SET}", kept, layers=LAYERS).report.failures == []
    return shutil.copytree(kept, tmp_path / "out.zarr")


@pytest.fixture
def invoke(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: typer.testing.CliRunner().invoke(app, [str(each) for each in arguments])


def damage(path, how):
    data = path.read_bytes()
    if how == "missing":
        path.unlink()
    elif how == "flipped":
        # within a chunk, so that the index of the shard is as it was
        path.write_bytes(data[:40] + bytes([data[40] ^ 255]) + data[41:])
    else:
        path.write_bytes(data[: len(data) // 2 if how == "cut" else 0])


def shard_of(folder, image_id):
    layout = asyncfetch.open(folder).data_set(DATA_SET).read_registered_layout()
    return folder / VIEW / f"registered/scale0/image/c.0.{layout.z_by_image[image_id]}.0.0"


def build(folder, **choices):
    return anyio.run(partial(volume, folder, max_gap_um=3000, **choices))


def voxels_of(folder):
    return np.asarray(asyncfetch.open(folder).data_set(DATA_SET).open_volume()[...])


@pytest.mark.parametrize("how", HOWS)
def test_a_volume_is_made_without_a_damaged_plane_which_is_named(stored, tmp_path, how):
    other = shutil.copytree(stored, tmp_path / "other.zarr")
    shutil.rmtree(other / VIEW / f"sections/{VICTIM}")
    damage(shard_of(stored, VICTIM), how)

    report = build(stored)

    assert ([each.item for each in report.damaged], report.n_planes) == ([f"image:{VICTIM}"], 9)
    assert "verify" in report.damaged[0].message
    # as if there had never been such a section
    assert build(other).damaged == []
    assert np.array_equal(voxels_of(stored), voxels_of(other))
    # and it is not made again as long as nothing has changed
    again = build(stored)
    assert (again.n_written, [each.item for each in again.damaged]) == (0, [f"image:{VICTIM}"])


def test_several_damaged_planes_are_all_left_out_and_come_back_when_they_are_mended(stored):
    whole = build(shutil.copytree(stored, stored.with_name("whole.zarr")))
    for image_id, how in zip(IMAGES[1:8:2], HOWS, strict=True):
        damage(shard_of(stored, image_id), how)
    report = build(stored)
    assert ({each.item for each in report.damaged}, report.n_planes) == (
        {f"image:{image_id}" for image_id in IMAGES[1:8:2]},
        6,
    )
    assert anyio.run(partial(verify, stored, full=True, repair=True)).left == []
    mended = build(stored)
    assert (mended.damaged, mended.n_planes) == ([], whole.n_planes)
    assert np.array_equal(voxels_of(stored), voxels_of(stored.with_name("whole.zarr")))


def test_a_volume_that_is_whole_is_not_made_poorer_when_a_plane_is_lost(stored):
    build(stored)
    before = voxels_of(stored)
    damage(shard_of(stored, VICTIM), "missing")
    report = build(stored)
    assert (report.n_written, report.n_planes, report.damaged) == (0, 10, [])
    assert np.array_equal(voxels_of(stored), before)


def test_a_volume_of_which_a_shard_was_lost_is_made_again(stored):
    build(stored)
    before = voxels_of(stored)
    damage(stored / VIEW / "volume/scale0/image/c.0.0.0.0", "missing")
    assert build(stored).n_written > 0
    assert np.array_equal(voxels_of(stored), before)


def test_where_no_plane_can_be_read_there_is_no_volume_and_the_words_say_why(stored):
    for image_id in IMAGES:
        damage(shard_of(stored, image_id), "empty")
    with pytest.raises(StoreItemError, match=r"none of the registered planes .* is empty; restore it"):
        build(stored)


def test_the_commands_leave_out_a_damaged_plane_by_name(stored, invoke):
    damage(shard_of(stored, VICTIM), "missing")
    drawn = invoke("preview", stored, "-o", "page.png")
    assert drawn.exit_code == 0
    assert "is left out" in drawn.stderr
    assert "9 planes" in drawn.stderr
    made = invoke("volume", stored, "--max-gap", 3000, "--json")
    assert made.exit_code == 3
    assert [each["item"] for each in json.loads(made.stdout)["damaged"]] == [f"image:{VICTIM}"]
    assert f"left out: image:{VICTIM}" in made.stderr
    damage(stored / VIEW / "volume/scale0/image/c.0.0.0.0", "missing")
    cuts = invoke("preview", stored, "--volume", "-o", "cuts.png")
    assert cuts.exit_code == 0
    assert "volume/scale0/image/c.0.0.0.0 is missing" in cuts.stderr


def test_a_lost_commit_is_told_by_the_volume_that_goes_without_its_plane(stored, invoke):
    (stored / VIEW / f"sections/{VICTIM}/zarr.json").write_bytes(b"")
    made = invoke("volume", stored, "--max-gap", 3000)
    assert "from 9 planes" in made.stderr
    assert f"sections/{VICTIM}/zarr.json is empty and counts as missing" in made.stderr


@pytest.mark.parametrize("how", HOWS)
def test_pixels_of_a_section_come_from_its_jpeg_where_its_levels_are_damaged(stored, how):
    before = asyncfetch.open(stored).data_set(DATA_SET).section(VICTIM).pixels(3)
    damage(stored / VIEW / f"sections/{VICTIM}/scale0/image/c.0.0.0.0", how)
    store = asyncfetch.open(stored)
    assert np.array_equal(store.data_set(DATA_SET).section(VICTIM).pixels(3), before)
    assert store.damage
    damage(stored / VIEW / f"source/{VICTIM}.jpg", "empty")
    with pytest.raises(StoreItemError):
        store.data_set(DATA_SET).section(VICTIM).pixels(3)


def ask(folder, *image_ids):
    """Return the status and the body of boxes of images that a store serves."""

    async def go():
        answers = {}
        async with (
            open_replica(MirroredAtlas(asyncfetch.open(folder))) as replica,
            aiohttp.ClientSession() as to,
        ):
            for image_id in image_ids:
                address = f"{replica.base_url}/api/v2/section_image_download/{image_id}"
                box = {"downsample": 4, "left": 0, "top": 0, "width": 64, "height": 48}
                async with to.get(address, params=box) as reply:
                    answers[image_id] = reply.status, await reply.read()
        return answers

    return anyio.run(go)


@pytest.mark.parametrize("how", HOWS)
def test_a_served_store_answers_from_the_jpeg_where_levels_are_damaged_and_404_where_both_are(stored, how):
    before = ask(stored, VICTIM, IMAGES[0])
    assert {status for status, _ in before.values()} == {200}
    for path in (stored / VIEW / f"sections/{VICTIM}").glob("scale*/image/c.0.0.0.0"):
        damage(path, how)
    assert ask(stored, VICTIM, IMAGES[0]) == before
    damage(stored / VIEW / f"source/{VICTIM}.jpg", how)
    after = ask(stored, VICTIM, IMAGES[0])
    assert after[IMAGES[0]] == before[IMAGES[0]]
    status, words = after[VICTIM]
    assert (status, words.count(b"\n")) == (404, 0)
