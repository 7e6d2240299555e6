"""Where a redirect may lead: the rules by themselves."""

from __future__ import annotations

import pytest
from yarl import URL

from asyncfetch.engine.redirects import Refusal, Service, is_private

PUBLIC = "93.184.216.34"


def follow(home, location, *, here=None, peer=PUBLIC, trusted_hosts=()):
    return str(Service(trusted_hosts).follow(URL(home), URL(here or home), location, peer))


@pytest.mark.parametrize(
    ("home", "location", "asked"),
    [
        ("http://h/a", "/b?c", "http://h/b?c"),
        ("http://h/a", "http://h/b", "http://h/b"),
        ("http://h/a", "http://h:80/b", "http://h/b"),
        ("http://h/a", "http://H./b", "http://h./b"),
        ("http://h/a", "https://h/b", "https://h/b"),
        ("http://h/a", "https://h:443/b", "https://h/b"),
        ("http://h:8765/a", "http://h/b", "http://h/b"),
        ("http://h:8765/a", "http://h:9000/b", "http://h:9000/b"),
        ("https://h/a", "https://h:443/b", "https://h/b"),
        ("https://h/a", "http://h/b", "https://h/b"),
        ("https://h/a", "http://h:80/b", "https://h/b"),
        ("https://h:8443/a", "http://h:8080/b", "https://h:8443/b"),
        ("https://h:8443/a", "http://h/b", "https://h:8443/b"),
        ("https://[::1]/a", "http://[::1]/b", "https://[::1]/b"),
        ("http://xn--bcher-kva.example/a", "http://bücher.example/b", "http://xn--bcher-kva.example/b"),
    ],
)
def test_the_same_host_is_followed_whatever_the_scheme_and_the_port(home, location, asked):
    assert follow(home, location) == asked


def test_a_service_that_was_asked_by_https_once_is_never_asked_by_http():
    home, here = "http://api.brain-map.org/a", "https://api.brain-map.org/a"
    assert follow(home, "http://api.brain-map.org/b", here=here) == "https://api.brain-map.org/b"
    assert follow(home, "http://mouse.brain-map.org/b", here=here) == "https://mouse.brain-map.org/b"


def test_giving_up_encryption_is_refused_with_what_to_type():
    with pytest.raises(Refusal, match=r"http://h/a, which would give up encryption.*--base-url http://h$"):
        follow("https://h/a", "http://h/a")


@pytest.mark.parametrize(
    "host", ["mouse.brain-map.org", "brain-map.org", "a.b.brain-map.org", "API.Brain-Map.org."]
)
def test_names_below_brain_map_org_are_one_service(host):
    assert follow("https://api.brain-map.org/a", f"https://{host}/b")


@pytest.mark.parametrize(
    "location",
    [
        "https://evilbrain-map.org/b",
        "https://brain-map.org.evil.com/b",
        "https://api.brain-map.org@evil.com/b",
        "https://evil.com/api.brain-map.org",
        "https://evil.com\\@api.brain-map.org/b",
        "//evil.com/b",
        "https://xn--brain-map-kva.org/b",
        "https://brаin-map.org/b",
    ],
)
def test_names_that_look_like_the_service_are_not(location):
    with pytest.raises(Refusal):
        follow("https://api.brain-map.org/a", location)


@pytest.mark.parametrize(
    "location", ["ftp://h/b", "file:///etc/passwd", "javascript:1", "http://[", "http://h:x/"]
)
def test_what_is_not_an_http_address_is_refused(location):
    with pytest.raises(Refusal):
        follow("http://h/a", location)


def test_other_hosts_are_followed_where_a_setting_names_them():
    home = "https://api.example.org/a"
    with pytest.raises(
        Refusal, match=r"https://cdn.example.org/b, on another host.*ASYNCFETCH_TRUSTED_HOSTS=cdn.example.org"
    ):
        follow(home, "https://cdn.example.org/b?token=x")
    for entry in ("cdn.example.org", "CDN.example.org.", "*.example.org", ".example.org"):
        assert follow(home, "https://cdn.example.org/b", trusted_hosts=[entry]) == "https://cdn.example.org/b"
    with pytest.raises(Refusal):
        follow(home, "https://evilexample.org/b", trusted_hosts=["*.example.org"])


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "[::1]",
        "localhost",
        "10.0.0.5",
        "169.254.169.254",
        "[fe80::1]",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
    ],
)
def test_a_private_address_is_never_reached_from_a_public_one(host):
    entry = host.strip("[]")
    with pytest.raises(Refusal):
        follow("https://api.brain-map.org/a", f"https://{host}/b", trusted_hosts=[entry])
    assert is_private(entry)


def test_a_private_address_may_be_reached_from_a_private_one():
    assert (
        follow("http://lab/a", "http://10.0.0.5/b", peer="10.0.0.4", trusted_hosts=["10.0.0.5"])
        == "http://10.0.0.5/b"
    )


def test_credentials_in_a_redirect_are_not_used():
    assert follow("http://h/a", "http://u:p@h/b") == "http://h/b"
