"""Proxies: the environment's words, and requests through a real one on loopback."""

from __future__ import annotations

import pytest
from yarl import URL

from asyncfetch.engine import AiohttpTransport
from asyncfetch.engine.proxies import Proxies
from asyncfetch.errors import ConnectError, SettingsError, StatusError
from asyncfetch.settings import Settings

PROXY = "http://proxy.example:3128"


def proxy_of(url, environment, setting="environment"):
    found = Proxies(setting, environment).of(URL(url))
    return None if found is None else found.url


@pytest.mark.parametrize(
    ("url", "environment", "proxy"),
    [
        ("http://h/", {"http_proxy": PROXY}, PROXY),
        ("http://h/", {"HTTP_PROXY": PROXY}, PROXY),
        ("http://h/", {"HTTP_PROXY": PROXY, "REQUEST_METHOD": "GET"}, None),
        ("http://h/", {"http_proxy": PROXY, "REQUEST_METHOD": "GET"}, PROXY),
        ("https://h/", {"http_proxy": PROXY}, None),
        ("https://h/", {"https_proxy": PROXY}, PROXY),
        ("https://h/", {"HTTPS_PROXY": PROXY, "https_proxy": "http://small:1"}, "http://small:1"),
        ("https://h/", {"HTTPS_PROXY": PROXY, "https_proxy": ""}, None),
        ("https://h/", {"all_proxy": PROXY}, PROXY),
        ("http://h/", {"ALL_PROXY": PROXY}, PROXY),
        ("http://h/", {"http_proxy": "proxy.example:3128"}, PROXY),
        ("http://h/", {"http_proxy": f"{PROXY}/"}, PROXY),
        ("http://127.0.0.1/", {"http_proxy": PROXY}, PROXY),
        ("http://h/", {}, None),
    ],
)
def test_the_environment_is_read_as_curl_and_requests_read_it(url, environment, proxy):
    assert proxy_of(url, environment) == proxy


@pytest.mark.parametrize(
    ("no_proxy", "host", "is_direct"),
    [
        ("*", "h", True),
        ("example.org", "example.org", True),
        ("example.org", "api.example.org", True),
        (".example.org", "api.example.org", True),
        ("*.example.org", "api.example.org", True),
        ("Example.ORG", "api.example.org.", True),
        ("example.org", "evilexample.org", False),
        ("a, example.org b", "b", True),
        ("example.org:80", "example.org", True),
        ("example.org:8080", "example.org", False),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("127.0.0.1", "127.0.0.1", True),
        ("::1", "[::1]", True),
        ("[::1]:80", "[::1]", True),
        ("fd00::/8", "[fd00::5]", True),
        ("1", "10.0.0.1", False),
        ("", "h", False),
    ],
)
def test_no_proxy_names_who_is_asked_directly(no_proxy, host, is_direct):
    environment = {"http_proxy": PROXY, "no_proxy": no_proxy}
    assert (proxy_of(f"http://{host}/", environment) is None) is is_direct


def test_a_setting_wins_over_the_environment():
    environment = {"http_proxy": PROXY, "no_proxy": "*"}
    assert proxy_of("http://h/", environment, "none") is None
    assert proxy_of("http://h/", environment, "http://other:1") == "http://other:1"
    assert proxy_of("http://h/", {"http_proxy": PROXY}, "none") is None


@pytest.mark.parametrize("value", ["socks5://u:s3cret@proxy:1080", "http://", "http://proxy:x"])
def test_a_proxy_that_cannot_be_used_is_an_error_before_anything_is_asked(value):
    settings = Settings(base_url="http://h")
    with pytest.raises(SettingsError, match=r"http_proxy names .*ASYNCFETCH_PROXY=none") as caught:
        AiohttpTransport(settings, environment={"http_proxy": value})
    assert "s3cret" not in str(caught.value)


def answer(body):
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def through(server, **settings):
    proxy = server.url.replace("//", "//anna:s%40cret@")
    return AiohttpTransport(Settings(**settings), environment={"all_proxy": proxy})


@pytest.mark.anyio
async def test_a_request_goes_through_the_proxy_with_its_credentials(loopback):
    async with loopback([answer(b"abc")]) as server:
        transport = through(server)
        reply = await transport.fetch("http://api.brain-map.test/x?y", 100)
        await transport.aclose()
        assert reply.body == b"abc"
    request = server.requests[0]
    assert request.startswith(b"GET http://api.brain-map.test/x?y HTTP/1.1\r\n")
    assert b"Proxy-Authorization: Basic YW5uYTpzQGNyZXQ=\r\n" in request


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("url", "status", "is_transient"),
    [
        ("http://h.test/", "407 Who", False),
        ("https://h.test/", "407 Who", False),
        ("https://h.test/", "403 No", False),
        ("https://h.test/", "502 Down", True),
    ],
)
async def test_what_a_proxy_refuses_names_the_proxy_without_its_password(loopback, url, status, is_transient):
    refused = f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode()
    async with loopback([refused]) as server:
        transport = through(server)
        with pytest.raises(StatusError) as caught:
            await transport.fetch(url, 100)
        await transport.aclose()
        assert server.url in str(caught.value)
    assert caught.value.status == int(status[:3])
    assert caught.value.is_transient is is_transient
    assert "cret" not in repr(caught.value.facts) + str(caught.value)


@pytest.mark.anyio
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_that_does_not_listen_is_named(loopback, scheme):
    async with loopback(["close"]) as server:
        transport = through(server)
    with pytest.raises(
        ConnectError, match=r"h\.test.* through the proxy http://127\.0\.0\.1:\d+ .*check all_proxy"
    ):
        await transport.fetch(f"{scheme}://h.test/", 100)
    await transport.aclose()
