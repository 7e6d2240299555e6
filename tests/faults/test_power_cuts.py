"""A power cut at any moment leaves no claim without what it vouches for, and the next run mends the rest.

The disk of these tests forgets: of each object that was not synced it keeps any of the states that it had since, or an
empty, a cut or a half zeroed one where the content was not synced before its name was given.
"""

from __future__ import annotations

import random
import threading
import zipfile
from functools import partial
from pathlib import Path

import anyio
import pytest
from zarr.buffer import cpu
from zarr.storage import MemoryStore

from asyncfetch import blocking
from asyncfetch.errors import StoreAccessError
from asyncfetch.events import SectionCommitted
from asyncfetch.mirroring import mirror, rebuild, verify, volume
from asyncfetch.store import objects
from asyncfetch.store.memory import MemoryBackend

SELECTION = "image:900003005,900004005,900005005"
DATA_SET = 900000005
ALL = ("source", "sections", "registered")
VERSION_1 = Path(__file__).parents[1] / "data/version1_stores.zip"


class PowerCutError(Exception):
    """The end of all that is not on the disk."""


class Disk:
    """What is on a disk, and what is on its way to it."""

    def __init__(self, stored, n_changes=None):
        self.stored = dict(stored)
        self.store = MemoryStore({key: cpu.Buffer.from_bytes(data) for key, data in stored.items()})
        self.n_changes = 0
        self._until = n_changes
        self._states = {}
        self._lock = threading.Lock()

    def change(self, key, data, *, is_whole=True):
        with self._lock:
            if self._until is not None and self.n_changes >= self._until:
                raise PowerCutError
            self.n_changes += 1
            self._states.setdefault(key, []).append((data, is_whole))

    def sync(self, key):
        with self._lock:
            if self._until is not None and self.n_changes >= self._until:
                raise PowerCutError
            # a path stands for all below it
            for each in [each for each in self._states if each == key or each.startswith(f"{key}/")]:
                data, _ = self._states.pop(each)[-1]
                self.stored.pop(each, None)
                if data is not None:
                    self.stored[each] = data

    def after_cut(self, chance):
        """Return the objects that are there when the power is back."""
        left = dict(self.stored)
        for key, states in sorted(self._states.items()):
            data, is_whole = chance.choice([(left.get(key), True), *states])
            left.pop(key, None)
            if data is not None:
                half = len(data) // 2
                damaged = [data, b"", data[:half], data[:half] + bytes(len(data) - half)]
                left[key] = data if is_whole else chance.choice(damaged)
        return left


class ForgetfulBackend(MemoryBackend):
    """Objects on such a disk."""

    forgets = True

    def __init__(self, disk):
        super().__init__(disk.store)
        self._disk = disk

    def set(self, key, value, *, durable=False):
        self._disk.change(key, bytes(value), is_whole=durable)
        super().set(key, value)

    def delete(self, key):
        if key not in self._memory._store_dict:
            return False
        self._disk.change(key, None)
        return super().delete(key)

    def rename(self, key, new_key):
        buffer = self._memory._store_dict.get(key)
        if buffer is not None:
            self._disk.change(new_key, buffer.to_bytes())
            self._disk.change(key, None)
        super().rename(key, new_key)

    def delete_below(self, path):
        for key in [each for each in self._memory._store_dict if each.startswith(f"{path}/")]:
            self._disk.change(key, None)
        super().delete_below(path)

    def sync(self, keys):
        for key in keys:
            self._disk.sync(key)


@pytest.fixture
def on_disk(monkeypatch):
    """Return what calls a function of a store on a disk that forgets, until its end or until the power is cut."""
    disks, usual = {}, objects.open_backend

    def open_backend(location, *, read_only):
        disk = disks.get(id(location))
        return usual(location, read_only=read_only) if disk is None else ForgetfulBackend(disk)

    monkeypatch.setattr(objects, "open_backend", open_backend)

    def call(work, stored, n_changes=None):
        disk = Disk(stored, n_changes)
        disks[id(disk.store)] = disk
        try:
            work(disk.store)
        except (PowerCutError, BaseExceptionGroup) as error:
            if isinstance(error, BaseExceptionGroup) and error.split(PowerCutError)[1] is not None:
                raise
        return disk

    call.disks = disks
    return call


@pytest.fixture(scope="module")
def originals():
    with zipfile.ZipFile(VERSION_1) as archive:
        files = {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}
    return {name.partition("/")[2]: data for name, data in files.items() if name.partition("/")[0] == "zstd"}


@pytest.fixture
def works(replica_process):
    """Return what is done, by its name: what was there before, and the work."""
    asked = {"base_url": replica_process.base_url, "requests_per_s": 1000.0, "um": 200.0}

    def mirrored(layers):
        store = MemoryStore()
        anyio.run(partial(mirror, SELECTION, store, layers=layers, **asked))
        return contents(store)

    def make(name, sync):
        match name:
            case "mirror":
                return {}, lambda store: anyio.run(
                    partial(mirror, SELECTION, store, layers=ALL, sync=sync, **asked)
                )
            case "rebuild":
                return mirrored(ALL), lambda store: anyio.run(
                    partial(rebuild, store, layers=("sections", "registered"), um=400.0, sync=sync)
                )
            case "volume":
                return mirrored(("source", "registered")), lambda store: anyio.run(
                    partial(volume, store, um=400.0, max_gap_um=5000.0, sync=sync)
                )

    return make


def contents(store):
    found = {key: buffer.to_bytes() for key, buffer in store._store_dict.items()}
    return {key: data for key, data in found.items() if not key.startswith(".asyncfetch-lock/")}


def claims_without_data(stored):
    """Return what a verification finds of layers and volumes that something vouches for."""
    store = MemoryStore({key: cpu.Buffer.from_bytes(data) for key, data in stored.items()})
    try:
        flaws = anyio.run(partial(verify, store, full=True)).flaws
    except StoreAccessError:
        # nothing has reached the disk
        assert not any("/sections/" in key for key in stored)
        return []
    claims = [flaw for flaw in flaws if not flaw.problem.endswith("no commit vouches for it")]
    unmade = {flaw.path for flaw in claims if flaw.path.endswith("/volume/zarr.json")}
    return [flaw for flaw in claims if flaw.layer is not None or ("/volume/" in flaw.path and not unmade)]


def cut_at(moments, work, before, expected, on_disk, stored_objects, seed):
    chance, n_lost = random.Random(seed), 0
    for moment in moments:
        left = on_disk(work, before, moment).after_cut(chance)
        assert claims_without_data(left) == [], moment
        n_lost += left != expected
        mended = on_disk(work, left)
        assert stored_objects(contents(mended.store)) == expected, moment
    assert n_lost


@pytest.mark.parametrize("sync", ["data", "all"])
@pytest.mark.parametrize("name", ["mirror", "rebuild", "volume"])
def test_no_claim_is_without_its_data_after_a_power_cut(name, sync, works, on_disk, stored_objects):
    before, work = works(name, sync)
    disk = on_disk(work, before)
    expected = stored_objects(contents(disk.store))
    # when a run has ended, all of it is on the disk
    assert stored_objects(disk.after_cut(random.Random(0))) == expected
    moments = random.Random(f"{name} {sync}").sample(range(1, disk.n_changes), 5)
    cut_at(moments, work, before, expected, on_disk, stored_objects, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", ["mirror", "rebuild", "volume"])
def test_a_hundred_power_cuts_leave_no_claim_without_its_data(name, works, on_disk, stored_objects):
    before, work = works(name, "data")
    disk = on_disk(work, before)
    expected = stored_objects(contents(disk.store))
    moments = [random.Random(f"{name} {k}").randrange(1, disk.n_changes) for k in range(100)]
    cut_at(moments, work, before, expected, on_disk, stored_objects, seed=2)


@pytest.mark.parametrize("k", range(6))
def test_an_upgrade_that_loses_its_power_loses_nothing_else(k, originals, on_disk, stored_objects):
    def work(store):
        assert blocking.upgrade(store, sync="data").failures == []

    disk = on_disk(work, originals)
    expected = stored_objects(contents(disk.store))
    moment = random.Random(f"upgrade {k}").randrange(1, disk.n_changes)
    left = on_disk(work, originals, moment).after_cut(random.Random(k))
    mended = on_disk(work, left)
    assert stored_objects(contents(mended.store)) == expected, moment


@pytest.mark.parametrize("sync", ["data", "all"])
def test_all_has_a_section_on_the_disk_when_it_is_told_of(sync, replica_process, on_disk):
    seen = []

    def work(store):
        def listen(event):
            if isinstance(event, SectionCommitted):
                key = f"data_sets/{DATA_SET}/image/sections/{event.image_id}/zarr.json"
                seen.append(key in on_disk.disks[id(store)].stored)

        options = {"base_url": replica_process.base_url, "requests_per_s": 1000.0, "um": 200.0, "sync": sync}
        anyio.run(partial(mirror, SELECTION, store, on_event=listen, **options))

    on_disk(work, {})
    assert seen == [sync == "all"] * 3
