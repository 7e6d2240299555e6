"""Paths and addresses name a store, or a part of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from zarr.storage import MemoryStore

from asyncfetch.readers.images import is_local_store
from asyncfetch.readers.parts import Part, part_of

STORE = "s3://atlas/brains.ome.zarr"


@pytest.mark.parametrize(
    ("below", "expected"),
    [
        ("", ()),
        ("/data_sets", ()),
        ("/data_sets/479", (479,)),
        ("/data_sets/479/", (479,)),
        ("/data_sets/479.ozx", (479,)),
        ("/data_sets/479/expression", (479, "expression")),
        ("/data_sets/479/image/registered", (479, "image", "registered")),
        ("/data_sets/479/image/registered/scale0/image", (479, "image", "registered", 0)),
        ("/data_sets/479/image/volume/scale2", (479, "image", "volume", 2)),
        ("/data_sets/479/image/sections", (479, "image", "sections")),
        ("/data_sets/479/image/sections/123", (479, "image", 123)),
        ("/data_sets/479/image/sections/123/scale1/", (479, "image", 123, 1)),
        ("\\data_sets\\479\\image", (479, "image")),
    ],
)
def test_a_path_names_a_part(below, expected):
    assert part_of(f"{STORE}{below}") == Part(STORE, *expected)


@pytest.mark.parametrize(
    "location",
    [
        "brains.zarr",
        "data_sets.zarr",
        "brains.zarr/data_sets/x",
        "brains.zarr/data_sets/479/image/other",
        Path("x.zarr"),
    ],
)
def test_what_is_not_a_part_names_itself(location):
    assert part_of(location) == Part(location)


def test_the_last_data_sets_of_a_path_is_that_of_the_store():
    assert part_of("/data_sets/5/brains.zarr/data_sets/479")[:2] == ("/data_sets/5/brains.zarr", 479)


def test_a_zarr_store_is_a_whole_store():
    zarr_store = MemoryStore()
    assert part_of(zarr_store).location is zarr_store


def test_a_store_is_known_by_its_root(tmp_path):
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours/zarr.json").write_text(
        '{"attributes": {"asyncfetch": {"layout": 1, "tool": "asyncfetch"}}}'
    )
    (tmp_path / "other").mkdir()
    (tmp_path / "other/zarr.json").write_text('{"zarr_format": 3, "node_type": "group", "attributes": {}}')
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged/zarr.json").write_bytes(b"\xff{")
    assert is_local_store(tmp_path / "ours")
    assert is_local_store(str(tmp_path / "ours"))
    for name in ("other", "damaged", "missing", "ours/zarr.json"):
        assert not is_local_store(tmp_path / name)
    for odd in (7, b"ours", "a\0b", MemoryStore(), "s3://atlas/brains.zarr"):
        assert not is_local_store(odd)
