"""Data sets as one zip each: read as the folders were, made in steps that a kill cannot part, and mended."""

from __future__ import annotations

import json
import os
import pickle
import random
import threading
from pathlib import Path

import numpy as np
import pytest
import zarr
from zarr.abc.store import OffsetByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.buffer import default_buffer_prototype
from zarr.core.sync import sync

from asyncfetch.errors import StoreAccessError, StoreItemError
from asyncfetch.layout.bounds import MAX_OBJECT_BYTES
from asyncfetch.store import packed, packing
from asyncfetch.store.objects import Place
from asyncfetch.store.ozx import read_directory, usual_offset
from asyncfetch.store.packing import archive_problem, pack_data_set, settle, unpack_data_set
from asyncfetch.store.salvage import _files_in, salvage_data_set

GROUP = json.dumps({"zarr_format": 3, "node_type": "group", "attributes": {"asyncfetch": {"a": 1}}}).encode()
FILES = {
    "zarr.json": GROUP,
    "image/zarr.json": GROUP,
    "image/source/zarr.json": b"{}",
    "image/source/1.jpg": bytes(range(256)) * 40,
    "image/source/2.jpg": b"\xff\xd8" * 3000,
    "image/registered/scale0/image/c.0.0.0.0": random.Random(1).randbytes(5000),
    "table/image_id/c.0": b"",
}
KEY = "data_sets/7/image/source/1.jpg"


def write(folder, files=FILES):
    for name, data in files.items():
        path = folder / "data_sets/7" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def read(folder, below="data_sets/7"):
    return {
        path.relative_to(folder / below).as_posix(): path.read_bytes()
        for path in (folder / below).rglob("*")
        if path.is_file()
    }


def names(folder):
    return sorted(path.name for path in (folder / "data_sets").iterdir())


def open_files():
    # only Linux tells
    found = Path("/proc/self/fd")
    return len(list(found.iterdir())) if found.is_dir() else 0


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "a.zarr"
    write(folder)
    return folder


@pytest.fixture
def place(folder):
    return Place(folder)


@pytest.fixture
def archive(place, folder):
    pack_data_set(place, 7)
    return folder / "data_sets/7.ozx"


def test_a_data_set_is_one_file_and_comes_back_byte_for_byte(place, folder):
    assert pack_data_set(place, 7) == (len(FILES), sum(map(len, FILES.values())))
    assert names(folder) == ["7.ozx"]
    assert unpack_data_set(place, 7) == (len(FILES), sum(map(len, FILES.values())))
    assert (names(folder), read(folder)) == (["7"], FILES)


def test_the_same_data_set_always_becomes_the_same_archive(place, archive):
    before = archive.read_bytes()
    unpack_data_set(place, 7)
    pack_data_set(place, 7)
    assert archive.read_bytes() == before


def test_objects_of_a_packed_data_set_are_read_as_those_of_a_folder(place, folder):
    def everything():
        keys = [f"data_sets/7/{name}" for name in FILES] + ["data_sets/7/nothing", "data_sets/7/image"]
        paths = [
            "data_sets",
            "data_sets/7",
            "data_sets/7/image",
            "data_sets/7/image/source",
            "data_sets/8",
            KEY,
        ]
        return (
            [place.get(key) for key in keys],
            [place.tail(key, n) for key in keys for n in (0, 5, 10**6)],
            [place.names_below(path) for path in paths],
            place.attributes("data_sets/7/image"),
        )

    before = everything()
    pack_data_set(place, 7)
    assert everything() == before


@pytest.mark.parametrize(
    "byte_range",
    [
        None,
        RangeByteRequest(3, 17),
        RangeByteRequest(9000, 99999),
        OffsetByteRequest(10000),
        SuffixByteRequest(9),
    ],
)
def test_zarr_reads_ranges_and_lists_a_packed_data_set_as_it_does_a_folder(place, folder, byte_range):
    async def listed(names):
        return sorted([name async for name in names])

    def everything():
        store, prototype = place.store, default_buffer_prototype()
        found = [
            store.get_sync(KEY, byte_range=byte_range),
            sync(store.get(KEY, prototype, byte_range)),
            *sync(store.get_partial_values(prototype, [(KEY, byte_range)])),
        ]
        return (
            [each.to_bytes() for each in found],
            sync(store.get("data_sets/7/nothing", prototype)),
            [sync(store.exists(key)) for key in (KEY, "data_sets/7/nothing", "data_sets/7")],
            sync(store.getsize(KEY)),
            [
                sync(listed(store.list_dir(path)))
                for path in ("data_sets", "data_sets/7/", "data_sets/7/image")
            ],
            sync(listed(store.list())),
            [sync(listed(store.list_prefix(path))) for path in ("data_sets/7", "data_sets/7/image/")],
        )

    before = everything()
    pack_data_set(place, 7)
    assert everything() == before


def test_only_the_range_that_is_asked_for_is_read(place, archive, monkeypatch):
    large = archive.parents[1] / "data_sets/8/c.0"
    large.parent.mkdir()
    large.write_bytes(bytes(2**24))
    pack_data_set(place, 8)
    place.tail("data_sets/8/c.0", 1)
    n_read = []
    usual = packed.reader_of

    def counting(file):
        reader = usual(file)

        def counted(at, n_bytes):
            data = reader(at, n_bytes)
            n_read.append(len(data))
            return data

        return counted

    monkeypatch.setattr(packed, "reader_of", counting)
    prototype = default_buffer_prototype()
    assert (
        len(sync(place.store.get("data_sets/8/c.0", prototype, RangeByteRequest(2**20, 2**20 + 100)))) == 100
    )
    assert sum(n_read) == 100


def test_more_than_an_object_can_have_is_not_read(place, archive):
    with pytest.raises(StoreItemError, match="no more than 100 are read at once"):
        place.get(KEY, 100)
    # a range takes memory for what there is
    found = sync(place.store.get(KEY, default_buffer_prototype(), RangeByteRequest(0, 2 * MAX_OBJECT_BYTES)))
    assert found.to_bytes() == FILES["image/source/1.jpg"]


def test_the_places_of_files_are_kept_for_a_bounded_number_of_archives_and_no_file_stays_open(
    place, folder, monkeypatch
):
    monkeypatch.setattr(packed, "_MAX_ARCHIVES", 3)
    for number in range(10, 20):
        (folder / f"data_sets/{number}").mkdir()
        (folder / f"data_sets/{number}/zarr.json").write_bytes(GROUP)
        pack_data_set(place, number)
    before = open_files()
    for _ in range(2):
        assert all(place.get(f"data_sets/{number}/zarr.json") == GROUP for number in range(10, 20))
    assert len(place.store.packed._archives) == 3
    assert open_files() == before


def test_many_threads_read_one_archive_at_once(place, archive):
    wrong = []

    def look():
        for _ in range(50):
            wrong.extend(name for name, data in FILES.items() if place.get(f"data_sets/7/{name}") != data)

    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_an_archive_that_another_takes_the_place_of_is_read_anew(place, archive, folder):
    assert place.get(KEY) == FILES["image/source/1.jpg"]
    unpack_data_set(Place(folder), 7)
    (folder / KEY).write_bytes(b"another")
    assert place.get(KEY) == b"another"
    pack_data_set(Place(folder), 7)
    assert place.get(KEY) == b"another"


def test_an_array_of_a_packed_data_set_goes_on_to_other_processes(place, folder):
    zarr.create_array(folder / "data_sets/7/a", shape=(4,), chunks=(2,), dtype="uint8")[:] = np.arange(4)
    pack_data_set(place, 7)
    array = pickle.loads(pickle.dumps(zarr.open_array(place.store, path="data_sets/7/a", mode="r")))
    assert array[:].tolist() == [0, 1, 2, 3]


def test_a_reader_goes_on_while_a_data_set_is_packed_and_unpacked(place, folder):
    reading, wrong, done = Place(folder, read_only=True), [], threading.Event()

    def look():
        while not done.is_set():
            if (
                reading.get(KEY) != FILES["image/source/1.jpg"]
                or reading.names_below("data_sets/7/image") == []
            ):
                wrong.append(names(folder))

    thread = threading.Thread(target=look)
    thread.start()
    for _ in range(30):
        pack_data_set(place, 7)
        unpack_data_set(place, 7)
    done.set()
    thread.join()
    assert wrong == []


def test_nothing_in_a_packed_data_set_is_changed_without_unpacking_it(place, archive):
    before = archive.read_bytes()
    changes = [
        lambda: place.set("data_sets/7/new", b""),
        lambda: place.delete(KEY),
        lambda: place.delete_below("data_sets/7/image"),
        lambda: place.rename(KEY, "data_sets/7/2.jpg"),
        lambda: place.write_group("data_sets/7/image", {"asyncfetch": {}}),
        lambda: sync(place.store.set(KEY, default_buffer_prototype().buffer.from_bytes(b""))),
        lambda: sync(place.store.delete(KEY)),
        lambda: sync(place.store.delete_dir("data_sets/7/image")),
    ]
    for change in changes:
        with pytest.raises(StoreAccessError, match=r"unpack it with: asyncfetch unpack .*a\.zarr 7$"):
            change()
    # what is not there need not be removed
    place.delete("data_sets/7/nothing")
    place.delete_below("data_sets/7/nothing")
    assert archive.read_bytes() == before


def test_a_packed_data_set_is_unpacked_before_something_in_it_changes_where_the_writer_sees_to_that(
    place, archive, folder
):
    asked = []

    def unpack(data_set_id):
        asked.append(data_set_id)
        unpack_data_set(place, data_set_id)

    place.backend.unpack = unpack
    assert (place.get(KEY), asked) == (FILES["image/source/1.jpg"], [])
    place.set(KEY, b"another")
    place.set(KEY, b"a third")
    assert asked == [7]
    assert read(folder) == {**FILES, "image/source/1.jpg": b"a third"}


@pytest.mark.parametrize("what", ["link", "folder_link", "pipe"])
def test_what_an_archive_cannot_keep_is_named_and_the_folder_stays(place, folder, what):
    path = folder / "data_sets/7/image/odd"
    if what == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(folder if what == "folder_link" else folder / KEY)
    with pytest.raises(StoreItemError, match=f"{path}.*an archive cannot keep"):
        pack_data_set(place, 7)
    assert names(folder) == ["7"]


def test_a_folder_that_changes_while_it_is_packed_stays_a_folder(place, folder):
    def change():
        (folder / KEY).write_bytes(b"changed")
        return False

    with pytest.raises(StoreItemError, match="was changed while it was packed"):
        pack_data_set(place, 7, is_stopped=change)
    assert names(folder) == ["7"]


def test_a_packing_that_is_stopped_leaves_the_folder_and_nothing_else(place, folder):
    answers = iter([False, False, True])
    assert pack_data_set(place, 7, is_stopped=lambda: next(answers)) is None
    assert (names(folder), read(folder)) == (["7"], FILES)


def test_an_archive_that_does_not_read_back_is_not_kept(place, folder, monkeypatch):
    monkeypatch.setattr(packing, "_problem_of", lambda *_, full: "has other bytes of x than were packed")
    with pytest.raises(StoreItemError, match="was not read back as it was written"):
        pack_data_set(place, 7)
    assert (names(folder), read(folder)) == (["7"], FILES)


def test_leftovers_in_a_folder_are_not_packed(place, folder):
    (folder / f"{KEY}.0123.partial").write_bytes(b"half")
    pack_data_set(place, 7)
    unpack_data_set(place, 7)
    assert read(folder) == FILES


@pytest.fixture
def both(place, archive, folder):
    """The folder and the archive of a data set, as a kill leaves them."""
    write(folder)
    return folder


def test_of_a_folder_and_an_archive_of_the_same_the_archive_stays(place, both):
    assert place.get(KEY) == FILES["image/source/1.jpg"]
    settle(place)
    assert names(both) == ["7.ozx"]


def test_of_a_folder_that_lacks_files_and_a_whole_archive_the_archive_stays(place, both):
    (both / KEY).unlink()
    settle(place)
    assert names(both) == ["7.ozx"]
    assert place.get(KEY) == FILES["image/source/1.jpg"]


@pytest.mark.parametrize("how", ["cut", "flipped"])
def test_of_a_whole_folder_and_a_damaged_archive_the_folder_stays(place, both, how):
    path = both / "data_sets/7.ozx"
    data = bytearray(path.read_bytes())
    data[500] ^= 1
    path.write_bytes(bytes(data) if how == "flipped" else bytes(data[:-50]))
    settle(place)
    assert (names(both), read(both)) == (["7"], FILES)


def test_of_a_folder_with_more_than_the_archive_the_folder_stays(place, both):
    (both / "data_sets/7/new").write_bytes(b"new")
    settle(place)
    assert (names(both), read(both)) == (["7"], {**FILES, "new": b"new"})


def test_a_folder_and_an_archive_that_differ_both_stay_and_are_named(place, both):
    (both / KEY).write_bytes(b"another")
    settle(place)
    assert names(both) == ["7", "7.ozx"]
    assert place.damage.found == {"data_sets/7.ozx": "differs from the folder of the same data set"}
    assert place.get(KEY) == b"another"


def test_a_damaged_archive_is_not_unpacked_and_says_how_to_mend_it(place, archive, folder):
    data = bytearray(archive.read_bytes())
    data[data.index(b"\xff\xd8\xff\xd8") + 10] ^= 1
    archive.write_bytes(data)
    with pytest.raises(StoreItemError, match=r"2.jpg is not as it was packed.*verify .* --repair"):
        unpack_data_set(place, 7)
    assert names(folder) == ["7.ozx"]
    assert archive_problem(place, 7) is None
    assert archive_problem(place, 7, full=True) == "has other bytes of image/source/2.jpg than were packed"


@pytest.mark.parametrize("n_bytes", [0, 10, 5000])
def test_a_cut_archive_reads_as_damage_and_not_as_nothing(place, archive, n_bytes):
    archive.write_bytes(archive.read_bytes()[:n_bytes])
    words = "data_sets/7.ozx: it has no central directory at its end"
    with pytest.raises(StoreItemError, match=words):
        place.get(KEY)
    assert place.names_below("data_sets") == ["7"]
    assert place.attributes("data_sets/7") is None
    assert words in place.damage.found["data_sets/7/zarr.json"]


def files_of_sections(n):
    """Return files named as those of a data set are, each with content of its own."""
    images = [900001005 + 1000 * k for k in range(n)]
    names = ["zarr.json", "image/zarr.json", "image/sections/zarr.json", "image/source/zarr.json"]
    names += ["image/registered/zarr.json", "image/registered/scale0/image/zarr.json"]
    for k, image in enumerate(images):
        names += [f"image/sections/{image}/zarr.json", f"image/source/{image}.jpg"]
        names += [f"image/registered/scale0/image/c.0.{k}.0.0"]
    return {name: name.encode() * 3 for name in names}


def test_a_flipped_bit_in_what_leads_to_the_files_costs_none_of_them(place, folder):
    files = files_of_sections(6)
    packing.shutil.rmtree(folder / "data_sets/7")
    write(folder, files)
    pack_data_set(place, 7)
    whole = (folder / "data_sets/7.ozx").read_bytes()
    entries = read_directory(lambda at, n_bytes: whole[at : at + n_bytes], len(whole))
    content = {byte for each in entries for byte in range(usual_offset(each), usual_offset(each) + each.size)}
    framing = sorted(set(range(len(whole))) - content)
    for byte in framing:
        data = bytearray(whole)
        data[byte] ^= 1 << byte % 8
        found = {
            entry.name: bytes(data[at : at + entry.size])
            for entry, at in _files_in(
                lambda at, n_bytes, data=data: bytes(data[at : at + n_bytes]), len(data)
            )
        }
        assert found == files, f"byte {byte}"


def test_of_an_archive_without_its_end_every_file_is_had_that_came_before(place, archive, folder):
    whole = archive.read_bytes()
    archive.write_bytes(whole[: whole.index(b"PK\x01\x02")])
    assert salvage_data_set(place, 7)
    assert (names(folder), read(folder)) == (["7"], FILES)


def test_of_an_archive_with_a_hole_every_other_file_is_had(place, archive, folder):
    whole = bytearray(archive.read_bytes())
    begin = whole.index(b"PK\x03\x04", 300)
    whole[begin : begin + 20] = bytes(20)
    archive.write_bytes(whole[: whole.index(b"PK\x01\x02")])
    assert salvage_data_set(place, 7)
    found = read(folder)
    assert len(found) == len(FILES) - 1
    assert found.items() <= FILES.items()


def test_an_archive_of_which_nothing_can_be_read_stays(place, archive, folder):
    archive.write_bytes(b"nothing at all")
    assert not salvage_data_set(place, 7)
    assert (names(folder), archive.read_bytes()) == (["7.ozx"], b"nothing at all")


def test_only_directories_are_packed():
    with pytest.raises(StoreAccessError, match="in directories only"):
        pack_data_set(Place("memory"), 7)
