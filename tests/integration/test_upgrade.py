"""Stores of layout version 1 become those that version 2 mirrors anew, whatever happens on the way.

The stores are in tests/data/version1_stores.zip. They were made by tests/data/make_version1_stores.py with the last
code that wrote version 1, from the sample atlas; version1_stores.json says what each of them was asked for.
"""

from __future__ import annotations

import json
import re
import shutil
import warnings
import zipfile
from functools import partial
from pathlib import Path

import anyio
import numpy as np
import pytest
import zarr
from zarr.buffer import cpu
from zarr.storage import MemoryStore

import asyncfetch
from asyncfetch import blocking
from asyncfetch.errors import StoreAccessError, StoreBusyError, StoreLayoutError
from asyncfetch.mirroring import mirror, volume
from asyncfetch.store import StoreWriter

DATA_SET, IMAGE = 900000005, 900003005
DATA = Path(__file__).parents[1] / "data"
STORES = json.loads((DATA / "version1_stores.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    folder = tmp_path_factory.mktemp("version1")
    with zipfile.ZipFile(DATA / "version1_stores.zip") as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture(scope="module")
def anew(tmp_path_factory, replica_process):
    """Return what gives a store mirrored by this version, made once for each name."""
    folder = tmp_path_factory.mktemp("anew")

    def get(name):
        if not (folder / name).exists():
            choices = {"um": 400.0, "requests_per_s": 1000.0, "base_url": replica_process.base_url}
            choices |= STORES[name]
            selection, volumes = choices.pop("selection"), choices.pop("volume", None)
            report = anyio.run(partial(mirror, selection, folder / name, **choices))
            assert not report.failures
            if volumes is not None:
                anyio.run(partial(volume, folder / name, **volumes))
        return folder / name

    return get


@pytest.fixture
def old(originals, tmp_path):
    """Return what gives a copy of a store of version 1."""
    return lambda name: shutil.copytree(originals / name, tmp_path / name)


#: What records of data sets include since these stores were made, and what of them the sample atlas says otherwise.
ASKED_FOR_SINCE = {"delegate", "plane_of_section", "probes", "specimen", "specimen_id", "treatments"}


def as_known_then(data):
    """Return a group without what is known of data sets since: titles tell their age, and checksums cover it."""
    value = json.loads(re.sub(rb"http://127\.0\.0\.1:\d+", b"", data))
    attributes = value.get("attributes", {})
    attributes.get("asyncfetch", {}).pop("checksum", None)
    record = attributes.get("asyncfetch", {}).get("record", {})
    for name in ASKED_FOR_SINCE:
        record.pop(name, None)
    for gene in record.get("genes", ()):
        for name in ("alias_tags", "entrez_id", "name"):
            gene.pop(name, None)
    for image in attributes.get("ome", {}).get("multiscales", ()):
        image["name"] = re.sub(r" (?:P\d+|\d+ years)(?= (?:[a-z ]+)?\(data set)", "", image["name"])
    return json.dumps(value, sort_keys=True).encode()


@pytest.fixture
def objects(stored_objects):
    """Return what reads the objects of a store, as they were known when the stores of version 1 were made."""

    def read(folder):
        return {
            name: as_known_then(data) if name.endswith("zarr.json") else data
            for name, data in stored_objects(folder).items()
        }

    return read


def change(path, to):
    """Change what a group says of ours."""
    document = json.loads(path.read_bytes())
    document["attributes"]["asyncfetch"] = to(document["attributes"]["asyncfetch"])
    path.write_text(json.dumps(document))


def in_memory(folder):
    """Return a store in memory with the objects of a folder."""
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return MemoryStore({name: cpu.Buffer.from_bytes(data) for name, data in files.items()})


def contents(store):
    return {name: buffer.to_bytes() for name, buffer in store._store_dict.items()}


@pytest.mark.parametrize("name", STORES)
def test_an_upgraded_store_is_that_which_is_mirrored_anew(name, old, anew, objects):
    store = old(name)
    report = blocking.upgrade(store)
    assert (report.failures, report.notes, report.interrupted, report.n_requests) == ([], [], False, 0)
    assert report.n_committed > 0
    assert objects(store) == objects(anew(name))
    assert blocking.verify(store, full=True).flaws == []


def test_a_store_of_version_1_is_refused_with_the_command_that_upgrades_it(old, forked_command):
    store = old("source")
    words = (
        "is a store of layout version 1, and this asyncfetch reads version 2; "
        f"upgrade it, offline, with: asyncfetch upgrade {store}"
    )
    with pytest.raises(StoreLayoutError) as refused:
        asyncfetch.open(store)
    assert refused.value.message == f"{store} {words}"
    for args in (
        ["info", store],
        ["verify", store],
        ["resume", store],
        ["mirror", "image:1", "--out", store],
    ):
        done = forked_command(*args)
        assert (done.returncode, words in done.stderr) == (1, True), done.stderr


def test_the_command_upgrades_and_then_has_nothing_to_do(old, forked_command, objects, anew):
    store = old("jpegxl")
    done = forked_command("upgrade", store, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["n_committed"] == 2
    upgraded = objects(store)
    assert upgraded == objects(anew("jpegxl"))
    again = forked_command("upgrade", store)
    assert again.returncode == 0
    assert f"note: {store} is of layout version 2 already" in again.stderr
    assert objects(store) == upgraded


def test_a_store_of_a_later_version_is_refused_by_all_with_what_to_do(old):
    store = old("source")
    root = store / "zarr.json"
    root.write_bytes(root.read_bytes().replace(b'"layout": 1', b'"layout": 3'))
    before = root.read_bytes()
    words = (
        f"{store} has layout version 3, and this asyncfetch knows versions up to 2; use a newer asyncfetch"
    )
    for attempt in (asyncfetch.open, blocking.upgrade, blocking.verify):
        with pytest.raises(StoreLayoutError) as refused:
            attempt(store)
        assert refused.value.message == words
    assert root.read_bytes() == before


def test_a_lost_root_does_not_hide_that_a_store_is_of_version_1(old, anew, objects):
    store = old("zstd")
    (store / "zarr.json").unlink()
    with pytest.raises(StoreLayoutError, match="asyncfetch upgrade"):
        asyncfetch.open(store)
    report = blocking.upgrade(store)
    assert (report.n_committed, report.failures) == (1, [])
    assert objects(store) == objects(anew("zstd"))


def test_a_place_that_is_no_store_stays_as_it_is(tmp_path):
    for place in (tmp_path / "nothing", tmp_path / "empty"):
        if place.name == "empty":
            place.mkdir()
        with pytest.raises(StoreAccessError, match="there is no store at"):
            blocking.upgrade(place)
    assert list(tmp_path.rglob("*")) == [tmp_path / "empty"]


def test_unfinished_runs_stay_recorded(old):
    store = old("source")
    runs = [{"selection": ["image:900004005"], "settings": {"layers": ["source"]}, "number": 4}]
    change(store / "zarr.json", lambda ours: ours | {"runs": runs})
    blocking.upgrade(store)
    assert asyncfetch.open(store).read_runs() == runs
    assert json.loads((store / "zarr.json").read_bytes())["attributes"]["asyncfetch"]["layout"] == 2


def test_another_run_that_writes_keeps_an_upgrade_out(old):
    store = old("source")
    writer = StoreWriter.open(store, command="upgrade", of_any_version=True)
    try:
        with pytest.raises(StoreBusyError):
            blocking.upgrade(store)
    finally:
        writer.close()
    assert blocking.upgrade(store).n_committed == 2


def test_what_others_put_into_a_store_stays(old):
    store = old("zstd")
    view = store / f"data_sets/{DATA_SET}/image"
    section, registered = view / f"sections/{IMAGE}", view / "registered"
    groups = [
        store,
        store / f"data_sets/{DATA_SET}",
        view,
        section,
        registered,
        store / f"data_sets/{DATA_SET}/table",
    ]
    arrays = [
        section / "scale0/image",
        registered / "scale0/image",
        view / "volume/scale0/image",
        section / "scale0/x",
    ]
    for node in groups + arrays:
        document = json.loads((node / "zarr.json").read_bytes())
        document["attributes"]["mine"] = node.name
        (node / "zarr.json").write_text(json.dumps(document))
    own = {}
    for parent in (section, section / "scale0", registered / "scale0", store / f"data_sets/{DATA_SET}/table"):
        values = np.arange(6).reshape(2, 3)
        zarr.save_array(parent / "labels", values, zarr_format=3)
        own |= {path: path.read_bytes() for path in (parent / "labels").rglob("*") if path.is_file()}
    report = blocking.upgrade(store)
    assert report.failures == []
    for node in groups + arrays:
        assert json.loads((node / "zarr.json").read_bytes())["attributes"]["mine"] == node.name
    assert {path: path.read_bytes() for path in own} == own
    # planes have changed places beside labels that have not
    labels = f"data_sets/{DATA_SET}/image/registered/scale0/labels"
    assert [note.split(" ")[0] for note in report.notes] == [labels]
    assert blocking.verify(store, full=True).flaws == []


def test_consolidated_metadata_are_dropped_as_by_every_change(old):
    store = old("source")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(str(store))
    blocking.upgrade(store)
    assert not [path for path in store.rglob("zarr.json") if b"consolidated_metadata" in path.read_bytes()]


def test_the_oldest_stores_of_version_1_are_upgraded_alike(old, anew, objects):
    store = old("zstd")
    view = store / f"data_sets/{DATA_SET}/image"
    jpeg = view / f"source/{IMAGE}"
    # JPEGs were arrays, below a group
    (view / "source/zarr.json").write_bytes((store / "data_sets/zarr.json").read_bytes())
    document = json.loads((view / "registered/scale0/x/zarr.json").read_bytes())
    (jpeg / "zarr.json").write_text(json.dumps(document))
    lone = [path for path in store.rglob("c.0*") if path.parent != jpeg]
    assert len(lone) > 15
    for path in [jpeg / "c.0.0.0", *lone]:
        # a chunk lay in a folder for each of its axes
        (path.parent / path.name.replace(".", "/")).parent.mkdir(parents=True)
        path.rename(path.parent / path.name.replace(".", "/"))
    for node in {path.parent for path in lone}:
        text = (node / "zarr.json").read_text()
        (node / "zarr.json").write_text(text.replace('"separator": "."', '"separator": "/"'))
    change(
        view / f"sections/{IMAGE}/zarr.json", lambda ours: {k: v for k, v in ours.items() if k != "n_shards"}
    )
    report = blocking.upgrade(store)
    assert (report.failures, report.notes) == ([], [])
    assert objects(store) == objects(anew("zstd"))


def test_what_killed_runs_of_version_1_left_is_removed(old, anew, objects):
    store = old("zstd")
    view = store / f"data_sets/{DATA_SET}/image"
    # a section and a plane that nothing vouches for, and a file that was never given its name
    shutil.copytree(view / f"sections/{IMAGE}", view / "sections/900009005")
    (view / "sections/900009005/zarr.json").unlink()
    shutil.copytree(view / f"source/{IMAGE}", view / "source/900009005")
    planes = view / "registered/scale0/image/c/0"
    shutil.copytree(next(planes.iterdir()), planes / "8")
    (view / f"sections/{IMAGE}/scale0/image/c/0/0/0/0.0a.partial").write_bytes(b"half")
    assert blocking.upgrade(store).failures == []
    assert objects(store) == objects(anew("zstd"))


def test_an_unfinished_volume_stays_one_that_is_continued(old, anew, objects):
    store = old("zstd")
    volume_group = store / f"data_sets/{DATA_SET}/image/volume"
    document = json.loads((volume_group / "zarr.json").read_bytes())
    document["attributes"] = {"asyncfetch": {"building": document["attributes"]["asyncfetch"]}}
    (volume_group / "zarr.json").write_text(json.dumps(document))
    assert blocking.upgrade(store).failures == []
    assert asyncfetch.open(store).data_set(DATA_SET).read_volume_layout() is None
    shard = volume_group / "scale0/image/c.0.0.0.0"
    kept = shard.stat().st_mtime_ns
    blocking.volume(store, **STORES["zstd"]["volume"])
    assert shard.stat().st_mtime_ns == kept
    assert objects(store) == objects(anew("zstd"))


def test_a_store_that_is_not_a_folder_is_upgraded_alike(originals, anew, objects):
    store = in_memory(originals / "zstd")
    report = blocking.upgrade(store)
    assert (report.n_committed, report.failures) == (1, [])
    found = {
        name: json.loads(data) if name.endswith("zarr.json") else data
        for name, data in contents(store).items()
    }
    wanted = contents(in_memory(anew("zstd")))
    assert found.keys() == wanted.keys()
    assert all(found[name] == data for name, data in wanted.items() if not name.endswith("zarr.json"))
