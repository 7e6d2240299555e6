"""Runs against a replica that misbehaves: what they did, what they stored, and what they left behind."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import anyio
import pytest
import zarr
from zarr.storage import MemoryStore

from asyncfetch import mirror
from asyncfetch.events import OutageEnded, OutageProbed, ignore
from asyncfetch.mirroring import resume
from asyncfetch.replica import open_replica
from asyncfetch.sample import sample_atlas
from asyncfetch.settings import Settings

if TYPE_CHECKING:
    from asyncfetch.events import Event
    from asyncfetch.mirroring import Report
    from asyncfetch.replica import RequestRecord

# Patient with a busy machine; the faults that are silences set shorter times for themselves.
SETTINGS = Settings(
    requests_per_s=1000.0,
    um=200.0,
    attempts=3,
    retry_base_s=0.002,
    connect_timeout_s=10.0,
    stall_timeout_s=10.0,
)
_OF_ZARR = ("zarr", "asyncio_")
QUOTA, EARNED = 100, 0.5
_ADDRESS = re.compile(rb"http://[a-z0-9.]+:\d+(?=/|\")")


class Outcome(NamedTuple):
    """What a run reported, what the server saw, and every object of the store."""

    report: Report
    requests: list[RequestRecord]
    objects: dict[str, bytes]
    events: list[Event]

    @property
    def causes(self) -> dict[str, tuple[str, str]]:
        """The class and the words of each failure, by its item."""
        return {failure.item: (failure.error, failure.message) for failure in self.report.failures}

    @property
    def sent(self) -> Counter[str]:
        """How often each thing was asked for; an image and the redirect to it are one request."""
        return Counter(record.path for record in self.requests if record.kind in {"download", "query"})


def _threads() -> set[threading.Thread]:
    # Zarr keeps a loop and its threads for as long as the process lives.
    return {each for each in threading.enumerate() if not (each.daemon and each.name.startswith(_OF_ZARR))}


def _open_files() -> set[str]:
    found, folder = set(), Path("/proc/self/fd")
    # Only Linux tells.
    for entry in folder.iterdir() if folder.is_dir() else ():
        try:
            found.add(f"{entry.name} {entry.readlink()}")
        except OSError:  # the descriptor by which the folder itself is read
            continue
    return found


@pytest.fixture(scope="session")
def zarr_is_awake():
    zarr.open_group(MemoryStore())


@pytest.fixture
def leaves_nothing_behind(zarr_is_awake):
    """Return what runs an async function on a loop of its own, which no task, thread, file or socket outlives."""

    def run(function):
        async def watched():
            try:
                return await function()
            finally:
                tasks = asyncio.all_tasks() - {asyncio.current_task()}
                assert not tasks, f"still running: {tasks}"

        threads, files = _threads(), _open_files()
        try:
            return anyio.run(watched)
        finally:
            for thread in _threads() - threads:
                thread.join(5)
                assert not thread.is_alive(), f"still running: {thread}"
            left = _open_files() - files
            assert not left, f"still open: {left}"

    return run


@pytest.fixture(scope="session")
def settings():
    return SETTINGS


@pytest.fixture(scope="session")
def atlas():
    return sample_atlas()


@pytest.fixture(scope="session")
def drawn(tmp_path_factory):
    return tmp_path_factory.mktemp("drawn")


@pytest.fixture(scope="session")
def objects_of(stored_objects):
    """Return what reads a store: every object, with the address of the server made the same everywhere."""

    def read(folder):
        found = stored_objects(folder)
        assert not [name for name in found if "partial" in name or Path(name).name.startswith(".")]
        return {
            name: _ADDRESS.sub(b"http://replica", data) if name.endswith("zarr.json") else data
            for name, data in found.items()
        }

    return read


@pytest.fixture
def run(atlas, drawn, objects_of, leaves_nothing_behind):
    """Return what mirrors a selection, or resumes where there is none, against a replica with faults."""

    def go(selection, folder, faults=(), *, seed=0, on_event=ignore, **choices):
        settings, events = SETTINGS.replace(**choices), []

        def listen(event):
            events.append(event)
            on_event(event)

        async def body():
            plan = faults if callable(faults) else {"seed": seed, "faults": list(faults)}
            async with open_replica(atlas, cache_folder=drawn, faults=plan) as replica:
                here = settings.replace(base_url=replica.base_url)
                if selection is None:
                    report = await resume(folder, settings=here, on_event=listen)
                else:
                    report = await mirror(selection, folder, settings=here, on_event=listen)
                return report, replica.requests

        return Outcome(*leaves_nothing_behind(body), objects_of(folder), events)

    return go


@pytest.fixture(scope="session")
def undisturbed(atlas, drawn, objects_of, tmp_path_factory):
    """Return what gives all objects of an undisturbed run, by its selection."""
    known: dict[tuple[str, ...], dict[str, bytes]] = {}

    def objects(*selection):
        if selection not in known:
            folder = tmp_path_factory.mktemp("peace") / "out.zarr"

            async def body():
                async with open_replica(atlas, cache_folder=drawn) as replica:
                    return await mirror(
                        selection, folder, settings=SETTINGS.replace(base_url=replica.base_url)
                    )

            assert anyio.run(body).failures == []
            known[selection] = objects_of(folder)
        return known[selection]

    return objects


@pytest.fixture(scope="session")
def stays_within_the_quota():
    """Return what counts, by the log of the server, what was sent more often than once."""

    def check(outcome):
        n_probes = sum(isinstance(each, OutageProbed | OutageEnded) for each in outcome.events)
        n_successes = sum(
            record.kind in {"image", "query"} and record.status == 200 and record.fault is None
            for record in outcome.requests
        )
        n_sent, n_first = sum(outcome.sent.values()), len(outcome.sent)
        assert n_sent <= n_first + QUOTA + EARNED * n_successes + n_probes
        return n_sent - n_first

    return check


def _unsummarized(data):
    if b'"summary"' not in data:
        return data
    value = json.loads(data)
    ours = value["attributes"]["asyncfetch"]
    del ours["summary"], ours["checksum"]
    return json.dumps(value, sort_keys=True).encode()


@pytest.fixture(scope="session")
def healthy_part():
    """Return what drops, of all objects, those that tell of some images or data sets, or list what there is."""

    def part(objects, *, images=(), data_sets=(), planes=()):
        def concerns(name):
            folders = re.split("[/.]", name)
            return (
                name == "zarr.json"  # runs that did not end
                or any(str(each) in folders for each in (*images, *data_sets))
                or any(name.startswith(plane) for plane in planes)
            )

        return {name: _unsummarized(data) for name, data in objects.items() if not concerns(name)}

    return part
