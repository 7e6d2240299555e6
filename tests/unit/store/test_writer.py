"""Writing: whole or not at all, and the same bytes however it came about."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import msgspec
import numpy as np
import pytest
import simplejpeg
import zarr
from zarr.storage import LocalStore

import asyncfetch.store as store
from asyncfetch.errors import StoreItemError, StoreLayoutError
from asyncfetch.layout.commit import Objects
from asyncfetch.layout.paths import level_chunking, level_shapes
from asyncfetch.store.shards import object_of

VIEW = "data_sets/70813257/image"


def objects(root) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_the_source_is_the_jpeg_as_a_plain_file_and_reads_as_pixels(mirror):
    jpeg = mirror.write(101349756)
    folder = mirror.writer.store.root / VIEW / "source"
    assert {each.name for each in folder.iterdir()} == {"zarr.json", "101349756.jpg"}
    assert (folder / "101349756.jpg").read_bytes() == jpeg
    section = store.open(mirror.writer.store).data_set(70813257).section(101349756)
    np.testing.assert_array_equal(section.read_source(), simplejpeg.decode_jpeg(jpeg))


def test_a_gray_jpeg_has_one_colour(mirror, kit):
    mirror.write(101349756)
    pixels = np.arange(700 * 1101, dtype=np.uint32).reshape(700, 1101, 1).astype(np.uint8)
    jpeg = simplejpeg.encode_jpeg(pixels, colorspace="GRAY")
    mirror.view.write_source(101349756, jpeg)
    section = store.open(mirror.writer.store).data_set(70813257).section(101349756)
    np.testing.assert_array_equal(section.read_source(), simplejpeg.decode_jpeg(jpeg, colorspace="GRAY"))


def test_zarr_walks_a_store_with_its_own_codecs_and_without_a_warning(mirror):
    mirror.write(101349756)
    mirror.write(101349750)
    root = zarr.open_group(mirror.writer.store, mode="r")
    members = dict(root.members(max_depth=None))
    assert f"{VIEW}/registered/scale0/image" in members
    assert members[f"{VIEW}/source"].shape == (0,)
    assert not any(path.startswith(f"{VIEW}/source/") for path in members)
    assert "registered" in str(root.tree())


@pytest.mark.parametrize("codec", ["zstd", "blosc-lz4", "jpegxl", "none"])
def test_pixels_come_back_exactly_through_every_codec(kit, data_set, codec):
    mirror = kit.Mirror(kit.StoreWriter.open("memory"), data_set, codec=codec).begin()
    jpeg = mirror.write(101349756)
    root = zarr.open_group(mirror.writer.store, mode="r")
    level = root[f"{VIEW}/sections/101349756/scale0/image"]
    assert (level.chunks, level.shards) == ((3, 1, 512, 512), (3, 1, 1024, 1536))
    assert level.metadata.dimension_names == ("c", "z", "y", "x")
    np.testing.assert_array_equal(level[:, 0].transpose(1, 2, 0), simplejpeg.decode_jpeg(jpeg))
    registered = root[f"{VIEW}/registered/scale0/image"]
    np.testing.assert_array_equal(
        registered[:, 2].transpose(1, 2, 0), kit.plane_of(101349756, mirror.grid.shape)
    )
    assert not registered[:, [0, 1, 3, 4]].any()


def test_a_plane_larger_than_a_shard_is_written_shard_by_shard(kit):
    writer = kit.StoreWriter.open("memory")
    pixels = kit.plane_of(1, (2100, 2500))
    levels = writer.view(1, "image").create_levels(
        2, (2100, 2500), codec="zstd", downsample=0, resolution_um=1.0
    )
    assert (levels.shapes[0], levels.shard_shape(0)) == ((2100, 2500), (2048, 2048))
    kit.write_levels(levels, pixels)
    assert levels.objects.n == 4 + len(levels.shapes) - 1
    array = zarr.open_array(writer.store, path="data_sets/1/image/sections/2/scale0/image", mode="r")
    np.testing.assert_array_equal(array[:, 0].transpose(1, 2, 0), pixels)


def test_plain_zarr_walks_the_whole_hierarchy(mirror):
    for section in mirror.data_set.section_images:
        mirror.write(section.id)
    root = zarr.open_group(mirror.writer.store.root, mode="r")
    members = dict(root.members(max_depth=None))
    assert f"{VIEW}/sections/101349759/scale1/image" in members
    for node in members.values():
        if isinstance(node, zarr.Array):
            assert node[...].shape == node.shape


def test_a_commit_is_what_makes_a_section_exist(mirror):
    mirror.write(101349756, until_commit=True)
    assert mirror.writer.commits(70813257, "image") == {}
    assert not (mirror.writer.store.root / VIEW / "sections/101349756/zarr.json").exists()
    mirror.write(101349756)
    (commit,) = mirror.writer.commits(70813257, "image").values()
    assert commit.record["section_number"] == 24
    assert commit.image_to_reference is not None


def test_commits_come_in_section_order(mirror):
    for image_id in (101349759, 101349756, 101349750):
        mirror.write(image_id)
    assert list(mirror.writer.commits(70813257, "image")) == [101349750, 101349756, 101349759]


def test_beginning_a_section_removes_all_of_it_and_nothing_of_its_neighbours(kit, data_set):
    rows = [section.record for section in data_set.section_images]
    longer = kit.section_row(1013497560, 48)  # an id that begins with another's
    mirror = kit.Mirror(kit.StoreWriter.open("memory"), kit.data_set_of([*rows, longer])).begin()
    for image_id in (101349750, 1013497560):
        mirror.write(image_id)
    before = dict(mirror.writer.store._store_dict)
    mirror.write(101349756)
    mirror.view.begin_section(101349756)
    assert mirror.writer.store._store_dict.keys() == before.keys()


def test_a_layer_that_is_kept_stays_while_the_commit_goes(mirror):
    jpeg = mirror.write(101349756)
    mirror.view.begin_section(101349756, keep=("source",))
    root = mirror.writer.store.root / VIEW
    assert (root / "source/101349756.jpg").read_bytes() == jpeg
    assert not (root / "sections/101349756").exists()
    assert mirror.writer.commits(70813257, "image") == {}


def test_rewriting_with_other_layers_leaves_none_of_the_old(mirror):
    mirror.write(101349756)
    mirror.layers = ("source",)
    mirror.write(101349756)
    root = mirror.writer.store.root / VIEW
    assert [path.name for path in (root / "sections/101349756").iterdir()] == ["zarr.json"]
    assert not list((root / "registered/scale0/image").glob("c.*"))


def test_a_kill_between_any_two_steps_leaves_no_commit_and_the_next_run_ends_in_the_same_bytes(
    kit, data_set, tmp_path
):
    def mirror_to(location):
        return kit.Mirror(kit.StoreWriter.open(location), data_set, shape=(20, 600))

    whole = mirror_to(tmp_path / "whole").begin()
    whole.write(101349756)
    whole.write(101349750)
    expected = objects(tmp_path / "whole")
    root = tmp_path / "killed"
    mirror_to(root).begin().write(101349750)
    n_changes, finished = 0, False
    while not finished:
        dying = mirror_to(kit.DyingStore(LocalStore(root), n_changes))
        try:
            dying.begin().write(101349756)
            finished = True
        except kit.KilledError:
            assert list(store.StoreWriter.open(root).commits(70813257, "image")) == [101349750]
        resumed = mirror_to(root).begin()
        resumed.write(101349756)
        assert objects(root) == expected
        resumed.view.begin_section(101349756)
        n_changes += 1
    assert n_changes > 20


def test_a_rewrite_that_is_killed_leaves_the_section_uncommitted(kit, mirror):
    mirror.write(101349756)
    mirror.write(101349750)
    root = mirror.writer.store.root
    dying = kit.Mirror(kit.StoreWriter.open(kit.DyingStore(LocalStore(root), 9)), mirror.data_set)
    with pytest.raises(kit.KilledError):
        dying.begin().write(101349756)
    assert list(mirror.writer.commits(70813257, "image")) == [101349750]


def test_four_threads_write_the_bytes_of_one(kit, tmp_path):
    data_set = kit.data_set_of([kit.section_row(200 + k, 4 * k) for k in range(8)])
    for name, n_threads in (("one", 1), ("four", 4)):
        mirror = kit.Mirror(kit.StoreWriter.open(tmp_path / name), data_set)
        with ThreadPoolExecutor(n_threads) as pool:
            list(pool.map(mirror.writer.open_view, [mirror.layout()] * n_threads))
            mirror.begin()
            list(pool.map(mirror.write, [section.id for section in data_set.section_images]))
    assert objects(tmp_path / "one") == objects(tmp_path / "four")
    assert len(store.open(tmp_path / "four").data_set(70813257).read_commits()) == 8


def test_a_registered_plane_needs_a_registered_view(kit):
    writer = kit.StoreWriter.open("memory")
    with pytest.raises(StoreLayoutError, match="no registered image"):
        writer.view(1, "image").write_registered_shard(0, (0, 0), [])


def test_runs_are_remembered_until_they_end(mirror):
    runs = [{"selection": [f"dataset:{number}"], "settings": {"um": 25.0}} for number in range(3)]
    for run in (*runs, runs[0]):
        mirror.writer.begin_run(run)
    mirror.writer.end_run(runs[1])
    assert store.StoreWriter.open(mirror.writer.location).runs() == [runs[2], runs[0]]
    assert store.open(mirror.writer.location).read_runs() == [runs[2], runs[0]]


def test_only_the_last_runs_are_remembered(mirror):
    for number in range(70):
        mirror.writer.begin_run({"selection": [f"dataset:{number}"]})
    assert [run["selection"] for run in mirror.writer.runs()] == [[f"dataset:{k}"] for k in range(6, 70)]


@pytest.mark.parametrize(
    "change",
    [
        {"image_to_reference": store.SectionAffine(matrix=((float("inf"), 0.0, 0.0),) * 3)},
        {"resolution_um": -1.0},
        {"section_number": 2**70},
        {"size_bytes": -1},
        {"sha256": "not hexadecimal"},
        {"record": {"id": 1}},
        {"record": {"id": 101349756, "data_set_id": 70813257, "width": 0, "height": 5}},
    ],
)
def test_a_commit_that_could_not_be_read_back_is_an_error_of_its_section_and_leaves_nothing(
    mirror, kit, data_set, change
):
    good = kit.commit_of(data_set, 101349756, kit.jpeg_of(101349756), ("source",))
    mirror.write(101349750)
    with pytest.raises(StoreItemError, match="101349756"):
        mirror.view.commit(msgspec.structs.replace(good, **change))
    assert mirror.writer.commits(70813257, "image").keys() == {101349750}
    assert store.open(mirror.writer.store).damage == []


def test_a_record_that_could_not_be_read_back_is_not_written(mirror):
    layout = mirror.layout()
    with pytest.raises(StoreItemError, match="data set 70813257 is not stored"):
        mirror.writer.open_view(msgspec.structs.replace(layout, record={"id": 2**70}))
    assert store.open(mirror.writer.store).read_data_set_ids() == (70813257,)


def test_a_commit_tells_how_many_objects_its_layers_have_and_how_long_they_are(mirror):
    mirror.write(101349756)
    commit = mirror.writer.commits(70813257, "image")[101349756]
    root = mirror.writer.store.root / VIEW
    levels = [
        object_of(str(path), path.read_bytes(), level_chunking(shape).index_bytes)
        for level, shape in enumerate(level_shapes(commit.shape))
        for path in root.glob(f"sections/101349756/scale{level}/image/c.*")
    ]
    (plane,) = [
        object_of(str(path), path.read_bytes(), 0) for path in root.glob("registered/scale0/image/c.*")
    ]
    assert commit.objects == {"sections": sum(levels, start=Objects()), "registered": plane}
    assert (plane.n, plane.n_bytes > 0, plane.crc32 > 0) == (1, True, True)
