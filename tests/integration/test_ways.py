"""Whole runs over ways to the server that are not the plain one."""

from __future__ import annotations

import json

import msgspec
import pytest

import asyncfetch
from asyncfetch.replica import open_replica
from asyncfetch.settings import Settings

pytestmark = pytest.mark.anyio

SELECTION = "dataset:900000005"


def settings_for(base_url):
    return Settings(base_url=base_url, um=200.0, requests_per_s=1000.0, retry_base_s=0.01)


async def test_a_password_is_written_nowhere(tmp_path):
    events = []
    async with open_replica() as replica:
        settings = settings_for(replica.base_url.replace("//", "//anna:geh%40eim@"))
        report = await asyncfetch.mirror(
            SELECTION, tmp_path / "out.zarr", settings=settings, on_event=events.append
        )
        assert report.n_committed == 10
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    told = msgspec.json.encode([msgspec.to_builtins(event) for event in events])
    shown = json.dumps(report.as_dict(), default=str)
    for text in (written, told, shown.encode(), repr(report).encode(), repr(settings).encode()):
        for secret in (b"geh@eim", b"geh%40eim", b"anna"):
            assert secret not in text


@pytest.mark.parametrize("redirect_base", ["", "http://{host}"])
async def test_redirects_of_each_form_give_the_whole_data_set(tmp_path, redirect_base):
    async with open_replica(redirect_base=redirect_base) as replica:
        report = await asyncfetch.mirror(
            SELECTION, tmp_path / "out.zarr", settings=settings_for(replica.base_url)
        )
    assert (report.n_committed, report.failures) == (10, [])


async def test_a_redirect_to_another_host_names_both_and_what_to_type(tmp_path):
    async with open_replica(redirect_base="http://images.example.org") as replica:
        report = await asyncfetch.mirror(
            SELECTION, tmp_path / "out.zarr", settings=settings_for(replica.base_url)
        )
        assert len(report.failures) == 10
        message = report.failures[0].message
    assert message.startswith(f"{replica.base_url}/api/v2/")
    assert "was redirected to http://images.example.org/cgi-bin/imageservice, on another host" in message
    assert "--base-url http://images.example.org" in message
    assert "ASYNCFETCH_TRUSTED_HOSTS=images.example.org" in message
