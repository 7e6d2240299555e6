"""What is committed is counted from the group of a data set, or from its commits where that does not say all."""

from __future__ import annotations

import json

import pytest

import asyncfetch.store as store

IDS = (101349750, 101349753, 101349756)
DATA_SET_ID = 70813257
KEY = f"data_sets/{DATA_SET_ID}/zarr.json"


@pytest.fixture
def finished(mirror):
    for image_id in IDS:
        mirror.write(image_id)
    mirror.writer.write_table(mirror.data_set)
    mirror.view.finish()
    return mirror


def counted(mirror):
    return list(store.open(mirror.writer.location).read_progress())


def rewrite(mirror, change):
    path = mirror.writer.store.root / KEY
    document = json.loads(path.read_bytes())
    change(document)
    path.write_text(json.dumps(document))


def test_a_finished_data_set_is_counted_without_its_commits_and_its_table(finished):
    told, size_bytes = counted(finished), sum(each.size_bytes for each in finished.view.commits().values())
    root = finished.writer.store.root / f"data_sets/{DATA_SET_ID}"
    for path in [*root.glob("image/sections/*/zarr.json"), *root.glob("table/**/*.json")]:
        path.unlink()
    assert counted(finished) == told
    (progress,) = told
    assert (progress.n_sections, progress.n_committed) == (4, 3)
    assert progress.size_bytes == size_bytes > 0


def test_both_ways_of_counting_agree(finished):
    told = counted(finished)
    rewrite(finished, lambda document: document["attributes"]["asyncfetch"].pop("n_sections"))
    assert counted(finished) == told
    rewrite(finished, lambda document: document["attributes"]["asyncfetch"].pop("summary"))
    assert counted(finished) == told


def test_a_view_that_is_being_written_is_counted_beside_a_finished_one(finished, kit):
    kit.Mirror(finished.writer, finished.data_set).begin().view.begin_section(IDS[0])
    (progress,) = counted(finished)
    assert progress.n_committed == 2


@pytest.mark.parametrize(
    "change",
    [
        lambda document: document["attributes"]["asyncfetch"]["summary"]["image"].pop("entries"),
        lambda document: document["attributes"]["asyncfetch"].update(n_sections=-1),
        lambda document: document["attributes"]["asyncfetch"]["summary"].update(other={"entries": []}),
    ],
    ids=["no entries", "a negative number", "an unknown view"],
)
def test_a_summary_that_cannot_be_read_is_not_counted(finished, change):
    told = counted(finished)
    rewrite(finished, change)
    assert counted(finished) == told


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b'{"node_type": "array", "zarr_format": 3}'])
def test_a_data_set_whose_record_is_lost_is_left_out(finished, content):
    (finished.writer.store.root / KEY).write_bytes(content)
    opened = store.open(finished.writer.location)
    assert list(opened.read_progress()) == []
    assert KEY in opened.damaged


def test_the_number_of_sections_follows_the_table(finished, kit):
    rows = [section.record for section in finished.data_set.section_images]
    finished.writer.write_table(kit.data_set_of([*rows, kit.section_row(7, 70)]))
    (progress,) = counted(finished)
    assert (progress.n_sections, progress.n_committed) == (5, 3)


def test_what_a_data_set_says_stands_in_one_order_whoever_wrote_last(finished):
    path = finished.writer.store.root / KEY
    before = path.read_bytes()
    rewrite(finished, lambda document: document["attributes"]["asyncfetch"].pop("n_sections"))
    finished.writer._note_n_sections(DATA_SET_ID, 4)
    assert path.read_bytes() == before
