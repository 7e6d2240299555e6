from __future__ import annotations

import json
from urllib.parse import parse_qsl, urlsplit

import anyio
import numpy as np
import pytest

from asyncfetch.allen.sync import (
    ImageSync,
    ReferencePoint,
    SyncRequest,
    parse_sync_request,
    sync_json,
    sync_xml,
)
from asyncfetch.client import BlockingClient, Client
from asyncfetch.engine import Reply
from asyncfetch.errors import QueryError, ReplyError, SelectionError
from asyncfetch.settings import Settings

SETTINGS = Settings(base_url="http://127.0.0.1:1", requests_per_s=1e6, jobs=3)


class FakeServices:
    """Answers from its own numbers; ``faults`` come first, and ``change`` changes an answer."""

    def __init__(self) -> None:
        self.requests: list[SyncRequest] = []
        self.faults: list[bytes] = []
        self.most_at_once = self.n_open = 0
        self.change = lambda answer: answer

    async def fetch(self, url, limit_bytes, on_bytes=None, *, fresh=False) -> Reply:
        parts = urlsplit(url)
        service, _, name = parts.path.removeprefix("/api/v2/").partition("/")
        seed, _, fmt = name.partition(".")
        request = parse_sync_request(service, seed, dict(parse_qsl(parts.query)))
        self.requests.append(request)
        self.n_open += 1
        self.most_at_once = max(self.most_at_once, self.n_open)
        # later requests are answered first
        for _ in range(max(0, 20 - len(self.requests))):
            await anyio.lowlevel.checkpoint()
        self.n_open -= 1
        if self.faults:
            return Reply(url, 200, {}, bytearray(self.faults.pop(0)), 0.0)
        answer = self.change(self.answer(request))
        body = (
            sync_xml(request.service, answer, seed_id=request.seed_id)
            if fmt == "xml"
            else json.dumps(sync_json(request.service, answer, seed_id=request.seed_id)).encode()
        )
        return Reply(url, 200, {}, bytearray(body), 0.0)

    async def aclose(self) -> None:
        pass

    @staticmethod
    def answer(request: SyncRequest):
        if request.service == "image_to_reference":
            x, y = request.point
            return ReferencePoint(x=x, y=y, z=float(request.seed_id))
        by_image = request.service == "image_to_image_2d"
        x = sum(request.point) + 0.125
        syncs = [
            ImageSync(
                section_data_set_id=None if by_image else target,
                section_image_id=target if by_image else 7,
                section_number=None if by_image else 4,
                x=x,
                y=float(target),
            )
            for target in request.target_ids
        ]
        return syncs[0] if request.service == "image_to_atlas" else syncs


@pytest.fixture
def services() -> FakeServices:
    return FakeServices()


@pytest.fixture
async def allen(services):
    async with Client(settings=SETTINGS, transport=services) as client:
        yield client


@pytest.mark.anyio
async def test_one_point_gives_one_answer(allen):
    assert await allen.sync.image_to_reference(5, (1.5, 2.0)) == ReferencePoint(x=1.5, y=2.0, z=5.0)
    found = await allen.sync.image_to_image(5, (6208, 2368), data_set_ids=[67810540])
    assert found == [
        ImageSync(
            section_data_set_id=67810540, section_image_id=7, section_number=4, x=8576.125, y=67810540.0
        )
    ]
    plate = await allen.sync.image_to_atlas(5, (1, 2), 1)
    assert plate.section_image_id == 7
    centres = await allen.sync.structure_to_image(479, [1018, 322])
    assert [each.y for each in centres] == [1018.0, 322.0]
    there = await allen.sync.reference_to_image(9, (1, 2, 3), [479])
    assert there[0].x == 6.125


@pytest.mark.anyio
async def test_answers_come_in_the_order_of_the_points(allen, services):
    points = np.arange(60.0).reshape(5, 6, 2)
    found = await allen.sync.image_to_reference(5, points)
    assert [[(each.x, each.y) for each in row] for row in found] == [
        [tuple(point) for point in row] for row in points.tolist()
    ]
    assert 1 < services.most_at_once <= SETTINGS.jobs + 1


@pytest.mark.anyio
async def test_targets_beyond_one_request_are_asked_in_batches_and_joined(allen, services):
    targets = list(range(1000, 1250))
    found = await allen.sync.reference_to_image(9, [(1, 2, 3), (4, 5, 6)], targets)
    assert [len(each) for each in found] == [250, 250]
    assert [each.section_data_set_id for each in found[1]] == targets
    assert {each.x for each in found[0]} == {6.125}
    assert sorted(len(request.target_ids) for request in services.requests) == [50, 50, 100, 100, 100, 100]


@pytest.mark.anyio
async def test_answers_are_matched_to_their_targets(allen, services):
    services.change = lambda answer: answer[::-1][:2]
    found = await allen.sync.image_to_image(5, (1, 2), [10, 11, 12])
    # one that is not answered is as one that failed
    assert found[0] == ImageSync(section_data_set_id=10)
    assert [each.section_data_set_id for each in found] == [10, 11, 12]
    assert [each.y for each in found] == [None, 11.0, 12.0]


@pytest.mark.anyio
async def test_the_seed_keeps_its_point_where_the_service_leaves_it_out(allen):
    found = await allen.sync.image_to_image_2d(5, (1.0, 2.0), [4, 5, 6])
    assert [each.section_image_id for each in found] == [4, 5, 6]
    assert found[1] == ImageSync(section_image_id=5, x=1.0, y=2.0)
    assert found[2].y == 6.0


@pytest.mark.anyio
async def test_no_points_cost_no_request(allen, services):
    assert await allen.sync.image_to_reference(5, np.empty((0, 2))) == []
    assert services.requests == []


@pytest.mark.anyio
async def test_json_and_xml_say_the_same(allen):
    for service, point, targets in (
        ("image_to_atlas", (1.0, 2.0), (1,)),
        ("image_to_image", (1.0, 2.0), (3, 4)),
        ("image_to_image_2d", (1.0, 2.0), (3, 4)),
        ("image_to_reference", (1.0, 2.0), ()),
        ("reference_to_image", (1.0, 2.0, 3.0), (3, 4)),
        ("structure_to_image", (), (3, 4)),
    ):
        request = SyncRequest(service=service, seed_id=9, point=point, target_ids=targets)
        assert await allen.sync.ask(request) == await allen.sync.ask(request, "xml"), service


@pytest.mark.anyio
async def test_a_refusal_is_raised_as_it_is_and_not_asked_again(allen, services):
    services.faults = [b'{"success":false,"msg":"no such image"}']
    with pytest.raises(QueryError, match="no such image"):
        await allen.sync.image_to_reference(5, np.zeros((40, 2)))
    assert len(services.requests) < 2 * (SETTINGS.jobs + 1)


@pytest.mark.anyio
async def test_a_reply_that_is_none_is_asked_for_again(allen, services):
    services.faults = [b"<html>Site unavailable</html>"]
    assert (await allen.sync.image_to_reference(5, (1, 2))).z == 5.0
    assert len(services.requests) == 2


@pytest.mark.anyio
async def test_answers_that_belong_to_nothing_are_no_reply(services):
    services.change = lambda answer: [ImageSync(section_data_set_id=99, section_image_id=1, x=0.0, y=0.0)]
    async with Client(settings=SETTINGS.replace(attempts=1), transport=services) as allen:
        with pytest.raises(ReplyError, match="99"):
            await allen.sync.image_to_image(5, (1, 2), [10])
        with pytest.raises(ReplyError, match="1 answer to 2 structures"):
            await allen.sync.structure_to_image(479, [1, 2])


@pytest.mark.anyio
async def test_what_cannot_be_asked_costs_no_request(allen, services):
    for points, targets in (((1, 2, 3), [1]), ((1, np.nan), [1]), ((1, 2), []), ((1, 2), [[1]]), ("ab", [1])):
        with pytest.raises(SelectionError):
            await allen.sync.image_to_image(5, points, targets)
    assert services.requests == []


def test_the_services_are_there_without_await(services):
    with BlockingClient(settings=SETTINGS, transport=services) as allen:
        assert allen.sync.image_to_reference(5, (1.5, 2.0)).z == 5.0
        assert allen.sync.image_to_image(5, [(1, 2)], [10])[0][0].section_data_set_id == 10
        assert allen.sync.image_to_image_2d(5, (1, 2), [4])[0].section_image_id == 4
        assert allen.sync.image_to_atlas(5, (1, 2), 1).section_image_id == 7
        assert allen.sync.reference_to_image(9, (1, 2, 3), [479])[0].x == 6.125
        assert allen.sync.structure_to_image(479, [1018])[0].y == 1018.0
