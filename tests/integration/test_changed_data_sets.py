"""Data sets that are no longer as they were when they were mirrored, or contradict what the store holds of them."""

from __future__ import annotations

import anyio
import numpy as np
import pytest

import asyncfetch
from asyncfetch.cli.exits import ExitCode, exit_code_of_report
from asyncfetch.errors import SettingsError
from asyncfetch.mirroring import rebuild
from asyncfetch.replica import open_replica
from asyncfetch.sample import sample_atlas

NISSL, SMALL = 900000004, 900000005
IMAGES = [SMALL + 1000 * n for n in range(1, 11)]


class Changed:
    """The sample atlas with other rows of section images."""

    def __init__(self, change):
        self._atlas = sample_atlas()
        rows = {row["id"]: dict(row) for row in self._atlas.tables["SectionImage"]}
        change(rows)
        self.tables = {**self._atlas.tables, "SectionImage": list(rows.values())}

    def __getattr__(self, name):
        return getattr(self._atlas, name)


def without(*image_ids):
    return lambda rows: [rows.pop(each) for each in image_ids]


@pytest.fixture(scope="module")
def mirror(tmp_path_factory):
    """Return what mirrors from an atlas that was changed."""
    drawn = tmp_path_factory.mktemp("drawn")

    def run(location, *selection, change=lambda rows: None, **choices):
        async def go():
            async with open_replica(Changed(change), cache_folder=drawn) as replica:
                given = {"um": 200, "requests_per_s": 1000.0, "base_url": replica.base_url} | choices
                return await asyncfetch.mirror(selection or [f"dataset:{SMALL}"], location, **given)

        return anyio.run(go)

    return run


def planes_of(location):
    data_set = asyncfetch.open(location).data_set(SMALL)
    z_by_image = data_set.read_registered_layout().z_by_image
    return {
        commit.image_id: data_set.open_registered()[:, z_by_image[commit.image_id]]
        for commit in data_set.read_commits()
    }


@pytest.mark.parametrize("later", [IMAGES[-1:], IMAGES[:1], IMAGES[4:6], IMAGES[-2:]])
def test_a_data_set_that_grew_without_moving_a_slot_is_brought_up_to_date(mirror, tmp_path, later):
    mirror(tmp_path / "now", change=without(*later))
    report = mirror(tmp_path / "now")
    mirror(tmp_path / "at-once")
    assert (report.n_committed, report.n_skipped, report.failures) == (len(later), 10 - len(later), [])
    grown, whole = planes_of(tmp_path / "now"), planes_of(tmp_path / "at-once")
    assert grown.keys() == whole.keys()
    assert all(np.array_equal(grown[each], whole[each]) for each in whole)


def test_a_section_that_the_api_no_longer_has_stays_in_the_store(mirror, tmp_path):
    mirror(tmp_path)
    before = planes_of(tmp_path)
    report = mirror(tmp_path, change=without(IMAGES[0]))
    assert report.failures == []
    after = planes_of(tmp_path)
    assert all(np.array_equal(before[each], after[each]) for each in before)


def test_a_data_set_whose_slots_would_move_fails_alone_and_a_rebuild_lays_it_out_again(mirror, tmp_path):
    # without every second section the slots are twice as far apart
    mirror(tmp_path / "now", change=without(*IMAGES[1::2]))
    report = mirror(tmp_path / "now", f"dataset:{SMALL}", f"dataset:{NISSL}")
    (failure,) = report.failures
    assert (failure.item, failure.error) == (f"dataset:{SMALL}", "SettingsError")
    assert f"asyncfetch rebuild {tmp_path / 'now'} --dataset {SMALL}" in failure.message
    assert exit_code_of_report(report) == ExitCode.SOME_FAILED
    assert len(asyncfetch.open(tmp_path / "now").data_set(NISSL).read_commits()) == 4

    made = anyio.run(lambda: rebuild(tmp_path / "now", data_set_ids=[SMALL]))
    assert (made.n_committed, made.failures) == (5, [])
    assert mirror(tmp_path / "now").failures == []
    mirror(tmp_path / "at-once")
    grown, whole = planes_of(tmp_path / "now"), planes_of(tmp_path / "at-once")
    assert grown.keys() == whole.keys()
    assert all(np.array_equal(grown[each], whole[each]) for each in whole)


def test_a_renumbered_section_fails_with_its_data_set_and_a_rebuild_follows_the_api(mirror, tmp_path):
    def renumber(rows):
        rows[IMAGES[2]]["section_number"], rows[IMAGES[3]]["section_number"] = (
            rows[IMAGES[3]]["section_number"],
            rows[IMAGES[2]]["section_number"],
        )

    mirror(tmp_path / "now")
    report = mirror(tmp_path / "now", f"dataset:{SMALL}", f"dataset:{NISSL}", change=renumber)
    assert [failure.item for failure in report.failures] == [f"dataset:{SMALL}"]
    anyio.run(lambda: rebuild(tmp_path / "now", data_set_ids=[SMALL]))
    assert mirror(tmp_path / "now", change=renumber).failures == []
    mirror(tmp_path / "at-once", change=renumber)
    moved, whole = planes_of(tmp_path / "now"), planes_of(tmp_path / "at-once")
    assert all(np.array_equal(moved[each], whole[each]) for each in whole)


def test_a_data_set_that_contradicts_the_store_is_one_failure_and_the_others_go_on(mirror, tmp_path):
    mirror(tmp_path)
    report = mirror(tmp_path, f"dataset:{SMALL}", f"dataset:{NISSL}", um=100)
    (failure,) = report.failures
    assert failure.item == f"dataset:{SMALL}"
    assert "um = 200.0, not 100" in failure.message
    assert report.n_committed == 4
    assert exit_code_of_report(report) == ExitCode.SOME_FAILED
    # nothing that could be resumed is left
    assert asyncfetch.open(tmp_path).read_runs() == []


def test_settings_that_contradict_everything_in_the_store_are_the_users_error(mirror, tmp_path):
    mirror(tmp_path, f"dataset:{SMALL}", f"dataset:{NISSL}")
    with pytest.raises(SettingsError, match="um = 200") as caught:
        mirror(tmp_path, f"dataset:{SMALL}", f"dataset:{NISSL}", um=100)
    assert caught.value.setting == "um"
