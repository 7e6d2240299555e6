from __future__ import annotations

from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates

from asyncfetch.errors import SelectionError, StoreError
from asyncfetch.geometry import Affine2D, Box, full_to_tier, tiles_of
from asyncfetch.imaging import DisplacementField, warp

INTERPOLATIONS = ("nearest", "linear", "cubic", "lanczos")
#: Our borders as scipy names them.
SCIPY = {
    "constant": "grid-constant",
    "edge": "nearest",
    "reflect": "reflect",
    "mirror": "mirror",
    "wrap": "grid-wrap",
}


def turn(step, angle, tx, ty):
    cos, sin = step * np.cos(angle), step * np.sin(angle)
    return Affine2D(np.array([[cos, -sin, tx], [sin, cos, ty]]))


def noise(*shape):
    return np.random.default_rng(sum(shape)).integers(0, 256, shape, dtype=np.uint8)


def waves(shape, amplitude=8.0, dtype=np.float64):
    rng = np.random.default_rng(3)
    planes = [gaussian_filter(rng.normal(size=shape), 6) for _ in range(2)]
    return DisplacementField(*((amplitude * each / each.std()).astype(dtype) for each in planes))


def exact_linear(field, pixels, border, fill=0):
    x, y = np.moveaxis(field.positions(), -1, 0)
    planes = [
        map_coordinates(pixels[..., k].astype(float), [y, x], order=1, mode=SCIPY[border], cval=fill)
        for k in range(pixels.shape[2])
    ]
    return np.stack(planes, axis=-1)


def test_a_pixel_lies_at_its_own_place_plus_its_displacement():
    field = DisplacementField(np.full((2, 3), 10.0), np.full((2, 3), -1.0))
    assert field.positions()[1, 2].tolist() == [12.0, 0.0]
    assert field.positions(Box(1, 1, 2, 3)).tolist() == [[[11.0, 0.0], [12.0, 0.0]]]
    assert field.norm() == pytest.approx(np.full((2, 3), np.sqrt(101)))
    assert repr(field) == "DisplacementField(2 x 3, float64)"


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_field_of_an_affine_map_lies_where_the_map_says(dtype):
    grid_to_source = turn(1.3, 0.4, 5.5, -7)
    field = DisplacementField.from_affine(grid_to_source, (40, 60), dtype)
    y, x = np.mgrid[:40, :60]
    expected = grid_to_source.apply(np.stack([x, y], axis=-1))
    assert field.dtype == dtype
    tolerance = 1e-9 if dtype is np.float64 else 1e-4
    np.testing.assert_allclose(field.positions(), expected, rtol=0, atol=tolerance)
    again = DisplacementField.from_positions(expected, dtype)
    np.testing.assert_allclose(again.dx, field.dx, rtol=0, atol=tolerance)
    np.testing.assert_allclose(again.dy, field.dy, rtol=0, atol=tolerance)


def test_a_field_is_a_value():
    dx = np.zeros((2, 2))
    field = DisplacementField(dx, dx)
    dx[:] = 5
    assert field == DisplacementField(np.zeros((2, 2)), np.zeros((2, 2)))
    assert field != DisplacementField(dx, dx)
    assert field != "field"
    assert DisplacementField(np.full((1, 1), np.nan), np.zeros((1, 1))) == DisplacementField(
        np.full((1, 1), np.nan), np.zeros((1, 1))
    )
    with pytest.raises(ValueError, match="read-only"):
        field.dx[0] = 1
    with pytest.raises(FrozenInstanceError):
        field.dx = dx
    with pytest.raises(TypeError, match="unhashable"):
        hash(field)


@pytest.mark.parametrize(
    ("dx", "dy"),
    [
        (np.zeros((2, 3)), np.zeros((3, 2))),
        (np.zeros(3), np.zeros(3)),
        (np.zeros((0, 3)), np.zeros((0, 3))),
        (np.full((2, 2), np.inf), np.zeros((2, 2))),
    ],
)
def test_what_is_no_field_is_refused(dx, dy):
    with pytest.raises(SelectionError):
        DisplacementField(dx, dy)


def test_integers_become_float64():
    assert (
        DisplacementField(np.ones((2, 2), dtype=int), np.ones((2, 2), dtype=np.float32)).dtype == np.float64
    )


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("step", [0.6, 1.02, 1.45])
def test_the_field_of_an_affine_map_warps_as_the_map_does(interpolation, step):
    source = noise(300, 330, 3)
    shape = (280, 300) if interpolation != "lanczos" else (130, 270)
    grid_to_source = turn(step, 0.1, 9.3, -20.8)
    expected = warp(source, grid_to_source, shape, interpolation=interpolation, fill=30)
    field = DisplacementField.from_affine(grid_to_source, shape)
    found = field.warp(source, interpolation=interpolation, fill=30)
    difference = np.abs(found.astype(int) - expected)
    if interpolation == "nearest":
        # Where a position is as good as between two pixels, either will do.
        to_border = np.abs(field.positions() % 1 - 0.5).min(axis=-1)
        difference[to_border < 1e-3] = 0
    assert difference.max() <= 1
    assert expected.std() > 20


@pytest.mark.parametrize("n_channels", [1, 3, 4])
@pytest.mark.parametrize("border", SCIPY)
def test_linear_sampling_agrees_with_scipy_in_float64(border, n_channels):
    pixels = noise(50, 40, n_channels)
    # Twice as large as the image on either side, and not aligned with it.
    field = DisplacementField.from_affine(turn(0.9, 0.2, -61.3, -70.7), (270, 200))
    found = field.warp(pixels, border=border, fill=40)
    assert np.abs(found - exact_linear(field, pixels, border, 40)).max() <= 0.51


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("border", SCIPY)
@pytest.mark.parametrize("side", [1, 2, 5])
def test_a_tiny_image_is_sampled_as_its_padding_is(border, interpolation, side):
    pixels = noise(side, side + 1, 3)
    pad = 24
    mode = {
        "constant": "constant",
        "edge": "edge",
        "reflect": "symmetric",
        "mirror": "reflect",
        "wrap": "wrap",
    }
    options = {"constant_values": 9} if border == "constant" else {}
    padded = np.pad(pixels, ((pad, pad), (pad, pad), (0, 0)), mode=mode[border], **options)
    field = waves((30, 30), amplitude=2.0)
    expected = field.then(Affine2D.translation(pad - 15, pad - 15)).warp(padded, interpolation=interpolation)
    found = field.then(Affine2D.translation(-15, -15)).warp(
        pixels, interpolation=interpolation, border=border, fill=9
    )
    assert np.abs(found.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_boxes_assembled_are_the_whole(interpolation):
    source = noise(300, 420, 3)
    shape = (270, 70) if interpolation == "lanczos" else (300, 350)
    field = waves(shape)
    whole = field.warp(source, interpolation=interpolation, fill=7)
    for tile in ((97, 131), (256, 256), (300, 64)):
        assembled = np.full_like(whole, 99)
        for box in tiles_of(shape, tile):
            assembled[box.slices] = field.warp(source, interpolation=interpolation, fill=7, box=box)
        assert np.array_equal(assembled, whole)


@pytest.mark.parametrize("jump", [0.0, 900.0], ids=["smooth", "torn"])
@pytest.mark.parametrize("interpolation", ["nearest", "linear", "cubic"])
def test_each_channel_is_warped_as_if_it_were_alone(interpolation, jump):
    source = np.random.default_rng(3).integers(0, 256, (1200, 1300, 3), dtype=np.uint8)
    dx = np.linspace(0.2, 40.9, 120 * 130).reshape(120, 130)
    dx[:, 65:] += jump
    field = DisplacementField(dx, np.cos(dx) + jump / 3)

    together = field.warp(source, interpolation=interpolation)

    for k in range(3):
        alone = field.warp(source[..., k : k + 1], interpolation=interpolation)
        assert np.array_equal(together[..., k], alone[..., 0])


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("border", SCIPY)
def test_a_field_that_jumps_is_sampled_as_one_that_does_not(interpolation, border):
    source = noise(40, 3000, 3)
    smooth = DisplacementField.from_affine(turn(1.05, 0.05, 2700.4, -5.2), (32, 64))
    # The same positions, and one far away that makes the block see the whole width.
    dx = smooth.dx.copy()
    dx[0, 0] = -2.0
    jumping = DisplacementField(dx, smooth.dy)
    options = {"interpolation": interpolation, "border": border, "fill": 20}
    expected, found = smooth.warp(source, **options), jumping.warp(source, **options)
    difference = np.abs(found.astype(int) - expected)
    difference[0, 0] = 0
    assert difference.max() <= 1


def test_an_image_beyond_the_limit_of_opencv_is_sampled():
    source = noise(3, 40_000, 1)
    field = DisplacementField.from_affine(Affine2D.translation(39_000.25, 0), (3, 990))
    exact = exact_linear(field, source, "constant")
    assert np.abs(field.warp(source) - exact).max() <= 0.51
    backwards = DisplacementField.from_affine(Affine2D(np.array([[-40.0, 0, 39_990], [0, 1, 0]])), (3, 990))
    assert np.array_equal(backwards.warp(source)[:, :, 0], source[:, 39_990::-40, 0][:, :990])


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_one_block_can_see_more_than_opencv_takes(interpolation):
    source = noise(5, 40_000, 3)
    every_200th = DisplacementField.from_affine(Affine2D(np.array([[200.0, 0, 7], [0, 1, 0]])), (5, 199))
    found = every_200th.warp(source, interpolation=interpolation, border="edge")
    assert np.array_equal(found, source[:, 7::200][:, :199])


@pytest.mark.parametrize("border", SCIPY)
def test_pixels_that_lie_nowhere_are_filled(border):
    source = noise(20, 20, 3)
    dx = np.zeros((20, 20))
    dx[3, 4] = np.nan
    found = DisplacementField(dx, np.zeros((20, 20))).warp(source, border=border, fill=77)
    assert (found[3, 4] == 77).all()
    found[3, 4] = source[3, 4]
    assert np.array_equal(found, source)
    nowhere = DisplacementField(np.full((4, 4), np.nan), np.zeros((4, 4)))
    assert (nowhere.warp(source, border=border, fill=5) == 5).all()


def test_a_distant_displacement_is_outside_and_no_error():
    far = DisplacementField(np.full((4, 4), 1e300), np.full((4, 4), -1e300))
    assert (far.warp(noise(9, 9, 3), fill=3) == 3).all()
    assert (far.warp(noise(9, 9, 3), border="edge") == noise(9, 9, 3)[0, -1]).all()


def test_composed_affine_fields_are_the_field_of_the_product():
    outer, inner = turn(1.1, 0.3, 20, 10), turn(0.7, -0.2, 15, 22)
    shape = (160, 220)
    field = DisplacementField.from_affine(outer, (150, 160))
    composed = field.compose(DisplacementField.from_affine(inner, shape))
    expected = DisplacementField.from_affine(outer @ inner, shape)
    x, y = np.moveaxis(DisplacementField.from_affine(inner, shape).positions(), -1, 0)
    is_inside = (x >= -0.5) & (x <= 159.5) & (y >= -0.5) & (y <= 149.5)
    assert 0.5 < is_inside.mean() < 1
    assert np.abs(composed.positions() - expected.positions())[is_inside].max() < 1e-6
    assert np.isnan(composed.norm()[~is_inside]).all()
    assert composed.shape == shape


def test_positions_outside_of_the_first_field_lie_nowhere():
    field = DisplacementField(np.zeros((10, 20)), np.zeros((10, 20)))
    for tx, ty, n_columns, n_rows in ((4, 0, 16, 10), (-4, 0, 16, 10), (0, 3, 20, 7), (0, -3, 20, 7)):
        composed = field.compose(DisplacementField.from_affine(Affine2D.translation(tx, ty), (10, 20)))
        is_somewhere = ~np.isnan(composed.norm())
        assert is_somewhere.any(axis=0).sum() == n_columns
        assert is_somewhere.any(axis=1).sum() == n_rows


def test_composing_does_in_one_sampling_what_two_warps_do():
    source = np.repeat(gaussian_filter(noise(200, 200).astype(float), 6)[..., None], 3, axis=-1)
    source = np.clip((source - source.mean()) * 12 + 128, 0, 255).astype(np.uint8)
    first, second = waves((180, 190), amplitude=3), waves((150, 160), amplitude=2)
    # Away from the borders, where fill is blended in once or twice.
    second = second.then(Affine2D.translation(15, 15))
    once = first.compose(second).warp(source)[10:-10, 10:-10].astype(int)
    twice = second.warp(first.warp(source))[10:-10, 10:-10].astype(int)
    assert once.std() > 10
    assert np.abs(once - twice).mean() < 0.6
    assert np.abs(once - twice).max() <= 6


def test_float32_stays_float32():
    field = waves((20, 20), dtype=np.float32)
    for each in (field.compose(field), field.scale(2), field.resize((7, 9)), field.then(full_to_tier(1))):
        assert each.dtype == np.float32
    assert field.compose(waves((20, 20))).dtype == np.float64


def test_scaling_lengthens_displacements():
    field = waves((20, 30))
    assert np.array_equal(field.scale(-2.5).dx, -2.5 * field.dx)
    assert field.scale(1) == field
    np.testing.assert_allclose(field.scale(-3).norm(), 3 * field.norm(), rtol=1e-12)


@pytest.mark.parametrize("shape", [(40, 60), (80, 90), (13, 17), (1, 1), (7, 120)])
def test_a_resized_affine_field_is_the_field_of_the_other_grid(shape):
    grid_to_source = turn(1.3, 0.4, 5.5, -7)
    sy, sx = 40 / shape[0], 60 / shape[1]
    to_old = Affine2D.translation(sx / 2 - 0.5, sy / 2 - 0.5) @ Affine2D.scaling(sx, sy)
    resized = DisplacementField.from_affine(grid_to_source, (40, 60)).resize(shape)
    expected = DisplacementField.from_affine(grid_to_source @ to_old, shape)
    np.testing.assert_allclose(resized.positions(), expected.positions(), rtol=0, atol=1e-9)


def test_a_field_of_one_pixel_can_be_resized_and_composed():
    field = DisplacementField(np.full((1, 1), 2.0), np.full((1, 1), 3.0))
    assert field.resize((1, 2)).positions().tolist() == [[[1.75, 3.0], [2.25, 3.0]]]
    assert np.isnan(field.compose(field).norm()).all()
    still = DisplacementField(np.zeros((1, 1)), np.zeros((1, 1)))
    assert field.compose(still) == field
    with pytest.raises(SelectionError, match="at least one pixel"):
        field.resize((0, 3))


def test_positions_can_go_on_to_a_tier():
    field = waves((20, 20))
    np.testing.assert_allclose(
        field.then(full_to_tier(2)).positions(), full_to_tier(2).apply(field.positions()), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_what_is_saved_is_loaded(tmp_path, dtype):
    field = waves((20, 30), dtype=dtype)
    path = field.save(tmp_path / "field.npz")
    plain = tmp_path / "plain"
    plain.write_bytes(b"")
    assert path.stat().st_mode == plain.stat().st_mode, "as the umask says"
    plain.unlink()
    loaded = DisplacementField.load(path)
    assert loaded == field
    assert loaded.dtype == dtype
    waves((5, 5)).save(path)
    assert DisplacementField.load(str(path)).shape == (5, 5)
    assert list(tmp_path.iterdir()) == [tmp_path / "field.npz"]


def test_the_layout_of_atldld_is_one_array_of_float32(tmp_path):
    field = waves((20, 30), dtype=np.float32)
    path = field.save(tmp_path / "field.npy")
    array = np.load(path)
    assert array.dtype == np.float32
    assert np.array_equal(array, np.stack([field.dx, field.dy], axis=-1))
    assert DisplacementField.load(path) == field


def test_a_field_that_cannot_be_written_leaves_nothing(tmp_path):
    (tmp_path / "field.npz").mkdir()
    with pytest.raises(StoreError, match="cannot be written"):
        waves((5, 5)).save(tmp_path / "field.npz")
    with pytest.raises(StoreError, match="cannot be written"):
        waves((5, 5)).save(tmp_path / "none" / "field.npz")
    with pytest.raises(SelectionError, match=r"\.npz"):
        waves((5, 5)).save(tmp_path / "field.png")
    assert list(tmp_path.iterdir()) == [tmp_path / "field.npz"]


@pytest.mark.parametrize("kind", ["text", "empty", "plane", "other", "infinite", "cut", "objects"])
def test_a_file_without_a_field_is_named(tmp_path, kind):
    path = tmp_path / "x.npz"
    if kind == "text":
        path.write_text("dx, dy")
    elif kind == "empty":
        path.touch()
    elif kind == "plane":
        with path.open("wb") as file:
            np.save(file, np.zeros((3, 4)))
    elif kind == "other":
        np.savez(path, dx=np.zeros((2, 2)))
    elif kind == "infinite":
        np.savez(path, dx=np.full((2, 2), np.inf), dy=np.zeros((2, 2)))
    elif kind == "objects":
        np.savez(path, dx=np.array([{}]), dy=np.zeros((2, 2)))
    else:
        waves((20, 20)).save(path)
        path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(StoreError, match=r"x\.npz holds no displacement field"):
        DisplacementField.load(path)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(StoreError, match=r"x\.npz cannot be read: No such file"):
        DisplacementField.load(tmp_path / "x.npz")


@pytest.mark.parametrize(
    ("pixels", "options", "message"),
    [
        (np.zeros((3, 3), dtype=np.uint8), {}, "channels"),
        (np.zeros((3, 3, 3)), {}, "uint8"),
        (np.zeros((3, 3, 3), dtype=np.uint8), {"interpolation": "area"}, "nearest, linear"),
        (np.zeros((3, 3, 3), dtype=np.uint8), {"border": "replicate"}, "constant, edge"),
        (np.zeros((3, 3, 3), dtype=np.uint8), {"fill": 256}, "0 to 255"),
        (np.zeros((3, 3, 3), dtype=np.uint8), {"box": Box(0, 0, 9, 9)}, "does not lie within"),
    ],
)
def test_what_does_not_fit_is_refused(pixels, options, message):
    with pytest.raises(SelectionError, match=message):
        waves((5, 5)).warp(pixels, **options)


def test_positions_have_two_numbers():
    with pytest.raises(SelectionError, match="positions"):
        DisplacementField.from_positions(np.zeros((3, 4, 3)))


def test_a_crop_whose_rows_lie_apart_or_channels_turned_is_sampled_alike():
    source = noise(60, 80, 3)
    field = waves((50, 50), amplitude=4)
    expected = field.warp(source)
    apart = np.zeros((60, 200, 3), dtype=np.uint8)
    apart[:, 50:130] = source
    assert np.array_equal(field.warp(apart[:, 50:130]), expected)
    assert np.array_equal(field.warp(source[..., ::-1])[..., ::-1], expected)
