from __future__ import annotations

import json
from contextlib import asynccontextmanager

import aiohttp
import numpy as np
import pytest

from asyncfetch import sample
from asyncfetch.allen import parse_data_set
from asyncfetch.allen.sync import ImageSync, parse_sync_json, parse_sync_xml
from asyncfetch.errors import QueryError
from asyncfetch.replica import open_replica
from asyncfetch.replica.sync import SyncServices, catalogue_of
from asyncfetch.sample import sample_atlas

pytestmark = pytest.mark.anyio

SMALL_IMAGE = 900006005


@pytest.fixture(scope="module")
def atlas():
    return sample_atlas()


@pytest.fixture(scope="module")
def services(atlas) -> SyncServices:
    return SyncServices(atlas)


@asynccontextmanager
async def open_session(atlas, **options):
    async with open_replica(atlas, **options) as replica, aiohttp.ClientSession(replica.base_url) as session:
        yield replica, session


ASKED = [
    ("image_to_reference", f"{SMALL_IMAGE}", {"x": "6208.000000", "y": "-2"}),
    ("image_to_image", f"{SMALL_IMAGE}", {"x": "1e2", "y": "7", "section_data_set_ids": "479, 123,5"}),
    ("image_to_image_2d", f"{SMALL_IMAGE}", {"x": "1", "y": "7", "section_image_ids": "900007005,900008005"}),
    ("image_to_atlas", f"{SMALL_IMAGE}", {"x": "1", "y": "7", "z": "9", "atlas_id": "1"}),
    ("reference_to_image", "10", {"x": "6085", "y": "3670", "z": "4883", "section_data_set_ids": "123,479"}),
    ("structure_to_image", "479", {"structure_ids": "1018,322,5"}),
]


@pytest.mark.parametrize(("service", "seed", "parameters"), ASKED)
def test_json_and_xml_carry_the_same_values(services, service, seed, parameters):
    from_json = parse_sync_json(service, services.answer(service, seed, parameters, "json"))
    assert from_json == parse_sync_xml(service, services.answer(service, seed, parameters, "xml"))
    assert from_json not in ([], ImageSync())


def test_image_to_reference_is_the_map_that_images_are_drawn_through(services, atlas):
    matrix = atlas.image_to_reference(SMALL_IMAGE)
    body = services.answer("image_to_reference", str(SMALL_IMAGE), {"x": "12.5", "y": "-3"}, "json")
    found = parse_sync_json("image_to_reference", body)
    np.testing.assert_allclose((found.x, found.y, found.z), matrix @ (12.5, -3, 1), rtol=0, atol=1e-9)


def test_a_point_of_the_other_space_is_taken_there_by_the_transform(services):
    def asked(space, z):
        parameters = {"x": "6085", "y": "3670", "z": str(z), "section_data_set_ids": "123"}
        return parse_sync_json(
            "reference_to_image", services.answer("reference_to_image", space, parameters, "json")
        )

    (here,), (there,) = asked("10", 4883), asked("9", 11350 - 4883)
    assert here.section_image_id == there.section_image_id
    assert (here.x, here.y) == pytest.approx((there.x, there.y), abs=1e-9)


def test_the_plates_are_annotated_ones_of_the_atlas(services, atlas):
    annotated = {row["id"] for row in atlas.tables["AtlasImage"] if row["annotated"]}
    for atlas_id in ("1", "2"):
        parameters = {"x": "800", "y": "600", "atlas_id": atlas_id}
        body = services.answer("image_to_atlas", str(SMALL_IMAGE), parameters, "json")
        found = parse_sync_json("image_to_atlas", body)
        assert found.section_image_id in annotated
        expected = {"1": sample.ATLAS_DATA_SET_ID, "2": sample.SAGITTAL_ATLAS_DATA_SET_ID}[atlas_id]
        assert found.section_data_set_id == expected


def test_a_body_has_the_recorded_shape(services, recorded):
    whole = json.loads((recorded / "sync_responses_recorded.json").read_text())
    for service, seed, parameters in (ASKED[0], ASKED[4]):
        theirs = whole[service]["response"]
        ours = json.loads(services.answer(service, seed, parameters, "json"))
        assert list(ours) == list(theirs)
        assert [ours[name] for name in list(ours)[:-1]] == [theirs[name] for name in list(theirs)[:-1]]
        mine, real = (
            (body["msg"][0] if isinstance(body["msg"], list) else body["msg"]) for body in (ours, theirs)
        )
        ((name, fields),) = mine.items()
        assert {key: type(value) for key, value in fields.items()} == {
            key: type(value) for key, value in real[name].items()
        }


def test_the_catalogue_holds_the_sets_as_they_are_parsed(atlas):
    catalogue = catalogue_of(atlas)
    assert set(catalogue.data_sets.id.tolist()) == {
        row["id"] for model in ("SectionDataSet", "AtlasDataSet") for row in atlas.tables[model]
    }
    assert catalogue.atlas_data_sets == {
        1: sample.ATLAS_DATA_SET_ID,
        2: sample.SAGITTAL_ATLAS_DATA_SET_ID,
    }
    assert parse_data_set(atlas.tables["SectionDataSet"][0]).id in catalogue.data_sets.id


@pytest.mark.parametrize(
    ("service", "seed", "parameters", "words"),
    [
        ("image_to_reference", "1", {"x": "1", "y": "2"}, "no image 1"),
        ("image_to_reference", str(SMALL_IMAGE), {"x": "1"}, "parameter y is missing"),
        ("image_to_reference", "abc", {"x": "1", "y": "2"}, "integers"),
        ("image_to_atlas", str(SMALL_IMAGE), {"x": "1", "y": "2", "atlas_id": "77"}, "atlas 77"),
        ("structure_to_image", "1", {"structure_ids": "1018"}, "no data set 1"),
        ("image_to_image", "900001002", {"x": "1", "y": "2", "section_data_set_ids": "479"}, "tsv"),
    ],
)
@pytest.mark.parametrize("fmt", ["json", "xml"])
async def test_what_cannot_be_answered_is_a_failure_in_words(atlas, service, seed, parameters, words, fmt):
    async with (
        open_session(atlas) as (_replica, session),
        session.get(f"/api/v2/{service}/{seed}.{fmt}", params=parameters) as reply,
    ):
        assert reply.status == 200
        body = await reply.read()
    with pytest.raises(QueryError, match=words):
        (parse_sync_json if fmt == "json" else parse_sync_xml)(service, body)


async def test_every_service_is_reached_by_its_address(atlas):
    async with open_session(atlas) as (replica, session):
        for service, seed, parameters in ASKED:
            for fmt, kind in (("json", "application/json"), ("xml", "application/xml")):
                async with session.get(f"/api/v2/{service}/{seed}.{fmt}", params=parameters) as reply:
                    assert (reply.status, reply.content_type) == (200, kind)
        assert {request.kind for request in replica.requests} == {"sync"}
