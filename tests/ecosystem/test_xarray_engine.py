"""The engine of xarray, at its current version and with Dask: our own values in pieces that fit the store."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

# what others warn of while they are imported and used is theirs
pytestmark = pytest.mark.filterwarnings("ignore")

CODECS = ("zstd", "blosc-lz4", "none", "jpegxl")
CORONAL, SAGITTAL = 479, 69289763


@pytest.fixture(scope="module")
def xarray(needs):
    return needs("xarray")


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("name", ["registered", "volume", "section"])
def test_dask_reads_our_values_in_pieces_that_fit_the_store(images_of, needs, xarray, codec, name):
    dask = needs("dask")
    image = images_of(CORONAL, codec)[name]
    for level, expected in enumerate(image.levels):
        found = xarray.open_dataset(image.folder, engine="asyncfetch", level=level, chunks={})
        assert dask.is_dask_collection(found["image"])
        largest = tuple(max(sizes) for sizes in found["image"].chunks)
        assert largest == tuple(found["image"].encoding["preferred_chunks"].values())
        # in a graph that was sent to another process
        assert np.array_equal(
            pickle.loads(pickle.dumps(found["image"])).compute(scheduler="threads"), expected
        )
        if level == 0:
            for axis, positions_um in image.axes_um.items():
                assert found[axis].to_numpy() == pytest.approx(positions_um, abs=1e-6)


def test_a_tree_in_pieces_reads_our_values(images_of, store_of, xarray):
    tree = xarray.open_datatree(store_of(), engine="asyncfetch", chunks={})
    for data_set_id in (CORONAL, SAGITTAL):
        for name in ("registered", "volume"):
            image = images_of(data_set_id)[name]
            assert np.array_equal(tree[f"{image.path}/scale0/image"].mean("c"), image.levels[0].mean(axis=0))


def test_both_engines_give_the_same_tree_of_images(images_of, store_of, xarray):
    ours = xarray.open_datatree(store_of(), engine="asyncfetch", sections=True)
    theirs = xarray.open_datatree(store_of(), engine="zarr", consolidated=False)
    paths = {leaf.path for leaf in ours.leaves}
    assert len(paths) > 20
    assert paths == {leaf.path for leaf in theirs.leaves if leaf.path.split("/")[-1].startswith("scale")}
    for path in paths:
        for axis in "zyx":
            assert (axis in ours[path].coords) == (axis in theirs[path].coords)
            if axis in ours[path].coords:
                assert ours[path][axis].to_numpy() == pytest.approx(theirs[path][axis].to_numpy(), abs=1e-6)


@pytest.mark.parametrize("name", ["registered", "volume", "section"])
def test_a_store_is_read_from_its_address(images_of, address_of, needs, xarray, name):
    needs("obstore")
    image = images_of()[name]
    address = f"{address_of()}/{image.path}"
    found = xarray.open_dataset(address, engine="asyncfetch")
    assert np.array_equal(found["image"], image.levels[0])
    tree = xarray.open_datatree(address, engine="asyncfetch")
    assert np.array_equal(tree[f"{image.path}/scale0/image"], image.levels[0])
