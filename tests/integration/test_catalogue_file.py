"""The catalogue against the replica: complete, resumable, up to date at little cost, and a chooser like the API."""

from __future__ import annotations

import json
from functools import partial

import anyio
import pytest
from anyio.from_thread import start_blocking_portal
from typer.testing import CliRunner

from asyncfetch import mirroring
from asyncfetch.catalogue import CatalogueFile, catalogue_path, update_catalogue
from asyncfetch.cli import app, options
from asyncfetch.cli.app import register_commands
from asyncfetch.client import Client
from asyncfetch.engine.transport import AiohttpTransport
from asyncfetch.errors import QueryError, ReplyError, StoreAccessError, StoreLayoutError
from asyncfetch.mirroring import Filters
from asyncfetch.replica import open_replica
from asyncfetch.sample import sample_atlas
from asyncfetch.settings import Settings

FAST = {"requests_per_s": 1000.0}
FILTERS = [
    {},
    {"plane": "coronal", "sense": "antisense"},
    {"age": ["p14", "24 years"]},
    {"treatment": "nissl"},
    {"strain": "C57BL/6J", "sex": "f"},
    {"delegate": False},
    {"failed": "only"},
    {"failed": "with", "plane": "coronal"},
]
SELECTIONS = [
    "product:Mouse",
    "product:5",
    "gene:Pvalb,Gad1,prox1",
    "gene:GAD67",
    "specimen:900000504",
    "specimen:made 900000504",
    "structure:SSp",
    "structure:315",
]

register_commands()


@pytest.fixture(scope="module")
def atlas():
    return sample_atlas()


@pytest.fixture(scope="module")
def replica(atlas):
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(open_replica(atlas)) as opened:
        yield opened


@pytest.fixture(scope="module")
def catalogue(replica, tmp_path_factory):
    path = tmp_path_factory.mktemp("catalogue") / "all.sqlite"
    update(replica, path)
    with CatalogueFile(path) as file:
        yield file


def update(replica, path, transport=None, **options):
    async def go():
        settings = Settings(base_url=replica.base_url, **FAST)
        async with Client(settings=settings, transport=transport) as client:
            with CatalogueFile(path, create=True) as file:
                return await update_catalogue(client, file, base_url=replica.base_url, **options)

    return {change.model: change for change in anyio.run(go)}


def run(*arguments, code=0):
    result = CliRunner().invoke(app, [str(each) for each in arguments])
    assert result.exit_code == code, result.output
    return result


def dump(file):
    tables = [name for (name,) in file.rows("SELECT name FROM sqlite_master WHERE type = 'table'")]
    plain = [name for name in tables if not name.startswith("name") and name != "facts"]
    return {
        name: sorted(
            map(
                repr,
                (row[:-1] if name != "gene_aliases" else row for row in file.rows(f"SELECT * FROM {name}")),
            )
        )
        for name in plain
    }


def test_it_has_every_row_that_the_api_has(catalogue, atlas):
    for table, model in {
        "products": "Product",
        "genes": "Gene",
        "data_sets": "SectionDataSet",
        "images": "SectionImage",
        "structures": "Structure",
        "structure_centers": "StructureCenter",
        "atlases": "Atlas",
        "reference_spaces": "ReferenceSpace",
    }.items():
        ids = {each for (each,) in catalogue.rows(f"SELECT id FROM {table}")}
        assert ids == {row["id"] for row in atlas.tables[model]}, table
    assert catalogue.rows("SELECT entrez_id FROM genes WHERE acronym = 'Pvalb'") == [(19293,)]
    aliases = {alias for (alias,) in catalogue.rows("SELECT alias FROM gene_aliases")}
    assert aliases == {row["acronym"] for row in atlas.tables["GeneAlias"]}


@pytest.mark.parametrize("filters", FILTERS, ids=str)
@pytest.mark.parametrize("selection", SELECTIONS)
def test_it_chooses_what_the_api_chooses(replica, catalogue, selection, filters):
    options = {"base_url": replica.base_url, "filters": Filters.of(**filters), **FAST}
    asked = anyio.run(partial(mirroring.estimate, selection, **options))
    n_before = len(replica.requests)
    chosen = anyio.run(partial(mirroring.estimate, selection, catalogue=catalogue, **options))
    assert {view.data_set_id for view in chosen.views} == {view.data_set_id for view in asked.views}
    assert [each.item for each in chosen.failures] == [each.item for each in asked.failures]
    # records and their images are asked for by id, and nothing else
    for request in replica.requests[n_before:]:
        assert "data_set_id" in request.path or ",%5Bid$" in request.path, request.path
    assert any("chosen from the catalogue of" in note for note in chosen.notes)


@pytest.mark.parametrize("selection", ["gene:gad67", "dataset:479", "image:900003005", "product:Mouse"])
def test_an_estimate_offline_counts_what_the_api_would_give(replica, catalogue, selection):
    options = {"base_url": replica.base_url, "layers": ("source",), "filters": Filters.of(every=2), **FAST}
    asked = anyio.run(partial(mirroring.estimate, selection, **options))
    n_before = len(replica.requests)
    known = anyio.run(partial(mirroring.estimate, selection, catalogue=catalogue, offline=True, **options))
    assert len(replica.requests) == n_before
    assert known.n_to_fetch > 0 or selection.startswith("image")
    assert [(view.data_set_id, view.n_to_fetch, view.pixels) for view in known.views] == [
        (view.data_set_id, view.n_to_fetch, view.pixels) for view in asked.views
    ]


class _Ending(AiohttpTransport):
    """A transport that refuses everything behind a number of requests."""

    def __init__(self, settings, n_requests):
        super().__init__(settings)
        self.n_left = n_requests

    async def fetch(self, url, *args, **kwargs):
        self.n_left -= 1
        if self.n_left < 0:
            raise QueryError("not today", url=url)
        return await super().fetch(url, *args, **kwargs)


@pytest.mark.parametrize("n_requests", [3, 9, 12, 15])
def test_an_interrupted_update_continues_and_ends_in_the_same_rows(replica, catalogue, tmp_path, n_requests):
    path = tmp_path / "part.sqlite"
    settings = Settings(base_url=replica.base_url, **FAST)
    with pytest.raises(QueryError):
        update(replica, path, _Ending(settings, n_requests))
    with CatalogueFile(path) as file:
        assert file.fact("updated") is None
    n_before = len(replica.requests)
    update(replica, path)
    asked = [request.path for request in replica.requests[n_before:]]
    assert not any("model::Product" in each for each in asked)
    with CatalogueFile(path) as file:
        assert dump(file) == dump(catalogue)


def test_a_later_update_brings_only_what_changed(tmp_path):
    path, atlas = tmp_path / "all.sqlite", sample_atlas()

    def go():
        with (
            start_blocking_portal() as portal,
            portal.wrap_async_context_manager(open_replica(atlas)) as replica,
        ):
            changes = update(replica, path)
            asked = [request.path for request in replica.requests]
        return {name: (each.n_new, each.n_changed, each.n_removed) for name, each in changes.items()}, asked

    first, _ = go()
    assert first["SectionDataSet"] == (len(atlas.tables["SectionDataSet"]), 0, 0)
    second, asked = go()
    assert set(second.values()) == {(0, 0, 0)}
    assert not any("SectionImage" in each for each in asked)
    # one set fails, one is gone, one is new and has an image
    rows = {row["id"]: row for row in atlas.tables["SectionDataSet"]}
    rows[479]["failed"] = True
    atlas.tables["SectionDataSet"].remove(rows[123])
    atlas.tables["SectionDataSet"].append(rows[900000005] | {"id": 900000099})
    image = next(row for row in atlas.tables["SectionImage"] if row["data_set_id"] == 900000005)
    atlas.tables["SectionImage"].append(image | {"id": 77, "data_set_id": 900000099})
    n_gone = sum(row["data_set_id"] == 123 for row in atlas.tables["SectionImage"])
    atlas.tables["SectionImage"][:] = [
        row for row in atlas.tables["SectionImage"] if row["data_set_id"] != 123
    ]
    third, asked = go()
    assert third["SectionDataSet"] == (1, 1, 1)
    assert third["SectionImage"] == (1, 0, n_gone)
    (query,) = [each for each in asked if "SectionImage" in each and "start_row$eq0" in each]
    assert "900000099" in query
    with CatalogueFile(path) as file:
        assert file.rows("SELECT failed FROM data_sets WHERE id = 479") == [(1,)]
        assert file.rows("SELECT count(*) FROM traits WHERE data_set_id = 123") == [(0,)]


class _AnyId(AiohttpTransport):
    """A transport to a service that does not know where ids begin."""

    async def fetch(self, url, *args, **kwargs):
        return await super().fetch(url.replace("%5Bid$gt", "%5Bid$ne"), *args, **kwargs)


def test_a_service_that_ignores_where_a_page_begins_is_an_error(replica, tmp_path):
    with pytest.raises(ReplyError, match="some may be missing"):
        update(replica, tmp_path / "all.sqlite", _AnyId(Settings(base_url=replica.base_url, **FAST)))


def test_each_service_has_a_catalogue_of_its_own():
    ours, other = catalogue_path(Settings().base_url), catalogue_path("http://localhost:8000")
    assert ours.name == "catalogue.sqlite"
    assert other.name == "catalogue-localhost-8000.sqlite"
    assert "secret" not in str(catalogue_path("http://me:secret@localhost:1"))


def test_what_is_no_catalogue_is_refused(tmp_path):
    with pytest.raises(StoreAccessError, match="asyncfetch catalogue update"):
        CatalogueFile(tmp_path / "none.sqlite")
    (tmp_path / "text.sqlite").write_text("words " * 1000)
    with pytest.raises(StoreLayoutError, match="is not a catalogue"):
        CatalogueFile(tmp_path / "text.sqlite")


def test_the_commands_update_show_and_use_it(replica, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    address = ("--base-url", replica.base_url, "--rate", 1000)
    assert (
        "make one with: asyncfetch catalogue update" in run("catalogue", "show", *address[:2], code=1).output
    )
    told = run("catalogue", "update", *address)
    assert "SectionDataSet: 12 rows, 12 new, 0 changed, 0 removed" in told.stdout
    shown = json.loads(run("catalogue", "show", *address[:2], "--json").stdout)
    assert shown["base_url"] == replica.base_url
    assert shown["n_rows"]["Gene"] == 4
    used = run("plan", "gene:gad67", *address)
    assert "gene gad67 is another name of Gad1" in used.output
    assert "chosen from the catalogue of" in used.output
    assert "chosen from" not in run("plan", "gene:Gad1", *address, "--catalogue", "none").output
    complete = options._complete_selection
    monkeypatch.setenv("ASYNCFETCH_BASE_URL", replica.base_url)
    assert complete("ge") == ["gene:"]
    assert complete("gene:pv") == ["gene:Pvalb"]
    assert complete("structure:ss") == ["structure:SSp"]
    assert complete("gene:%") == complete("dataset:4") == []
    monkeypatch.setenv("ASYNCFETCH_BASE_URL", "http://localhost:1")
    assert complete("gene:pv") == []
    assert "did you mean update?" in run("catalogue", "updates", code=2).output
