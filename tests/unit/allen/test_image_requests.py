from __future__ import annotations

import re

import pytest

from asyncfetch.allen import COLORMAPS, ImageRequest, parse_section_image
from asyncfetch.errors import SelectionError

BASE = "http://api.brain-map.org"


def section(**changes):
    row = {"id": 1, "data_set_id": 2, "width": 11921, "height": 7553, "x": 0, "y": 0, "tier_count": 7}
    return parse_section_image(row | changes)


@pytest.mark.parametrize(
    ("request_", "tail"),
    [
        (ImageRequest(image_id=69750516, downsample=4), "image_download/69750516?downsample=4"),
        (ImageRequest(image_id=70679088), "image_download/70679088"),
        (
            ImageRequest(image_id=69750516, downsample=4, view="expression"),
            "image_download/69750516?downsample=4&view=expression",
        ),
        (
            ImageRequest(image_id=69750516, left=6174, top=2282, width=1000, height=1000),
            "image_download/69750516?left=6174&top=2282&width=1000&height=1000",
        ),
        (
            ImageRequest(image_id=126862583, kind="projection", downsample=4, view="projection"),
            "projection_image_download/126862583?downsample=4&view=projection",
        ),
        (
            ImageRequest(image_id=102146167, range=[0, 923, 0, 987, 0, 4095], downsample=4),
            "image_download/102146167?downsample=4&range=0,923,0,987,0,4095",
        ),
        (
            ImageRequest(image_id=100883869, kind="atlas", downsample=4, annotation=True, atlas=2),
            "atlas_image_download/100883869?downsample=4&annotation=true&atlas=2",
        ),
        (
            ImageRequest(image_id=1, kind="section", quality=0, left=0, downsample_dimensions=False),
            "section_image_download/1?quality=0&left=0&downsample_dimensions=false",
        ),
        (
            ImageRequest(image_id=1, rgb=(0, 0.5, 1), contrast=(0.25, 1)),
            "image_download/1?rgb=0,0.5,1&contrast=0.25,1",
        ),
        (
            ImageRequest(image_id=1, colormap=(0.2, "projection")),
            "image_download/1?colormap=0.5,0.2,0,256,11",
        ),
        (ImageRequest(image_id=1, colormap=[0, 0]), "image_download/1?colormap=0.5,0,0,256,0"),
    ],
)
def test_the_documented_requests_have_the_documented_addresses(request_, tail):
    assert request_.url(f"{BASE}/") == f"{BASE}/api/v2/{tail}"


def test_every_colour_map_goes_by_name_and_by_id():
    assert sorted(COLORMAPS.values()) == list(range(12))
    for name, number in COLORMAPS.items():
        by_name, by_id = (ImageRequest(image_id=1, colormap=(0.5, each)).url(BASE) for each in (name, number))
        assert by_name == by_id
        assert by_name.endswith(f",{number}")


def test_lists_are_taken_for_tuples():
    request = ImageRequest(image_id=1, range=[0, 1, 2, 3, 4, 5], rgb=[1, 0, 0])
    assert request == ImageRequest(image_id=1, range=(0, 1, 2, 3, 4, 5), rgb=(1, 0, 0))
    assert hash(request) is not None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("image_id", -1),
        ("image_id", "5"),
        ("image_id", True),
        ("kind", "brain"),
        ("kind", ["atlas"]),
        ("downsample", -1),
        ("downsample", 1.0),
        ("downsample", True),
        ("quality", 101),
        ("quality", -1),
        ("quality", 85.0),
        ("left", -1),
        ("top", -1),
        ("width", 0),
        ("height", -5),
        ("height", "all"),
        ("downsample_dimensions", "yes"),
        ("view", "nissl"),
        ("range", (0, 1, 2)),
        ("range", (5, 4, 0, 1, 0, 1)),
        ("range", (0, 4096, 0, 1, 0, 1)),
        ("range", (-1, 1, 0, 1, 0, 1)),
        ("range", (0, 1.5, 0, 1, 0, 1)),
        ("range", "012345"),
        ("range", 5),
        ("rgb", (1, 1)),
        ("rgb", (0, 0, 1.5)),
        ("rgb", ("r", "g", "b")),
        ("rgb", (0, 0, float("nan"))),
        ("contrast", (0.5,)),
        ("contrast", 0.5),
        ("colormap", (0.5, "rainbow")),
        ("colormap", (0.5, 12)),
        ("colormap", (0.5, True)),
        ("colormap", (2, "gray")),
        ("colormap", ("x", "gray")),
        ("colormap", "gray"),
        ("annotation", True),
        ("atlas", 1),
    ],
)
def test_a_parameter_that_breaks_its_rule_is_named_with_its_value(name, value):
    with pytest.raises(SelectionError, match=re.escape(f"{name} = {value!r} must be")):
        ImageRequest(**{"image_id": 1, name: value})


@pytest.mark.parametrize(("name", "value"), [("annotation", 1), ("atlas", -1), ("atlas", True)])
def test_parameters_of_atlas_images_have_rules_too(name, value):
    with pytest.raises(SelectionError, match=f"{name} = {value}"):
        ImageRequest(image_id=1, kind="atlas", **{name: value})


@pytest.mark.parametrize(
    ("downsample", "shape"), [(None, (7553, 11921)), (0, (7553, 11921)), (2, (1888, 2980)), (6, (118, 186))]
)
def test_a_whole_image_has_the_size_of_its_tier_rounded_down(downsample, shape):
    assert ImageRequest(image_id=1, downsample=downsample).expected_shape(section()) == shape


def test_the_size_of_a_view_is_that_of_the_image():
    assert ImageRequest(image_id=1, downsample=2, view="expression").expected_shape(section()) == (1888, 2980)


def test_the_size_beyond_the_last_tier_is_not_known():
    request = ImageRequest(image_id=1, downsample=7)
    assert request.expected_shape(section()) is None
    assert request.expected_shape(section(tier_count=None)) == (59, 93)


@pytest.mark.parametrize(
    ("box", "shape"),
    [
        ({"left": 100, "top": 200, "width": 30, "height": 20}, (20, 30)),
        ({"left": 100, "top": 200, "width": 30, "height": 20, "downsample": 3}, (20, 30)),
        ({"width": 2980, "height": 1888, "downsample": 2}, (1888, 2980)),
        ({"left": 11921 - 30, "top": 0, "width": 30, "height": 1}, (1, 30)),
        ({"left": 11921 - 29, "top": 0, "width": 30, "height": 1}, None),
        ({"left": 0, "top": 7500, "width": 1, "height": 54}, None),
        ({"width": 2981, "height": 1, "downsample": 2}, None),
        ({"left": 10, "top": 10}, None),
        ({"width": 10}, None),
        ({"width": 10, "height": 10, "downsample_dimensions": True}, None),
    ],
)
def test_a_box_has_the_size_asked_for_where_it_lies_within_the_image(box, shape):
    assert ImageRequest(image_id=1, **box).expected_shape(section()) == shape


def test_a_box_is_placed_on_the_slide_scan():
    part = section(x=5000, y=3000, width=1000, height=500)
    within = ImageRequest(image_id=1, left=5100, top=3100, width=900, height=400)
    beside = ImageRequest(image_id=1, left=0, top=0, width=900, height=400)
    unsaid = ImageRequest(image_id=1, width=1000, height=500)
    assert within.expected_shape(part) == (400, 900)
    assert beside.expected_shape(part) is None
    assert unsaid.expected_shape(part) == (500, 1000)
