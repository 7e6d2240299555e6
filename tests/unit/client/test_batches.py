"""Data sets of a product come in order, their records being asked for several at a time."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

import anyio
import msgspec
import pytest

from asyncfetch.allen.rma import parse_criteria
from asyncfetch.client import Client
from asyncfetch.client.resolving import ResolvedDataSet, resolve_selections
from asyncfetch.engine import Reply
from asyncfetch.failures import Failure
from asyncfetch.replica import GeneratedAtlas
from asyncfetch.replica.rma import Evaluator
from asyncfetch.selecting.selection import parse_selection
from asyncfetch.settings import Settings

pytestmark = pytest.mark.anyio


class Product:
    """The replica's answers without a socket; `hold` can keep a request back."""

    def __init__(self, n_data_sets):
        self._evaluator = Evaluator(GeneratedAtlas(n_data_sets))
        self.criteria = []
        self.refused = None

    async def hold(self, criteria):
        pass

    async def fetch(self, url, limit_bytes, on_bytes=None, *, fresh=False):
        (criteria,) = parse_qs(urlsplit(url).query)["criteria"]
        self.criteria.append(criteria)
        await self.hold(criteria)
        if self.refused and re.search(self.refused, criteria):
            body = {"success": False, "msg": "the query cannot be answered"}
        else:
            body = self._evaluator.answer(parse_criteria(criteria))
        return Reply(url, 200, {}, bytearray(msgspec.json.encode(body)), 0.0)

    async def aclose(self):
        pass

    def pages_of(self, model):
        return [each for each in self.criteria if each.startswith(f"model::{model}")]


async def resolve(product, **settings):
    found = []
    send, receive = anyio.create_memory_object_stream(1)
    chosen = Settings(requests_per_s=1e6, **settings)
    async with Client(settings=chosen, transport=product) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(resolve_selections, client, parse_selection("product:1"), send)
        async with receive:
            found.extend([each async for each in receive])
    return found


def data_sets_in(found):
    return [each.data_set for each in found if isinstance(each, ResolvedDataSet)]


def ids_of(found):
    return [each.id for each in data_sets_in(found)]


async def test_every_data_set_of_a_product_comes_once_with_all_its_sections_in_order():
    found = await resolve(Product(650), page_rows=300)
    assert ids_of(found) == list(range(700_000_000, 700_006_500, 10))
    assert sum(len(each.section_images) for each in data_sets_in(found)) == GeneratedAtlas(650).n_sections


async def test_later_batches_are_asked_for_while_the_first_one_is_awaited():
    product, all_came = Product(400), anyio.Event()

    async def hold(criteria):
        if criteria.startswith("model::SectionImage"):
            if len(product.pages_of("SectionImage")) == 4:
                all_came.set()
            # one after another they would wait here for ever
            await all_came.wait()

    product.hold = hold
    found = await resolve(product, jobs=8)
    assert ids_of(found) == list(range(700_000_000, 700_004_000, 10))


async def test_a_batch_that_comes_late_holds_its_place():
    product = Product(300)
    others = anyio.Event()

    async def hold(criteria):
        if "data_set_id$in" in criteria:
            if "700000000," in criteria:
                await others.wait()
            elif len(product.pages_of("SectionImage")) >= 3:
                others.set()

    product.hold = hold
    assert ids_of(await resolve(product, jobs=8)) == list(range(700_000_000, 700_003_000, 10))


async def test_a_batch_that_the_api_refuses_is_asked_for_one_by_one():
    product = Product(201)
    product.refused = r"\[data_set_id\$in.*700001500|\[data_set_id\$eq700001500\]"
    found = await resolve(product)
    assert len(ids_of(found)) == 200
    assert 700_001_500 not in ids_of(found)
    assert [each.item for each in found if isinstance(each, Failure)] == ["dataset:700001500"]


@pytest.mark.parametrize("page_rows", [500, 100])
async def test_pages_that_prove_themselves_the_last_are_followed_by_no_empty_one(page_rows):
    product = Product(1200)
    await resolve(product, page_rows=page_rows)
    n_sections = GeneratedAtlas(1200).n_sections
    least = -(-1200 // page_rows) + 12 + 12 * -(-n_sections // 12 // page_rows)
    assert len(product.criteria) <= 1.25 * least
