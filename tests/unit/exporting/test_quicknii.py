"""QuickNII's anchorings: where they put the corners of a picture is where the section's own affine puts them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from asyncfetch.exporting import pictures, quicknii
from tests.unit.exporting.conftest import CORONAL, DOWNSAMPLE, SAGITTAL, SECTIONS


def read(folder, data_set_id):
    return json.loads((folder / f"{data_set_id}/{data_set_id}.json").read_text())


def voxel_to_reference(voxels):
    """Return (p, i, r) of space 9 in µm, as the manual of QuickNII has its axes: to the right, anterior, superior."""
    x, y, z = np.moveaxis(np.asarray(voxels, dtype=float), -1, 0)
    return np.stack([(528 - y) * 25, (320 - z) * 25, x * 25], axis=-1)


def anchored(entry, x, y):
    """Return where a point of a picture lies, in voxels; (0, 0) is its corner, (width, height) the opposite one."""
    o, u, v = np.array(entry["anchoring"]).reshape(3, 3)
    return o + u * x / entry["width"] + v * y / entry["height"]


@pytest.mark.parametrize("data_set_id", [CORONAL, SAGITTAL], ids=["space 9", "space 10"])
def test_each_point_lies_where_the_affine_of_its_section_puts_it(truth, exported, data_set_id):
    data_set = truth.store.data_set(data_set_id)
    slices = read(exported("quicknii"), data_set_id)["slices"]
    assert [each["nr"] for each in slices] == sorted(each.section_number for each in data_set.read_commits())
    for entry, commit in zip(slices, data_set.read_commits(), strict=True):
        matrix = np.array(commit.image_to_reference.matrix)
        for x, y in ((0, 0), (entry["width"], 0), (0, entry["height"]), (100.0, 37.0)):
            # full-resolution pixels, whose pixel k is centred at k
            full = np.array([x, y]) * 2**DOWNSAMPLE - 0.5
            expected = matrix @ [*full, 1.0]
            if data_set_id == SAGITTAL:
                expected[2] = 11350.0 - expected[2]
            assert np.allclose(voxel_to_reference(anchored(entry, x, y)), expected, atol=1e-6)


def test_a_coronal_section_runs_to_the_right_and_down(exported):
    for entry in read(exported("quicknii"), CORONAL)["slices"]:
        _, u, v = np.array(entry["anchoring"]).reshape(3, 3)
        assert np.argmax(np.abs(u)) == 0
        assert np.argmax(np.abs(v)) == 2
        assert u[0] > 0 > v[2]


@pytest.mark.parametrize("data_set_id", [CORONAL, SAGITTAL], ids=["space 9", "space 10"])
def test_the_phantom_seen_through_the_anchoring_is_the_picture(truth, exported, data_set_id):
    folder = exported("quicknii")
    entry = read(folder, data_set_id)["slices"][1]
    picture = np.asarray(Image.open(folder / f"{data_set_id}/{entry['filename']}")).astype(float)
    height, width = picture.shape[:2]
    # pixel k of a picture covers k to k + 1
    corner, right, below = (
        voxel_to_reference(anchored(entry, x, y)) for x, y in ((0.5, 0.5), (1.5, 0.5), (0.5, 1.5))
    )
    seen = np.column_stack([right - corner, below - corner, corner])
    inside = truth.phantom.tissue(seen, (height, width), reference_space_id=9) >= 1.0
    drawn = truth.phantom.render(seen, (height, width), reference_space_id=9).astype(float)
    assert inside.any()
    assert np.abs(drawn - picture)[inside].mean() < 6
    assert np.abs(drawn[:, ::-1] - picture)[inside & inside[:, ::-1]].mean() > 12


def test_the_list_is_as_the_programs_want_it(exported):
    folder = exported("quicknii")
    document = read(folder, CORONAL)
    assert document["target"] == "ABA_Mouse_CCFv3_2017_25um.cutlas"
    assert document["target-resolution"] == [456, 528, 320]
    for entry in document["slices"]:
        with Image.open(folder / f"{CORONAL}/{entry['filename']}") as picture:
            assert picture.size == (entry["width"], entry["height"])
        assert entry["filename"].endswith(f"_s{entry['nr']:04d}.png")


def test_a_picture_has_the_pixels_of_the_store(truth, exported):
    folder = exported("quicknii", downsample=DOWNSAMPLE + 1)
    (path,) = folder.glob(f"{CORONAL}/*_{SECTIONS[CORONAL][0]}_*.png")
    expected = truth.store.data_set(CORONAL).section(SECTIONS[CORONAL][0]).pixels(DOWNSAMPLE + 1)
    assert np.array_equal(np.asarray(Image.open(path)), expected)


def test_a_picture_that_would_be_too_large_is_halved_and_lies_in_the_same_place(truth, exported, monkeypatch):
    at_once = read(exported("quicknii"), CORONAL)["slices"][0]
    monkeypatch.setattr(quicknii, "MAX_PIXELS", at_once["width"] * at_once["height"] // 3)
    section = f"image:{SECTIONS[CORONAL][0]}"
    halved = read(exported("quicknii", section, image="jpeg"), CORONAL)["slices"][0]
    assert halved["filename"].endswith(".jpg")
    assert (halved["width"], halved["height"]) == (at_once["width"] // 2, at_once["height"] // 2)
    # an odd last column is left out
    same = [anchored(each, x, x) for each, x in ((at_once, 200), (halved, 100))]
    assert np.allclose(*same, atol=1e-9)


def test_a_region_is_anchored_as_the_whole_section_is(exported):
    section = f"image:{SECTIONS[CORONAL][0]}"
    whole = read(exported("quicknii", section), CORONAL)["slices"][0]
    part = read(exported("quicknii", section, roi_um=((0, 13200), (1000, 4000), (2000, 7000))), CORONAL)[
        "slices"
    ][0]
    assert part["width"] < whole["width"] * 0.8
    o, u, _ = np.array(part["anchoring"]).reshape(3, 3)
    o_whole, u_whole, v_whole = np.array(whole["anchoring"]).reshape(3, 3)
    assert np.allclose(u / part["width"], u_whole / whole["width"])
    # in pixels of the whole picture, from its corner
    at = np.linalg.lstsq(np.column_stack([u_whole / whole["width"], v_whole / whole["height"]]), o - o_whole)[
        0
    ]
    assert np.allclose(at, np.round(at), atol=1e-6)
    assert (at >= 0).all()


def test_an_odd_part_stays_within_the_halved_section():
    from types import SimpleNamespace

    from asyncfetch.geometry import Box

    section = SimpleNamespace(downsample=0, shape=(7, 9))
    part = pictures.coarser(section, pictures.SectionPart(1, 0, Box(0, 0, 7, 9)))
    assert part == (1, 1, Box(0, 0, 3, 4))
