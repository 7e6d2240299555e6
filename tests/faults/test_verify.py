"""Verification: every byte of a store that was lost, emptied, cut or changed is found, and brought again exactly."""

from __future__ import annotations

import json

import anyio
import pytest

import asyncfetch
from asyncfetch import blocking
from asyncfetch.cli.exits import ExitCode
from asyncfetch.errors import SettingsError
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


def test_the_parts_of_a_store_cover_every_flaw_exactly_once(stored, check):
    location, _ = stored
    for path in location.glob(f"{VIEW}/source/*.jpg"):
        damage(path, "cut")
    damage(location / f"{VIEW}/registered/scale0/z/c.0", "flipped")
    damage(location / "catalogue/space_transforms/zarr.json", "empty")
    whole = check(location)[0]
    parts = [check(location, part=f"{k}/4")[0] for k in range(1, 5)]
    assert sorted(flaw.path for each in parts for flaw in each.flaws) == sorted(
        flaw.path for flaw in whole.flaws
    )
    assert len(whole.flaws) == 12
    assert sum(each.n_sections for each in parts) == whole.n_sections == 10
    assert [each.part for each in parts] == ["1/4", "2/4", "3/4", "4/4"]


@pytest.mark.parametrize("part", ["0/30", "31/30", "1", "1/0", "a/b"])
def test_a_part_that_is_none_is_refused_with_how_it_is_written(stored, check, part):
    with pytest.raises(SettingsError, match="such as 1/30 for the first of 30"):
        check(stored[0], part=part)


def interrupted_after(n):
    """Return an event, and what sets it once so many sections were looked at."""
    drain = anyio.Event()

    def look(n_sections):
        if n_sections >= n:
            drain.set()

    return {"drain": drain, "on_progress": look}


def test_an_interrupted_verification_is_continued_from_its_report(stored, check, tmp_path):
    location, _ = stored
    damage(location / JPEG, "cut")
    damage(location / f"{VIEW}/source/900010005.jpg", "cut")
    file = tmp_path / "report.json"

    async def body():
        return await verify(location, full=True, report=file, workers=1, **interrupted_after(5))

    first = anyio.run(body)
    assert first.interrupted
    assert json.loads(file.read_bytes())["progress"]["sections"]
    seen = []
    second = check(location, full=True, report=file, on_progress=seen.append)[0]
    assert (second.was_continued, second.interrupted, second.progress) == (True, False, None)
    assert (second.n_sections, len(seen)) == (10, 10 - first.n_sections)
    assert {flaw.path for flaw in second.flaws} == {JPEG, f"{VIEW}/source/900010005.jpg"}
    # at its end it begins anew
    third = check(location, full=True, report=file)[0]
    assert (third.was_continued, third.n_sections, len(third.flaws)) == (False, 10, 2)


def test_a_file_that_is_no_report_is_left_as_it_is(stored, check, tmp_path):
    file = tmp_path / "notes.json"
    file.write_text("[1, 2]")
    with pytest.raises(SettingsError, match="is not the report of a verification"):
        check(stored[0], report=file)
    assert file.read_text() == "[1, 2]"


def test_the_sample_is_told_and_another_seed_takes_another(stored, check):
    location, _ = stored
    samples = [check(location, seed=seed, sample=5)[0] for seed in (0, 0, 1, 2, 3)]
    assert [each.n_hashed for each in samples] == [2] * 5
    assert samples[0].sample == samples[1].sample
    assert len({tuple(each.sample) for each in samples}) > 1
    assert check(location, full=True)[0].n_hashed == 10


def test_what_a_killed_run_left_is_named_and_swept_and_is_no_flaw(stored, check, objects_of):
    location, before = stored
    left = [f"{VIEW}/source/900004005.jpg.1f.partial", f"{VIEW}/sections/900004005/zarr.json.2e.partial"]
    for name in left:
        (location / name).write_bytes(b"half")
    report, _ = check(location)
    assert (report.flaws, report.leftovers, report.was_swept) == ([], sorted(left), False)
    report, asked = check(location, repair=True)
    assert (report.leftovers, report.was_swept, report.is_sound, asked) == (sorted(left), True, True, [])
    assert objects_of(location) == before


@pytest.mark.parametrize("where", [JPEG, SHARD, f"{VIEW}/sections/900004005/scale0/image/c.0.0.0.0"])
def test_objects_of_another_section_in_place_are_found_without_a_source(run, check, tmp_path, where):
    location = tmp_path / "out.zarr"
    layers = ("source", "sections", "registered") if where == JPEG else ("sections", "registered")
    before = run(SELECTION, location, layers=layers, codec="none").objects
    other = where.replace("900004005", "900005005").replace("c.0.4.0.0", "c.0.5.0.0")
    first, second = (location / name for name in (where, other))
    held = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(held)
    report, _ = check(location, full=True)
    assert len({flaw.item for flaw in report.flaws}) == 2
    report, _ = check(location, full=True, repair=True)
    assert (report.left, report.failures) == ([], [])
    found = {
        path.relative_to(location).as_posix(): path.read_bytes()
        for path in location.rglob("*")
        if path.is_file() and path.name != "zarr.json"
    }
    assert found == {name: data for name, data in before.items() if not name.endswith("zarr.json")}


def test_a_commit_that_is_lost_is_found_by_what_it_vouched_for(stored, check, objects_of):
    location, before = stored
    (location / f"{VIEW}/sections/900004005/zarr.json").unlink()
    report, _ = check(location)
    assert {flaw.item for flaw in report.flaws} == {"image:900004005"}
    report, asked = check(location, repair=True)
    assert (report.left, sorted(set(asked))) == ([], [900004005])
    assert objects_of(location) == before


def test_a_section_without_its_commit_is_fetched_at_the_tier_of_the_others(run, check, objects_of, tmp_path):
    location = tmp_path / "out.zarr"
    before = run(SELECTION, location, downsample=4).objects
    (location / f"{VIEW}/sections/900004005/zarr.json").write_bytes(b"")
    report, _ = check(location, repair=True)
    assert (report.left, report.failures) == ([], [])
    assert objects_of(location) == before


def test_a_layout_version_that_was_changed_in_the_root_is_damage(stored, check, objects_of):
    location, before = stored
    path = location / "zarr.json"
    path.write_bytes(path.read_bytes().replace(b'"layout": 2', b'"layout": 3'))
    report, asked = check(location, repair=True)
    assert [flaw.path for flaw in report.flaws] == ["zarr.json"]
    assert (report.left, asked) == ([], [])
    assert objects_of(location) == before


@pytest.mark.parametrize("name", [f"data_sets/{SMALL}", "catalogue/space_transforms"])
def test_records_that_are_lost_are_found_and_fetched(stored, check, objects_of, name):
    location, before = stored
    (location / name / "zarr.json").unlink()
    report, asked = check(location, repair=True)
    assert [flaw.path for flaw in report.flaws] == [f"{name}/zarr.json"]
    assert (report.left, asked) == ([], [])
    assert objects_of(location) == before


def test_attributes_of_others_are_no_flaw_and_stay_in_a_repair(stored, check):
    location, _ = stored
    path = location / VIEW / "registered/zarr.json"
    node = json.loads(path.read_bytes())
    node["attributes"]["notes"] = {"by": "me"}
    path.write_text(json.dumps(node))
    assert check(location, full=True)[0].flaws == []
    node["attributes"]["ome"]["multiscales"][0]["name"] = "mine"
    path.write_text(json.dumps(node))
    report, asked = check(location, repair=True)
    assert [flaw.path for flaw in report.flaws] == [f"{VIEW}/registered/zarr.json"]
    assert (report.left, asked) == ([], [])
    assert json.loads(path.read_bytes())["attributes"]["notes"] == {"by": "me"}


def test_the_same_without_await(stored):
    report = blocking.verify(
        stored[0], full=True, part="1/1", sample=3, seed=4, report=stored[0].with_name("r.json")
    )
    assert report.is_sound
    assert json.loads(stored[0].with_name("r.json").read_bytes())["n_sections"] == 10


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
