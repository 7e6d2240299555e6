"""TLS on loopback, with an authority made for the test."""

from __future__ import annotations

import datetime as dt
import os
import ssl
from contextlib import asynccontextmanager

import pytest
import trustme

from asyncfetch.engine import AiohttpTransport, Engine, Request
from asyncfetch.engine.trust import make_context
from asyncfetch.errors import ConnectError, RedirectError, SettingsError, TLSError
from asyncfetch.events import RequestRetried, RequestStarted
from asyncfetch.settings import Settings

BODY = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def bundle(authority, tmp_path):
    path = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(path)
    return path


@pytest.fixture
def secure(loopback, authority):
    """Return what serves scripts by TLS, as localhost or as another name."""

    @asynccontextmanager
    async def serve(*scripts, name="localhost", **options):
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert(name, **options).configure_cert(context)
        async with loopback(*scripts, ssl=context) as server:
            server.url = server.url.replace("http://127.0.0.1", "https://localhost")
            yield server

    return serve


async def fetch(url, environment, **settings):
    chosen = Settings(base_url=url, **settings)
    transport = AiohttpTransport(chosen, environment=environment)
    try:
        return bytes((await transport.fetch(f"{chosen.base_url}/x", 100)).body)
    finally:
        await transport.aclose()


@pytest.mark.anyio
@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
async def test_an_authority_of_ones_own_is_trusted(secure, bundle, variable, monkeypatch):
    # OpenSSL itself reads its variable, and not from a mapping
    monkeypatch.setenv(variable, str(bundle))
    async with secure([BODY]) as server:
        assert await fetch(server.url, {variable: str(bundle)}) == b"abc"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"name": "elsewhere.example"}, r"[Mm]ismatch.*--base-url"),
        (
            {
                "not_after": dt.datetime(2020, 1, 1, tzinfo=dt.UTC),
                "not_before": dt.datetime(2019, 1, 1, tzinfo=dt.UTC),
            },
            r"expired.*clock",
        ),
    ],
    ids=["another name", "expired"],
)
async def test_a_certificate_that_is_wrong_is_told_in_the_words_of_tls(
    secure, bundle, options, words, monkeypatch
):
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    async with secure([BODY], **options) as server:
        with pytest.raises(TLSError, match=rf"certificate of localhost:\d+ could not be verified: .*{words}"):
            await fetch(server.url, os.environ)


@pytest.mark.anyio
async def test_an_unknown_authority_is_asked_once_and_its_variable_is_named(secure):
    events = []

    async def check(reply, _accept):
        return reply

    async with secure([BODY]) as server:
        settings = Settings(base_url=server.url)
        async with Engine(settings, on_event=events.append) as engine:
            with pytest.raises(
                TLSError, match=r"certificate .*unable to get local issuer.*SSL_CERT_FILE="
            ) as caught:
                await engine.fetch(Request(f"{server.url}/x", "image", 100), check)
    assert not caught.value.is_transient
    assert "not permitted" not in str(caught.value)
    assert sum(isinstance(each, RequestStarted) for each in events) == 1
    assert not any(isinstance(each, RequestRetried) for each in events)


@pytest.mark.anyio
async def test_a_port_that_does_not_speak_tls_is_told_from_a_bad_certificate(loopback):
    async with loopback(
        [b"HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n", "close"], delimiter=b"\x01"
    ) as server:
        url = server.url.replace("http:", "https:")
        with pytest.raises(TLSError, match=r"does not speak TLS; use --base-url http://127\.0\.0\.1"):
            await fetch(url, {})


@pytest.mark.anyio
async def test_a_connection_that_ends_in_the_handshake_may_heal(loopback):
    async with loopback(["close"], delimiter=b"\x01") as server:
        with pytest.raises(ConnectError) as caught:
            await fetch(server.url.replace("http:", "https:"), {})
    assert caught.value.is_transient


@pytest.mark.anyio
async def test_an_http_redirect_of_an_https_address_is_asked_for_by_https_with_the_password(
    secure, bundle, monkeypatch
):
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    moved = b"HTTP/1.1 302 Found\r\nLocation: http://localhost:80/there\r\nContent-Length: 0\r\n\r\n"
    async with secure([moved], [BODY]) as server:
        assert await fetch(server.url.replace("//", "//anna:geheim@"), os.environ) == b"abc"
    assert server.requests[1].startswith(b"GET /there ")
    assert all(b"Authorization: Basic YW5uYTpnZWhlaW0=\r\n" in request for request in server.requests)


@pytest.mark.anyio
async def test_a_password_is_not_sent_to_another_host_or_port(loopback):
    async with loopback([BODY]) as other:
        moved = f"HTTP/1.1 302 Found\r\nLocation: {other.url}/there\r\nContent-Length: 0\r\n\r\n".encode()
        for name in ("127.0.0.1", "localhost"):
            async with loopback([moved]) as server:
                url = server.url.replace("127.0.0.1", f"anna:geheim@{name}")
                assert await fetch(url, {}, trusted_hosts=("127.0.0.1",)) == b"abc"
            assert b"Authorization: Basic" in server.requests[0]
    assert not any(b"uthorization" in request for request in other.requests)


@pytest.mark.anyio
async def test_a_name_that_leads_into_this_network_is_not_asked(loopback, monkeypatch):
    async with loopback([BODY]) as other:
        there = other.url.replace("127.0.0.1", "localhost")
        moved = f"HTTP/1.1 302 Found\r\nLocation: {there}/there\r\nContent-Length: 0\r\n\r\n".encode()
        async with loopback([moved]) as server:
            # All is private on loopback: let the host that was asked first count as public, and the other by its name.
            verdicts = iter([False, True])
            monkeypatch.setattr("asyncfetch.engine.transport.is_private", lambda _host: next(verdicts))
            with pytest.raises(RedirectError, match="a name that leads to"):
                await fetch(server.url, {}, trusted_hosts=("localhost",))
    assert other.requests == []


@pytest.mark.parametrize(
    "variable", ["SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"]
)
def test_a_file_of_certificates_that_is_not_there_is_named(variable, tmp_path):
    with pytest.raises(SettingsError, match=f"{variable} names .*gone, which does not exist"):
        make_context({variable: str(tmp_path / "gone")})


def test_a_file_without_certificates_is_named(tmp_path):
    (tmp_path / "empty.pem").write_text("words")
    with pytest.raises(SettingsError, match="holds no certificates"):
        make_context({"SSL_CERT_FILE": str(tmp_path / "empty.pem")})


def test_the_systems_certificates_are_trusted_otherwise():
    context = make_context({})
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
