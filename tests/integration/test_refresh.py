"""A nightly job follows what is new, changed and gone at the API since the last night, and fetches nothing else."""

from __future__ import annotations

import re

import anyio
import numpy as np
import pytest

import asyncfetch
from asyncfetch.cli.exits import ExitCode, exit_code_of_report
from asyncfetch.mirroring.refreshing import Refresh
from asyncfetch.replica import open_replica
from asyncfetch.sample import sample_atlas

NISSL, SMALL = 900000004, 900000005
IMAGES = [SMALL + 1000 * n for n in range(1, 11)]
PORT = re.compile(rb"(?<=http://127\.0\.0\.1):\d+")
LAYERS = ("source", "sections", "registered")


class Changed:
    """The sample atlas with other rows, by the names of their models and their ids."""

    def __init__(self, change):
        self._atlas = sample_atlas()
        tables = {
            model: {row["id"]: dict(row) for row in self._atlas.tables[model]}
            for model in ("SectionDataSet", "SectionImage", "Alignment2d", "Alignment3d")
        }
        change(tables)
        self.tables = {**self._atlas.tables, **{model: list(rows.values()) for model, rows in tables.items()}}

    def __getattr__(self, name):
        return getattr(self._atlas, name)


def of_section(tables, image_id):
    (row,) = [row for row in tables["Alignment2d"].values() if row["section_image_id"] == image_id]
    return row


def of_data_set(tables, data_set_id):
    (row,) = [row for row in tables["Alignment3d"].values() if row["aligned_id"] == data_set_id]
    return row


def move(tables, image_id, x_um):
    """Move a section along x of the volume: there by `tsv`, and back by `tvs`."""
    row = of_section(tables, image_id)
    row["tsv_04"] += x_um
    row["tvs_04"] -= row["tvs_00"] * x_um
    row["tvs_05"] -= row["tvs_02"] * x_um


def lift(tables, data_set_id, p_um):
    """Move a data set along p of the reference space."""
    row = of_data_set(tables, data_set_id)
    row["tvr_09"] += p_um
    for k in range(3):
        row[f"trv_{9 + k:02}"] -= row[f"trv_{3 * k:02}"] * p_um


@pytest.fixture(scope="module")
def nightly(tmp_path_factory):
    """Return what mirrors from an atlas that was changed, and the ids of the images that it asked for."""
    drawn = tmp_path_factory.mktemp("drawn")

    def run(location, change=lambda tables: None, *, refresh=True, selection=None, **choices):
        async def go():
            async with open_replica(Changed(change), cache_folder=drawn) as replica:
                given = {
                    "um": 200,
                    "layers": LAYERS,
                    "requests_per_s": 1000.0,
                    "base_url": replica.base_url,
                } | choices
                report = await asyncfetch.mirror(
                    selection or [f"dataset:{SMALL}"], location, refresh=refresh, **given
                )
                # redirected once each
                return report, sorted({each.image_id for each in replica.image_requests})

        return anyio.run(go)

    return run


def without(*image_ids):
    return lambda tables: [tables["SectionImage"].pop(each) for each in image_ids]


def both(*changes):
    return lambda tables: [change(tables) for change in changes]


def is_equal(location, other, stored_objects):
    """Tell whether two stores hold the same, but for times and for the port that was asked."""
    one, two = (
        {key: PORT.sub(b"", data) for key, data in stored_objects(each).items()} for each in (location, other)
    )
    return one == two


def test_five_nights_each_fetch_what_changed_and_say_so(nightly, tmp_path, stored_objects):
    out = tmp_path / "out.zarr"
    sets = [f"dataset:{SMALL}", f"dataset:{NISSL}"]
    first = without(*IMAGES[8:])
    report, asked = nightly(out, first, selection=sets[:1])
    assert report.refresh == Refresh(new_data_sets=[SMALL])
    assert asked == IMAGES[:8]

    # nothing happened
    report, asked = nightly(out, first, selection=sets[:1])
    assert (report.refresh, asked, report.n_committed) == (Refresh(), [], 0)
    assert report.refresh.sentences() == ["nothing is new"]

    # two sections and a data set came
    report, asked = nightly(out, selection=sets)
    assert report.refresh == Refresh(new_data_sets=[NISSL], new_sections=IMAGES[8:])
    assert set(asked) == {*IMAGES[8:], *(set(asked) - set(IMAGES))}
    assert exit_code_of_report(report) == ExitCode.DONE

    # one section was aligned again, one was cut anew from its slide, and one has failed
    def third(tables):
        move(tables, IMAGES[2], 300.0)
        tables["SectionImage"][IMAGES[4]]["x"] += 8
        tables["SectionImage"][IMAGES[5]]["failed"] = True

    report, asked = nightly(out, third, selection=sets)
    assert report.refresh == Refresh(moved=[IMAGES[2]], other_images=[IMAGES[4]], other_facts=[IMAGES[5]])
    assert asked == [IMAGES[2], IMAGES[4]]
    assert exit_code_of_report(report) == ExitCode.DONE
    assert report.failures == []

    # the whole set was aligned again, and a section is gone
    fourth = both(third, lambda tables: lift(tables, SMALL, 50.0), without(IMAGES[0]))
    report, asked = nightly(out, fourth, selection=sets)
    assert report.refresh == Refresh(moved=IMAGES[1:], removed=[IMAGES[0]])
    assert asked == IMAGES[1:]

    nightly(tmp_path / "at-once.zarr", fourth, refresh=False, selection=sets)
    now, at_once = stored_objects(out), stored_objects(tmp_path / "at-once.zarr")
    gone = f"sections/{IMAGES[0]}/"
    of_pixels = {key for key in at_once if "/image/c." in key and "/registered/" not in key}
    assert of_pixels
    assert {key: now[key] for key in of_pixels} == {key: at_once[key] for key in of_pixels}
    assert any(gone in key for key in now)


def test_what_moved_lies_where_a_store_that_is_made_at_once_has_it(nightly, tmp_path, stored_objects):
    moved = both(lambda tables: move(tables, IMAGES[3], 250.0), lambda tables: lift(tables, SMALL, 75.0))
    nightly(tmp_path / "now.zarr")
    report, _ = nightly(tmp_path / "now.zarr", moved)
    assert report.refresh.moved == IMAGES
    nightly(tmp_path / "at-once.zarr", moved)
    assert is_equal(tmp_path / "now.zarr", tmp_path / "at-once.zarr", stored_objects)


def test_one_section_that_moved_is_made_again_and_no_other_object_is_touched(
    nightly, tmp_path, stored_objects
):
    out = tmp_path / "now.zarr"
    nightly(out)
    before = stored_objects(out)
    nightly(out, lambda tables: move(tables, IMAGES[3], 250.0))
    after = stored_objects(out)
    changed = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    z = asyncfetch.open(out).data_set(SMALL).read_registered_layout().z_by_image[IMAGES[3]]
    view = f"data_sets/{SMALL}/image"
    assert changed == {
        f"{view}/sections/{IMAGES[3]}/zarr.json",
        f"{view}/registered/scale0/image/c.0.{z}.0.0",
        *(key for key in changed if key.startswith(f"data_sets/{SMALL}/table/")),
        f"data_sets/{SMALL}/zarr.json",
    }


def test_without_a_refresh_what_changed_stays_as_it_is_stored_and_is_named(nightly, tmp_path, stored_objects):
    out = tmp_path / "now.zarr"
    nightly(out)
    before = stored_objects(out)
    report, asked = nightly(out, lambda tables: move(tables, IMAGES[3], 250.0), refresh=False)
    assert asked == []
    (note,) = report.notes
    assert note.startswith(f"1 section of data set {SMALL} (image:{IMAGES[3]}) changed at the API")
    assert note.endswith("mirror again with --refresh")
    assert stored_objects(out) == before
    # and a refresh still finds it
    report, asked = nightly(out, lambda tables: move(tables, IMAGES[3], 250.0))
    assert (report.refresh.moved, asked) == ([IMAGES[3]], [IMAGES[3]])


def test_a_refresh_that_fails_leaves_the_section_missing_and_the_next_run_brings_it(
    nightly, tmp_path, stored_objects
):
    out = tmp_path / "now.zarr"
    nightly(out)

    def change(tables):
        move(tables, IMAGES[3], 250.0)
        # no such image comes
        tables["SectionImage"][IMAGES[3]]["width"] += 4000

    report, _ = nightly(out, change)
    assert [failure.item for failure in report.failures] == [f"image:{IMAGES[3]}"]
    assert exit_code_of_report(report) == ExitCode.SOME_FAILED
    report, asked = nightly(out)
    assert (asked, report.failures) == ([IMAGES[3]], [])
    nightly(tmp_path / "at-once.zarr")
    assert is_equal(out, tmp_path / "at-once.zarr", stored_objects)


def test_a_renumbered_section_is_laid_out_again(nightly, tmp_path, stored_objects):
    def renumber(tables):
        rows = tables["SectionImage"]
        rows[IMAGES[2]]["section_number"], rows[IMAGES[3]]["section_number"] = (
            rows[IMAGES[3]]["section_number"],
            rows[IMAGES[2]]["section_number"],
        )

    nightly(tmp_path / "now.zarr")
    report, _ = nightly(tmp_path / "now.zarr", renumber)
    assert (report.failures, sorted(report.refresh.moved)) == ([], IMAGES[2:4])
    nightly(tmp_path / "at-once.zarr", renumber)
    assert is_equal(tmp_path / "now.zarr", tmp_path / "at-once.zarr", stored_objects)


def test_slots_that_would_move_are_laid_out_again(nightly, tmp_path):
    nightly(tmp_path / "now.zarr", without(*IMAGES[1::2]))
    report, _ = nightly(tmp_path / "now.zarr")
    assert (report.failures, sorted(report.refresh.new_sections)) == ([], IMAGES[1::2])
    nightly(tmp_path / "at-once.zarr")
    now, whole = (
        np.asarray(asyncfetch.open(tmp_path / name).data_set(SMALL).open_registered()[...])
        for name in ("now.zarr", "at-once.zarr")
    )
    np.testing.assert_array_equal(now, whole)


def test_a_volume_of_planes_that_moved_is_gone_and_the_command_for_it_is_told(nightly, tmp_path):
    out = tmp_path / "now.zarr"
    nightly(out)
    anyio.run(lambda: asyncfetch.volume(out, SMALL, max_gap_um=1000))
    report, _ = nightly(out)
    assert report.notes == []
    assert asyncfetch.open(out).data_set(SMALL).read_volume_layout() is not None
    report, _ = nightly(out, lambda tables: move(tables, IMAGES[3], 250.0))
    (note,) = report.notes
    assert note.endswith(f"make it again: asyncfetch volume {out} --dataset {SMALL}")
    assert asyncfetch.open(out).data_set(SMALL).read_volume_layout() is None


def test_data_sets_that_failed_since_or_are_gone_are_told_and_stay(nightly, tmp_path, stored_objects):
    out, selection = tmp_path / "now.zarr", ["gene:Gad1"]
    nightly(out, selection=[*selection, f"dataset:{NISSL}"])
    stored = set(asyncfetch.open(out).read_data_set_ids())
    assert stored == {SMALL, NISSL}
    before = stored_objects(out)

    def fail(tables):
        tables["SectionDataSet"][SMALL]["failed"] = True

    report, asked = nightly(out, fail, selection=[*selection, f"dataset:{NISSL}"])
    assert report.refresh == Refresh(failed_data_sets=[SMALL])
    assert asked == []
    assert report.refresh.sentences() == [
        f"1 data set is marked as failed now and stays here: dataset:{SMALL}"
    ]

    def remove(tables):
        del tables["SectionDataSet"][SMALL]

    report, asked = nightly(out, remove, selection=[*selection, f"dataset:{NISSL}"])
    assert report.refresh == Refresh(removed_data_sets=[SMALL])
    after = stored_objects(out)
    changed = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    # what the selection came to is noted, and nothing else is touched
    assert all(key.startswith("catalogue/selections/") for key in changed)
