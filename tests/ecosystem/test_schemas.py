"""Every group of a store against the official JSON schemas of OME-Zarr 0.5, as the package ngff-zarr carries them."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.filterwarnings("ignore")

#: Which schema is for which attribute.
MODELS = {"multiscales": "image", "bioformats2raw.layout": "bf2raw", "series": "ome"}


def documents(root):
    """Yield the path, the model and the attributes of each group that is one of OME-Zarr."""
    for path in sorted(root.rglob("zarr.json")):
        attributes = json.loads(path.read_bytes()).get("attributes", {})
        if attributes.get("ome"):
            (model,) = {MODELS[name] for name in attributes["ome"] if name in MODELS}
            yield path.parent.relative_to(root), model, attributes


@pytest.mark.parametrize("is_strict", [False, True], ids=["schema", "strict schema"])
def test_every_group_is_valid(store_of, needs, is_strict):
    validate = needs("ngff_zarr.validate").validate
    found = list(documents(store_of()))
    assert {model for _, model, _ in found} == set(MODELS.values())
    assert len(found) == 2 * 2 + 9 + 2 * 2
    for _, model, attributes in found:
        # there is no stricter one for collections
        strict = is_strict and model == "image"
        validate(attributes, version="0.5", model=model, strict=strict)


def test_orientations_are_of_the_words_that_the_proposal_has(store_of, needs):
    words = {each.value for each in needs("ngff_zarr.rfc4").AnatomicalOrientationValues}
    axes = [
        axis
        for _, model, attributes in documents(store_of())
        if model == "image"
        for axis in attributes["ome"]["multiscales"][0]["axes"]
        if "orientation" in axis
    ]
    assert len(axes) == 4 * 3
    for axis in axes:
        assert axis["type"] == "space"
        assert axis["orientation"]["type"] == "anatomical"
        assert axis["orientation"]["value"] in words
