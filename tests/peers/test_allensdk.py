"""Every public method of ImageDownloadApi and SynchronizationApi, unmodified, against the replica."""

from __future__ import annotations

import itertools
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pytest
from anyio.from_thread import start_blocking_portal

from asyncfetch.allen import COLORMAPS, ImageRequest, parse_section_image
from asyncfetch.client import Client
from asyncfetch.imaging import decode, read_header
from asyncfetch.sample import sample_atlas
from asyncfetch.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(300)

SMALL, SMALL_IMAGE = 900000005, 900001005
SAGITTAL, SAGITTAL_IMAGE = 69289763, 69177634
CORONAL, CORONAL_IMAGE = 479, 101349756
ATLAS_DATA_SET, PLATE = 100048576, 948576000
QUERIES = "allensdk.api.queries"
IMAGES = f"{QUERIES}.image_download_api:ImageDownloadApi"
SYNC = f"{QUERIES}.synchronization_api:SynchronizationApi"


@pytest.fixture(scope="module")
def images(allensdk, base_url):
    return allensdk.make(IMAGES, base_url)


@pytest.fixture(scope="module")
def sync(allensdk, base_url):
    return allensdk.make(SYNC, base_url)


@pytest.fixture(scope="module")
def atlas():
    return sample_atlas()


def _decode(jpeg, _accept):
    return decode(jpeg.data)


class OurClient:
    """Downloads as asyncfetch makes them: proved whole, and of the size that the records promise."""

    def __init__(self, portal, client, atlas):
        self._portal, self._client, self._atlas = portal, client, atlas

    def fetch(self, request):
        expected = request.expected_shape(parse_section_image(self._atlas.image_row(request.image_id)))
        return self._portal.call(partial(self._client.fetch_jpeg, request, expected, check=_decode))


@pytest.fixture(scope="module")
def client(base_url, atlas):
    settings = Settings(base_url=base_url, requests_per_s=1000)
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(Client(settings=settings)) as client,
    ):
        yield OurClient(portal, client, atlas)


def rows_of(atlas, model, **wanted):
    return [row for row in atlas.tables[model] if all(row[name] == value for name, value in wanted.items())]


def by_id(rows):
    return sorted(rows, key=lambda row: row["id"])


# Public is what has no underscore and is not inherited: a new version of AllenSDK must not escape these tests.
KNOWN = {
    IMAGES: """COLORMAPS atlas_image_query download_atlas_image download_image download_projection_image
        download_section_image get_section_data_sets_by_product get_section_image_ranges rma_templates
        section_image_query""",
    SYNC: """get_image_to_atlas get_image_to_image get_image_to_image_2d get_image_to_reference
        get_reference_to_image get_structure_to_image""",
}


@pytest.mark.parametrize("target", KNOWN)
def test_no_public_name_is_left_out(allensdk, target):
    names = allensdk.call("builtins:sorted", allensdk.make("builtins:vars", allensdk.hold(target)))
    assert [name for name in names if not name.startswith("_")] == KNOWN[target].split()


def test_our_colour_maps_are_theirs(images):
    assert images.read("COLORMAPS") == COLORMAPS


def test_section_image_query_gives_the_records(images, atlas):
    found = images.call("section_image_query", SAGITTAL)
    assert by_id(found) == by_id(rows_of(atlas, "SectionImage", data_set_id=SAGITTAL))
    assert len(found) == 18


def test_section_image_query_of_nothing_gives_nothing(images):
    assert images.call("section_image_query", 1) == []


@pytest.mark.parametrize("include_failed", [False, True])
def test_section_data_sets_by_product(images, atlas, include_failed):
    found = images.call("get_section_data_sets_by_product", [1], include_failed=include_failed)
    members = {data_set for data_set, product in atlas.links["data_sets_products"] if product == 1}
    expected = [
        row
        for row in rows_of(atlas, "SectionDataSet")
        if row["id"] in members and row["failed"] <= include_failed
    ]
    assert by_id(found) == by_id(expected)
    assert any(row["failed"] for row in found) == include_failed


def test_data_sets_of_several_products_come_once_each(images):
    found = images.call("get_section_data_sets_by_product", [1, 3, 900000000])
    numbers = [row["id"] for row in found]
    assert {SMALL, SAGITTAL} <= set(numbers)
    assert len(numbers) == len(set(numbers))


def test_section_image_ranges(images, atlas):
    (row,) = rows_of(atlas, "Equalization", section_data_set_id=CORONAL)
    names = [f"{colour}_{end}" for colour in ("red", "green", "blue") for end in ("lower", "upper")]
    assert images.call("get_section_image_ranges", [CORONAL_IMAGE]) == [[row[name] for name in names]]
    as_dicts = images.call("get_section_image_ranges", [CORONAL_IMAGE], as_lists=False)
    assert as_dicts == [{name: row[name] for name in names}]


def test_atlas_image_query_finds_the_annotated_plates_by_the_atlas_alone(images, atlas):
    plates = rows_of(atlas, "AtlasImage", data_set_id=ATLAS_DATA_SET, annotated=True)
    assert plates
    expected = sorted(plates, key=lambda row: row["section_number"])
    assert images.call("atlas_image_query", 1) == expected
    (image_type,) = {row["image_type"] for row in rows_of(atlas, "Atlas", id=1)}
    assert images.call("atlas_image_query", 1, image_type_name=image_type) == expected
    assert images.call("atlas_image_query", 1, image_type_name="no such type") == []


SERVICES = {
    "download_image": ("image", SMALL_IMAGE),
    "download_section_image": ("section", SMALL_IMAGE),
    "download_atlas_image": ("atlas", PLATE),
    "download_projection_image": ("projection", SMALL_IMAGE),
}
PARAMETERS = [
    {},
    {"downsample": 2},
    {"quality": 30, "downsample": 1},
    {"left": 400, "top": 300, "width": 200, "height": 150},
    {"left": 400, "top": 300, "width": 100, "height": 75, "downsample": 2},
    {"left": 400, "top": 300, "width": 400, "height": 300, "downsample": 1, "downsample_dimensions": True},
    {"left": 400, "top": 300, "width": 400, "height": 300, "downsample": 1, "downsample_dimensions": False},
    {"range": [0, 100, 20, 200, 0, 255], "downsample": 2},
    {"rgb": [1.0, 0.5, 0.0], "downsample": 2},
    {"contrast": [0.5, 0.25], "downsample": 2},
    {"colormap": [0.25, "jet"], "downsample": 2},
]
VIEWS = [{"view": "expression", "downsample": 2}]


@pytest.mark.parametrize("parameters", PARAMETERS, ids=str)
@pytest.mark.parametrize("method", SERVICES)
def test_a_download_is_the_image_that_our_client_gets(images, client, tmp_path, method, parameters):
    kind, image_id = SERVICES[method]
    assert_same_download(images, client, tmp_path / "image.jpg", method, kind, image_id, parameters)


@pytest.mark.parametrize("method", ["download_image", "download_section_image"])
def test_the_expression_view_has_two_spellings(images, client, tmp_path, method):
    kind, image_id = SERVICES[method]
    path = tmp_path / "image.jpg"
    mask = assert_same_download(images, client, path, method, kind, image_id, *VIEWS)
    images.call(method, image_id, path, expression=True, downsample=2)
    assert path.read_bytes() == mask
    images.call(method, image_id, path, expression=False, downsample=2)
    assert path.read_bytes() != mask


def test_each_way_of_showing_an_image_changes_it(images, tmp_path):
    shown = set()
    for k, parameters in enumerate([{"downsample": 2}, *PARAMETERS[-4:], *VIEWS]):
        path = tmp_path / f"{k}.jpg"
        images.call("download_image", SMALL_IMAGE, path, **parameters)
        assert read_header(path.read_bytes()).shape == (303, 425)
        shown.add(path.read_bytes())
    assert len(shown) == 6


@pytest.mark.parametrize("name", COLORMAPS)
def test_every_colour_map_by_its_name(images, client, tmp_path, name):
    parameters = {"colormap": [0.1, name], "downsample": 3}
    assert_same_download(
        images, client, tmp_path / "i.jpg", "download_image", "image", SMALL_IMAGE, parameters
    )


@pytest.mark.parametrize("view", ["projection", "tumor_feature_annotation", "tumor_feature_boundary"])
def test_a_view_that_an_image_does_not_have_is_an_error_in_every_spelling(images, tmp_path, view):
    for parameters in ({"view": view}, {view: True}):
        with pytest.raises(Exception, match="HTTPError: 404"):
            images.call("download_image", SMALL_IMAGE, tmp_path / "image.jpg", **parameters)
    images.call("download_image", SMALL_IMAGE, tmp_path / "image.jpg", **{view: False}, downsample=3)


def test_the_annotations_of_a_plate_are_drawn_when_asked_for(images, client, tmp_path):
    path = tmp_path / "image.jpg"
    plain = assert_same_download(images, client, path, "download_atlas_image", "atlas", PLATE, {})
    drawn = {
        assert_same_download(images, client, path, "download_atlas_image", "atlas", PLATE, parameters)
        for parameters in ({"annotation": True}, {"annotation": True, "atlas": 1})
    }
    assert plain not in drawn
    images.call("download_atlas_image", PLATE, path, annotation=False)
    assert path.read_bytes() == plain


def test_an_unknown_image_is_an_error(images, tmp_path):
    with pytest.raises(Exception, match="HTTPError: 404"):
        images.call("download_section_image", 1, tmp_path / "image.jpg")


def assert_same_download(images, client, path: Path, method, kind, image_id, parameters):
    """Return what AllenSDK writes, which is what our client returns, at the size that our client expects."""
    images.call(method, image_id, path, **parameters)
    data = path.read_bytes()
    jpeg, pixels = client.fetch(ImageRequest(image_id=image_id, kind=kind, **parameters))
    assert jpeg.data == data
    assert pixels.shape[:2] == read_header(data).shape
    return data


class Truth:
    """The formulas of the services, in float64, from the rows alone."""

    def __init__(self, atlas):
        self.atlas = atlas
        self.flat = {row["section_image_id"]: row for row in atlas.tables["Alignment2d"]}
        self.solid = {row["aligned_id"]: row for row in atlas.tables["Alignment3d"]}
        sets = [*atlas.tables["SectionDataSet"], *atlas.tables["AtlasDataSet"]]
        self.sets = {row["id"]: row for row in sets}
        images = [*atlas.tables["SectionImage"], *atlas.tables["AtlasImage"]]
        self.images = {row["id"]: row for row in images}

    def flat_matrix(self, image_id, name):
        t = [self.flat[image_id][f"{name}_{k:02}"] for k in range(6)]
        return np.array([[t[0], t[1], t[4]], [t[2], t[3], t[5]]])

    def solid_matrix(self, data_set_id, name):
        t = [self.solid[data_set_id][f"{name}_{k:02}"] for k in range(12)]
        return np.column_stack([np.reshape(t[:9], (3, 3)), t[9:]])

    def image_to_reference(self, image_id, xy):
        image = self.images[image_id]
        z = image["section_number"] * self.sets[image["data_set_id"]]["section_thickness"]
        v = self.flat_matrix(image_id, "tsv") @ [*xy, 1]
        return self.solid_matrix(image["data_set_id"], "tvr") @ [*v, z, 1]

    def reference_to_image(self, pir, data_set_id, **wanted):
        v = self.solid_matrix(data_set_id, "trv") @ [*pir, 1]
        number = v[2] / self.sets[data_set_id]["section_thickness"]
        candidates = [
            row
            for row in self.images.values()
            if row["data_set_id"] == data_set_id and all(row[key] == value for key, value in wanted.items())
        ]
        nearest = min(candidates, key=lambda row: abs(row["section_number"] - number))
        return nearest, self.flat_matrix(nearest["id"], "tvs") @ [v[0], v[1], 1]

    def in_space(self, pir, source, target):
        if source == target:
            return pir
        (row,) = rows_of(
            self.atlas,
            "ReferenceToReferenceTransform",
            from_reference_space_id=source,
            to_reference_space_id=target,
        )
        t = [row[f"t_{k:02}"] for k in range(12)]
        return np.column_stack([np.reshape(t[:9], (3, 3)), t[9:]]) @ [*pir, 1]

    def space_of(self, image_id):
        return self.sets[self.images[image_id]["data_set_id"]]["reference_space_id"]


@pytest.fixture(scope="module")
def truth(atlas):
    return Truth(atlas)


# AllenSDK prints its coordinates with six digits after the point.
POINTS = [(0.0, 0.0), (1000.5, 777.25), (-12.125, 3000.062591), (850.333333, 606.666667)]
SEEDS = [SMALL_IMAGE, SAGITTAL_IMAGE, CORONAL_IMAGE]
CASES = list(itertools.product(SEEDS, POINTS))


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-9)


def check_sync(sync_record, data_set_id, image, xy):
    assert sync_record["section_data_set_id"] == str(data_set_id)
    assert sync_record["section_image_id"] == image["id"]
    assert sync_record["section_number"] == image["section_number"]
    close([sync_record["x"], sync_record["y"]], xy)


@pytest.mark.parametrize(("seed", "xy"), CASES)
def test_get_image_to_reference(sync, truth, seed, xy):
    found = sync.call("get_image_to_reference", seed, *xy)["image_to_reference"]
    close([found["x"], found["y"], found["z"]], truth.image_to_reference(seed, xy))


@pytest.mark.parametrize(("seed", "xy"), CASES)
def test_get_image_to_image(sync, truth, seed, xy):
    targets = [SMALL, SAGITTAL, CORONAL, 123]
    found = sync.call("get_image_to_image", seed, *xy, targets)
    assert len(found) == 4
    pir = truth.image_to_reference(seed, xy)
    for target, record in zip(targets, found, strict=True):
        there = truth.in_space(pir, truth.space_of(seed), truth.sets[target]["reference_space_id"])
        check_sync(record["image_sync"], target, *truth.reference_to_image(there, target))


@pytest.mark.parametrize(("seed", "xy"), CASES)
def test_get_image_to_image_2d(sync, truth, seed, xy):
    data_set_id = truth.images[seed]["data_set_id"]
    others = [row["id"] for row in truth.images.values() if row["data_set_id"] == data_set_id]
    others.remove(seed)
    found = [record["image_sync"] for record in sync.call("get_image_to_image_2d", seed, *xy, others)]
    assert [int(record["section_image_id"]) for record in found] == others
    v = truth.flat_matrix(seed, "tsv") @ [*xy, 1]
    for record, other in zip(found, others, strict=True):
        close([record["x"], record["y"]], truth.flat_matrix(other, "tvs") @ [*v, 1])


@pytest.mark.parametrize("space", [9, 10])
@pytest.mark.parametrize(
    "pir", [(7800.0, 3400.0, 1050.0), (-50.5, 100.25, 9000.123456), (13100.0, 7900.0, 5700.0)]
)
def test_get_reference_to_image(sync, truth, space, pir):
    targets = [CORONAL, SMALL] if space == 9 else [SAGITTAL, 123]
    found = sync.call("get_reference_to_image", space, *pir, targets)
    for target, record in zip(targets, found, strict=True):
        check_sync(record["image_sync"], target, *truth.reference_to_image(pir, target))


@pytest.mark.parametrize(("seed", "xy"), [(SMALL_IMAGE, POINTS[1]), (CORONAL_IMAGE, POINTS[1])])
def test_get_image_to_atlas(sync, truth, seed, xy):
    found = sync.call("get_image_to_atlas", seed, *xy, 1)["image_sync"]
    pir = truth.image_to_reference(seed, xy)
    image, point = truth.reference_to_image(pir, ATLAS_DATA_SET, annotated=True)
    assert found["section_image_id"] == image["id"]
    close([found["x"], found["y"]], point)


@pytest.mark.parametrize("data_set_id", [CORONAL, SAGITTAL])
def test_get_structure_to_image(sync, truth, data_set_id):
    space = truth.sets[data_set_id]["reference_space_id"]
    centres = [row for row in truth.atlas.tables["StructureCenter"] if row["reference_space_id"] == space]
    structures = [row["structure_id"] for row in centres]
    found = sync.call("get_structure_to_image", data_set_id, structures)
    assert structures
    for centre, record in zip(centres, found, strict=True):
        pir = centre["x"], centre["y"], centre["z"]
        check_sync(record["image_sync"], data_set_id, *truth.reference_to_image(pir, data_set_id))
