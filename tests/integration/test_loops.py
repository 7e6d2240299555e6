"""The engine against the replica, on asyncio's own loop and on uvloop, with many callers at once."""

from __future__ import annotations

import sys

import anyio
import pytest

import asyncfetch
from asyncfetch.errors import ClosedError
from asyncfetch.settings import Settings

SMALL = 900000005
SMALL_IMAGES = [SMALL + 1000 * n for n in range(1, 11)]


def loop_options(name):
    if name == "uvloop":
        pytest.importorskip("uvloop", reason="uvloop does not run on Windows")
    return {"use_uvloop": name == "uvloop"}


@pytest.fixture(params=["default", "uvloop"])
def run(request, replica_process):
    """Return what runs a coroutine function on one of the loops, with settings for the replica."""
    settings = Settings(base_url=replica_process.base_url, requests_per_s=1000.0, um=100.0)

    def go(main, *args):
        async def checked():
            loop = sys.modules["asyncio"].get_running_loop()
            assert type(loop).__module__.startswith("uvloop") == (request.param == "uvloop")
            return await main(settings, *args)

        return anyio.run(checked, backend_options=loop_options(request.param))

    return go


async def mirror_small(settings, location):
    return await asyncfetch.mirror(f"dataset:{SMALL}", location, settings=settings)


def test_a_mirror_is_the_same_on_either_loop(run, tmp_path):
    report = run(mirror_small, tmp_path / "out.zarr")
    assert (report.n_committed, report.failures, report.notes) == (10, [], [])
    sections = asyncfetch.open(tmp_path / "out.zarr").data_set(SMALL).read_commits()
    assert sorted(section.image_id for section in sections) == SMALL_IMAGES


async def call_from_many_tasks(settings):
    got = []

    async def call(client, k):
        got.append((k % 10, await client.image_bytes(SMALL_IMAGES[k % 10], downsample=3)))

    async with asyncfetch.Client(settings=settings) as client, anyio.create_task_group() as group:
        for k in range(100):
            with client.share(f"caller {k % 7}"):
                group.start_soon(call, client, k)
    return got


def test_a_hundred_callers_share_one_client_on_either_loop(run):
    got = run(call_from_many_tasks)
    assert len(got) == 100
    assert len(set(got)) == 10


async def close_while_it_fetches(settings):
    outcomes = []

    async def call(client, k):
        try:
            await client.image_bytes(SMALL_IMAGES[k % 10])
        except ClosedError:
            outcomes.append("closed")
        else:
            outcomes.append("came")

    async with anyio.create_task_group() as group, asyncfetch.Client(settings=settings) as client:
        for k in range(50):
            group.start_soon(call, client, k)
        await client.image_bytes(SMALL_IMAGES[0])
        await client.aclose(cancel=True)
    return outcomes


def test_closing_by_force_leaves_nothing_behind_on_either_loop(run):
    outcomes = run(close_while_it_fetches)
    assert len(outcomes) == 50
    assert "closed" in outcomes
