from __future__ import annotations

import json
from contextlib import asynccontextmanager
from itertools import pairwise

import aiohttp
import anyio
import pytest

from asyncfetch.engine.rate import ByteRate
from asyncfetch.errors import SettingsError
from asyncfetch.replica import open_replica
from asyncfetch.replica.pace import Pace, RequestLimit
from asyncfetch.sample import sample_atlas

IMAGE = 900005005
QUERY = "/api/v2/data/query.json?criteria=model::Product"


@pytest.fixture(scope="module")
def atlas():
    return sample_atlas()


@asynccontextmanager
async def open_session(atlas, **options):
    async with open_replica(atlas, **options) as replica, aiohttp.ClientSession(replica.base_url) as session:
        yield replica, session


def test_bytes_pass_at_the_slower_of_both_limits():
    shared = ByteRate(1000)
    slow, fast = Pace(100, shared), Pace(None, shared)
    assert slow.passed_at(50, 0.0) == 0.5
    assert fast.passed_at(950, 0.0) == 1.0
    assert fast.passed_at(1000, 0.0) == 2.0
    assert Pace().passed_at(10**9, 3.0) == 3.0


@pytest.mark.parametrize("rate", [1, 3, 20, 0.5])
def test_no_second_admits_more_requests_than_the_limit(rate):
    limit = RequestLimit(rate)
    times = [k / 97 for k in range(1000)]
    admitted = [now for now in times if limit.wait_s(now) == 0]
    n, window_s = max(1, int(rate)), max(1, int(rate)) / rate
    assert all(later - first >= window_s for first, later in zip(admitted, admitted[n:], strict=False))
    assert len(admitted) >= 0.9 * rate * times[-1]


def test_who_waits_as_long_as_told_is_admitted():
    limit = RequestLimit(4)
    now = 0.0
    for _ in range(20):
        wait_s = limit.wait_s(now)
        if wait_s:
            now += wait_s + 1e-9
            assert limit.wait_s(now) == 0
        now += 0.01


@pytest.mark.anyio
async def test_requests_beyond_the_limit_are_refused_with_the_seconds_to_wait(atlas):
    async with open_session(atlas, requests_per_s=2) as (replica, session):
        statuses = []
        for _ in range(4):
            async with session.get(QUERY) as reply:
                statuses.append(reply.status)
                waits = reply.headers.get("Retry-After")
        assert statuses == [200, 200, 429, 429]
        assert waits == "1"
        assert [record.kind for record in replica.requests] == ["query"] * 2 + ["refused"] * 2
        async with session.get("/replica/requests") as reply:
            assert reply.status == 200


@pytest.mark.anyio
async def test_a_redirect_and_its_image_are_one_request(atlas):
    async with (
        open_session(atlas, requests_per_s=1) as (_replica, session),
        session.get(f"/api/v2/image_download/{IMAGE}?downsample=3") as reply,
    ):
        assert reply.status == 200


@pytest.mark.anyio
async def test_all_connections_share_the_total(atlas):
    address = f"/api/v2/image_download/{IMAGE}?downsample=2"
    async with open_session(atlas, gzip_level=-1) as (replica, session), session.get(address) as reply:
        size = len(await reply.read())
    n, rate = 4, 10 * size
    async with open_session(atlas, gzip_level=-1, total_bytes_per_s=rate) as (replica, session):
        async with session.get(address) as reply:
            await reply.read()

        async def fetch():
            async with session.get(address) as reply:
                assert len(await reply.read()) == size

        async with anyio.create_task_group() as tasks:
            for _ in range(n):
                tasks.start_soon(fetch)
        records = replica.image_requests[1:]
        elapsed_s = max(record.ended_s for record in records) - min(record.started_s for record in records)
    assert elapsed_s >= 0.9 * n * size / rate


@pytest.mark.anyio
async def test_queries_keep_to_the_pace_too(atlas):
    async with open_session(atlas, bytes_per_s=20_000) as (replica, session):
        async with session.get(QUERY) as reply:
            body = await reply.read()
        record = replica.requests[0]
    assert len(json.loads(body)["msg"]) == 4
    assert record.ended_s - record.started_s >= 0.9 * len(body) / 20_000


@pytest.mark.anyio
async def test_the_log_has_a_line_of_json_for_each_request(atlas, tmp_path):
    log = tmp_path / "requests.jsonl"
    log.write_text("")
    options = {"faults": {IMAGE: ("html", 1)}, "latency_s": 0.01, "log_path": log}
    async with open_session(atlas, **options) as (_replica, session):
        for address in (f"/api/v2/image_download/{IMAGE}?downsample=3", QUERY, "/nothing"):
            async with session.get(address) as reply:
                await reply.read()
        async with session.get("/replica/requests") as reply:
            assert len(await reply.json()) == 4
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["kind"] for line in lines] == ["download", "image", "query", "other"]
    assert [line["status"] for line in lines] == [302, 200, 200, 404]
    assert [line["fault"] for line in lines] == [None, "html", None, None]
    assert [line["image_id"] for line in lines] == [IMAGE, IMAGE, None, None]
    assert all(line["elapsed_s"] >= 0.01 for line in lines)
    assert all(first["time"] <= second["time"] for first, second in pairwise(lines))
    assert lines[2]["path"] == QUERY
    with pytest.raises(SettingsError, match="log"):
        async with open_replica(atlas, log_path=tmp_path / "no" / "folder" / "x"):
            pass


@pytest.mark.anyio
async def test_a_long_run_remembers_the_latest_requests_alone(atlas):
    async with open_session(atlas, max_records=3) as (replica, session):
        for k in range(10):
            async with session.get(f"/nothing/{k}") as reply:
                assert reply.status == 404
        assert 3 <= len(replica.requests) <= 6
        assert replica.requests[-1].path == "/nothing/9"


@pytest.mark.anyio
async def test_nothing_can_be_written(atlas):
    async with open_session(atlas) as (_replica, session):
        for method in ("post", "put", "delete", "patch"):
            async with getattr(session, method)(QUERY) as reply:
                assert reply.status == 405


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["bytes_per_s", "total_bytes_per_s", "requests_per_s", "max_records"])
async def test_limits_are_positive(atlas, name):
    with pytest.raises(SettingsError, match=name):
        async with open_replica(atlas, **{name: 0}):
            pass
