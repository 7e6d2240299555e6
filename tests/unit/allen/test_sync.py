from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncfetch.allen.sync import (
    SYNC_SERVICES,
    ImageSync,
    ReferencePoint,
    SyncRequest,
    parse_sync_json,
    parse_sync_request,
    parse_sync_xml,
    sync_json,
    sync_xml,
)
from asyncfetch.errors import QueryError, ReplyError, SelectionError, TransientServiceError

# The whole bodies of two real replies, word for word (SYNC-3).
IMAGES = (
    b'{"success":true,"id":0,"start_row":0,"num_rows":0,"total_rows":0,"msg":[{"image_sync":'
    b'{"section_data_set_id":"479","section_image_id":101350196,"section_number":444,'
    b'"x":-1750.838222501794,"y":-1204.1704347987138}}]}'
)
POINT = (
    b'{"success":true,"id":0,"start_row":0,"num_rows":1,"total_rows":1,"msg":{"image_to_reference":'
    b'{"x":-983.5501122512056,"y":335.1538167934086,"z":4117.19706627407}}}'
)
SYNC = ImageSync(
    section_data_set_id=479,
    section_image_id=101350196,
    section_number=444,
    x=-1750.838222501794,
    y=-1204.1704347987138,
)
FAILED = ImageSync(section_data_set_id=5)


def answer_of(service):
    if service == "image_to_reference":
        return ReferencePoint(x=-983.5501122512056, y=335.1538167934086, z=4117.19706627407)
    if service == "image_to_image_2d":
        return [ImageSync(section_image_id=7, x=1e-7, y=-2.5), ImageSync()]
    return SYNC if service == "image_to_atlas" else [SYNC, FAILED]


def test_the_recorded_bodies_are_read():
    assert parse_sync_json("reference_to_image", IMAGES) == [SYNC]
    assert parse_sync_json("image_to_reference", POINT) == answer_of("image_to_reference")


def test_the_recorded_bodies_are_what_is_answered():
    assert sync_json("reference_to_image", [SYNC]) == json.loads(IMAGES)
    assert sync_json("image_to_reference", answer_of("image_to_reference")) == json.loads(POINT)


def test_the_recorded_files_hold_these_bodies(recorded):
    bodies = json.loads((recorded / "sync_responses_recorded.json").read_text())
    assert bodies["reference_to_image"]["response"] == json.loads(IMAGES)
    assert bodies["image_to_reference"]["response"] == json.loads(POINT)


@pytest.mark.parametrize("service", SYNC_SERVICES)
def test_json_and_xml_carry_the_same_values(service):
    answer = answer_of(service)
    assert parse_sync_json(service, json.dumps(sync_json(service, answer)).encode()) == answer
    assert parse_sync_xml(service, sync_xml(service, answer)) == answer


def test_lists_in_xml_have_the_doubled_plural_and_no_types():
    body = sync_xml("structure_to_image", [SYNC, FAILED])
    assert (
        b"<image-sync-helper-image-syncs><images-sync-helper-images-syncs><section-data-set-id>479<" in body
    )
    assert body.count(b"<images-sync-helper-images-syncs>") == 2
    assert b"type=" not in body
    assert b"<image-sync><section-data-set-id>" in sync_xml("image_to_atlas", SYNC)


def test_a_target_that_fails_stays_without_an_image():
    items = sync_json("image_to_image", [FAILED, SYNC])["msg"]
    assert items[0] == {"image_sync": {"section_data_set_id": "5"}}
    assert parse_sync_json("image_to_image", json.dumps(sync_json("image_to_image", [FAILED])).encode()) == [
        FAILED
    ]


def test_image_to_image_2d_names_images_in_words_and_leaves_the_seed_out():
    answer = [ImageSync(section_image_id=1, x=1.0, y=2.0), ImageSync(section_image_id=2, x=3.0, y=4.0)]
    body = sync_json("image_to_image_2d", answer, seed_id=1)
    assert body["msg"] == [{"image_sync": {"section_image_id": "2", "x": 3.0, "y": 4.0}}]
    assert parse_sync_xml("image_to_image_2d", sync_xml("image_to_image_2d", answer, seed_id=1)) == answer[1:]


@pytest.mark.parametrize(
    "body",
    [
        b"<Response success='true'><x>1.5</x><y>2</y><z>-3e2</z></Response>",
        (
            b"<Response success='true'><image-to-reference><x type='float'>1.5</x><y>2</y><z>-300.0</z>"
            b"</image-to-reference></Response>"
        ),
        (
            b"<Response><msg><image-to-reference><!-- um --><x> 1.5 </x><y>2.0</y><z>-300</z></image-to-reference>"
            b"</msg></Response>"
        ),
    ],
)
def test_a_point_in_xml_is_read_wherever_it_stands(body):
    assert parse_sync_xml("image_to_reference", body) == ReferencePoint(x=1.5, y=2.0, z=-300.0)


def test_null_fields_are_missing_in_either_language():
    row = '{"success":true,"msg":[{"image_sync":{"section_data_set_id":5,"section_image_id":null,"x":null}}]}'
    assert parse_sync_json("image_to_image", row.encode()) == [FAILED]
    xml = (
        b"<Response><image-sync-helper-image-syncs><images-sync-helper-images-syncs>"
        b"<section-data-set-id>5</section-data-set-id><section-image-id nil='true'/><x></x>"
        b"</images-sync-helper-images-syncs></image-sync-helper-image-syncs></Response>"
    )
    assert parse_sync_xml("image_to_image", xml) == [FAILED]


def test_an_empty_list_is_an_answer():
    assert parse_sync_json("image_to_image_2d", b'{"success":true,"msg":[]}') == []
    assert parse_sync_xml("image_to_image_2d", sync_xml("image_to_image_2d", [])) == []


@pytest.mark.parametrize(
    ("service", "body", "error"),
    [
        ("image_to_image", b'{"success":false,"msg":"no such image"}', QueryError),
        (
            "image_to_image",
            b'{"success":false,"msg":"Informatics service request failed"}',
            TransientServiceError,
        ),
        ("image_to_image", b"<html><body>Site unavailable</body></html>", ReplyError),
        ("image_to_image", IMAGES[:100], ReplyError),
        ("image_to_image", POINT, ReplyError),
        ("image_to_reference", IMAGES, ReplyError),
        ("image_to_reference", b'{"success":true,"msg":{}}', ReplyError),
        ("image_to_reference", b'{"success":true,"msg":{"image_to_reference":{"x":1,"y":2}}}', ReplyError),
        ("image_to_reference", b'{"success":true,"msg":{"image_to_reference":[1,2,3]}}', ReplyError),
        ("image_to_atlas", b'{"success":true,"msg":[]}', ReplyError),
        (
            "image_to_image",
            b'{"success":true,"msg":[{"image_sync":{"section_image_id":"seven"}}]}',
            ReplyError,
        ),
        ("image_to_image", b'{"success":true,"msg":[{"image_sync":{"section_image_id":7.5}}]}', ReplyError),
        ("image_to_image", b'{"success":true,"msg":[{"image_sync":{"x":"NaN","y":1}}]}', ReplyError),
        ("image_to_image", b'{"success":true,"msg":[[1]]}', ReplyError),
    ],
)
def test_what_is_no_answer_has_its_named_error(service, body, error):
    with pytest.raises(error):
        parse_sync_json(service, body, url="http://localhost/x")


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"<Response success='false'><msg>no such image</msg></Response>", QueryError),
        (b"<html><body>Site unavailable</body></html>", ReplyError),
        (b"<Response><image-to-reference><x>1</x>", ReplyError),
        (b"<Response><image-to-reference><x>1</x><y>2</y></image-to-reference></Response>", ReplyError),
        (
            b"<Response><image-to-reference><x>1</x><y>2</y><z>up</z></image-to-reference></Response>",
            ReplyError,
        ),
        (b"<Response success='true'/>", ReplyError),
        (
            (
                b'<!DOCTYPE r [<!ENTITY e "1">]><Response><image-to-reference><x>&e;</x><y>2</y><z>3</z>'
                b"</image-to-reference></Response>"
            ),
            ReplyError,
        ),
    ],
)
def test_what_is_no_answer_in_xml_has_its_named_error(body, error):
    with pytest.raises(error):
        parse_sync_xml("image_to_reference", body)


def test_requests_are_those_of_the_documentation():
    one = SyncRequest(
        service="image_to_image", seed_id=68173101, point=(6208.0, 2368.0), target_ids=(67810540, 69782969)
    )
    assert one.url("http://h/") == (
        "http://h/api/v2/image_to_image/68173101.json?x=6208.0&y=2368.0&section_data_set_ids=67810540,69782969"
    )
    one = SyncRequest(service="image_to_atlas", seed_id=68173101, point=(6208.0, 2368.0), target_ids=(1,))
    assert (
        one.url("http://h", "xml")
        == "http://h/api/v2/image_to_atlas/68173101.xml?x=6208.0&y=2368.0&atlas_id=1"
    )
    one = SyncRequest(service="structure_to_image", seed_id=68545324, target_ids=(315, 698))
    assert one.url("http://h") == "http://h/api/v2/structure_to_image/68545324.json?structure_ids=315,698"


@given(st.tuples(*[st.floats(allow_nan=False, allow_infinity=False)] * 3))
def test_coordinates_arrive_as_they_were_sent_and_without_exponents(point):
    request = SyncRequest(service="reference_to_image", seed_id=9, point=point, target_ids=(479,))
    query = request.url("http://h").partition("?")[2]
    assert "e" not in query.partition("&section_data_set_ids")[0]
    parameters = dict(each.split("=") for each in query.split("&"))
    assert parse_sync_request("reference_to_image", "9", parameters) == request


@pytest.mark.parametrize(
    "fields",
    [
        {"service": "image_to_image", "point": (1.0,), "target_ids": (1,)},
        {"service": "image_to_image", "point": (1.0, float("nan")), "target_ids": (1,)},
        {"service": "image_to_image", "point": (1.0, float("inf")), "target_ids": (1,)},
        {"service": "image_to_image", "point": (1.0, 2.0)},
        {"service": "image_to_atlas", "point": (1.0, 2.0), "target_ids": (1, 2)},
        {"service": "image_to_reference", "point": (1.0, 2.0), "target_ids": (1,)},
        {"service": "structure_to_image", "point": (1.0, 2.0), "target_ids": (1,)},
        {"service": "image_to_moon", "point": (1.0, 2.0)},
    ],
)
def test_a_request_that_no_service_takes_is_refused(fields):
    with pytest.raises(SelectionError):
        SyncRequest(seed_id=1, **fields)


def test_a_server_reads_what_clients_send():
    request = parse_sync_request(
        "image_to_image",
        "68173101",
        {"x": "6208.000000", "y": "2368", "section_data_set_ids": "67810540, 69782969", "colour": "red"},
    )
    assert request.point == (6208.0, 2368.0)
    assert request.target_ids == (67810540, 69782969)


@pytest.mark.parametrize(
    ("service", "seed", "parameters", "words"),
    [
        ("image_to_moon", "1", {}, "no service"),
        ("image_to_reference", "one", {"x": "1", "y": "2"}, "integers"),
        ("image_to_reference", "1", {"x": "1"}, "y is missing"),
        ("image_to_reference", "1", {"x": "1", "y": "up"}, "a number"),
        ("image_to_reference", "1", {"x": "1", "y": "inf"}, "finite"),
        ("image_to_image", "1", {"x": "1", "y": "2"}, "section_data_set_ids is missing"),
        ("image_to_image", "1", {"x": "1", "y": "2", "section_data_set_ids": "1,a"}, "integers"),
        ("image_to_image", "1", {"x": "1", "y": "2", "section_data_set_ids": " , "}, "targets"),
        ("image_to_atlas", "1", {"x": "1", "y": "2", "atlas_id": "1,2"}, "targets"),
    ],
)
def test_a_request_that_cannot_be_read_is_refused_in_words(service, seed, parameters, words):
    with pytest.raises(QueryError, match=words):
        parse_sync_request(service, seed, parameters)


ODD_POSITIONS = ['"nan"', '"inf"', "NaN", "Infinity", "1e999", "1e300", "[]", '"left"', "true"]


@pytest.mark.parametrize("value", ODD_POSITIONS)
def test_what_is_no_coordinate_is_never_a_position(value):
    """It is missing in a list, where its target is named, and an error where it is the only answer."""
    sound = '{"image_sync": {"section_data_set_id": "479", "section_image_id": 5, "x": 1.5, "y": 2}}'
    odd = '{"image_sync": {"section_data_set_id": "480", "section_image_id": 6, "x": %s, "y": 2}}'.replace(
        "%s", value
    )
    body = f'{{"success": true, "msg": [{sound}, {odd}]}}'.encode()
    first, second = parse_sync_json("image_to_image", body)
    assert (first.section_image_id, first.x, first.y) == (5, 1.5, 2.0)
    assert (second.section_data_set_id, second.x) == (480, None)
    point = f'{{"success": true, "msg": {{"image_to_reference": {{"x": 1, "y": 2, "z": {value}}}}}}}'.encode()
    with pytest.raises(ReplyError):
        parse_sync_json("image_to_reference", point)


def test_an_answer_with_an_id_that_cannot_be_one_is_no_answer():
    for field, value in (("section_image_id", 2**63), ("section_number", 2**40), ("section_image_id", -1)):
        record = {"section_data_set_id": 7, "section_image_id": 5, "x": 1, "y": 2} | {field: value}
        body = json.dumps({"success": True, "msg": [{"image_sync": record}]}).encode()
        (answer,) = parse_sync_json("reference_to_image", body)
        assert answer == ImageSync(section_data_set_id=7)
