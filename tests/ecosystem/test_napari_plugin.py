"""The plugin of napari without a window: its manifest, its readers, and layers where they belong."""

from __future__ import annotations

import numpy as np
import pytest

import asyncfetch

# what others warn of while they are imported and used is theirs
pytestmark = pytest.mark.filterwarnings("ignore")

CORONAL, SAGITTAL = 479, 69289763
#: r of space 9 and r of space 10 add up to this (REC-5).
MIRROR_UM = 11350.0


@pytest.fixture(scope="module")
def plugins(needs):
    """Return the plugin manager of npe2, which knows what is installed."""
    npe2 = needs("npe2")
    needs("napari")
    manager = npe2.PluginManager.instance()
    manager.discover()
    return manager


@pytest.fixture
def viewer(needs, plugins):
    return needs("napari.components").ViewerModel()


def test_the_manifest_is_sound_and_every_command_leads_to_a_function(plugins):
    manifest = plugins.get_manifest("asyncfetch")
    manifest.validate_imports()
    assert len(manifest.contributions.commands) == 4
    assert manifest.display_name == "asyncfetch"
    for command in manifest.contributions.commands:
        assert callable(plugins.commands.get(command.id))


def test_the_plugin_opens_our_stores_and_no_others(store_of, needs, plugins, tmp_path):
    read = needs("npe2").read
    layers = read([str(store_of())], stack=False, plugin_name="asyncfetch")
    assert len(layers) == 2
    other = tmp_path / "other.zarr"
    needs("zarr").create_group(other)
    with pytest.raises(ValueError, match="refused"):
        read([str(other)], stack=False, plugin_name="asyncfetch")


@pytest.mark.parametrize("data_set_id", [CORONAL, SAGITTAL])
@pytest.mark.parametrize("name", ["registered", "volume", "section"])
def test_an_image_is_one_layer_in_colour_with_our_values_at_our_places(images_of, viewer, data_set_id, name):
    image = images_of(data_set_id)[name]
    (layer,) = viewer.open(str(image.folder), plugin="asyncfetch")
    assert layer.rgb
    assert layer.multiscale
    assert f"data set {data_set_id}" in layer.name
    axes = "yx" if name == "section" else "zyx"
    for level, expected in zip(layer.data, image.levels, strict=True):
        pixels = expected[:, 0] if name == "section" else expected
        assert np.array_equal(level, np.moveaxis(pixels, 0, -1))
    n = layer.data[0].shape[:-1]
    for index in ((0,) * len(n), tuple(side - 1 for side in n), tuple(side // 3 for side in n)):
        expected_um = [image.axes_um[axis][k] for axis, k in zip(axes, index, strict=True)]
        assert np.array(layer.data_to_world(index)) == pytest.approx(np.array(expected_um), abs=1e-6)
    assert {str(unit) for unit in layer.units} == {"micrometer"}


@pytest.mark.parametrize("data_set_id", [CORONAL, SAGITTAL])
def test_what_the_viewer_shows_of_a_slot_is_its_plane(images_of, viewer, data_set_id):
    image = images_of(data_set_id)["registered"]
    (layer,) = viewer.open(str(image.folder), plugin="asyncfetch")
    viewer.dims.set_point(0, image.axes_um["z"][image.z])
    shown = np.asarray(layer._slice.image.raw)
    assert np.array_equal(shown, image.levels[0][:, image.z].transpose(1, 2, 0))
    assert shown.any()


class Shown:
    """A layer whose pixels are read once, and what it has at points of the world."""

    def __init__(self, layer):
        self.layer = layer
        self.pixels = np.asarray(layer.data[0]).astype(float)

    def points(self, index):
        return [np.array(self.layer.data_to_world(each)) for each in index]

    def apart(self, colours, points, at_least):
        """Return how far colours are from those at points, on average, where there are any."""
        found = []
        for colour, point in zip(colours, points, strict=True):
            index = np.round(self.layer.world_to_data(point)).astype(int)
            if ((index >= 0) & (index < self.pixels.shape[:-1])).all():
                other = self.pixels[tuple(index)]
                if other.min() > 0:
                    found.append(np.abs(colour - other).mean())
        assert len(found) > at_least
        return np.mean(found)


def test_a_store_in_two_spaces_is_shown_in_one_with_nothing_turned_around(store_of, viewer):
    """The brain is not symmetric: a point shows the same colours in both data sets, and its mirror image others."""
    volumes = [
        str(store_of() / f"data_sets/{data_set_id}/image/volume") for data_set_id in (CORONAL, SAGITTAL)
    ]
    coronal, sagittal = map(Shown, viewer.open(volumes, stack=True, plugin="asyncfetch"))
    assert coronal.layer.axis_labels == sagittal.layer.axis_labels == ("p", "i", "r")
    filled = np.argwhere((coronal.pixels > 0).all(axis=-1))
    chosen = np.random.default_rng(0).choice(filled, 6000, replace=False)
    colours = coronal.pixels[tuple(chosen.T)]
    points = np.array(coronal.points(chosen))
    assert sagittal.apart(colours, points, 200) < 10
    for axis, sum_um in ((1, 8000.0), (2, MIRROR_UM)):
        turned = points.copy()
        turned[:, axis] = sum_um - turned[:, axis]
        assert sagittal.apart(colours, turned, 100) > 15


@pytest.mark.parametrize("data_set_id", [CORONAL, SAGITTAL])
def test_sections_in_place_show_what_their_volume_shows(store_of, images_of, viewer, data_set_id):
    root = store_of()
    path = str(root / images_of(data_set_id)["section"].path)
    (layer,) = viewer.open(path, plugin="asyncfetch.read_in_place")
    section = Shown(layer)
    (layer,) = viewer.open(str(root / f"data_sets/{data_set_id}/image/volume"), plugin="asyncfetch")
    volume = Shown(layer)
    height, width = section.pixels.shape[1:3]
    yx = (np.random.default_rng(0).uniform(0.15, 0.85, (1000, 2)) * (height, width)).astype(int)
    colours = section.pixels[0, yx[:, 0], yx[:, 1]]
    assert volume.apart(colours, section.points(np.column_stack([np.zeros(len(yx)), yx])), 300) < 10
    flipped = np.column_stack([np.zeros(len(yx)), yx[:, 0], width - 1 - yx[:, 1]])
    assert volume.apart(colours, section.points(flipped), 300) > 15


def test_sections_side_by_side_do_not_cover_each_other(store_of, viewer):
    layers = viewer.open(str(store_of() / f"data_sets/{CORONAL}/image/sections"), plugin="asyncfetch")
    assert len(layers) == 5
    boxes = [layer.extent.world for layer in layers]
    for number, (first, last) in enumerate(boxes):
        for other_first, other_last in boxes[number + 1 :]:
            assert (last <= other_first).any() or (other_last <= first).any()


def test_the_widget_gives_layers(needs, plugins, store_of):
    signature = needs("magicgui.signature").magic_signature(plugins.commands.get("asyncfetch.open_images"))
    assert [str(each) for each in signature.parameters] == [
        "store",
        "data_set_id",
        "view",
        "images",
        "sections",
    ]
    resolve = needs("magicgui._type_resolution").resolve_single_type
    found = resolve(plugins.commands.get("asyncfetch.open_images").__annotations__["return"])
    assert found == list[needs("napari.types").LayerDataTuple]


def test_the_sample_is_made_on_this_machine_alone(viewer):
    (layer,) = viewer.open_sample("asyncfetch", "sample")
    assert layer.rgb
    assert np.asarray(layer.data[0]).any()
    assert "registered 50 µm" in layer.name


def test_an_image_opens_from_its_address(images_of, address_of, needs, viewer):
    needs("obstore")
    image = images_of()["registered"]
    (layer,) = viewer.open(f"{address_of()}/{image.path}", plugin="asyncfetch")
    assert np.array_equal(layer.data[0], np.moveaxis(image.levels[0], 0, -1))


def test_the_layers_outlive_the_reader(store_of, viewer):
    """Pixels are read when they are shown, long after the store was opened."""
    (layer,) = viewer.open(str(store_of() / f"data_sets/{CORONAL}/image/registered"), plugin="asyncfetch")
    expected = asyncfetch.open(store_of()).data_set(CORONAL).open_registered()
    assert np.array_equal(layer.data[0][3], expected[:, 3].transpose(1, 2, 0))
