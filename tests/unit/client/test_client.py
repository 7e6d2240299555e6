from __future__ import annotations

import asyncio
import io
import threading

import anyio
import numpy as np
import pytest
from PIL import Image

from asyncfetch.allen import ImageRequest, Query
from asyncfetch.client import Client
from asyncfetch.errors import (
    ClosedError,
    ConnectError,
    CorruptImageError,
    ImageSizeError,
    NotAnImageError,
    NotFoundError,
    QueryError,
    ReplyError,
    SelectionError,
    SettingsError,
    StatusError,
)
from asyncfetch.events import RequestAccepted, RequestFailed, RequestRetried
from asyncfetch.imaging import decode, read_header
from asyncfetch.settings import Settings

pytestmark = pytest.mark.anyio

FREE = Settings(base_url="http://x", requests_per_s=1e6, page_rows=3, workers=2, attempts=1)
# Two attempts, and a first delay that is drawn below a second.
TWICE = FREE.replace(attempts=2)
GENES = Query("Gene").order("genes.id")
ONE_GENE = GENES.page(0, 1)


def genes(*numbers):
    return [{"id": number, "acronym": f"g{number}"} for number in numbers]


async def test_pages_are_joined_in_their_order(service):
    service.tables["Gene"] = genes(*range(8, 0, -1))
    async with Client(settings=FREE, transport=service) as client:
        assert await client.rows(GENES) == service.tables["Gene"]
    assert [criteria.split("rma::options")[1] for criteria in service.criteria] == [
        f"[num_rows$eq{n}][start_row$eq{start}][order$eq'genes.id']" for start, n in ((0, 3), (2, 4), (5, 4))
    ]
    assert service.is_closed


async def test_a_last_page_that_is_full_is_followed_by_an_empty_one(service):
    service.tables["Gene"] = genes(1, 2, 3)
    async with Client(settings=FREE, transport=service) as client:
        assert await client.rows(GENES) == service.tables["Gene"]
    assert len(service.criteria) == 2


@pytest.mark.parametrize(("announced", "n_requests"), [(0, 4), (2, 4), (8, 3), (1000, 4)])
async def test_whatever_total_is_announced_all_rows_come(service, announced, n_requests):
    service.tables["Gene"] = genes(*range(8))
    service.announced = announced
    async with Client(settings=FREE, transport=service) as client:
        assert len(await client.rows(GENES)) == 8
    assert len(service.criteria) == n_requests


async def test_rows_that_come_twice_are_given_once(service):
    service.tables["Gene"] = genes(1, 2, 2, 3, 1, 4)
    async with Client(settings=FREE, transport=service) as client:
        assert [row["id"] for row in await client.rows(GENES)] == [1, 2, 3, 4]


async def test_no_row_is_missing_when_rows_go_away_between_pages(service):
    service.tables["Gene"] = genes(*range(20))
    async with Client(settings=FREE, transport=service) as client, client.open_rows(GENES) as rows:
        ids = []
        async for row in rows:
            ids.append(row["id"])
            if row["id"] in {4, 9}:
                del service.tables["Gene"][0]
    assert sorted(ids) == list(range(20))


async def test_rows_that_never_stand_still_are_an_error_that_may_pass(service):
    service.tables["Gene"] = genes(*range(30))
    got = []
    async with Client(settings=FREE, transport=service) as client:
        with pytest.raises(ReplyError, match="moved from page to page"):
            await _read_while_rows_are_added_before(client, service, got)
    assert len(set(got)) == len(got)


async def _read_while_rows_are_added_before(client, service, got):
    async with client.open_rows(GENES) as rows:
        async for row in rows:
            got.append(row["id"])
            service.tables["Gene"] = genes(100 + len(got)) + service.tables["Gene"]


async def test_rows_without_an_id_are_all_kept(service):
    service.tables["Gene"] = [{"acronym": "g"}, {"acronym": "g"}]
    async with Client(settings=FREE, transport=service) as client:
        assert len(await client.rows(GENES)) == 2


async def test_a_query_without_an_order_gets_one(service):
    async with Client(settings=FREE, transport=service) as client:
        assert await client.rows(Query("Gene")) == []
    assert service.criteria[0].endswith("[order$eq'id']")


async def test_a_number_of_rows_of_its_own_is_the_most_that_come(service):
    service.tables["Gene"] = genes(*range(20))
    async with Client(settings=FREE, transport=service) as client:
        assert [row["id"] for row in await client.rows(GENES.page(2, 5))] == [2, 3, 4, 5, 6]
    assert len(service.criteria) == 2


async def test_rows_are_given_while_one_later_page_is_fetched(service):
    service.tables["Gene"] = genes(*range(30))
    async with Client(settings=FREE, transport=service) as client, client.open_rows(GENES) as rows:
        assert (await anext(rows))["id"] == 0
        await anyio.wait_all_tasks_blocked()
        assert len(service.criteria) == 2
        assert [(await anext(rows))["id"] for _ in range(3)] == [1, 2, 3]
        await anyio.wait_all_tasks_blocked()
        assert len(service.criteria) == 3


async def test_an_error_on_a_later_page_comes_after_the_rows_before_it(service):
    service.tables["Gene"] = genes(*range(9))
    got = []

    async def read(client):
        async with client.open_rows(GENES) as rows:
            async for row in rows:
                service.faults = [ConnectError("down")]
                got.append(row["id"])

    async with Client(settings=FREE, transport=service) as client:
        with pytest.raises(ConnectError, match="down"):
            await read(client)
    assert got[:3] == [0, 1, 2]
    assert len(got) in {3, 6}


async def test_an_error_of_the_reader_comes_out_as_it_is(service):
    service.tables["Gene"] = genes(*range(9))

    async def read(client):
        async with client.open_rows(GENES) as rows:
            assert await anext(rows)
            raise ZeroDivisionError

    async with Client(settings=FREE, transport=service) as client:
        with pytest.raises(ZeroDivisionError):
            await read(client)


async def test_a_reader_that_leaves_early_leaves_nothing_behind(service):
    service.tables["Gene"] = genes(*range(9))
    async with Client(settings=FREE, transport=service) as client:
        async with client.open_rows(GENES) as rows:
            assert await anext(rows)
        assert await client.rows(GENES.page(0, 1)) == genes(0)


async def test_a_query_that_the_service_refuses_says_so_in_its_words(service):
    service.faults = [b'{"success": false, "msg": "Illegal attribute(s): nme"}']
    async with Client(settings=FREE, transport=service) as client:
        with pytest.raises(QueryError) as caught:
            await client.rows(GENES)
    assert caught.value.service_message == "Illegal attribute(s): nme"


async def test_a_page_that_is_no_json_is_asked_for_again(service):
    events = []
    service.tables["Gene"] = genes(1)
    service.faults = [b"<html>Site unavailable</html>"]
    async with Client(settings=TWICE, transport=service, on_event=events.append) as client:
        assert await client.rows(GENES) == genes(1)
    assert [event.error for event in events if isinstance(event, RequestRetried)] == ["ReplyError"]


async def test_a_data_set_comes_with_its_sections(service):
    service.tables["SectionDataSet"] = [{"id": 7, "section_thickness": 25.0, "reference_space_id": 9}]
    service.tables["SectionImage"] = [
        {"id": 100 + k, "data_set_id": 7, "section_number": 8 * k, "width": 40, "height": 30}
        for k in range(4)
    ]
    async with Client(settings=FREE, transport=service) as client:
        data_set = await client.data_set(7)
        section = await client.section_image(102)
    assert data_set.id == 7
    assert [each.id for each in data_set.section_images] == [100, 101, 102, 103]
    assert section == data_set.section_images[2]
    assert sum("alignment3d" in each for each in service.criteria) == 1
    assert all("alignment3d" in each or "alignment2d" in each for each in service.criteria)


async def test_a_data_set_and_its_sections_are_asked_for_side_by_side(service):
    service.tables["SectionDataSet"] = [{"id": 7}]
    service.tables["SectionImage"] = [{"id": 9, "data_set_id": 7, "width": 40, "height": 30}]
    answer, are_both_asked = service.fetch, anyio.Event()

    async def answer_once_both_are_asked(url, *rest, **more):
        if service.urls:
            are_both_asked.set()
        reply = await answer(url, *rest, **more)
        with anyio.fail_after(5):
            await are_both_asked.wait()
        return reply

    service.fetch = answer_once_both_are_asked
    async with Client(settings=FREE, transport=service) as client:
        assert (await client.data_set(7)).section_images[0].id == 9


async def test_a_data_set_whose_sections_cannot_be_had_is_an_error(service):
    service.tables["SectionDataSet"] = [{"id": 7}]
    answer = service.fetch

    async def answer_about_the_data_set_alone(url, *rest, **more):
        if "alignment2d" in url:
            raise StatusError("the server is down", status=503)
        return await answer(url, *rest, **more)

    service.fetch = answer_about_the_data_set_alone
    async with Client(settings=FREE, transport=service) as client:
        with pytest.raises(StatusError, match="the server is down"):
            await client.data_set(7)


async def test_an_id_that_has_no_row_is_not_found_by_name(service):
    async with Client(settings=FREE, transport=service) as client:
        with pytest.raises(NotFoundError, match="no data set 70813257"):
            await client.data_set(70813257)
        with pytest.raises(NotFoundError, match="no section image 5"):
            await client.section_image(5)


async def test_an_image_comes_as_bytes_and_as_pixels(service, jpeg, pixels):
    service.images[5] = jpeg
    async with Client("http://y", settings=FREE, transport=service) as client:
        assert await client.image_bytes(5, downsample=2) == jpeg
        image = await client.image(5)
    assert (image.shape, image.dtype) == ((48, 64, 3), np.uint8)
    assert np.array_equal(image, decode(jpeg))
    assert np.abs(image.astype(int) - pixels).mean() < 4
    assert service.urls == [
        "http://y/api/v2/image_download/5?downsample=2",
        "http://y/api/v2/image_download/5",
    ]


async def test_a_parameter_that_breaks_its_rule_sends_nothing(service):
    async with Client(settings=FREE, transport=service) as client:
        with pytest.raises(SelectionError):
            await client.image_bytes(5, quality=101)
    assert service.urls == []


async def test_an_unknown_image_is_not_found(service):
    async with Client(settings=FREE, transport=service) as client:
        with pytest.raises(NotFoundError, match="image_download/5"):
            await client.image(5)


async def test_a_page_instead_of_an_image_shows_how_it_begins(service):
    service.faults = [b"<html>Site unavailable</html>"]
    async with Client(settings=FREE, transport=service) as client:
        with pytest.raises(NotAnImageError, match="x/api/v2/image_download/5: ") as caught:
            await client.image_bytes(5)
    assert caught.value.beginning.startswith(b"<html>")
    assert caught.value.url == "http://x/api/v2/image_download/5"


async def test_an_image_cut_short_is_asked_for_again(service, jpeg):
    events = []
    service.images[5] = jpeg
    service.faults = [jpeg[:-200]]
    async with Client(settings=TWICE, transport=service, on_event=events.append) as client:
        assert await client.image_bytes(5) == jpeg
    assert [event.error for event in events if isinstance(event, RequestRetried)] == ["CorruptImageError"]


@pytest.mark.parametrize("missing", [2, 20, 500])
async def test_an_image_that_stays_cut_short_is_never_given(service, jpeg, missing):
    events = []
    service.images[5] = jpeg[:-missing]
    async with Client(settings=FREE, transport=service, on_event=events.append) as client:
        with pytest.raises(CorruptImageError):
            await client.image_bytes(5)
    assert isinstance(events[-1], RequestFailed)


async def test_an_image_of_another_size_is_refused(service, jpeg):
    service.images[5] = jpeg
    async with Client(settings=FREE, transport=service) as client:
        with pytest.raises(ImageSizeError) as caught:
            await client.fetch_jpeg(ImageRequest(image_id=5), (48, 63))
    assert (caught.value.expected, caught.value.actual) == ((48, 63), (48, 64))


def size_of(jpeg, _accept):
    return len(jpeg.data)


async def test_a_check_of_the_caller_gives_its_result_beside_the_image(service, jpeg):
    service.images[5] = jpeg
    async with Client(settings=FREE, transport=service) as client:
        image, n = await client.fetch_jpeg(ImageRequest(image_id=5), (48, 64), check=size_of)
        _, nothing = await client.fetch_jpeg(ImageRequest(image_id=5))
    assert (image.data, image.shape, image.n_components, n, nothing) == (jpeg, (48, 64), 3, len(jpeg), None)
    assert image.url == service.urls[0]
    assert service.limits == [48 * 64 * 3 + 2**20, 2**31]


async def test_a_bug_in_a_check_propagates(service, jpeg):
    service.images[5] = jpeg
    async with Client(settings=TWICE, transport=service) as client:
        with pytest.raises(ZeroDivisionError):
            await client.fetch_jpeg(ImageRequest(image_id=5), check=lambda _jpeg, _accept: 1 // 0)
    assert len(service.urls) == 1


async def test_a_check_goes_on_after_accept_on_its_thread(service, jpeg):
    service.images[5] = jpeg
    threads = []

    def check(image, accept):
        threads.append(threading.get_ident())
        accept()
        threads.append(threading.get_ident())
        return image.shape

    async with Client(settings=FREE, transport=service) as client:
        image, made = await client.fetch_jpeg(ImageRequest(image_id=5), check=check)
    assert (image.data, made) == (jpeg, (48, 64))
    assert threads[0] == threads[1] != threading.get_ident()


async def test_an_error_after_accept_is_the_callers_and_is_not_asked_for_again(service, jpeg):
    service.images[5] = jpeg
    events, error = [], CorruptImageError("said by the caller")

    def check(_image, accept):
        accept()
        raise error

    async with Client(settings=TWICE, transport=service, on_event=events.append) as client:
        with pytest.raises(CorruptImageError) as caught:
            await client.fetch_jpeg(ImageRequest(image_id=5), check=check)
    assert caught.value is error
    assert (error.url, error.args) == (None, ("said by the caller",))
    assert len(service.urls) == 1
    assert [type(each) for each in events if isinstance(each, RequestAccepted | RequestFailed)] == [
        RequestAccepted
    ]


async def test_a_request_is_done_at_accept_while_its_check_still_runs(service, jpeg):
    service.images[5] = jpeg
    is_told, was_told = threading.Event(), []

    def listen(event):
        if isinstance(event, RequestAccepted):
            is_told.set()

    def check(_image, accept):
        accept()
        was_told.append(is_told.wait(10))

    async with Client(settings=FREE, transport=service, on_event=listen) as client:
        await client.fetch_jpeg(ImageRequest(image_id=5), check=check)
    assert was_told == [True]


async def test_memory_that_an_image_asks_for_is_held_after_accept(service, jpeg):
    service.images[5], seen = progressive(jpeg), []

    def check(image, accept):
        decode(image.data)
        accept()
        seen.append(repr(client))

    async with Client(settings=FREE, transport=service) as client:
        await client.fetch_jpeg(ImageRequest(image_id=5), (48, 64), check=check)
        assert "ByteBudget(0/" in repr(client)
    assert f"ByteBudget({read_header(service.images[5]).coefficient_bytes}/" in seen[0]


async def test_reservations_are_counted(service):
    async with Client(settings=FREE, transport=service) as client, client.reserve(1000):
        assert "ByteBudget(1000/" in repr(client)


def progressive(jpeg):
    """Return an image as a progressive JPEG, which Pillow writes in ten scans."""
    file = io.BytesIO()
    Image.open(io.BytesIO(jpeg)).save(file, "JPEG", progressive=True)
    return file.getvalue()


async def test_an_image_of_unknown_size_counts_in_the_memory_budget_while_it_is_decoded(service, jpeg):
    service.images[5], seen = jpeg, []
    async with Client(settings=FREE, transport=service) as client:
        await client.fetch_jpeg(
            ImageRequest(image_id=5),
            check=lambda jpeg, _accept: seen.append(repr(client)) or decode(jpeg.data),
        )
        await client.fetch_jpeg(
            ImageRequest(image_id=5), (48, 64), check=lambda _jpeg, _accept: seen.append(repr(client))
        )
        assert "ByteBudget(0/" in repr(client)
    assert f"ByteBudget({48 * 64 * 3}/" in seen[0]
    # who knows the size has reserved it
    assert "ByteBudget(0/" in seen[1]


@pytest.mark.parametrize("shape", [(48, 64), None])
async def test_the_coefficients_of_a_progressive_jpeg_count_in_the_memory_budget(service, jpeg, shape):
    service.images[5], seen = progressive(jpeg), []
    n_bytes = read_header(service.images[5]).coefficient_bytes
    assert n_bytes > 0
    async with Client(settings=FREE, transport=service) as client:
        await client.fetch_jpeg(
            ImageRequest(image_id=5),
            shape,
            check=lambda jpeg, _accept: seen.append(repr(client)) or decode(jpeg.data),
        )
        assert "ByteBudget(0/" in repr(client)
    assert f"ByteBudget({n_bytes + (0 if shape else 48 * 64 * 3)}/" in seen[0]
    assert len(service.urls) == 1


async def test_a_progressive_jpeg_beyond_the_memory_budget_is_refused_by_its_header(service, jpeg):
    data = bytearray(progressive(jpeg))
    place = data.index(b"\xff\xc2") + 5
    data[place : place + 4] = (6000).to_bytes(2) * 2
    service.images[5] = bytes(data) + bytes(10**6)
    async with Client(settings=TWICE.replace(memory_bytes=2**24), transport=service) as client:
        with pytest.raises(
            CorruptImageError, match=r"progressive, .* beyond the memory budget of 17 MB; .*--memory"
        ):
            await client.image(5)
    # the next answer would be the same
    assert len(service.urls) == 1


async def test_more_memory_is_had_by_those_who_hold_some(service, jpeg):
    service.images[5] = jpeg
    async with Client(settings=FREE.replace(memory_bytes=2**24), transport=service) as client:
        with anyio.fail_after(10):
            async with client.reserve(2**24):
                assert (await client.image(5)).shape == (48, 64, 3)


async def test_a_caller_who_gives_up_frees_neither_the_thread_nor_its_memory(service, jpeg):
    service.images[5] = jpeg
    begun, release = threading.Event(), threading.Event()
    timeout = asyncio.timeout(None)

    def check(_jpeg, _accept):
        begun.set()
        release.wait(10)

    async def give_up():
        await anyio.to_thread.run_sync(begun.wait)
        timeout.reschedule(0)

    async def fetch(client):
        async with timeout, anyio.create_task_group() as group:
            group.start_soon(give_up)
            await client.fetch_jpeg(ImageRequest(image_id=5), check=check)

    async with Client(settings=FREE.replace(workers=1), transport=service) as client:
        with pytest.raises(TimeoutError):
            await fetch(client)
        assert f"ByteBudget({48 * 64 * 3}/" in repr(client)
        assert "1 busy" in repr(client)
        release.set()
        await client.image(5)
        assert "ByteBudget(0/" in repr(client)
        assert "0 busy" in repr(client)


async def test_leaving_the_block_waits_until_what_is_on_its_way_is_decoded(service, jpeg):
    service.images[5], got = jpeg, []
    answer, is_asked, may_answer = service.fetch, anyio.Event(), anyio.Event()

    async def fetch(*args, **options):
        is_asked.set()
        await may_answer.wait()
        return await answer(*args, **options)

    async def call(client):
        got.append(await client.image_bytes(5))

    service.fetch = fetch
    async with anyio.create_task_group() as group, Client(settings=FREE, transport=service) as client:
        group.start_soon(call, client)
        await is_asked.wait()
        may_answer.set()
    assert got == [jpeg]


async def test_a_closed_client_refuses(service):
    async with Client(settings=FREE, transport=service) as client:
        await client.aclose()
        with pytest.raises(ClosedError):
            await client.image_bytes(5)
    assert service.is_closed
    assert service.urls == []


async def test_rates_are_set_while_a_client_is_open(service):
    service.tables["Gene"] = genes(1)
    async with Client(settings=FREE.replace(requests_per_s=0.001), transport=service) as client:
        await client.rows(ONE_GENE)
        with anyio.fail_after(10):
            async with anyio.create_task_group() as group:
                # it would be a quarter of an hour at the rate of before
                group.start_soon(client.rows, ONE_GENE)
                await anyio.wait_all_tasks_blocked()
                client.set_rate(requests_per_s=1e6)
        client.set_rate(bytes_per_s=1e9)
        assert (client.settings.requests_per_s, client.settings.bytes_per_s) == (1e6, 1e9)


@pytest.mark.parametrize(
    "rates", [{"requests_per_s": 0}, {"bytes_per_s": -1.0}, {"requests_per_s": float("inf")}]
)
async def test_a_rate_that_is_none_is_refused_and_changes_nothing(service, rates):
    async with Client(settings=FREE, transport=service) as client:
        with pytest.raises(SettingsError, match=f"{next(iter(rates))} = .* is not allowed"):
            client.set_rate(**rates)
        assert client.settings == FREE
        assert "LimiterRate(1e+06/s)" in repr(client)


async def test_an_image_that_waits_for_another_attempt_lends_its_memory(service, jpeg):
    service.images[5], order = jpeg, []
    service.faults = [ConnectError("down")]
    settings = TWICE.replace(memory_bytes=2**24)

    async def fetch(client):
        async with client.reserve(2**24) as reservation:
            await client.fetch_jpeg(ImageRequest(image_id=5), parked=reservation.lent)
            order.append("fetched")

    async def borrow(client):
        async with client.reserve(2**24):
            order.append("borrowed")

    async with Client(settings=settings, transport=service) as client, anyio.create_task_group() as group:
        group.start_soon(fetch, client)
        await anyio.wait_all_tasks_blocked()
        group.start_soon(borrow, client)
    assert order == ["borrowed", "fetched"]
    assert "ByteBudget(0/" in repr(client)


async def test_a_large_page_counts_in_the_memory_budget_and_waits_for_no_image(service):
    service.tables["Gene"] = [{"id": k, "name": "x" * 1000} for k in range(100)]
    settings = FREE.replace(page_rows=1000, workers=1, memory_bytes=2**24)
    may_go, is_blocked, got = threading.Event(), anyio.Event(), []

    async def block(client):
        async with anyio.create_task_group() as group:
            group.start_soon(client.pool.run, may_go.wait)
            await anyio.wait_all_tasks_blocked()
            is_blocked.set()

    async def read(client):
        got.extend(await client.rows(GENES))

    async with (
        Client(settings=settings, transport=service) as client,
        anyio.create_task_group() as group,
        # by an image that waits for a thread
        client.reserve(2**24),
    ):
        group.start_soon(block, client)
        await is_blocked.wait()
        group.start_soon(read, client)
        try:
            await anyio.wait_all_tasks_blocked()
            held_bytes = int(repr(client).partition("ByteBudget(")[2].partition("/")[0])
        finally:
            may_go.set()
    assert held_bytes > 2**24 + 100_000
    assert len(got) == 100
