"""Wanted against stored, as a table of cases."""

from __future__ import annotations

import pytest

from asyncfetch.errors import SettingsError
from asyncfetch.geometry import Box
from asyncfetch.layout.commit import Commit
from asyncfetch.layout.recipe import Recipe
from asyncfetch.planning.difference import Wanted, compare, stale_layers

SOURCE, SECTIONS, PLANE = "source", "sections", "registered"
DEFAULT, ALL = (SOURCE, PLANE), (SOURCE, SECTIONS, PLANE)


def stored(layers=DEFAULT, *, downsample=2, asked_downsample=None, region=None, **recipe):
    if PLANE in layers:
        recipe = {"um": 25.0} | recipe
    return Commit(
        image_id=1,
        data_set_id=2,
        view="image",
        layers=layers,
        record={"id": 1},
        url="",
        sha256="0" * 64,
        size_bytes=1,
        shape=(1000, 1200),
        downsample=downsample,
        asked_downsample=asked_downsample,
        resolution_um=1.0,
        time="",
        region=region,
        recipe=Recipe(**recipe),
    )


def wanted(layers=DEFAULT, *, downsample=2, is_tier_fixed=False, region=None, **recipe):
    if PLANE in layers:
        recipe = {"um": 25.0} | recipe
    return Wanted(
        recipe=Recipe(**recipe),
        layers=layers,
        downsample=downsample,
        is_tier_fixed=is_tier_fixed,
        shape=(1000, 1200),
        region=region,
    )


SERVED = [
    (wanted(), stored()),
    (wanted((SOURCE,)), stored()),
    (wanted((SOURCE,)), stored(numeric_expression=True)),
    (wanted(downsample=3), stored()),
    (wanted(downsample=2, is_tier_fixed=True), stored()),
    (wanted(downsample=4, is_tier_fixed=True), stored(downsample=2, asked_downsample=4)),
    (wanted((SECTIONS,), region=Box(10, 10, 20, 20)), stored((SECTIONS,))),
    (wanted((SECTIONS,), region=Box(10, 10, 20, 20)), stored((SECTIONS,), region=(40, 40, 40, 40))),
    # what a registered image is made with is held against its layout, not here
    (wanted(codec="none"), stored()),
    (wanted(interpolation="cubic"), stored()),
]


@pytest.mark.parametrize(("asked", "there"), SERVED)
def test_what_serves_is_left_alone(asked, there):
    assert compare(asked, there).is_served


# asked, stored; in the end: layers, kept of the same JPEG, kept of another
CHANGES = [
    (wanted(), None, DEFAULT, (), ()),
    (wanted(), stored((SOURCE,)), DEFAULT, (SOURCE,), ()),
    (wanted((SECTIONS,)), stored(), (SECTIONS, SOURCE, PLANE), DEFAULT, (PLANE,)),
    (wanted(ALL), stored(), ALL, DEFAULT, ()),
    (wanted(um=10.0), stored(), DEFAULT, (SOURCE,), ()),
    (wanted(um=10.0), stored(ALL), (*DEFAULT, SECTIONS), (SOURCE, SECTIONS), ()),
    (wanted(downsample=1), stored(), DEFAULT, DEFAULT, ()),
    (wanted(downsample=3, is_tier_fixed=True), stored(), DEFAULT, DEFAULT, ()),
    (wanted(numeric_expression=True), stored(), DEFAULT, (SOURCE,), ()),
    (wanted(numeric_expression=True), stored(ALL), (*DEFAULT, SECTIONS), (SOURCE,), ()),
    (wanted((SECTIONS,)), stored((SECTIONS,), region=(0, 0, 40, 40)), (SECTIONS,), (SECTIONS,), ()),
]


@pytest.mark.parametrize(("asked", "there", "layers", "kept", "kept_of_another"), CHANGES)
def test_what_does_not_serve_is_made_beside_what_stays(asked, there, layers, kept, kept_of_another):
    found = compare(asked, there)
    assert not found.is_served
    assert (found.layers, found.kept, found.kept_of_another) == (layers, kept, kept_of_another)


def test_nothing_that_is_stored_is_ever_left_out():
    for asked, there, *_ in CHANGES:
        if there is not None:
            assert set(there.layers) <= set(compare(asked, there).layers)


def test_a_plane_that_stays_is_told_as_it_was_made():
    there = stored(um=10.0, interpolation="cubic", fill=7)
    found = compare(wanted((SECTIONS,), codec="none"), there).recipe
    assert (found.um, found.interpolation, found.fill, found.codec) == (10.0, "cubic", 7, "none")


def test_a_wanted_region_is_joined_with_the_stored_one_and_with_all_it_is_all():
    asked = wanted((SECTIONS,), region=Box(0, 0, 10, 10), downsample=0)
    assert compare(asked, stored((SECTIONS,), region=(40, 40, 40, 40))).region == Box(0, 0, 80, 80)
    assert compare(asked, stored((SOURCE,))).region is None


def test_levels_never_stand_beside_a_plane_of_colours():
    with pytest.raises(SettingsError, match=r"image:1 .* numeric_expression = False, not True") as caught:
        compare(wanted((SECTIONS,), numeric_expression=True), stored())
    assert caught.value.setting == "numeric_expression"


@pytest.mark.parametrize(
    ("recipe", "stale"),
    [
        ({}, set()),
        ({"um": 10.0}, set()),
        ({"codec": "none"}, {SECTIONS, PLANE}),
        ({"numeric_expression": True}, {SECTIONS, PLANE}),
        ({"interpolation": "cubic"}, {PLANE}),
        ({"parallel": True}, {PLANE}),
        ({"fill": 1}, {PLANE}),
    ],
)
def test_layers_made_by_another_recipe_are_stale(recipe, stale):
    assert stale_layers(stored(ALL), Recipe(**({"um": 25.0} | recipe))) == stale
    assert stale_layers(stored((SOURCE,)), Recipe(**recipe)) == set()
