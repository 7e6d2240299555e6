"""Images in other sizes than were expected: rounded otherwise, or another tier than was asked for.

Whatever the server does, pixel 0 lies at the corner of the section and the scale of tier n is exactly 2^n, so that
planes lie on the phantom to a fraction of a pixel.
"""

from __future__ import annotations

from functools import partial

import anyio
import numpy as np
import pytest
from zarr.storage import MemoryStore

import asyncfetch
from asyncfetch.geometry import Affine2D, full_to_tier
from asyncfetch.imaging import decode, warp
from asyncfetch.mirroring import rebuild
from asyncfetch.replica import open_replica
from asyncfetch.sample import compare_plane, compare_with_phantom, sample_atlas

DATA_SET, IMAGE = 900000005, 900005005
HEIGHT, WIDTH, RESOLUTION_UM = 1213, 1765, 6.52
ATLAS = sample_atlas()
#: Beyond this a plane is off, in pixels of the tier: half a pixel or a stretched image is far more.
MAX_SHIFT_PIXELS = 0.1


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return tmp_path_factory.mktemp("drawn")


@pytest.fixture
def mirror(drawn):
    """Return what mirrors from a replica with options: report, opened data set, and the images asked for."""

    def run(options, store, selection=f"image:{IMAGE}", **choices):
        async def body():
            async with open_replica(ATLAS, cache_folder=drawn, **options) as replica:
                settings = {"requests_per_s": 1000.0, "base_url": replica.base_url, "attempts": 2} | choices
                report = await asyncfetch.mirror(selection, store, **settings)
                return report, [each.image_id for each in replica.requests if each.kind == "image"]

        report, asked = anyio.run(body)
        return report, asyncfetch.open(store).data_set(DATA_SET), asked

    return run


def lies_on_the_phantom(data_set):
    (error,) = compare_with_phantom(data_set, ATLAS.phantom)
    commit = data_set.section(error.image_id).commit
    tier_steps = RESOLUTION_UM * 2**commit.downsample / commit.recipe.um
    shift_pixels = max(abs(error.shift_x), abs(error.shift_y)) / tier_steps
    return error.n_voxels > 300 and shift_pixels < MAX_SHIFT_PIXELS


SHAPES = {"down": (303, 441), "nearest": (303, 441), "up": (304, 442), "steps": (304, 442)}


@pytest.mark.parametrize("rounding", SHAPES)
@pytest.mark.parametrize("fetch", ["images", "tiles"])
def test_an_image_is_stored_with_its_size_and_registered_at_its_tier(mirror, rounding, fetch):
    layers = ("source", "sections", "registered")
    report, data_set, _ = mirror(
        {"rounding": rounding}, MemoryStore(), downsample=2, layers=layers, fetch=fetch
    )
    assert (report.failures, report.unplaced, report.n_retries) == ([], [], 0)
    section = data_set.section(IMAGE)
    commit = section.commit
    assert (commit.shape, commit.downsample, commit.asked_downsample) == (SHAPES[rounding], 2, None)
    assert section.open_levels()[0].shape == (3, 1, *SHAPES[rounding])
    assert section.pixels().shape[:2] == SHAPES[rounding]
    # no row and no column of it is empty
    assert section.pixels()[-1].any()
    assert section.pixels()[:, -1].any()
    assert lies_on_the_phantom(data_set)
    notes = [note for note in report.notes if "rounding" in note]
    assert len(notes) == (SHAPES[rounding] != (303, 441))


def test_a_plane_that_is_stretched_to_the_expected_size_does_not_lie_on_the_phantom(mirror):
    _, data_set, _ = mirror({"rounding": "up"}, MemoryStore(), downsample=2)
    layout = data_set.read_registered_layout()
    geometry = data_set.geometry(IMAGE)
    pixels = decode(data_set.section(IMAGE).read_jpeg())
    ratio = Affine2D.scaling(pixels.shape[1] / WIDTH, pixels.shape[0] / HEIGHT)
    for full_to_pixels, is_right in ((full_to_tier(2), True), (ratio, False)):
        plane = warp(pixels, full_to_pixels @ layout.grid.grid_to_image(geometry), layout.grid.shape)
        _, _, _, shift_x, shift_y, *_ = compare_plane(
            plane, ATLAS.phantom, layout.grid, geometry, image_shape=(HEIGHT, WIDTH), reference_space_id=9
        )
        shift_pixels = max(abs(shift_x), abs(shift_y)) * 25 / (4 * RESOLUTION_UM)
        assert (shift_pixels < MAX_SHIFT_PIXELS) == is_right


def test_the_rounding_is_told_once_for_a_data_set(mirror):
    report, _, asked = mirror(
        {"rounding": "up"}, MemoryStore(), f"dataset:{DATA_SET}", um=100.0, views=("image", "expression")
    )
    assert (report.n_committed, report.n_retries, len(asked)) == (20, 0, 20)
    (note,) = [note for note in report.notes if "rounding" in note]
    assert note.startswith(f"data set {DATA_SET}: 20 images came a pixel larger or smaller")


def test_layers_are_rebuilt_from_an_image_of_another_size(mirror, tmp_path):
    _, data_set, _ = mirror({"rounding": "up"}, tmp_path, downsample=2)
    before = np.asarray(data_set.open_registered()[...])
    anyio.run(partial(rebuild, tmp_path, layers=["sections", "registered"]))
    data_set = asyncfetch.open(tmp_path).data_set(DATA_SET)
    assert data_set.section(IMAGE).open_levels()[0].shape == (3, 1, 304, 442)
    assert np.array_equal(np.asarray(data_set.open_registered()[...]), before)


def test_what_is_stored_with_its_own_size_is_not_asked_for_again(mirror):
    store = MemoryStore()
    mirror({"rounding": "up"}, store, downsample=2)
    report, _, asked = mirror({"rounding": "up"}, store, downsample=2)
    assert (report.n_skipped, asked) == (1, [])


# tier 3 is the last of the record, which says 4
@pytest.mark.parametrize(
    ("options", "asked_for", "given"),
    [
        ({"ignored_parameters": ("downsample",)}, 2, 0),
        ({"ignored_parameters": ("downsample",), "rounding": "up"}, 3, 0),
        ({"has_last_tier": True}, 6, 3),
        ({"has_last_tier": True, "rounding": "up"}, 6, 3),
    ],
)
def test_another_tier_than_was_asked_for_is_noticed_and_placed_rightly(mirror, options, asked_for, given):
    store = MemoryStore()
    report, data_set, _ = mirror(options, store, downsample=asked_for)
    assert (report.failures, report.n_committed) == ([], 1)
    commit = data_set.section(IMAGE).commit
    assert (commit.downsample, commit.asked_downsample) == (given, asked_for)
    assert f"downsample={asked_for}" in commit.url
    assert lies_on_the_phantom(data_set)
    assert [note for note in report.notes if f"gave tier {given} instead of {asked_for} for 1 image" in note]
    again, _, asked = mirror(options, store, downsample=asked_for)
    assert (again.n_skipped, asked) == (1, [])


def test_what_a_server_gave_for_a_tier_is_expected_of_it_for_the_next_image(mirror):
    options = {"ignored_parameters": ("downsample",)}
    report, data_set, asked = mirror(options, MemoryStore(), f"dataset:{DATA_SET}", um=100.0, jobs=1)
    assert (report.n_committed, {commit.downsample for commit in data_set.read_commits()}) == (10, {0})
    # some are on their way before the first is known
    assert len(asked) < 20
    assert len([note for note in report.notes if "instead of" in note]) == 1


def test_a_tier_whose_bytes_are_beyond_the_limit_is_taken_for_full_resolution(mirror, monkeypatch):
    monkeypatch.setattr("asyncfetch.client.images._JPEG_EXTRA_BYTES", 0)
    options = {"ignored_parameters": ("downsample",)}
    report, data_set, asked = mirror(options, MemoryStore(), downsample=4)
    assert (report.failures, len(asked)) == ([], 2)
    assert data_set.section(IMAGE).commit.shape == (HEIGHT, WIDTH)
    assert lies_on_the_phantom(data_set)


def test_a_whole_image_instead_of_a_box_is_a_failure_that_says_so(mirror):
    options = {"ignored_parameters": ("left", "top", "width", "height")}
    choices = {"layers": ("sections",), "roi": (100, 100, 300, 200)}
    report, data_set, _ = mirror(options, MemoryStore(), **choices)
    (failure,) = report.failures
    assert failure.error == "ImageSizeError"
    assert "the whole image came where a box of" in failure.message
    assert data_set.read_commits() == []


def test_boxes_are_asked_for_no_deeper_than_the_last_tier(mirror):
    # a deeper box of a server that stops there would look like a box of its tier, and show another place
    store, choices = MemoryStore(), {"downsample": 6, "layers": ("sections", "registered"), "fetch": "tiles"}
    report, data_set, _ = mirror({"has_last_tier": True}, store, **choices)
    assert (report.failures, data_set.section(IMAGE).commit.downsample) == ([], 3)
    assert lies_on_the_phantom(data_set)
    again, _, asked = mirror({"has_last_tier": True}, store, **choices)
    assert (again.n_skipped, asked) == (1, [])
