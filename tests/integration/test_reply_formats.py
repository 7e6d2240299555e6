"""The three formats of a metadata reply carry the same rows, over pages too."""

from __future__ import annotations

import pytest

from asyncfetch.allen import Query, parse_csv
from asyncfetch.client import Client
from asyncfetch.errors import QueryError, ReplyError
from asyncfetch.replica import open_replica
from asyncfetch.settings import Settings

SECTIONS = Query("SectionImage").where(data_set_id=479).order("sub_images.id")
COLUMNS = ("sub_images.id", "sub_images.section_number", "sub_images.image_type")


@pytest.mark.anyio
@pytest.mark.parametrize("page_rows", [2000, 16])
async def test_json_xml_and_csv_carry_the_same_rows(page_rows):
    settings = Settings(requests_per_s=1000.0, page_rows=page_rows)
    async with open_replica() as replica, Client(replica.base_url, settings=settings) as client:
        plain = await client.rows(SECTIONS)
        as_xml = await client.rows(SECTIONS, fmt="xml")
        as_csv = await client.rows(SECTIONS.tabular(*COLUMNS), fmt="csv")
    numbers = [(str(row["id"]), str(row["section_number"]), row["image_type"]) for row in plain]
    assert [(row["id"], row["section_number"], row["image_type"]) for row in as_xml] == numbers
    assert [tuple(row.values()) for row in as_csv] == numbers


def test_quotes_commas_and_line_ends_stay_in_their_field():
    page = parse_csv(b'id,name\r\n1,"a, ""b"""\r\n2,"c\r\nd"\r\n')
    assert page.rows == [{"id": "1", "name": 'a, "b"'}, {"id": "2", "name": "c\r\nd"}]


def test_an_empty_reply_and_a_header_alone_are_no_rows():
    assert parse_csv(b"").rows == parse_csv(b"id,name\n").rows == []


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b'{"success": false, "msg": "no such model"}', QueryError),
        (b"<html>Site unavailable</html>", ReplyError),
        (b'{"success": true, "msg": []}', ReplyError),
        (b"id,name\n1\n", ReplyError),
        (b'id\n"cut', ReplyError),
        (b"id\n\xff\n", ReplyError),
    ],
)
def test_what_is_no_csv_is_named(body, error):
    with pytest.raises(error):
        parse_csv(body, url="http://127.0.0.1/x")
