"""Stores of packed data sets: every command and call reads them, changes what it has to, and packs that again."""

from __future__ import annotations

import json
import shutil
from functools import partial

import anyio
import numpy as np
import pytest
import zarr
from zarr.buffer import cpu
from zarr.storage import MemoryStore, ZipStore

import asyncfetch
from asyncfetch import blocking
from asyncfetch.errors import SelectionError, StoreAccessError, StoreBusyError, StoreItemError
from asyncfetch.events import DataSetPacked, DataSetUnpacked
from asyncfetch.mirroring import mirror, rebuild, resume, volume
from asyncfetch.store import StoreWriter

DATA_SET, OTHER, IMAGE = 900000005, 69289763, 900003005
ALL = ("source", "sections", "registered")


@pytest.fixture(scope="module")
def choices(replica_process):
    return {"base_url": replica_process.base_url, "requests_per_s": 1000.0, "um": 100.0, "layers": ALL}


@pytest.fixture(scope="module")
def folders(tmp_path_factory, choices):
    """A store of two data sets, one of them with a volume, as folders."""
    location = tmp_path_factory.mktemp("folders") / "out.zarr"
    report = anyio.run(partial(mirror, [f"dataset:{DATA_SET}", f"dataset:{OTHER}"], location, **choices))
    assert not report.failures
    anyio.run(partial(volume, location, DATA_SET))
    return location


@pytest.fixture
def store(folders, tmp_path):
    """The same store, packed."""
    location = shutil.copytree(folders, tmp_path / "out.zarr")
    report = blocking.pack(location)
    assert (report.n_done, report.failures) == (2, [])
    return location


def names(location):
    return sorted(path.name for path in (location / "data_sets").iterdir() if path.name != "zarr.json")


PACKED = [f"{OTHER}.ozx", f"{DATA_SET}.ozx"]


def seen(location):
    """Return all that the API of a store tells."""
    opened = asyncfetch.open(location)
    atlas = opened.read_atlas()
    found = {"ids": opened.read_data_set_ids(), "structures": opened.read_structure_centers()}
    for data_set_id in opened.read_data_set_ids():
        data_set = opened.data_set(data_set_id)
        section = data_set.section(data_set.read_commits()[0].image_id)
        found[data_set_id] = {
            "record": data_set.record,
            "commits": data_set.read_commits(),
            "table": {name: list(map(str, column)) for name, column in data_set.read_table().items()},
            "planes": np.asarray(data_set.open_registered()[:]).tobytes(),
            "levels": [np.asarray(level[:]).tobytes() for level in section.open_levels()],
            "volume": [np.asarray(level[:]).tobytes() for level in data_set.open_volume_levels()],
            "jpeg": section.read_jpeg(),
            "pixels": section.pixels(downsample=section.commit.downsample + 1).tobytes(),
            "sync": str(atlas.image_to_reference(section.commit.image_id, (100, 200))),
        }
    assert opened.damage == []
    return found


def test_the_api_reads_a_packed_store_as_it_was_before(store, folders):
    assert names(store) == PACKED
    assert seen(store) == seen(folders)


def test_unpacked_data_sets_are_the_folders_that_they_were(store, folders):
    report = blocking.unpack(store)
    assert (report.n_done, report.failures) == (2, [])
    for path in sorted(folders.rglob("*")):
        if path.is_file():
            assert (store / path.relative_to(folders)).read_bytes() == path.read_bytes(), path
    assert len([path for path in store.rglob("*") if path.is_file()]) == len(
        [path for path in folders.rglob("*") if path.is_file()]
    )


def test_a_packed_store_has_a_file_for_each_data_set_and_no_more_bytes_on_the_disk(store, folders):
    def files(location):
        return [path for path in location.rglob("*") if path.is_file()]

    beside = [path for path in files(folders) if path.relative_to(folders).parts[:1] != ("data_sets",)]
    assert len(files(store)) == 2 + len(beside) + len(["data_sets/zarr.json"])
    assert sum(path.stat().st_blocks for path in store.rglob("*")) < sum(
        path.stat().st_blocks for path in folders.rglob("*")
    )


# of the XML of collections, which Zarr does not know
@pytest.mark.filterwarnings("ignore:Object at METADATA.ome.xml")
def test_zarr_walks_a_packed_store_through_the_reader_and_each_archive_as_it_is(store, folders):
    def walked(group):
        return {
            name: np.asarray(node[:]).tolist() if isinstance(node, zarr.Array) else dict(node.attrs)
            for name, node in group.members(max_depth=None)
        }

    plain = walked(asyncfetch.open(folders).open_group())
    assert walked(asyncfetch.open(store).open_group()) == plain
    with ZipStore(store / "data_sets" / f"{DATA_SET}.ozx", mode="r") as archive:
        alone = walked(zarr.open_group(archive, mode="r"))
    path = f"data_sets/{DATA_SET}/"
    assert alone == {name.removeprefix(path): node for name, node in plain.items() if name.startswith(path)}


@pytest.mark.parametrize("arguments", [["status"], ["info"], ["info", "--dataset", str(DATA_SET)]])
def test_commands_that_read_print_what_they_printed_before(store, folders, command, arguments):
    name, *options = arguments
    packed, plain = (command(name, location, *options, "--json") for location in (store, folders))
    assert packed.returncode == plain.returncode == 0, packed.stderr
    assert packed.stdout == plain.stdout.replace(str(folders), str(store))


def test_a_packed_store_verifies_quickly_and_in_full(store):
    for full in (False, True):
        report = blocking.verify(store, full=full)
        assert (report.flaws, report.leftovers, report.n_sections) == ([], [], 28)


def test_mirroring_again_what_is_packed_fetches_nothing_and_leaves_it_packed(store, choices):
    before = {path: path.read_bytes() for path in (store / "data_sets").glob("*.ozx")}
    report = anyio.run(partial(mirror, f"dataset:{DATA_SET}", store, **choices))
    assert (report.n_committed, report.n_skipped, report.pixels) == (0, 10, 0)
    assert {path: path.read_bytes() for path in (store / "data_sets").glob("*.ozx")} == before
    estimate = anyio.run(partial(asyncfetch.estimate, f"dataset:{DATA_SET}", store, **choices))
    assert estimate.n_to_fetch == 0


def test_a_data_set_with_a_new_section_is_extended_and_packed_again(tmp_path, folders, choices):
    store = tmp_path / "out.zarr"
    anyio.run(partial(mirror, f"image:{IMAGE}", store, **choices))
    assert blocking.pack(store).n_done == 1
    events = []
    report = anyio.run(partial(mirror, f"dataset:{DATA_SET}", store, on_event=events.append, **choices))
    assert (report.n_committed, report.n_skipped) == (9, 1)
    assert names(store) == [f"{DATA_SET}.ozx"]
    assert [type(event) for event in events if isinstance(event, DataSetPacked | DataSetUnpacked)] == [
        DataSetPacked
    ]
    assert "to_pack" not in json.loads((store / "zarr.json").read_bytes())["attributes"]["asyncfetch"]
    anyio.run(partial(volume, store, DATA_SET))
    assert seen(store)[DATA_SET]["planes"] == seen(folders)[DATA_SET]["planes"]
    assert blocking.verify(store, full=True).flaws == []


@pytest.mark.parametrize("pack", [True, False])
def test_data_sets_are_packed_as_they_finish_where_that_is_wanted(
    tmp_path, stored_objects, folders, choices, pack
):
    store = tmp_path / "out.zarr"
    selection = [f"dataset:{DATA_SET}", f"dataset:{OTHER}"]
    events = []
    report = anyio.run(partial(mirror, selection, store, pack=pack, on_event=events.append, **choices))
    assert (report.failures, report.n_committed) == ([], 28)
    assert names(store) == (PACKED if pack else sorted(map(str, (OTHER, DATA_SET))))
    assert len([event for event in events if isinstance(event, DataSetPacked)]) == 2 * pack
    blocking.unpack(store)
    expected = shutil.copytree(folders, tmp_path / "expected.zarr")
    shutil.rmtree(expected / f"data_sets/{DATA_SET}/image/volume")
    assert stored_objects(store) == stored_objects(expected)


def test_no_pack_leaves_what_a_run_has_changed_unpacked_until_another_run_packs_it(store, choices):
    anyio.run(
        partial(
            mirror,
            f"dataset:{DATA_SET}",
            store,
            pack=False,
            **choices | {"um": 100.0, "views": ("image", "expression")},
        )
    )
    assert names(store) == [f"{OTHER}.ozx", str(DATA_SET)]
    anyio.run(partial(mirror, f"dataset:{OTHER}", store, **choices))
    assert names(store) == PACKED


def test_a_resumed_run_packs_as_the_one_that_was_interrupted(tmp_path, choices):
    store = tmp_path / "out.zarr"

    async def cut_short():
        drain = anyio.Event()

        def listen(event):
            if type(event).__name__ == "SectionCommitted":
                drain.set()

        return await mirror(
            f"dataset:{DATA_SET}", store, pack=True, jobs=1, drain=drain, on_event=listen, **choices
        )

    assert anyio.run(cut_short).interrupted
    assert names(store) == [str(DATA_SET)]
    assert not anyio.run(partial(resume, store, base_url=choices["base_url"])).failures
    assert names(store) == [f"{DATA_SET}.ozx"]


def test_rebuild_and_volume_change_a_packed_data_set_and_pack_it_again(store, folders, tmp_path):
    plain = shutil.copytree(folders, tmp_path / "plain.zarr")
    for location in (store, plain):
        report = anyio.run(partial(rebuild, location, um=200.0, data_set_ids=[DATA_SET]))
        assert (report.failures, report.n_committed) == ([], 10)
        anyio.run(partial(volume, location, DATA_SET))
    assert names(store) == PACKED
    assert seen(store)[DATA_SET]["volume"] == seen(plain)[DATA_SET]["volume"] != []


def test_the_replica_serves_a_packed_store(store, folders, start_replica, tmp_path):
    def mirrored(location, name):
        replica = start_replica(store=str(location))
        copy = tmp_path / name
        anyio.run(
            partial(
                mirror,
                f"dataset:{DATA_SET}",
                copy,
                base_url=replica.base_url,
                um=100.0,
                requests_per_s=1000.0,
            )
        )
        return asyncfetch.open(copy).data_set(DATA_SET)

    of_packed, of_folders = mirrored(store, "a.zarr"), mirrored(folders, "b.zarr")
    assert of_packed.record == of_folders.record
    assert np.array_equal(of_packed.open_registered()[:], of_folders.open_registered()[:])


def test_data_sets_that_are_not_finished_stay_folders_and_are_named(store, command):
    blocking.unpack(store)
    path = store / f"data_sets/{DATA_SET}"
    document = json.loads((path / "zarr.json").read_bytes())
    del document["attributes"]["asyncfetch"]["summary"]
    (path / "zarr.json").write_text(json.dumps(document))
    done = command("pack", store, "--json")
    assert done.returncode == 3
    report = json.loads(done.stdout)
    assert (report["n_done"], [each["item"] for each in report["failures"]]) == (1, [f"dataset:{DATA_SET}"])
    assert "its view image was not completed; complete it with: asyncfetch mirror" in done.stderr
    assert names(store) == [f"{OTHER}.ozx", str(DATA_SET)]


@pytest.mark.parametrize(
    ("lost", "words"),
    [
        ("zarr.json", "zarr.json is missing; restore it with: asyncfetch mirror"),
        ("table/zarr.json", "its table is missing or cannot be read; complete it with: asyncfetch mirror"),
        ("image", "it has no view"),
    ],
)
def test_what_is_missing_of_a_data_set_is_the_reason_that_is_told(store, lost, words):
    blocking.unpack(store, data_set_ids=[DATA_SET])
    path = store / f"data_sets/{DATA_SET}" / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    (failure,) = blocking.pack(store, data_set_ids=[DATA_SET]).failures
    assert failure.message.startswith(f"data set {DATA_SET} is not finished: ")
    assert words in failure.message


def test_a_volume_that_is_being_made_keeps_its_data_set_a_folder(store):
    blocking.unpack(store, data_set_ids=[DATA_SET])
    path = store / f"data_sets/{DATA_SET}/image/volume/zarr.json"
    document = json.loads(path.read_bytes())
    document["attributes"] = {"asyncfetch": {"building": document["attributes"]["asyncfetch"]}}
    path.write_text(json.dumps(document))
    (failure,) = blocking.pack(store, data_set_ids=[DATA_SET]).failures
    assert f"complete it with: asyncfetch volume {store} --dataset {DATA_SET}" in failure.message


def test_a_data_set_that_an_unfinished_run_may_go_on_with_stays_a_folder(tmp_path, choices):
    store = tmp_path / "out.zarr"
    anyio.run(partial(mirror, f"image:{IMAGE}", store, **choices))
    writer = StoreWriter.open(store)
    writer.begin_run({"selection": [f"dataset:{DATA_SET}"], "settings": {}})
    (failure,) = blocking.pack(store).failures
    assert "1 of 10 sections of its view image are stored" in failure.message
    assert f"asyncfetch resume {store}" in failure.message
    writer.end_run(writer.runs()[0])
    assert blocking.pack(store).n_done == 1


def test_one_data_set_is_packed_by_its_id_and_an_unknown_one_is_refused(folders, tmp_path, command):
    location = shutil.copytree(folders, tmp_path / "out.zarr")
    assert blocking.pack(location, data_set_ids=[DATA_SET]).n_done == 1
    assert names(location) == [str(OTHER), f"{DATA_SET}.ozx"]
    assert blocking.pack(location, data_set_ids=[DATA_SET]).n_before == 1
    with pytest.raises(SelectionError, match="holds no data set 5"):
        blocking.pack(location, data_set_ids=[5])
    assert command("pack", location, "5").returncode == 2
    assert command("unpack", location, "x").returncode == 2


def test_packing_waits_its_turn_and_is_refused_while_another_run_writes(folders, tmp_path):
    location = shutil.copytree(folders, tmp_path / "out.zarr")
    writer = StoreWriter.open(location, command="mirror dataset:1")
    try:
        for call in (blocking.pack, blocking.unpack):
            with pytest.raises(StoreBusyError, match="another run is writing"):
                call(location)
    finally:
        writer.close()
    assert blocking.pack(location).n_done == 2


def test_a_packing_that_is_drained_says_so_and_the_same_call_continues(folders, tmp_path):
    location = shutil.copytree(folders, tmp_path / "out.zarr")

    async def drained():
        drain = anyio.Event()
        drain.set()
        return await asyncfetch.pack(location, drain=drain)

    report = anyio.run(drained)
    assert (report.interrupted, report.n_done) == (True, 0)
    assert blocking.pack(location).n_done == 2


def test_upgrading_a_packed_store_of_this_version_changes_nothing(store):
    before = {path: path.read_bytes() for path in store.rglob("*") if path.is_file()}
    (note,) = blocking.upgrade(store).notes
    assert "is of layout version 2 already" in note
    assert {path: path.read_bytes() for path in store.rglob("*") if path.is_file()} == before


def test_a_damaged_jpeg_in_an_archive_is_an_error_of_that_section_alone(store):
    path = store / "data_sets" / f"{DATA_SET}.ozx"
    jpeg = asyncfetch.open(store).data_set(DATA_SET).section(IMAGE).read_jpeg()
    data = path.read_bytes()
    path.write_bytes(data.replace(jpeg, jpeg[:300] + bytes(len(jpeg) - 300)))
    section = asyncfetch.open(store).data_set(DATA_SET).section(IMAGE)
    with pytest.raises(StoreItemError, match=f"{IMAGE}.jpg cannot be read"):
        section.read_source()
    # a run that would change the data set leaves it, and goes on with the others
    report = anyio.run(partial(rebuild, store, um=200.0))
    assert [each.item for each in report.failures] == [f"dataset:{DATA_SET}"]
    assert f"asyncfetch verify {store} --repair" in report.failures[0].message
    assert (report.n_committed, names(store)) == (18, PACKED)


def test_elsewhere_than_in_a_directory_nothing_is_packed_and_archives_are_named(store, choices):
    memory = MemoryStore()
    with pytest.raises(StoreAccessError, match="in directories only"):
        anyio.run(partial(mirror, f"image:{IMAGE}", memory, pack=True, **choices))
    anyio.run(partial(mirror, f"image:{IMAGE}", memory, **choices))
    with pytest.raises(StoreAccessError, match="in directories only"):
        blocking.pack(memory)
    memory = MemoryStore(
        {
            path.relative_to(store).as_posix(): cpu.Buffer.from_bytes(path.read_bytes())
            for path in store.rglob("*")
            if path.is_file()
        }
    )
    opened = asyncfetch.open(memory)
    assert opened.read_data_set_ids() == ()
    assert f"data_sets/{DATA_SET}.ozx is a packed data set, which is read in directories only," in str(
        opened.damage
    )
