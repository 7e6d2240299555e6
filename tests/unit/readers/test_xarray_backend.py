"""The engine of xarray: our own values, at the positions that NGFF says, with labels to choose by."""

from __future__ import annotations

import json
import pickle
import shutil

import numpy as np
import pytest
import xarray
from zarr.storage import LocalStore

import asyncfetch
from asyncfetch import blocking
from asyncfetch.errors import SelectionError, StoreAccessError, StoreItemError
from asyncfetch.readers.xarray_backend import AsyncfetchBackend, with_reference_coordinates

CORONAL, SAGITTAL = 479, 69289763
STORED, SHOWN = 947900029, 69177656


def open_(store, data_set=CORONAL, **options):
    return xarray.open_dataset(store, engine="asyncfetch", data_set=data_set, **options)


def ngff_positions(store, dataset):
    """Return where NGFF's scale and translation put the pixels of a level, by axis."""
    path = store / dataset.attrs["path"] / "zarr.json"
    multiscale = json.loads(path.read_text(encoding="utf-8"))["attributes"]["ome"]["multiscales"][0]
    assert multiscale["name"] == dataset.attrs["title"]
    level = multiscale["datasets"][dataset.attrs["level"]]["coordinateTransformations"]
    return {
        axis["name"]: scale * np.arange(dataset.sizes[axis["name"]]) + offset
        for axis, scale, offset in zip(
            multiscale["axes"], level[0]["scale"], level[1]["translation"], strict=True
        )
    }


@pytest.mark.parametrize(
    ("data_set", "image", "axes"),
    [
        (CORONAL, "registered", "zyx"),
        (SAGITTAL, "registered", "zyx"),
        (CORONAL, "volume", "zyx"),
        (CORONAL, STORED, "yx"),
    ],
)
def test_positions_are_those_of_ngff(store, data_set, image, axes):
    dataset = open_(store, data_set, image=image)
    expected = ngff_positions(store, dataset)
    assert dataset["image"].dims == ("c", "z", "y", "x")
    for axis in axes:
        assert dataset[axis].to_numpy() == pytest.approx(expected[axis], abs=1e-6)
        assert dataset[axis].attrs["units"] == "micrometer"


def test_values_are_those_of_our_own_reader(store):
    ours = asyncfetch.open(store).data_set(CORONAL)
    assert np.array_equal(open_(store)["image"], ours.open_registered()[...])
    for level, array in enumerate(ours.open_volume_levels()):
        assert np.array_equal(open_(store, image="volume", level=level)["image"], array[...])
    for level, array in enumerate(ours.section(STORED).open_levels()):
        assert np.array_equal(open_(store, image=STORED, level=level)["image"], array[...])


def test_a_section_of_which_only_the_jpeg_is_stored_has_the_levels_it_would_have(store):
    section = asyncfetch.open(store).data_set(SAGITTAL).section(SHOWN)
    assert section.open_levels() == ()
    for level in (0, 1):
        pixels = section.pixels(section.commit.downsample + level)
        dataset = open_(store, SAGITTAL, image=SHOWN, level=level)
        assert np.array_equal(dataset["image"][:, 0], pixels.transpose(2, 0, 1))
        part = dataset["image"].isel(c=1, z=0, y=[5, 2, 300], x=slice(None, None, -7))
        assert np.array_equal(part, pixels[[5, 2, 300], ::-7, 1])


@pytest.mark.parametrize(
    "index",
    [
        {"y": 40},
        {"z": [3, 1], "x": slice(10, 90, 3)},
        {"c": 0, "z": -1, "y": slice(None, None, -2)},
        {"y": [7, 7, 2]},
        {"y": xarray.DataArray([3, 50], dims="point"), "x": xarray.DataArray([9, 60], dims="point")},
        {"z": slice(0, 0)},
    ],
    ids=str,
)
def test_every_way_of_choosing_gives_what_the_whole_array_has(store, index):
    lazy, whole = open_(store)["image"], open_(store)["image"].load()
    assert whole.to_numpy().any()
    assert np.array_equal(lazy.isel(index), whole.isel(index))


def test_opening_reads_no_pixel(store, tmp_path):
    copy = shutil.copytree(store, tmp_path / "copy.zarr")
    for array in copy.glob("data_sets/*/image/*/scale*/image"):
        shutil.rmtree(array)
    dataset = open_(copy)
    assert dataset["image"].shape == open_(store)["image"].shape
    with pytest.raises(StoreItemError, match="asyncfetch verify"):
        dataset.load()


def test_each_plane_has_the_id_and_the_number_of_its_section(store):
    dataset = open_(store, SAGITTAL)
    layout = asyncfetch.open(store).data_set(SAGITTAL).read_registered_layout()
    by_id = dataset.set_xindex("image_id")
    assert by_id.sel(image_id=SHOWN)["z"] == layout.z_um[layout.z_by_image[SHOWN]]
    assert dataset["section_number"].to_numpy().tolist() == [slot.section_number for slot in layout.slots]
    assert dataset["image_id"].to_numpy()[~dataset["is_stored"]].size > 0
    assert set(dataset["image_id"].to_numpy()[dataset["is_stored"]]) == {69177654, 69177656}
    # planes that are not stored show nothing, and the others show the brain
    shows = (dataset["image"] > 0).any(("c", "y", "x"))
    assert shows.to_numpy().tolist() == dataset["is_stored"].to_numpy().tolist()


def test_images_of_two_data_sets_are_joined_by_a_label(store):
    images = [open_(store, data_set, image="registered") for data_set in (CORONAL, SAGITTAL)]
    parts = [each.isel(z=4, y=slice(0, 50), x=slice(0, 50)) for each in images]
    joined = xarray.concat(parts, "gene", coords="different", compat="equals", join="exact")
    assert joined["gene"].to_numpy().tolist() == ["Pvalb", "Prox1"]
    assert joined["plane"].to_numpy().tolist() == ["coronal", "sagittal"]
    assert joined["data_set_id"].to_numpy().tolist() == [CORONAL, SAGITTAL]
    assert joined["reference_space_id"].to_numpy().tolist() == [9, 10]
    assert joined["age"] == "P56"
    assert np.array_equal(joined["image"].sel(gene="Prox1"), parts[1]["image"])


def test_axes_say_which_way_they_run(store):
    names = {
        data_set: [open_(store, data_set)[axis].attrs["long_name"] for axis in "zyx"]
        for data_set in (CORONAL, SAGITTAL)
    }
    assert names[CORONAL] == ["p (anterior to posterior)", "i (superior to inferior)", "r (left to right)"]
    assert names[SAGITTAL] == ["r (right to left)", "i (superior to inferior)", "p (anterior to posterior)"]


@pytest.mark.parametrize(("data_set", "image_id"), [(CORONAL, STORED), (SAGITTAL, SHOWN)])
@pytest.mark.parametrize("level", [0, 1])
def test_pixels_of_a_section_lie_where_the_services_say(store, data_set, image_id, level):
    section = open_(store, data_set, image=image_id, level=level).isel(y=slice(20, 60, 7), x=slice(300, 310))
    placed = with_reference_coordinates(section)
    commit = asyncfetch.open(store).data_set(data_set).section(image_id).commit
    x, y = np.meshgrid(section["x"] / commit.resolution_um, section["y"] / commit.resolution_um)
    expected = asyncfetch.open(store).read_atlas().image_to_reference(image_id, np.stack([x, y], axis=-1)).pir
    found = np.stack([placed[name] for name in "pir"], axis=-1)
    assert found == pytest.approx(expected, abs=1e-6)
    assert placed["p"].dims == ("y", "x")


def test_a_coarsened_section_is_placed_as_the_whole_is(store):
    section = open_(store, image=STORED).isel(y=slice(0, 80), x=slice(0, 80))
    fine = with_reference_coordinates(section)["r"].coarsen(y=4, x=4).mean()
    coarse = with_reference_coordinates(section.coarsen(y=4, x=4).mean())["r"]
    assert coarse.to_numpy() == pytest.approx(fine.to_numpy(), abs=1e-6)


def test_only_sections_get_coordinates_of_the_reference_space(store):
    with pytest.raises(SelectionError, match="image=IMAGE_ID"):
        with_reference_coordinates(open_(store))


def test_a_path_names_what_is_opened(store):
    found = xarray.open_dataset(store / f"data_sets/{CORONAL}/image/volume/scale0", engine="asyncfetch")
    assert found.attrs["kind"] == "volume"
    section = xarray.open_dataset(
        f"{store}/data_sets/{CORONAL}/image/sections/{STORED}", engine="asyncfetch", level=1
    )
    assert section["image_id"].to_numpy().tolist() == [STORED]
    assert section.attrs["level"] == 1
    ours = xarray.open_dataset(LocalStore(store), engine="asyncfetch", data_set=SAGITTAL)
    assert ours.identical(open_(store, SAGITTAL))


def test_ids_may_come_out_of_an_overview(store):
    overview = xarray.open_datatree(store, engine="asyncfetch").to_dataset().set_xindex("gene")
    data_set = overview["data_set_id"].sel(gene="Prox1").squeeze()
    planes = open_(store, data_set)
    assert planes.attrs["title"].startswith("Prox1")
    image_id = planes["image_id"][int(np.argmax(planes["is_stored"].to_numpy()))]
    assert open_(store, data_set, image=image_id)["image_id"] == image_id


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "holds 2 data sets .* data_set=ID"),
        ({"data_set": 5}, "holds no data set 5"),
        ({"data_set": CORONAL, "image": "planes"}, "'planes' is not an image"),
        ({"data_set": CORONAL, "image": 5}, "holds no section 5"),
        ({"data_set": CORONAL, "level": 1}, "has 1 level; level 1 is not one"),
        ({"data_set": CORONAL, "level": -1}, "level -1 is not one"),
        ({"data_set": SAGITTAL, "image": "volume"}, "has no volume .* asyncfetch volume"),
        ({"data_set": CORONAL, "view": "expression"}, "view expression, is not registered"),
    ],
)
def test_what_is_not_there_is_named_with_what_to_do(store, options, words):
    with pytest.raises(SelectionError, match=words):
        xarray.open_dataset(store, engine="asyncfetch", **options)


def test_a_place_without_a_store_is_named(tmp_path):
    with pytest.raises(StoreAccessError, match="no store at"):
        xarray.open_dataset(tmp_path / "missing.zarr", engine="asyncfetch")


def test_the_engine_takes_only_our_stores(store, tmp_path):
    engine = AsyncfetchBackend()
    assert engine.guess_can_open(store)
    assert engine.guess_can_open(str(store / "data_sets/479/image"))
    assert not engine.guess_can_open(tmp_path)
    assert not engine.guess_can_open("https://example.org/brains.zarr")
    assert "asyncfetch" in xarray.backends.list_engines()


def test_variables_that_are_not_wanted_are_left_out(store):
    dataset = open_(store, drop_variables=["image_id", "is_stored"])
    assert "image_id" not in dataset.coords
    assert "section_number" in dataset.coords
    assert "gene" not in open_(store, drop_variables="gene").coords


def test_chunks_that_fit_are_told(store):
    preferred = open_(store)["image"].encoding["preferred_chunks"]
    assert preferred == {"c": 3, "z": 1, "y": 80, "x": 114}
    assert open_(store, image="volume")["image"].encoding["preferred_chunks"] == {
        "c": 3,
        "z": 64,
        "y": 80,
        "x": 114,
    }


@pytest.mark.parametrize(("data_set", "image"), [(CORONAL, "registered"), (SAGITTAL, SHOWN)])
def test_an_opened_image_can_be_sent_to_another_process(store, data_set, image):
    dataset = open_(store, data_set, image=image)
    sent = pickle.loads(pickle.dumps(open_(store, data_set, image=image)))
    assert sent.identical(dataset)


def test_a_whole_store_is_a_tree_of_its_images(store):
    tree = xarray.open_datatree(store, engine="asyncfetch")
    assert tree["data_set_id"].to_numpy().tolist() == [CORONAL, SAGITTAL]
    assert tree["gene"].to_numpy().tolist() == ["Pvalb", "Prox1"]
    assert sorted(leaf.path for leaf in tree.leaves) == [
        f"/data_sets/{CORONAL}/image/registered/scale0",
        f"/data_sets/{CORONAL}/image/volume/scale0",
        f"/data_sets/{SAGITTAL}/image/registered/scale0",
    ]
    node = tree[f"data_sets/{SAGITTAL}/image/registered/scale0"]
    assert node.to_dataset(inherit=False).identical(open_(store, SAGITTAL))


def test_the_tree_of_a_data_set_has_its_sections(store):
    tree = xarray.open_datatree(store / f"data_sets/{SAGITTAL}", engine="asyncfetch")
    assert tree["data_set_id"].to_numpy().tolist() == [SAGITTAL]
    sections = tree[f"data_sets/{SAGITTAL}/image/sections"]
    assert set(sections.children) == {"69177654", "69177656"}
    assert (
        sections[f"{SHOWN}/scale1"]
        .to_dataset(inherit=False)
        .identical(open_(store, SAGITTAL, image=SHOWN, level=1))
    )
    assert (
        "sections"
        not in xarray.open_datatree(store, engine="asyncfetch")[f"data_sets/{SAGITTAL}/image"].children
    )
    one = xarray.open_datatree(store / f"data_sets/{CORONAL}/image/volume", engine="asyncfetch")
    assert {leaf.path for leaf in one.leaves} == {f"/data_sets/{CORONAL}/image/volume/scale0"}


def test_a_tree_leaves_out_a_data_set_whose_record_is_lost(store, tmp_path):
    copy = shutil.copytree(store, tmp_path / "copy.zarr")
    (copy / f"data_sets/{CORONAL}/zarr.json").write_bytes(b"{")
    tree = xarray.open_datatree(copy, engine="asyncfetch")
    assert tree["data_set_id"].to_numpy().tolist() == [SAGITTAL]
    with pytest.raises(SelectionError, match="restore it with"):
        xarray.open_datatree(copy / f"data_sets/{CORONAL}", engine="asyncfetch")


def test_an_image_that_grew_is_told_not_read_at_the_wrong_place(store, tmp_path):
    copy = shutil.copytree(store, tmp_path / "copy.zarr")
    dataset = open_(copy)
    path = copy / f"data_sets/{CORONAL}/image/registered/scale0/image/zarr.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    document["shape"][1] += 1
    path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(StoreItemError, match="open the store again"):
        dataset.load()


def test_packed_data_sets_open_as_folders_do(store, tmp_path):
    copy = shutil.copytree(store, tmp_path / "copy.zarr")
    blocking.pack(copy)
    assert not (copy / f"data_sets/{CORONAL}").exists()
    opened, packed = (
        xarray.open_datatree(each, engine="asyncfetch", sections=True) for each in (store, copy)
    )
    assert len(list(packed.leaves)) > 5
    assert packed.identical(opened)
    by_its_zip = xarray.open_dataset(copy / f"data_sets/{SAGITTAL}.ozx", engine="asyncfetch")
    assert by_its_zip.identical(open_(store, SAGITTAL))
    assert AsyncfetchBackend().guess_can_open(copy / f"data_sets/{SAGITTAL}.ozx")


def test_a_volume_of_expression_levels_has_one_channel(expression_store):
    dataset = open_(expression_store, view="expression", image="volume")
    assert dataset["c"].to_numpy().tolist() == ["expression level"]
    ours = asyncfetch.open(expression_store).data_set(CORONAL, "expression").open_volume()
    assert np.array_equal(dataset["image"], ours[...])
    assert dataset["image"].max() > 0
