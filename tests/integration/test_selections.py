"""Selections by gene, product and atlas: what they name, once, and what a store then answers by itself."""

from __future__ import annotations

import json
import re
import shutil
from functools import partial
from types import SimpleNamespace

import anyio
import pytest
from anyio.from_thread import start_blocking_portal
from typer.testing import CliRunner

import asyncfetch
from asyncfetch import mirroring
from asyncfetch.cli import app
from asyncfetch.cli.app import register_commands
from asyncfetch.engine.transport import AiohttpTransport
from asyncfetch.errors import QueryError
from asyncfetch.events import DataSetPlanned
from asyncfetch.replica import MirroredAtlas, open_replica
from asyncfetch.sample import sample_atlas
from asyncfetch.settings import Settings

FAILED, SMALL, CONNECTIVITY = 900000001, 900000005, 900000006
SMALL_IMAGE, PRODUCT, PLATES = 900001005, 900000000, 100048576
N_SMALL, N_PLATES, N_ANNOTATED = 10, 9, 5
CHOICES = {"requests_per_s": 1000.0, "um": 200.0, "layers": ("source",), "downsample": 4}

register_commands()


@pytest.fixture(scope="module")
def atlas():
    return sample_atlas()


@pytest.fixture(scope="module")
def replica(atlas):
    # on a thread, because commands run an event loop of their own
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(open_replica(atlas)) as opened:
        yield opened


def mirror(replica, selection, out, **choices):
    """Mirror, and return the report and the requests that were neither of images nor for them."""
    n_before = len(replica.requests)
    report = anyio.run(
        partial(asyncfetch.mirror, selection, out, base_url=replica.base_url, **(CHOICES | choices))
    )
    queries = [request.path for request in replica.requests[n_before:] if request.kind == "query"]
    return SimpleNamespace(
        report=report, queries=queries, store=asyncfetch.open(out) if out.exists() else None
    )


def run(*arguments: object, code: int = 0):
    result = CliRunner().invoke(app, [str(each) for each in arguments])
    assert result.exit_code == code, result.output
    return result


@pytest.fixture(scope="module")
def whole(replica, tmp_path_factory):
    """Return a store of a data set, one with a window, and the plates of atlas 1."""
    out = tmp_path_factory.mktemp("selections") / "out.zarr"
    done = mirror(replica, [f"dataset:{SMALL}", f"dataset:{CONNECTIVITY}", "atlas:1"], out)
    assert done.report.failures == []
    assert all("beyond the last tier" in note for note in done.report.notes)
    return out


def test_a_product_named_by_its_id_and_a_gene_overlap_once(replica, tmp_path):
    selection = [f"product:{PRODUCT}", f"dataset:{SMALL}", f"image:{SMALL_IMAGE}", f"product:{PRODUCT}"]
    done = mirror(replica, selection, tmp_path / "out.zarr")
    assert (done.report.n_data_sets, done.report.n_committed, done.report.failures) == (1, N_SMALL, [])
    assert done.store.read_data_set_ids() == (SMALL,)


def test_a_record_is_the_same_however_its_data_set_was_selected(replica, tmp_path):
    by_id = mirror(replica, f"dataset:{SMALL}", tmp_path / "id.zarr").store
    by_product = mirror(replica, f"product:{PRODUCT}", tmp_path / "product.zarr").store
    assert by_id.data_set(SMALL).record == by_product.data_set(SMALL).record


def test_a_product_leaves_out_failed_sets_and_an_id_does_not(replica, atlas, tmp_path):
    found = anyio.run(
        partial(mirroring.estimate, "product:Mouse", base_url=replica.base_url, requests_per_s=1000.0)
    )
    of_product = {data_set for data_set, product in atlas.links["data_sets_products"] if product == 1}
    sections = {row["id"]: row for row in atlas.tables["SectionDataSet"]}
    sound = {each for each in of_product & set(sections) if not sections[each]["failed"]}
    assert FAILED in of_product
    assert {view.data_set_id for view in found.views} == sound
    named = anyio.run(
        partial(
            mirroring.estimate,
            ["product:1", f"dataset:{FAILED}"],
            base_url=replica.base_url,
            requests_per_s=1000.0,
        )
    )
    assert {view.data_set_id for view in named.views} == sound | {FAILED}


@pytest.mark.parametrize("selection", ["gene:Gad1", "gene:900000100"])
def test_the_data_sets_of_a_gene_are_found(replica, atlas, selection):
    found = anyio.run(
        partial(mirroring.estimate, selection, base_url=replica.base_url, requests_per_s=1000.0)
    )
    gene = next(row["id"] for row in atlas.tables["Gene"] if row["acronym"] == "Gad1")
    wanted = gene if selection == "gene:Gad1" else 900000100
    failed = {row["id"] for row in atlas.tables["SectionDataSet"] if row["failed"]}
    expected = {each for each, of in atlas.links["data_sets_genes"] if of == wanted} - failed
    assert {view.data_set_id for view in found.views} == expected
    assert expected


def test_many_sets_are_asked_for_together(replica):
    found = anyio.run(
        partial(mirroring.estimate, "product:1", base_url=replica.base_url, requests_per_s=1000.0)
    )
    assert found.n_data_sets > 3
    # ids, records and images; totals that count joined rows can make each ask for one page more
    assert found.n_metadata_requests <= 6


def test_nothing_matched_is_said_and_only_nearest_names_are_asked_for(replica, tmp_path):
    done = mirror(replica, ["gene:Nothing", "product:Mause", "atlas:77"], tmp_path / "out.zarr")
    assert [each.error for each in done.report.failures] == ["NotFoundError"] * 3
    assert "no data set of gene Nothing" in done.report.failures[0].message
    # the gene is looked for among aliases, too
    assert len(done.queries) == 7
    told = run(
        "mirror", "gene:Nothing", "--out", tmp_path / "other.zarr", "--base-url", replica.base_url, code=4
    )
    assert "there is no data set of gene Nothing" in told.output


def test_one_set_that_cannot_be_read_leaves_the_others(tmp_path):
    atlas = sample_atlas()
    ids = {each for each, product in atlas.links["data_sets_products"] if product == 1}
    broken = next(row for row in atlas.tables["SectionDataSet"] if row["id"] in ids and not row["failed"])
    broken["section_images"] = "many"

    async def go():
        async with open_replica(atlas) as replica:
            return await mirroring.estimate("product:1", base_url=replica.base_url, requests_per_s=1000.0)

    found = anyio.run(go)
    assert [each.item for each in found.failures] == [f"dataset:{broken['id']}"]
    assert found.n_data_sets > 1


def test_a_contradiction_with_the_store_costs_that_data_set_alone(replica, tmp_path):
    planes = {"layers": ("registered",), "downsample": 4}
    mirror(replica, f"image:{SMALL_IMAGE}", tmp_path / "out.zarr", **planes)
    selection = [f"dataset:{SMALL}", f"dataset:{CONNECTIVITY}"]
    done = mirror(replica, selection, tmp_path / "out.zarr", **planes, um=100.0)
    assert [(each.item, each.error) for each in done.report.failures] == [
        (f"dataset:{SMALL}", "SettingsError")
    ]
    assert "um = 200" in done.report.failures[0].message
    assert done.report.n_committed == len(done.store.data_set(CONNECTIVITY).read_commits()) == 3


def test_a_product_that_was_interrupted_is_gone_on_with_to_its_catalogue(replica, tmp_path):
    async def interrupted():
        drain = anyio.Event()

        def listen(event):
            if isinstance(event, DataSetPlanned):
                drain.set()

        selection = [f"product:{PRODUCT}", "atlas:1"]
        address = {"base_url": replica.base_url}
        out = tmp_path / "out.zarr"
        first = await asyncfetch.mirror(selection, out, **CHOICES, **address, on_event=listen, drain=drain)
        second = await mirroring.resume(out, settings=Settings(requests_per_s=1000.0), **address)
        return first, second

    first, second = anyio.run(interrupted)
    assert (first.interrupted, second.interrupted) == (True, False)
    assert first.n_committed + second.n_committed == N_SMALL + N_PLATES
    store = asyncfetch.open(tmp_path / "out.zarr")
    assert list(store.read_atlases()) == [1]
    assert store.read_structure_centers()
    assert store.read_runs() == []


def test_an_estimate_on_a_damaged_store_counts_what_is_sound_and_names_the_rest(replica, whole, tmp_path):
    damaged = shutil.copytree(whole, tmp_path / "damaged.zarr")
    (damaged / f"data_sets/{SMALL}/zarr.json").write_text("{}")
    section = f"data_sets/{SMALL}/image/sections/{SMALL_IMAGE}/zarr.json"
    (damaged / section).write_text("")
    options = ("--out", damaged, "--base-url", replica.base_url, "--downsample", 4, "--layers", "source")
    told = run("plan", f"dataset:{SMALL}", *options)
    assert re.search(rf"1 images? to fetch, {N_SMALL - 1} already stored", told.output)
    assert section in told.output


def test_the_plates_of_an_atlas_are_mirrored_and_looked_up(replica, whole):
    store = asyncfetch.open(whole)
    assert store.read_data_set_ids() == (PLATES, SMALL, CONNECTIVITY)
    assert len(store.data_set(PLATES).read_commits()) == N_PLATES
    assert store.data_set(PLATES).read_table()["annotated"].sum() == N_ANNOTATED
    assert store.read_atlases()[1].data_set_ids == (PLATES,)
    assert store.read_atlases()[1].record["name"] == "Mouse, P56, Coronal"
    found = store.read_atlas().image_to_atlas(SMALL_IMAGE, (850.0, 600.0), 1)
    assert found.section_data_set_id.tolist() == PLATES


def test_structure_centres_and_transforms_are_stored_once(replica, whole, atlas, tmp_path):
    whole = shutil.copytree(whole, tmp_path / "out.zarr")
    store = asyncfetch.open(whole)
    assert store.read_structure_centers() == [
        row for row in atlas.tables["StructureCenter"] if row["reference_space_id"] == 9
    ]
    assert store.read_space_transforms() == atlas.tables["ReferenceToReferenceTransform"]
    again = mirror(replica, [f"dataset:{SMALL}", "atlas:1"], whole)
    assert (again.report.n_committed, again.report.n_skipped) == (0, N_SMALL + N_PLATES)
    # a listing ends at a page without new rows: one more for the sections and for the plates
    assert len(again.queries) == 6
    assert not any("StructureCenter" in path or "Transform" in path for path in again.queries)
    # another reference space is one more question, and a page behind its rows
    other = mirror(replica, "dataset:69289763", whole, layers=("source",), downsample=6)
    assert any("StructureCenter" in path for path in other.queries)
    assert not any("Transform" in path for path in other.queries)


def test_without_centres_the_images_are_mirrored_and_a_note_says_so(atlas, tmp_path):
    async def go():
        async with open_replica(atlas) as replica:
            transport = _Refusing(Settings())
            return await asyncfetch.mirror(
                f"dataset:{SMALL}",
                tmp_path / "out.zarr",
                base_url=replica.base_url,
                transport=transport,
                attempts=1,
                **CHOICES,
            )

    report = anyio.run(go)
    assert (report.n_committed, report.failures) == (N_SMALL, [])
    assert [note.partition(" are unavailable")[0] for note in report.notes if "tier" not in note] == [
        "structure centres",
        "transforms between reference spaces",
    ]
    assert asyncfetch.open(tmp_path / "out.zarr").read_runs() == []


def test_the_commands_compute_from_the_store_alone(whole):
    centre = run(
        "sync",
        "structure-to-image",
        "--data-set",
        SMALL,
        "--structures",
        "1018,322",
        "--store",
        whole,
        "--json",
    )
    assert [row["structure_id"] for row in json.loads(centre.stdout)] == [1018, 322]
    plate = run(
        "sync",
        "image-to-atlas",
        "--image",
        SMALL_IMAGE,
        "--x",
        1,
        "--y",
        2,
        "--atlas",
        1,
        "--store",
        whole,
        "--json",
    )
    assert json.loads(plate.stdout)[0]["section_data_set_id"] == PLATES


def test_an_audit_asks_for_no_records_that_the_store_holds(replica, whole):
    n_before = len(replica.requests)
    told = run(
        "audit", "--store", whole, "--base-url", replica.base_url, "--rate", 1000, "--points", 3, "--json"
    )
    services = json.loads(told.stdout)["services"]
    assert [each["skipped"] for each in services] == [None] * 6
    assert {request.kind for request in replica.requests[n_before:]} == {"sync"}


def test_a_served_store_has_what_its_origin_has(atlas, whole):
    served = MirroredAtlas(asyncfetch.open(whole))
    for model in (
        "StructureCenter",
        "ReferenceToReferenceTransform",
        "Atlas",
        "Equalization",
        "AlternateImage",
    ):
        ids = {row["id"] for row in served.tables[model]}
        assert served.tables[model] == [row for row in atlas.tables[model] if row["id"] in ids], model
        assert ids
    assert served.links["atlas_data_sets_atlases"] == [(PLATES, 1)]


def test_a_plan_tells_what_a_mirror_would_fetch(replica, whole, tmp_path):
    options = ("--base-url", replica.base_url, "--rate", 10, "--downsample", 4, "--layers", "source")
    fresh = json.loads(run("plan", f"dataset:{SMALL}", *options, "--json").stdout)
    assert (fresh["n_to_fetch"], fresh["n_committed"]) == (N_SMALL, 0)
    # an image is answered by a redirect first, so that it counts twice
    assert fresh["n_requests"] == 2 * N_SMALL + fresh["n_metadata_requests"]
    assert fresh["minutes"] == pytest.approx(fresh["n_requests"] / 10 / 60)
    assert 0 < fresh["estimated_bytes"] < fresh["pixels"]
    held = run("plan", f"dataset:{SMALL}", *options, "--out", whole)
    assert f"0 images to fetch, {N_SMALL} already stored" in held.stdout
    assert not list(tmp_path.iterdir())
    run("plan", "dataset:5", *options, code=4)


def test_a_search_lists_data_sets_and_sections(replica):
    options = ("--base-url", replica.base_url, "--rate", 1000)
    table = run("search", "--product", PRODUCT, *options).stdout.splitlines()
    assert [line.split("\t")[0] for line in table] == ["id", str(SMALL)]
    by_plane = json.loads(
        run("search", "--plane", "sagittal", "--product", "Mouse", "--json", *options).stdout
    )
    assert {row["plane"] for row in by_plane} == {"sagittal"}
    failed = json.loads(run("search", "--failed", "--json", *options).stdout)
    assert [row["id"] for row in failed] == [FAILED]
    sections = json.loads(run("search", f"dataset:{SMALL}", "--json", *options).stdout)
    assert len(sections) == N_SMALL
    assert [row["section_number"] for row in sections] == sorted(row["section_number"] for row in sections)
    assert "meets the conditions" in run("search", "gene:Nothing", *options, code=4).output
    run("search", *options, code=2)
    run("search", "dataset:479", "--gene", "Pvalb", *options, code=2)


class _Refusing(AiohttpTransport):
    """A transport over HTTP that refuses requests of the catalogue."""

    async def fetch(self, url, *args, **kwargs):
        if "StructureCenter" in url or "Transform" in url:
            raise QueryError("not today", url=url)
        return await super().fetch(url, *args, **kwargs)


def test_single_images_are_looked_up_together(replica, tmp_path):
    wanted = [f"image:{SMALL_IMAGE + k}" for k in range(3)]
    done = mirror(replica, [*wanted, "image:1"], tmp_path / "out.zarr")
    assert done.report.n_committed == 3
    assert [(each.item, each.error) for each in done.report.failures] == [("image:1", "NotFoundError")]
    (_, *more) = (each for each in done.queries if "model::SectionImage" in each and "id$in" in each)
    # one of them does not exist, so that more rows may be on another page
    assert len(more) == 1


def test_an_image_that_the_api_cannot_answer_does_not_take_others_with_it(replica, tmp_path, monkeypatch):
    rows = asyncfetch.Client.rows

    async def refuse_one(self, query, *args, **kwargs):
        found = await rows(self, query, *args, **kwargs)
        if any(row.get("id") == SMALL_IMAGE for row in found):
            raise QueryError("not this one", service_message="no", url="")
        return found

    monkeypatch.setattr(asyncfetch.Client, "rows", refuse_one)
    done = mirror(replica, [f"image:{SMALL_IMAGE + k}" for k in range(3)], tmp_path / "out.zarr")
    assert done.report.n_committed == 2
    assert [(each.item, each.error) for each in done.report.failures] == [
        (f"image:{SMALL_IMAGE}", "QueryError")
    ]
