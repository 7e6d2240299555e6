from __future__ import annotations

import math

import numpy as np
import pytest
from lxml import etree

from asyncfetch import sample
from asyncfetch.errors import SelectionError
from asyncfetch.geometry import Affine2D, Box, tier_shape
from asyncfetch.sample import SampleAtlas, sample_atlas


@pytest.fixture(scope="module")
def atlas() -> SampleAtlas:
    return sample_atlas()


def numbers(row, name, n):
    return tuple(row[f"{name}_{i:02}"] for i in range(n))


def images_of(atlas, data_set_id):
    return [row for row in atlas.tables["SectionImage"] if row["data_set_id"] == data_set_id]


def alignment_of(atlas, image_id):
    return next(row for row in atlas.tables["Alignment2d"] if row["section_image_id"] == image_id)


def test_the_recorded_data_set_has_the_recorded_numbers(atlas, recorded):
    root = etree.parse(recorded / "data_set_69289763.xml").getroot()
    rows = {row["id"]: row for row in images_of(atlas, 69289763)}
    elements = list(root.iter("section-image"))
    assert [int(element.findtext("id")) for element in elements] == list(rows)
    for element in elements:
        row = rows[int(element.findtext("id"))]
        for name in ("section_number", "width", "height", "image_width", "image_height", "tier_count"):
            assert row[name] == int(element.findtext(name.replace("_", "-")))
        assert row["resolution"] == float(element.findtext("resolution"))
        alignment = alignment_of(atlas, row["id"])
        assert alignment["id"] == int(element.findtext("alignment2d/id"))
        for name in ("tsv", "tvs"):
            text = element.findtext(f"alignment2d/{name}")
            assert numbers(alignment, name, 6) == tuple(map(float, text.split(",")))
        assert {child.tag.replace("-", "_") for child in element} - {"alignment2d"} == set(row)
    alignment = next(row for row in atlas.tables["Alignment3d"] if row["aligned_id"] == 69289763)
    for name in ("tvr", "trv"):
        assert numbers(alignment, name, 12) == tuple(
            map(float, root.findtext(f"alignment3d/{name}").split(","))
        )
    data_set = next(row for row in atlas.tables["SectionDataSet"] if row["id"] == 69289763)
    skipped = {"products", "specimen", "alignment3d", "section-images", "plane_of_section", "age"}
    fields = {child.tag.replace("-", "_") for child in root if child.tag not in skipped}
    assert fields | {"plane_of_section_id"} == set(data_set)


def test_every_recorded_section_says_so_and_every_other_says_that_it_is_made(atlas):
    n = {69289763: 18, 479: 2, 123: 1}
    for row in atlas.tables["SectionImage"]:
        is_recorded = row["id"] in atlas.recorded_image_ids
        assert row["path"].startswith("/sample/recorded/" if is_recorded else "/sample/made/")
        assert atlas.image_at(row["path"]) == (row["id"], "image")
        assert atlas.image_at(row["expression_path"]) == (row["id"], "expression")
        n[row["data_set_id"]] = n.get(row["data_set_id"], 0) - is_recorded
    assert not any(n.values())
    assert atlas.image_at("/etc/passwd") is None
    assert atlas.image_at("/sample/made/1/1.aff") is None


def test_made_alignments_are_similarities_with_the_resolution_as_scale(atlas):
    for row in atlas.tables["SectionImage"]:
        if row["id"] in atlas.recorded_image_ids or row["data_set_id"] == sample.UNALIGNED_DATA_SET_ID:
            continue
        if row["data_set_id"] == sample.NULLS_DATA_SET_ID:
            continue
        alignment = alignment_of(atlas, row["id"])
        tsv = numbers(alignment, "tsv", 6)
        assert math.hypot(tsv[0], tsv[1]) == pytest.approx(row["resolution"], rel=1e-5)
        assert (tsv[0], tsv[1]) == (tsv[3], -tsv[2])
        back = Affine2D.from_api(numbers(alignment, "tvs", 6)) @ Affine2D.from_api(tsv)
        assert np.allclose(back.matrix, Affine2D.identity().matrix, atol=0.05)
        assert all(value == float(f"{value:.6g}") for value in tsv)
        assert row["tier_count"] == math.ceil(math.log2(max(row["width"], row["height"]) / 256)) + 1


def test_the_load_test_set_has_forty_sections_of_44_megapixels(atlas):
    rows = images_of(atlas, 123)
    assert len(rows) == 40
    assert {(row["width"], row["height"]) for row in rows} == {(8992, 4936)}
    assert len({row["section_number"] for row in rows}) == 40


def test_the_traps_are_there(atlas):
    data_sets = {row["id"]: row for row in atlas.tables["SectionDataSet"]}
    assert data_sets[sample.FAILED_DATA_SET_ID]["failed"] is True
    assert sum(row["failed"] for row in data_sets.values()) == 1
    aligned = {row["aligned_id"] for row in atlas.tables["Alignment3d"]}
    assert set(data_sets) - aligned == {sample.UNALIGNED_DATA_SET_ID}
    rows = images_of(atlas, sample.NULLS_DATA_SET_ID)
    assert [row["section_number"] for row in rows].count(None) == 1
    ids = {row["section_image_id"]: row for row in atlas.tables["Alignment2d"]}
    assert len([row for row in rows if row["id"] not in ids]) == 1
    assert len([row for row in rows if row["id"] in ids and None in ids[row["id"]].values()]) == 1


def test_ids_are_unique(atlas):
    for model, rows in atlas.tables.items():
        assert len({row["id"] for row in rows}) == len(rows), model


def test_two_atlases_are_equal(atlas):
    other = sample_atlas()
    assert other.tables == atlas.tables
    assert other.links == atlas.links
    image_id = images_of(atlas, sample.SMALL_DATA_SET_ID)[3]["id"]
    assert np.array_equal(other.draw(image_id, downsample=3), atlas.draw(image_id, downsample=3))


def test_every_recorded_image_is_drawn_in_the_size_of_its_tier(atlas):
    for image_id in atlas.recorded_image_ids:
        row = atlas.image_row(image_id)
        drawn = atlas.draw(image_id, downsample=7)
        assert drawn.shape == (*tier_shape(row["height"], row["width"], 7), 3)
        # Every section of the sample shows tissue, and all of it is not: the matrices lead into the brain.
        dark = (drawn.mean(axis=2) < 215).mean()
        assert 0.02 < dark < 0.9, (image_id, dark)


def test_a_box_is_the_crop_of_the_whole(atlas):
    image_id = images_of(atlas, sample.SMALL_DATA_SET_ID)[4]["id"]
    whole = atlas.draw(image_id, downsample=1)
    box = Box(101, 99, 333, 500)
    assert np.array_equal(atlas.draw(image_id, downsample=1, box=box), whole[box.slices])


def test_nissl_images_have_no_expression_mask(atlas):
    image_id = images_of(atlas, sample.NISSL_DATA_SET_ID)[0]["id"]
    assert not atlas.has_view(image_id, "expression")
    with pytest.raises(SelectionError, match="no view expression"):
        atlas.draw(image_id, downsample=3, view="expression")
    with pytest.raises(SelectionError, match="no image 7"):
        atlas.draw(7)


def test_the_grey_mask_is_lit_where_the_coloured_one_is(atlas):
    image_id = images_of(atlas, sample.SMALL_DATA_SET_ID)[4]["id"]
    colour = atlas.draw(image_id, downsample=3, view="expression")
    grey = atlas.draw(image_id, downsample=3, view="expression_level")
    assert grey.shape == (*colour.shape[:2], 1)
    assert np.array_equal(grey[..., 0] > 0, colour.any(axis=2))
