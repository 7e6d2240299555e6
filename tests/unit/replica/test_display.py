from __future__ import annotations

import numpy as np
import pytest

from asyncfetch import sample
from asyncfetch.allen import COLORMAPS
from asyncfetch.errors import SelectionError
from asyncfetch.imaging import decode
from asyncfetch.replica import DrawnImages
from asyncfetch.replica.display import Display, apply_display, colour, luminosity, read_display
from asyncfetch.replica.images import picture_box, read_picture
from asyncfetch.sample import sample_atlas

ATLAS_IMAGE, BETWEEN = 948576002, 948576102
CONNECTIVITY, TUMOR, SMALL = 900002006, 900001007, 900002005

RAMP = np.repeat(np.arange(256, dtype=np.uint8)[np.newaxis, :, np.newaxis], 3, axis=2)


@pytest.fixture(scope="module")
def atlas():
    return sample_atlas()


async def picture(source, image_id, **parameters):
    images = DrawnImages(source)
    asked = {"downsample": "3", "quality": "100", **parameters}
    return decode(await images.jpeg(read_picture(source.image_row(image_id), asked)))


def test_a_window_takes_its_ends_to_black_and_white():
    shown = apply_display(RAMP, Display(levels=(0, 255, 100, 200, 50, 51)))
    np.testing.assert_array_equal(shown[..., 0], RAMP[..., 0])
    assert (shown[0, 100, 1], shown[0, 200, 1], shown[0, 150, 1]) == (0, 255, 128)
    assert (shown[0, 50, 2], shown[0, 51, 2]) == (0, 255)


def test_the_window_that_an_image_is_drawn_with_changes_nothing():
    levels = (0, 923, 10, 987, 0, 4095)
    np.testing.assert_array_equal(apply_display(RAMP, Display(levels=levels), levels), RAMP)
    darker = apply_display(RAMP, Display(levels=(0, 4095) * 3), levels)
    assert darker[0, 255].tolist() == [57, 61, 255]


def test_gains_and_contrast_are_what_they_say():
    assert apply_display(RAMP, Display(gains=(1, 0.5, 0)))[0, 200].tolist() == [200, 100, 0]
    assert apply_display(RAMP, Display(contrast=(0.5, 0.2)))[0, 200].tolist() == [151, 151, 151]
    both = apply_display(RAMP, Display(gains=(0.5, 0.5, 0.5), contrast=(1, 1)))
    assert both.min() == 255


@pytest.mark.parametrize("number", COLORMAPS.values())
def test_every_colour_map_is_black_up_to_its_threshold(number):
    shown = apply_display(RAMP, Display(colormap=(0.5, 0.5, 0, 256, number)))
    assert shown.shape == (1, 256, 3)
    assert not shown[0, :128].any()
    assert shown[0, 160].any()
    gray = apply_display(RAMP[..., :1], Display(colormap=(0.5, 0.5, 0, 256, number)))
    np.testing.assert_array_equal(gray, shown)


def test_the_maps_differ():
    level = luminosity(RAMP)
    shown = {name: colour(level, number).tobytes() for name, number in COLORMAPS.items()}
    assert len({shown[name] for name in ("gray", "hotmetal", "jet", "redtemp", "red", "green", "blue")}) == 7
    assert colour(level, COLORMAPS["gray"])[0, 77].tolist() == [77, 77, 77]
    assert (
        colour(level, COLORMAPS["jet"])[0, 255].tolist()[0]
        > colour(level, COLORMAPS["jet"])[0, 255].tolist()[2]
    )


@pytest.mark.parametrize(
    "display",
    [
        Display(),
        Display(levels=(0, 923, 0, 987, 0, 4095)),
        Display(gains=(1.0, 0.25, 0.0), contrast=(0.5, 0.125)),
        Display(colormap=(0.5, 0.75, 0.0, 256.0, 3.0)),
        Display(annotation=0),
        Display(annotation=181276165),
    ],
)
def test_a_display_survives_the_redirect(display):
    assert read_display(display.parameters()) == display


def test_the_two_spellings_of_a_colour_map_are_one():
    short = read_display({"filter": "colormap", "filterVals": "0.25,1,0,256,2"})
    long = read_display({"colormap": "0.5,0.25,0,256,2"})
    pixels = [apply_display(RAMP, display) for display in (short, long)]
    np.testing.assert_array_equal(*pixels)


@pytest.mark.parametrize(
    "parameters",
    [
        {"range": "0,1,2"},
        {"range": "a,b,c,d,e,f"},
        {"rgb": "1,1,nan"},
        {"contrast": "1"},
        {"colormap": "0.5,0,0,256,99"},
        {"colormap": "jet"},
        {"annotation": "true", "atlas": "x"},
    ],
)
def test_values_that_say_nothing_are_refused(parameters):
    with pytest.raises(SelectionError):
        read_display(parameters)


@pytest.mark.anyio
async def test_annotations_are_lines_on_top_of_the_plates_of_their_atlas(atlas):
    plain = await picture(atlas, ATLAS_IMAGE)
    annotated = await picture(atlas, ATLAS_IMAGE, annotation="true")
    changed = np.abs(plain.astype(int) - annotated).max(axis=2) > 40
    assert 0.01 < changed.mean() < 0.3
    of_atlas = await picture(atlas, ATLAS_IMAGE, annotation="true", atlas="1")
    assert not np.array_equal(of_atlas, annotated)
    assert not np.array_equal(of_atlas, plain)
    for others in ({"annotation": "true", "atlas": "2"}, {"annotation": "false"}, {"atlas": "1"}):
        np.testing.assert_array_equal(await picture(atlas, ATLAS_IMAGE, **others), plain)
    between = await picture(atlas, BETWEEN, annotation="true")
    np.testing.assert_array_equal(between, await picture(atlas, BETWEEN))


@pytest.mark.anyio
async def test_the_lines_of_a_box_are_those_of_the_whole(atlas):
    row = atlas.image_row(ATLAS_IMAGE)
    whole = read_picture(row, {"downsample": "2"})
    box = picture_box(whole, row)
    lines = atlas.outlines(ATLAS_IMAGE, downsample=2, box=box, atlas_id=1)
    part = box._replace(y0=70, x0=90, y1=200, x1=300)
    inside = atlas.outlines(ATLAS_IMAGE, downsample=2, box=part, atlas_id=1)
    np.testing.assert_array_equal(inside, lines[part.slices])
    assert lines.any()


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("image_id", "view"),
    [
        (SMALL, "expression"),
        (CONNECTIVITY, "projection"),
        (TUMOR, "tumor_feature_annotation"),
        (TUMOR, "tumor_feature_boundary"),
    ],
)
async def test_every_view_has_two_spellings(atlas, image_id, view):
    named = await picture(atlas, image_id, view=view)
    older = await picture(atlas, image_id, **{view: "true"})
    np.testing.assert_array_equal(named, older)
    plain = await picture(atlas, image_id, **{view: "false"}, nonsense="1")
    assert plain.shape == named.shape
    assert np.abs(plain.astype(int) - named).mean() > 10
    row = atlas.image_row(image_id)
    path = atlas.image_path(image_id, view)
    assert atlas.image_at(path) == (image_id, view)
    assert (
        read_picture(row, {"view": view})
        .location(path)
        .startswith(f"/cgi-bin/imageservice?mime=1&path={path}&")
    )


@pytest.mark.anyio
async def test_the_range_of_the_equalization_is_the_default(atlas):
    (row,) = (
        row
        for row in atlas.tables["Equalization"]
        if row["section_data_set_id"] == sample.CONNECTIVITY_DATA_SET_ID
    )
    levels = [row[f"{colour}_{end}"] for colour in ("red", "green", "blue") for end in ("lower", "upper")]
    plain = await picture(atlas, CONNECTIVITY)
    default = await picture(atlas, CONNECTIVITY, range=",".join(map(str, levels)))
    np.testing.assert_array_equal(plain, default)
    wider = await picture(atlas, CONNECTIVITY, range="0,1846,0,1974,0,4095")
    ratio = wider.mean(axis=(0, 1)) / plain.mean(axis=(0, 1))
    np.testing.assert_allclose(ratio, (0.5, 0.5, 1.0), atol=0.02)
