"""Regions of the reference space name their space, and structures are regions, too."""

from __future__ import annotations

import dataclasses
import json

import anyio
import pytest
import typer.testing
from zarr.storage import MemoryStore

import asyncfetch
from asyncfetch.cli import app, register_commands
from asyncfetch.errors import SelectionError, SettingsError
from asyncfetch.replica import open_replica
from asyncfetch.sample import sample_atlas

register_commands()

# coronal, in space 9; sagittal, in space 10, where r runs to the left
CORONAL, SAGITTAL = 479, 69289763
#: Of AUDv in either space, p, i and r in µm.
CENTRES = {9: (7800, 3400, 10350), 10: (7800, 3400, 1050)}
#: Of SSp.
SSP = {9: (5740, 2060, 8670), 10: (5740, 2060, 2730)}
ATLAS = sample_atlas()


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return tmp_path_factory.mktemp("drawn")


@pytest.fixture
def ask(drawn):
    """Return what mirrors or plans at 200 µm from a replica."""

    def run(data_set_id, store=None, *, plan=False, **choices):
        async def go():
            async with open_replica(ATLAS, cache_folder=drawn) as replica:
                settings = {
                    "base_url": replica.base_url,
                    "requests_per_s": 1000.0,
                    "um": 200.0,
                    "layers": ("registered",),
                } | choices
                if plan:
                    return await asyncfetch.mirroring.estimate(f"dataset:{data_set_id}", **settings)
                return await asyncfetch.mirror(f"dataset:{data_set_id}", store, **settings)

        return anyio.run(go)

    return run


def sections_of(store, data_set_id):
    return {
        commit.image_id: commit.region
        for commit in asyncfetch.open(store).data_set(data_set_id).read_commits()
    }


def test_a_region_is_in_space_9_unless_told_otherwise_and_converted_for_sets_of_space_10(ask):
    in_9, in_10 = MemoryStore(), MemoryStore()
    p, i, r = (5000.0, 7000.0), (1500.0, 3000.0), (7000.0, 9000.0)
    ask(SAGITTAL, in_9, roi_um=(p, i, r))
    ask(SAGITTAL, in_10, roi_um=(p, i, (11350.0 - r[1], 11350.0 - r[0])), roi_space=10)
    found = sections_of(in_9, SAGITTAL)
    assert found
    assert found == sections_of(in_10, SAGITTAL)
    # read in the set's own space it would be the other hemisphere, of which the set has no section
    report = ask(SAGITTAL, MemoryStore(), roi_um=(p, i, r), roi_space=10)
    assert report.n_committed == 0
    assert any("touches no section" in note for note in report.notes)


def test_a_region_in_space_10_is_converted_for_sets_of_space_9(ask):
    r9, rest = (4000.0, 5000.0), ((6400.0, 6700.0), (2000.0, 3000.0))
    in_9, in_10 = MemoryStore(), MemoryStore()
    ask(CORONAL, in_9, roi_um=(*rest, r9))
    ask(CORONAL, in_10, roi_um=(*rest, (6350.0, 7350.0)), roi_space="10")
    assert sections_of(in_9, CORONAL)
    assert sections_of(in_9, CORONAL) == sections_of(in_10, CORONAL)


@pytest.mark.parametrize("name", ["SSp", "ssp", "322", " SSp"])
@pytest.mark.parametrize(("data_set_id", "space"), [(CORONAL, 9), (SAGITTAL, 10)])
def test_a_structure_is_the_box_around_its_centre_in_the_space_of_each_data_set(
    ask, name, data_set_id, space
):
    store = MemoryStore()
    report = ask(data_set_id, store, roi=f"structure:{name}", pad_um=300)
    assert report.failures == []
    found = sections_of(store, data_set_id)
    by_hand = MemoryStore()
    box = tuple((float(each - 300), float(each + 300)) for each in SSP[space])
    ask(data_set_id, by_hand, roi_um=box, roi_space=space)
    assert found == sections_of(by_hand, data_set_id)
    assert found
    data_set = asyncfetch.open(store).data_set(data_set_id)
    for image_id, (left, top, width, height) in found.items():
        x, y = data_set.geometry(image_id).reference_to_image(SSP[space])
        assert left <= x <= left + width
        assert top <= y <= top + height


def test_without_a_pad_a_structure_reaches_half_a_millimetre(ask):
    plain, padded = (
        ask(CORONAL, plan=True, roi="structure:SSp", **choices) for choices in ({}, {"pad_um": "0.5mm"})
    )
    assert plain.views == padded.views
    assert plain.n_to_fetch > 0


@pytest.mark.parametrize(
    ("name", "words"),
    [("SSq", "did you mean SSp"), ("zzz", "by acronym"), ("999", "has no centre")],
)
def test_a_structure_that_does_not_exist_is_named_with_what_is_like_it(ask, tmp_path, name, words):
    with pytest.raises(SelectionError, match=words):
        ask(CORONAL, tmp_path, roi=f"structure:{name}")
    # neither a store nor anything that could be resumed
    assert list(tmp_path.iterdir()) == []


def changed(table, image_or_set_id, **fields):
    rows = [row | fields if row["id"] == image_or_set_id else row for row in ATLAS.tables[table]]
    return dataclasses.replace(ATLAS, tables={**ATLAS.tables, table: rows})


def test_a_data_set_of_another_space_is_a_failure_by_name(tmp_path):
    atlas = changed("SectionDataSet", 900000005, reference_space_id=6)

    async def go():
        async with open_replica(atlas) as replica:
            choices = {"base_url": replica.base_url, "requests_per_s": 1000.0, "layers": ("registered",)}
            everywhere = ((0.0, 1e4), (0.0, 1e4), (0.0, 1e4))
            selection = ["dataset:900000005", "image:900001002"]
            return await asyncfetch.mirror(selection, tmp_path, roi_um=everywhere, **choices)

    report = anyio.run(go)
    (failure,) = report.failures
    assert failure.item == "dataset:900000005"
    assert "lies in reference space 6" in failure.message
    assert "in the spaces 9 and 10" in failure.message
    assert asyncfetch.open(tmp_path).read_data_set_ids() == (900000002,)


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        ({"pad_um": 100}, "around a structure"),
        ({"roi": "structure:CA1", "pad_um": "far"}, "such as 1000um"),
        ({"roi": "structure:CA1", "pad_um": 0}, "greater than 0"),
        ({"roi": "structure:"}, "structure:ACRONYM"),
        ({"roi": "CA1"}, "structure:ACRONYM"),
        ({"roi_space": 12}, "9, or 10"),
        ({"roi": "structure:CA1", "roi_um": ((0, 1),) * 3}, "give one"),
    ],
)
def test_a_structure_or_a_space_that_makes_no_sense_is_refused_in_words(choices, words):
    with pytest.raises(SettingsError, match=words):
        asyncfetch.Settings.from_layers({"layers": "registered"}, choices)


@pytest.mark.parametrize(("text", "um"), [("1000um", 1000), ("1 mm", 1000), ("250", 250), ("0.5µm", 0.5)])
def test_lengths_are_read_with_their_unit(text, um):
    settings = asyncfetch.Settings.from_layers(
        {"roi": "structure:CA1", "pad_um": text, "layers": "registered"}
    )
    assert (settings.roi, settings.pad_um) == ("structure:CA1", um)


def test_a_run_over_a_structure_is_resumed_over_the_same(ask, tmp_path):
    async def cut_short():
        async with open_replica(ATLAS, latency_s=0.3) as replica:
            drain = anyio.Event()
            settings = {"base_url": replica.base_url, "requests_per_s": 1000.0, "um": 200.0}
            choices = {"layers": ("registered",), "roi": "structure:SSp", "pad_um": 300, "jobs": 1}
            return await asyncfetch.mirror(
                f"dataset:{CORONAL}",
                tmp_path,
                on_event=lambda event: drain.set() if "Planned" in type(event).__name__ else None,
                drain=drain,
                **settings,
                **choices,
            )

    assert anyio.run(cut_short).interrupted

    async def resume():
        async with open_replica(ATLAS) as replica:
            settings = asyncfetch.Settings(base_url=replica.base_url, requests_per_s=1000.0)
            return await asyncfetch.mirroring.resume(tmp_path, settings=settings)

    assert not anyio.run(resume).failures
    whole = MemoryStore()
    ask(CORONAL, whole, roi="structure:SSp", pad_um=300)
    assert sections_of(tmp_path, CORONAL) == sections_of(whole, CORONAL)


def test_what_a_selection_does_not_reach_is_told_by_plan_and_by_mirror(ask):
    for plan in (True, False):
        beside = ask(CORONAL, MemoryStore(), plan=plan, roi=(100_000, 0, 20, 20))
        assert any("lies outside all 63 sections" in note for note in beside.notes)
        deep = ask(900000005, MemoryStore(), plan=plan, downsample=7)
        assert any("tier 7 is beyond the last tier of all 10 sections" in note for note in deep.notes)
        failed = ask(900000001, MemoryStore(), plan=plan)
        assert "data set 900000001 is marked as failed by the API" in failed.notes


def test_the_command_line_takes_a_structure_a_pad_and_a_space(start_replica):
    replica = start_replica()
    runner = typer.testing.CliRunner()
    base = ["plan", f"dataset:{SAGITTAL}", "--um", "200", "--layers", "registered", "--json"]
    base += ["--base-url", replica.base_url, "--rate", "1000"]
    structure = runner.invoke(app, [*base, "--roi", "structure:ssp", "--pad", "300um"])
    low, high = (",".join(f"{p}:{q}" for p, q in boxes) for boxes in (_around(SSP[10]), _around(SSP[9])))
    own = runner.invoke(app, [*base, "--roi-um", low, "--roi-space", "10"])
    assert (structure.exit_code, own.exit_code) == (0, 0)
    assert json.loads(structure.stdout)["views"] == json.loads(own.stdout)["views"]
    # 50 µm further by the transform: centres are not mirrored where the spaces are
    other = runner.invoke(app, [*base, "--roi-um", high])
    assert other.exit_code == 0


def _around(centre):
    return [(each - 300, each + 300) for each in centre]


def test_sections_outside_of_the_reference_space_are_told(ask):
    atlas = changed("SectionImage", 900005005, section_number=9000)

    async def go():
        async with open_replica(atlas) as replica:
            return await asyncfetch.mirroring.estimate(
                "dataset:900000005", base_url=replica.base_url, requests_per_s=1000.0
            )

    (note,) = anyio.run(go).notes
    assert note == "1 section (image:900005005) of data set 900000005 outside the box of reference space 9"
