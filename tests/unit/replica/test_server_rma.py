from __future__ import annotations

import json
import re
from contextlib import asynccontextmanager

import aiohttp
import pytest
from lxml import etree

from asyncfetch import sample
from asyncfetch.allen.rma import parse_criteria
from asyncfetch.errors import QueryError
from asyncfetch.replica import open_replica
from asyncfetch.replica.rma import Evaluator, read_request
from asyncfetch.sample import SampleAtlas, sample_atlas


@asynccontextmanager
async def open_session(atlas, **options):
    async with open_replica(atlas, **options) as replica, aiohttp.ClientSession(replica.base_url) as session:
        yield replica, session


@pytest.fixture(scope="module")
def atlas() -> SampleAtlas:
    return sample_atlas()


@pytest.fixture(scope="module")
def evaluator(atlas) -> Evaluator:
    return Evaluator(atlas)


def ask(evaluator, criteria):
    return evaluator.answer(parse_criteria(criteria))


def ids(answer):
    return [row["id"] for row in answer["msg"]]


# What existing clients send, with the number of rows that the sample atlas has for each.
CLIENT_CRITERIA = [
    (
        (
            "model::Equalization,rma::criteria,section_data_set(section_images[id$in101349756,297225768]),"
            "rma::options[only$eq'blue_lower,blue_upper,red_lower,red_upper,green_lower,green_upper']"
            "[num_rows$eq'all'][count$eqfalse]"
        ),
        1,
    ),
    (
        (
            "model::SectionDataSet,rma::criteria,[failed$in'false'],products[id$in1,22],"
            "rma::options[num_rows$eq'all'][count$eqfalse]"
        ),
        6,
    ),
    (
        "model::SectionImage,rma::criteria,[data_set_id$eq479],rma::options[num_rows$eq'all'][count$eqfalse]",
        63,
    ),
    (
        "model::SectionDataSet,rma::criteria,[id$eq123],rma::include,equalization,sub_images[section_number$eq171]",
        1,
    ),
    (
        (
            "model::SectionDataSet,rma::criteria,products[id$in1],rma::include,genes,"
            "rma::options[num_rows$eq2000][start_row$eq0][order$eq'id'][count$eqfalse]"
        ),
        7,
    ),
    ("model::SectionImage,rma::criteria,[id$eq101349756],rma::include,alignment2d", 1),
    (
        (
            "model::SectionImage,rma::criteria,section_data_set[id$eq479],rma::include,alignment2d,"
            "rma::options[num_rows$eq2000]"
        ),
        63,
    ),
    (
        (
            "model::SectionImage,rma::criteria,[data_set_id$eq123],rma::include,alignment2d,"
            "rma::options[start_row$eq0][num_rows$eq25000]"
        ),
        40,
    ),
    ("model::SectionDataSet,rma::criteria,[id$eq479],rma::include,alignment3d", 1),
    (
        (
            "model::SectionDataSet,rma::criteria,[failed$eq'false'],products[abbreviation$eq'Mouse'],"
            "plane_of_section[name$eq'sagittal'],genes[acronym$eq'Adora2a']"
        ),
        1,
    ),
    (
        (
            "model::SectionImage,rma::criteria,[id$eq101349756],"
            "rma::include,associates(data_set(treatments[name$eq'NISSL']))"
        ),
        1,
    ),
    ("model::Atlas,rma::criteria,[id$eq2],rma::include,atlas_data_sets(atlas_images(treatments))", 1),
    (
        (
            "model::Structure,rma::criteria,[graph_id$in1],"
            "rma::options[num_rows$eq'all'][order$eqstructures.graph_order][count$eqfalse]"
        ),
        2,
    ),
    (
        (
            "model::SubImage,rma::criteria,[id$eq101349756],rma::include,data_set,"
            "rma::options[only$eq'data_sets.id,data_sets.reference_space_id,sub_images.id']"
        ),
        1,
    ),
    (
        (
            "model::Atlas,rma::criteria,[id$eq1],rma::options[only$eqimage_type],"
            "pipe::list[type_name$is'image_type'],"
            "model::AtlasImage,rma::criteria,[annotated$eqtrue],atlas_data_set(atlases[id$eq1]),"
            "alternate_images[image_type$eq$type_name],"
            "rma::options[num_rows$eq'all'][order$eqsub_images.section_number]"
        ),
        5,
    ),
    (
        ("model::Equalization,rma::criteria,section_data_set(section_images[id$in900001006,900002006])"),
        1,
    ),
    ("model::AtlasImage,rma::criteria,atlas_data_set(atlases[id$eq1])", 9),
    ("model::SectionImage,rma::criteria,data_set[id$eq479],rma::options[num_rows$eqall]", 63),
]


@pytest.mark.parametrize(("criteria", "n"), CLIENT_CRITERIA)
def test_what_existing_clients_send_is_answered(evaluator, criteria, n):
    answer = ask(evaluator, criteria)
    assert answer["success"] is True
    assert answer["num_rows"] == len(answer["msg"]) == n


def test_a_page_holds_50_rows_unless_asked_otherwise(evaluator):
    criteria = "model::SectionImage,rma::criteria,[data_set_id$eq479]"
    first = ask(evaluator, criteria)
    second = ask(evaluator, f"{criteria},rma::options[start_row$eq50]")
    whole = ask(evaluator, f"{criteria},rma::options[num_rows$eqall]")
    assert [len(answer["msg"]) for answer in (first, second, whole)] == [50, 13, 63]
    assert ids(first) + ids(second) == ids(whole)
    assert (second["start_row"], second["num_rows"], second["total_rows"]) == (50, 13, 63)


def test_rows_stand_in_the_order_asked_for(evaluator):
    criteria = "model::SectionImage,rma::criteria,[data_set_id$eq123],rma::options[num_rows$eqall]"
    numbers = [
        row["section_number"] for row in ask(evaluator, f"{criteria}[order$eq'section_number']")["msg"]
    ]
    back = [
        row["section_number"] for row in ask(evaluator, f"{criteria}[order$eqsection_number$desc]")["msg"]
    ]
    assert numbers == sorted(numbers) == back[::-1]
    in_ids = [row["section_number"] for row in ask(evaluator, f"{criteria}[order$eqsub_images.id]")["msg"]]
    assert in_ids != numbers


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("[id$eq1]", [1]),
        ("[id$ne1]", [3, 5, sample.SAMPLE_PRODUCT_ID]),
        ("[id$lt3]", [1]),
        ("[id$le3]", [1, 3]),
        ("[id$gt3]", [5, sample.SAMPLE_PRODUCT_ID]),
        ("[id$ge3]", [3, 5, sample.SAMPLE_PRODUCT_ID]),
        ("[id$in1, 3]", [1, 3]),
        ("[id$in'1','3']", [1, 3]),
        ("[abbreviation$in'Mouse','Sample','mouse']", [1, sample.SAMPLE_PRODUCT_ID]),
        ("[id$neone]", [1, 3, 5, sample.SAMPLE_PRODUCT_ID]),
        ("[abbreviation$li'*Mouse']", [1, 3]),
        ("[abbreviation$li'*mouse']", []),
        ("[abbreviation$il'*mouse']", [1, 3]),
        ("[abbreviation$eq'mouse']", []),
        ("[tags$eqnull]", [1, 3, 5, sample.SAMPLE_PRODUCT_ID]),
        ("[tags$nenull]", []),
        ("[tags]", []),
        ("[abbreviation]", [1, 3, 5, sample.SAMPLE_PRODUCT_ID]),
        ("[id$gt1][id$lt10]", [3, 5]),
        ("[id$gt1],[products.id$lt10]", [3, 5]),
        ("[data_sets.failed$eqtrue]", [1]),
        ("[data_sets.id$eq69289763]", [1, 3]),
        ("data_sets[id$eq69289763]", [1, 3]),
    ],
)
def test_every_operator_filters(evaluator, condition, expected):
    assert ids(ask(evaluator, f"model::Product,rma::criteria,{condition}")) == expected


def test_unknown_values_give_no_rows(evaluator):
    answer = ask(evaluator, "model::SectionDataSet,rma::criteria,treatments[name$eq'Nissl']")
    assert (answer["success"], answer["total_rows"], answer["msg"]) == (True, 0, [])


def test_the_total_counts_joined_rows(evaluator):
    answer = ask(evaluator, "model::SectionDataSet,rma::criteria,products[id$in1,3]")
    assert len(answer["msg"]) == len(set(ids(answer))) == answer["total_rows"] - 1


def test_keys_stand_in_alphabetical_order(evaluator):
    answer = ask(evaluator, "model::SectionDataSet,rma::criteria,[id$eq123],rma::include,genes,alignment3d")
    row = answer["msg"][0]
    assert list(row) == sorted(row)
    assert list(row["alignment3d"]) == sorted(row["alignment3d"])
    assert {"genes", "alignment3d"} <= set(row)


def test_included_alignments_are_the_recorded_ones(evaluator, recorded):
    criteria = "model::SectionImage,rma::criteria,data_set[id$eq69289763],rma::include,alignment2d"
    rows = {row["id"]: row for row in ask(evaluator, criteria)["msg"]}
    elements = list(etree.parse(recorded / "data_set_69289763.xml").getroot().iter("section-image"))
    assert len(rows) == len(elements) == 18
    for element in elements:
        alignment = rows[int(element.findtext("id"))]["alignment2d"]
        for name in ("tsv", "tvs"):
            numbers = [alignment[f"{name}_{i:02}"] for i in range(6)]
            assert numbers == list(map(float, element.findtext(f"alignment2d/{name}").split(",")))


def test_the_transform_between_spaces_is_the_recorded_one(evaluator, recorded):
    path = {"model": "ReferenceToReferenceTransform"}
    query = read_request(path, {"criteria": "[from_reference_space_id$eq10],[to_reference_space_id$eq9]"})
    (row,) = evaluator.answer(query)["msg"]
    matrix = json.loads((recorded / "recorded_alignments.json").read_text())["reference_to_reference"][
        "10->9"
    ]
    order = ((0, 1, 2, 9), (3, 4, 5, 10), (6, 7, 8, 11))
    assert [[row[f"t_{i:02}"] for i in line] for line in order] == matrix


def test_only_restricts_the_columns_of_its_table(evaluator):
    (row,) = ask(evaluator, CLIENT_CRITERIA[13][0])["msg"]
    assert row == {"data_set": {"id": 479, "reference_space_id": 9}, "id": 101349756}
    (row,) = ask(
        evaluator, "model::Product,rma::criteria,[id$eq1],rma::options[except$eq'description,tags']"
    )["msg"]
    assert "name" in row
    assert "tags" not in row


def test_a_record_is_reached_by_its_path_as_a_list_of_one(evaluator):
    include = "products,genes,specimen(donor),alignment3d,section_images(alignment2d)"
    query = read_request({"model": "SectionDataSet", "id": "69289763"}, {"include": include})
    answer = evaluator.answer(query)
    (row,) = answer["msg"]
    assert [product["id"] for product in row["products"]] == [3, 1]
    assert row["specimen"]["donor"]["strain"] == "C57BL/6J"
    assert len(row["section_images"]) == 18
    assert all(image["alignment2d"]["section_image_id"] == image["id"] for image in row["section_images"])


def test_a_missing_alignment_is_included_as_null(evaluator):
    criteria = (
        f"model::SectionDataSet,rma::criteria,[id$eq{sample.UNALIGNED_DATA_SET_ID}],rma::include,alignment3d"
    )
    assert ask(evaluator, criteria)["msg"][0]["alignment3d"] is None


@pytest.mark.parametrize(
    ("criteria", "words"),
    [
        ("model::Nothing", "no model Nothing"),
        ("rma::criteria,[id$eq1]", "model::"),
        ("model::Product,rma::criteria,friends[id$eq1]", "no association friends"),
        ("model::Product,rma::criteria,[nothing$eq1]", "no column nothing"),
        ("model::Product,rma::criteria,[id$xx1]", "an operator"),
        ("model::Product,rma::criteria,[id$eq1", 'expecting "]"'),
        ("model::Product,rma::criteria,[id$eq1])", "mismatched character )"),
        ("model::Product,rma::options[num_rows$eqmany]", "no option [num_rows"),
        ("model::Product,rma::options[colour$eq1]", "no option [colour"),
        ("model::Product,rma::options[order$eqnothing]", "cannot order"),
        ("model::Product,rma::criteria,[ages.id$eq1]", "no association with the table ages"),
        ("model::Product,rma::criteria,[id$in$numbers]", "$numbers is not a list"),
        ("model::Product,rma::options[tabular$eq'genes.id']", None),
        ("model::Product,rma::options[tabular$eq'friends.id']", "of no table"),
        ("model::Product,rma::options[tabular$eq'nothing']", "no column nothing"),
        ("model::Product,pipe::list[x$is'id']", "stands between"),
        ("pipe::list[x$is'id'],model::Product", "stands between"),
        ("model::Product,pipe::list[x$is'nothing'],model::Gene", "have no nothing"),
        ("service::make_coffee", "no service::make_coffee"),
    ],
)
def test_bad_queries_are_named(evaluator, criteria, words):
    if words is None:
        # A table that is known but not joined is empty.
        assert all(row == {"id": None} for row in ask(evaluator, criteria)["msg"])
        return
    with pytest.raises(QueryError, match=re.escape(words)):
        ask(evaluator, criteria)


def test_a_pipe_carries_all_values_of_its_stage_and_no_more(evaluator):
    criteria = (
        "model::SectionImage,rma::criteria,[data_set_id$eq{}],pipe::list[ids$is'id'],"
        "model::Alignment2d,rma::criteria,[section_image_id$in$ids],rma::options[num_rows$eqall]"
    )
    rows = ask(evaluator, criteria.format(479))["msg"]
    assert len(rows) == 63
    nulls = ask(evaluator, criteria.format(sample.NULLS_DATA_SET_ID))["msg"]
    assert len(nulls) == 5
    assert ask(evaluator, criteria.format(1))["msg"] == []


def test_a_connected_service_answers_as_the_recorded_one_without_a_result(evaluator, recorded):
    body = json.loads((recorded / "rma_errors_recorded.json").read_text())[2]["body"]
    criteria = "service::mouse_connectivity_injection_structure[injection_structures$eq385]"
    assert ask(evaluator, criteria) == body


def test_a_tabular_query_gives_the_rows_of_the_join(evaluator):
    answer = ask(
        evaluator,
        "model::SectionDataSet,rma::criteria,[id$in123,69289763],products,rma::include,genes,"
        "rma::options[tabular$eq'data_sets.id','products.id','genes.acronym as gene'][order$eqdata_sets.id]",
    )
    assert answer["msg"] == [
        {"id": 123, "products_id": 1, "gene": "Adora2a"},
        {"id": 69289763, "products_id": 3, "gene": "Prox1"},
        {"id": 69289763, "products_id": 1, "gene": "Prox1"},
    ]
    assert answer["total_rows"] == 3
    without_gene = ask(
        evaluator,
        f"model::SectionDataSet,rma::criteria,[id$eq{sample.FAILED_DATA_SET_ID}],rma::include,genes,"
        "rma::options[tabular$eq'genes.acronym']",
    )
    assert without_gene["msg"] == [{"acronym": None}]


def test_rows_can_be_ordered_by_a_joined_table(evaluator):
    criteria = "model::SectionDataSet,rma::criteria,genes,rma::options[order$eqgenes.acronym{}]"
    forward, back = (ids(ask(evaluator, criteria.format(end))) for end in ("", "$desc"))
    assert forward == back[::-1]
    assert forward[0] == 123


@pytest.mark.anyio
async def test_errors_come_under_status_200_in_the_recorded_words(atlas, recorded):
    quote = json.loads((recorded / "rma_errors_recorded.json").read_text())[0]["body_fields"]["msg"]
    pattern = re.sub(r"column \d+", r"column \\d+", quote)
    async with open_session(atlas) as (_replica, session):
        address = "/api/v2/data/query.json?criteria=model::Gene,rma::criteria,[acronym$eq'Ga'd1']"
        async with session.get(address) as reply:
            assert reply.status == 200
            body = await reply.json()
        assert body["success"] is False
        assert re.fullmatch(pattern, body["msg"])
        async with session.get("/api/v2/data/query.csv?criteria=model::Nothing") as reply:
            assert (await reply.json())["success"] is False


@pytest.mark.anyio
async def test_addresses_may_be_raw_or_encoded_and_have_blanks(atlas):
    forms = [
        "/api/v2/data/query.json?criteria=model::SectionDataSet,rma::criteria,[id$in479,123]",
        "/api/v2/data/query.json?q=model::SectionDataSet,+rma::criteria,%20%5Bid%24in479,+123%5D",
        "/api/v2/data/SectionDataSet/query.json?criteria=%5Bid$in479,123%5D&num_rows=all",
    ]
    async with open_session(atlas, faults={"query": ("transient", 1)}) as (_replica, session):
        async with session.get(forms[0]) as reply:
            failed = await reply.json()
        assert failed["success"] is False
        assert "Informatics service request failed" in failed["msg"]
        bodies = []
        for form in forms:
            async with session.get(form) as reply:
                assert reply.content_type == "application/json"
                bodies.append(await reply.json())
    assert bodies[0] == bodies[1] == bodies[2]
    assert ids(bodies[0]) == [123, 479]
    assert list(bodies[0]) == ["success", "id", "start_row", "num_rows", "total_rows", "msg"]
