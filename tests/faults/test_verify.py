"""Verification: every byte of a store that was lost, emptied, cut or changed is found, and brought again exactly."""

from __future__ import annotations

import anyio
import pytest

import asyncfetch
from asyncfetch.cli.exits import ExitCode
from asyncfetch.mirroring import verify
from asyncfetch.replica import open_replica
from asyncfetch.settings import Settings

SMALL = 900000005
SELECTION = f"dataset:{SMALL}"
VIEW = f"data_sets/{SMALL}/image"
JPEG = f"{VIEW}/source/900004005.jpg"
SHARD = f"{VIEW}/registered/scale0/image/c.0.4.0.0"


@pytest.fixture
def stored(run, tmp_path):
    """Return the folder of a store with all layers, and its objects."""
    outcome = run(SELECTION, tmp_path / "out.zarr", layers=("source", "sections", "registered"))
    assert outcome.report.failures == []
    return tmp_path / "out.zarr", outcome.objects


@pytest.fixture
def check(atlas, drawn):
    """Return what verifies a store against a replica, and the report with what the replica was asked for."""

    def go(location, **options):
        async def body():
            async with open_replica(atlas, cache_folder=drawn) as replica:
                settings = Settings(base_url=replica.base_url, requests_per_s=1000.0)
                report = await verify(location, settings=settings, **options)
                return report, [each.image_id for each in replica.requests if each.kind == "image"]

        return anyio.run(body)

    return go


def damage(path, how):
    data = path.read_bytes()
    if how == "missing":
        path.unlink()
    elif how == "flipped":
        middle = len(data) // 3
        path.write_bytes(data[:middle] + bytes([data[middle] ^ 255]) + data[middle + 1 :])
    else:
        path.write_bytes(data[: len(data) // 2 if how == "cut" else 0])


def test_a_sound_store_is_sound_and_nothing_is_asked_for(stored, check):
    location, _ = stored
    for full in (False, True):
        report, asked = check(location, full=full, repair=True)
        assert (report.flaws, report.n_sections, asked) == ([], 10, [])
        assert report.is_sound


BROKEN = [
    (JPEG, "image:900004005", [900004005]),
    (SHARD, "image:900006005", []),
    (f"{VIEW}/sections/900004005/scale0/image/c.0.0.0.0", "image:900004005", []),
    (f"{VIEW}/sections/900004005/scale0/image/zarr.json", "image:900004005", []),
    (f"{VIEW}/sections/900004005/scale0/x/c.0", "image:900004005", []),
    (f"{VIEW}/sections/900004005/scale0/zarr.json", "image:900004005", []),
    (f"{VIEW}/sections/900004005/zarr.json", "image:900004005", [900004005]),
    (f"{VIEW}/registered/scale0/image/zarr.json", SELECTION, []),
    (f"{VIEW}/registered/scale0/y/c.0", SELECTION, []),
    (f"data_sets/{SMALL}/table/numbers/c.0.0", SELECTION, []),
    (f"data_sets/{SMALL}/zarr.json", SELECTION, []),
    ("catalogue/space_transforms/zarr.json", "store", []),
]
# what has no metadata at all does not exist, which is not a flaw
METADATA = {
    f"{VIEW}/sections/900004005/zarr.json",
    f"data_sets/{SMALL}/zarr.json",
    "catalogue/space_transforms/zarr.json",
}


@pytest.mark.parametrize(
    ("name", "item", "asked_for", "how"),
    [
        (*each, how)
        for each in BROKEN
        for how in ("empty", "cut", "missing")
        if how != "missing" or each[0] not in METADATA
    ],
)
def test_what_is_broken_is_named_and_that_alone_is_brought_again(
    stored, check, objects_of, name, item, asked_for, how
):
    location, before = stored
    damage(location / name, how)
    report, asked = check(location)
    assert asked == []
    assert [flaw.item for flaw in report.flaws] == [item] * len(report.flaws)
    assert any(name.startswith(flaw.path) for flaw in report.flaws)
    assert not report.is_sound

    report, asked = check(location, repair=True)
    assert (report.left, report.failures) == ([], [])
    assert sorted(set(asked)) == asked_for
    assert objects_of(location) == before


def test_a_changed_byte_of_a_jpeg_is_found_by_a_full_verification(stored, check, objects_of):
    location, before = stored
    damage(location / JPEG, "flipped")
    report, asked = check(location, full=True, repair=True)
    assert [flaw.problem for flaw in report.flaws] == ["is not the JPEG that was committed"]
    assert (report.left, sorted(set(asked))) == ([], [900004005])
    assert objects_of(location) == before


def test_a_chunk_that_does_not_decode_is_found_by_a_full_verification(stored, check, objects_of):
    location, before = stored
    path = location / SHARD
    path.write_bytes(bytes(64) + path.read_bytes()[64:])
    assert check(location)[0].flaws == []
    report, asked = check(location, full=True, repair=True)
    assert [flaw.layer for flaw in report.flaws] == ["registered"]
    assert (report.left, asked) == ([], [])
    assert objects_of(location) == before


def test_a_plane_is_fetched_again_where_its_jpeg_proves_to_be_another(stored, check, objects_of):
    location, before = stored
    # not among the sampled digests, so that the rebuild is what notices
    damage(location / f"{VIEW}/source/900006005.jpg", "flipped")
    damage(location / SHARD, "empty")
    report, asked = check(location, repair=True)
    assert (report.left, sorted(set(asked))) == ([], [900006005])
    assert objects_of(location) == before


def test_damage_that_cannot_be_repaired_stays_and_is_said(stored):
    location, _ = stored
    damage(location / JPEG, "empty")

    async def body():
        settings = Settings(base_url="http://127.0.0.1:9", attempts=1, outage_patience_s=0.1)
        return await verify(location, repair=True, settings=settings)

    report = anyio.run(body)
    assert report.failures
    # its claim is gone, so that the next mirror of the image brings it
    (section,) = [
        each
        for each in asyncfetch.open(location).data_set(SMALL).read_commits()
        if each.image_id == 900004005
    ]
    assert section.layers == ("sections", "registered")


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_the_command_ends_with_6_until_the_store_is_mended(stored, command, replica_process):
    location, _ = stored
    damage(location / JPEG, "empty")
    damage(location / SHARD, "empty")
    found = command("verify", location)
    assert found.returncode == ExitCode.VERIFICATION_FAILED
    assert f"image:900004005: {JPEG} has 0 bytes instead of" in found.stderr
    assert f"asyncfetch verify {location} --repair" in found.stderr
    mended = command("verify", location, "--repair", "--base-url", replica_process.base_url, "--rate", 100)
    assert mended.returncode == ExitCode.DONE, mended.stderr
    assert (location / JPEG).stat().st_size > 0
    assert (location / SHARD).stat().st_size > 0
    assert command("verify", location, "--full").returncode == ExitCode.DONE
