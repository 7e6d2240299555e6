"""Nothing is read, written or removed outside a store."""

from __future__ import annotations

import json
import os
import re

import numpy as np
import pytest
import zarr
from zarr.abc.store import OffsetByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.buffer import default_buffer_prototype
from zarr.core.sync import sync

import asyncfetch.store as store
from asyncfetch.errors import SelectionError, StoreAccessError, StoreItemError
from asyncfetch.layout.bounds import MAX_OBJECT_BYTES
from asyncfetch.store import arrays
from asyncfetch.store.objects import Place

SECRET = b"not of the store"


@pytest.fixture
def outside(tmp_path):
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "file").write_bytes(SECRET)
    return folder


@pytest.fixture
def place(tmp_path):
    (tmp_path / "a.zarr").mkdir()
    return Place(tmp_path / "a.zarr")


def everything_in(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(
    "key", ["../a", "a/../../b", "/etc/passwd", "a//b", "./a", "a/.", "..", "a\\b", "a\0b", "a/"]
)
@pytest.mark.parametrize("kind", ["directory", "memory"])
def test_a_name_that_leads_elsewhere_is_refused_by_every_way_in(tmp_path, kind, key):
    place = Place(tmp_path / "a.zarr" if kind == "directory" else "memory")
    ways = [
        lambda: place.get(key),
        lambda: place.set(key, b""),
        lambda: place.set_pieces(key, [b""]),
        lambda: place.delete(key),
        lambda: place.delete_below(key),
        lambda: place.names_below(key),
        lambda: place.write_group(key, {}),
        lambda: place.attributes(key),
    ]
    for way in ways:
        with pytest.raises(StoreAccessError, match="not the name of anything in a store"):
            way()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("by_link", [False, True])
def test_a_pipe_in_place_of_a_file_counts_as_absent_and_keeps_no_reader_waiting(place, tmp_path, by_link):
    os.mkfifo(tmp_path / "a.zarr" / ("pipe" if by_link else "zarr.json"))
    if by_link:
        (tmp_path / "a.zarr" / "zarr.json").symlink_to("pipe")
    assert place.get("zarr.json") is None
    # Zarr opens files on its own
    with pytest.raises(FileNotFoundError):
        zarr.open_array(place.store, mode="r", zarr_format=3)


def test_a_folder_that_leads_out_is_as_if_absent_and_is_not_written_through(place, outside, tmp_path):
    (tmp_path / "a.zarr" / "link").symlink_to(outside)
    assert place.get("link/file") is None
    assert place.names_below("link") == []
    for way in (
        lambda: place.set("link/file", b"x"),
        lambda: place.set("link/new/file", b"x"),
    ):
        with pytest.raises(StoreAccessError, match=r"a\.zarr/link leads out|a\.zarr/link/new leads out"):
            way()
    place.delete("link/file")
    place.delete_below("link/new")
    assert everything_in(outside) == {"file": SECRET}


def test_a_file_that_leads_out_is_as_if_absent_and_is_replaced(place, outside, tmp_path):
    link = tmp_path / "a.zarr" / "link"
    link.symlink_to(outside / "file")
    assert place.get("link") is None
    place.set("link", b"ours")
    assert (place.get("link"), link.is_symlink()) == (b"ours", False)
    link.unlink()
    link.symlink_to(outside / "file")
    place.delete("link")
    assert everything_in(outside) == {"file": SECRET}
    assert not link.is_symlink()


def test_removing_what_leads_out_removes_the_link_alone(place, outside, tmp_path):
    (tmp_path / "a.zarr" / "link").symlink_to(outside)
    place.delete_below("link")
    assert everything_in(outside) == {"file": SECRET}
    assert list((tmp_path / "a.zarr").iterdir()) == []


def test_links_to_places_inside_are_followed_and_the_root_may_be_a_link(tmp_path):
    root = tmp_path / "disk" / "a.zarr"
    root.mkdir(parents=True)
    (tmp_path / "here.zarr").symlink_to(root)
    place = Place(tmp_path / "here.zarr")
    place.set("moved/there/file", b"1")
    (root / "folder").symlink_to(root / "moved" / "there")
    (root / "folder" / "same").symlink_to("file")
    assert (place.get("folder/file"), place.get("folder/same")) == (b"1", b"1")
    place.set("folder/file", b"2")
    assert place.get("moved/there/file") == b"2"


def test_a_pipe_and_a_folder_are_no_objects(place, tmp_path):
    os.mkfifo(tmp_path / "a.zarr" / "pipe")
    (tmp_path / "a.zarr" / "folder").mkdir()
    assert (place.get("pipe"), place.get("folder")) == (None, None)


def test_a_link_that_leads_in_a_circle_is_absent(place, tmp_path):
    (tmp_path / "a.zarr" / "circle").symlink_to("circle")
    assert (place.get("circle"), place.get("circle/file")) == (None, None)


def test_zarr_reads_nothing_outside_either(mirror, outside, tmp_path):
    mirror.write(101349750)
    chunk = next((tmp_path / "out.zarr").glob("data_sets/*/image/sections/*/scale0/image/c.0.0.0.0"))
    kept = outside / "chunk"
    chunk.rename(kept)
    chunk.symlink_to(kept)
    section = store.open(tmp_path / "out.zarr").data_set(mirror.data_set.id).section(101349750)
    assert not section.open_levels()[0][...].any()
    assert zarr.open_array(section.open_levels()[0].store.root / section.open_levels()[0].path, mode="r")[
        ...
    ].any()


def test_a_jpeg_that_is_a_link_to_elsewhere_is_not_given_out(mirror, outside, tmp_path):
    mirror.write(101349750)
    jpeg = next((tmp_path / "out.zarr").glob("data_sets/*/image/source/*.jpg"))
    jpeg.unlink()
    jpeg.symlink_to(outside / "file")
    section = store.open(tmp_path / "out.zarr").data_set(mirror.data_set.id).section(101349750)
    with pytest.raises(Exception, match="missing although it is committed"):
        _ = section.read_jpeg()


def test_a_section_whose_folder_leads_out_is_written_again_inside(mirror, outside, tmp_path):
    mirror.write(101349750)
    section = next((tmp_path / "out.zarr").glob("data_sets/*/image/sections/101349750"))
    section.rename(outside / "section")
    section.symlink_to(outside / "section")
    before = (outside / "section" / "zarr.json").read_bytes()
    stored = store.open(tmp_path / "out.zarr").data_set(mirror.data_set.id)
    with pytest.raises(SelectionError):
        stored.section(101349750)
    type(mirror)(store.StoreWriter.open(tmp_path / "out.zarr"), mirror.data_set).begin().write(101349750)
    assert stored.section(101349750).commit.image_id == 101349750
    assert not section.is_symlink()
    assert (outside / "section" / "zarr.json").read_bytes() == before


HUGE = MAX_OBJECT_BYTES + 1


def enlarge(path):
    """Make a file longer than any that is written, without taking room on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.truncate(HUGE)


def test_metadata_longer_than_any_that_are_written_count_as_missing_unread(place, tmp_path):
    place.write_group("a", {"asyncfetch": {}})
    enlarge(tmp_path / "a.zarr" / "a" / "zarr.json")
    assert place.attributes("a") is None
    words = f"cannot be read (it has {HUGE} bytes, and no more than {MAX_OBJECT_BYTES} are read at once)"
    assert place.damage.found == {"a/zarr.json": words}
    # the group is made again, and so are those below it
    place.write_group("a", {"asyncfetch": {"made": "again"}})
    place.write_group("a/b", {"asyncfetch": {}})
    assert place.ours("a") == {"made": "again"}


def test_metadata_that_would_become_more_objects_than_memory_holds_count_as_missing(place, tmp_path):
    place.write_group("a", {"asyncfetch": {}})
    document = b'{"zarr_format": 3, "node_type": "group", "attributes": {"x": [%s]}}' % b",".join(
        [b"[]"] * (2 * 10**6)
    )
    (tmp_path / "a.zarr" / "a" / "zarr.json").write_bytes(document)
    assert place.attributes("a") is None
    assert re.fullmatch(
        r"cannot be read \(it would take \d+ MB as objects\)", place.damage.found["a/zarr.json"]
    )


def test_a_group_with_a_copy_of_a_hundred_thousand_metadata_is_read_and_loses_it_when_it_is_changed(
    place, tmp_path
):
    copy = {"metadata": {str(number): {"attributes": {"of": [{}, {}]}} for number in range(10**5)}}
    document = {"zarr_format": 3, "node_type": "group", "attributes": {"asyncfetch": {"layout": 1}}}
    path = tmp_path / "a.zarr" / "zarr.json"
    path.write_bytes(json.dumps({**document, "consolidated_metadata": copy, "note": [1]}).encode())
    assert place.ours("") == {"layout": 1}
    place.write_group("a", {"asyncfetch": {}})
    assert json.loads(path.read_bytes()) == {**document, "note": [1]}


@pytest.mark.parametrize("name", ["zarr.json", "c.0"])
def test_an_array_longer_than_any_that_is_written_is_damaged_unread(place, tmp_path, name):
    arrays.write_column(place, "column", np.arange(5))
    enlarge(tmp_path / "a.zarr" / "column" / name)
    with pytest.raises(StoreItemError, match=f"{HUGE} bytes"):
        arrays.read_column(place, "column")


@pytest.mark.parametrize(
    ("byte_range", "is_read"),
    [
        (None, False),
        (RangeByteRequest(5, 9), True),
        (RangeByteRequest(5, 2**60), False),
        (SuffixByteRequest(4), True),
        (SuffixByteRequest(2**60), False),
        (OffsetByteRequest(HUGE - 4), True),
        (OffsetByteRequest(0), False),
    ],
)
def test_no_more_of_a_long_object_is_read_at_once_than_a_shard_can_have(place, tmp_path, byte_range, is_read):
    enlarge(tmp_path / "a.zarr" / "c" / "0")
    prototype = default_buffer_prototype()
    if is_read:
        assert sync(place.store.get("c/0", prototype, byte_range)).to_bytes() == bytes(4)
        return
    with pytest.raises(ValueError, match="are read at once"):
        sync(place.store.get("c/0", prototype, byte_range))
    with pytest.raises(ValueError, match="are read at once"):
        place.store.get_sync("c/0", prototype=prototype, byte_range=byte_range)
