from __future__ import annotations

import json
import pickle

import pytest

from asyncfetch.allen import Page, parse_csv, parse_json, parse_xml
from asyncfetch.errors import BodyTooLargeError, QueryError, ReplyError, ServiceError, TransientServiceError

URL = "http://api.brain-map.org/api/v2/data/query.json?criteria=model::Gene"
SHOWN = "api.brain-map.org/api/v2/data/query.json"


def envelope(**fields) -> bytes:
    return json.dumps({"success": True, "id": 0, "start_row": 0} | fields).encode()


def test_rows_come_as_they_are():
    rows = [{"id": 1, "name": None}, {"id": 2, "name": "µ"}]
    page = parse_json(envelope(start_row=50, num_rows=2, total_rows=52, msg=rows), url=URL)
    assert page == Page(rows, 50, 2, 52)


def test_a_bytearray_is_read_like_bytes():
    assert parse_json(bytearray(envelope(msg=[{"id": 1}]))).rows == [{"id": 1}]
    assert parse_xml(bytearray(b"<Response success='true'><objects/></Response>")).rows == []


def test_the_recorded_empty_object_means_no_rows(recorded):
    case = json.loads((recorded / "rma_errors_recorded.json").read_text())[2]
    page = parse_json(json.dumps(case["body"]).encode())
    assert (page.rows, page.total_rows) == ([], None)


def test_one_object_is_one_row():
    body = envelope(num_rows=1, total_rows=1, msg={"image_to_reference": {"x": 1.5}})
    assert parse_json(body).rows == [{"image_to_reference": {"x": 1.5}}]


def test_the_total_is_kept_and_not_trusted():
    page = parse_json(envelope(num_rows=1, total_rows=50476, msg=[{"id": 1}]))
    assert (len(page.rows), page.total_rows) == (1, 50476)


@pytest.mark.parametrize("total", ["many", None, 1.5, [], True])
def test_a_paging_field_that_is_no_number_costs_no_rows(total):
    page = parse_json(envelope(num_rows=total, total_rows=total, msg=[{"id": 1}]))
    assert page == Page([{"id": 1}], 0, 1, None)


def test_a_lasting_refusal_carries_the_words_the_address_and_what_to_do(recorded):
    words = json.loads((recorded / "rma_errors_recorded.json").read_text())[0]["body_fields"]["msg"]
    with pytest.raises(QueryError) as caught:
        parse_json(envelope(success=False, msg=words), url=URL)
    error = caught.value
    assert (error.service_message, error.url, error.is_transient) == (words, URL, False)
    assert all(part in error.message for part in (words, SHOWN, "correct the query"))
    assert pickle.loads(pickle.dumps(error)).facts == error.facts


def test_a_passing_failure_is_told_from_a_lasting_one(recorded):
    words = json.loads((recorded / "rma_errors_recorded.json").read_text())[1]["body_fields"]["msg"]
    with pytest.raises(TransientServiceError) as caught:
        parse_json(envelope(success=False, msg=words), url=URL)
    assert caught.value.service_message == words
    assert caught.value.is_transient
    assert all(part in caught.value.message for part in (words, SHOWN, "ask again"))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><body>Site unavailable</body></html>",
        b"<!DOCTYPE html><title>x</title>",
        b"Site unavailable",
        b"null",
        b"[]",
        b"17",
        b'{"msg": []}',
        b'{"success": "yes", "msg": []}',
        envelope(msg=[{"id": 1}])[:-5],
        b'{"success": true, "msg": "\xff"}',
        b'{"success": true, "msg": ' + b"[" * 100_000,
        envelope(msg="done"),
        envelope(msg=7),
        envelope(msg=None),
        envelope(),
        envelope(msg=[1, 2]),
        envelope(msg=[None]),
        envelope(success=False, msg={"words": "no"}),
        envelope(success=False),
    ],
)
def test_what_is_no_reply_is_worth_asking_again(body):
    with pytest.raises(ReplyError) as caught:
        parse_json(body, url=URL)
    assert caught.value.is_transient
    assert caught.value.url == URL
    assert SHOWN in caught.value.message
    assert "ask again" in caught.value.message
    assert len(caught.value.message) < 500


def test_a_page_of_html_is_called_one():
    with pytest.raises(ReplyError, match="page of HTML"):
        parse_json(b"  <HTML><h1>Site unavailable</h1>")
    with pytest.raises(ReplyError, match="page of HTML"):
        parse_xml(b"<html><h1>Site unavailable</h1></html>")


NESTED = b"""<?xml version="1.0" encoding="UTF-8"?>
<Response success='true' start_row='0' num_rows='50' total_rows='19991'><objects>
 <!-- a comment is no row -->
 <object>
  <id>5</id><section-thickness>25.0</section-thickness><name nil="true"/><empty></empty>
  <alignment3d><id type="integer">7</id><trv-00 type="float">0.5</trv-00><ok type="boolean">true</ok></alignment3d>
  <section-images type="array">
   <section-image><id type="integer">1</id><x type="integer" nil="true"/><y type="integer"/></section-image>
   <section-image><id type="integer">2</id></section-image>
  </section-images>
  <genes type="array"/>
  <products><product><id type="integer">3</id></product></products>
  <categories><category><id type="integer">4</id></category></categories>
  <specimen><donor><id type="integer">6</id></donor></specimen>
 </object>
</objects></Response>"""


def test_xml_becomes_the_rows_that_json_has():
    page = parse_xml(NESTED)
    assert (page.start_row, page.num_rows, page.total_rows) == (0, 50, 19991)
    assert page.rows == [
        {
            "id": "5",
            "section_thickness": "25.0",
            "name": None,
            "empty": "",
            "alignment3d": {"id": 7, "trv_00": 0.5, "ok": True},
            "section_images": [{"id": 1, "x": None, "y": None}, {"id": 2}],
            "genes": [],
            "products": [{"id": 3}],
            "categories": [{"id": 4}],
            "specimen": {"donor": {"id": 6}},
        }
    ]


def test_every_container_of_a_response_gives_its_rows():
    body = b"<Response><section-images><section-image><id>1</id></section-image></section-images></Response>"
    assert parse_xml(body) == Page([{"id": "1"}], 0, 1, None)


def test_the_recorded_data_set_is_a_page_of_one_typed_record(recorded):
    (row,) = parse_xml((recorded / "data_set_69289763.xml").read_bytes()).rows
    assert len(row["section_images"]) == 18
    assert row["section_images"][0]["resolution"] == 1.049
    assert row["section_images"][0]["annotated"] is False
    assert [product["id"] for product in row["products"]] == [3, 1]
    assert row["specimen"]["donor"]["pmi"] == 0.0
    assert row["name"] is None
    assert isinstance(row["alignment3d"]["tvr"], str)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"<Response success='false' msg='no such model'/>", QueryError),
        (b"<Response success='false'><msg>no such model</msg></Response>", QueryError),
        (b"<Response success='false'>Informatics service request failed</Response>", TransientServiceError),
        (b"<Response success='false'/>", ReplyError),
    ],
)
def test_refusals_in_xml_are_told_apart_as_in_json(body, expected):
    with pytest.raises(ServiceError) as caught:
        parse_xml(body, url=URL)
    assert type(caught.value) is expected


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        NESTED[:-20],
        b"<Error><Code>AccessDenied</Code></Error>",
        b"<html xmlns='http://www.w3.org/1999/xhtml'><body/></html>",
        (
            b"<!DOCTYPE r [<!ENTITY e SYSTEM 'file:///etc/hostname'>]><Response><objects><object><id>&e;</id></object>"
            b"</objects></Response>"
        ),
        b"<!DOCTYPE r [<!ENTITY a 'ha'><!ENTITY b '&a;&a;&a;'>]><Response>&b;</Response>",
        b"<Response>" + b"<a>" * 5000 + b"</a>" * 5000 + b"</Response>",
    ],
)
def test_xml_that_is_no_reply_is_worth_asking_again(body):
    with pytest.raises(ReplyError) as caught:
        parse_xml(body, url=URL)
    assert caught.value.is_transient
    assert SHOWN in caught.value.message


def test_a_row_that_is_not_a_record_leaves_the_others_where_they_stand():
    rows = [{"id": 1}, None, ["id", 2], "three", {"id": 4}]
    assert parse_json(envelope(msg=rows)).rows == rows


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_number_that_is_none_is_null_and_costs_no_other(value):
    body = (
        f'{{"success": true, "total_rows": 2, "msg": [{{"id": 1, "width": {value}}}, {{"id": 2, "x": 0.5}}]}}'
    )
    for mark in (b"", b"\xef\xbb\xbf"):
        page = parse_json(mark + body.encode())
        assert page.rows == [{"id": 1, "width": None}, {"id": 2, "x": 0.5}]
        assert page.total_rows == 2


@pytest.mark.parametrize(("kind", "text"), [("integer", "x"), ("boolean", "maybe"), ("float", "wide")])
def test_a_value_of_xml_that_is_not_of_its_type_stays_text(kind, text):
    body = f"<Response><objects><object><id type='{kind}'>{text}</id></object></objects></Response>"
    assert parse_xml(body.encode()).rows == [{"id": text}]


@pytest.mark.parametrize(
    ("parse", "body"),
    [
        (parse_json, b'{"success":true,"msg":[' + b"{}," * (2 * 10**6) + b"{}]}"),
        (parse_json, b'{"success":true,"msg":[{"a":[' + b"0," * (5 * 10**6) + b"0]}]}"),
        (parse_json, b'{"success":true,"msg":[' + b"[" * (2 * 10**6)),
        (parse_xml, b"<Response><a>" + b"<b/>" * (2 * 10**6) + b"</a></Response>"),
        (parse_csv, b"a\n" + b"1\n" * (2 * 10**6)),
    ],
    ids=["objects", "values", "depth", "xml", "csv"],
)
def test_a_body_that_would_unfold_to_too_many_objects_is_refused_before_they_are_made(parse, body):
    with pytest.raises(BodyTooLargeError, match="would take some") as caught:
        parse(body, url=URL)
    assert not caught.value.is_transient


def test_a_page_of_25_000_sections_is_within_the_bounds():
    alignment = {f"{name}_{k:02}": -123.456 for name in ("tsv", "tvs") for k in range(6)}
    row = {f"field_{k}": 12345 for k in range(30)} | {"alignment2d": alignment}
    assert len(parse_json(envelope(msg=[row] * 25_000)).rows) == 25_000
