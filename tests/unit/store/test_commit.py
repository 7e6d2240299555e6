"""The commit as an attribute."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from asyncfetch.errors import StoreItemError
from asyncfetch.geometry import SectionGeometry
from asyncfetch.layout.commit import Commit, SectionAffine


def test_a_commit_survives_json_with_the_record_verbatim(kit, data_set):
    commit = kit.commit_of(data_set, 101349756, kit.jpeg_of(101349756), ("source", "registered"))
    text = msgspec.json.encode(commit.to_attributes())
    assert Commit.from_attributes(msgspec.json.decode(text), location="here") == commit
    assert msgspec.json.decode(text)["record"] == data_set.section_images[0].record


def test_a_commit_is_one_flat_object_in_the_order_of_its_fields(kit, data_set):
    commit = kit.commit_of(data_set, 101349756, kit.jpeg_of(101349756), ("source", "registered"))
    assert list(commit.to_attributes()) == [
        *("image_id", "data_set_id", "view", "layers", "sha256", "size_bytes", "shape", "downsample"),
        *("resolution_um", "asked_downsample", "section_number"),
        *("um", "space", "codec", "interpolation", "parallel", "numeric_expression", "fill"),
        *("region", "objects", "record", "url", "time", "quality", "fetch", "image_to_reference"),
        *("tool", "tool_version", "layout"),
    ]


@pytest.mark.parametrize("name", ["um", "codec", "interpolation", "parallel", "numeric_expression", "fill"])
def test_the_old_attributes_of_a_commit_are_those_of_its_recipe(kit, data_set, name):
    commit = kit.commit_of(data_set, 101349756, kit.jpeg_of(101349756), ("source", "registered"))
    with pytest.warns(DeprecationWarning, match=rf"Commit\.recipe\.{name}"):
        assert getattr(commit, name) == getattr(commit.recipe, name)


def test_the_affine_says_its_frames_and_units(kit, data_set):
    affine = kit.commit_of(data_set, 101349756, kit.jpeg_of(1), ("source",)).to_attributes()[
        "image_to_reference"
    ]
    assert (affine["from_frame"], affine["from_axes"]) == ("image", ["x", "y"]) or affine["from_axes"] == (
        "x",
        "y",
    )
    assert (affine["to_frame"], affine["to_unit"]) == ("reference", "micrometer")
    section = next(each for each in data_set.section_images if each.id == 101349756)
    np.testing.assert_array_equal(affine["matrix"], data_set.geometry(section).image_to_reference_matrix())


def test_a_section_without_alignment_has_no_affine():
    geometry = SectionGeometry(
        tsv=None, tvs=None, tvr=None, trv=None, section_number=1, section_thickness_um=25.0
    )
    assert SectionAffine.of(geometry) is None


def test_what_is_no_commit_is_refused_with_its_location():
    with pytest.raises(StoreItemError, match="here") as caught:
        Commit.from_attributes({"image_id": 1}, location="here")
    assert caught.value.location == "here"
