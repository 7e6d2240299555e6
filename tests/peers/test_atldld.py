"""atldld 0.3.4, unmodified, against the replica; and its registered images against ours.

**The equal configuration.** Both sample the same pixels where all of this holds:

* ``parallel=True`` here: a constant slice coordinate, grid points at k · um.
* The slice coordinate is that of the same point of the image. Ours is the middle, (width / 2, height / 2); atldld's
  default is the corner (0, 0), so its ``detection_xy`` is set, one image at a time because the sizes differ.
* No averaging. atldld samples at points always; ours averages from a grid step of 1.5 source pixels on, unless the
  interpolation is ``nearest``. So either ``nearest``, or a tier whose pixels are not much finer than the grid.
* Full resolution, or half a pixel made up for. atldld takes full-resolution coordinates to tier n by x / 2^n, which
  puts the first full-resolution pixel at the middle of a pixel of the tier; ours are (x + ½) / 2^n - ½. Its own
  displacement field, moved by (1 - 2^-n) / 2 pixels, then samples the same.
* atldld's sagittal planes are transposed (p down, i along); its grid has floor(box / um) points, ours ceil, which are
  equal where um divides the box.

What remains is atldld's float32: its coordinates are off by up to some thousandths of a pixel. For ``nearest`` a
coordinate within that distance of the border of two pixels may fall on either side: these samples are left out.
"""

from __future__ import annotations

import json
from pathlib import Path

import anyio
import numpy as np
import pytest
from PIL import Image

import asyncfetch
from asyncfetch.geometry import REFERENCE_BOXES_UM, Plane, ReferenceGrid, full_to_tier
from asyncfetch.imaging import decode
from asyncfetch.sample import sample_atlas
from asyncfetch.settings import Settings

pytestmark = pytest.mark.timeout(600)

SMALL, SMALL_IMAGE = 900000005, 900001005
SAGITTAL, SAGITTAL_IMAGE = 69289763, 69177634
CORONAL, CORONAL_IMAGE = 479, 101349756
#: Full-resolution pixels by which atldld's float32 coordinates may be off.
FLOAT32_PX = 0.01


@pytest.fixture(scope="module")
def atlas():
    return sample_atlas()


def one(rows):
    (row,) = rows
    return row


def matrix(row, name):
    n, m = (2, 3) if name in {"tsv", "tvs"} else (3, 4)
    t = [row[f"{name}_{k:02}"] for k in range(n * m)]
    return np.column_stack([np.reshape(t[: n * n], (n, n)), t[n * n :]])


def flat(atlas, image_id):
    return one(row for row in atlas.tables["Alignment2d"] if row["section_image_id"] == image_id)


def solid(atlas, data_set_id):
    return one(row for row in atlas.tables["Alignment3d"] if row["aligned_id"] == data_set_id)


def geometry(data_set, image_id):
    section = one(each for each in data_set.section_images if each.id == image_id)
    return section, data_set.geometry(section)


async def fetched(base_url, data_set_id):
    async with asyncfetch.Client(base_url) as client:
        return await client.data_set(data_set_id)


def jpeg_of(base_url, image_id, **parameters):
    async def fetch():
        async with asyncfetch.Client(base_url) as client:
            return await client.image_bytes(image_id, **parameters)

    return anyio.run(fetch)


def mirrored(base_url, selection, folder: Path, **choices):
    async def run():
        settings = Settings(base_url=base_url, requests_per_s=1000)
        return await asyncfetch.mirror(selection, folder, settings=settings, **choices)

    report = anyio.run(run)
    assert not report.failures
    return asyncfetch.open(folder)


class TestUtils:
    @pytest.mark.parametrize(("downsample", "expression"), [(0, False), (2, False), (3, True)])
    def test_get_image_is_our_image(self, atldld, base_url, downsample, expression):
        found = atldld.call(
            "atldld.utils:get_image", SMALL_IMAGE, downsample=downsample, expression=expression
        )
        view = {"view": "expression"} if expression else {}
        data = jpeg_of(base_url, SMALL_IMAGE, kind="section", downsample=downsample, **view)
        assert np.abs(found.astype(int) - decode(data)).max() <= 1

    def test_corners(self, atldld, base_url):
        data_set = anyio.run(fetched, base_url, SMALL)
        section, placed = geometry(data_set, SMALL_IMAGE)
        found = atldld.call(
            "atldld.utils:get_corners_in_ref_space", SMALL_IMAGE, section.image_width, section.image_height
        )
        h, w = section.shape
        np.testing.assert_allclose(
            found, placed.image_to_reference([(0, 0), (w, 0), (w, h), (0, h)]), rtol=0, atol=1e-9
        )

    @pytest.mark.parametrize("axis", ["sagittal", "coronal"])
    def test_get_experiment_list_from_gene(self, atldld, axis):
        expected = {"sagittal": [SAGITTAL], "coronal": []}[axis]
        assert atldld.call("atldld.utils:get_experiment_list_from_gene", "Prox1", axis=axis) == expected

    @pytest.mark.parametrize("ref2inp", [False, True])
    @pytest.mark.parametrize("add_last", [False, True])
    def test_get_2d_and_get_2d_bulk(self, atldld, atlas, ref2inp, add_last):
        bulk = atldld.call("atldld.utils:get_2d_bulk", SAGITTAL, ref2inp=ref2inp, add_last=add_last)
        rows = [row for row in atlas.tables["SectionImage"] if row["data_set_id"] == SAGITTAL]
        assert set(bulk) == {str(row["id"]) for row in rows}
        name = "tvs" if ref2inp else "tsv"
        for row in rows:
            found, section_number = bulk[str(row["id"])]
            assert section_number == row["section_number"]
            np.testing.assert_array_equal(found[:2], matrix(flat(atlas, row["id"]), name))
            assert len(found) == 2 + add_last
        alone = atldld.call("atldld.utils:get_2d", SAGITTAL_IMAGE, ref2inp=ref2inp, add_last=add_last)
        np.testing.assert_array_equal(alone, bulk[str(SAGITTAL_IMAGE)][0])

    @pytest.mark.parametrize("ref2inp", [False, True])
    def test_get_3d(self, atldld, atlas, ref2inp):
        found, space, thickness = atldld.call(
            "atldld.utils:get_3d", SAGITTAL, ref2inp=ref2inp, add_last=True, return_meta=True
        )
        expected = matrix(solid(atlas, SAGITTAL), "trv" if ref2inp else "tvr")
        np.testing.assert_array_equal(found, np.vstack([expected, [0, 0, 0, 1]]))
        assert (space, thickness) == (10, 25.0)

    @pytest.mark.parametrize(
        "point", [(7800.0, 3400.0, 1050.0), (10, 40, 100), (-3.25, 1e-7, 1234.567890123)]
    )
    def test_pir_to_xy_api_single(self, atldld, base_url, point):
        x, y, number, image_id = atldld.call(
            "atldld.utils:pir_to_xy_API_single", *point, CORONAL, reference_space=9
        )
        data_set = anyio.run(fetched, base_url, CORONAL)
        section, placed = geometry(data_set, image_id)
        assert number == section.section_number
        np.testing.assert_allclose((x, y), placed.reference_to_image(point), rtol=0, atol=1e-9)

    @pytest.mark.parametrize("point", [(0, 0), (812.0625, -7.5), (1e-7, 1212.9999999)])
    def test_xy_to_pir_api_single(self, atldld, base_url, point):
        found = atldld.call("atldld.utils:xy_to_pir_API_single", *point, SMALL_IMAGE)
        _, placed = geometry(anyio.run(fetched, base_url, SMALL), SMALL_IMAGE)
        np.testing.assert_allclose(found, placed.image_to_reference(point), rtol=0, atol=1e-9)

    def test_common_queries(self, atldld):
        queries = "atldld.utils:CommonQueries"
        assert atldld.call(f"{queries}.get_reference_space", SAGITTAL) == 10
        assert atldld.call(f"{queries}.get_axis", SAGITTAL) == "sagittal"
        assert atldld.call(f"{queries}.get_axis", CORONAL) == "coronal"
        with pytest.raises(Exception, match="maybe wrong dataset id"):
            atldld.call(f"{queries}.get_axis", 1)

    def test_a_request_that_fails_is_an_error(self, atldld):
        with pytest.raises(Exception, match="Request failed!"):
            atldld.call("atldld.utils:abi_get_request", "https://api.brain-map.org/api/v2/nothing")


class TestRequests:
    def test_rma_all_gives_every_row(self, atldld, atlas):
        parameters = atldld.make(
            "atldld.requests:RMAParameters",
            "SectionImage",
            criteria={"data_set": {"genes": {"acronym": "Prox1"}}},
            include=["alignment2d"],
        )
        rows = atldld.call("atldld.requests:rma_all", parameters)
        assert len(rows) == 18
        assert {row["alignment2d"]["section_image_id"] for row in rows} == {row["id"] for row in rows}
        assert len(atlas.tables["SectionImage"]) > 18

    def test_one_page_tells_its_rows(self, atldld):
        parameters = atldld.make(
            "atldld.requests:RMAParameters",
            "SectionImage",
            criteria={"data_set_id": SAGITTAL},
            start_row=4,
            num_rows=5,
        )
        status, rows = atldld.call("atldld.requests:rma", parameters)
        assert (status["success"], status["start_row"], status["num_rows"], status["total_rows"]) == (
            True,
            4,
            5,
            18,
        )
        assert len(rows) == 5

    @pytest.mark.parametrize(
        ("model", "criteria"), [("NoSuchModel", {"id": 1}), ("SectionImage", {"no_such_column": 1})]
    )
    def test_a_refusal_comes_as_rma_error(self, atldld, model, criteria):
        parameters = atldld.make("atldld.requests:RMAParameters", model, criteria=criteria)
        with pytest.raises(Exception, match="RMAError"):
            atldld.call("atldld.requests:rma_all", parameters)


class TestSync:
    def test_its_maps_are_ours_but_for_float32(self, atldld, base_url, atlas):
        section, placed = geometry(anyio.run(fetched, base_url, SMALL), SMALL_IMAGE)
        rng = np.random.default_rng(7)
        points = rng.uniform(0, 1700, (1000, 2))
        z = np.full((1000, 1), placed.volume_z_um)
        image_path = _saved(atldld, np.hstack([points, z]).T)
        tsv, tvs = (_saved(atldld, matrix(flat(atlas, SMALL_IMAGE), name)) for name in ("tsv", "tvs"))
        tvr, trv = (_saved(atldld, matrix(solid(atlas, SMALL), name)) for name in ("tvr", "trv"))
        pir = atldld.call("atldld.sync:xy_to_pir", image_path, tsv, tvr)
        np.testing.assert_allclose(pir.T, placed.image_to_reference(points), rtol=0, atol=0.01)
        back = atldld.call("atldld.sync:pir_to_xy", _saved(atldld, pir), tvs, trv)
        np.testing.assert_allclose(back[:2].T, placed.reference_to_image(pir.T), rtol=0, atol=0.01)
        assert section.id == SMALL_IMAGE

    def test_the_downloader_runs_through_a_data_set(self, atldld, base_url):
        data_set = anyio.run(fetched, base_url, SMALL)
        downloader = atldld.make(
            "atldld.sync:DatasetDownloader", SMALL, downsample_img=2, include_expression=True
        )
        downloader.call("fetch_metadata")
        assert downloader.call("__len__") == len(data_set.section_images)
        steps = atldld.call("builtins:list", downloader.make("run"))
        ordered = sorted(data_set.section_images, key=lambda each: -(each.section_number or 0))
        assert [step[0] for step in steps] == [each.id for each in ordered]
        for (image_id, coordinate, image, mask, field), section in zip(steps, ordered, strict=True):
            placed = data_set.geometry(section)
            assert coordinate == pytest.approx(placed.image_to_reference((0, 0))[0], abs=0.01)
            assert image.shape == mask.shape == (section.height >> 2, section.width >> 2, 3)
            assert field.shape == (2, 320, 456)
            theirs = jpeg_of(base_url, image_id, downsample=2, view="expression")
            assert np.abs(mask.astype(int) - decode(theirs)).max() <= 1

    def test_a_data_set_that_is_not_there_is_named(self, atldld):
        downloader = atldld.make("atldld.sync:DatasetDownloader", 1)
        with pytest.raises(Exception, match="DatasetNotFoundError"):
            downloader.call("fetch_metadata")


def _saved(atldld, array):
    """Hand an array over as a file."""
    path = Path(atldld.folder) / f"sent-{id(array)}-{np.random.default_rng().integers(2**62)}.npy"
    np.save(path, array)
    return {"$array": str(path)}


class Theirs:
    """What atldld makes of one image whose detection point is the middle."""

    def __init__(self, atldld, data_set, section, um, downsample):
        self._atldld = atldld
        height, width = section.shape
        downloader = atldld.make(
            "atldld.sync:DatasetDownloader",
            data_set.id,
            downsample_ref=um,
            detection_xy=[width / 2, height / 2],
            downsample_img=downsample,
        )
        downloader.call("fetch_metadata")
        metadata = atldld.hold(f"#{downloader.number}:metadata")
        images = atldld.make("operator:getitem", metadata, "images")
        place = [image["id"] for image in atldld.call("builtins:list", images)].index(section.id)
        only = atldld.make("operator:getitem", images, place)
        atldld.call("operator:setitem", metadata, "images", [only])
        self._step = atldld.make("builtins:next", downloader.make("run"))
        self.plane = Plane.nearest(data_set.geometry(section).trv)

    def _part(self, k):
        return self._atldld.make("operator:getitem", self._step, k)

    def warped(self, interpolation, shift=0.0):
        """Return its warped image, and where it samples it, in pixels of the tier; sagittal ones as ours lie."""
        field = self._part(4)
        if shift:
            deltas = self._atldld.call("operator:getitem", self._step, 4)
            x, y = (_saved(self._atldld, each + np.float32(shift)) for each in deltas)
            field = self._atldld.make("atldld.base:DisplacementField", x, y)
        image = field.call("warp", self._part(2), interpolation=interpolation)
        at = np.stack(field.read("transformation"), axis=-1).astype(np.float64)
        if self.plane is Plane.SAGITTAL:
            return image.transpose(1, 0, 2), at.transpose(1, 0, 2)
        return image, at


def ours_at(data_set, section, um, downsample):
    """Return where our parallel planes sample the image, in pixels of the tier, from the formulas."""
    placed = data_set.geometry(section)
    grid = ReferenceGrid(Plane.nearest(placed.trv), um, REFERENCE_BOXES_UM[data_set.reference_space_id])
    height, width = section.shape
    middle = (width / 2, height / 2)
    to_tier = full_to_tier(downsample) @ grid.grid_to_image(placed, parallel=True, detection_xy=middle)
    rows, columns = np.indices(grid.shape)
    return to_tier.apply(np.stack([columns, rows], axis=-1))


def compare(atldld, base_url, store, data_set_id, image_id, um, downsample, interpolation):
    """Return the largest difference in grey levels, the share of samples compared, and how much they vary."""
    data_set = anyio.run(fetched, base_url, data_set_id)
    section = one(each for each in data_set.section_images if each.id == image_id)
    theirs = Theirs(atldld, data_set, section, um, downsample)
    # Ours lie half a pixel of the difference between the tiers further up and left in the tier.
    shift = -(1 - 0.5**downsample) / 2
    image, at = theirs.warped(interpolation, shift)
    expected_at = ours_at(data_set, section, um, downsample)
    inside = ((at > -1) & (at < np.array([section.width, section.height]) / 2**downsample)).all(axis=-1)
    assert np.abs(at - expected_at)[inside].max() < FLOAT32_PX
    plane = registered(store, data_set_id, image_id)
    assert plane.shape == image.shape
    sure = np.ones(plane.shape[:2], dtype=bool)
    if interpolation == "nearest":
        to_border = np.abs(expected_at - np.floor(expected_at) - 0.5).min(axis=-1)
        sure = to_border > FLOAT32_PX
    difference = np.abs(plane.astype(int) - image.astype(int)).max(axis=-1)
    return difference[sure].max(), sure[inside].mean(), plane[inside].std()


def registered(store, data_set_id, image_id):
    data_set = store.data_set(data_set_id)
    z = data_set.read_registered_layout().z_by_image[image_id]
    return np.asarray(data_set.open_registered()[:, z]).transpose(1, 2, 0)


# What is compared, and why the two sample the same pixels there.
EQUAL = [
    # full resolution, one pixel a grid point
    pytest.param(SMALL, SMALL_IMAGE, 25, 0, "nearest", id="coronal, 25 µm, nearest"),
    # 1.2 full-resolution pixels a grid step
    pytest.param(SMALL, SMALL_IMAGE, 8, 0, "linear", id="coronal, 8 µm, linear"),
    # 26 µm a pixel, so that 25 µm is not averaged
    pytest.param(SMALL, SMALL_IMAGE, 25, 2, "linear", id="coronal, 25 µm, tier 2, linear"),
    # 34 µm a pixel
    pytest.param(SAGITTAL, SAGITTAL_IMAGE, 25, 5, "linear", id="sagittal, 25 µm, tier 5, linear"),
    pytest.param(SAGITTAL, SAGITTAL_IMAGE, 25, 3, "nearest", id="sagittal, 25 µm, tier 3, nearest"),
]


@pytest.mark.parametrize(("data_set_id", "image_id", "um", "downsample", "interpolation"), EQUAL)
def test_our_parallel_plane_is_its_warped_image(
    atldld, base_url, tmp_path, data_set_id, image_id, um, downsample, interpolation
):
    store = mirrored(
        base_url,
        f"image:{image_id}",
        tmp_path / "out.zarr",
        um=um,
        downsample=downsample,
        interpolation=interpolation,
        parallel=True,
        layers=("registered",),
    )
    worst, share, spread = compare(
        atldld, base_url, store, data_set_id, image_id, um, downsample, interpolation
    )
    assert worst <= 1
    assert share > 0.9
    assert spread > 10


class TestCommandLine:
    def test_search(self, atldld_command):
        assert f"* id: {SAGITTAL:10d}, genes:      Prox1, sagittal, 18 section images" in atldld_command(
            "search", "dataset", "--gene-name", "Prox1"
        )
        printed = atldld_command("search", "dataset", "-i", str(SMALL), "-p", "coronal")
        assert "1 dataset(s) found" in printed
        assert "No datasets found" in atldld_command("search", "dataset", "--specimen", "1")
        found = atldld_command("search", "image", "--dataset", str(SAGITTAL))
        assert "18 image(s) found" in found
        assert "1 image(s) found" in atldld_command("search", "image", "--id", str(SMALL_IMAGE))
        assert "18 image(s) found" in atldld_command("search", "image", "-g", "Prox1")

    def test_dataset_info(self, atldld_command):
        printed = atldld_command("dataset", "info", str(SAGITTAL))
        assert "Plane of section         : sagittal" in printed
        assert "Reference space          : 10 (P56 Brain, L/R Flipped)" in printed
        assert "Number of section images : 18" in printed

    def test_dataset_preview(self, atldld_command, tmp_path):
        atldld_command("dataset", "preview", str(SMALL), "-o", "plots")
        with Image.open(tmp_path / "plots" / f"dataset-id-{SMALL}-preview.png") as picture:
            assert picture.width > 1000

    def test_download_dataset(self, atldld_command, tmp_path):
        atldld_command("download", "dataset", str(SMALL), "out", "--downsample-img", "2", "-e")
        metadata = json.loads((tmp_path / "out" / "metadata.json").read_text())
        assert len(metadata["per_image"]) == 10
        for image_id in metadata["per_image"]:
            for name in (f"{image_id}.png", f"{image_id}_expr.png"):
                with Image.open(tmp_path / "out" / name) as picture:
                    assert picture.size == (456, 320)

    def test_download_image(self, atldld_command, tmp_path):
        atldld_command("download", "image", str(SMALL_IMAGE), "out", "--downsample-img", "1", "-e")
        for name in (f"{SMALL_IMAGE}-1.png", f"{SMALL_IMAGE}-1-expression.png"):
            with Image.open(tmp_path / "out" / name) as picture:
                assert picture.size == (1701 // 2, 1213 // 2)

    def test_info(self, atldld_command):
        assert "0.3.4" in atldld_command("info", "version")
        assert "XDG_CACHE_HOME" in atldld_command("info", "cache")
