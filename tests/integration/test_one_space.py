"""Planes of sets of both reference spaces, registered in one: genes of both planes of section lie in one frame."""

from __future__ import annotations

import anyio
import numpy as np
import pytest

import asyncfetch
from asyncfetch.allen import parse_data_set
from asyncfetch.errors import AlignmentError
from asyncfetch.replica import open_replica
from asyncfetch.sample import sample_atlas

#: A sagittal set of space 10 and a coronal one of space 9.
SAGITTAL, CORONAL = 69289763, 900000005
#: r9 = 11350 - r10 (REC-5).
SHIFT_UM = 11350.0


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory):
    """Return what mirrors both sets, registered in a space or each in its own."""
    known = {}

    def mirror(space):
        if space not in known:
            folder = tmp_path_factory.mktemp("spaces") / "out.zarr"

            async def run():
                async with open_replica(sample_atlas()) as replica:
                    return await asyncfetch.mirror(
                        [f"dataset:{SAGITTAL}", f"dataset:{CORONAL}"],
                        folder,
                        base_url=replica.base_url,
                        requests_per_s=1000.0,
                        um=100.0,
                        space=space,
                    )

            assert anyio.run(run).failures == []
            known[space] = folder
        return known[space]

    return mirror


def opened(folder, data_set_id):
    data_set = asyncfetch.open(folder).data_set(data_set_id)
    return data_set, data_set.read_registered_layout()


def test_slots_of_space_10_lie_in_space_9_where_the_transform_takes_them(mirrored):
    _, own = opened(mirrored(None), SAGITTAL)
    _, taken = opened(mirrored(9), SAGITTAL)
    assert (own.reference_space_id, taken.reference_space_id) == (10, 9)
    assert (np.diff(taken.z_um) > 0).all()
    np.testing.assert_allclose(taken.z_um, SHIFT_UM - own.z_um[::-1], rtol=0, atol=1e-9)
    assert [slot.image_id for slot in taken.slots] == [slot.image_id for slot in own.slots][::-1]


def test_a_sagittal_plane_has_the_same_pixels_in_both_spaces(mirrored):
    own, _ = opened(mirrored(None), SAGITTAL)
    taken, _ = opened(mirrored(9), SAGITTAL)
    before, after = np.asarray(own.open_registered()[:]), np.asarray(taken.open_registered()[:])[:, ::-1]
    # i and p are the same in both; the positions are rounded otherwise
    assert before.any()
    assert np.abs(before.astype(int) - after).max() <= 1


def test_a_set_of_space_9_is_the_same_whether_it_is_asked_for_or_not(mirrored):
    own, first = opened(mirrored(None), CORONAL)
    asked, second = opened(mirrored(9), CORONAL)
    assert first == second
    np.testing.assert_array_equal(own.open_registered()[...], asked.open_registered()[...])


def test_a_coronal_set_taken_to_space_10_is_seen_in_the_mirror(mirrored):
    own, first = opened(mirrored(9), CORONAL)
    taken, second = opened(mirrored(10), CORONAL)
    np.testing.assert_array_equal(first.z_um, second.z_um)
    before, after = np.asarray(own.open_registered()[:]), np.asarray(taken.open_registered()[:])
    # r10 = 11350 - r9: voxel k of 100 µm lies half a voxel beside voxel 113 - k
    mirrored_r = (before[..., ::-1][..., 1:].astype(float) + before[..., ::-1][..., :-1]) / 2
    seen = after[..., : mirrored_r.shape[-1]].astype(float)
    straight = before[..., : mirrored_r.shape[-1]].astype(float)
    assert np.abs(seen - mirrored_r).mean() < 0.2 * np.abs(seen - straight).mean()


def test_the_affine_of_a_commit_stays_that_of_the_data_set(mirrored):
    own, _ = opened(mirrored(None), SAGITTAL)
    taken, _ = opened(mirrored(9), SAGITTAL)
    for commit in own.read_commits():
        assert taken.section(commit.image_id).commit.image_to_reference == commit.image_to_reference


def test_orientation_says_which_space_it_is(mirrored):
    for space, value in ((None, "right-to-left"), (9, "left-to-right")):
        group = asyncfetch.open(mirrored(space)).open_group()[f"data_sets/{SAGITTAL}/image/registered"]
        axes = group.attrs["ome"]["multiscales"][0]["axes"]
        assert axes[1]["orientation"] == {"type": "anatomical", "value": value}


def test_planes_of_another_space_are_not_taken_for_those_that_are_asked_for(mirrored, tmp_path):
    async def run():
        async with open_replica(sample_atlas()) as replica:
            choices = {"base_url": replica.base_url, "requests_per_s": 1000.0, "um": 100.0}
            await asyncfetch.mirror(f"dataset:{SAGITTAL}", tmp_path / "out.zarr", **choices)
            return await asyncfetch.mirror(f"dataset:{SAGITTAL}", tmp_path / "out.zarr", **choices, space=9)

    with pytest.raises(asyncfetch.errors.SettingsError, match=r"space = 10, not 9.* --space 9"):
        anyio.run(run)
    report = anyio.run(lambda: asyncfetch.rebuild(tmp_path / "out.zarr", space=9))
    assert report.failures == []
    _, expected = opened(mirrored(9), SAGITTAL)
    data_set, layout = opened(tmp_path / "out.zarr", SAGITTAL)
    assert layout == expected
    wanted, _ = opened(mirrored(9), SAGITTAL)
    np.testing.assert_array_equal(data_set.open_registered()[...], wanted.open_registered()[...])


def test_a_set_whose_space_leads_nowhere_is_named_with_what_to_do():
    data_set = parse_data_set({"id": 5, "reference_space_id": 6, "plane_of_section_id": 1})
    with pytest.raises(
        AlignmentError, match=r"data set 5 .* space 9: .* 6, is not known; mirror it without --space"
    ):
        data_set.in_space(9)
