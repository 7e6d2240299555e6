"""The service alone: a plain application that answers truly, whatever stands around it elsewhere."""

from __future__ import annotations

from contextlib import asynccontextmanager

import aiohttp
import anyio
import anyio.lowlevel
import pytest
from aiohttp import web

from asyncfetch.replica import DrawnImages, open_replica
from asyncfetch.replica.app import listening
from asyncfetch.replica.service import Service
from asyncfetch.sample import sample_atlas

pytestmark = pytest.mark.anyio

IMAGE = 900005005
ROWS = "/api/v2/data/query.{}?criteria=model::SectionImage,rma::criteria,[data_set_id$eq900000005]"
ADDRESSES = [
    f"/api/v2/image_download/{IMAGE}?downsample=3",
    "/api/v2/image_download/1",
    f"/api/v2/image_download/{IMAGE}?downsample=x",
    *(ROWS.format(fmt) for fmt in ("json", "xml", "csv")),
    "/api/v2/data/query.json?criteria=model::Nothing",
    "/api/v2/data/enumerate.json",
    "/api/v2/data/Gene/describe.xml",
    f"/api/v2/image_to_reference/{IMAGE}.json?x=1&y=2",
    "/api/v2/nothing",
]


@pytest.fixture(scope="module")
def atlas():
    return sample_atlas()


async def answers_of(base_url):
    found = {}
    async with aiohttp.ClientSession(base_url) as session:
        for address in ADDRESSES:
            async with session.get(address) as reply:
                kept = ("Content-Type", "Content-Encoding", "Transfer-Encoding", "Content-Length")
                headers = [reply.headers.get(name) for name in kept]
                found[address] = reply.status, headers, await reply.read()
    return found


@asynccontextmanager
async def open_service(atlas):
    app = web.Application()
    app.add_routes(Service(atlas, DrawnImages(atlas)).routes())
    async with listening(web.AppRunner(app, access_log=None), "127.0.0.1", 0) as base_url:
        yield base_url


async def test_the_service_answers_without_what_stands_around_it_as_with_it(atlas):
    async with open_service(atlas) as base_url:
        alone = await answers_of(base_url)
    async with open_replica(atlas) as replica:
        assert await answers_of(replica.base_url) == alone
    assert [status for status, _, _ in alone.values()] == [200, 404, 400, *[200] * 7, 404]


async def test_faults_that_are_used_up_leave_true_answers(atlas):
    faults = {"query": ("transient", 1), "sync": ("html", 1), IMAGE: ("cut-jpeg", 1)}
    async with open_replica(atlas) as replica:
        true = await answers_of(replica.base_url)
    async with open_replica(atlas, faults=faults) as replica:
        first, second = [await answers_of(replica.base_url) for _ in range(2)]
    changed = [address for address in ADDRESSES if first[address] != true[address]]
    assert changed == [ADDRESSES[0], ADDRESSES[3], ADDRESSES[9]]
    assert second == true


async def exchanged(base_url, request):
    """Send bytes and return all that comes until the connection is closed."""
    stream = await anyio.connect_tcp("127.0.0.1", int(base_url.rpartition(":")[2]))
    async with stream:
        await stream.send(request.encode())
        return b"".join([piece async for piece in stream]).partition(b"\r\n\r\n")


async def test_a_client_of_http_1_0_gets_the_whole_image(atlas):
    path = f"/cgi-bin/imageservice?path={atlas.image_path(IMAGE, 'image')}&downsample=1"
    async with open_replica(atlas) as replica:
        head, _, body = await exchanged(replica.base_url, f"GET {path} HTTP/1.0\r\n\r\n")
        async with aiohttp.request("GET", replica.base_url + path) as reply:
            assert body == await reply.read()
        assert replica.image_requests[0].size_bytes == len(body)
    assert head.startswith(b"HTTP/1.0 200")
    assert b"chunked" not in head


@pytest.mark.parametrize("faults", [None, {IMAGE: "stall"}, {IMAGE: "endless"}])
async def test_a_request_for_the_head_gets_the_head_alone(atlas, faults):
    path = f"/cgi-bin/imageservice?path={atlas.image_path(IMAGE, 'image')}&downsample=3"
    request = f"HEAD {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    async with open_replica(atlas, faults=faults) as replica:
        head, _, body = await exchanged(replica.base_url, request)
    assert head.startswith(b"HTTP/1.1 200")
    assert body == b""


async def test_a_large_reply_of_rows_tells_its_length_and_is_recorded_whole(atlas):
    async with open_replica(atlas) as replica, aiohttp.ClientSession(replica.base_url) as session:
        async with session.get("/api/v2/data/SectionImage/query.json?num_rows=all") as reply:
            body = await reply.read()
            assert int(reply.headers["Content-Length"]) == len(body) > 2**16
        while replica.requests[0].ended_s is None:
            await anyio.lowlevel.checkpoint()
        assert replica.requests[0].size_bytes == len(body)
