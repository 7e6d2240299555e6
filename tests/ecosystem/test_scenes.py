"""Scenes of NGFF 0.6 against the official schemas, in ome-zarr-py and in napari's reader of them."""

from __future__ import annotations

import json

import anyio
import numpy as np
import pytest

import asyncfetch
from asyncfetch.replica import open_replica

pytestmark = pytest.mark.filterwarnings("ignore")

DATA_SET = 900000005
MODELS = {"multiscales": "image", "scene": "scene"}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Return a store of NGFF 0.6 with all layers and a volume of one data set."""
    location = tmp_path_factory.mktemp("scenes") / "scenes.ome.zarr"

    async def make():
        async with open_replica() as replica:
            report = await asyncfetch.mirror(
                f"dataset:{DATA_SET}",
                location,
                base_url=replica.base_url,
                requests_per_s=1000.0,
                layers=("source", "sections", "registered"),
                um=100.0,
                ngff="0.6",
            )
        assert not report.failures
        await asyncfetch.volume(location)

    anyio.run(make)
    return location


@pytest.fixture
def view(root):
    return root / f"data_sets/{DATA_SET}/image"


def where_it_lies(root, image_id, xy):
    """Return (p, i, r) in µm of one (x, y) of an image, as our own services compute it."""
    return asyncfetch.open(root).read_atlas().image_to_reference(image_id, np.array([xy])).pir[0]


def test_every_group_is_valid(root, needs):
    validate = needs("ngff_zarr.validate").validate
    models = []
    for path in sorted(root.rglob("zarr.json")):
        attributes = json.loads(path.read_bytes()).get("attributes", {})
        if attributes.get("ome"):
            (model,) = {MODELS[name] for name in attributes["ome"] if name in MODELS}
            # there is no stricter one for scenes
            validate(attributes, version="0.6", model=model, strict=model == "image")
            models.append(model)
    n_sections = len(asyncfetch.open(root).data_set(DATA_SET).read_commits())
    assert sorted(models) == ["image"] * (n_sections + 2) + ["scene"]


def test_ome_zarr_py_takes_a_pixel_to_where_it_lies(root, view, needs):
    scene = needs("ome_zarr").OMEZarrScene.from_ome_zarr(str(view / "sections"))
    commits = asyncfetch.open(root).data_set(DATA_SET).read_commits()
    assert scene.images.keys() == {str(commit.image_id) for commit in commits}
    ((_, system),) = [name for name in scene.get_coordinate_system() if not name[0]]
    commit = commits[2]
    graph = scene._graph
    to_reference = graph.get_sequence((str(commit.image_id), "section"), ("", system))
    section_um = np.array([[0.0, 0.0, 2000.0, 3000.0]])
    found = to_reference.apply(section_um) if hasattr(to_reference, "apply") else to_reference(section_um)
    xy = np.array([3000.0, 2000.0]) / commit.resolution_um
    np.testing.assert_allclose(found[0, 1:], where_it_lies(root, commit.image_id, xy), rtol=0, atol=1e-6)


def test_napari_places_each_section_by_its_affine(root, view, needs):
    layers = needs("napari_ome_zarr").napari_get_reader(str(view / "sections"))()
    commits = asyncfetch.open(root).data_set(DATA_SET).read_commits()
    # one layer for each colour
    assert len(layers) == 3 * len(commits)
    by_name = {properties["name"]: (data, properties) for data, properties, _ in layers}
    for commit in commits[::4]:
        (name,) = {name for name in by_name if name.endswith(f"section {commit.section_number}: red")}
        data, properties = by_name[name]
        z, y, x = 0, 200, 300
        assert data[0].shape[0] == 1
        found = np.array(properties["affine"]) @ [*(np.array([z, y, x]) * properties["scale"]), 1.0]
        # this reader leaves the translation of the finest level out, which is less than one pixel of that
        xy = np.array([x, y]) * 2.0**commit.downsample
        expected = where_it_lies(root, commit.image_id, xy)
        np.testing.assert_allclose(found[:3], expected, rtol=0, atol=1e-6)
