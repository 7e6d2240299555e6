from __future__ import annotations

import csv
import io
import json

import aiohttp
import pytest
from lxml import etree

from asyncfetch.allen import parse_criteria, parse_json, parse_xml
from asyncfetch.errors import QueryError
from asyncfetch.replica import open_replica
from asyncfetch.replica.replies import CONTENT_TYPES, describe_model, pack, pack_failure
from asyncfetch.replica.rma import Evaluator
from asyncfetch.sample import UNALIGNED_DATA_SET_ID, sample_atlas


@pytest.fixture(scope="module")
def evaluator() -> Evaluator:
    return Evaluator(sample_atlas())


CRITERIA = [
    "model::SectionImage,rma::criteria,[data_set_id$eq69289763],rma::include,alignment2d",
    "model::SectionDataSet,rma::criteria,[id$eq69289763],rma::include,products,genes,specimen(donor),section_images",
    f"model::SectionDataSet,rma::criteria,[id$eq{UNALIGNED_DATA_SET_ID}],rma::include,alignment3d,genes",
    "model::Atlas,rma::criteria,[id$eq2],rma::include,atlas_data_sets(atlas_images(treatments))",
    "model::SectionImage,rma::criteria,[id$eq101349756],rma::include,associates(data_set(treatments[name$eq'NISSL']))",
    "model::ReferenceToReferenceTransform",
    "model::Product,rma::criteria,[id$eq77]",
    "service::mouse_agea",
]


def as_text(value):
    """Return a top-level value as XML has it, which gives no types there."""
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, dict | list | None) else str(value)


@pytest.mark.parametrize("criteria", CRITERIA)
def test_xml_carries_the_values_of_json(evaluator, criteria):
    answer = evaluator.evaluate(parse_criteria(criteria))
    from_json, from_xml = parse_json(pack(answer, "json")), parse_xml(pack(answer, "xml"))
    assert from_xml.rows == [{name: as_text(value) for name, value in row.items()} for row in from_json.rows]
    assert (from_xml.start_row, from_xml.num_rows) == (from_json.start_row, from_json.num_rows)
    assert from_xml.total_rows == from_json.total_rows


def test_the_containers_and_types_of_xml_are_the_recorded_ones(evaluator, recorded):
    criteria = (
        "model::SectionDataSet,rma::criteria,[id$eq69289763],"
        "rma::include,products,specimen(donor),section_images(alignment2d)"
    )
    root = etree.fromstring(pack(evaluator.evaluate(parse_criteria(criteria)), "xml"))
    assert (root.tag, root.get("success"), root[0].tag, root[0][0].tag) == (
        "Response",
        "true",
        "section-data-sets",
        "section-data-set",
    )
    ours = root[0][0]
    theirs = etree.parse(recorded / "data_set_69289763.xml").getroot()
    assert theirs.tag == ours.tag
    for path in (
        "id",
        "failed",
        "section-thickness",
        "blue-channel",
        "products/product/id",
        "specimen/is-ish",
        "specimen/donor/pmi",
        "specimen/donor-id",
        "section-images/section-image/id",
        "section-images/section-image/resolution",
        "section-images/section-image/annotated",
        "section-images/section-image/axes",
        "section-images/section-image/image-type",
        "section-images/section-image/alignment2d/id",
    ):
        mine, real = ours.find(path), theirs.find(path)
        assert (mine.attrib, mine.text) == (real.attrib, real.text), path
    assert "type" not in ours.find("section-images").attrib
    assert "type" not in theirs.find("section-images").attrib


def test_nested_lists_and_empty_ones_are_arrays(evaluator):
    criteria = "model::Atlas,rma::criteria,[id$eq2],rma::include,atlas_data_sets(atlas_images(treatments))"
    root = etree.fromstring(pack(evaluator.evaluate(parse_criteria(criteria)), "xml"))
    assert {element.get("type") for element in root.iter("atlas-images")} == {"array"}
    criteria = f"model::SectionDataSet,rma::criteria,[id$eq{UNALIGNED_DATA_SET_ID}],rma::include,genes"
    root = etree.fromstring(pack(evaluator.evaluate(parse_criteria(criteria)), "xml"))
    assert root[0][0].find("genes").get("type") == "array"


def test_csv_has_a_header_and_the_rows_alone(evaluator):
    criteria = "model::Product,rma::options[order$eqid][except$eqdescription,documentation]"
    answer = evaluator.evaluate(parse_criteria(criteria))
    rows = list(csv.DictReader(io.StringIO(pack(answer, "csv").decode())))
    assert [row["id"] for row in rows] == ["1", "3", "5", "900000000"]
    assert rows[0] == {
        "abbreviation": "Mouse",
        "id": "1",
        "name": "Mouse Brain",
        "resource": "Allen Mouse Brain Atlas",
        "species": "Mouse",
        "tags": "",
    }
    tabular = (
        "model::SectionImage,rma::criteria,[data_set_id$eq479],rma::options[tabular$eq'section_number','id']"
    )
    text = pack(evaluator.evaluate(parse_criteria(tabular)), "csv").decode()
    assert text.splitlines()[:2] == ["section_number,id", "4,101349756"]
    assert pack(evaluator.evaluate(parse_criteria("model::Product,rma::criteria,[id$eq77]")), "csv") == b""


@pytest.mark.parametrize("fmt", ["json", "xml"])
def test_an_error_reads_as_one_in_either_format(fmt):
    body = pack_failure('line 1: <no> & "quotes"\x00', fmt)
    with pytest.raises(QueryError) as caught:
        (parse_xml if fmt == "xml" else parse_json)(body)
    assert '<no> & "quotes"' in caught.value.service_message


def test_a_model_is_described_with_its_fields_and_associations(evaluator):
    described = json.loads(describe_model(evaluator, "SectionImage", "json"))["msg"][0]["SectionImage"]
    types = {field["name"]: field["type"] for field in described["fields"]}
    assert (types["id"], types["failed"], types["resolution"], types["path"]) == (
        "integer",
        "boolean",
        "float",
        "string",
    )
    ways = {way["name"]: (way["type"], way["class"]) for way in described["associations"]}
    assert ways["alignment2d"] == ("has_one", "Alignment2d")
    assert ways["section_data_set"] == ("belongs_to", "SectionDataSet")
    assert ways["associates"] == ("has_and_belongs_to_many", "SectionImage")
    root = etree.fromstring(describe_model(evaluator, "SectionImage", "xml"))
    model = root.find("DataDescriptions/DataDescription/SectionImage")
    assert {field.get("name"): field.get("type") for field in model.iter("field")} == types
    assert model.findtext("table") == described["table"] == "sub_images"
    with pytest.raises(QueryError, match="no model"):
        describe_model(evaluator, "Nothing", "json")


def test_what_is_described_agrees_with_the_reference(evaluator, recorded):
    root = etree.parse(recorded / "rma_model_reference.xml").getroot()
    real = {box[0].tag: box[0] for box in root.iter("DataDescription")}
    for model in (
        "SectionImage",
        "SectionDataSet",
        "Equalization",
        "Product",
        "StructureCenter",
        "Donor",
        "Gene",
    ):
        described = json.loads(describe_model(evaluator, model, "json"))["msg"][0][model]
        assert described["table"] == real[model].findtext("table")
        fields = {field["name"] for field in described["fields"]}
        assert {"id"} <= fields & {field.get("name") for field in real[model].iter("field")}
        known = {way.get("name"): way.get("class") for way in real[model].iter("association")}
        for way in described["associations"]:
            # The reference gives the wider class where ours gives the one that exists here.
            theirs = known.get(way["name"], way["class"])
            assert theirs in {way["class"], way["class"].removeprefix("Section")}


@pytest.mark.anyio
async def test_every_address_of_data_is_answered_in_its_formats():
    addresses = {
        "query.{}?criteria=model::Product,rma::options[num_rows$eq'all']": ("json", "xml", "csv"),
        "query.{}?q=model::Product": ("json", "xml", "csv"),
        "SectionImage/query.{}?criteria=[data_set_id$eq479]&include=alignment2d&only=id&num_rows=3": (
            "json",
            "xml",
            "csv",
        ),
        "SectionDataSet/479.{}?include=equalization,section_images": ("json", "xml"),
        "enumerate.{}": ("json", "xml"),
        "SectionImage/describe.{}": ("json", "xml"),
    }
    async with open_replica() as replica, aiohttp.ClientSession(replica.base_url) as session:
        for address, formats in addresses.items():
            for fmt in formats:
                async with session.get(f"/api/v2/data/{address.format(fmt)}") as reply:
                    assert (reply.status, reply.content_type) == (200, CONTENT_TYPES[fmt])
                    body = await reply.read()
                if fmt == "csv":
                    assert b"id" in body.splitlines()[0]
                else:
                    assert (parse_json if fmt == "json" else parse_xml)(body).rows or "describe" in address
        async with session.get("/api/v2/data/SectionDataSet/479.json?include=friends") as reply:
            assert "friends" in (await reply.json())["msg"]
