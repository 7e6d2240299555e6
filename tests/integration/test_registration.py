"""Registered planes against the phantom that the images were drawn from: the whole chain has a ground truth.

The images are drawn by the replica through the sections' real matrices, travel as JPEGs, and come back as planes on
the reference grid. Whatever is half a pixel off on the way shows as a displacement against the phantom.
"""

from __future__ import annotations

import dataclasses
import math

import anyio
import numpy as np
import pytest
from scipy.ndimage import map_coordinates
from zarr.storage import MemoryStore

import asyncfetch
from asyncfetch.geometry import Affine2D, Affine3D, Plane, full_to_tier
from asyncfetch.imaging import decode, prepare_source, warp
from asyncfetch.replica import open_replica
from asyncfetch.sample import compare_plane, compare_with_phantom, sample_atlas

SMALL, SMALL_IMAGE = 900000005, 900005005
SAGITTAL = (69289763, (69177634, 69177658))
CORONAL = (479, (101349756, 101349764, 947900020))

MAX_MEAN_ABS = 2.0
MAX_SHIFT_STEPS = 0.05
MAX_SHIFT_PIXELS = 0.1


@pytest.fixture(scope="module")
def atlas():
    return sample_atlas()


class RememberedPhantom:
    """A phantom that draws each plane once, since many planes are compared with the same truth."""

    def __init__(self, phantom):
        self._phantom, self._kept = phantom, {}

    def render(self, index_to_reference, shape, *, reference_space_id=9):
        return self._once("render", index_to_reference, shape, reference_space_id)

    def tissue(self, index_to_reference, shape, *, reference_space_id=9):
        return self._once("tissue", index_to_reference, shape, reference_space_id)

    def _once(self, name, matrix, shape, space):
        key = (name, matrix.tobytes(), shape, space)
        if key not in self._kept:
            self._kept[key] = getattr(self._phantom, name)(matrix, shape, reference_space_id=space)
        return self._kept[key]


@pytest.fixture(scope="module")
def phantom(atlas):
    return RememberedPhantom(atlas.phantom)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return tmp_path_factory.mktemp("drawn")


@pytest.fixture(scope="module")
def mirrored(atlas, drawn):
    """Return a function that mirrors images into memory and opens their data set."""
    kept = {}

    def mirror(data_set_id, image_ids, *, atlas=atlas, cache_folder=drawn, **choices):
        key = (data_set_id, image_ids, id(atlas), *sorted(choices.items()))
        if key not in kept:
            store = MemoryStore()
            selection = [f"image:{image_id}" for image_id in image_ids]

            async def run():
                async with open_replica(atlas, cache_folder=cache_folder) as replica:
                    return await asyncfetch.mirror(
                        selection, store, base_url=replica.base_url, requests_per_s=1000.0, **choices
                    )

            report = anyio.run(run)
            assert not report.failures
            assert not report.unplaced
            kept[key] = asyncfetch.open(store).data_set(data_set_id)
        return kept[key]

    return mirror


class Stored:
    """One section of a mirrored data set, with what its plane was made from."""

    def __init__(self, data_set, image_id):
        self.data_set, self.image_id = data_set, image_id
        self.commit = data_set.section(image_id).commit
        self.layout = data_set.read_registered_layout()
        self.grid = self.layout.grid
        self.geometry = data_set.geometry(image_id)
        self.shape = (self.commit.record["height"], self.commit.record["width"])
        self.tier_steps = self.commit.resolution_um * 2**self.commit.downsample / self.grid.um
        #: As decoded for the plane: libjpeg reduces as long as two pixels fit a step.
        self.n_halvings = min(3, max(0, math.floor(-math.log2(2 * self.tier_steps))))

    @property
    def plane(self):
        z = self.layout.z_by_image[self.image_id]
        return np.moveaxis(np.asarray(self.data_set.open_registered()[:, z]), 0, -1)

    @property
    def grid_to_image(self):
        return self.grid.grid_to_image(self.geometry)

    def warped(self, grid_to_image=None, full_to_pixels=None):
        """Register the stored JPEG once more, if need be by other maps."""
        pixels = decode(self.data_set.section(self.image_id).read_jpeg(), reduce=self.n_halvings)
        full_to_pixels = full_to_pixels or full_to_tier(self.commit.downsample + self.n_halvings)
        prepared = prepare_source(pixels, full_to_pixels @ (grid_to_image or self.grid_to_image))
        averaged = self.commit.downsample + self.n_halvings > 0 or prepared[0] is not pixels
        return warp(*prepared, self.grid.shape, averaged=averaged)

    def shortcomings(self, phantom, plane, reference_space_id=None):
        """Return what is wrong with a plane, in words; nothing where it is as it should be."""
        n_voxels, mean_abs, _, shift_x, shift_y, *_ = compare_plane(
            plane,
            phantom,
            self.grid,
            self.geometry,
            image_shape=self.shape,
            reference_space_id=reference_space_id or self.layout.reference_space_id,
        )
        return shortcomings(n_voxels, mean_abs, max(abs(shift_x), abs(shift_y)), self.tier_steps)


def shortcomings(n_voxels, mean_abs, shift, tier_steps):
    found = []
    if n_voxels < 300:
        found.append(f"{n_voxels} voxels to compare")
    # Pixels twice as coarse as the grid cannot hold what the phantom has on it, wherever they are put.
    if mean_abs >= MAX_MEAN_ABS and tier_steps <= 2:
        found.append(f"{mean_abs:.2f} grey levels")
    if shift >= MAX_SHIFT_STEPS:
        found.append(f"displaced by {shift:.4f} grid steps")
    if shift >= MAX_SHIFT_PIXELS * tier_steps:
        found.append(f"displaced by {shift / tier_steps:.3f} pixels of the tier")
    return found


@pytest.mark.parametrize(
    ("data_set_id", "image_ids", "um", "tier"),
    [
        (*SAGITTAL, 25.0, 3),
        (69289763, (69177634,), 50.0, 4),
        (*SAGITTAL, 100.0, 5),
        pytest.param(69289763, (69177634,), 10.0, 2, marks=pytest.mark.slow),
        (*CORONAL, 25.0, 2),
        (479, (947900020,), 50.0, 3),
        (*CORONAL, 100.0, 4),
        pytest.param(479, (101349756,), 10.0, 1, marks=pytest.mark.slow),
        (SMALL, (900001005, SMALL_IMAGE), 25.0, 0),
    ],
)
def test_planes_lie_on_the_phantom_at_every_pitch(mirrored, phantom, data_set_id, image_ids, um, tier):
    data_set = mirrored(data_set_id, image_ids, um=um)
    errors = list(compare_with_phantom(data_set, phantom))
    # in the order of the slots, which ascend along the axis of the reference space
    assert sorted(error.image_id for error in errors) == sorted(image_ids)
    for error in errors:
        stored = Stored(data_set, error.image_id)
        assert stored.commit.downsample == tier
        shift = max(abs(error.shift_x), abs(error.shift_y))
        assert not shortcomings(error.n_voxels, error.mean_abs, shift, stored.tier_steps)


# The small set has pixels of 6.52 µm: from tier 2 on they are coarser than the grid. Those of 479 have 1.63 µm and
# those of 69289763 1.049 µm: their fine tiers are decoded at 1/2, 1/4 and 1/8.
TIERS = [
    *((SMALL, SMALL_IMAGE, downsample, 0) for downsample in range(5)),
    *((479, 101349764, downsample, 2 - downsample) for downsample in range(3)),
    pytest.param(69289763, 69177634, 0, 3, marks=pytest.mark.slow),
    (69289763, 69177634, 1, 2),
]


@pytest.mark.parametrize(("data_set_id", "image_id", "downsample", "n_halvings"), TIERS)
class TestEveryTier:
    @pytest.fixture
    def stored(self, mirrored, data_set_id, image_id, downsample, n_halvings):
        stored = Stored(mirrored(data_set_id, (image_id,), downsample=downsample), image_id)
        assert stored.commit.downsample == downsample
        assert stored.n_halvings == n_halvings
        return stored

    def test_no_tier_displaces_a_plane(self, stored, phantom):
        assert not stored.shortcomings(phantom, stored.plane)

    def test_half_a_pixel_of_the_tier_does_not_pass(self, stored, phantom):
        assert np.array_equal(stored.warped(), stored.plane)
        half = 0.5 * 2**stored.commit.downsample
        for x, y in ((half, 0), (0, -half)):
            displaced = stored.warped(Affine2D.translation(x, y) @ stored.grid_to_image)
            assert any("pixels of the tier" in each for each in stored.shortcomings(phantom, displaced))

    def test_tiers_taken_for_plain_scaling_do_not_pass(self, stored, phantom):
        n_halvings = stored.commit.downsample + stored.n_halvings
        plain = stored.warped(full_to_pixels=Affine2D.scaling(0.5**n_halvings))
        if n_halvings == 0:
            assert np.array_equal(plain, stored.plane)
        else:
            assert any("displaced" in each for each in stored.shortcomings(phantom, plain))


@pytest.mark.parametrize(("selected", "image_id"), [(SAGITTAL, 69177658), (CORONAL, 947900020)])
def test_a_plane_that_is_mirrored_does_not_pass(mirrored, phantom, selected, image_id):
    stored = Stored(mirrored(*selected, um=25.0), image_id)
    for mistaken in (stored.plane[:, ::-1], stored.plane[::-1]):
        assert any("grey levels" in each for each in stored.shortcomings(phantom, mistaken))
    # In the other of the two spaces, left is right.
    other = 19 - stored.layout.reference_space_id
    assert any("grey levels" in each for each in stored.shortcomings(phantom, stored.plane, other))


@pytest.fixture(scope="module")
def tilted_atlas(atlas):
    """Return the sample atlas with the small coronal set cut askew: by 8 degrees one way, by 5 another."""
    middle = np.array([6600.0, 4000.0, 5700.0])
    about_r, about_i = math.radians(8), math.radians(5)
    turn_r = [
        [math.cos(about_r), -math.sin(about_r), 0],
        [math.sin(about_r), math.cos(about_r), 0],
        [0, 0, 1],
    ]
    turn_i = [
        [math.cos(about_i), 0, math.sin(about_i)],
        [0, 1, 0],
        [-math.sin(about_i), 0, math.cos(about_i)],
    ]
    turn = np.array(turn_r) @ np.array(turn_i)
    tilt = Affine3D(np.column_stack([turn, middle - turn @ middle]))

    def turned(row):
        tvr = tilt @ Affine3D.from_api(tuple(row[f"tvr_{i:02}"] for i in range(12)))
        numbers = {f"tvr_{i:02}": value for i, value in enumerate(tvr.to_api())}
        return row | numbers | {f"trv_{i:02}": value for i, value in enumerate(tvr.inverse().to_api())}

    rows = atlas.tables["Alignment3d"]
    alignments = [turned(row) if row["aligned_id"] == SMALL else row for row in rows]
    drawn_through = dict(atlas._drawn_through)
    for row in atlas.tables["SectionImage"]:
        if row["data_set_id"] == SMALL:
            matrix, space = drawn_through[row["id"]]
            drawn_through[row["id"]] = (tilt.matrix @ np.vstack([matrix, [0, 0, 1]]), space)
    return dataclasses.replace(
        atlas, tables={**atlas.tables, "Alignment3d": alignments}, _drawn_through=drawn_through
    )


class TestTilt:
    @pytest.fixture
    def stored(self, mirrored, tilted_atlas):
        data_set = mirrored(SMALL, (SMALL_IMAGE,), atlas=tilted_atlas, cache_folder=None)
        return Stored(data_set, SMALL_IMAGE)

    @pytest.fixture
    def level(self, stored):
        """The plane at the section's middle, taken for parallel to the grid's planes."""
        height, width = stored.grid.shape
        level = stored.grid.grid_to_reference(stored.geometry)
        level[0] = (0, 0, level[0] @ (width / 2, height / 2, 1))
        return level

    def test_a_tilted_section_is_registered_on_its_own_plane(self, stored, level, phantom):
        corners = np.array([[0, 455, 0, 455], [0, 0, 319, 319], [1, 1, 1, 1]])
        away = (stored.grid.grid_to_reference(stored.geometry) - level)[0] @ corners
        assert np.abs(away).max() > 800
        assert not stored.shortcomings(phantom, stored.plane)

    def test_a_tilt_that_is_dropped_does_not_pass(self, stored, level, phantom):
        to_image = stored.geometry.reference_to_image_matrix()
        parallel = to_image[:, :3] @ level
        parallel[:, 2] += to_image[:, 3]
        wrong = stored.warped(Affine2D(parallel))
        assert any("grey levels" in each for each in stored.shortcomings(phantom, wrong))

    def test_the_truth_knows_the_tilt(self, stored, level, phantom):
        truth = phantom.render(level, stored.grid.shape)
        assert any("grey levels" in each for each in stored.shortcomings(phantom, truth))


@pytest.mark.parametrize(("data_set_id", "image_id"), [(SMALL, SMALL_IMAGE), (69289763, 69177634)])
def test_parallel_planes_lie_on_whole_multiples_of_the_pitch(mirrored, phantom, data_set_id, image_id):
    stored = Stored(mirrored(data_set_id, (image_id,), parallel=True), image_id)
    height, width = stored.shape
    arguments = {"parallel": True, "detection_xy": (width / 2, height / 2)}
    on_grid = stored.grid.grid_to_reference(stored.geometry, **arguments)
    grid_to_image = stored.grid.grid_to_image(stored.geometry, **arguments)
    assert on_grid[stored.grid.plane.x_axis].tolist() == [25, 0, 0]
    assert on_grid[stored.grid.plane.y_axis].tolist() == [0, 25, 0]
    # What the approximation shows at a grid point is the section's own tissue below or above it.
    shown = stored.geometry.image_to_reference_matrix() @ np.vstack([grid_to_image.matrix, [0, 0, 1]])
    maps = [shown]
    if np.ptp((shown - on_grid)[stored.grid.plane.slice_axis] @ [[0, 400], [0, 300], [1, 1]]) < 1:
        maps.append(on_grid)
    space = stored.layout.reference_space_id
    y, x = np.mgrid[: stored.grid.shape[0], : stored.grid.shape[1]]
    in_image = (np.abs(grid_to_image.apply(np.stack([x, y], -1)) / (width, height) - 0.5) < 0.49).all(axis=-1)
    for index_to_reference in maps:
        truth = phantom.render(index_to_reference, stored.grid.shape, reference_space_id=space)
        tissue = phantom.tissue(index_to_reference, stored.grid.shape, reference_space_id=space)
        inside = in_image & (tissue > 0.99)
        assert inside.sum() > 30_000
        difference = stored.plane.astype(float) - truth
        assert np.abs(difference[inside]).mean() < MAX_MEAN_ABS
    assert len(maps) == (2 if data_set_id == SMALL else 1)
    assert stored.layout.recipe.parallel
    assert stored.commit.recipe.parallel
    assert stored.layout.origin_um == 0
    group = stored.data_set.open_registered().store_path
    level = asyncfetch.open(group.store).open_group()[group.path.removesuffix("/image")]
    assert np.array_equal(level["x"][:], 25.0 * np.arange(stored.grid.shape[1]))
    scale, translation = (
        asyncfetch.open(group.store)
        .open_group()[group.path.removesuffix("/scale0/image")]
        .attrs["ome"]["multiscales"][0]["datasets"][0]["coordinateTransformations"]
    )
    assert scale["scale"][2:] == [25, 25]
    assert translation["translation"][2:] == [0, 0]


def test_full_pitch_is_the_resolution_of_the_images(mirrored):
    stored = Stored(mirrored(SMALL, (SMALL_IMAGE,), um="full"), SMALL_IMAGE)
    assert stored.layout.recipe.um == stored.commit.recipe.um == stored.commit.resolution_um == 6.52
    assert stored.commit.downsample == 0
    assert stored.grid.shape == (math.ceil(8000 / 6.52), math.ceil(11400 / 6.52))
    assert np.array_equal(stored.warped(), stored.plane)


@pytest.mark.slow
def test_full_pitch_planes_of_fine_images_lie_on_the_phantom(mirrored, phantom):
    stored = Stored(mirrored(479, (101349764,), um="full"), 101349764)
    assert stored.data_set.open_registered().shape[2:] == stored.grid.shape == (4908, 6994)
    assert not stored.shortcomings(phantom, stored.plane)


def test_a_plane_larger_than_a_shard_is_the_plane_computed_at_once(mirrored):
    stored = Stored(mirrored(SMALL, (SMALL_IMAGE,), um=3.5), SMALL_IMAGE)
    array = stored.data_set.open_registered()
    assert array.shards == (3, 1, 2048, 2048)
    assert array.shape[2:] == stored.grid.shape == (2286, 3258)
    assert np.array_equal(stored.warped(), stored.plane)


@pytest.mark.parametrize("um", [10.0, 25.0])
def test_a_real_section_is_warped_as_scipy_does_in_float64(mirrored, um):
    stored = Stored(mirrored(69289763, (69177634,), um=um), 69177634)
    source = decode(stored.data_set.section(69177634).read_jpeg())
    height, width = 200, stored.grid.shape[1]
    grid_to_source = full_to_tier(stored.commit.downsample) @ stored.grid_to_image
    step = np.linalg.norm(grid_to_source.linear, ord=2)
    n = 1 if step < 1.5 else math.ceil(step / 1.2 if stored.commit.downsample else step)
    exact = np.zeros((height, width))
    for j in range(n):
        for i in range(n):
            y, x = np.mgrid[:height, :width].astype(float)
            place = np.stack([x + (i + 0.5) / n - 0.5, y + (j + 0.5) / n - 0.5], axis=-1)
            x, y = np.moveaxis(grid_to_source.apply(place), -1, 0)
            exact += map_coordinates(source[..., 0].astype(float), [y, x], order=1, mode="grid-constant")
    assert exact.max() > 200 * n**2
    assert np.abs(stored.plane[:height, :, 0] - exact / n**2).max() <= 1


def test_a_section_wider_than_32767_pixels_lies_where_it_belongs():
    # A ramp of one level in 256 pixels, seen from 24 pixels a step: a level stands for 10.7 steps.
    width = 61_440
    source = np.repeat((np.arange(width) // 256).astype(np.uint8)[None, :, None], 64, axis=0)
    grid_to_image = Affine2D.translation(100.0, 11.5) @ Affine2D.scaling(24.0)
    plane = warp(*prepare_source(source, grid_to_image), (2, 2550))
    edges = np.flatnonzero(np.diff(plane[0, :, 0].astype(int)))
    expected = (256 * np.arange(1, 240) - 0.5 - 100.0) / 24.0
    expected = expected[expected < 2540]
    assert np.abs(edges[: expected.size] + 0.5 - expected).max() <= 1
    assert plane[0, -1, 0] == (100 + 24 * 2549) // 256


def test_the_plane_of_a_set_follows_from_its_record(mirrored):
    assert Stored(mirrored(*SAGITTAL, um=25.0), 69177634).grid.plane == Plane.SAGITTAL
    assert Stored(mirrored(*CORONAL, um=25.0), 947900020).grid.plane == Plane.CORONAL
