from __future__ import annotations

import msgspec
import numpy as np
import pytest

from asyncfetch.allen import parse_data_set
from asyncfetch.errors import AlignmentError
from asyncfetch.geometry import Plane
from asyncfetch.layout.recipe import CHOSEN, Recipe, interpolation_of
from asyncfetch.planning import plan_view, registered_grid, tier_of
from asyncfetch.settings import Settings
from asyncfetch.store import Commit

TSV = (1.62982, 0.0243755, -0.0243755, 1.62982, 3051.75, 2776.39)
TVS = (0.613428, -0.0091744, 0.0091744, 0.613428, -1846.56, -1731.11)
TRV = (0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0)


def row(image_id, number, *, aligned=True, **fields):
    alignment = {"id": 1, "section_image_id": image_id}
    alignment |= {f"tsv_0{i}": value for i, value in enumerate(TSV)}
    alignment |= {f"tvs_0{i}": value for i, value in enumerate(TVS)}
    return {
        "id": image_id,
        "data_set_id": 479,
        "section_number": number,
        "width": 4536,
        "height": 4016,
        "resolution": 1.63,
        "tier_count": 6,
        "failed": False,
        "alignment2d": alignment if aligned else None,
    } | fields


def data_set_of(*rows, **fields):
    alignment = {"id": 2, "aligned_id": 479, "aligned_type": "DataSet"}
    alignment |= {f"trv_{i:02}": value for i, value in enumerate(TRV)}
    alignment |= {f"tvr_{i:02}": value for i, value in enumerate(TRV)}
    record = {
        "id": 479,
        "reference_space_id": 9,
        "plane_of_section_id": 1,
        "section_thickness": 25.0,
        "failed": False,
        "alignment3d": alignment,
    } | fields
    return parse_data_set(record, rows)


DATA_SET = data_set_of(row(11, 12), row(12, 4), row(10, 20))
SLOTS = {12: 0, 11: 1, 10: 2}


def commit_of(section, **fields):
    values = {
        "image_id": section.id,
        "data_set_id": 479,
        "view": "image",
        "layers": ("source", "registered"),
        "record": section.record,
        "url": "",
        "sha256": "",
        "size_bytes": 1,
        "shape": (1004, 1134),
        "downsample": 2,
        "resolution_um": 1.63,
        "time": "",
    }
    recipe = {"um": 25.0, "space": 9} | {name: fields.pop(name) for name in CHOSEN if name in fields}
    return Commit(**(values | fields), recipe=Recipe(**recipe))


def plan(settings=None, *, data_set=DATA_SET, commits=None, image_ids=None, slots=SLOTS, view="image"):
    return plan_view(data_set, view, settings or Settings(), commits or {}, slots, image_ids)


def only(view_plan):
    (section,) = view_plan.to_fetch
    return section


def test_sections_come_in_the_order_of_their_numbers():
    assert [each.section.id for each in plan().to_fetch] == [12, 11, 10]
    assert [each.z for each in plan().to_fetch] == [0, 1, 2]
    assert plan().n_sections == 3


def test_only_the_images_that_are_wanted_are_planned():
    assert [each.section.id for each in plan(image_ids={10, 999}).to_fetch] == [10]


def test_fetched_and_committed_sections_cover_the_selection_once():
    commits = {section.id: commit_of(section) for section in DATA_SET.section_images if section.id != 11}
    found = plan(commits=commits)
    assert found.committed == (12, 10)
    assert only(found).section.id == 11


@pytest.mark.parametrize(
    ("settings", "tier", "n_halvings"),
    [
        ({}, 2, 0),
        ({"um": 10}, 1, 0),
        ({"um": 100}, 4, 0),
        ({"um": 1e5}, 5, 3),
        ({"um": "full"}, 0, 0),
        ({"downsample": 0}, 0, 2),
        ({"downsample": 0, "um": 200}, 0, 3),
        ({"downsample": 4}, 4, 0),
    ],
)
def test_the_tier_is_the_coarsest_of_which_two_pixels_fit_a_step(settings, tier, n_halvings):
    chosen = Settings.from_layers(settings)
    section = only(plan(chosen, image_ids={10}))
    assert section.downsample == tier == tier_of(section.section, chosen)
    assert section.request.downsample == (tier or None)
    assert section.shape == (4016 >> tier, 4536 >> tier)
    assert section.n_halvings == n_halvings


def test_a_section_without_a_resolution_is_fetched_in_full():
    section = only(plan(data_set=data_set_of(row(10, 20, resolution=None)), image_ids={10}))
    assert (section.downsample, section.n_halvings) == (0, 0)


def test_the_grid_is_that_of_the_space_at_the_pitch():
    grid = registered_grid(DATA_SET, Settings())
    assert (grid.plane, grid.um, grid.shape) == (Plane.CORONAL, 25.0, (320, 456))
    finest = data_set_of(row(1, 4), row(2, 8, resolution=1.049), row(3, 12, resolution=None))
    assert registered_grid(finest, Settings(um="full")).um == 1.049


def test_a_place_on_the_grid_is_the_place_in_the_image():
    section = only(plan(image_ids={12}))
    geometry = DATA_SET.geometry(section.section)
    expected = geometry.reference_to_image((4 * 25.0, 100.5 * 25, 200.5 * 25))
    assert np.allclose(section.grid_to_image.apply((200, 100)), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("data_set", "reason"),
    [
        (data_set_of(row(10, 20), reference_space_id=6), "reference space 6"),
        (data_set_of(row(10, 20), reference_space_id=None), "reference space None"),
        (data_set_of(row(10, 20), alignment3d=None), "trv"),
        (data_set_of(row(10, 20), alignment3d=None, plane_of_section_id=4), "plane"),
        (data_set_of(row(10, 20, aligned=False)), "tvs"),
        (data_set_of(row(10, None)), "no section number"),
    ],
)
def test_what_cannot_be_placed_is_stored_without_a_plane_and_says_why(data_set, reason):
    slots = {10: 0} if data_set.section_images[0].section_number is not None else {}
    found = plan(data_set=data_set, slots=slots)
    section = only(found)
    assert section.layers == ("source",)
    assert section.grid_to_image is None
    ((unplaced, error),) = found.unplaced
    assert unplaced.id == 10
    assert isinstance(error, AlignmentError)
    assert reason in error.message
    commit = commit_of(unplaced, layers=("source",), um=None)
    assert plan(data_set=data_set, slots=slots, commits={10: commit}).committed == (10,)


def test_without_planes_nothing_is_asked_of_alignments():
    found = plan(Settings(layers=("source",)), data_set=data_set_of(row(10, None, aligned=False)), slots={})
    assert found.unplaced == ()
    assert found.recipe.grid is None


@pytest.mark.parametrize(
    ("settings", "stored", "serves"),
    [
        ({}, {}, True),
        ({"layers": "source"}, {}, True),
        ({"layers": "source,sections"}, {}, False),
        ({"um": 100}, {"um": 25.0}, False),
        ({"um": 100, "layers": "source"}, {"downsample": 2}, True),
        ({"um": 10, "layers": "source"}, {"downsample": 2}, False),
        ({"um": "full", "layers": "source"}, {"downsample": 0}, True),
        ({"um": "full", "layers": "source"}, {"downsample": 1}, False),
        ({"downsample": 2}, {"downsample": 2}, True),
        ({"downsample": 3}, {"downsample": 2}, False),
        ({"downsample": 1}, {"downsample": 2}, False),
    ],
)
def test_a_commit_serves_what_is_no_more_than_it_holds(settings, stored, serves):
    (section,) = (each for each in DATA_SET.section_images if each.id == 10)
    found = plan(Settings.from_layers(settings), commits={10: commit_of(section, **stored)}, image_ids={10})
    assert found.committed == ((10,) if serves else ())


def test_what_is_stored_is_stored_in_the_end_too():
    (section,) = (each for each in DATA_SET.section_images if each.id == 10)
    commit = commit_of(section, downsample=1)
    added = only(plan(Settings(layers=("sections",)), commits={10: commit}, image_ids={10}))
    assert added.layers == ("sections", "source", "registered")
    assert (added.source, added.kept) == ((commit.sha256, 1), ("source", "registered"))
    # no coarser than it is, and no plane is made of it again
    assert added.downsample == 1
    assert added.grid_to_image is None


def test_masks_are_asked_for_as_a_view_and_never_mixed():
    section = only(plan(image_ids={10}, view="expression"))
    assert section.request.view == "expression"
    assert only(plan(image_ids={10})).request.view is None
    for view in ("expression", "tumor_feature_annotation", "tumor_feature_boundary"):
        assert interpolation_of(view, Settings(interpolation="cubic")) == "nearest"
    assert interpolation_of("image", Settings(interpolation="cubic")) == "cubic"


@pytest.mark.parametrize(
    ("layers", "share"),
    [
        (("source",), 1 / 64),
        (("registered",), 1 / 16),
        (("sections",), 4 / 3),
        (("sections", "registered"), 4 / 3),
    ],
)
def test_what_is_reserved_covers_what_is_decoded_and_the_jpeg_twice(layers, share):
    section = only(plan(Settings(layers=layers, downsample=0), image_ids={10}))
    assert section.n_pixels == 4016 * 4536
    jpegs = 2 * section.n_pixels / 6
    assert section.working_bytes == pytest.approx(3 * section.n_pixels * share + jpegs, rel=1e-6)
    decoded = 3 * section.n_pixels >> 2 * section.proof_halvings
    assert section.working_bytes >= decoded


@pytest.mark.parametrize("view", ["image", "expression"])
def test_pixels_are_not_mixed_by_halving_before_nearest_picks_one(view):
    settings = Settings(um=25, downsample=0, interpolation="nearest" if view == "image" else "linear")
    plan = plan_view(DATA_SET, view, settings, {}, SLOTS)
    assert [section.n_halvings for section in plan.to_fetch] == [0, 0, 0]


def test_an_image_a_pixel_larger_keeps_its_tier_its_scale_and_its_halvings():
    found = plan(Settings(downsample=2), image_ids={10})
    section = only(found)
    larger = section.of_shape((1005, 1134))
    assert (larger.shape, larger.downsample, larger.n_halvings) == ((1005, 1134), 2, section.n_halvings)
    assert larger.grid_to_image == section.grid_to_image
    assert section.of_shape(section.shape) is section


def test_another_tier_is_known_by_its_size_and_planned_for_with_its_memory():
    settings = Settings(downsample=4)
    found = plan(settings, image_ids={10})
    section = only(found)
    assert section.admits((4016, 4536))
    assert not section.admits((4016, 4535))
    full = section.expecting((4016, 4536))
    assert (full.downsample, full.asked, full.request.downsample) == (0, 4, 4)
    assert full.n_halvings == 2
    assert full.working_bytes > 10 * section.working_bytes
    assert full.blocks == ()


def test_another_tier_that_is_too_large_for_the_budget_is_planned_in_boxes_of_that_tier():
    settings = Settings(downsample=2, layers=("sections", "registered"), memory_bytes=2**24)
    found = plan(settings, image_ids={10})
    section = only(found)
    assert section.blocks == ()
    full = section.expecting((4016, 4536))
    assert len(full.blocks) == 6
    assert sum(box.shape[0] * box.shape[1] for box in full.blocks) == 4016 * 4536


def test_a_region_stays_where_it_is_when_the_tier_is_another():
    settings = Settings(downsample=3, layers=("sections",), roi=(1000, 2000, 640, 320))
    found = plan(settings, image_ids={10})
    section = only(found)
    other = section.of_shape((4016 >> 1, 4536 >> 1))
    assert (other.downsample, [side << 1 for side in other.region]) == (
        1,
        [side << 3 for side in section.region],
    )


def test_a_commit_of_another_tier_serves_the_tier_that_was_asked_for():
    settings = Settings(downsample=4)
    section = DATA_SET.section_images[2]
    stored = commit_of(section, downsample=0, asked_downsample=4, shape=section.shape)
    assert plan(settings, commits={10: stored}, image_ids={10}).committed == (10,)
    assert plan(Settings(downsample=3), commits={10: stored}, image_ids={10}).committed == ()


def test_boxes_are_planned_no_deeper_than_the_last_tier():
    settings = Settings(downsample=9, layers=("sections",), fetch="tiles")
    assert only(plan(settings, image_ids={10})).downsample == 5


def test_auto_cuts_an_image_into_boxes_from_the_first_byte_beyond_the_memory():
    def blocks_with(memory_bytes, fetch="auto"):
        layers = ("sections", "registered")
        settings = Settings(downsample=0, layers=layers, fetch=fetch, memory_bytes=memory_bytes)
        return only(plan(settings, image_ids={10})).blocks

    needed = only(
        plan(Settings(downsample=0, layers=("sections", "registered"), memory_bytes=2**32), image_ids={10})
    ).working_bytes
    assert needed > 2**25
    assert blocks_with(needed) == ()
    assert len(blocks_with(needed - 1)) > 1
    # the other two ways do not look at the size
    assert blocks_with(needed - 1, "images") == ()
    assert len(blocks_with(2**32, "tiles")) > 1


def test_pixels_that_stay_in_another_codec_than_the_one_asked_for_are_told_of():
    settings = Settings(layers=("source", "sections"), codec="blosc-lz4")
    stored = [
        commit_of(section, layers=("source", "sections"), codec="zstd")
        for section in DATA_SET.section_images[:2]
    ]
    commits = {commit.image_id: commit for commit in stored}
    (note,) = plan(settings, commits=commits).notes
    assert note.startswith("2 sections (image:12, …) of data set 479 stay in the codec they are stored in; ")
    assert note.endswith("asyncfetch rebuild with --layers sections --codec blosc-lz4")
    assert not plan(msgspec.structs.replace(settings, codec="zstd"), commits=commits).notes
    assert not plan(msgspec.structs.replace(settings, layers=("source",)), commits=commits).notes
