"""One place in a section, in the registered image and in the volume, as another reader places them by their metadata.

The brain of the sample is not symmetric about any plane: whatever is mirrored or moved shows other colours.
"""

from __future__ import annotations

import numpy as np
import pytest

import asyncfetch

pytestmark = pytest.mark.filterwarnings("ignore")

CORONAL, SAGITTAL = 479, 69289763
#: r of space 9 and r of space 10 add up to this (REC-5).
MIRROR_UM = 11350.0
#: Voxels are 100 µm wide and section pixels 13 or less, so that the nearest ones differ where the picture changes.
SAME, OTHER = 10.0, 15.0
#: How far the two matrices of the API are from being inverse to each other, in µm.
ROUNDING_UM = 0.06


@pytest.fixture
def placed(images_of, needs):
    """Return what gives the pixels of an image, and the scale and translation of z, y and x as ngff-zarr reads them."""
    ngff_zarr = needs("ngff_zarr")

    def get(data_set_id, name):
        found = ngff_zarr.from_ngff_zarr(str(images_of(data_set_id)[name].folder)).images[0]
        place = [np.array([each[axis] for axis in "zyx"]) for each in (found.scale, found.translation)]
        return np.asarray(found.data), *place

    return get


def colours_at(image, points_um):
    """Return the (n, 3) colours at (n, 3) points; NaN beside the image."""
    pixels, scale, translation = image
    index = np.round((points_um - translation) / scale).astype(int)
    is_inside = ((index >= 0) & (index < pixels.shape[1:])).all(axis=1)
    colours = np.full((len(points_um), 3), np.nan)
    z, y, x = index[is_inside].T
    colours[is_inside] = pixels[:, z, y, x].T
    return colours


def difference(one, other):
    return np.nanmean(np.abs(one - other))


def mirrored(points_um, image, axis):
    pixels, scale, translation = image
    flipped = points_um.copy()
    first, last = translation[axis], translation[axis] + scale[axis] * (pixels.shape[1 + axis] - 1)
    flipped[:, axis] = first + last - flipped[:, axis]
    return flipped


@pytest.mark.parametrize(("data_set_id", "image_id"), [(CORONAL, 947900029), (SAGITTAL, 69177656)])
def test_points_of_a_section_show_their_colours_in_every_image(store_of, placed, data_set_id, image_id):
    store = asyncfetch.open(store_of())
    data_set = store.data_set(data_set_id)
    commit = data_set.section(image_id).commit
    size = np.array([commit.record["width"], commit.record["height"]])
    xy = np.random.default_rng(0).uniform(0.15, 0.85, (2000, 2)) * size
    pir_um = store.read_atlas().image_to_reference(image_id, xy).pir

    in_section_um = np.column_stack([np.zeros(len(xy)), xy[:, ::-1] * commit.resolution_um])
    expected = colours_at(placed(data_set_id, "section"), in_section_um)
    assert np.isfinite(expected).all()

    volume = placed(data_set_id, "volume")
    assert difference(colours_at(volume, pir_um), expected) < SAME

    layout = data_set.read_registered_layout()
    plane = layout.grid.plane
    slot_um = np.array(pir_um)[:, [plane.slice_axis, plane.y_axis, plane.x_axis]]
    slot_um[:, 0] = layout.z_um[layout.z_by_image[image_id]]
    registered = placed(data_set_id, "registered")
    assert difference(colours_at(registered, slot_um), expected) < SAME
    for axis in (1, 2):
        flipped = colours_at(registered, mirrored(slot_um, registered, axis))
        assert difference(flipped, expected) > OTHER


@pytest.mark.parametrize("data_set_id", [CORONAL, SAGITTAL])
def test_a_slot_lies_where_its_plane_crosses_the_middle(store_of, placed, data_set_id):
    layout = asyncfetch.open(store_of()).data_set(data_set_id).read_registered_layout()
    pixels, scale, translation = placed(data_set_id, "registered")
    plane, box_um = layout.grid.plane, layout.recipe.box_um
    for slot in layout.slots:
        if slot.plane is None:
            continue
        normal, offset = np.array(slot.plane[:3]), slot.plane[3]
        across = plane.slice_axis
        middle = np.array(box_um) / 2
        middle[across] = 0.0
        crossing_um = -(normal @ middle + offset) / normal[across]
        assert translation[0] + scale[0] * slot.z == pytest.approx(crossing_um, abs=ROUNDING_UM)
    assert pixels.shape[1] == len(layout.slots)


def test_the_two_spaces_are_mirrored_as_their_orientations_say(placed):
    left_to_right, right_to_left = placed(CORONAL, "volume"), placed(SAGITTAL, "volume")
    pixels, scale, translation = left_to_right
    in_9_um = np.argwhere((pixels > 0).all(axis=0)) * scale + translation
    in_10_um = in_9_um.copy()
    in_10_um[:, 2] = MIRROR_UM - in_9_um[:, 2]
    expected = colours_at(left_to_right, in_9_um)
    for points_um, is_same in ((in_10_um, True), (in_9_um, False)):
        found = colours_at(right_to_left, points_um)
        is_filled = (found > 0).all(axis=1)
        assert is_filled.sum() > 1000
        apart = difference(found[is_filled], expected[is_filled])
        assert apart < SAME if is_same else apart > OTHER
