"""A server that cannot be reached: by its port, or by its name."""

from __future__ import annotations

import socket
from contextlib import closing

import anyio
import pytest

from asyncfetch import mirror
from asyncfetch.events import RequestRetried
from asyncfetch.replica import open_replica

SELECTION = "dataset:900000004"
NAME = "atlas.test"


@pytest.fixture
def closed_port():
    """Return a port of loopback on which nobody listens."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        return server.getsockname()[1]


class Watch:
    """The errors of retries, and an event that is set at the second."""

    def __init__(self):
        self.errors = []
        self.twice = anyio.Event()

    def __call__(self, event):
        if isinstance(event, RequestRetried):
            self.errors.append(event.error)
            if len(self.errors) == 2:
                self.twice.set()


@pytest.fixture
def mirror_late(atlas, drawn, settings, leaves_nothing_behind):
    """Return what mirrors from where a replica begins to listen after the second failure, or never does."""

    def go(folder, port, *, host="127.0.0.1", comes=lambda: True, **choices):
        async def body():
            watch, is_over = Watch(), anyio.Event()

            async def listen():
                await watch.twice.wait()
                if comes():
                    async with open_replica(atlas, port=port, cache_folder=drawn):
                        await is_over.wait()

            here = settings.replace(base_url=f"http://{host}:{port}", **choices)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(listen)
                report = await mirror(SELECTION, folder, settings=here, on_event=watch)
                is_over.set()
            return report, watch.errors

        return leaves_nothing_behind(body)

    return go


def never():
    return False


def test_a_server_that_begins_to_listen_late_is_waited_for(
    mirror_late, closed_port, undisturbed, objects_of, tmp_path
):
    report, errors = mirror_late(tmp_path, closed_port, attempts=12)
    assert report.failures == []
    assert set(errors) == {"ConnectError"}
    assert objects_of(tmp_path) == undisturbed(SELECTION)


def test_a_server_that_never_listens_is_named(mirror_late, closed_port, tmp_path):
    report, errors = mirror_late(tmp_path, closed_port, comes=never)
    (failure,) = report.failures
    assert (failure.item, failure.error, failure.is_transient) == (SELECTION, "ConnectError", True)
    assert f"no connection to 127.0.0.1:{closed_port} (Connection refused)" in failure.message
    # the data set and its sections are asked for side by side
    assert len(errors) == 2 * 2


@pytest.fixture
def names(monkeypatch):
    """Return the known names: a name of ours is at loopback once it is among them, and no resolver is asked."""
    known = set()
    resolve = socket.getaddrinfo

    def look_up(host, *args, **kwargs):
        if host == NAME and host not in known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return resolve("127.0.0.1" if host == NAME else host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return known


def test_a_host_without_an_address_is_named_and_resumed_when_it_has_one(
    mirror_late, names, run, undisturbed, closed_port, tmp_path
):
    report, _ = mirror_late(tmp_path, closed_port, host=NAME, comes=never)
    (failure,) = report.failures
    assert (failure.item, failure.error) == (SELECTION, "ConnectError")
    assert f"no connection to {NAME}:{closed_port} (Name or service not known)" in failure.message
    again = run(None, tmp_path)
    assert again.report.failures == []
    assert again.objects == undisturbed(SELECTION)


def test_a_host_whose_address_comes_late_is_waited_for(
    mirror_late, names, undisturbed, objects_of, closed_port, tmp_path
):
    def comes():
        names.add(NAME)
        return True

    report, errors = mirror_late(tmp_path, closed_port, host=NAME, comes=comes, attempts=12)
    assert report.failures == []
    assert set(errors) == {"ConnectError"}
    assert objects_of(tmp_path) == undisturbed(SELECTION)
