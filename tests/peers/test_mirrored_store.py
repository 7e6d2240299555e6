"""AllenSDK and atldld against ``asyncfetch serve STORE``: what is mirrored is answered as its origin answers it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING

import anyio
import numpy as np
import pytest

import asyncfetch
from asyncfetch.imaging import decode
from asyncfetch.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(300)

SMALL, SMALL_IMAGE, SMALL_NEXT = 900000005, 900001005, 900002005
SAGITTAL, SAGITTAL_IMAGE = 69289763, 69177634
#: A set with an Equalization, and the plates of an atlas.
WINDOWED, WINDOWED_IMAGE, ATLAS = 900000006, 900001006, 1
#: What is stored of the small data set, and what that leaves to be asked for.
TIER = 1
IMAGES = "allensdk.api.queries.image_download_api:ImageDownloadApi"
SYNC = "allensdk.api.queries.synchronization_api:SynchronizationApi"
SERVED = re.compile(r" at (http://\S+);")


@pytest.fixture(scope="module")
def store(base_url, tmp_path_factory) -> Path:
    """Return a mirror of three data sets, one with masks and pixels, and of an atlas."""
    place = tmp_path_factory.mktemp("mirror") / "out.zarr"
    settings = Settings(base_url=base_url, requests_per_s=1000)
    small = {
        "downsample": TIER,
        "views": ("image", "expression"),
        "layers": ("source", "sections", "registered"),
    }
    mirror = partial(asyncfetch.mirror, settings=settings)
    plain = [
        anyio.run(partial(mirror, f"dataset:{SMALL}", place, **small)),
        anyio.run(partial(mirror, f"dataset:{SAGITTAL}", place)),
    ]
    small_images = anyio.run(partial(mirror, [f"dataset:{WINDOWED}", f"atlas:{ATLAS}"], place, downsample=4))
    assert not any(report.failures for report in (*plain, small_images))
    assert not any(report.notes for report in plain)
    # the two sets have no tier as small as that, which is all that there is to say
    assert [re.match("tier 4 is beyond the last tier of all", note) for note in small_images.notes].count(
        None
    ) == 0
    return place


@pytest.fixture(scope="module")
def mirror_url(store):
    command = [sys.executable, "-m", "asyncfetch", "serve", str(store), "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        told = process.stderr.readline()
        try:
            found = SERVED.search(told)
            assert found, told
            yield found[1]
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def origin(allensdk, base_url):
    return allensdk.make(IMAGES, base_url)


@pytest.fixture(scope="module")
def copy(allensdk, mirror_url):
    return allensdk.make(IMAGES, mirror_url)


@pytest.fixture(scope="module")
def sync_pair(allensdk, base_url, mirror_url):
    return allensdk.make(SYNC, base_url), allensdk.make(SYNC, mirror_url)


def by_id(rows):
    return sorted(rows, key=lambda row: row["id"])


@pytest.mark.parametrize("data_set_id", [SMALL, SAGITTAL])
def test_section_image_query(origin, copy, data_set_id):
    found = by_id(copy.call("section_image_query", data_set_id))
    assert found == by_id(origin.call("section_image_query", data_set_id))
    assert found


@pytest.mark.parametrize("product", [1, 3, 900000000])
def test_get_section_data_sets_by_product(origin, copy, product):
    found = copy.call("get_section_data_sets_by_product", [product])
    stored = [
        row
        for row in origin.call("get_section_data_sets_by_product", [product])
        if row["id"] in {SMALL, SAGITTAL, WINDOWED}
    ]
    assert by_id(found) == by_id(stored)
    assert found


def test_what_is_not_stored_is_no_error_but_nothing(copy):
    assert copy.call("section_image_query", 479) == []
    assert copy.call("get_section_image_ranges", [101349756]) == []
    assert copy.call("atlas_image_query", 2) == []


@pytest.mark.parametrize("as_lists", [True, False])
def test_get_section_image_ranges(origin, copy, as_lists):
    asked = [WINDOWED_IMAGE, SMALL_IMAGE]
    found = copy.call("get_section_image_ranges", asked, as_lists=as_lists)
    assert found == origin.call("get_section_image_ranges", asked, as_lists=as_lists)
    assert len(found) == 1


def test_atlas_image_query(origin, copy):
    found = copy.call("atlas_image_query", ATLAS)
    assert found == origin.call("atlas_image_query", ATLAS)
    assert len(found) > 1


@pytest.mark.parametrize("method", ["download_image", "download_section_image"])
@pytest.mark.parametrize("view", [{}, {"view": "expression"}, {"expression": True}], ids=str)
def test_the_stored_tier_comes_byte_for_byte(origin, copy, tmp_path, method, view):
    origin.call(method, SMALL_IMAGE, tmp_path / "origin.jpg", downsample=TIER, **view)
    copy.call(method, SMALL_IMAGE, tmp_path / "copy.jpg", downsample=TIER, **view)
    assert (tmp_path / "copy.jpg").read_bytes() == (tmp_path / "origin.jpg").read_bytes()


@pytest.mark.parametrize("method", ["download_image", "download_section_image", "download_projection_image"])
@pytest.mark.parametrize(
    "parameters",
    [
        {"downsample": TIER + 1},
        {"downsample": TIER, "quality": 95},
        {"downsample": TIER, "left": 400, "top": 300, "width": 200, "height": 150},
        {
            "downsample": TIER,
            "left": 400,
            "top": 300,
            "width": 400,
            "height": 300,
            "downsample_dimensions": True,
        },
        {"downsample": TIER, "range": [0, 100, 20, 200, 0, 255]},
        {"downsample": TIER, "rgb": [1.0, 0.5, 0.0]},
        {"downsample": TIER, "contrast": [0.5, 0.25]},
        {"downsample": TIER, "colormap": [0.25, "gray"]},
    ],
    ids=str,
)
def test_the_rest_is_made_of_the_stored_pixels(origin, copy, tmp_path, method, parameters):
    pixels = []
    for name, images in (("origin", origin), ("copy", copy)):
        images.call(method, SMALL_IMAGE, tmp_path / f"{name}.jpg", **parameters)
        pixels.append(decode((tmp_path / f"{name}.jpg").read_bytes()).astype(int))
    assert pixels[0].shape == pixels[1].shape
    # The copy was a JPEG before, which costs some grey levels; its mean does not move.
    difference = np.abs(pixels[0] - pixels[1])
    assert difference.mean() < 3
    assert pixels[0].std() > 5


def test_a_finer_tier_than_the_stored_one_is_not_found(copy, tmp_path):
    with pytest.raises(Exception, match="HTTPError: 404"):
        copy.call("download_image", SMALL_IMAGE, tmp_path / "image.jpg", downsample=TIER - 1)


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("get_image_to_reference", [SMALL_IMAGE, 100.5, 200.25]),
        ("get_image_to_reference", [SAGITTAL_IMAGE, -7.0, 3000.0]),
        ("get_image_to_image", [SMALL_IMAGE, 850.0, 600.0, [SMALL, SAGITTAL]]),
        ("get_image_to_image", [SAGITTAL_IMAGE, 4000.0, 3000.0, [SAGITTAL, SMALL]]),
        ("get_image_to_image_2d", [SMALL_IMAGE, 850.0, 600.0, [SMALL_NEXT]]),
        ("get_reference_to_image", [9, 7800.0, 3400.0, 1050.0, [SMALL]]),
        ("get_reference_to_image", [10, 7800.0, 3400.0, 1050.0, [SAGITTAL]]),
        ("get_structure_to_image", [SMALL, [1018, 322]]),
        ("get_structure_to_image", [SAGITTAL, [1018, 322]]),
        ("get_image_to_atlas", [SMALL_IMAGE, 850.0, 600.0, ATLAS]),
        ("get_image_to_atlas", [SAGITTAL_IMAGE, 4000.0, 3000.0, ATLAS]),
    ],
)
def test_the_services_answer_as_the_origin(sync_pair, method, arguments):
    expected, found = (api.call(method, *arguments) for api in sync_pair)
    assert found == expected
    assert "section_image_id" in json.dumps(found) or method == "get_image_to_reference"


def test_an_atlas_that_is_not_stored_is_said_to_be_unknown(sync_pair):
    _, api = sync_pair
    assert isinstance(api.call("get_image_to_atlas", SMALL_IMAGE, 850.0, 600.0, 2), str)
