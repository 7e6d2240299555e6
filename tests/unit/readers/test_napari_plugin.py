"""The plugin of napari without napari: what its readers take, and where their layers lie."""

from __future__ import annotations

import pickle
import shutil

import numpy as np
import pytest

import asyncfetch
from asyncfetch.errors import SelectionError
from asyncfetch.readers.napari_plugin import get_reader, get_reader_in_place, read_layers
from asyncfetch.readers.napari_plugin.widget import open_images

CORONAL, SAGITTAL = 479, 69289763
STORED, SHOWN = 947900029, 69177656
UM = 100.0
#: r of space 9 and r of space 10 add up to this (REC-5).
MIRROR_UM = 11350.0


def below(store, data_set_id, *names):
    return str(store.joinpath("data_sets", str(data_set_id), *names))


def world_of(options, index):
    """Return where the centre of a pixel of level 0 lies, as napari composes scale, translation and affine."""
    point = np.asarray(index, dtype=float) * options["scale"] + options["translate"]
    affine = options.get("affine")
    return point if affine is None else affine[:-1, :-1] @ point + affine[:-1, -1]


def test_readers_take_our_stores_and_parts_of_them_alone(store, tmp_path):
    shutil.copytree(store, tmp_path / "no-suffix")
    ours = [str(store), below(store, CORONAL), below(store, CORONAL, "image"), str(tmp_path / "no-suffix")]
    for getter in (get_reader, get_reader_in_place):
        assert all(callable(getter(path)) for path in ours)
        assert callable(getter(ours))
        for other in (str(tmp_path), str(tmp_path / "missing.zarr"), [], "http://127.0.0.1:1/brains.zarr"):
            assert getter(other) is None
        assert getter([ours[0], str(tmp_path)]) is None


def test_planes_have_their_colours_last_and_lie_where_our_layout_says(store):
    ((levels, options, kind),) = read_layers(below(store, SAGITTAL))
    data_set = asyncfetch.open(store).data_set(SAGITTAL)
    layout = data_set.read_registered_layout()
    assert kind == "image"
    assert options["rgb"]
    assert options["name"] == "Prox1 sagittal P56 (data set 69289763), registered 100 µm"
    assert np.array_equal(levels[0], data_set.open_registered()[...].transpose(1, 2, 3, 0))
    assert options["axis_labels"] == ("r", "i", "p")
    assert options["units"] == ("micrometer",) * 3
    z = layout.z_by_image[SHOWN]
    assert world_of(options, (z, 7, 9)) == pytest.approx([layout.z_um[z], 7.5 * UM, 9.5 * UM], abs=1e-6)


def test_images_of_different_planes_share_the_axes_and_the_space_of_the_reference(store):
    layers = read_layers(str(store))
    assert [options["visible"] for _, options, _ in layers] == [True, False]
    assert all(options["axis_labels"] == ("p", "i", "r") for _, options, _ in layers)
    (_, coronal, _), (levels, sagittal, _) = layers
    assert world_of(coronal, (0, 3, 4))[1:] == pytest.approx([3.5 * UM, 4.5 * UM])
    # space 10 runs from right to left, and is turned around
    data_set = asyncfetch.open(store).data_set(SAGITTAL)
    layout = data_set.read_registered_layout()
    z = layout.z_by_image[SHOWN]
    assert world_of(sagittal, (5, 6, z)) == pytest.approx(
        [5.5 * UM, 6.5 * UM, MIRROR_UM - layout.z_um[z]], abs=1e-6
    )
    assert np.array_equal(levels[0], data_set.open_registered()[...].transpose(3, 2, 1, 0))


def test_the_same_place_shows_the_same_colours_in_both_planes_of_section(store):
    """The brain is not symmetric, so that an axis that is mixed up or turned around shows other ones."""
    (coronal_levels, coronal, _), (levels, sagittal, _) = read_layers(str(store))
    planes, others = np.asarray(coronal_levels[0]), np.asarray(levels[0])
    is_shown = (planes > 0).all(axis=-1)
    index = np.argwhere(is_shown)
    points = np.array([world_of(coronal, each) for each in index])

    def apart(points_um):
        found = np.round((points_um - sagittal["translate"]) / sagittal["scale"]).astype(int)
        is_near = (
            np.abs(found * sagittal["scale"] + sagittal["translate"] - points_um).max(axis=1) <= 0.6 * UM
        )
        is_inside = ((found >= 0) & (found < others.shape[:3])).all(axis=1) & is_near
        colours = others[tuple(found[is_inside].T)]
        is_filled = (colours > 0).all(axis=1)
        assert is_filled.sum() > 20
        mine = planes[tuple(index[is_inside].T)][is_filled].astype(float)
        return np.abs(mine - colours[is_filled]).mean()

    right = apart(points)
    middle = np.array([13200.0, 8000.0, 11400.0])
    for axis in range(3):
        turned = points.copy()
        turned[:, axis] = middle[axis] - turned[:, axis]
        assert apart(turned) > 1.5 * right


@pytest.mark.parametrize(
    "key",
    [
        np.s_[3],
        np.s_[-2, 5],
        np.s_[1:4, ::2, 5:50:7],
        np.s_[..., 0],
        np.s_[2, ..., 1:],
        np.s_[:, ::-3, 4, ::-1],
        np.s_[:, [3, 9, 5]],
        np.s_[5:2],
        np.s_[np.int64(4), :, 2:9],
    ],
    ids=str,
)
@pytest.mark.parametrize("part", ["planes", "all together"])
def test_every_part_is_that_of_the_whole_array(store, part, key):
    levels = read_layers(str(store) if part == "all together" else below(store, SAGITTAL))[-1][0]
    whole = np.asarray(levels[0])
    assert whole.any()
    assert np.array_equal(levels[0][key], whole[key])
    assert levels[0][key].shape == whole[key].shape


def test_an_index_outside_of_the_image_is_an_error(store):
    pixels = read_layers(below(store, SAGITTAL))[0][0][0]
    for key in (pixels.shape[0], -pixels.shape[0] - 1, (0, 0, 0, 3), (0,) * 5):
        with pytest.raises(IndexError):
            _ = pixels[key]


def test_a_data_set_opens_with_its_planes_and_its_volume(store):
    layers = read_layers(below(store, CORONAL))
    assert [options["name"].split(", ")[1] for _, options, _ in layers] == [
        "registered 100 µm",
        "volume 100 µm",
    ]
    (levels, volume, _) = layers[1]
    ours = asyncfetch.open(store).data_set(CORONAL).open_volume()
    assert np.array_equal(levels[0], ours[...].transpose(1, 2, 3, 0))
    assert world_of(volume, (1, 2, 3)) == pytest.approx([1.5 * UM, 2.5 * UM, 3.5 * UM])


def test_sections_lie_side_by_side_in_their_own_frames(store):
    layers = read_layers(below(store, CORONAL, "image", "sections"))
    data_set = asyncfetch.open(store).data_set(CORONAL)
    boxes = []
    for (levels, options, _), commit in zip(layers, data_set.read_commits(), strict=True):
        section = data_set.section(commit.image_id)
        assert options["name"].endswith(f", section {commit.section_number}")
        assert options["metadata"]["asyncfetch"]["image_ids"] == [commit.image_id]
        for found, expected in zip(levels, section.open_levels(), strict=True):
            assert np.array_equal(found, expected[:, 0].transpose(1, 2, 0))
        assert options["scale"] == pytest.approx([commit.resolution_um * 2**commit.downsample] * 2)
        first, last = (world_of(options, each) for each in ((0, 0), np.array(levels[0].shape[:2]) - 1))
        boxes.append((first, last))
    (first, _), (second, _) = boxes
    assert first == pytest.approx([data_set.read_commits()[0].resolution_um * (2**3 - 1) / 2] * 2)
    assert second[1] > boxes[0][1][1]
    assert second[0] == pytest.approx(first[0])


def test_a_section_of_which_only_the_jpeg_is_stored_is_shown_from_that(store):
    ((levels, options, _),) = read_layers(below(store, SAGITTAL, "image", "sections", str(SHOWN)))
    section = asyncfetch.open(store).data_set(SAGITTAL).section(SHOWN)
    assert np.array_equal(levels[0], section.pixels())
    assert np.array_equal(levels[1][10:20, 5], section.pixels(section.commit.downsample + 1)[10:20, 5])
    assert options["rgb"]


@pytest.mark.parametrize(("data_set_id", "image_id"), [(CORONAL, STORED), (SAGITTAL, SHOWN)])
def test_a_section_in_place_lies_where_the_services_say(store, data_set_id, image_id):
    path = below(store, data_set_id, "image", "sections", str(image_id))
    ((levels, options, _),) = get_reader_in_place(path)(path)
    opened = asyncfetch.open(store)
    commit = opened.data_set(data_set_id).section(image_id).commit
    assert levels[0].shape == (1, *commit.shape, 3)
    assert options["axis_labels"] == ("p", "i", "r")
    for y, x in ((0, 0), (100, 30), (7, 200)):
        # pixel k of a tier covers 2^n of the full-resolution ones
        full = (np.array([x, y]) + 0.5) * 2**commit.downsample - 0.5
        expected = opened.read_atlas().image_to_reference(image_id, full).pir
        assert world_of(options, (0, y, x)) == pytest.approx(expected, abs=1e-6)


def test_sections_of_both_spaces_share_one_when_they_lie_in_place(store):
    paths = [below(store, CORONAL, "image", "sections"), below(store, SAGITTAL, "image", "sections")]
    layers = get_reader_in_place(paths)(paths)
    sagittal = next(each for _, each, _ in layers if SHOWN in each["metadata"]["asyncfetch"]["image_ids"])
    opened = asyncfetch.open(store)
    downsample = opened.data_set(SAGITTAL).section(SHOWN).commit.downsample
    expected = np.array(
        opened.read_atlas().image_to_reference(SHOWN, np.full(2, 0.5 * 2**downsample - 0.5)).pir
    )
    expected[2] = MIRROR_UM - expected[2]
    assert world_of(sagittal, (0, 0, 0)) == pytest.approx(expected, abs=1e-6)


def test_the_widget_opens_what_it_was_given(store):
    names = [
        options["name"] for _, options, _ in open_images(store, f"{CORONAL}, {SAGITTAL}", images="registered")
    ]
    assert names == [
        "Pvalb coronal P56 (data set 479), registered 100 µm",
        "Prox1 sagittal P56 (data set 69289763), registered 100 µm",
    ]
    assert len(open_images(store)) == 2
    assert open_images(store, str(CORONAL), images="sections", sections="in place")[0][1]["affine"].shape == (
        4,
        4,
    )
    for data_set_id, images, words in (
        ("x1", "registered", "'x1' is not"),
        ("", "sections", "give data_set_id"),
    ):
        with pytest.raises(SelectionError, match=words):
            open_images(store, data_set_id, images=images)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ((SAGITTAL, "image", "volume"), "has no volume"),
        ((SAGITTAL, "image", "sections", 5), "holds no section 5"),
        ((5,), "holds no data set 5"),
        ((SAGITTAL, "expression"), "no images to show"),
    ],
)
def test_what_is_not_there_is_named(store, names, words):
    with pytest.raises(SelectionError, match=words):
        read_layers(below(store, *map(str, names)))


def test_layers_can_be_sent_to_another_process(store):
    levels = read_layers(below(store, SAGITTAL))[0][0]
    assert np.array_equal(pickle.loads(pickle.dumps(levels))[0][3], levels[0][3])


def test_expression_levels_are_grey_and_have_no_axis_of_colours(expression_store):
    ((levels, options, _),) = read_layers(below(expression_store, CORONAL, "expression", "volume"))
    assert not options["rgb"]
    ours = asyncfetch.open(expression_store).data_set(CORONAL, "expression").open_volume()
    assert np.array_equal(levels[0], ours[0])
    assert np.asarray(levels[0]).any()
    assert np.array_equal(levels[0][60, ::-2], ours[0, 60][::-2])
