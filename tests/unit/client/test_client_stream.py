from __future__ import annotations

import anyio
import numpy as np
import pytest

import asyncfetch
from asyncfetch.client import Client, FetchedSection
from asyncfetch.errors import (
    AlignmentError,
    ConnectError,
    CorruptImageError,
    ImageSizeError,
    NotFoundError,
    SelectionError,
    SettingsError,
)
from asyncfetch.geometry import REFERENCE_BOXES_UM, Plane, ReferenceGrid, full_to_tier
from asyncfetch.imaging import decode, encode
from asyncfetch.settings import Settings

pytestmark = pytest.mark.anyio

FREE = Settings(base_url="http://x", requests_per_s=1e6, workers=2, attempts=1, jobs=2)
HEIGHT, WIDTH = 48, 64
UM = 2000.0
SMALL = 900000005
NISSL = 900000004


def section_row(image_id, number, *, aligned=True):
    numbers = (100.0, 2.0, -2.0, 100.0, 3000.0, 2000.0)
    linear = np.linalg.inv(np.reshape(numbers[:4], (2, 2)))
    back = (*linear.ravel(), *-(linear @ numbers[4:]))
    alignment = {"id": image_id, "section_image_id": image_id}
    alignment |= {f"tsv_{k:02}": value for k, value in enumerate(numbers)}
    alignment |= {f"tvs_{k:02}": float(value) for k, value in enumerate(back)}
    return {
        "id": image_id,
        "data_set_id": 7,
        "section_number": number,
        "width": WIDTH,
        "height": HEIGHT,
        "resolution": 100.0,
        "tier_count": 4,
        "alignment2d": alignment if aligned else None,
    }


def data_set_row(**fields):
    # Volume (x, y, z) is reference (r, i, p): coronal.
    swap = (0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    alignment = {"id": 1}
    alignment |= {f"{name}_{k:02}": value for name in ("trv", "tvr") for k, value in enumerate(swap)}
    return {
        "id": 7,
        "reference_space_id": 9,
        "plane_of_section_id": 1,
        "section_thickness": 25.0,
        "alignment3d": alignment,
    } | fields


@pytest.fixture
def sections(service, jpeg):
    """Put six sections at the service, the highest number first."""
    service.tables["SectionDataSet"] = [data_set_row()]
    service.tables["SectionImage"] = [section_row(10 + k, 60 - 10 * k) for k in range(6)]
    service.images = {10 + k: jpeg for k in range(6)}
    return service


class Held:
    """A service that holds chosen images back until they are let go, and fails those with a failure."""

    def __init__(self, service, **options):
        self.service = service
        self.held: dict[int, anyio.Event] = {}
        self.views: dict[str, bytes | Exception] = options
        self.started: list[int] = []

    async def fetch(self, url, limit_bytes, on_bytes=None, *, fresh=False):
        if "image_download" in url:
            image_id = int(url.partition("?")[0].rpartition("/")[2])
            self.started.append(image_id)
            if image_id in self.held:
                await self.held[image_id].wait()
            if "view=expression" in url and "expression" in self.views:
                answer = self.views["expression"]
                if isinstance(answer, Exception):
                    raise answer
                reply = await self.service.fetch(url, limit_bytes, on_bytes)
                reply.body[:] = answer
                return reply
        return await self.service.fetch(url, limit_bytes, on_bytes)

    async def aclose(self):
        await self.service.aclose()


async def gathered(client, data_set_id=7, **options):
    async with client.open_sections(data_set_id, **options) as stream:
        return stream, [section async for section in stream]


async def test_each_section_comes_with_its_pixels_mask_and_place(sections, jpeg):
    mask = bytes(encode(np.full((HEIGHT, WIDTH, 3), 40, dtype=np.uint8)))
    async with Client(settings=FREE, transport=Held(sections, expression=mask)) as client:
        stream, found = await gathered(client, um=UM, downsample=0)
        data_set = await client.data_set(7)
    assert (stream.data_set, stream.n_sections, len(found)) == (data_set, 6, 6)
    assert repr(stream) == "SectionStream(data set 7, 6 sections)"
    grid = ReferenceGrid(Plane.CORONAL, UM, REFERENCE_BOXES_UM[9])
    by_id = {each.id: each for each in data_set.section_images}
    assert {each.image_id for each in found} == set(by_id)
    for each in found:
        placed = data_set.geometry(by_id[each.image_id])
        assert each.error is None
        assert each.section_number == by_id[each.image_id].section_number
        assert np.array_equal(each.pixels, decode(jpeg))
        assert np.array_equal(each.expression, decode(mask))
        assert each.slice_coordinate_um == 25.0 * each.section_number
        assert each.grid == stream.grid == grid
        assert each.grid_to_pixels == grid.grid_to_image(placed)
        assert each.displacement_field().shape == grid.shape
        assert each.displacement_field(np.float32).dtype == np.float32
        assert repr(each) == f"FetchedSection({each.image_id}, whole)"


async def test_sections_are_asked_for_by_their_number_and_come_as_they_arrive(sections):
    transport = Held(sections)
    async with Client(settings=FREE, transport=transport) as client:
        transport.held[15] = anyio.Event()
        async with client.open_sections(7, um=UM, downsample=0, view_expression=False) as stream:
            first = [(await anext(stream)).image_id for _ in range(5)]
            assert sorted(first) == [10, 11, 12, 13, 14]
            transport.held[15].set()
            assert [each.image_id async for each in stream] == [15]
    assert transport.started == [15, 14, 13, 12, 11, 10]


@pytest.mark.parametrize("jobs", [1, 2, 4])
async def test_no_more_is_fetched_than_has_a_place(sections, jobs):
    transport = Held(sections)
    async with (
        Client(settings=FREE.replace(jobs=jobs), transport=transport) as client,
        client.open_sections(7, um=UM, downsample=0, view_expression=False) as stream,
    ):
        await anext(stream)
        await anyio.wait_all_tasks_blocked()
        # One is at the reader, one more for each job waits for it.
        assert len(transport.started) == min(jobs + 1, 6)
        await anext(stream)
        await anyio.wait_all_tasks_blocked()
        assert len(transport.started) == min(jobs + 2, 6)


async def test_the_bytes_of_a_section_are_held_until_the_next_is_asked_for(sections):
    n_bytes = 3 * HEIGHT * WIDTH * 2 + 2 * HEIGHT * WIDTH // 6
    async with Client(settings=FREE.replace(jobs=1), transport=sections) as client:
        async with client.open_sections(7, um=UM, downsample=0) as stream:
            for n_held in (2, 2, 2, 2, 2, 1):
                await anext(stream)
                await anyio.wait_all_tasks_blocked()
                # While its neighbour is on a thread, or waits, nothing else may hold any.
                assert f"ByteBudget({n_held * n_bytes}/" in repr(client)
            assert [each async for each in stream] == []
            assert "ByteBudget(0/" in repr(client)
        async with client.open_sections(7, um=UM, downsample=0) as stream:
            await anext(stream)
        assert "ByteBudget(0/" in repr(client)


async def test_a_budget_for_one_section_is_enough_for_all(service):
    side = 2400
    jpeg = bytes(encode(np.zeros((side, side, 3), dtype=np.uint8)))
    service.tables["SectionDataSet"] = [data_set_row()]
    rows = [section_row(10 + k, k) | {"width": side, "height": side} for k in range(3)]
    service.tables["SectionImage"] = rows
    service.images = {10 + k: jpeg for k in range(3)}
    settings = FREE.replace(memory_bytes=2**24, jobs=3)
    async with (
        Client(settings=settings, transport=service) as client,
        client.open_sections(7, um=UM, downsample=0, view_expression=False) as stream,
    ):
        assert (await anext(stream)).pixels.shape == (side, side, 3)
        await anyio.wait_all_tasks_blocked()
        assert "1 held, 2 waiting" in repr(client)
        assert len([each async for each in stream]) == 2


async def test_failures_come_as_sections(sections):
    del sections.images[12]
    sections.images[13] = sections.images[13][:-40]
    async with Client(settings=FREE, transport=sections) as client:
        _, found = await gathered(client, um=UM, downsample=0)
    errors = {each.image_id: each.error for each in found}
    assert len(errors) == 6
    assert isinstance(errors.pop(12), NotFoundError)
    assert isinstance(errors.pop(13), CorruptImageError)
    assert set(errors.values()) == {None}
    failed = next(each for each in found if each.image_id == 13)
    assert failed.pixels is None
    assert failed.expression is None
    assert failed.slice_coordinate_um is not None
    assert repr(failed) == "FetchedSection(13, CorruptImageError)"
    with pytest.raises(SelectionError, match="image 13 has no pixels") as caught:
        failed.registered()
    assert caught.value.__cause__ is failed.error


async def test_an_image_of_another_size_is_a_failure(sections):
    sections.images[14] = bytes(encode(np.zeros((HEIGHT, WIDTH - 1, 3), dtype=np.uint8)))
    async with Client(settings=FREE, transport=sections) as client:
        _, found = await gathered(client, um=UM, downsample=0)
    assert [each.image_id for each in found if isinstance(each.error, ImageSizeError)] == [14]


def placed_at(stream, section, downsample):
    to_image = stream.grid.grid_to_image(stream.data_set.geometry(section.section))
    return section.grid_to_pixels == full_to_tier(downsample) @ to_image


@pytest.mark.parametrize("shape", [(23, 31), (24, 32), (25, 33)])
async def test_an_image_that_is_rounded_otherwise_is_placed_at_its_tier(sections, shape):
    for image_id in sections.images:
        sections.images[image_id] = bytes(encode(np.full((*shape, 3), 90, dtype=np.uint8)))
    async with Client(settings=FREE, transport=sections) as client:
        stream, found = await gathered(client, um=UM, downsample=1)
    for each in found:
        assert (each.error, each.downsample, each.pixels.shape[:2]) == (None, 1, shape)
        assert placed_at(stream, each, 1)


async def test_a_server_that_gives_full_resolution_is_noticed_by_the_size(sections):
    async with Client(settings=FREE, transport=sections) as client:
        stream, found = await gathered(client, um=UM, downsample=2)
    for each in found:
        assert (each.error, each.downsample, each.pixels.shape[:2]) == (None, 0, (HEIGHT, WIDTH))
        assert placed_at(stream, each, 0)


async def test_a_mask_of_another_tier_than_its_image_is_a_failure(sections):
    mask = bytes(encode(np.full((HEIGHT // 2, WIDTH // 2, 3), 40, dtype=np.uint8)))
    async with Client(settings=FREE, transport=Held(sections, expression=mask)) as client:
        _, found = await gathered(client, um=UM, downsample=0)
    assert all(isinstance(each.error, ImageSizeError) and each.expression is None for each in found)
    assert all(each.pixels is not None for each in found)


async def test_a_mask_that_fails_leaves_the_image(sections):
    async with Client(settings=FREE, transport=Held(sections, expression=ConnectError("down"))) as client:
        _, found = await gathered(client, um=UM, downsample=0)
    assert all(isinstance(each.error, ConnectError) for each in found)
    assert all(each.pixels is not None and each.expression is None for each in found)


async def test_a_mask_that_does_not_exist_is_no_error(sections):
    async with Client(settings=FREE, transport=Held(sections, expression=NotFoundError("none"))) as client:
        _, found = await gathered(client, um=UM, downsample=0)
    assert all(each.error is None and each.expression is None for each in found)
    with pytest.raises(SelectionError, match="no expression mask"):
        found[0].registered_expression()


async def test_a_section_without_a_place_comes_with_its_pixels(sections):
    sections.tables["SectionImage"][0]["alignment2d"] = None
    async with Client(settings=FREE, transport=sections) as client:
        _, found = await gathered(client, um=UM, downsample=0)
    lost = next(each for each in found if each.image_id == 10)
    assert isinstance(lost.error, AlignmentError)
    assert lost.pixels is not None
    assert (lost.grid_to_pixels, lost.slice_coordinate_um) == (None, None)
    for use in (lost.displacement_field, lost.registered):
        with pytest.raises(AlignmentError, match="image 10 has no position"):
            use()
    assert sum(each.error is None for each in found) == 5


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"reference_space_id": 11}, "extent"),
        ({"plane_of_section_id": None, "alignment3d": None}, "plane of"),
    ],
)
async def test_a_data_set_without_a_grid_gives_pixels_alone(sections, fields, message):
    sections.tables["SectionDataSet"] = [data_set_row(**fields)]
    async with Client(settings=FREE, transport=sections) as client:
        stream, found = await gathered(client, um=UM, downsample=0)
    assert stream.grid is None
    assert len(found) == 6
    assert all(each.pixels is not None and message in each.error.message for each in found)


async def test_the_tier_follows_the_pitch_unless_it_is_chosen(sections):
    sections.images = {}
    async with Client(settings=FREE, transport=sections) as client:
        for options, downsample in (({"um": 800.0}, 2), ({"um": 100.0}, 0), ({"downsample": 1}, 1)):
            _, found = await gathered(client, **options)
            assert {each.downsample for each in found} == {downsample}
            assert all(each.grid_to_pixels is not None for each in found)
    asked = [url for url in sections.urls if "image_download" in url]
    assert ["downsample=2" in url for url in asked[:6]] == [True] * 6
    assert not any("downsample" in url for url in asked[6:12])


@pytest.mark.parametrize("parallel", [False, True])
async def test_the_detection_point_is_the_middle_unless_it_is_chosen(sections, parallel):
    # Tilt the volume, so that the slice coordinate differs from point to point.
    tilted = (0.0, 0.1, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    matrix = np.reshape(tilted[:9], (3, 3))
    back = (*np.linalg.inv(matrix).ravel(), 0.0, 0.0, 0.0)
    row = data_set_row()
    row["alignment3d"] |= {f"tvr_{k:02}": value for k, value in enumerate(tilted)}
    row["alignment3d"] |= {f"trv_{k:02}": float(value) for k, value in enumerate(back)}
    sections.tables["SectionDataSet"] = [row]
    async with Client(settings=FREE, transport=sections) as client:
        for point in (None, (0.0, 0.0), (3.5, -7.0)):
            stream, found = await gathered(
                client, um=UM, downsample=0, parallel=parallel, detection_xy=point, view_expression=False
            )
            for each in found:
                xy = point or (WIDTH / 2, HEIGHT / 2)
                placed = stream.data_set.geometry(each.section)
                assert each.slice_coordinate_um == placed.image_to_reference(xy)[0]
                to_image = stream.grid.grid_to_image(placed, parallel=parallel, detection_xy=xy)
                assert each.grid_to_pixels == full_to_tier(0) @ to_image


async def test_a_data_set_without_sections_ends_at_once(sections):
    sections.tables["SectionImage"] = []
    async with Client(settings=FREE, transport=sections) as client:
        assert (await gathered(client))[1] == []


async def test_a_data_set_that_is_not_there_is_named(service):
    async with Client(settings=FREE, transport=service) as client:
        with pytest.raises(NotFoundError, match="data set 8"):
            await gathered(client, 8)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"um": 0}, SettingsError),
        ({"um": float("nan")}, SettingsError),
        ({"downsample": -1}, SelectionError),
        ({"detection_xy": (1.0, float("inf"))}, SelectionError),
        ({"detection_xy": (1.0, 2.0, 3.0)}, SelectionError),
    ],
)
async def test_what_breaks_a_rule_is_told_before_anything_is_asked(sections, options, error):
    async with Client(settings=FREE, transport=sections) as client:
        with pytest.raises(error):
            await gathered(client, **options)
    assert sections.urls == []


async def test_leaving_early_ends_what_is_in_flight(sections):
    transport = Held(sections)
    transport.held = {image_id: anyio.Event() for image_id in (10, 11, 12, 13)}
    async with Client(settings=FREE, transport=transport) as client:
        async with client.open_sections(7, um=UM, downsample=0) as stream:
            async for each in stream:
                assert isinstance(each, FetchedSection)
                break
        assert "0 held, 0 waiting" in repr(client)


async def test_an_error_of_the_reader_comes_out_as_it_is(sections):
    async def read(client):
        async with client.open_sections(7, um=UM, downsample=0) as stream:
            async for _ in stream:
                raise ZeroDivisionError

    async with Client(settings=FREE, transport=sections) as client:
        with pytest.raises(ZeroDivisionError):
            await read(client)


async def test_a_bug_on_the_way_comes_out_as_it_is(sections):
    sections.images[13] = ZeroDivisionError()
    async with Client(settings=FREE, transport=sections) as client:
        with pytest.raises(ZeroDivisionError):
            await gathered(client, um=UM, downsample=0)


async def test_registered_planes_are_those_of_a_mirror(replica_process, tmp_path):
    settings = Settings(base_url=replica_process.base_url, requests_per_s=1000, um=50, workers=2)
    views = ("image", "expression")
    await asyncfetch.mirror(f"dataset:{SMALL}", tmp_path / "out.zarr", settings=settings, views=views)
    async with Client(settings=settings) as client:
        _, found = await gathered(client, SMALL, um=50)
    data_set = asyncfetch.open(tmp_path / "out.zarr").data_set(SMALL)
    slots = data_set.read_registered_layout().z_by_image
    assert len(found) == len(slots) == 10
    for each in found:
        plane = np.asarray(data_set.open_registered()[:, slots[each.image_id]]).transpose(1, 2, 0)
        assert np.array_equal(each.registered(), plane)
        assert plane.std() > 10
        assert each.registered_expression().shape == plane.shape


async def test_nissl_sections_have_no_mask(replica_process):
    settings = Settings(base_url=replica_process.base_url, requests_per_s=1000, workers=2)
    async with Client(settings=settings) as client:
        _, found = await gathered(client, NISSL, um=200)
    assert found
    assert all(each.error is None and each.expression is None for each in found)
    assert all(each.pixels is not None for each in found)
