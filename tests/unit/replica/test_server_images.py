from __future__ import annotations

from contextlib import asynccontextmanager

import aiohttp
import anyio
import numpy as np
import pytest

from asyncfetch import sample
from asyncfetch.errors import CorruptImageError, SelectionError, SettingsError
from asyncfetch.geometry import Box, tier_shape
from asyncfetch.imaging import jpeg
from asyncfetch.replica import FaultPlan, open_replica, open_replica_process
from asyncfetch.replica.images import DrawnImages, read_picture
from asyncfetch.replica.options import read_options
from asyncfetch.sample import SampleAtlas, sample_atlas

pytestmark = pytest.mark.anyio

SMALL = 900005005


@asynccontextmanager
async def open_session(atlas, **options):
    async with open_replica(atlas, **options) as replica, aiohttp.ClientSession(replica.base_url) as session:
        yield replica, session


@pytest.fixture(scope="module")
def atlas() -> SampleAtlas:
    return sample_atlas()


def download(image_id, **parameters):
    text = "&".join(f"{name}={value}" for name, value in parameters.items())
    return f"/api/v2/image_download/{image_id}?{text}"


@pytest.mark.parametrize(
    ("redirect_base", "location"),
    [
        ("", "/cgi-bin/"),
        ("http://{host}", "http://replica.test:81/cgi-bin/"),
        ("http://{name}", "http://replica.test/cgi-bin/"),
        ("https://{name}:443", "https://replica.test:443/cgi-bin/"),
        ("http://mouse.brain-map.org", "http://mouse.brain-map.org/cgi-bin/"),
    ],
)
async def test_a_redirect_begins_as_the_options_say(atlas, redirect_base, location):
    async with open_session(atlas, redirect_base=redirect_base) as (_replica, session):
        headers = {"Host": "replica.test:81"}
        async with session.get(download(SMALL), allow_redirects=False, headers=headers) as reply:
            assert reply.headers["Location"].startswith(location)


def test_a_redirect_can_begin_with_known_words_only():
    with pytest.raises(SettingsError, match="redirect_base"):
        read_options({"redirect_base": "http://{port}"})


async def test_the_redirect_and_the_headers_are_the_recorded_ones(atlas):
    async with open_session(atlas) as (replica, session):
        async with session.get(download(SMALL, downsample=2), allow_redirects=False) as reply:
            assert reply.status == 302
            location = reply.headers["Location"]
        row = atlas.image_row(SMALL)
        width, height = row["width"] // 4, row["height"] // 4
        # absolute, on the host that was asked, and by http
        assert location == (
            f"{replica.base_url}/cgi-bin/imageservice?mime=1&path={row['path']}"
            f"&left=0&top=0&width={width}&height={height}&downsample=2"
        )
        async with session.get(location) as reply:
            assert reply.status == 200
            headers = reply.headers
            body = await reply.read()
        assert headers["Content-Type"] == "image/jpeg"
        assert headers["Content-Encoding"] == "gzip"
        assert headers["Transfer-Encoding"] == "chunked"
        assert headers["Content-Disposition"] == "attachment; filename=imagefile.jpg"
        assert headers["Last-Modified"] == "Thu, 31 Jan 2013 22:05:16 GMT"
        assert not {"Content-Length", "ETag", "Accept-Ranges"} & set(headers)
        assert jpeg.decode(body).shape == (height, width, 3)
        assert [request.kind for request in replica.requests] == ["download", "image"]
        assert [request.status for request in replica.requests] == [302, 200]
        assert all(request.ended_s >= request.started_s for request in replica.requests)
        assert len(replica.image_requests) == 1


async def test_all_download_services_send_the_same_bytes(atlas):
    async with open_session(atlas) as (replica, session):
        bodies = set()
        for service in ("image", "section_image", "atlas_image", "projection_image"):
            async with session.get(f"/api/v2/{service}_download/{SMALL}?downsample=3&nonsense=1") as reply:
                bodies.add(await reply.read())
        assert len(bodies) == 1
        assert replica.images.n_drawn == 1


async def test_unknown_images_and_views_are_not_found(atlas):
    nissl = next(
        row for row in atlas.tables["SectionImage"] if row["data_set_id"] == sample.NISSL_DATA_SET_ID
    )
    addresses = {
        download(1): 404,
        download(-1): 404,
        download("abc"): 404,
        download(SMALL, view="projection"): 404,
        download(nissl["id"], view="expression"): 404,
        download(SMALL, left=100000): 404,
        download(SMALL, downsample="x"): 400,
        download(SMALL, width=0): 400,
        "/cgi-bin/imageservice?path=/nothing.aff": 404,
        "/api/v2/nothing": 404,
    }
    async with open_session(atlas) as (_replica, session):
        for address, status in addresses.items():
            async with session.get(address) as reply:
                assert reply.status == status, address


async def test_the_expression_mask_has_the_size_of_the_image_on_black(atlas):
    async with open_session(atlas) as (_replica, session):
        bodies = []
        for parameters in ({"view": "expression"}, {"expression": "true"}):
            async with session.get(download(SMALL, downsample=2, **parameters)) as reply:
                bodies.append(await reply.read())
        assert bodies[0] == bodies[1]
        mask = jpeg.decode(bodies[0])
        row = atlas.image_row(SMALL)
        assert mask.shape == (row["height"] // 4, row["width"] // 4, 3)
        assert np.median(mask) <= 2
        assert mask.max() > 200
        gray = download(SMALL, downsample=2, view="expression", filter="colormap", filterVals="0,1,0,256,0")
        async with session.get(gray) as reply:
            assert jpeg.read_header(await reply.read()).n_components == 1


def test_the_size_of_every_recorded_image_in_every_tier_is_rounded_down(atlas):
    assert atlas.image_row(69177654)["width"] == 11921
    assert read_picture(atlas.image_row(69177654), {"downsample": "2"}).width == 2980
    assert read_picture(atlas.image_row(69177654), {"downsample": "2"}).height == 1888
    for image_id in atlas.recorded_image_ids:
        row = atlas.image_row(image_id)
        for n in range(row["tier_count"] + 3):
            picture = read_picture(row, {"downsample": str(n)})
            assert (picture.height, picture.width) == (max(row["height"] >> n, 1), max(row["width"] >> n, 1))
            assert (picture.height, picture.width) == tier_shape(row["height"], row["width"], n)


async def test_a_box_is_given_in_full_pixels_at_its_corner_and_tier_pixels_in_its_size(atlas):
    row = atlas.image_row(SMALL)
    images = DrawnImages(atlas)
    picture = read_picture(
        row, {"downsample": "1", "left": "200", "top": "100", "width": "300", "height": "50"}
    )
    whole = atlas.draw(SMALL, downsample=1)
    expected = jpeg.encode(np.ascontiguousarray(whole[50:100, 100:400]))
    assert await images.jpeg(picture) == expected
    full = {"width": "600", "height": "100", "downsample_dimensions": "true"}
    assert read_picture(row, {"downsample": "1", "left": "200", "top": "100", **full}) == picture
    over = read_picture(row, {"left": "1700", "top": "1200", "width": "500", "height": "500"})
    assert jpeg.decode(await images.jpeg(over)).shape == (13, row["width"] - 1700, 3)


async def test_the_quality_is_85_unless_asked_for(atlas):
    row = atlas.image_row(SMALL)
    images = DrawnImages(atlas)
    pixels = atlas.draw(SMALL, downsample=2)
    for parameters, quality in (({}, 85), ({"quality": "20"}, 20), ({"quality": "200"}, 100)):
        body = await images.jpeg(read_picture(row, {"downsample": "2", **parameters}))
        assert body == jpeg.encode(pixels, quality=quality)
    with pytest.raises(SelectionError, match="downsample"):
        read_picture(row, {"downsample": "-1"})


async def test_many_requests_at_once_draw_one_picture(atlas):
    images = DrawnImages(atlas)
    picture = read_picture(atlas.image_row(SMALL), {"downsample": "2"})
    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(images.gzipped, picture)
    assert images.n_drawn == 1


async def test_memory_holds_no_more_than_allowed(atlas):
    images = DrawnImages(atlas, memory_bytes=1)
    picture = read_picture(atlas.image_row(SMALL), {"downsample": "3"})
    assert await images.jpeg(picture) == await images.jpeg(picture)
    assert images.n_drawn == 2


async def test_the_folder_saves_the_drawing_of_a_second_run(atlas, tmp_path):
    picture = read_picture(atlas.image_row(SMALL), {"downsample": "3"})
    first, second = (DrawnImages(atlas, folder=tmp_path / "cache") for _ in range(2))
    assert await first.jpeg(picture) == await second.jpeg(picture)
    assert (first.n_drawn, second.n_drawn) == (1, 0)
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".jpg"]


async def test_clients_without_gzip_get_the_plain_jpeg(atlas):
    async with open_session(atlas) as (replica, session):
        plain = {"Accept-Encoding": "identity"}
        async with session.get(download(SMALL, downsample=3), headers=plain) as reply:
            assert "Content-Encoding" not in reply.headers
            assert reply.headers["Transfer-Encoding"] == "chunked"
            body = await reply.read()
        assert body == await replica.images.jpeg(read_picture(atlas.image_row(SMALL), {"downsample": "3"}))
        assert replica.image_requests[0].size_bytes == len(body)


async def test_faults_come_as_often_as_planned_and_then_stop(atlas):
    faults = {SMALL: ("status:503", 2)}
    async with open_session(atlas, faults=faults) as (replica, session):
        statuses = []
        for _ in range(4):
            async with session.get(download(SMALL, downsample=3)) as reply:
                statuses.append(reply.status)
        assert statuses == [503, 503, 200, 200]
        assert [request.fault for request in replica.image_requests] == ["status:503"] * 2 + [None] * 2


@pytest.mark.parametrize("kind", ["html", "not-jpeg"])
async def test_a_page_instead_of_an_image_comes_with_status_200(atlas, kind):
    async with open_session(atlas, faults={SMALL: kind}) as (_replica, session):
        async with session.get(download(SMALL, downsample=3)) as reply:
            assert reply.status == 200
            body = await reply.read()
        assert not body.startswith(b"\xff\xd8")
        assert (b"Site unavailable" in body) is (kind == "html")


async def test_a_truncated_image_ends_as_if_it_were_whole(atlas):
    async with open_session(atlas, faults={SMALL: "truncate"}) as (_replica, session):
        reply = await session.get(download(SMALL, downsample=3))
        body = await reply.read()
    with pytest.raises(CorruptImageError):
        jpeg.decode(body)


async def test_a_reset_connection_breaks_the_body(atlas):
    async with open_session(atlas, faults={SMALL: "reset"}) as (_replica, session):
        reply = await session.get(download(SMALL, downsample=3))
        with pytest.raises(aiohttp.ClientError):
            await reply.read()


async def test_a_stalled_body_holds_up_neither_other_replies_nor_the_end(atlas):
    async with open_session(atlas, faults={SMALL: ("stall", 1)}) as (_replica, session):
        stalled = await session.get(download(SMALL, downsample=3))
        assert len(await stalled.content.read(64)) > 0
        with anyio.move_on_after(0.05) as scope:
            await stalled.content.readexactly(10**9)
        assert scope.cancelled_caught
        async with session.get(download(SMALL, downsample=3)) as reply:
            assert jpeg.decode(await reply.read()).ndim == 3
        stalled.close()


async def test_a_connection_gets_no_more_bytes_a_second_than_allowed(atlas):
    async with open_session(atlas, bytes_per_s=400_000, gzip_level=-1, latency_s=0.02) as (replica, session):
        reply = await session.get(download(SMALL, downsample=1))
        n_bytes = len(await reply.read())
        record = replica.image_requests[0]
        assert n_bytes > 20_000
        assert record.ended_s - record.started_s >= 0.02 + 0.9 * n_bytes / 400_000


async def test_options_are_checked():
    with pytest.raises(SettingsError, match="latency"):
        async with open_replica(latency_s=-1):
            pass
    with pytest.raises(SettingsError, match="known options"):
        async with open_replica(color="red"):
            pass
    with pytest.raises(SettingsError, match="known faults"):
        FaultPlan({1: "fire"})


async def test_a_replica_in_another_process_answers(atlas):
    with anyio.fail_after(20):
        async with (
            open_replica_process(faults={SMALL: ["status:500", 1]}) as base_url,
            aiohttp.ClientSession(base_url) as session,
        ):
            async with session.get(download(SMALL, downsample=3)) as reply:
                assert reply.status == 500
            async with session.get(download(SMALL, downsample=3)) as reply:
                pixels = jpeg.decode(await reply.read())
            async with session.get("/replica/requests") as reply:
                kinds = [record["kind"] for record in await reply.json()]
    assert kinds == ["download", "image"] * 2
    expected = atlas.draw(SMALL, downsample=3, box=Box.of_shape(pixels.shape[:2]))
    assert np.abs(pixels.astype(int) - expected).mean() < 5
