from __future__ import annotations

import tracemalloc

import pytest

from asyncfetch.allen import parse_data_set
from asyncfetch.allen.rma import parse_criteria
from asyncfetch.client.queries import data_sets_query, section_images_where
from asyncfetch.errors import NotFoundError, QueryError, SettingsError
from asyncfetch.imaging import decode, jpeg
from asyncfetch.replica import GeneratedAtlas
from asyncfetch.replica.generated import stamped_id
from asyncfetch.replica.rma import Evaluator
from asyncfetch.replica.sync import catalogue_of
from asyncfetch.sample import sample_atlas


class HeldRows:
    """The same rows as plain lists."""

    def __init__(self, atlas):
        self.tables = {model: list(rows) for model, rows in atlas.tables.items()}
        ids = [row["id"] for row in self.tables["SectionDataSet"]]
        self.links = {
            name: [(own, other) for own in ids for other in links.others("left", own)]
            for name, links in atlas.links.items()
        }


@pytest.fixture(scope="module")
def atlas() -> GeneratedAtlas:
    return GeneratedAtlas(25)


def test_sixty_thousand_data_sets_have_a_million_sections():
    atlas = GeneratedAtlas(60_000)
    assert (atlas.n_data_sets, atlas.n_sections) == (60_000, 1_000_000)
    assert len(atlas.tables["SectionImage"]) == 1_000_000


@pytest.mark.parametrize(
    "criteria",
    [
        "model::SectionDataSet,rma::criteria,[failed$eqfalse],products[id$eq1]",
        "model::SectionDataSet,rma::criteria,genes[acronym$eq'G00003'],rma::include,genes,specimen(donor(age))",
        "model::SectionDataSet,rma::criteria,plane_of_section[name$eq'sagittal'],rma::options[order$eq'id$desc']",
        "model::SectionDataSet,rma::criteria,treatments[name$eq'ISH'],specimen(donor[sex$eq'F'])",
        "model::SectionImage,rma::criteria,data_set(genes[acronym$eq'G00002']),rma::include,alignment2d",
        "model::SectionImage,rma::criteria,[section_number$gt250],rma::options[order$eq'section_number,id$desc']",
        "model::SectionImage,rma::criteria,[data_set_id$in700000010,700000240],rma::options[start_row$eq5][num_rows$eq9]",
        "model::SubImage,rma::criteria,[id$eq1100000010],rma::include,data_set(alignment3d,products)",
        "model::Gene,rma::include,data_sets",
        "model::Product,rma::criteria,[id$eq1],rma::include,data_sets",
        "model::Specimen,rma::criteria,[donor_id$eq730000002],rma::include,donor,data_sets",
        "model::SectionDataSet,rma::options[tabular$eq'data_sets.id','data_sets.name'][num_rows$eqall]",
    ],
)
def test_queries_over_generated_rows_answer_as_over_the_same_rows_held(atlas, criteria):
    answer = Evaluator(atlas).answer(parse_criteria(criteria))
    assert answer["msg"]
    assert answer == Evaluator(HeldRows(atlas)).answer(parse_criteria(criteria))


def test_pages_of_a_query_follow_each_other_without_gaps(atlas):
    evaluator = Evaluator(atlas)
    query = data_sets_query(product=1)
    pages = [evaluator.evaluate(query.page(start, 10)) for start in (0, 10, 20, 30)]
    assert [len(page.rows) for page in pages] == [10, 10, 5, 0]
    assert [page.total_rows for page in pages] == [25] * 4
    ids = [row["id"] for page in pages for row in page.rows]
    assert ids == [row["id"] for row in atlas.tables["SectionDataSet"]]


def test_every_section_of_a_generated_set_has_its_place_in_the_reference_space(atlas):
    evaluator = Evaluator(atlas)
    for row in evaluator.answer(parse_criteria("model::SectionDataSet,rma::include,alignment3d"))["msg"]:
        images = evaluator.answer(section_images_where(row["id"]).page(0, 100))["msg"]
        data_set = parse_data_set(row, images)
        assert len(data_set.section_images) in {12, 14, 16, 18, 20}
        for section in data_set.section_images:
            p, i, r = data_set.geometry(section).image_to_reference((section.width / 2, section.height / 2))
            assert 0 < p < 13_200
            assert 0 < i < 8_000
            assert 0 < r < 11_400


def test_a_generated_image_lies_where_the_one_that_it_is_like_lies():
    atlas, sample = GeneratedAtlas(1), Evaluator(sample_atlas())
    query = "model::SectionImage,rma::criteria,[data_set_id$eq{}],rma::include,alignment2d"
    small = Evaluator(atlas).answer(parse_criteria(query.format(700_000_000)))["msg"][0]
    large = next(
        row
        for row in sample.answer(parse_criteria(query.format(479)))["msg"]
        if row["section_number"] == small["section_number"]
    )
    # the corners of the first pixel, in full-resolution pixels of either image
    for name in ("tsv_04", "tsv_05"):
        corner = [
            row["alignment2d"][name]
            - 0.5 * sum(row["alignment2d"][f"tsv_{k:02}"] for k in ((0, 1) if name.endswith("4") else (2, 3)))
            for row in (small, large)
        ]
        assert corner[0] == pytest.approx(corner[1], abs=0.01)


def test_each_image_bears_its_id(atlas):
    ids = [row["id"] for row in atlas.tables["SectionImage"]]
    assert len(set(ids)) == atlas.n_sections
    for image_id in ids[::37]:
        assert stamped_id(decode(jpeg.encode(atlas.draw(image_id), quality=85))) == image_id


def test_a_path_names_the_image_that_has_it(atlas):
    for view in ("image", "expression"):
        assert atlas.image_at(atlas.image_path(1_100_000_002, view)) == (1_100_000_002, view)
    assert atlas.image_at("/generated/1/1100000002.aff") is None
    assert atlas.image_at("/generated/700000000/1100000003.aff") is None
    assert atlas.image_row(1_100_000_001) is None
    with pytest.raises(NotFoundError, match="no image 1"):
        atlas.draw(1)


def test_a_page_of_a_large_product_is_made_without_the_rest_of_it():
    evaluator = Evaluator(GeneratedAtlas(6_000))
    ids = range(700_010_000, 700_011_000, 10)
    tracemalloc.start()
    try:
        page = evaluator.evaluate(section_images_where(list(ids)).page(0, 2000))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(page.rows) > 1600
    # 100 000 sections would take 200 MB
    assert peak < 20_000_000


def test_a_product_without_data_sets_is_refused():
    with pytest.raises(SettingsError, match="between 1 and 1000000"):
        GeneratedAtlas(0)


def test_services_over_a_product_that_does_not_fit_in_memory_are_refused():
    with pytest.raises(QueryError, match="at most 200000 sections, and has 1000000"):
        catalogue_of(GeneratedAtlas(60_000))
