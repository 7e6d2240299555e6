"""Stores of NGFF 0.6, whose sections are placed in the reference space by a scene."""

from __future__ import annotations

import json
from functools import partial

import anyio
import numpy as np
import pytest

import asyncfetch
from asyncfetch import mirroring
from asyncfetch.errors import SettingsError
from asyncfetch.geometry import SPACE_TRANSFORMS
from asyncfetch.replica import open_replica

CORONAL, SAGITTAL = 900000005, 69289763
LAYERS = ("source", "sections", "registered")


async def mirrored(selection, out, **options):
    async with open_replica() as replica:
        return await asyncfetch.mirror(
            selection, out, base_url=replica.base_url, requests_per_s=1000.0, um=100.0, **options
        )


def ome_of(out, path):
    return json.loads((out / path / "zarr.json").read_bytes())["attributes"].get("ome")


@pytest.fixture(scope="module", params=[None, 9], ids=["own space", "space 9"])
def space(request):
    return request.param


@pytest.fixture(scope="module")
def out(tmp_path_factory, space):
    place = tmp_path_factory.mktemp("scenes") / "out.ome.zarr"
    selection = [f"dataset:{CORONAL}", f"dataset:{SAGITTAL}"]
    report = anyio.run(partial(mirrored, selection, place, layers=LAYERS, space=space, ngff="0.6"))
    assert not report.failures
    return place


def to_reference(out, view, image_id, level, index):
    """Map (c, z, y, x) indices of a level as the metadata say, from one coordinate system to the next."""
    image = ome_of(out, f"{view}/sections/{image_id}")["multiscales"][0]
    dataset = image["datasets"][level]
    (sequence,) = dataset["coordinateTransformations"]
    assert sequence["input"] == {"path": dataset["path"]}
    scale, translation = sequence["transformations"]
    point = np.array(index) * scale["scale"] + translation["translation"]
    scene = ome_of(out, f"{view}/sections")["scene"]
    (placing,) = [
        each for each in scene["coordinateTransformations"] if each["input"]["path"] == str(image_id)
    ]
    assert placing["input"]["name"] == sequence["output"]["name"]
    assert placing["output"]["name"] in {system["name"] for system in scene["coordinateSystems"]}
    affine = np.array(placing["affine"])
    return affine[:, :4] @ point + affine[:, 4], placing["output"]["name"]


@pytest.mark.parametrize("data_set_id", [CORONAL, SAGITTAL])
def test_a_pixel_of_every_level_lies_where_the_services_place_it(out, space, data_set_id):
    store = asyncfetch.open(out)
    data_set = store.data_set(data_set_id)
    atlas = store.read_atlas()
    own = data_set.record["reference_space_id"]
    for commit in data_set.read_commits()[::5]:
        for level, array in enumerate(data_set.section(commit.image_id).open_levels()):
            y, x = np.array(array.shape[2:]) // 3
            found, system = to_reference(
                out, f"data_sets/{data_set_id}/image", commit.image_id, level, (2, 0, y, x)
            )
            halvings = 2 ** (commit.downsample + level)
            xy = (np.array([x, y]) + 0.5) * halvings - 0.5
            expected = np.array(atlas.image_to_reference(commit.image_id, xy[None]).pir[0])
            if space not in {None, own}:
                there = SPACE_TRANSFORMS[own, space]
                expected = there.linear @ expected + there.offset
            assert system == f"reference space {space or own}"
            np.testing.assert_allclose(found, [2, *expected], rtol=0, atol=1e-6)


def test_a_step_across_a_section_is_one_to_where_the_next_one_lies(out):
    view = f"data_sets/{CORONAL}/image"
    sections = {each.section_number: each for each in asyncfetch.open(out).data_set(CORONAL).read_commits()}
    (first, one), (second, other) = sorted(sections.items())[:2]
    scene = ome_of(out, f"{view}/sections")["scene"]["coordinateTransformations"]
    affines = {each["input"]["path"]: np.array(each["affine"]) for each in scene}
    here, there = affines[str(one.image_id)], affines[str(other.image_id)]
    thickness_um = ome_of(out, f"{view}/sections/{one.image_id}")["multiscales"][0]["datasets"][0][
        "coordinateTransformations"
    ][0]["transformations"][0]["scale"][1]
    middle_um = np.array([0.0, 0.0, 3000.0, 4000.0])
    step_um = there[:, :4] @ middle_um + there[:, 4] - here[:, :4] @ middle_um - here[:, 4]
    across_um = here[:, 1] * (second - first) * thickness_um
    # along the axis of the slots; in the plane sections are placed one by one
    assert step_um[1] == pytest.approx(across_um[1], abs=0.5)
    assert abs(across_um[1]) > 10 * max(abs(across_um[2]), abs(across_um[3]))


def test_registered_and_volume_lie_in_the_system_of_the_scene(out, space):
    anyio.run(partial(asyncfetch.volume, out, CORONAL))
    view = f"data_sets/{CORONAL}/image"
    name = f"reference space {space or asyncfetch.open(out).data_set(CORONAL).record['reference_space_id']}"
    (system,) = ome_of(out, f"{view}/sections")["scene"]["coordinateSystems"]
    assert system["name"] == name
    for image in ("registered", "volume"):
        ome = ome_of(out, f"{view}/{image}")
        assert ome["version"] == "0.6"
        (own,) = ome["multiscales"][0]["coordinateSystems"]
        assert own["name"] == name
        assert {axis["name"]: axis for axis in own["axes"]}.keys() == {"c", "z", "y", "x"}
    # a coronal set is cut across p, so that both have the axes of the volume
    assert ome_of(out, f"{view}/registered")["multiscales"][0]["coordinateSystems"] == [system]


def test_a_scene_has_no_collection_beside_it_which_readers_would_prefer(out):
    sections = out / f"data_sets/{CORONAL}/image/sections"
    assert ome_of(out, f"data_sets/{CORONAL}/image/sections").keys() == {"version", "scene"}
    assert not (sections / "OME").exists()


def test_a_store_goes_on_in_its_version_and_is_whole_under_verify(out, space):
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    report = anyio.run(partial(mirrored, f"dataset:{CORONAL}", out, layers=LAYERS, space=space))
    assert (report.n_committed, report.failures) == (0, [])
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    report = anyio.run(partial(mirroring.verify, out, full=True))
    assert not report.flaws


def test_the_version_of_a_store_that_has_images_is_not_changed(out):
    with pytest.raises(SettingsError, match=r"follow NGFF 0\.6.*--ngff 0\.5") as told:
        anyio.run(partial(mirrored, f"dataset:{CORONAL}", out, ngff="0.5"))
    assert told.value.setting == "ngff"


def test_a_root_that_was_lost_says_again_which_version_its_images_follow(tmp_path):
    out = tmp_path / "out.zarr"
    first = partial(mirrored, f"dataset:{CORONAL}", out, layers=("sections",), ngff="0.6")
    assert not anyio.run(first).failures
    before = (out / "zarr.json").read_bytes()
    (out / "zarr.json").unlink()
    assert not anyio.run(partial(mirrored, f"dataset:{CORONAL}", out, layers=("sections",))).failures
    assert json.loads((out / "zarr.json").read_bytes())["attributes"]["asyncfetch"]["ngff"] == "0.6"
    assert json.loads(before)["attributes"]["asyncfetch"]["ngff"] == "0.6"


def test_a_new_store_follows_0_5_unless_told(tmp_path):
    out = tmp_path / "out.zarr"
    assert not anyio.run(partial(mirrored, f"dataset:{CORONAL}", out, layers=("sections",))).failures
    assert ome_of(out, f"data_sets/{CORONAL}/image/sections")["bioformats2raw.layout"] == 3
    assert "ngff" not in json.loads((out / "zarr.json").read_bytes())["attributes"]["asyncfetch"]
