"""The sections of a mirror done in other processes: their plans travel, and the bytes are the same."""

from __future__ import annotations

import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor

import anyio
import anyio.to_thread
import pytest

from asyncfetch.client import Client
from asyncfetch.mirroring import mirror
from asyncfetch.mirroring.fetching import mirror_section
from asyncfetch.replica import open_replica_process
from asyncfetch.settings import Settings
from asyncfetch.store import StoreWriter

SMALL = "dataset:900000005"
LAYERS = ("source", "sections", "registered")


def do_section(location, base_url, packed):
    """Bring one section into a store, in a process that knows nothing but its plan."""
    plan = pickle.loads(packed)

    async def body():
        async with Client(settings=Settings(base_url=base_url, requests_per_s=1000.0, workers=1)) as client:
            view = StoreWriter.open(location).view(plan.data_set_id, plan.view)
            return await mirror_section(client, view, plan)

    return anyio.run(body)


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "choices",
    [
        {"um": 100.0, "layers": LAYERS, "codec": "blosc-lz4"},
        {"um": 100.0, "views": ("expression",), "numeric_expression": True, "layers": LAYERS},
    ],
)
def test_the_items_of_a_mirror_can_be_done_by_a_pool_of_processes(tmp_path, choices, stored_objects):
    here, there = tmp_path / "here.zarr", tmp_path / "there.zarr"

    async def body(processes):
        async with open_replica_process() as base_url:
            asked = choices | {"base_url": base_url, "requests_per_s": 1000.0}

            async def elsewhere(plan, companion):
                companion.sent()
                future = processes.submit(do_section, there, base_url, pickle.dumps(plan))
                return await anyio.to_thread.run_sync(future.result)

            return [
                await mirror(SMALL, here, **asked),
                await mirror(SMALL, there, executor=elsewhere, **asked),
            ]

    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as processes:
        reports = anyio.run(body, processes)
    assert [(each.n_committed, each.failures) for each in reports] == [(10, []), (10, [])]
    assert stored_objects(here) == stored_objects(there)
