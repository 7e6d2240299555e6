"""Archives of packed data sets, opened by readers of zipped OME-Zarr that know nothing of asyncfetch."""

from __future__ import annotations

import json
import shutil
import subprocess
import zipfile

import numpy as np
import pytest

from asyncfetch import blocking

pytestmark = pytest.mark.filterwarnings("ignore")

CORONAL, SAGITTAL = 479, 69289763
IMAGES = ("registered", "volume", "section")
CODECS = ("zstd", "blosc-lz4", "none")


@pytest.fixture(scope="session")
def packed(store_of, images_of, tmp_path_factory):
    """Return what gives the archive of a data set and the image's path in it, and what our reader says of the image."""
    folder = tmp_path_factory.mktemp("packed")

    def get(codec, data_set_id, name):
        root = folder / f"{codec}.zarr"
        if not root.exists():
            shutil.copytree(store_of(codec), root)
            assert blocking.pack(root).n_done == 2
        image = images_of(data_set_id, codec)[name]
        path = image.path.removeprefix(f"data_sets/{data_set_id}/")
        return root / f"data_sets/{data_set_id}.ozx", path, image

    return get


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("data_set_id", [CORONAL, SAGITTAL])
@pytest.mark.parametrize("name", IMAGES)
def test_ngff_zarr_reads_values_and_places_from_an_archive(packed, needs, codec, data_set_id, name):
    ngff_zarr = needs("ngff_zarr")
    archive, path, image = packed(codec, data_set_id, name)
    found = ngff_zarr.from_ngff_zarr(f"{archive}/{path}", validate=True)
    assert len(found.images) == len(image.levels)
    for each, expected in zip(found.images, image.levels, strict=True):
        assert np.array_equal(np.asarray(each.data), expected)
    for axis, expected in image.axes_um.items():
        first = found.images[0]
        positions = first.translation[axis] + first.scale[axis] * np.arange(len(expected))
        assert positions == pytest.approx(expected, abs=1e-6)


def test_ngff_zarr_takes_the_archive_for_one_whose_metadata_come_first(packed, needs):
    rfc9 = needs("ngff_zarr.rfc9_zip")
    archive, _, _ = packed("zstd", CORONAL, "registered")
    assert rfc9.is_ozx_path(archive)
    assert rfc9.read_ozx_version(archive) == "0.5"
    assert rfc9.read_ozx_json_first(archive)
    with zipfile.ZipFile(archive) as found:
        names = found.namelist()
    metadata = [name for name in names if name.rpartition("/")[2] == "zarr.json"]
    assert names[: len(metadata)] == metadata == rfc9._order_files_rfc9(names)[: len(metadata)]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("name", IMAGES)
def test_zarr_reads_an_archive_by_its_own_zip_store(packed, needs, codec, name):
    zarr = needs("zarr")
    archive, path, image = packed(codec, CORONAL, name)
    with zarr.storage.ZipStore(archive, mode="r") as store:
        group = zarr.open_group(store, path=path, mode="r")
        for level, expected in enumerate(image.levels):
            assert np.array_equal(group[f"scale{level}/image"][...], expected)


@pytest.mark.parametrize("codec", CODECS)
def test_tensorstore_reads_an_archive(packed, needs, codec):
    tensorstore = needs("tensorstore")
    archive, path, image = packed(codec, CORONAL, "registered")
    spec = {
        "driver": "zarr3",
        "kvstore": {
            "driver": "zip",
            "base": {"driver": "file", "path": str(archive)},
            "path": f"{path}/scale0/image/",
        },
    }
    assert np.array_equal(tensorstore.open(spec).result().read().result(), image.levels[0])


def test_unzip_finds_every_file_whole(packed):
    archive, _, _ = packed("zstd", CORONAL, "registered")
    if shutil.which("unzip") is None:
        pytest.skip("unzip is not installed")
    told = subprocess.run(["unzip", "-tq", archive], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout
    assert "No errors detected" in told.stdout
    with zipfile.ZipFile(archive) as found:
        assert json.loads(found.comment)["ome"]["zipFile"] == {"centralDirectory": {"jsonFirst": True}}
