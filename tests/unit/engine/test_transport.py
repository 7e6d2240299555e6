from __future__ import annotations

import gzip
import re
import zlib

import anyio
import pytest

from asyncfetch import __version__
from asyncfetch.engine import AiohttpTransport
from asyncfetch.errors import (
    BodyTooLargeError,
    ClosedError,
    ConnectError,
    NotFoundError,
    RedirectError,
    SelectionError,
    StallError,
    StatusError,
    TransportError,
    TruncatedError,
)
from asyncfetch.settings import Settings

pytestmark = pytest.mark.anyio

#: For what is about a server that is too slow.
FAST = Settings(connect_timeout_s=0.2, stall_timeout_s=0.2, min_speed_bytes_per_s=1000.0)
#: For all else: a busy machine is no slow server.
PATIENT = FAST.replace(connect_timeout_s=20.0, stall_timeout_s=20.0)
BODY = bytes(range(256)) * 40


def head(status="200 OK", **headers):
    lines = [f"HTTP/1.1 {status}", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def plain(body, status="200 OK", **headers):
    return head(status, Content_Length=len(body), **headers) + body


def redirect(location):
    return plain(b"moved", "302 Found", Location=location)


def chunk(data):
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


CHUNKED = head(Transfer_Encoding="chunked", Content_Type="image/jpeg")
GZIPPED = head(Transfer_Encoding="chunked", Content_Encoding="gzip")
END = b"0\r\n\r\n"


@pytest.fixture
async def transport():
    transport = AiohttpTransport(PATIENT)
    yield transport
    await transport.aclose()


@pytest.fixture
async def impatient():
    transport = AiohttpTransport(FAST)
    yield transport
    await transport.aclose()


async def failure(loopback, transport, *scripts, limit_bytes=2**20, kind=TransportError):
    async with loopback(*scripts) as server:
        with pytest.raises(kind) as caught:
            await transport.fetch(f"{server.url}/x?y=1", limit_bytes)
        assert caught.value.url == f"{server.url}/x?y=1"
        # the host, not the whole URL, which for a query is hundreds of characters
        assert server.url.removeprefix("http://") in str(caught.value)
        assert "?" not in str(caught.value)
        return caught.value


async def test_a_reply_is_whole_and_its_headers_are_in_lower_case(loopback, transport):
    async with loopback([plain(BODY, Content_Type="image/jpeg")]) as server:
        reply = await transport.fetch(f"{server.url}/a%20b?q=%5Bid$eq'1'%5D&x=1%2C2", 2**20)
    assert (reply.status, reply.body, reply.headers["content-type"]) == (200, BODY, "image/jpeg")
    assert reply.url.endswith("/a%20b?q=%5Bid$eq'1'%5D&x=1%2C2")
    assert reply.elapsed_s > 0
    request = server.requests[0]
    assert request.startswith(b"GET /a%20b?q=%5Bid$eq'1'%5D&x=1%2C2 HTTP/1.1\r\n")
    assert f"User-Agent: asyncfetch/{__version__}\r\n".encode() in request
    assert b"Accept-Encoding: gzip\r\n" in request


async def test_the_way_of_the_recorded_server_ends_in_the_bytes(loopback, transport):
    data = gzip.compress(BODY)
    scripts = (
        [redirect("/cgi-bin/imageservice?mime=1&path=/external/x.aff&top=0")],
        [GZIPPED, chunk(data[:100]), chunk(data[100:]) + END],
    )
    async with loopback(*scripts) as server:
        reply = await transport.fetch(f"{server.url}/api/v2/image_download/1", 2**20)
        assert server.n_connections == 1
    assert reply.body == BODY
    assert reply.url.endswith("/api/v2/image_download/1")
    assert server.requests[1].startswith(b"GET /cgi-bin/imageservice?mime=1&path=/external/x.aff&top=0 HTTP")


async def test_a_redirect_is_not_followed_once_the_transport_is_closed(loopback):
    async def close():
        await transport.aclose()

    transport = AiohttpTransport(PATIENT, close)
    async with loopback([redirect("/there")], [plain(BODY)]) as server:
        with pytest.raises(ClosedError):
            await transport.fetch(f"{server.url}/x", 2**20)
        with pytest.raises(ClosedError):
            await transport.fetch(f"{server.url}/y", 2**20)


async def test_every_hop_is_announced_and_five_are_followed(loopback):
    hops = []

    async def before_redirect():
        hops.append(len(hops))

    transport = AiohttpTransport(PATIENT, before_redirect)
    async with loopback(*([redirect(f"/{k}")] for k in range(5)), [plain(BODY)]) as server:
        assert (await transport.fetch(f"{server.url}/x", 2**20)).body == BODY
    await transport.aclose()
    assert hops == [0, 1, 2, 3, 4]


async def test_a_sixth_redirect_is_refused(loopback, transport):
    error = await failure(loopback, transport, *([redirect(f"/{k}")] for k in range(7)), kind=RedirectError)
    assert error.location.endswith("/5")


async def test_a_redirect_loop_is_named(loopback, transport):
    error = await failure(loopback, transport, [redirect("/b")], [redirect("/x?y=1")], kind=RedirectError)
    assert "in a loop" in str(error)
    assert error.location.endswith("/x?y=1")


@pytest.mark.parametrize(
    "location", ["http://localhost:1/x", "//example.org/x", "https://localhost/x", "http://["]
)
async def test_a_redirect_elsewhere_is_not_followed(loopback, transport, location):
    error = await failure(loopback, transport, [redirect(location)], kind=RedirectError)
    assert not error.is_transient
    assert location in error.location
    # both addresses with their schemes
    assert re.match(r"http://127\.0\.0\.1:\d+/x was redirected to '?https?://", error.message)


async def test_a_redirect_to_another_port_of_the_same_host_is_followed(loopback, transport):
    async with loopback([plain(BODY)]) as other, loopback([redirect(f"{other.url}/there")]) as server:
        assert (await transport.fetch(server.url, 2**20)).body == BODY
    assert other.requests[0].startswith(b"GET /there ")


async def test_bytes_are_told_as_they_come(loopback, transport):
    told = []

    async def on_bytes(n):
        told.append(n)

    async with loopback([CHUNKED, chunk(b"abc"), 0.02, chunk(b"de"), END]) as server:
        reply = await transport.fetch(server.url, 2**20, on_bytes)
    assert reply.body == b"abcde"
    assert sum(told) == 5


async def test_time_held_back_on_purpose_is_no_stall(loopback, impatient):
    async def on_bytes(_n):
        await anyio.sleep(0.3)

    async with loopback([CHUNKED, chunk(b"abc"), 0.02, chunk(b"de"), END]) as server:
        assert (await impatient.fetch(server.url, 2**20, on_bytes)).body == b"abcde"


async def test_a_reset_in_the_body_is_a_truncation(loopback, transport):
    error = await failure(loopback, transport, [CHUNKED, chunk(BODY), 0.05, "reset"], kind=TruncatedError)
    assert error.is_transient
    assert error.received_bytes == len(BODY)


@pytest.mark.parametrize(
    "script",
    [
        [CHUNKED, chunk(BODY), "close"],
        [head(Content_Length=len(BODY) + 1) + BODY, "close"],
        [GZIPPED, chunk(gzip.compress(BODY)[:-9]), END],
        [GZIPPED, chunk(gzip.compress(BODY)[:-1]), END],
    ],
    ids=["chunked", "length", "gzip", "gzip checksum"],
)
async def test_a_clean_early_end_is_a_truncation(loopback, transport, script):
    error = await failure(loopback, transport, script, kind=TruncatedError)
    assert error.received_bytes > 0


@pytest.mark.parametrize(
    ("script", "received"),
    [
        (["hold"], 0),
        ([CHUNKED, "hold"], 0),
        ([CHUNKED, chunk(b"abc"), "hold"], 3),
        ([b"HTTP/1.1 200", "hold"], 0),
    ],
    ids=["no reply", "headers only", "part of the body", "part of the headers"],
)
async def test_silence_is_a_stall(loopback, impatient, script, received):
    error = await failure(loopback, impatient, script, kind=StallError)
    assert error.is_transient
    assert error.received_bytes == received
    assert error.waited_s in {0.2, 0.4}


async def test_a_drip_is_a_stall_although_bytes_come(loopback, impatient):
    error = await failure(loopback, impatient, [CHUNKED, *[chunk(b"a"), 0.03] * 100, END], kind=StallError)
    assert 1 < error.received_bytes < 30
    assert "1000 bytes/s" in str(error)


async def test_a_drip_of_headers_is_a_stall(loopback, impatient):
    await failure(loopback, impatient, [b"HTTP/1.1 200 OK\r\n", *[b"a: b\r\n", 0.03] * 100], kind=StallError)


async def test_an_endless_body_is_stopped_at_its_limit(loopback, transport):
    error = await failure(
        loopback, transport, [CHUNKED, "endless"], limit_bytes=2**18, kind=BodyTooLargeError
    )
    assert error.limit_bytes == 2**18
    assert not error.is_transient


async def test_a_length_beyond_the_limit_is_refused_before_the_body(loopback, impatient):
    await failure(loopback, impatient, [head(Content_Length=2**40), "hold"], kind=BodyTooLargeError)


async def test_a_gzip_bomb_is_stopped_at_its_limit(loopback, transport):
    deflater = zlib.compressobj(wbits=31)
    bomb = deflater.compress(bytes(2**27)) + deflater.flush()
    assert len(bomb) < 2**18
    await failure(loopback, transport, [GZIPPED, chunk(bomb), END], limit_bytes=1000, kind=BodyTooLargeError)


@pytest.mark.parametrize(
    "packed",
    [
        gzip.compress(b"abc") + bytes(2**20),
        gzip.compress(b"") * 30_000,
        gzip.compress(b"abc", 0)[:10] + b"\0\0\0\xff\xff" * 2**18,
    ],
    ids=["padding", "empty members", "empty blocks"],
)
async def test_bytes_that_make_nothing_are_bounded_too(loopback, transport, packed):
    script = [GZIPPED, *[chunk(packed[k : k + 2**16]) for k in range(0, len(packed), 2**16)], "hold"]
    error = await failure(loopback, transport, script, limit_bytes=1000, kind=BodyTooLargeError)
    assert error.limit_bytes == 1000


async def test_parts_of_a_packed_body_are_bounded(loopback, transport):
    script = [GZIPPED, chunk(gzip.compress(b"") * 60_000), END]
    await failure(loopback, transport, script, limit_bytes=2**30, kind=TransportError)


@pytest.mark.parametrize(
    "script",
    [
        [b"HTTP/1.1 200 OK\r\n", *[b"a: b\r\n" * 1000] * 100, "hold"],
        [b"HTTP/1.1 200 OK\r\na: ", *[b"b" * 2**16] * 100, "hold"],
        [b"HTTP/1.1 200 ", *[b"b" * 2**16] * 100, "hold"],
        [CHUNKED, chunk(b"abc"), b"0\r\n", *[b"a: b\r\n" * 1000] * 100, "hold"],
        [CHUNKED, b"3;", *[b"e" * 2**16] * 100, "hold"],
    ],
    ids=["many headers", "a long header", "a long reason", "trailers", "chunk extensions"],
)
async def test_headers_without_end_are_an_error(loopback, impatient, script):
    error = await failure(loopback, impatient, script)
    assert isinstance(error, TransportError)


async def test_a_body_of_exactly_the_limit_is_taken(loopback, transport):
    async with loopback([plain(BODY)], [GZIPPED, chunk(gzip.compress(BODY)), END]) as server:
        for _ in range(2):
            assert (await transport.fetch(server.url, len(BODY))).body == BODY
    await failure(loopback, transport, [plain(BODY)], limit_bytes=len(BODY) - 1, kind=BodyTooLargeError)


async def test_gzip_members_are_joined_and_padding_is_dropped(loopback, transport):
    data = gzip.compress(b"one, ") + gzip.compress(b"two") + bytes(7)
    for step in (1, 7, len(data)):
        pieces = [chunk(data[k : k + step]) for k in range(0, len(data), step)]
        async with loopback([GZIPPED, *pieces, END]) as server:
            assert (await transport.fetch(server.url, 2**20)).body == b"one, two"


async def test_an_empty_body_is_empty_whatever_its_encoding(loopback, transport):
    async with loopback([plain(b"", Content_Encoding="gzip")]) as server:
        assert (await transport.fetch(server.url, 2**20)).body == b""


@pytest.mark.parametrize(
    "reply",
    [
        GZIPPED + chunk(b"no gzip at all") + END,
        plain(b"x", Content_Encoding="br"),
        b"220 smtp.example ESMTP\r\n\r\n",
    ],
    ids=["no gzip", "an encoding that was not asked for", "no HTTP"],
)
async def test_a_damaged_answer_is_a_transport_error_that_may_heal(loopback, transport, reply):
    error = await failure(loopback, transport, [reply, "close"])
    assert error.is_transient


async def test_a_refused_connection_is_named(loopback, transport):
    async with loopback([["close"]]) as server:
        url = server.url
    with pytest.raises(ConnectError, match=r"no connection to 127\.0\.0\.1"):
        await transport.fetch(url, 2**20)


async def test_an_unknown_host_is_a_connect_error(transport):
    with pytest.raises(ConnectError, match=r"no connection to nowhere\.invalid"):
        await transport.fetch("http://nowhere.invalid/", 2**20)


async def test_a_connection_that_closes_without_a_word_is_a_connect_error(loopback, transport):
    async with loopback(["close"], [plain(b"a second request, which nobody counted")]) as server:
        with pytest.raises(ConnectError) as caught:
            await transport.fetch(server.url, 2**20)
        assert len(server.requests) == 1
    assert caught.value.is_transient


async def test_a_kept_connection_that_dies_before_an_answer_is_opened_again_at_once(loopback):
    another = []

    async def before_another():
        another.append(None)

    transport = AiohttpTransport(PATIENT, before_another)
    async with loopback([plain(b"one")], ["close"], [plain(b"two")], ["reset"], [plain(b"three")]) as server:
        for body in (b"one", b"two", b"three"):
            assert (await transport.fetch(server.url, 2**20)).body == body
        assert (server.n_connections, len(server.requests)) == (3, 5)
    await transport.aclose()
    assert len(another) == 2


async def test_each_hop_of_a_redirect_may_need_a_new_connection(loopback, transport):
    scripts = [[plain(b"kept")], ["close"], [redirect("/there")], ["close"], [plain(BODY)]]
    async with loopback(*scripts) as server:
        assert (await transport.fetch(server.url, 2**20)).body == b"kept"
        assert (await transport.fetch(server.url, 2**20)).body == BODY
        assert server.n_connections == 3


async def test_a_new_connection_that_dies_is_a_failure(loopback, transport):
    async with loopback([plain(b"kept")], ["close"], ["close"], [plain(b"not asked for")]) as server:
        await transport.fetch(server.url, 2**20)
        with pytest.raises(ConnectError):
            await transport.fetch(server.url, 2**20)
        assert len(server.requests) == 3


async def test_many_dead_connections_in_the_pool_cost_one_request_more(loopback, transport):
    n, gate = 8, anyio.Event()
    n_waiting = 0

    async def on_bytes(_n):
        nonlocal n_waiting
        n_waiting += 1
        if n_waiting == n:
            gate.set()
        await gate.wait()

    async with loopback(*[[plain(b"x")]] * n, ["close"], [plain(BODY)]) as server:
        async with anyio.create_task_group() as group:
            for _ in range(n):
                group.start_soon(transport.fetch, server.url, 2**20, on_bytes)
        assert (await transport.fetch(server.url, 2**20)).body == BODY
        assert (server.n_connections, len(server.requests)) == (n + 1, n + 2)


async def test_an_answer_that_broke_off_in_its_headers_is_a_failure(loopback, transport):
    async with loopback([plain(b"kept")], [b"HTTP/1.1 200 OK\r\nA: b\r\n", "close"], [plain(BODY)]) as server:
        await transport.fetch(server.url, 2**20)
        with pytest.raises(ConnectError):
            await transport.fetch(server.url, 2**20)


async def test_a_fresh_fetch_takes_no_kept_connection(loopback, transport):
    async with loopback([plain(BODY)]) as server:
        for _ in range(2):
            await transport.fetch(server.url, 2**20)
        assert server.n_connections == 1
        await transport.fetch(server.url, 2**20, fresh=True)
        assert server.n_connections == 2


async def test_203_is_an_answer_that_a_proxy_changed(loopback, transport):
    async with loopback([plain(BODY, "203 Non-Authoritative Information")]) as server:
        assert (await transport.fetch(server.url, 2**20)).body == BODY


@pytest.mark.parametrize("status", ["202 Accepted", "403 Forbidden", "404 Not Found", "429 Slow", "503 Down"])
async def test_retry_after_makes_any_status_worth_another_try(loopback, transport, status):
    error = await failure(
        loopback, transport, [plain(b"", status, Retry_After="3")], kind=(StatusError, NotFoundError)
    )
    assert (error.retry_after, error.is_transient) == ("3", True)
    assert "the server asks to wait: 3" in error.message


async def test_404_is_not_found_with_the_words_of_the_server(loopback, transport):
    error = await failure(loopback, transport, [plain(b"no such image", "404 Not Found")], kind=NotFoundError)
    assert error.service_message == "no such image"


async def test_429_carries_its_retry_after(loopback, transport):
    script = [plain(b"", "429 Too Many Requests", Retry_After="7")]
    error = await failure(loopback, transport, script, kind=StatusError)
    assert (error.status, error.retry_after, error.is_transient) == (429, "7", True)


@pytest.mark.parametrize(
    ("headers", "retry_after"),
    [
        ({"Date": "Thu, 01 Jan 1970 00:00:57 GMT", "Retry_After": "Thu, 01 Jan 1970 00:01:00 GMT"}, "3"),
        ({"Date": "Thu, 01 Jan 1970 00:01:57 GMT", "Retry_After": "Thu, 01 Jan 1970 00:01:00 GMT"}, "0"),
        ({"Date": "Thu, 01 Jan 1970 00:00:57 GMT", "Retry_After": "7"}, "7"),
        ({"Date": "Thu, 01 Jan 1970 00:00:57 GMT", "Retry_After": "soon"}, None),
        ({"Date": "Thu, 01 Jan 1970 00:00:57 GMT", "Retry_After": "100000000"}, "100000000"),
        ({"Date": "today", "Retry_After": "Thu, 01 Jan 1970 00:01:00 GMT"}, "Thu, 01 Jan 1970 00:01:00 GMT"),
        ({"Date": "Thu, 01 Jan 1970 00:00:57 GMT"}, None),
    ],
)
async def test_a_date_to_wait_for_is_read_by_the_clock_of_the_server(
    loopback, transport, headers, retry_after
):
    script = [plain(b"", "503 Down", **headers)]
    error = await failure(loopback, transport, script, kind=StatusError)
    assert error.retry_after == retry_after


@pytest.mark.parametrize(
    ("status", "is_transient"),
    [("503 Down", True), ("202 Accepted", True), ("403 No", False), ("302 Where", False)],
)
async def test_other_statuses_are_status_errors(loopback, transport, status, is_transient):
    error = await failure(loopback, transport, [plain(b"words", status)], kind=StatusError)
    assert (error.status, error.is_transient) == (int(status[:3]), is_transient)
    assert f"HTTP {status}" in str(error)


async def test_an_error_page_that_breaks_off_is_still_its_status(loopback, transport):
    script = [head("502 Bad Gateway", Content_Length=100) + b"half a", "close"]
    assert (await failure(loopback, transport, script, kind=StatusError)).status == 502


async def test_a_connection_survives_a_small_error_page(loopback, transport):
    async with loopback([plain(b"words", "404 Not Found")], [plain(BODY)]) as server:
        with pytest.raises(NotFoundError):
            await transport.fetch(server.url, 2**20)
        assert (await transport.fetch(server.url, 2**20)).body == BODY
        assert server.n_connections == 1


async def test_html_under_200_is_handed_on_for_the_check_to_judge(loopback, transport):
    page = b"<html><body>Site unavailable</body></html>"
    async with loopback([plain(page, Content_Type="text/html")]) as server:
        assert (await transport.fetch(server.url, 2**20)).body == page


@pytest.mark.parametrize(
    "url", ["ftp://x/y", "no url", "http://", "http://x/a b", "http://x/\r\nHost: y", "http://x:y/"]
)
async def test_what_is_no_url_is_refused(transport, url):
    with pytest.raises(SelectionError):
        await transport.fetch(url, 2**20)


async def test_a_cancelled_fetch_lets_its_connection_go(loopback, transport):
    async with loopback([CHUNKED, chunk(BODY), "hold"], [plain(b"next")]) as server:
        with anyio.move_on_after(0.05) as scope:
            await transport.fetch(server.url, 2**20)
        assert scope.cancelled_caught
        assert (await transport.fetch(server.url, 2**20)).body == b"next"
        assert server.n_connections == 2


async def test_the_pool_never_queues(loopback):
    # more than aiohttp's own limit of 100; patient, because so many connections take a while on a busy machine
    n = 130
    patient = AiohttpTransport(PATIENT)
    gate = anyio.Event()
    n_waiting = 0

    async def on_bytes(_n):
        nonlocal n_waiting
        n_waiting += 1
        if n_waiting == n:
            gate.set()
        await gate.wait()

    async with loopback([plain(b"x")]) as server, anyio.create_task_group() as group:
        for _ in range(n):
            group.start_soon(patient.fetch, server.url, 2**20, on_bytes)
    await patient.aclose()
    assert n_waiting == n


async def test_repr_tells_whether_it_is_open(loopback, transport):
    assert repr(transport) == "AiohttpTransport(closed)"
    async with loopback([plain(b"x")]) as server:
        await transport.fetch(server.url, 2**20)
        assert repr(transport) == "AiohttpTransport(open)"
