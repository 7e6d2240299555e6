"""Regions and tiles: what is asked for, what is stored, and that it is the pixels of the whole image."""

from __future__ import annotations

import hashlib
from urllib.parse import parse_qs, urlsplit

import anyio
import numpy as np
import pytest

import asyncfetch
from asyncfetch.errors import SettingsError
from asyncfetch.replica import open_replica
from asyncfetch.sample import sample_atlas

#: A section of data set 479: 4232 x 3864 pixels of 1.63 µm, coronal.
IMAGE, DATA_SET, SHAPE = 101349756, 479, (3864, 4232)
LAYERS = ("sections", "registered")
#: So little that boxes are 2048 pixels wide: six for the image.
SMALL_MEMORY = 2**24


@pytest.fixture(scope="module")
def atlas():
    return sample_atlas()


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return tmp_path_factory.mktemp("drawn-479")


@pytest.fixture(scope="module")
def mirror(atlas, drawn):
    """Return what runs a mirror and gives its report, its store and the boxes that were asked for."""

    def run(location, selection=f"image:{IMAGE}", **choices):
        async def go():
            async with open_replica(atlas, cache_folder=drawn) as replica:
                report = await asyncfetch.mirror(
                    selection, location, base_url=replica.base_url, requests_per_s=1000.0, **choices
                )
                boxes = [box_of(request.path) for request in replica.image_requests]
            return report, boxes

        report, boxes = anyio.run(go)
        assert not report.failures
        return report, asyncfetch.open(location), boxes

    return run


def box_of(path):
    parameters = {
        name: int(value[0]) for name, value in parse_qs(urlsplit(path).query).items() if name in NAMES
    }
    return tuple(parameters[name] for name in NAMES)


NAMES = ("left", "top", "width", "height")


def pixels_of(store, level=0):
    levels = store.data_set(DATA_SET).section(IMAGE).open_levels()
    return np.moveaxis(levels[level][:, 0], 0, -1)


def plane_of(store):
    data_set = store.data_set(DATA_SET)
    z = data_set.read_registered_layout().z_by_image[IMAGE]
    return np.moveaxis(data_set.open_registered()[:, z], 0, -1)


def pixel_objects(folder):
    """Return the digests of all shards of a store by name; commits name the address of their replica."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("image/c/**/*")
        if path.is_file()
    }


def difference(first, second):
    return np.abs(first.astype(np.int16) - second)


@pytest.fixture(scope="module")
def whole(mirror, tmp_path_factory):
    """Return the store of the whole image, fetched as one."""
    location = tmp_path_factory.mktemp("whole") / "out.zarr"
    _, store, boxes = mirror(location, downsample=0, layers=LAYERS, fetch="images")
    assert boxes == [(0, 0, SHAPE[1], SHAPE[0])]
    return store


@pytest.fixture(scope="module")
def tiled_folder(mirror, tmp_path_factory):
    location = tmp_path_factory.mktemp("tiled") / "out.zarr"
    mirror(location, downsample=0, layers=LAYERS, fetch="tiles", memory_bytes=SMALL_MEMORY, workers=1)
    return location


def test_tiles_are_the_image_but_for_what_the_server_encodes_again(whole, tiled_folder):
    tiled = asyncfetch.open(tiled_folder)
    for level in range(4):
        found = difference(pixels_of(whole, level), pixels_of(tiled, level))
        assert found.mean() < 0.1
        assert found.max() < 40
    assert difference(plane_of(whole), plane_of(tiled)).max() <= 2
    assert tiled.data_set(DATA_SET).section(IMAGE).commit.fetch == "tiles"


def test_tiles_give_the_same_bytes_in_any_order(mirror, tiled_folder, tmp_path):
    _, _, boxes = mirror(
        tmp_path / "out.zarr",
        downsample=0,
        layers=LAYERS,
        fetch="tiles",
        memory_bytes=SMALL_MEMORY,
        workers=2,
        jobs=2,
    )
    assert len(boxes) == len(set(boxes)) == 6
    assert pixel_objects(tmp_path / "out.zarr") == pixel_objects(tiled_folder)


def test_an_image_beyond_the_budget_comes_in_tiles_by_itself(mirror, tmp_path, tiled_folder):
    mirror(tmp_path / "out.zarr", downsample=0, layers=LAYERS, memory_bytes=SMALL_MEMORY)
    assert pixel_objects(tmp_path / "out.zarr") == pixel_objects(tiled_folder)


def test_the_source_of_a_tiled_image_is_the_jpeg_of_all_of_it(mirror, tmp_path, whole):
    layers = ("source", *LAYERS)
    _, store, boxes = mirror(
        tmp_path / "out.zarr", downsample=0, layers=layers, fetch="tiles", memory_bytes=SMALL_MEMORY
    )
    assert len(boxes) == 7
    section = store.data_set(DATA_SET).section(IMAGE)
    assert (len(section.read_jpeg()), section.commit.layers) == (section.commit.size_bytes, layers)
    np.testing.assert_array_equal(plane_of(store), plane_of(whole))


@pytest.mark.parametrize("roi", [(1000, 700, 800, 600), (1900, 1500, 900, 1000), (3900, 3500, 4000, 4000)])
def test_a_region_fetches_little_more_than_its_pixels(mirror, tmp_path, whole, roi):
    report, store, boxes = mirror(
        tmp_path / "out.zarr", downsample=0, layers=LAYERS, roi=roi, memory_bytes=SMALL_MEMORY
    )
    x, y, width, height = roi
    width, height = min(width, SHAPE[1] - x), min(height, SHAPE[0] - y)
    fetched = sum(box[2] * box[3] for box in boxes)
    assert report.n_committed == 1
    assert fetched <= 1.3 * width * height
    stored, expected = pixels_of(store), pixels_of(whole)
    inside = np.s_[y : y + height, x : x + width]
    assert difference(stored[inside], expected[inside]).mean() < 0.3
    left, top, wide, high = store.data_set(DATA_SET).section(IMAGE).commit.region
    outside = stored.copy()
    outside[top : top + high, left : left + wide] = 0
    assert not outside.any()
    half = np.s_[y // 2 + 1 : (y + height) // 2 - 1, x // 2 + 1 : (x + width) // 2 - 1]
    assert difference(pixels_of(store, 1)[half], pixels_of(whole, 1)[half]).mean() < 0.3


def test_a_region_at_a_coarser_tier_asks_for_pixels_of_the_tier(mirror, tmp_path):
    _, store, boxes = mirror(tmp_path / "out.zarr", downsample=2, layers=LAYERS, roi=(1024, 512, 1280, 640))
    assert boxes == [(1024, 512, 320, 160)]
    assert store.data_set(DATA_SET).section(IMAGE).commit.region == (1024, 512, 1280, 640)


def test_a_region_of_the_reference_space_is_registered_as_the_whole_is(mirror, tmp_path, whole):
    plane = plane_of(whole)
    rows, columns = np.nonzero(plane.any(axis=-1))
    y, x = int(np.median(rows)), int(np.median(columns))
    um = 25.0
    roi_um = ((0.0, 13200.0), ((y - 15) * um, (y + 15) * um), ((x - 20) * um, (x + 20) * um))
    _, store, boxes = mirror(tmp_path / "out.zarr", downsample=0, layers=LAYERS, roi_um=roi_um)
    inside = np.s_[y - 15 : y + 15, x - 20 : x + 20]
    assert difference(plane_of(store)[inside], plane[inside]).max() <= 3
    needed = 30 * 40 * (um / 1.63) ** 2
    assert sum(box[2] * box[3] for box in boxes) <= 1.3 * needed


def test_sections_beside_the_region_are_not_asked_for(mirror, tmp_path, whole):
    p_um = float(whole.data_set(DATA_SET).geometry(IMAGE).image_to_reference((2000, 1900))[0])
    roi_um = ((p_um - 60, p_um + 60), (2000.0, 3000.0), (4000.0, 5000.0))
    report, store, boxes = mirror(
        tmp_path / "out.zarr", f"dataset:{DATA_SET}", um=50, layers=("registered",), roi_um=roi_um
    )
    assert 1 <= report.n_committed < 5
    assert len(boxes) == report.n_committed
    assert IMAGE in {commit.image_id for commit in store.data_set(DATA_SET).read_commits()}


def test_a_stored_region_serves_requests_inside_it_alone(mirror, tmp_path):
    location = tmp_path / "out.zarr"
    choices = {"downsample": 1, "layers": LAYERS}
    mirror(location, roi=(512, 512, 1024, 1024), **choices)
    report, _, boxes = mirror(location, roi=(640, 600, 300, 200), **choices)
    assert (report.n_skipped, boxes) == (1, [])
    _, store, _ = mirror(location, roi=(1280, 1024, 1024, 512), **choices)
    # the region grows to hold both: asking for more takes nothing away
    assert store.data_set(DATA_SET).section(IMAGE).commit.region == (512, 512, 1792, 1024)
    _, store, boxes = mirror(location, **choices)
    assert boxes == [(0, 0, SHAPE[1] // 2, SHAPE[0] // 2)]
    report, _, boxes = mirror(location, roi=(640, 600, 300, 200), **choices)
    assert (report.n_skipped, boxes) == (1, [])
    mirror(tmp_path / "at-once.zarr", **choices)
    assert pixel_objects(location) == pixel_objects(tmp_path / "at-once.zarr")


def test_fill_shows_beside_the_image_and_in_slots_without_one(mirror, tmp_path, whole):
    location = tmp_path / "out.zarr"
    _, store, _ = mirror(location, downsample=0, layers=("registered",), fill=200)
    data_set = store.data_set(DATA_SET)
    assert data_set.read_registered_layout().recipe.fill == data_set.section(IMAGE).commit.recipe.fill == 200
    plane, expected = plane_of(store), plane_of(whole)
    beside = ~expected.any(axis=-1)
    assert (plane[0, 0] == 200).all()
    assert (plane[beside] >= 100).mean() > 0.9
    assert (data_set.open_registered()[:, 1, :4, :4] == 200).all()
    with pytest.raises(SettingsError, match="fill = 200"):
        mirror(location, downsample=0, layers=("registered",), fill=0)


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        ({"roi": (0, 0, 10, 10)}, "a region has no JPEG of its own"),
        ({"roi": (0, 0, 0, 10), "layers": LAYERS}, "width and height greater than 0"),
        ({"roi": (0, 0, 9, 9), "roi_um": ((0, 1),) * 3, "layers": LAYERS}, "give one"),
        ({"roi_um": ((0, 1), (5, 5), (0, 1)), "layers": LAYERS}, "each range growing"),
        ({"roi": (0, 0, 9, 9), "layers": LAYERS, "fetch": "images"}, "fetched in tiles"),
        ({"roi": "1,2,3", "layers": LAYERS}, "x,y,width,height"),
        ({"roi_um": "0:1,2:3", "layers": LAYERS}, "p0:p1,i0:i1,r0:r1"),
        ({"fill": 256}, "from 0 to 255"),
    ],
)
def test_a_region_that_makes_no_sense_is_refused_in_words(choices, words):
    with pytest.raises(SettingsError, match=words):
        asyncfetch.Settings.from_layers(choices)


def test_regions_are_read_from_text():
    settings = asyncfetch.Settings.from_layers({"roi": "1,2,30,40", "layers": "sections"})
    assert settings.roi == (1, 2, 30, 40)
    settings = asyncfetch.Settings.from_layers({"roi_um": "0:1.5,2:3,4:5", "layers": "registered"})
    assert settings.roi_um == ((0.0, 1.5), (2.0, 3.0), (4.0, 5.0))
