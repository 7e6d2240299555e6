from __future__ import annotations

import pytest
from anyio.from_thread import start_blocking_portal

from asyncfetch.allen import parse_criteria, text
from asyncfetch.client import Client
from asyncfetch.client.blocking import BlockingClient
from asyncfetch.client.queries import atlas_images_query, data_sets_query, section_images_where
from asyncfetch.errors import NotAnImageError, RecordError, SelectionError, StoreError
from asyncfetch.imaging import decode
from asyncfetch.replica import open_replica
from asyncfetch.sample import sample_atlas
from asyncfetch.settings import Settings

pytestmark = pytest.mark.anyio

LARGE = 900000009
SMALL, SAGITTAL, CORONAL, FAILED = 900000005, 69289763, 479, 900000001
ATLAS_DATA_SET = 100048576
SMALL_IMAGE, CORONAL_IMAGE, PLATE = 900001005, 101349756, 948576000


@pytest.fixture(scope="module")
def base_url():
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(open_replica()) as replica:
        yield replica.base_url


@pytest.fixture
async def client(base_url):
    async with Client(settings=Settings(base_url=base_url, requests_per_s=1000, attempts=1)) as client:
        yield client


def ids(records):
    return [record.id for record in records]


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({}, "[failed$eq'false']"),
        ({"failed": None, "ids": [7, 3, 7]}, "[id$in7,3]"),
        ({"failed": True, "specimen": 5}, "[specimen_id$eq5][failed$eq'true']"),
        (
            {"product": "Mouse", "plane": "sagittal", "gene": "Adora2a"},
            (
                "[failed$eq'false'],products[abbreviation$eq'Mouse'],plane_of_section[name$eq'sagittal'],"
                "genes[acronym$eq'Adora2a']"
            ),
        ),
        ({"product": (10, 22), "failed": False}, "[failed$eq'false'],products[id$in10,22]"),
    ],
)
def test_conditions_become_the_criteria_that_clients_send(conditions, expected):
    criteria = text(data_sets_query(**conditions))
    assert criteria == (
        f"model::SectionDataSet,rma::criteria,{expected},rma::include,alignment3d,genes,products,"
        "rma::options[order$eq'data_sets.id']"
    )
    assert parse_criteria(criteria) == data_sets_query(**conditions)


def test_section_images_are_reached_through_their_data_set():
    assert text(section_images_where(gene="Prox1", specimen=[1, 2])) == (
        "model::SectionImage,rma::criteria,data_set[specimen_id$in1,2](genes[acronym$eq'Prox1']),"
        "rma::include,alignment2d,rma::options[order$eq'sub_images.id']"
    )


def test_plates_are_asked_for_by_the_image_type_of_their_atlas():
    assert text(atlas_images_query(1)) == (
        "model::Atlas,rma::criteria,[id$eq1],rma::options[only$eq'image_type'],"
        "pipe::list[type_name$is'image_type'],model::AtlasImage,rma::criteria,[annotated$eq'true'],"
        "atlas_data_set(atlases[id$eq1]),alternate_images[image_type$eq$type_name],"
        "rma::options[order$eq'sub_images.section_number']"
    )
    assert "pipe::" not in text(atlas_images_query(1, "Atlas - Human"))


@pytest.mark.parametrize(
    ("make", "arguments", "conditions"),
    [
        (section_images_where, [], {}),
        (section_images_where, [[]], {}),
        (section_images_where, [-1], {}),
        (section_images_where, [True], {}),
        (data_sets_query, [], {"product": []}),
        (data_sets_query, [], {"gene": ["Pvalb", 5]}),
        (data_sets_query, [], {"gene": "d'Artagnan"}),
        (data_sets_query, [], {"plane": True}),
        (atlas_images_query, ["1"], {}),
        (atlas_images_query, [[1, 2]], {}),
    ],
)
def test_what_cannot_be_asked_is_refused_before_it_is_sent(make, arguments, conditions):
    with pytest.raises(SelectionError):
        make(*arguments, **conditions)


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({"gene": "Prox1"}, [SAGITTAL]),
        ({"gene": ["Prox1", "Gad1"]}, [SAGITTAL, SMALL]),
        ({"plane": "sagittal"}, [123, SAGITTAL, LARGE]),
        ({"plane": 2, "product": 3}, [SAGITTAL]),
        ({"product": "Sample"}, [SMALL]),
        ({"ids": [FAILED, SMALL]}, [SMALL]),
        ({"ids": [FAILED, SMALL], "failed": None}, [FAILED, SMALL]),
        ({"failed": True}, [FAILED]),
        ({"reference_space": 10}, [123, SAGITTAL, LARGE]),
        ({"specimen": 68870790}, [SAGITTAL]),
        ({"gene": "no such gene"}, []),
    ],
)
async def test_data_sets_meet_all_conditions(client, conditions, expected):
    assert ids(await client.data_sets(**conditions)) == expected


async def test_a_data_set_comes_with_alignment_genes_and_products(client):
    (found,) = await client.data_sets(ids=SAGITTAL)
    assert [gene.acronym for gene in found.genes] == ["Prox1"]
    assert sorted(product.id for product in found.products) == [1, 3]
    assert found.alignment3d.trv is not None
    assert found.section_images == ()


async def test_section_images_come_with_their_alignments(client):
    found = await client.section_images(SAGITTAL)
    assert len(found) == 18
    assert ids(found) == sorted(ids(found))
    assert all(section.alignment2d.tsv is not None for section in found)
    assert ids(await client.section_images(gene="Prox1")) == ids(found)
    assert ids(await client.section_images(ids=[SMALL_IMAGE, CORONAL_IMAGE])) == [CORONAL_IMAGE, SMALL_IMAGE]


async def test_plates_of_an_atlas_come_by_section_number(client):
    images = sample_atlas().tables["AtlasImage"]
    plates = [row for row in images if row["annotated"] and row["data_set_id"] == ATLAS_DATA_SET]
    expected = [row["id"] for row in sorted(plates, key=lambda row: row["section_number"])]
    assert ids(await client.atlas_images(1)) == expected
    assert await client.atlas_images(1, "no such type") == []


async def test_windows_come_by_image_and_fit_the_parameter_range(client):
    found = await client.section_image_ranges([SMALL_IMAGE, CORONAL_IMAGE, 1])
    assert found == {SMALL_IMAGE: None, CORONAL_IMAGE: (0, 932, 0, 1279, 0, 4095), 1: None}
    pixels = await client.image(CORONAL_IMAGE, downsample=5, range=found[CORONAL_IMAGE])
    assert pixels.shape == (3864 >> 5, 4232 >> 5, 3)


async def test_more_images_than_fit_one_request_are_asked_for_in_parts(client):
    tables = sample_atlas().tables
    windowed = {row["section_data_set_id"] for row in tables["Equalization"]}
    everything = {row["id"]: row["data_set_id"] for row in tables["SectionImage"]}
    assert len(everything) > 100
    found = await client.section_image_ranges(everything)
    assert list(found) == list(everything)
    assert all((found[image] is not None) == (everything[image] in windowed) for image in everything)


async def test_the_lists_of_the_atlas(client):
    tables = sample_atlas().tables
    products = await client.products()
    assert ids(products) == sorted(row["id"] for row in tables["Product"])
    assert next(each for each in products if each.id == 1).abbreviation == "Mouse"
    structures = await client.structures()
    assert [row["graph_order"] for row in structures] == sorted(
        row["graph_order"] for row in tables["Structure"]
    )
    assert await client.structures(graph=2) == []
    centres = await client.structure_centers(9)
    assert {row["reference_space_id"] for row in centres} == {9}
    assert len(await client.structure_centers()) == len(tables["StructureCenter"])
    assert await client.structure_centers([9, 10]) == await client.structure_centers()
    assert await client.space_transforms() == tables["ReferenceToReferenceTransform"]
    assert 1 in [row["id"] for row in await client.atlases()]


@pytest.mark.parametrize("kind", ["atlas", "projection", "section", "image"])
async def test_an_image_goes_to_a_file_byte_for_byte(client, tmp_path, kind):
    image_id = PLATE if kind == "atlas" else SMALL_IMAGE
    extra = {"annotation": True, "atlas": 1} if kind == "atlas" else {}
    parameters = {"kind": kind, "downsample": 1, "quality": 50, "rgb": (1, 0.5, 0.25), **extra}
    path = await client.save_image(image_id, tmp_path / "image.jpg", **parameters)
    plain = tmp_path / "plain"
    plain.write_bytes(b"")
    assert path.stat().st_mode == plain.stat().st_mode, "as the umask says"
    plain.unlink()
    data = path.read_bytes()
    assert data == await client.image_bytes(image_id, **parameters)
    assert (decode(data) == await client.image(image_id, **parameters)).all()
    assert [each.name for each in tmp_path.iterdir()] == ["image.jpg"]


async def test_a_file_that_cannot_be_written_is_an_error_of_its_own(client, tmp_path):
    with pytest.raises(StoreError, match="cannot be written"):
        await client.save_image(SMALL_IMAGE, tmp_path / "missing" / "image.jpg", downsample=4)
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreError, match="cannot be written"):
        await client.save_image(SMALL_IMAGE, tmp_path / "folder", downsample=4)
    assert [each.name for each in tmp_path.iterdir()] == ["folder"]


async def test_a_file_is_left_as_it_was_when_the_image_is_broken(service, tmp_path):
    path = tmp_path / "image.jpg"
    path.write_bytes(b"before")
    service.images[5] = b"<html>Site unavailable</html>"
    async with Client(settings=Settings(base_url="http://x", attempts=1), transport=service) as client:
        with pytest.raises(NotAnImageError):
            await client.save_image(5, path)
    assert path.read_bytes() == b"before"


@pytest.mark.parametrize(
    ("equalization", "expected"),
    [
        (None, None),
        ([], None),
        (dict.fromkeys(("red_lower", "red_upper")), None),
        ([{f"{c}_{e}": 7 for c in ("red", "green", "blue") for e in ("lower", "upper")}], (7,) * 6),
        ({"red_lower": 3}, RecordError),
    ],
)
async def test_windows_with_nulls(service, equalization, expected):
    service.tables["SectionImage"] = [{"id": 5, "data_set_id": 7}]
    service.tables["SectionDataSet"] = [{"id": 7, "equalization": equalization}]
    async with Client(settings=Settings(base_url="http://x", attempts=1), transport=service) as client:
        if expected is RecordError:
            with pytest.raises(RecordError, match="data set 7"):
                await client.section_image_ranges(5)
        else:
            assert await client.section_image_ranges(5) == {5: expected}


async def test_a_product_of_another_shape_is_an_error(service):
    service.tables["Product"] = [{"id": 5, "name": ["Mouse"]}]
    async with Client(settings=Settings(base_url="http://x", attempts=1), transport=service) as client:
        with pytest.raises(RecordError, match="Product 5"):
            await client.products()


def test_the_same_verbs_do_without_await(base_url, tmp_path):
    with BlockingClient(settings=Settings(base_url=base_url, requests_per_s=1000)) as client:
        assert ids(client.data_sets(gene="Prox1")) == [SAGITTAL]
        assert len(client.section_images(SAGITTAL)) == 18
        assert client.atlas_images(1)
        assert client.section_image_ranges(SMALL_IMAGE) == {SMALL_IMAGE: None}
        assert client.products()
        assert client.structures()
        assert client.structure_centers()
        assert client.space_transforms()
        assert client.atlases()
        path = client.save_image(SMALL_IMAGE, tmp_path / "image.jpg", downsample=4)
        assert decode(path.read_bytes()).shape == (1213 >> 4, 1701 >> 4, 3)
