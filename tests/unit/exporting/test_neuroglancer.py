"""States of Neuroglancer: the map of each layer takes the positions of its image to those of space 9."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.unit.exporting.conftest import CORONAL, SAGITTAL, SECTIONS

URL = "https://example.org/brains.ome.zarr"
OUTPUT = {"c^": [1, ""], "z": [1e-6, "m"], "y": [1e-6, "m"], "x": [1e-6, "m"]}


def layers_of(folder, name):
    return json.loads((folder / name).read_text())["layers"]


def mapped(layer, z, y, x):
    """Return (p, i, r) of space 9 of a position in an image, in µm, as Neuroglancer maps it."""
    transform = layer["source"]["transform"]
    assert transform["outputDimensions"] == OUTPUT
    c, z, y, x = np.array(transform["matrix"]) @ [0, z, y, x, 1]
    assert c == 0
    return [z, y, x]


@pytest.mark.parametrize("layer", ["registered", "volume"])
def test_planes_of_both_spaces_lie_in_one_frame(truth, exported, layer):
    folder = exported("neuroglancer", url=URL, layer=layer)
    (coronal,) = layers_of(folder, f"{CORONAL}/{CORONAL}_{layer}.json")
    (sagittal,) = layers_of(folder, f"{SAGITTAL}/{SAGITTAL}_{layer}.json")
    assert mapped(coronal, 1.0, 2.0, 3.0) == [1.0, 2.0, 3.0]
    # the axes of a volume are p, i, r; those of sagittal planes r, i, p
    expected = [1.0, 2.0, 11347.0] if layer == "volume" else [3.0, 2.0, 11349.0]
    assert mapped(sagittal, 1.0, 2.0, 3.0) == expected
    assert coronal["source"]["url"] == f"{URL}/data_sets/{CORONAL}/image/{layer}/|zarr3:"
    assert "emitRGB" in coronal["shader"]


@pytest.mark.parametrize("data_set_id", [CORONAL, SAGITTAL])
def test_a_section_lies_where_its_affine_puts_it(truth, exported, data_set_id):
    layers = layers_of(
        exported("neuroglancer", url=URL, layer="sections"), f"{data_set_id}/{data_set_id}_sections.json"
    )
    data_set = truth.store.data_set(data_set_id)
    assert len(layers) == len(SECTIONS[data_set_id])
    for layer, commit in zip(layers, data_set.read_commits(), strict=True):
        assert str(commit.image_id) in layer["source"]["url"]
        point = np.array([1234.0, 567.0])
        expected = data_set.geometry(commit.image_id).image_to_reference(point)
        if data_set_id == SAGITTAL:
            expected[2] = 11350.0 - expected[2]
        x, y = point * commit.resolution_um
        assert np.allclose(mapped(layer, 0.0, y, x), expected, atol=1e-6)


def test_one_state_has_everything_and_shows_the_first(exported):
    layers = layers_of(exported("neuroglancer", url=URL + "/"), "neuroglancer_registered.json")
    assert [layer.get("visible", True) for layer in layers] == [True, False]


def test_the_address_is_asked_for(truth, forked_command):
    told = forked_command("export", "neuroglancer", truth.path, "-o", "out")
    assert (told.returncode, "--url is required" in told.stderr) == (2, True), told.stderr
