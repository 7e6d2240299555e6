"""Choosing what is mirrored: every filter and every kind of selection, against the replica."""

from __future__ import annotations

import json
from functools import partial

import anyio
import pytest
from anyio.from_thread import start_blocking_portal
from typer.testing import CliRunner

import asyncfetch
from asyncfetch import mirroring
from asyncfetch.cli import app
from asyncfetch.cli.app import register_commands
from asyncfetch.mirroring import Filters
from asyncfetch.replica import open_replica
from asyncfetch.sample import sample_atlas
from asyncfetch.sample.atlas import _Builder

FAILED, SENSE, BARE, NISSL, SMALL, CONNECTIVITY, HUMAN = range(900000001, 900000008)
PVALB, ADORA, PROX = 479, 123, 69289763
#: Sets of the product Mouse that have not failed.
MOUSE = {ADORA, PVALB, PROX, SENSE, BARE, NISSL}
ALL = MOUSE | {FAILED, SMALL, CONNECTIVITY, HUMAN}
FAST = {"requests_per_s": 1000.0}

register_commands()


@pytest.fixture(scope="module")
def replica():
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(open_replica(sample_atlas())) as opened,
    ):
        yield opened


def planned(replica, selection, **filters):
    """Return the estimate of a selection that is narrowed."""
    return anyio.run(
        partial(
            mirroring.estimate, selection, base_url=replica.base_url, filters=Filters.of(**filters), **FAST
        )
    )


def sets_of(found):
    return {view.data_set_id for view in found.views}


def run(*arguments, code=0, text=None):
    result = CliRunner().invoke(app, [str(each) for each in arguments], input=text)
    assert result.exit_code == code, result.output
    return result


FILTERS = [
    ({"plane": "coronal"}, {PVALB, SENSE, BARE, NISSL, SMALL, CONNECTIVITY, HUMAN}),
    ({"plane": "sagittal"}, {ADORA, PROX}),
    ({"age": "P14"}, {NISSL, SMALL}),
    ({"age": ["p14", "24 years"]}, {NISSL, SMALL, HUMAN}),
    ({"treatment": "nissl"}, {NISSL}),
    ({"treatment": "ISH"}, ALL - {NISSL, FAILED}),
    ({"sense": "antisense"}, {PVALB, ADORA, PROX, SMALL}),
    ({"sense": "sense"}, {SENSE}),
    ({"strain": "A930038C07Rik-Tg1"}, {CONNECTIVITY}),
    ({"sex": "female"}, {NISSL, SMALL, HUMAN}),
    ({"delegate": True}, ALL - {SENSE, FAILED}),
    ({"delegate": False}, {SENSE}),
    ({"failed": "only"}, {FAILED}),
    ({"failed": "with"}, ALL),
    ({"plane": "coronal", "age": "P56", "sense": "antisense"}, {PVALB}),
]


@pytest.mark.parametrize(("filters", "expected"), FILTERS, ids=str)
def test_a_filter_narrows_a_product_as_it_narrows_named_data_sets(replica, filters, expected):
    sound = ALL if filters.get("failed") else ALL - {FAILED}
    listed = planned(replica, ["product:Mouse", "product:900000000", "product:5"], **filters)
    assert sets_of(listed) == expected - {HUMAN}
    named = planned(replica, [f"dataset:{each}" for each in sorted(sound)], **filters)
    assert sets_of(named) == expected
    left_out = {int(note.split()[2]) for note in named.notes if "is left out: " in note}
    assert left_out == sound - expected


def test_conditions_are_asked_of_the_api_and_not_fetched_and_dropped(replica):
    n_before = len(replica.requests)
    planned(replica, "product:1", age="P14", sex="F")
    asked = [request.path for request in replica.requests[n_before:]]
    assert "donor%5Bsex$eq%27F%27%5D%28age%5Bname$eq%27P14%27" in asked[0]
    records = [path for path in asked if "SectionDataSet" in path and f"{NISSL}" in path]
    assert records
    assert not any(str(PVALB) in path for path in asked)


@pytest.mark.parametrize(
    ("difference", "why"), [("any-age", "its age is P56"), ("no-origins", "its age is not known")]
)
def test_a_service_that_differs_costs_notes_and_no_wrong_data_set(difference, why):
    async def go():
        async with open_replica(sample_atlas(), differences=(f"REC-10={difference}",)) as other:
            filters = Filters.of(age="P14")
            address = {"base_url": other.base_url, **FAST}
            return await mirroring.estimate(["product:1", "dataset:479"], filters=filters, **address)

    found = anyio.run(go)
    assert sets_of(found) == ({NISSL} if difference == "any-age" else set())
    assert f"data set {PVALB} is left out: {why} (--age P14)" in found.notes


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        ("specimen:900000504", {NISSL, SMALL}),
        ("specimen:made 900000504", {NISSL, SMALL}),
        ("specimen:702643,68870790", {ADORA, PROX}),
        ("structure:SSp", {HUMAN}),
        ("structure:ssp", {HUMAN}),
        ("structure:322", {HUMAN}),
        ("structure:315", {HUMAN}),
        ("gene:GAD67", {SMALL}),
        ("gene:parv", {PVALB}),
        ("gene:Pvalb,Prox1,Gad1", {PVALB, PROX, SMALL}),
    ],
)
def test_specimens_structures_and_other_names_of_genes_lead_to_their_data_sets(replica, selection, expected):
    found = planned(replica, selection)
    assert (sets_of(found), found.failures) == (expected, [])


def test_an_alias_is_told(replica):
    assert planned(replica, "gene:GAD67").notes[0] == "gene GAD67 is another name of Gad1"


def test_a_known_gene_without_a_matching_data_set_is_told_by_the_filters(replica):
    (failure,) = planned(replica, "gene:Gad1", age="P56").failures
    assert "no data set of gene Gad1 that meets --age P56" in failure.message
    (failure,) = planned(replica, "gene:Gad1", strain="c57bl/6j", age="24 year").failures
    assert "there is no strain c57bl/6j, did you mean C57BL/6J?" in failure.message
    assert "there is no age 24 year, did you mean 24 years?" in failure.message
    (failure,) = planned(replica, "structure:AUDv").failures
    assert "--roi structure:AUDv fetches that region" in failure.message


def test_sections_are_narrowed_and_what_is_left_out_is_not_fetched(replica, tmp_path):
    out = tmp_path / "out.zarr"
    options = {"um": 200.0, "layers": ("source",), "downsample": 4, "base_url": replica.base_url, **FAST}
    filters = Filters.of(section_range="100:300", every=2)
    report = anyio.run(partial(asyncfetch.mirror, f"dataset:{SMALL}", out, filters=filters, **options))
    # of 60, 100, …, 420 every second one, as far as it lies in the range
    numbers = [each.section_number for each in asyncfetch.open(out).data_set(SMALL).read_commits()]
    assert sorted(numbers) == [140, 220, 300]
    assert (report.n_committed, report.failures) == (3, [])
    whole = planned(replica, f"dataset:{SMALL}", section_range="100:300", every=2)
    assert whole.n_to_fetch == 3


def test_the_limit_counts_data_sets_and_asks_for_no_more(replica):
    found = planned(replica, ["dataset:479", "product:1"], limit=2)
    assert len(sets_of(found)) == 2
    assert PVALB in sets_of(found)
    assert any("no more than 2 data sets by --limit" in note for note in found.notes)


def test_a_run_that_is_continued_keeps_its_filters(replica, tmp_path):
    out = tmp_path / "out.zarr"
    options = {"um": 200.0, "layers": ("source",), "downsample": 4, "base_url": replica.base_url, **FAST}

    async def go():
        drain = anyio.Event()
        drain.set()
        filters = Filters.of(section_range="100:200")
        await asyncfetch.mirror([f"dataset:{SMALL}"], out, filters=filters, drain=drain, **options)
        return await asyncfetch.resume(out, base_url=replica.base_url, **FAST)

    report = anyio.run(go)
    numbers = [each.section_number for each in asyncfetch.open(out).data_set(SMALL).read_commits()]
    assert sorted(numbers) == [100, 140, 180]
    assert report.n_committed == 3


def test_lists_of_symbols_and_columns_of_tables_are_read(replica, tmp_path):
    options = ("--base-url", replica.base_url, "--rate", 1000, "--json")
    (tmp_path / "genes.txt").write_text("Pvalb\nGad1, Prox1  # three\n")
    listed = json.loads(run("plan", f"@{tmp_path / 'genes.txt'}", "--as", "gene", *options).stdout)
    assert listed["n_data_sets"] == 3
    (tmp_path / "genes.csv").write_text("n;Symbol;why\n1;Pvalb;x\n2;;\n3;Gad1;y\n")
    table = ("plan", f"@{tmp_path / 'genes.csv'}", "--as", "gene", *options)
    assert json.loads(run(*table, "--column", "symbol").stdout)["selection"] == ["gene:Pvalb", "gene:Gad1"]
    assert "did you mean Symbol?" in run(*table, "--column", "symbols", code=2).output
    assert json.loads(run("plan", 479, "--as", "dataset", *options).stdout)["selection"] == ["dataset:479"]
    assert "add --as gene" in run("plan", f"@{tmp_path / 'genes.txt'}", *options, code=2).output
    assert "the kinds are dataset" in run("plan", "x", "--as", "thing", code=2).output


def test_filters_on_the_command_line_are_those_of_python(replica):
    options = ("--base-url", replica.base_url, "--rate", 1000, "--json")
    found = json.loads(
        run("plan", "product:1", "--plane", "Coronal", "--sense", "antisense", *options).stdout
    )
    assert {view["data_set_id"] for view in found["views"]} == {PVALB}
    assert "contradict" in run("plan", "product:1", "--failed", "--with-failed", *options, code=2).output
    none = run("plan", "dataset:479", "--plane", "sagittal", *options, code=4)
    assert "data set 479 is left out: its plane is coronal (--plane sagittal)" in none.output


N_GENES, N_SETS_A_GENE = 200, 2


class _ManyGenes(_Builder):
    """A product of two small data sets for each of many genes, some of which have other names."""

    def add_small_data_sets(self):
        for k in range(N_GENES):
            for copy in range(N_SETS_A_GENE):
                data_set_id = 910000000 + 10 * k + copy
                self.add_data_set(data_set_id, space=9, plane=1, products=(1,))
                section = self.made_section(data_set_id, data_set_id + 500_000_000, 200, (260, 180), 50.0)
                self.add_section(data_set_id, section, resolution=50.0)
                self.links["data_sets_genes"].append((data_set_id, 920000000 + k))
            gene = {"id": 920000000 + k, "acronym": symbol(k), "alias_tags": f"Old{k}", "organism_id": 2}
            self.tables["Gene"].append(gene)


def symbol(k):
    """Return a gene symbol that is like no other: letters for the number, doubled."""
    return "G" + "".join(chr(97 + int(digit)) * 2 for digit in f"{k:03}")


@pytest.fixture(scope="module")
def many_genes():
    atlas = _ManyGenes().build()
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(open_replica(atlas)) as opened:
        yield opened


def symbols():
    """Return 200 gene symbols as people have them: ten old names, ten misspelt and ten unknown ones."""
    names = [symbol(k) for k in range(170)]
    names += [f"Old{k}" for k in range(170, 180)]
    names += [symbol(k) + "x" for k in range(180, 190)]
    return names + [f"Zzz{k}qq" for k in range(190, 200)]


def choosing_requests(replica, since):
    """Return the requests that find out which data sets there are, without those for records and images."""
    queries = [request.path for request in replica.requests[since:] if request.kind == "query"]
    return [path for path in queries if "model::SectionImage" not in path and ",%5Bid$in" not in path]


def test_two_hundred_genes_are_chosen_in_ten_requests(many_genes):
    n_before = len(many_genes.requests)
    found = planned(many_genes, [f"gene:{name}" for name in symbols()])
    asked = choosing_requests(many_genes, n_before)
    assert len(asked) <= 10, asked
    assert found.n_data_sets == 180 * N_SETS_A_GENE
    assert {failure.item for failure in found.failures} == {f"gene:{name}" for name in symbols()[180:]}
    told = {failure.item: failure.message for failure in found.failures}
    assert f"did you mean {symbol(185)}" in told[f"gene:{symbol(185)}x"]
    assert "check the spelling" in told["gene:Zzz195qq"]
    assert f"gene Old175 is another name of {symbol(175)}" in found.notes


def test_two_hundred_genes_become_one_store_and_a_table_with_a_row_for_each(many_genes, tmp_path):
    address = ("--base-url", many_genes.base_url, "--rate", 2000)
    symbols_file, catalogue = tmp_path / "genes.txt", tmp_path / "all.sqlite"
    symbols_file.write_text("\n".join(symbols()))
    arguments = ("mirror", f"@{symbols_file}", "--as", "gene", "--out", tmp_path / "out.zarr", "--um", 200)
    arguments = (*arguments, "--layers", "source", "--downsample", 0, *address, "--quiet")
    n_before = len(many_genes.requests)
    told = run(*arguments, "--report", tmp_path / "told.json", "--catalogue", "none", code=3)
    asked = [
        path for path in choosing_requests(many_genes, n_before) if "SectionDataSet" in path or "Gene" in path
    ]
    assert len(asked) <= 10
    rows = json.loads((tmp_path / "told.json").read_text())
    assert [row["selection"] for row in rows] == [f"gene:{name}" for name in symbols()]
    assert [row["status"] for row in rows] == ["mirrored"] * 180 + ["not found"] * 20
    assert {row["n_sections_written"] for row in rows[:180]} == {N_SETS_A_GENE}
    assert rows[175]["name"] == symbol(175)
    assert all("did you mean" in row["message"] for row in rows[180:190])
    assert "20 of 200 selections came to nothing" in told.stderr
    assert len(asyncfetch.open(tmp_path / "out.zarr").read_data_set_ids()) == 180 * N_SETS_A_GENE
    # the catalogue knows the same, and is not asked over the network
    run("catalogue", "update", "--catalogue", catalogue, *address)
    n_before = len(many_genes.requests)
    run(*arguments, "--report", tmp_path / "again.json", "--catalogue", catalogue, code=3)
    asked = [
        path for path in choosing_requests(many_genes, n_before) if "SectionDataSet" in path or "Gene" in path
    ]
    assert asked == []
    again = json.loads((tmp_path / "again.json").read_text())
    assert [row["status"] for row in again] == ["stored already"] * 180 + ["not found"] * 20
    assert [row["name"] for row in again] == [row["name"] for row in rows]
