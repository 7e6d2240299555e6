from __future__ import annotations

import pickle

import msgspec
import pytest

from asyncfetch.address import credentials_of, parse_address, without_credentials
from asyncfetch.errors import SettingsError
from asyncfetch.settings import Settings, read_environment

SECRET = "https://anna:s%40cret@api.example.org/root"


def test_an_address_is_parted_from_its_credentials():
    address = parse_address(SECRET)
    assert address == "https://api.example.org/root"
    assert credentials_of(address) == ("anna", "s@cret")
    assert credentials_of(parse_address("https://api.example.org")) is None


def test_a_user_needs_no_password():
    assert credentials_of(parse_address("http://token@h")) == ("token", "")


def test_settings_show_no_password_and_keep_it():
    settings = Settings(base_url=SECRET, proxy="http://anna:s%40cret@proxy:3128")
    for each in (settings, pickle.loads(pickle.dumps(settings)), settings.replace(um=10.0)):
        assert "cret" not in repr(each)
        assert "cret" not in f"{each.base_url} {each.base_url!r} {msgspec.structs.asdict(each)}"
        assert credentials_of(each.base_url) == credentials_of(each.proxy) == ("anna", "s@cret")
    assert credentials_of(Settings.from_layers({"base_url": settings.base_url}).base_url) is not None
    assert "cret" not in repr(credentials_of(settings.base_url))


@pytest.mark.parametrize(
    "text",
    [
        "ftp://anna:s3cret@h/",
        "anna:s3cret@h",
        "http://anna:s3cret@",
        "http://anna:s3cret@h:x/",
        "http://h?s3cret=1",
    ],
)
def test_an_address_that_is_refused_is_not_shown_with_its_password(text):
    for make in (
        lambda: Settings(base_url=text),
        lambda: Settings.from_layers({"base_url": text}),
        lambda: read_environment({"ASYNCFETCH_BASE_URL": text}),
        lambda: Settings(proxy=text),
    ):
        with pytest.raises(SettingsError) as caught:
            make()
        assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["http://h/?token=x", "http://h/#part", "http://", "http://a b/", "http://[::1", "http:///x"]
)
def test_what_is_not_an_address_is_refused(text):
    with pytest.raises(SettingsError, match="base_url"):
        Settings(base_url=text)


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("HTTPS://Api.Example.org/", "https://api.example.org/"),
        ("http://bücher.example", "http://xn--bcher-kva.example"),
        ("http://[::1]:8765/a", "http://[::1]:8765/a"),
        ("http://h/ä b", "http://h/%C3%A4%20b"),
    ],
)
def test_an_address_is_written_as_it_is_sent(text, sent):
    assert Settings(base_url=text).base_url == sent


def test_credentials_are_taken_out_of_any_text():
    assert without_credentials("to http://a:b@h/x, then //c@i") == "to http://h/x, then //i"


@pytest.mark.parametrize(
    "host", ["images.example.org", "*.example.org", ".example.org", "localhost", "10.0.0.5"]
)
def test_hosts_to_trust_are_named(host):
    assert Settings.from_layers({"trusted_hosts": f"{host}, h"}).trusted_hosts == (host, "h")


@pytest.mark.parametrize("host", ["https://h", "h/x", "*", "a@b", "h:80 "])
def test_what_is_not_a_host_to_trust_is_refused(host):
    with pytest.raises(SettingsError, match="trusted_hosts"):
        Settings(trusted_hosts=(host,))
