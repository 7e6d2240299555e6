from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from asyncfetch.geometry import (
    REFERENCE_BOXES_UM,
    Affine2D,
    Affine3D,
    Box,
    Plane,
    ReferenceGrid,
    SectionGeometry,
    full_to_tier,
    source_box,
    tier_for,
    tier_to_full,
    tiles_of,
)

OFFSETS = st.floats(-2e4, 2e4)
COORDINATES = st.floats(-5e4, 5e4)
TILTS = st.floats(-0.2, 0.2)
POINTS_2D = st.lists(st.tuples(COORDINATES, COORDINATES), min_size=1, max_size=8)
POINTS_3D = st.lists(st.tuples(COORDINATES, COORDINATES, COORDINATES), min_size=1, max_size=8)


@st.composite
def affines(draw, cls=Affine2D):
    """Draw a well-conditioned map: a permuted, scaled and sheared grid, as registrations are."""
    n = 2 if cls is Affine2D else 3
    scale = draw(st.floats(0.3, 3))
    order = draw(st.permutations(range(n)))
    linear = np.eye(n)[order] + [[draw(TILTS) for _ in range(n)] for _ in range(n)]
    offset = [draw(OFFSETS) for _ in range(n)]
    return cls(np.column_stack([scale * linear, offset]))


@st.composite
def sections(draw):
    trv, tvs = draw(affines(Affine3D)), draw(affines(Affine2D))
    return SectionGeometry(
        tsv=tvs.inverse(),
        tvs=tvs,
        tvr=trv.inverse(),
        trv=trv,
        section_number=draw(st.integers(0, 600)),
        section_thickness_um=draw(st.sampled_from([25.0, 50.0])),
    )


@given(affines(), POINTS_2D)
def test_inverse_composes_to_identity_in_the_plane(affine, points):
    assert np.allclose((affine.inverse() @ affine).matrix, Affine2D.identity().matrix, rtol=0, atol=1e-9)
    assert np.allclose(affine.inverse().apply(affine.apply(points)), points, rtol=0, atol=1e-8)


@given(affines(Affine3D), POINTS_3D)
def test_inverse_composes_to_identity_in_space(affine, points):
    assert np.allclose((affine @ affine.inverse()).matrix, Affine3D.identity().matrix, rtol=0, atol=1e-9)
    assert np.allclose(affine.inverse().apply(affine.apply(points)), points, rtol=0, atol=1e-8)


@given(affines(), affines(), affines(), POINTS_2D)
def test_composition_associates_with_apply(a, b, c, points):
    assert np.allclose((a @ b).apply(points), a.apply(b.apply(points)), rtol=1e-12, atol=1e-7)
    assert np.allclose(((a @ b) @ c).matrix, (a @ (b @ c)).matrix, rtol=1e-12, atol=1e-7)


@given(affines())
def test_api_numbers_and_matrices_are_the_same_map(affine):
    assert Affine2D.from_api(affine.to_api()) == affine
    assert Affine2D.from_matrix(affine.matrix) == affine


@given(sections(), POINTS_2D)
def test_image_to_reference_and_back_is_where_it_began(section, points):
    back = section.reference_to_image(section.image_to_reference(points))
    assert np.allclose(back, points, rtol=0, atol=1e-6)


@given(sections(), POINTS_2D)
def test_the_matrix_and_the_points_agree(section, points):
    homogeneous = np.column_stack([points, np.ones(len(points))])
    by_matrix = homogeneous @ section.image_to_reference_matrix().T
    assert np.allclose(by_matrix, section.image_to_reference(points), rtol=1e-12, atol=1e-7)
    in_steps = section.tvr.apply(
        np.column_stack([section.tsv.apply(points), np.full(len(points), section.volume_z_um)])
    )
    assert np.allclose(by_matrix, in_steps, rtol=1e-12, atol=1e-7)


@given(sections(), st.floats(1, 200), st.integers(0, 13200), st.integers(0, 13200))
def test_grid_points_lie_on_the_plane_above_their_position(section, um, ix, iy):
    plane = Plane.nearest(section.trv)
    grid = ReferenceGrid(plane, um, REFERENCE_BOXES_UM[9])
    point = grid.grid_to_reference(section) @ [ix, iy, 1]
    equation = section.plane_equation()
    scale = max(1.0, np.abs(point).max())
    assert abs(equation[:3] @ point + equation[3]) < 1e-12 * scale
    assert np.allclose(point[[plane.x_axis, plane.y_axis]], grid.index_to_um([ix, iy]), rtol=1e-12)


@given(sections(), st.floats(1, 200), st.integers(0, 500), st.integers(0, 500), st.booleans())
def test_grid_to_image_is_reference_to_image_of_grid_to_reference(section, um, ix, iy, parallel):
    grid = ReferenceGrid(Plane.nearest(section.trv), um, REFERENCE_BOXES_UM[9])
    choice = {"parallel": parallel, "detection_xy": (2000.0, 1000.0)}
    reference = grid.grid_to_reference(section, **choice) @ [ix, iy, 1]
    expected = section.reference_to_image(reference)
    assert np.allclose(grid.grid_to_image(section, **choice).apply((ix, iy)), expected, rtol=1e-9, atol=1e-6)


@given(st.integers(0, 16), st.integers(0, 16))
def test_tiers_are_half_pixel_exact_and_compose(a, b):
    assert tier_to_full(a) @ tier_to_full(b) == tier_to_full(a + b)
    assert full_to_tier(a) @ full_to_tier(b) == full_to_tier(a + b)
    assert tier_to_full(a) @ full_to_tier(a) == Affine2D.identity()
    assert full_to_tier(a + b) @ tier_to_full(a) == full_to_tier(b)


@given(st.floats(0.1, 500), st.floats(0.05, 10), st.none() | st.integers(1, 12))
def test_no_coarser_tier_would_do(um, resolution_um, tier_count):
    tier = tier_for(um, resolution_um, tier_count)
    assert tier >= 0
    assert tier == 0 or resolution_um * 2**tier * 2 <= um
    if tier_count is None or tier + 1 < tier_count:
        assert resolution_um * 2 ** (tier + 1) * 2 > um
    else:
        assert tier < tier_count


@given(st.integers(0, 70), st.integers(0, 70), st.integers(1, 40), st.integers(1, 40))
def test_tiles_cover_a_shape_exactly_once(height, width, tile_height, tile_width):
    count = np.zeros((height, width), dtype=int)
    for box in tiles_of((height, width), (tile_height, tile_width)):
        assert not box.is_empty
        assert box.y0 % tile_height == box.x0 % tile_width == 0
        count[box.slices] += 1
    assert (count == 1).all()


@given(
    st.floats(0.05, 4),
    st.floats(-3.2, 3.2),
    st.floats(-60, 60),
    st.floats(-60, 60),
    st.integers(-20, 60),
    st.integers(-20, 60),
    st.integers(1, 20),
    st.integers(0, 3),
)
def test_a_source_box_holds_every_pixel_that_sampling_touches(scale, angle, tx, ty, y0, x0, side, margin):
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    grid_to_source = Affine2D(np.array([[cos, -sin, tx], [sin, cos, ty]]))
    tile = Box(y0, x0, y0 + side, x0 + side + 3)
    height, width = 40, 50
    box = source_box(grid_to_source, tile, margin, (height, width))
    y, x = np.mgrid[tile.y0 : tile.y1, tile.x0 : tile.x1]
    below = np.floor(grid_to_source.apply(np.stack([x, y], axis=-1))).astype(int)
    for reach in range(-margin, margin + 2):
        for axis, size, low, high in ((0, width, box.x0, box.x1), (1, height, box.y0, box.y1)):
            other = 1 - axis
            other_size = height if axis == 0 else width
            # Only pixels of the source count, so the other axis must reach into it as well.
            reaches = (below[..., other] + margin + 1 >= 0) & (below[..., other] - margin < other_size)
            touched = below[..., axis][reaches] + reach
            touched = touched[(touched >= 0) & (touched < size)]
            assert ((touched >= low) & (touched < high)).all()
