"""Displacement fields and the stream of sections beside those of atldld 0.3.4, unmodified."""

from __future__ import annotations

from pathlib import Path

import anyio
import numpy as np
import pytest

import asyncfetch
from asyncfetch.geometry import Affine2D, Plane
from asyncfetch.imaging import DisplacementField
from asyncfetch.settings import Settings

pytestmark = pytest.mark.timeout(600)

SMALL, SAGITTAL = 900000005, 69289763
#: Pixels by which coordinates in float32 may be off.
FLOAT32_PX = 0.01
#: Our borders as OpenCV, and so atldld, names them.
BORDERS = {
    "constant": "constant",
    "edge": "replicate",
    "reflect": "reflect",
    "mirror": "reflect_101",
    "wrap": "wrap",
}


def sent(atldld, array):
    """Hand an array over as a file."""
    path = Path(atldld.folder) / f"field-{np.random.default_rng().integers(2**62)}.npy"
    np.save(path, array)
    return {"$array": str(path)}


def theirs(atldld, field):
    return atldld.make("atldld.base:DisplacementField", sent(atldld, field.dx), sent(atldld, field.dy))


def wavy(shape, amplitude):
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float64)
    dx = amplitude * np.sin(y / 13 + x / 31) + 0.37
    dy = amplitude * np.cos(x / 17 - y / 29) - 0.21
    return DisplacementField(dx.astype(np.float32), dy.astype(np.float32))


def test_files_go_either_way(atldld, tmp_path):
    field = wavy((31, 45), 6)
    theirs(atldld, field).call("save", atldld.make("pathlib:Path", str(tmp_path / "a.npy")))
    assert DisplacementField.load(tmp_path / "a.npy") == field
    field.save(tmp_path / "b.npy")
    found = atldld.call("atldld.base:DisplacementField.from_file", str(tmp_path / "b.npy"))
    assert np.array_equal(found, np.stack([field.dx, field.dy]))


def test_the_field_of_an_affine_map_is_theirs(atldld):
    matrix = np.array([[1.1, 0.2, 3.0], [-0.1, 0.9, 5.0]])
    ours = DisplacementField.from_affine(Affine2D(matrix), (40, 60))
    dx, dy = atldld.call("atldld.base:affine", [40, 60], sent(atldld, np.vstack([matrix, [0, 0, 1]])))
    np.testing.assert_allclose(dx, ours.dx, rtol=0, atol=1e-4)
    np.testing.assert_allclose(dy, ours.dy, rtol=0, atol=1e-4)


def test_the_simple_map_is_a_matrix(atldld):
    sx, sy, turn, shear, tx, ty = 1.2, 0.8, 0.3, 0.2, 4.0, -3.0
    dx, dy = atldld.call(
        "atldld.base:affine_simple",
        [40, 60],
        scale_x=sx,
        scale_y=sy,
        rotation=turn,
        translation_x=tx,
        translation_y=ty,
        shear=shear,
        apply_centering=False,
    )
    matrix = [
        [sx * np.cos(turn), -sy * np.sin(turn + shear), tx],
        [sx * np.sin(turn), sy * np.cos(turn + shear), ty],
    ]
    ours = DisplacementField.from_affine(Affine2D(np.array(matrix)), (40, 60))
    np.testing.assert_allclose(dx, ours.dx, rtol=0, atol=1e-4)
    np.testing.assert_allclose(dy, ours.dy, rtol=0, atol=1e-4)


def test_positions_lengths_and_multiples_are_theirs(atldld):
    field = wavy((31, 45), 6)
    other = theirs(atldld, field)
    x, y = other.read("transformation")
    np.testing.assert_allclose(np.stack([x, y], axis=-1), field.positions(), rtol=0, atol=1e-5)
    np.testing.assert_allclose(other.read("norm"), field.norm(), rtol=1e-6)
    assert np.array_equal(other.call("__mul__", 2.5), np.stack([field.scale(2.5).dx, field.scale(2.5).dy]))
    again = atldld.make("atldld.base:DisplacementField.from_transform", sent(atldld, x), sent(atldld, y))
    ours = DisplacementField.from_positions(np.stack([x, y], axis=-1), np.float32)
    dx, dy = atldld.read(f"#{again.number}:delta_x"), atldld.read(f"#{again.number}:delta_y")
    np.testing.assert_allclose(dx, ours.dx, rtol=0, atol=1e-5)
    np.testing.assert_allclose(dy, ours.dy, rtol=0, atol=1e-5)


@pytest.mark.parametrize("interpolation", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("amplitude", [4, 60])
def test_our_warped_image_is_theirs(atldld, border, interpolation, amplitude):
    # As large as the grid, which theirs must be.
    shape = (90, 120)
    image = np.random.default_rng(2).integers(0, 256, (*shape, 3), dtype=np.uint8)
    field = wavy(shape, amplitude)
    expected = theirs(atldld, field).call(
        "warp", sent(atldld, image), interpolation=interpolation, border_mode=BORDERS[border], c=90
    )
    # OpenCV takes a single level for the first channel alone.
    fill = 90 if border == "constant" else 0
    channels = slice(0, 1) if border == "constant" else slice(None)
    found = field.warp(image, interpolation=interpolation, border=border, fill=fill)
    difference = np.abs(found.astype(int) - expected)[..., channels]
    if interpolation == "nearest":
        # Where a position is as good as between two pixels, either will do.
        difference[np.abs(field.positions() % 1 - 0.5).min(axis=-1) < 1e-3] = 0
    assert difference.max() <= 1
    assert expected.std() > 20


async def streamed(base_url, data_set_id, **options):
    settings = Settings(base_url=base_url, requests_per_s=1000)
    async with (
        asyncfetch.Client(settings=settings) as client,
        client.open_sections(data_set_id, **options) as sections,
    ):
        return [section async for section in sections]


@pytest.mark.parametrize(
    ("data_set_id", "um", "downsample"), [(SMALL, 25, 0), (SMALL, 50, 2), (SAGITTAL, 100, 5)]
)
def test_the_stream_gives_the_five_that_the_downloader_gives(atldld, base_url, data_set_id, um, downsample):
    found = anyio.run(
        lambda: streamed(
            base_url, data_set_id, um=um, downsample=downsample, parallel=True, detection_xy=(0, 0)
        )
    )
    downloader = atldld.make(
        "atldld.sync:DatasetDownloader",
        data_set_id,
        downsample_ref=um,
        downsample_img=downsample,
        include_expression=True,
    )
    downloader.call("fetch_metadata")
    steps = atldld.call("builtins:list", downloader.make("run"))
    ours = sorted(found, key=lambda each: -each.section_number)
    assert [each.image_id for each in ours] == [step[0] for step in steps]
    # Theirs puts the middle of the first full-resolution pixel on that of the first pixel of the tier.
    shift = (1 - 0.5**downsample) / 2
    for each, (_, coordinate, image, mask, (dx, dy)) in zip(ours, steps, strict=True):
        assert each.error is None
        assert each.slice_coordinate_um == pytest.approx(coordinate, abs=0.01)
        assert np.abs(each.pixels.astype(int) - image).max() <= 1
        assert np.abs(each.expression.astype(int) - mask).max() <= 1
        at = each.displacement_field().positions()
        if each.grid.plane is Plane.SAGITTAL:
            at = at.transpose(1, 0, 2)
        field = DisplacementField(dx, dy)
        scale = max(1.0, np.abs(at).max() / 1000)
        assert np.abs(at - (field.positions() - shift)).max() < FLOAT32_PX * scale
