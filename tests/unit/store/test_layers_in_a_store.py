"""Layers by the way that a run writes them: from a plan and a JPEG, by jobs, into a store that is opened again."""

from __future__ import annotations

import hashlib
from contextlib import closing

import numpy as np
import pytest

import asyncfetch.store as store
from asyncfetch.client import Jpeg
from asyncfetch.geometry import Box, full_to_tier
from asyncfetch.imaging import Buffers, decode, halve, warp
from asyncfetch.layers import LayerJobs
from asyncfetch.planning import plan_view
from asyncfetch.planning.section import Origin
from asyncfetch.planning.view import view_layout
from asyncfetch.settings import Settings

DATA_SET_ID = 70813257
SETTINGS = Settings(um=100.0, downsample=0, layers=("source", "sections", "registered"))


#: An image in the middle of the reference space, so that its plane shows it.
TVS = np.array([[0.613405, -0.00752644, -3480.0], [0.00752644, 0.613405, -3679.0], [0.0, 0.0, 1.0]])


@pytest.fixture
def placed_set(kit):
    rows = [kit.section_row(image_id, number) for image_id, number in ((753, 16), (750, 8), (756, 32))]
    for row in rows:
        for name, matrix in (("tvs", TVS), ("tsv", np.linalg.inv(TVS))):
            numbers = (*matrix[:2, :2].ravel(), *matrix[:2, 2])
            row["alignment2d"] |= {f"{name}_0{k}": float(f"{number:.6g}") for k, number in enumerate(numbers)}
    return kit.data_set_of(rows)


def write(view, kit, plan):
    """Write one section as a run does, and return its pixels."""
    data = kit.jpeg_of(plan.section.id)
    jpeg = Jpeg(data, plan.shape, 3, "http://127.0.0.1/")
    work = LayerJobs(Buffers(0), view, plan)
    work.begin((), jpeg)
    box = [Box.of_shape(plan.shape)]
    levels = work.add_levels(box)
    for targets in (levels, [each for each in work.add_plane(box, levels) if each not in levels]):
        work.bring(jpeg, targets)
    work.jobs.work()
    assert work.jobs.error is None
    view.commit(plan.commit(Origin(jpeg.url, hashlib.sha256(data).hexdigest(), len(data)), "now"))
    return decode(data)


@pytest.mark.parametrize(("image_id", "z"), [(750, 3), (753, 2), (756, 0)])
def test_a_plane_lies_at_the_z_of_its_section_and_nowhere_else(tmp_path, placed_set, kit, image_id, z):
    layout = view_layout(placed_set, "image", SETTINGS)
    with closing(kit.StoreWriter.open(tmp_path / "out.zarr")) as writer:
        view = writer.open_view(layout)
        slots = view.slots
        (plan,) = plan_view(placed_set, "image", SETTINGS, {}, slots, {image_id}).to_fetch
        pixels = write(view, kit, plan)
    registered = store.open(tmp_path / "out.zarr").data_set(DATA_SET_ID).open_registered()
    filled = [z for z in range(registered.shape[1]) if registered[:, z].any()]
    # every eighth section is there but for number 24, and they descend along p
    assert filled == [z]
    for _ in range(plan.n_halvings + plan.n_means):
        pixels = halve(pixels)
    grid_to_pixels = full_to_tier(plan.n_halvings + plan.n_means) @ plan.grid_to_image
    expected = warp(pixels, grid_to_pixels, layout.recipe.grid.shape, averaged=True)
    plane = registered[:, z].transpose(1, 2, 0).astype(int)
    # a JPEG that is halved while it is decoded differs from its mean by some levels
    assert np.abs(plane - expected).mean() < 2


def test_the_levels_of_a_section_are_those_of_its_own_pixels(tmp_path, placed_set, kit):
    layout = view_layout(placed_set, "image", SETTINGS)
    written = {}
    with closing(kit.StoreWriter.open(tmp_path / "out.zarr")) as writer:
        view = writer.open_view(layout)
        slots = view.slots
        for plan in plan_view(placed_set, "image", SETTINGS, {}, slots, set(slots)).to_fetch:
            written[plan.section.id] = write(view, kit, plan)
    stored = store.open(tmp_path / "out.zarr").data_set(DATA_SET_ID)
    assert len(written) == 3
    for image_id, pixels in written.items():
        section = stored.section(image_id)
        np.testing.assert_array_equal(section.pixels(), pixels)
        np.testing.assert_array_equal(section.pixels(1), halve(pixels))
