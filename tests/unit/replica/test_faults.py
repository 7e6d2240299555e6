from __future__ import annotations

import csv
import io
import json
import re
import zlib
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import aiohttp
import anyio
import numpy as np
import pytest

from asyncfetch.allen import parse_json, parse_xml
from asyncfetch.errors import QueryError, ReplyError, SettingsError, TransientServiceError
from asyncfetch.imaging import decode, read_header
from asyncfetch.replica import (
    FAULT_KINDS,
    QUERY,
    SYNC,
    Fault,
    FaultPlan,
    FaultRule,
    FaultScript,
    open_replica,
)
from asyncfetch.sample import sample_atlas

IMAGE = 900005005
DOWNLOAD = f"/api/v2/image_download/{IMAGE}?downsample=3"
QUERY_URL = "/api/v2/data/query.{}?criteria=model::SectionImage,rma::criteria,[data_set_id$eq900000005]"
SYNC_URL = f"/api/v2/image_to_reference/{IMAGE}.{{}}?x=1&y=2"


@pytest.fixture(scope="module")
def atlas():
    return sample_atlas()


@asynccontextmanager
async def open_session(atlas, **options):
    async with open_replica(atlas, **options) as replica, aiohttp.ClientSession(replica.base_url) as session:
        yield replica, session


async def fetched(session, address, **options):
    async with session.get(address, **options) as reply:
        return reply.status, reply.headers, await reply.read()


# The plan


def outcomes(script, order, times=6):
    """Ask for each item so often, in an order of its own, and return what happened by item."""
    found = {item: [] for item in order}
    for _ in range(times):
        for item in order:
            found[item].append(script.next_for(item) is not None)
    return found


def test_a_plan_is_repeated_whatever_the_order_of_the_requests():
    rules = [FaultRule(kind="html", probability=0.4), FaultRule(kind="reset", probability=0.2)]
    items = list(range(40))
    first = outcomes(FaultScript(rules, seed=3), items)
    assert first == outcomes(FaultScript(rules, seed=3), items[::-1])
    assert first != outcomes(FaultScript(rules, seed=4), items)
    share = np.mean([happened for each in first.values() for happened in each])
    assert 0.4 < share < 0.65


def test_a_rule_counts_by_item_and_in_all():
    script = FaultScript([FaultRule(kind="stall", times=2, count=5)])
    found = outcomes(script, [1, 2, 3])
    assert found[1] == found[2] == [True, True, False, False, False, False]
    assert found[3] == [True] + [False] * 5


def test_a_rule_is_about_its_ids_and_its_kind_of_reply():
    script = FaultScript(
        [
            FaultRule(kind="html", ids=[1, 2]),
            FaultRule(kind="transient", on="query", times=1),
            FaultRule(kind="permanent", on="sync", ids=[7]),
        ]
    )
    assert [script.next_for(key) is not None for key in (1, 2, 3)] == [True, True, False]
    assert script.next_for(QUERY, "a").kind == script.next_for(QUERY, "b").kind == "transient"
    assert script.next_for(QUERY, "a") is None
    assert script.next_for(SYNC, "7").kind == "permanent"
    assert script.next_for(SYNC, "8") is None


def test_a_rule_is_about_the_queries_that_contain_its_text():
    script = FaultScript([FaultRule(kind="html", on="query", matching="[data_set_id$eq7]")])
    path = "/api/v2/data/query.json?criteria=model::SectionImage,rma::criteria,%5Bdata_set_id$eq{}%5D"
    assert script.next_for(QUERY, path.format(7)).kind == "html"
    assert script.next_for(QUERY, path.format(8)) is None


def test_the_first_rule_that_applies_counts():
    script = FaultScript([FaultRule(kind="html", times=1), FaultRule(kind="xml", times=1)])
    assert [fault and fault.kind for fault in (script.next_for(1) for _ in range(3))] == ["html", "xml", None]


TOML = """
seed = 7
[[faults]]
kind = "status:429"
ids = [1]
times = 2
retry_after = "date:3"
[[faults]]
kind = "duplicate-rows"
on = "query"
probability = 0.5
"""
JSON = """{"seed": 7, "faults": [
{"kind": "status:429", "ids": [1], "times": 2, "retry_after": "date:3"},
{"kind": "duplicate-rows", "on": "query", "probability": 0.5}]}"""


def test_a_plan_file_may_be_toml_or_json(tmp_path):
    scripts = []
    for name, text in (("plan.toml", TOML), ("plan.json", JSON)):
        (tmp_path / name).write_text(text)
        scripts.append(FaultScript.read(tmp_path / name))
        assert FaultPlan(str(tmp_path / name)).next_for(1).status == 429
    assert scripts[0].rules == scripts[1].rules
    assert scripts[0].seed == scripts[1].seed == 7
    assert scripts[0].next_for(1).retry_after == "date:3"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[faults]",
        "faults = 3",
        "seed = 'x'\nfaults = []",
        "[[faults]]\nkind = 'fire'",
        "[[faults]]\nkind = 'html'\ncolour = 1",
        "[[faults]]\nkind = 'html'\nprobability = 2",
        "[[faults]]\nkind = 'html'\non = 'tea'",
        "[[faults]]\nkind = 'wrong-size'\non = 'query'",
        "[[faults]]\nkind = 'html'\ncount = -1",
        "[[faults]]\nkind = 'html'\nmatching = 'Gene'",
        "[[faults]]\nkind = 'html'\ntimes = -1",
        "[[faults]]\nkind = 'status:503'\nretry_after = 'soon'",
        "faults = []\nweather = 'fine'",
        "{",
    ],
)
def test_a_bad_plan_is_refused(tmp_path, text):
    path = tmp_path / "plan.toml"
    path.write_text(text)
    with pytest.raises(SettingsError):
        FaultScript.read(path)
    with pytest.raises(SettingsError):
        FaultScript.read(tmp_path / "missing.toml")


def test_faults_that_do_not_fit_a_reply_are_not_played():
    plan = FaultPlan({QUERY: "wrong-size", IMAGE: "duplicate-rows", SYNC: "shifted-rows"})
    assert [plan.next_for(key) for key in (QUERY, IMAGE, SYNC)] == [None, None, None]


# What comes over the wire


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("status", "address"),
    [
        *((status, DOWNLOAD) for status in (429, 500, 502, 503, 504)),
        (429, QUERY_URL.format("json")),
        (503, SYNC_URL.format("xml")),
    ],
)
async def test_a_status_comes_with_retry_after_as_planned(atlas, status, address):
    kinds = [Fault(f"status:{status}", 1, header) for header in (None, "3", "date:90")]
    planned = iter([*kinds, None])
    async with open_session(atlas, faults=lambda _key: next(planned)) as (replica, session):
        headers = []
        for _ in kinds:
            found, header, _ = await fetched(session, address)
            assert found == status
            headers.append(header.get("Retry-After"))
        assert (await fetched(session, address))[0] == 200
    assert headers[:2] == [None, "3"]
    wait_s = (parsedate_to_datetime(headers[2]) - datetime.now(UTC)).total_seconds()
    assert 80 < wait_s <= 90
    assert [record.fault for record in replica.requests if record.kind != "download"][-1] is None


@pytest.mark.anyio
@pytest.mark.parametrize("fmt", ["json", "xml"])
@pytest.mark.parametrize("url", [QUERY_URL, SYNC_URL])
async def test_queries_fail_in_the_words_and_shapes_of_the_service(atlas, fmt, url):
    parse = parse_json if fmt == "json" else parse_xml
    expected = {
        "transient": TransientServiceError,
        "permanent": QueryError,
        "html": ReplyError,
        "not-json": ReplyError,
        "not-jpeg": ReplyError,
        "truncate": ReplyError,
    }
    if fmt == "json":
        expected["xml"] = ReplyError
    for kind, error in expected.items():
        async with open_session(atlas, faults={QUERY: kind, SYNC: kind}) as (_replica, session):
            status, _, body = await fetched(session, url.format(fmt))
        assert status == 200
        with pytest.raises(error):
            parse(body)


@pytest.mark.anyio
async def test_pages_repeat_and_shift_rows(atlas):
    page = QUERY_URL.format("json") + ",rma::options[num_rows$eq4][start_row$eq{}][order$eqid]"
    kinds = iter([None, "duplicate-rows", "shifted-rows", "shifted-rows"])

    def planned(_key):
        kind = next(kinds)
        return kind and Fault(kind)

    async with open_session(atlas, faults=planned) as (_replica, session):
        rows = [
            [row["id"] for row in parse_json((await fetched(session, page.format(start)))[2]).rows]
            for start in (0, 0, 0, 4)
        ]
    whole, doubled, first, second = rows
    assert doubled == [whole[0], whole[0], whole[1], whole[2], whole[2], whole[3]]
    assert first[:3] == whole[1:]
    assert second[0] == whole[3]


def ids_of(fmt, body):
    if fmt == "csv":
        return [int(row["id"]) for row in csv.DictReader(io.StringIO(body.decode()))]
    answer = parse_json(body) if fmt == "json" else parse_xml(body)
    return [row["id"] for row in answer.rows]


@pytest.mark.anyio
@pytest.mark.parametrize("fmt", ["json", "xml", "csv"])
async def test_rows_are_repeated_and_shifted_in_every_format(atlas, fmt):
    address = f"/api/v2/data/SectionImage/query.{fmt}?num_rows=4&start_row=2&order=id&include=alignment2d"
    kinds = iter([None, "duplicate-rows", "shifted-rows"])

    def planned(_key):
        kind = next(kinds)
        return kind and Fault(kind)

    async with open_session(atlas, faults=planned) as (_replica, session):
        bodies = [(await fetched(session, address))[2] for _ in range(3)]
    whole, doubled, shifted = [ids_of(fmt, body) for body in bodies]
    assert doubled == [whole[0], whole[0], whole[1], whole[2], whole[2], whole[3]]
    assert shifted[1:] == whole[:3]
    if fmt == "json":
        heads = [json.loads(body) | {"msg": None} for body in bodies]
        assert heads[1] == heads[0] | {"num_rows": 6}
        assert heads[2] == heads[0]
    if fmt == "xml":
        heads = [re.search(rb"<Response [^>]*>", body)[0] for body in bodies]
        assert heads[1] == heads[0].replace(b'num_rows="4"', b'num_rows="6"')
        assert heads[2] == heads[0]


@pytest.mark.anyio
@pytest.mark.parametrize("fmt", ["json", "xml", "csv"])
@pytest.mark.parametrize("kind", ["duplicate-rows", "shifted-rows"])
@pytest.mark.parametrize(
    "criteria",
    [
        "model::Nothing",
        "model::Gene,rma::criteria,[acronym$eq'a",
        "service::mouse_correlation[set$eqmouse][structures$eq1]",
        "model::Gene,rma::criteria,[id$eq1]",
    ],
)
async def test_a_query_without_rows_is_answered_as_without_faults_of_rows(atlas, kind, fmt, criteria):
    address = f"/api/v2/data/query.{fmt}?criteria={criteria}"
    async with open_session(atlas, faults={QUERY: (kind, 1)}) as (replica, session):
        bodies = [(await fetched(session, address))[2] for _ in range(2)]
        assert [record.fault for record in replica.requests] == [kind, None]
    assert bodies[0] == bodies[1]


@pytest.mark.anyio
async def test_the_descriptions_of_models_do_not_fail(atlas):
    async with open_session(atlas, faults={QUERY: "html"}) as (replica, session):
        for address in ("/api/v2/data/enumerate.json", "/api/v2/data/Gene/describe.json"):
            assert (await fetched(session, address))[2].startswith(b"{")
        assert [record.fault for record in replica.requests] == [None, None]


@pytest.mark.anyio
async def test_a_server_that_differs_fails_as_planned_and_differs_otherwise(atlas):
    differences = ("HTTP-1=direct", "IMG-5=grey")
    faults = {IMAGE: ("html", 1), QUERY: ("redirect-loop", 1)}
    async with open_session(atlas, faults=faults, differences=differences) as (replica, session):
        page, image = [await fetched(session, DOWNLOAD, allow_redirects=False) for _ in range(2)]
        loop = await fetched(session, QUERY_URL.format("json"), allow_redirects=False)
        found = [(record.kind, record.image_id, record.fault) for record in replica.requests]
    assert (page[0], page[2][:6]) == (200, b"<html>")
    assert (image[0], read_header(image[2]).n_components) == (200, 1)
    assert loop[0] == 302
    assert found == [("image", IMAGE, "html"), ("image", IMAGE, None), ("query", None, "redirect-loop")]


@pytest.mark.anyio
async def test_bad_images_are_bad_in_one_way_each(atlas):
    async with open_session(atlas) as (_replica, session):
        _, _, sound = await fetched(session, DOWNLOAD)
    pixels = decode(sound)
    bodies = {}
    for kind in ("cut-jpeg", "wrong-size", "huge-header", "xml", "html", "not-jpeg"):
        async with open_session(atlas, faults={IMAGE: kind}) as (_replica, session):
            status, _, bodies[kind] = await fetched(session, DOWNLOAD)
        assert status == 200
    assert bodies["cut-jpeg"].endswith(b"\xff\xd9")
    assert len(bodies["cut-jpeg"]) < 0.7 * len(sound)
    assert read_header(bodies["cut-jpeg"]).shape == pixels.shape[:2]
    assert decode(bodies["wrong-size"]).shape == (pixels.shape[0] - 8, pixels.shape[1] - 8, 3)
    assert read_header(bodies["huge-header"]).shape == (60_000, 60_000)
    assert len(bodies["huge-header"]) == len(sound)
    assert bodies["xml"].startswith(b"<?xml")
    assert not any(bodies[kind].startswith(b"\xff\xd8") for kind in ("xml", "html", "not-jpeg"))


@pytest.mark.anyio
async def test_redirects_lead_nowhere(atlas):
    async with open_session(atlas, faults={IMAGE: "redirect-loop"}) as (replica, session):
        with pytest.raises(aiohttp.TooManyRedirects):
            await session.get(DOWNLOAD, max_redirects=5)
        assert len(replica.image_requests) >= 4
    async with open_session(atlas, faults={IMAGE: "redirect-away"}) as (replica, session):
        async with session.get(DOWNLOAD, allow_redirects=False) as reply:
            location = reply.headers["Location"]
        async with session.get(location, allow_redirects=False) as reply:
            away = reply.headers["Location"]
    assert away == location.replace(replica.base_url, "http://elsewhere.invalid")


@pytest.mark.anyio
@pytest.mark.parametrize("address", [DOWNLOAD, QUERY_URL.format("json"), SYNC_URL.format("json")])
async def test_a_connection_is_cut_before_or_within_the_reply(atlas, address):
    for kind in ("reset-before-headers", "reset"):
        async with open_session(atlas, faults={IMAGE: kind, QUERY: kind, SYNC: kind}) as (replica, session):
            with pytest.raises(aiohttp.ClientError):
                await fetched(session, address)
            record = replica.requests[-1]
            assert record.fault == kind
            if kind == "reset-before-headers":
                assert record.status == 0


@pytest.mark.anyio
async def test_what_never_comes_holds_nothing_up(atlas):
    with anyio.fail_after(10):
        async with open_session(atlas, faults={IMAGE: "never"}) as (_replica, session):
            with anyio.move_on_after(0.05) as scope:
                await fetched(session, DOWNLOAD)
            assert scope.cancelled_caught
            assert (await fetched(session, QUERY_URL.format("json")))[0] == 200


@pytest.mark.anyio
async def test_a_drip_is_a_kilobyte_a_second(atlas):
    async with open_session(atlas, faults={IMAGE: "drip"}, gzip_level=-1) as (replica, session):
        reply = await session.get(DOWNLOAD)
        started = anyio.current_time()
        await reply.content.readexactly(400)
        elapsed_s = anyio.current_time() - started
        reply.close()
        assert replica.image_requests[0].size_bytes <= 1000
    assert elapsed_s > 0.2


@pytest.mark.anyio
async def test_bodies_without_an_end_go_on_until_the_client_leaves(atlas):
    async with open_session(atlas, faults={IMAGE: "endless"}) as (replica, session):
        reply = await session.get(DOWNLOAD)
        body = await reply.content.readexactly(2_000_000)
        reply.close()
        assert body.startswith(b"\xff\xd8")
        assert (await fetched(session, SYNC_URL.format("json")))[0] == 200
        assert replica.image_requests[0].size_bytes >= 2_000_000


@pytest.mark.anyio
async def test_a_gzip_bomb_unpacks_a_thousandfold(atlas):
    async with (
        open_replica(atlas, faults={IMAGE: "gzip-bomb"}) as replica,
        aiohttp.ClientSession(replica.base_url, auto_decompress=False) as session,
    ):
        reply = await session.get(DOWNLOAD)
        assert reply.headers["Content-Encoding"] == "gzip"
        packed = await reply.content.readexactly(20_000)
        reply.close()
    assert len(zlib.decompressobj(wbits=31).decompress(packed)) > 500 * len(packed)


def test_every_kind_says_what_it_does():
    assert all(Fault(kind).kind == kind and words for kind, words in FAULT_KINDS.items())
