"""Whole runs over replies that hold odd records: one item costs itself, by name, and never more."""

from __future__ import annotations

import json
from functools import partial

import anyio
import pytest
from anyio.from_thread import start_blocking_portal
from typer.testing import CliRunner

import asyncfetch
from asyncfetch import mirroring
from asyncfetch.cli import app, register_commands
from asyncfetch.client import Client
from asyncfetch.engine.transport import AiohttpTransport
from asyncfetch.replica import open_replica
from asyncfetch.sample import sample_atlas
from asyncfetch.settings import Settings

SMALL, FIRST, PRODUCT = 900000005, 900001001, 900000000
ODD = FIRST + 4
register_commands()
CHOICES = {"requests_per_s": 1000.0, "um": 200.0, "downsample": 4, "retry_base_s": 0.01, "attempts": 2}


@pytest.fixture(scope="module")
def replica():
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(open_replica()) as opened:
        yield opened


class Altered(AiohttpTransport):
    """A transport over HTTP that changes the envelopes that come back from queries about a model."""

    def __init__(self, change, model="SectionImage"):
        super().__init__(Settings(requests_per_s=1000.0))
        self._change, self._model = change, model

    async def fetch(self, url, *args, **kwargs):
        reply = await super().fetch(url, *args, **kwargs)
        if f"model::{self._model}," not in url:
            return reply
        envelope = json.loads(reply.body)
        self._change(envelope)
        return reply._replace(body=json.dumps(envelope).encode())


def of_row(image_id, change):
    """Change the row of one id; what the change returns takes the row's place."""

    def alter(envelope):
        for k, row in enumerate(envelope["msg"]):
            if row["id"] == image_id:
                envelope["msg"][k] = change(row)

    return alter


def with_fields(**fields):
    return lambda row: row | fields


def mirror(replica, change, selection=f"dataset:{SMALL}", out="memory", model="SectionImage", **choices):
    go = partial(asyncfetch.mirror, selection, out, base_url=replica.base_url, **(CHOICES | choices))
    return anyio.run(partial(go, transport=Altered(change, model)))


FAILING = {
    "no width": with_fields(width=None),
    "a width of 0": with_fields(width=0),
    "a width of 2^62": with_fields(width=2**62),
    "a width of 1e300": with_fields(width=1e300),
    "a width that is a list": with_fields(width=[]),
    "a height that is not a number": with_fields(height=float("nan")),
    "another data set": with_fields(data_set_id=5),
    "a data set that cannot be one": with_fields(data_set_id=2**63),
}


@pytest.mark.parametrize("change", FAILING.values(), ids=FAILING)
@pytest.mark.parametrize("selection", [f"dataset:{SMALL}", f"product:{PRODUCT}"])
def test_a_section_that_cannot_be_asked_for_is_one_failure_by_its_id(replica, tmp_path, change, selection):
    report = mirror(replica, of_row(ODD, change), selection, tmp_path / "out.zarr", layers=("source",))
    assert report.n_committed == 9
    assert [each.item for each in report.failures] == [f"image:{ODD}"]
    assert not report.failures[0].is_transient
    store = asyncfetch.open(tmp_path / "out.zarr")
    assert len(store.data_set(SMALL).read_section_data_set().section_images) == 9


NAMELESS = {
    "null": lambda _row: None,
    "a list": lambda row: list(row.values()),
    "text": lambda _row: "a section",
    "no id": with_fields(id=None),
    "an id of 2^63": with_fields(id=2**63),
    "an id that is a list": with_fields(id=[1]),
}


@pytest.mark.parametrize("change", NAMELESS.values(), ids=NAMELESS)
@pytest.mark.parametrize("selection", [f"dataset:{SMALL}", f"product:{PRODUCT}"])
def test_a_section_without_an_id_is_named_by_where_it_stands(replica, tmp_path, change, selection):
    report = mirror(replica, of_row(ODD, change), selection, tmp_path / "out.zarr", layers=("source",))
    assert report.n_committed == 9
    (failure,) = report.failures
    assert failure.item in {f"dataset:{SMALL}", selection}


UNPLACED = {
    "a section number of 2^40": with_fields(section_number=2**40),
    "a resolution of -1": with_fields(resolution=-1),
    "a resolution of 0": with_fields(resolution=0),
    "a matrix of 1e308": lambda row: row | {"alignment2d": row["alignment2d"] | {"tvs_00": 1e308}},
    "a matrix of text": lambda row: row | {"alignment2d": row["alignment2d"] | {"tsv_03": "x"}},
    "an alignment that is none": with_fields(alignment2d="none"),
}


@pytest.mark.parametrize("change", UNPLACED.values(), ids=UNPLACED)
def test_a_section_that_cannot_be_placed_is_stored_and_named(replica, tmp_path, change):
    report = mirror(replica, of_row(ODD, change), out=tmp_path / "out.zarr")
    assert (report.n_committed, report.failures) == (10, [])
    assert [each.item for each in report.unplaced] == [f"image:{ODD}"]


SOUND = {
    "numbers as text": lambda row: row | {"width": str(row["width"]), "id": str(row["id"])},
    "whole floats": lambda row: row | {"height": float(row["height"]), "data_set_id": float(SMALL)},
    "odd fields that nobody needs": with_fields(expression="red", annotated=7, path=[], image_type={}),
    "a tier count of 2^31": with_fields(tier_count=2**31),
    "an alignment in a list": lambda row: row | {"alignment2d": [row["alignment2d"]]},
    "no data set": with_fields(data_set_id=None),
}


@pytest.mark.parametrize("change", SOUND.values(), ids=SOUND)
def test_a_difference_that_does_not_matter_costs_nothing(replica, tmp_path, change):
    report = mirror(replica, of_row(ODD, change), out=tmp_path / "out.zarr")
    assert (report.failures, report.n_committed, report.unplaced) == ([], 10, [])


def test_a_section_that_comes_twice_with_different_content_is_mirrored_as_first_and_noted(replica, tmp_path):
    def change(envelope):
        rows = envelope["msg"]
        place = next((k for k, row in enumerate(rows) if row["id"] == ODD), None)
        if place is not None:
            rows.insert(place + 1, rows[place] | {"section_number": 99})

    report = mirror(replica, change, out=tmp_path / "out.zarr")
    assert (report.n_committed, report.failures, report.unplaced) == (10, [], [])
    commit = asyncfetch.open(tmp_path / "out.zarr").data_set(SMALL).section(ODD).commit
    assert commit.section_number != 99
    (note,) = [note for note in report.notes if note.startswith("contradicting rows")]
    assert f"1 id has several rows with different content, the first of them {ODD};" in note


def test_an_estimate_notes_rows_that_contradict_each_other_or_were_announced_and_did_not_come(replica):
    def change(envelope):
        rows = envelope["msg"]
        if rows:
            rows.insert(1, rows[0] | {"section_number": 99})
        envelope["total_rows"] = 20

    go = partial(asyncfetch.estimate, f"dataset:{SMALL}", base_url=replica.base_url, **CHOICES)
    found = anyio.run(partial(go, transport=Altered(change)))
    assert (found.n_to_fetch, found.failures) == (10, [])
    assert any(note.startswith("rows of SectionImage: the API announced 20") for note in found.notes)
    assert any(note.startswith("contradicting rows of SectionImage") for note in found.notes)


@pytest.mark.parametrize("cap", [1, 4, 50])
@pytest.mark.parametrize("total", ["page", None, 0, -1, "10", [], 11])
def test_a_mirror_is_whole_however_pages_are_capped_and_whatever_is_announced(replica, tmp_path, cap, total):
    def change(envelope):
        envelope["msg"] = envelope["msg"][:cap]
        envelope["total_rows"] = len(envelope["msg"]) if total == "page" else total

    report = mirror(replica, change, out=tmp_path / "out.zarr", layers=("source",))
    assert (report.n_committed, report.failures) == (10, [])
    assert any(note.startswith("rows of SectionImage") for note in report.notes) is (
        total == 11 or (total == "page" and cap < 10)
    )


@pytest.mark.parametrize("selection", [f"dataset:{SMALL}", f"product:{PRODUCT}"])
def test_a_server_that_gives_the_same_page_for_ever_fails_by_name(replica, tmp_path, selection):
    def change(envelope):
        envelope["msg"] = first.setdefault("msg", envelope["msg"][:4])

    first = {}
    report = mirror(replica, change, selection, tmp_path / "out.zarr", layers=("source",))
    assert report.n_committed == 0
    assert "whatever page is asked for" in report.failures[0].message


def test_one_odd_data_set_of_a_product_is_one_failure(replica, tmp_path):
    def find(change):
        go = partial(mirroring.estimate, "product:1", base_url=replica.base_url, **CHOICES)
        return anyio.run(partial(go, transport=Altered(change, "SectionDataSet")))

    sound = find(lambda _envelope: None)
    ids = sorted(view.data_set_id for view in sound.views)

    def change(envelope):
        for row in envelope["msg"]:
            if row["id"] == ids[0] and "alignment3d" in row:
                row["id"] = 2**63
            if row["id"] == ids[1]:
                row |= {"reference_space_id": "nine", "section_thickness": [], "genes": 7, "failed": "no"}

    odd = find(change)
    assert [each.item for each in odd.failures] == [f"dataset:{ids[0]}"]
    assert sorted(view.data_set_id for view in odd.views) == ids[1:]


def test_a_row_of_a_product_that_is_not_a_record_is_one_failure(replica):
    def change(envelope):
        if not any("alignment3d" in row for row in envelope["msg"]):
            envelope["msg"][:2] = [None, {"id": []}]

    go = partial(mirroring.estimate, "product:1", base_url=replica.base_url, **CHOICES)
    found = anyio.run(partial(go, transport=Altered(change, "SectionDataSet")))
    assert [each.item for each in found.failures] == ["product:1", "product:1"]
    assert found.n_data_sets > 3


def test_single_images_whose_records_are_odd_fail_alone(replica, tmp_path):
    wanted = [f"image:{FIRST + k}" for k in range(6)]
    report = mirror(
        replica, of_row(ODD, with_fields(width=None)), wanted, tmp_path / "out.zarr", layers=("source",)
    )
    assert report.n_committed == 5
    assert [each.item for each in report.failures] == [f"image:{ODD}"]
    # what is odd elsewhere in the data set is of no concern
    report = mirror(
        replica, of_row(ODD, with_fields(width=None)), wanted[:2], tmp_path / "two.zarr", layers=("source",)
    )
    assert (report.n_committed, report.failures) == (2, [])


def test_an_image_that_its_data_set_does_not_list_is_named(replica, tmp_path):
    def change(envelope):
        if len(envelope["msg"]) > 3:
            envelope["msg"] = [row for row in envelope["msg"] if row["id"] != ODD]

    report = mirror(
        replica, change, [f"image:{ODD}", f"image:{FIRST}"], tmp_path / "out.zarr", layers=("source",)
    )
    assert report.n_committed == 1
    assert [each.item for each in report.failures] == [f"image:{ODD}"]


def test_a_plate_that_is_odd_costs_its_atlas_nothing_else(replica, tmp_path):
    def change(envelope):
        if len(envelope["msg"]) > 3:
            envelope["msg"][3]["width"] = "wide"

    report = mirror(replica, change, "atlas:1", tmp_path / "out.zarr", "AtlasImage", layers=("source",))
    assert report.n_committed == 8
    assert [each.item for each in report.failures] == ["atlas:1"]


def test_sections_stream_although_one_record_is_odd(replica):
    async def go():
        settings = Settings(**CHOICES, base_url=replica.base_url)
        transport = Altered(of_row(ODD, with_fields(width=None)))
        async with (
            Client(settings=settings, transport=transport) as client,
            client.open_sections(SMALL, um=200, view_expression=False) as sections,
        ):
            unreadable = [each.id for each in sections.data_set.unreadable_sections]
            return unreadable, [each.error async for each in sections]

    assert anyio.run(go) == ([ODD], [None] * 9)


def test_a_search_lists_the_sound_sections_and_names_the_odd_one():
    atlas = sample_atlas()
    row = next(each for each in atlas.tables["SectionImage"] if each["id"] == ODD)
    row["height"] = 0
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(open_replica(atlas)) as opened:
        arguments = ["search", f"dataset:{SMALL}", "--json", "--base-url", opened.base_url]
        found = CliRunner().invoke(app, arguments)
    assert found.exit_code == 3
    assert len(json.loads(found.stdout)) == 9
    assert f"left out: SectionImage {ODD}: height is 0" in found.stderr


def test_centres_are_stored_by_their_ids_and_those_without_one_are_told(replica, tmp_path):
    def change(envelope):
        first = envelope["start_row"]
        for place, row in enumerate(envelope["msg"], first):
            row["id"] = None if place else str(row["id"])

    out = tmp_path / "out.zarr"
    report = mirror(replica, change, out=out, model="StructureCenter", layers=("source",))
    assert (report.n_committed, report.failures) == (10, [])
    assert [note for note in report.notes if note.startswith("structure centres: the API sent 1 without")]
    (centre,) = asyncfetch.open(out).read_structure_centers()
    assert isinstance(centre["id"], int)


def test_sections_whose_ids_come_as_123_point_0_are_stored(replica, tmp_path):
    def change(envelope):
        envelope["msg"] = [row | {"id": float(row["id"])} for row in envelope["msg"]]

    out = tmp_path / "out.zarr"
    report = mirror(replica, change, out=out, layers=("source",))
    assert (report.n_committed, report.failures) == (10, [])
    assert len(asyncfetch.open(out).data_set(SMALL).read_commits()) == 10


def test_a_data_set_without_sections_is_a_failure_by_name(replica, tmp_path):
    def change(envelope):
        envelope |= {"msg": [], "num_rows": 0, "total_rows": 0}

    report = mirror(replica, change, out=tmp_path / "out.zarr", layers=("source",))
    (failure,) = report.failures
    assert (failure.item, failure.error) == (f"dataset:{SMALL}", "NotFoundError")
    assert "lists no section images of data set" in failure.message
