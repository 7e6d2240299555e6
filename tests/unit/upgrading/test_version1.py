"""What a store of layout version 1 says, as it is laid out today."""

from __future__ import annotations

import msgspec
import pytest

from asyncfetch.allen import parse_data_set
from asyncfetch.geometry import Plane, ReferenceGrid
from asyncfetch.layout.paths import LAYOUT_VERSION
from asyncfetch.layout.recipe import Recipe
from asyncfetch.layout.registered import RegisteredLayout
from asyncfetch.layout.slots import plan_slots
from asyncfetch.upgrading import version1

BOX_UM = (13200.0, 8000.0, 11400.0)
#: Two sections share the number 8.
NUMBERS = {7: 20, 8: 12, 9: 8, 3: 8}


def data_set_along(sign):
    """Return a coronal data set whose section numbers ascend, or descend, along p."""
    matrix = [0, 0, 1, 0, 1, 0, sign, 0, 0, 0, 0, 13000.0 if sign < 0 else 0.0]
    alignment = {f"{name}_{k:02}": value for name in ("trv", "tvr") for k, value in enumerate(matrix)}
    return parse_data_set(
        {
            "id": 5,
            "plane_of_section_id": 1,
            "reference_space_id": 9,
            "section_thickness": 25,
            "alignment3d": alignment,
        }
    )


def laid_out_by_version_1():
    recipe = Recipe(um=100.0, plane=Plane.CORONAL, box_um=BOX_UM, space=9)
    assert recipe.grid == ReferenceGrid(plane=Plane.CORONAL, um=100.0, box_um=BOX_UM)
    planes = {image_id: (1.0, 0.0, 0.0, float(image_id)) for image_id in NUMBERS}
    return RegisteredLayout(
        recipe=recipe,
        slots=plan_slots(NUMBERS, planes),
        spacing=4,
        section_thickness_um=25.0,
    )


@pytest.mark.parametrize(("sign", "image_ids"), [(1, [3, 9, 8, None, 7]), (-1, [7, None, 8, 3, 9])])
def test_slots_follow_the_reference_axis_and_those_of_one_number_the_ids(sign, image_ids):
    old = laid_out_by_version_1()
    today = version1.registered_today(old, data_set_along(sign))
    assert [slot.image_id for slot in today.slots] == image_ids
    assert [slot.z for slot in today.slots] == list(range(5))
    assert today.spacing == 4 * sign
    assert today.z_per_number_um == 25.0 * sign
    by_image = {slot.image_id: slot for slot in old.slots}
    assert all(slot.plane == by_image[slot.image_id].plane for slot in today.slots)
    assert (today.recipe, today.reference_space_id) == (old.recipe, 9)
    assert list(today.slots) == list(
        plan_slots(
            NUMBERS, {slot.image_id: slot.plane for slot in old.slots if slot.image_id}, descending=sign < 0
        )
    )


def test_version_1_is_the_one_before():
    assert version1.LAYOUT == LAYOUT_VERSION - 1


@pytest.mark.parametrize(
    ("names", "codec"),
    [
        (["bytes", "zstd"], "zstd"),
        (["bytes", "blosc"], "blosc-lz4"),
        (["imagecodecs_jpegxl"], "jpegxl"),
        (["bytes"], "none"),
    ],
)
def test_the_compressor_is_told_by_the_codecs_of_an_array(names, codec):
    inner = [{"name": "transpose"}, *({"name": name} for name in names)]
    document = {"codecs": [{"name": "sharding_indexed", "configuration": {"codecs": inner}}]}
    assert version1.codec_of(msgspec.json.decode(msgspec.json.encode(document))) == codec
