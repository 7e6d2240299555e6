"""Upgrades that are killed, drained, or meet damage: they continue, and what is damaged is named and costs no more."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import zipfile
from pathlib import Path

import anyio
import pytest
from zarr.buffer import cpu
from zarr.storage import MemoryStore

import asyncfetch
from asyncfetch import blocking, upgrade
from asyncfetch.errors import StoreError, StoreLayoutError
from asyncfetch.events import SectionCommitted

DATA_SET = 900000005
IMAGES = (900003005, 900004005)
ARCHIVE = Path(__file__).parents[1] / "data/version1_stores.zip"
VIEW = f"data_sets/{DATA_SET}/image"


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    folder = tmp_path_factory.mktemp("version1")
    with zipfile.ZipFile(ARCHIVE) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture
def old(originals, tmp_path):
    """Return what gives a copy of a store of version 1."""
    return lambda name, copy=None: shutil.copytree(originals / name, tmp_path / (copy or name))


class Dying(MemoryStore):
    """A store whose process dies after so many changes: later ones never come, but for what is done to the lock."""

    def __init__(self, store_dict=None, *, read_only=False, n_changes=0):
        super().__init__(store_dict, read_only=read_only)
        self.left = n_changes

    def _change(self, key):
        if not key.startswith(".asyncfetch-lock"):
            if self.left == 0:
                raise OSError("the process is dead")
            self.left -= 1

    async def set(self, key, value, byte_range=None):
        self._change(key)
        await super().set(key, value, byte_range)

    async def delete(self, key):
        self._change(key)
        await super().delete(key)

    async def delete_dir(self, prefix):
        self._change(prefix)
        await super().delete_dir(prefix)


def read(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def buffers(objects):
    return {name: cpu.Buffer.from_bytes(data) for name, data in objects.items()}


def objects_of(store):
    return {name: buffer.to_bytes() for name, buffer in store._store_dict.items()}


def upgraded(objects, n_changes=10**9):
    """Return the objects of a store, upgraded until it dies, and how many changes that took."""
    store = Dying(buffers(objects), n_changes=n_changes)
    try:
        report = blocking.upgrade(store, workers=1)
        assert not report.failures
    except StoreError:
        assert store.left == 0
    return objects_of(store), n_changes - store.left


def check_kill(objects, n_changes, undisturbed):
    cut, _ = upgraded(objects, n_changes)
    with pytest.raises(StoreLayoutError, match="asyncfetch upgrade"):
        asyncfetch.open(MemoryStore(buffers(cut)))
    assert upgraded(cut)[0] == undisturbed, n_changes


@pytest.mark.timeout(300)
def test_an_upgrade_that_dies_at_any_change_is_refused_by_others_and_continues(originals):
    objects = read(originals / "jpegxl")
    undisturbed, n = upgraded(objects)
    assert n > 100
    for n_changes in random.Random(17).sample(range(n), 12):
        check_kill(objects, n_changes, undisturbed)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", ["zstd", "jpegxl", "whole", "shards", "tumor"])
def test_an_upgrade_that_dies_at_each_of_its_changes_continues(originals, name):
    objects = read(originals / name)
    undisturbed, n = upgraded(objects)
    for n_changes in range(n):
        check_kill(objects, n_changes, undisturbed)


@pytest.mark.timeout(120)
def test_a_killed_process_leaves_an_upgrade_that_continues(old, forked_command, stored_objects):
    forked_command("upgrade", old("whole", "peace"))
    moments = random.Random(3)
    n_cut = 0
    for number in range(4):
        store = old("whole", f"killed-{number}")
        started = forked_command.start("upgrade", store, "--workers", "1")
        assert "10 sections" in started.stderr.readline()
        try:
            started.wait(moments.uniform(0, 0.2))
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()
            n_cut += 1
            info = forked_command("info", store)
            if info.returncode:
                assert "is being upgraded to layout version 2, and that is not finished" in info.stderr
                assert f"continue it with: asyncfetch upgrade {store}" in info.stderr
        done = forked_command("upgrade", store)
        assert done.returncode == 0, done.stderr
        assert stored_objects(store) == stored_objects(store.parent / "peace")
    assert n_cut


def test_a_drained_upgrade_finishes_what_it_began_and_continues(old, stored_objects):
    peace = old("whole", "peace")
    blocking.upgrade(peace)
    store = old("whole")

    async def drained():
        drain = anyio.Event()

        def listen(event):
            if isinstance(event, SectionCommitted):
                drain.set()

        return await upgrade(store, on_event=listen, drain=drain, workers=1)

    report = anyio.run(drained)
    assert (report.interrupted, report.n_committed) == (True, 1)
    with pytest.raises(StoreLayoutError, match="is being upgraded"):
        asyncfetch.open(store)
    report = blocking.upgrade(store)
    assert (report.interrupted, report.n_skipped, report.n_committed) == (False, 1, 9)
    assert stored_objects(store) == stored_objects(peace)


def flip(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 0xFF
    path.write_bytes(data)


def cut(path):
    path.write_bytes(path.read_bytes()[:100])


#: What is damaged, how, and the layer that it costs.
DAMAGE = {
    "a lost JPEG": (f"source/{IMAGES[0]}/c.0.0.0", Path.unlink, "source"),
    "another JPEG": (f"source/{IMAGES[0]}/c.0.0.0", flip, "source"),
    "a lost shard of a level": (f"sections/{IMAGES[0]}/scale0/image/c/0/0/0/0", Path.unlink, "sections"),
    "a cut shard of a level": (f"sections/{IMAGES[0]}/scale0/image/c/0/0/0/0", cut, "sections"),
    "a changed shard of a level": (f"sections/{IMAGES[0]}/scale0/image/c/0/0/0/0", flip, "sections"),
    "a level without metadata": (f"sections/{IMAGES[0]}/scale0/image/zarr.json", Path.unlink, "sections"),
    "a lost plane": ("registered/scale0/image/c/0/2/0/0", Path.unlink, "registered"),
    "a cut plane": ("registered/scale0/image/c/0/2/0/0", cut, "registered"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_object_is_named_and_costs_its_layer_alone(old, damage, stored_objects):
    path, break_it, layer = DAMAGE[damage]
    peace, store = old("jpegxl", "peace"), old("jpegxl")
    blocking.upgrade(peace)
    break_it(store / VIEW / path)
    report = blocking.upgrade(store)
    assert [failure.item for failure in report.failures] == [f"image:{IMAGES[0]}"]
    message = report.failures[0].message
    assert f"{store}/{VIEW}/{path.partition('/scale0')[0].partition('/c.0')[0]}" in message
    commits = {commit.image_id: commit for commit in asyncfetch.open(store).data_set(DATA_SET).read_commits()}
    assert set(commits[IMAGES[0]].layers) == {"source", "sections", "registered"} - {layer}
    assert set(commits[IMAGES[1]].layers) == {"source", "sections", "registered"}
    assert blocking.verify(store, full=True).flaws == []
    if layer == "source":
        assert message.endswith(
            f"fetch the section again with: asyncfetch mirror image:{IMAGES[0]} --out {store}"
        )
        return
    command = f"asyncfetch rebuild {store} --layers {layer} --image {IMAGES[0]}"
    assert message.endswith(f"make the layer {layer} again with: {command}")
    assert blocking.rebuild(store, layers=[layer], image_ids=[IMAGES[0]]).failures == []
    ours, wanted = stored_objects(store), stored_objects(peace)
    section = f"{VIEW}/sections/{IMAGES[0]}/zarr.json"
    assert {name for name in ours.keys() | wanted.keys() if ours.get(name) != wanted.get(name)} <= {section}


def test_lost_metadata_of_the_planes_cost_nothing(old, stored_objects):
    peace, store = old("jpegxl", "peace"), old("jpegxl")
    blocking.upgrade(peace)
    (store / VIEW / "registered/scale0/image/zarr.json").write_bytes(b"")
    assert blocking.upgrade(store).failures == []
    assert stored_objects(store) == stored_objects(peace)


def test_planes_of_which_a_killed_run_had_made_the_array_longer_are_all_there(old, stored_objects):
    peace, store = old("jpegxl", "peace"), old("jpegxl")
    blocking.upgrade(peace)
    path = store / VIEW / "registered/scale0/image/zarr.json"
    document = json.loads(path.read_bytes())
    document["shape"][1] += 2
    path.write_text(json.dumps(document))
    assert blocking.upgrade(store).failures == []
    assert stored_objects(store) == stored_objects(peace)


def test_a_commit_whose_record_cannot_be_read_is_noted(old):
    store = old("jpegxl")
    path = store / VIEW / f"sections/{IMAGES[0]}/zarr.json"
    document = json.loads(path.read_bytes())
    document["attributes"]["asyncfetch"]["record"]["id"] = 5
    path.write_text(json.dumps(document))
    report = blocking.upgrade(store)
    assert (report.n_committed, report.failures) == (1, [])
    assert [note.split(" ")[0] for note in report.notes] == [f"{VIEW}/sections/{IMAGES[0]}/zarr.json"]


def test_a_lost_layout_of_the_planes_costs_the_planes_alone(old):
    store = old("jpegxl")
    (store / VIEW / "registered/zarr.json").write_bytes(b"")
    report = blocking.upgrade(store)
    assert {failure.item for failure in report.failures} == {f"image:{each}" for each in IMAGES}
    assert f"{VIEW}/registered/zarr.json is empty and counts as missing" in report.notes
    data_set = asyncfetch.open(store).data_set(DATA_SET)
    assert {commit.layers for commit in data_set.read_commits()} == {("source", "sections")}
    assert blocking.rebuild(store, um=400).failures == []
    assert blocking.verify(store, full=True).flaws == []


def test_a_damaged_commit_counts_as_missing_and_is_noted(old):
    store = old("jpegxl")
    (store / VIEW / f"sections/{IMAGES[0]}/zarr.json").write_bytes(b"{")
    report = blocking.upgrade(store)
    assert (report.n_committed, report.failures) == (1, [])
    assert [note.split(" ")[0] for note in report.notes] == [f"{VIEW}/sections/{IMAGES[0]}/zarr.json"]
    assert [commit.image_id for commit in asyncfetch.open(store).data_set(DATA_SET).read_commits()] == [
        IMAGES[1]
    ]


def test_a_lost_record_leaves_the_jpegs(old):
    store = old("jpegxl")
    (store / f"data_sets/{DATA_SET}/zarr.json").unlink()
    report = blocking.upgrade(store)
    items = {*(f"image:{each}" for each in IMAGES), f"dataset:{DATA_SET}"}
    assert {failure.item for failure in report.failures} == items
    commits = asyncfetch.open(store).commits(DATA_SET, "image")
    assert {commit.layers for commit in commits.values()} == {("source",)}


def test_a_damaged_volume_is_named_and_made_again(old, stored_objects):
    peace, store = old("jpegxl", "peace"), old("jpegxl")
    blocking.upgrade(peace)
    cut(store / VIEW / "volume/scale0/image/c/0/0/0/0")
    report = blocking.upgrade(store)
    assert [(failure.item, failure.view) for failure in report.failures] == [(f"dataset:{DATA_SET}", "image")]
    command = f"asyncfetch volume {store} --dataset {DATA_SET}"
    assert report.failures[0].message.endswith(f"make the volume again with: {command}")
    blocking.volume(store, DATA_SET, um=800, max_gap_um=5000.0)
    assert stored_objects(store) == stored_objects(peace)


def test_a_damaged_table_is_named(old):
    store = old("jpegxl")
    (store / f"data_sets/{DATA_SET}/table/tsv/c.0.0").unlink()
    report = blocking.upgrade(store)
    assert [failure.item for failure in report.failures] == [f"dataset:{DATA_SET}"]
    assert "table/tsv/c.0.0 is missing; write it again with: asyncfetch mirror" in report.failures[0].message
    assert asyncfetch.open(store).data_set(DATA_SET).read_table() == {}
    # what is missing is what a verification finds, and nothing else
    paths = {flaw.path for flaw in blocking.verify(store, full=True).flaws}
    assert paths
    # and the count of its rows
    paths.discard(f"data_sets/{DATA_SET}/zarr.json")
    assert all(path.startswith(f"data_sets/{DATA_SET}/table") for path in paths)


def test_the_command_exits_with_3_where_something_is_damaged(old, forked_command):
    store = old("jpegxl")
    (store / VIEW / f"source/{IMAGES[0]}/c.0.0.0").unlink()
    done = forked_command("upgrade", store, "--json")
    assert done.returncode == 3
    path = f"{store}/{VIEW}/source/{IMAGES[0]}/c.0.0.0"
    assert f"failed: image:{IMAGES[0]} image: {path} is missing; fetch the section again" in done.stderr
    assert len(json.loads(done.stdout)["failures"]) == 1
