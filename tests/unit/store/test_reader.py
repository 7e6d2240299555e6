"""Reading: only what is committed."""

from __future__ import annotations

import numpy as np
import pytest
import simplejpeg

import asyncfetch.store as store
from asyncfetch.errors import SelectionError, StoreItemError
from asyncfetch.imaging.pyramid import halve


@pytest.fixture
def opened(mirror):
    for image_id in (101349756, 101349750):
        mirror.write(image_id)
    mirror.write(101349753, until_commit=True)
    mirror.writer.write_table(mirror.data_set)
    mirror.view.finish()
    return store.open(mirror.writer.location)


def test_only_commits_are_seen(opened):
    assert opened.read_data_set_ids() == (70813257,)
    data_set = opened.data_set(70813257)
    assert data_set.read_views() == ("image",)
    assert [commit.image_id for commit in data_set.read_commits()] == [101349750, 101349756]
    with pytest.raises(SelectionError, match="101349753"):
        data_set.section(101349753)
    with pytest.raises(SelectionError, match="no data set 1"):
        opened.data_set(1)


def test_the_jpeg_and_the_pixels_come_back(opened, kit):
    section = opened.data_set(70813257).section(101349756)
    assert section.read_jpeg() == kit.jpeg_of(101349756)
    pixels = simplejpeg.decode_jpeg(section.read_jpeg())
    np.testing.assert_array_equal(section.pixels(), pixels)
    assert [level.shape for level in section.open_levels()] == [
        (3, 1, 700, 1101),
        (3, 1, 350, 550),
        (3, 1, 175, 275),
    ]
    np.testing.assert_array_equal(section.pixels(2), halve(pixels))
    np.testing.assert_array_equal(section.pixels(5), halve(halve(halve(halve(pixels)))))
    with pytest.raises(SelectionError, match="finer"):
        section.pixels(0)


def test_pixels_of_a_jpeg_alone_are_the_pixels_of_the_levels(mirror, opened):
    mirror.layers = ("source",)
    mirror.write(101349753)
    section = opened.data_set(70813257).section(101349753)
    assert section.open_levels() == ()
    np.testing.assert_array_equal(section.pixels(2), halve(simplejpeg.decode_jpeg(section.read_jpeg())))


def test_the_registered_array_has_one_z_per_slot(opened, kit):
    data_set = opened.data_set(70813257)
    array = data_set.open_registered()
    assert array.shape == (3, 5, 80, 114)
    z = data_set.read_registered_layout().z_by_image[101349756]
    np.testing.assert_array_equal(array[:, z].transpose(1, 2, 0), kit.plane_of(101349756, (80, 114)))
    with pytest.raises(SelectionError, match="not registered"):
        _ = opened.data_set(70813257, "expression").open_registered()


def test_a_store_that_is_read_cannot_be_written(opened):
    with pytest.raises(ValueError, match="read-only"):
        opened.data_set(70813257).open_registered()[:, 0] = 1


def test_geometry_is_that_of_the_records(opened, data_set):
    geometry = opened.data_set(70813257).geometry(101349756)
    section = next(each for each in data_set.section_images if each.id == 101349756)
    np.testing.assert_array_equal(
        geometry.image_to_reference([10.0, 20.0]), data_set.geometry(section).image_to_reference([10.0, 20.0])
    )


def test_a_layer_that_was_not_stored_is_named(mirror, opened):
    mirror.layers = ("sections",)
    mirror.write(101349753)
    with pytest.raises(SelectionError, match="layer source"):
        _ = opened.data_set(70813257).section(101349753).read_jpeg()


def test_a_jpeg_longer_than_its_pixels_is_damaged_unread(opened, mirror):
    path = mirror.writer.store.root / "data_sets/70813257/image/source/101349756.jpg"
    section = opened.data_set(70813257).section(101349756)
    with path.open("ab") as file:
        file.truncate(2**28 + 1)
    with pytest.raises(StoreItemError, match="bytes, and no more than 268435456 are read at once"):
        _ = section.read_jpeg()


def test_a_committed_object_that_is_gone_is_named(opened, mirror):
    (mirror.writer.store.root / "data_sets/70813257/image/source/101349756.jpg").unlink()
    with pytest.raises(StoreItemError, match="missing although it is committed"):
        _ = opened.data_set(70813257).section(101349756).read_jpeg()
