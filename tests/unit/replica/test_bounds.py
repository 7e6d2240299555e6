"""The replica stands on its own: whoever asks whatever takes bounded time, memory and threads."""

from __future__ import annotations

import asyncio
import json
import logging
import threading

import aiohttp
import anyio
import anyio.lowlevel
import pytest

from asyncfetch.errors import QueryError, SettingsError
from asyncfetch.replica import open_replica, rma
from asyncfetch.replica.hosts import Hosts, is_loopback
from asyncfetch.replica.threads import Threads
from asyncfetch.sample import sample_atlas

pytestmark = pytest.mark.anyio

SMALL = 900005005


async def status_and_text(base_url, path, **headers):
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{base_url}{path}", headers=headers, allow_redirects=False) as reply,
    ):
        return reply.status, await reply.text()


@pytest.mark.parametrize(
    ("host", "is_answered"),
    [
        ("evil.example", False),
        ("evil.example:8765", False),
        ("brain-map.org.evil.example", False),
        ("notbrain-map.org", False),
        ("localhost:1", True),
        ("LOCALHOST.", True),
        ("api.localhost", True),
        ("replica.test", True),
        ("replica:80", True),
        ("[evil", False),
        ("127.0.0.1:8765", True),
        ("[::1]:8765", True),
        ("192.168.1.7", True),
        ("api.brain-map.org", True),
        ("lab.example:8765", True),
    ],
)
async def test_a_name_of_somebody_elses_is_refused_and_told_how_to_allow_it(host, is_answered):
    async with open_replica(allow_hosts=["lab.example"]) as replica:
        status, text = await status_and_text(replica.base_url, "/api/v2/data/enumerate.json", Host=host)
        assert (status == 200) is is_answered
        if not is_answered:
            assert status == 421
            assert text.count("\n") == 1
            assert "--allow-host" in text
            assert replica.requests == []


def test_the_address_that_is_listened_on_is_a_name_that_is_answered():
    hosts = Hosts()
    assert not hosts.allows("server.lab")
    hosts.add("Server.Lab")
    assert hosts.allows("server.lab:8765")
    assert hosts.allows(None)


@pytest.mark.parametrize(
    ("host", "is_local"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("lab.example", False),
    ],
)
def test_only_loopback_is_this_machine_alone(host, is_local):
    assert is_loopback(host) is is_local


async def test_an_address_that_is_too_long_is_refused_in_words():
    async with open_replica() as replica:
        status, text = await status_and_text(
            replica.base_url, f"/api/v2/data/query.json?criteria={'x' * 2**17}"
        )
    assert (status, text.count("\n")) == (414, 1)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_only_get_is_answered(method):
    async with (
        open_replica() as replica,
        aiohttp.ClientSession() as session,
        session.request(method, f"{replica.base_url}/api/v2/data/enumerate.json", data=b"x" * 10**5) as reply,
    ):
        assert reply.status == 405


class Broken:
    """An atlas with a bug."""

    def __init__(self, atlas):
        self.tables, self.links = atlas.tables, atlas.links

    def image_row(self, _image_id):
        raise ZeroDivisionError("in a secret place")


async def test_a_bug_gives_status_500_and_one_line_without_its_traceback(caplog):
    caplog.set_level(logging.ERROR)
    async with open_replica(Broken(sample_atlas())) as replica:
        status, text = await status_and_text(replica.base_url, f"/api/v2/image_download/{SMALL}")
    assert status == 500
    assert text == "the replica failed: ZeroDivisionError; its own log says more\n"
    # on this side it is said in full
    assert "in a secret place" in caplog.text


EXPLODING = "model::SectionDataSet,rma::include," + ",".join(
    "section_images(data_set(section_images(data_set(section_images))))" for _ in range(3)
)


async def test_a_query_whose_includes_explode_is_refused_as_the_api_refuses():
    async with open_replica() as replica:
        path = f"/api/v2/data/query.json?criteria={EXPLODING}&num_rows=all"
        status, text = await status_and_text(replica.base_url, path)
        assert status == 200
        reply = json.loads(text)
        assert reply["success"] is False
        assert "ask for fewer rows or associations at once" in reply["msg"]
        # what is not too much is still answered, however many rows are asked for
        path = "/api/v2/data/query.json?criteria=model::SectionImage&num_rows=1000000000"
        status, text = await status_and_text(replica.base_url, path)
        assert json.loads(text)["success"] is True


def test_a_join_that_multiplies_rows_is_refused_while_it_grows():
    criteria = f"{EXPLODING},rma::options[tabular$eq'data_sets.id'][num_rows$eq'all']"
    with pytest.raises(QueryError, match="joins and includes take more than"):
        rma.Evaluator(sample_atlas()).evaluate(rma.read_request({}, {"criteria": criteria}))


async def test_a_query_that_is_nested_without_end_is_refused():
    n = 4000
    nested = "data_set(section_images(" * n + "data_set" + "))" * n
    async with open_replica() as replica:
        path = f"/api/v2/data/query.json?criteria=model::SectionImage,rma::include,{nested}"
        status, text = await status_and_text(replica.base_url, path)
    assert status == 200
    assert json.loads(text)["success"] is False


async def test_records_are_bounded_by_their_bytes():
    async with open_replica(record_bytes=20_000) as replica:
        for k in range(60):
            await status_and_text(replica.base_url, f"/nothing?{k}{'x' * 1000}")
        paths = [record.path for record in replica.requests]
    assert sum(map(len, paths)) <= 20_000
    assert 5 <= len(paths) < 20
    assert paths[-1].startswith("/nothing?59x")


async def test_a_log_that_forgot_its_own_request_is_sent_all_the_same():
    async with open_replica(record_bytes=1) as replica:
        assert await status_and_text(replica.base_url, "/replica/requests") == (200, "[]")


async def test_work_counts_until_its_thread_is_done_whoever_has_left():
    begun, release, seen = threading.Event(), threading.Event(), []
    threads, timeout = Threads(4, 100), asyncio.timeout(None)

    def work():
        begun.set()
        release.wait(10)

    async def give_up():
        await anyio.to_thread.run_sync(begun.wait)
        timeout.reschedule(0)

    async def ask():
        async with timeout, anyio.create_task_group() as tasks:
            tasks.start_soon(give_up)
            await threads.run(60, work)

    with pytest.raises(TimeoutError):
        await ask()
    assert "60/100 bytes" in repr(threads)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(threads.run, 60, seen.append, "second")
        await anyio.wait_all_tasks_blocked()
        assert seen == []
        release.set()
    assert seen == ["second"]
    assert "0/100 bytes" in repr(threads)


async def test_connections_are_bounded_and_those_beyond_are_told_to_come_again():
    async with open_replica(max_connections=2) as replica:
        host, port = replica.base_url.removeprefix("http://").split(":")
        held = [await anyio.connect_tcp(host, int(port)) for _ in range(2)]
        for stream in held:
            await stream.send(b"GET /replica/requests HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (await stream.receive()).startswith(b"HTTP/1.1 200")
        for _ in range(3):
            status, words = await status_and_text(replica.base_url, "/replica/requests")
            assert (status, "too many connections are open" in words) == (503, True)
        await held[0].send(b"GET /replica/requests HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await held[0].receive()).startswith(b"HTTP/1.1 200")
        for stream in held:
            await stream.aclose()
        while (await status_and_text(replica.base_url, "/replica/requests"))[0] == 503:
            await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("name", ["drawing_bytes", "max_connections", "record_bytes"])
async def test_a_bound_that_is_none_is_refused(name):
    with pytest.raises(SettingsError, match=name):
        async with open_replica(**{name: 0}):
            pass
