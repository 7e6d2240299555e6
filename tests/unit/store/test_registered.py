"""What a view looks like, from the records."""

from __future__ import annotations

import contextlib

import msgspec
import numpy as np
import pytest
from zarr.storage import LocalStore

import asyncfetch.store as store
from asyncfetch.errors import SettingsError, StoreItemError
from asyncfetch.geometry import Plane, ReferenceGrid
from asyncfetch.layout.ome import registered_attributes
from asyncfetch.store import RegisteredLayout


def test_a_registered_layout_survives_json(mirror):
    layout = mirror.layout().registered
    written = msgspec.json.decode(msgspec.json.encode(layout.to_attributes()))
    assert RegisteredLayout.from_attributes(written, location="here") == layout
    assert list(written) == [
        *(
            "um",
            "plane",
            "box_um",
            "slots",
            "spacing",
            "section_thickness_um",
            "z_per_number_um",
            "z_at_zero_um",
        ),
        *("space", "codec", "interpolation", "parallel", "numeric_expression", "fill"),
        *("frame", "axes", "unit"),
    ]


@pytest.mark.parametrize("missing", ["um", "plane", "box_um"])
def test_a_registered_image_without_a_grid_is_refused_with_its_location(mirror, missing):
    written = msgspec.to_builtins(mirror.layout().registered.to_attributes())
    del written[missing]
    with pytest.raises(StoreItemError, match="here"):
        RegisteredLayout.from_attributes(written, location="here")


def test_every_section_of_the_set_has_a_slot_and_missing_numbers_too(mirror):
    layout = mirror.layout().registered
    assert layout.shape == (5, 80, 114)
    assert [slot.image_id for slot in layout.slots] == [101349759, None, 101349756, 101349753, 101349750]
    assert layout.z_by_image[101349756] == 2


def test_the_plane_of_a_slot_contains_its_section_and_is_null_without_alignment(mirror):
    layout = mirror.layout().registered
    data_set = mirror.data_set
    section = next(each for each in data_set.section_images if each.id == 101349756)
    points = data_set.geometry(section).image_to_reference([[0.0, 0.0], [1100.0, 0.0], [300.0, 699.0]])
    *normal, offset = layout.slots[2].plane
    # tvr and trv are inverse to 6 digits only
    np.testing.assert_allclose(points @ np.array(normal) + offset, 0, atol=0.5)


@pytest.mark.parametrize(
    ("changes", "setting"),
    [
        ({"grid": ReferenceGrid(plane=Plane.CORONAL, um=50.0, box_um=(13200.0, 8000.0, 11400.0))}, "um"),
        ({"grid": ReferenceGrid(plane=Plane.SAGITTAL, um=100.0, box_um=(13200.0, 8000.0, 11400.0))}, "plane"),
        ({"codec": "none"}, "codec"),
        ({"parallel": True}, "parallel"),
        ({"interpolation": "nearest"}, "interpolation"),
    ],
)
def test_a_store_is_registered_on_one_grid_only(mirror, changes, setting):
    with pytest.raises(SettingsError, match=setting) as caught:
        mirror.writer.open_view(mirror.layout(**changes))
    assert caught.value.setting == setting


@pytest.mark.parametrize("number", [12, 44, 8])
def test_sections_that_move_the_slots_are_refused_and_a_rebuild_is_named(mirror, kit, number):
    rows = [section.record for section in mirror.data_set.section_images]
    mirror.data_set = kit.data_set_of([*rows, kit.section_row(5, number)])
    with pytest.raises(
        SettingsError, match=r"planes would move.* asyncfetch rebuild .* --dataset 70813257"
    ) as caught:
        mirror.begin()
    assert caught.value.setting == "slots"


def test_sections_behind_the_last_extend_the_registered_image(mirror, kit):
    mirror.write(101349756)
    before = store.open(mirror.writer.store).data_set(70813257)
    plane = before.open_registered()[:, 2]
    rows = [section.record for section in mirror.data_set.section_images]
    mirror.data_set = kit.data_set_of([*rows, kit.section_row(5, -8)])
    mirror.begin()
    mirror.write(5)
    after = store.open(mirror.writer.store).data_set(70813257)
    assert after.open_registered().shape == (3, 7, 80, 114)
    assert [slot.image_id for slot in after.read_registered_layout().slots[4:]] == [101349750, None, 5]
    np.testing.assert_array_equal(after.open_registered()[:, 2], plane)
    assert after.open_registered()[:, 6].any()


def test_sections_before_the_first_slot_move_all_planes_along(mirror, kit):
    for image_id in (101349756, 101349750):
        mirror.write(image_id)
    before = store.open(mirror.writer.store).data_set(70813257)
    planes = {z: before.open_registered()[:, z] for z in (2, 4)}
    places = before.read_registered_layout().z_um
    rows = [section.record for section in mirror.data_set.section_images]
    # numbers descend along p
    mirror.data_set = kit.data_set_of([*rows, kit.section_row(5, 56)])
    mirror.begin()
    mirror.write(5)
    after = store.open(mirror.writer.store).data_set(70813257)
    layout = after.read_registered_layout()
    assert [slot.image_id for slot in layout.slots[:3]] == [5, None, 101349759]
    np.testing.assert_array_equal(layout.z_um[2:], places)
    for z, plane in planes.items():
        np.testing.assert_array_equal(after.open_registered()[:, z + 2], plane)
    assert after.open_registered()[:, 0].any()
    assert not after.open_registered()[:, 2].any()
    assert len(after.read_commits()) == 3
    for commit in after.read_commits():
        assert after.problems(commit, full=True) == []


@pytest.mark.parametrize("n_changes", range(3, 12))
def test_a_kill_while_planes_move_leaves_none_in_anothers_place(kit, tmp_path, data_set, n_changes):
    root = tmp_path / "out.zarr"
    mirror = kit.Mirror(kit.StoreWriter.open(root), data_set).begin()
    for image_id in (101349756, 101349750):
        mirror.write(image_id)
    rows = [section.record for section in data_set.section_images]
    grown = kit.data_set_of([*rows, kit.section_row(5, 56)])
    dying = kit.Mirror(kit.StoreWriter.open(kit.DyingStore(LocalStore(root), n_changes)), grown)
    with contextlib.suppress(kit.KilledError):
        dying.begin()
    again = kit.Mirror(kit.StoreWriter.open(root), grown).begin()
    stored = store.open(root).data_set(70813257)
    z_by_image = stored.read_registered_layout().z_by_image
    for image_id, section in again.view.sound_sections().items():
        if "registered" in section.layers:
            plane = stored.open_registered()[:, z_by_image[image_id]].transpose(1, 2, 0)
            np.testing.assert_array_equal(plane, kit.plane_of(image_id, (80, 114)))


def test_a_section_that_the_data_set_no_longer_has_keeps_its_slot(mirror, kit):
    mirror.write(101349750)
    rows = [section.record for section in mirror.data_set.section_images if section.id != 101349750]
    mirror.data_set = kit.data_set_of(rows)
    layout = mirror.writer.open_view(mirror.layout()).registered
    assert [slot.image_id for slot in layout.slots] == [101349759, None, 101349756, 101349753, 101349750]
    assert 101349750 in mirror.writer.commits(70813257, "image")


def test_a_section_that_fills_a_gap_is_welcome(mirror, kit):
    rows = [section.record for section in mirror.data_set.section_images]
    mirror.data_set = kit.data_set_of([*rows, kit.section_row(5, 32)])
    mirror.begin()
    assert mirror.layout().registered.z_by_image[5] == 1
    mirror.write(5)
    assert list(mirror.writer.commits(mirror.data_set.id, "image")) == [5]


def test_slots_ascend_along_the_reference_axis_and_lie_where_their_planes_do(mirror):
    layout = mirror.layout().registered
    assert (np.diff(layout.z_um) > 0).all()
    assert layout.is_regular
    middle = np.array(layout.recipe.box_um) / 2
    for slot, z_um in zip(layout.slots, layout.z_um, strict=True):
        if slot.plane is not None:
            a, *rest, d = slot.plane
            # the p of the plane over the middle of i and r
            assert z_um == pytest.approx(-(np.dot(rest, middle[1:]) + d) / a, abs=1e-9)


def test_the_positions_of_slots_stay_when_the_data_set_grows(mirror, kit):
    before = mirror.layout().registered
    rows = [section.record for section in mirror.data_set.section_images]
    mirror.data_set = kit.data_set_of([*rows, kit.section_row(5, -8), kit.section_row(6, 4)])
    after = before.extended_by(mirror.layout().registered)
    assert after is None
    mirror.data_set = kit.data_set_of([*rows, kit.section_row(5, -8)])
    after = before.extended_by(mirror.layout().registered)
    np.testing.assert_array_equal(after.z_um[: len(before.slots)], before.z_um)
    assert after.z_um[after.z_by_image[5]] == pytest.approx(before.z_um[-1] + 2 * before.z_step_um)


def test_sections_that_share_a_number_share_their_place_and_ngff_counts_slots(mirror, kit):
    rows = [section.record for section in mirror.data_set.section_images]
    mirror.data_set = kit.data_set_of([*rows, kit.section_row(5, 24)])
    layout = mirror.layout().registered
    assert not layout.is_regular
    z = layout.z_by_image
    assert layout.z_um[z[5]] == layout.z_um[z[101349756]]
    (multiscale,) = registered_attributes("x", layout)["multiscales"]
    assert multiscale["axes"][1] == {
        "name": "z",
        "type": "space",
        "orientation": {"type": "anatomical", "value": "anterior-to-posterior"},
    }
    scale, translation = multiscale["datasets"][0]["coordinateTransformations"]
    assert (scale["scale"][1], translation["translation"][1]) == (1.0, 0.0)
