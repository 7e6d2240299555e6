"""The summary of a data set: one object says what the commits of all its sections say."""

from __future__ import annotations

import json

import pytest

import asyncfetch.store as store
from asyncfetch.layout.commit import SectionSummary

IDS = (101349750, 101349753, 101349756)
VIEW = "data_sets/70813257/image"


@pytest.fixture
def finished(mirror):
    for image_id in IDS:
        mirror.write(image_id)
    mirror.view.finish()
    return mirror


def content_of(mirror):
    path = mirror.writer.store.root / "data_sets/70813257/zarr.json"
    return json.loads(path.read_bytes())["attributes"]["asyncfetch"]


def told(commits):
    names = SectionSummary.__struct_fields__
    return {key: [getattr(commit, name) for name in names] for key, commit in commits.items()}


def test_a_summary_tells_what_the_commits_tell_in_their_order(finished):
    opened = store.open(finished.writer.location)
    sections = opened.sections(70813257, "image")
    assert list(sections) == list(IDS)
    assert told(sections) == told(opened.commits(70813257, "image"))
    assert all(type(section) is SectionSummary for section in sections.values())


def test_sections_without_a_summary_are_read_from_their_commits(mirror):
    mirror.write(IDS[0])
    opened = store.open(mirror.writer.location)
    assert opened.sections(70813257, "image") == opened.commits(70813257, "image")


def test_the_record_stands_beside_the_summary(finished):
    content = content_of(finished)
    assert content["record"] == finished.data_set.record
    assert list(content["summary"]) == ["image"]
    assert len(content["summary"]["image"]["recipes"]) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda view, commit: view.begin_section(commit.image_id),
        lambda view, commit: view.begin_section(commit.image_id, keep=("source",)),
        lambda view, commit: view.commit(commit),
        lambda view, commit: view.disown(commit, {"registered"}),
        lambda view, commit: view.disown(commit, set(commit.layers)),
        lambda view, commit: view.drop_registered(),
    ],
    ids=["begun", "begun but for its JPEG", "committed", "less a plane", "disowned", "less the planes"],
)
def test_whatever_changes_a_commit_takes_the_summary_away_before(finished, kit, change):
    finished.write(IDS[0])
    finished.view.finish()
    again = kit.Mirror(finished.writer, finished.data_set).begin()
    assert content_of(again)["summary"]["image"]
    commit = again.view.commits()[IDS[0]]
    change(again.view, commit)
    assert content_of(again)["summary"] == {"image": None}
    assert content_of(again)["record"] == finished.data_set.record


def test_opening_a_view_and_finding_it_whole_changes_no_byte(finished, kit):
    root = finished.writer.store.root
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    again = kit.Mirror(kit.StoreWriter.open(root), finished.data_set).begin()
    assert list(again.view.sound_sections()) == list(IDS)
    again.view.finish()
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("how", ["missing", "empty", "cut"])
def test_a_commit_that_is_not_as_long_as_the_summary_says_is_missing(finished, kit, how):
    path = finished.writer.store.root / VIEW / f"sections/{IDS[1]}/zarr.json"
    data = path.read_bytes()
    if how == "missing":
        path.unlink()
    else:
        path.write_bytes(data[: len(data) // 2 if how == "cut" else 0])
    again = kit.Mirror(kit.StoreWriter.open(finished.writer.store.root), finished.data_set).begin()
    assert set(again.view.sound_sections()) == {IDS[0], IDS[2]}


def test_a_plane_that_is_lost_is_noticed_though_the_summary_has_it(finished, kit):
    root = finished.writer.store.root
    z = finished.view.slots[IDS[1]]
    (root / VIEW / f"registered/scale0/image/c.0.{z}.0.0").unlink()
    again = kit.Mirror(kit.StoreWriter.open(root), finished.data_set).begin()
    assert again.view.sound_sections()[IDS[1]].layers == ("source", "sections")
    assert content_of(again)["summary"] == {"image": None}


@pytest.mark.parametrize(
    "forged",
    [
        5,
        {"image": 5},
        {"image": {"recipes": [], "entries": [{"section": {}, "recipe": 0, "n_bytes": 1}]}},
        {"image": {"recipes": [{}], "entries": [{"section": {"image_id": -1}, "recipe": 0, "n_bytes": 1}]}},
        {"image": {"recipes": [{}], "entries": [{"section": {}, "recipe": 7, "n_bytes": 1}]}},
    ],
    ids=["a number", "a number for a view", "no recipe", "no section", "another recipe"],
)
def test_a_summary_that_cannot_be_read_is_none(finished, forged):
    path = finished.writer.store.root / "data_sets/70813257/zarr.json"
    document = json.loads(path.read_bytes())
    document["attributes"]["asyncfetch"]["summary"] = forged
    path.write_text(json.dumps(document))
    opened = store.open(finished.writer.store.root)
    assert list(opened.sections(70813257, "image")) == list(IDS)
    assert opened.read_data_set_ids() == (70813257,)


def test_each_view_has_a_summary_of_its_own(finished):
    other = finished.writer.view(70813257, "expression")
    other.finish()
    assert list(content_of(finished)["summary"]) == ["expression", "image"]
    other.begin_section(IDS[0])
    assert content_of(finished)["summary"]["expression"] is None
    assert content_of(finished)["summary"]["image"]
