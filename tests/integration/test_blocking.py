"""The blocking verbs: the same results, with and without a running loop around them."""

from __future__ import annotations

import anyio
import pytest

from asyncfetch import blocking


@pytest.fixture
def choices(replica_process):
    return {"base_url": replica_process.base_url, "requests_per_s": 1000.0, "um": 100}


def test_a_script_mirrors_and_reads_without_await(choices, tmp_path):
    report = blocking.mirror("image:69177654", tmp_path / "out.zarr", **choices)
    assert (report.n_committed, report.failures) == (1, [])
    assert blocking.resume(tmp_path / "out.zarr").n_requests == 0
    data_set = blocking.open(tmp_path / "out.zarr").data_set(69289763)
    with blocking.Client(choices["base_url"]) as allen:
        assert data_set.section(69177654).read_jpeg() == allen.image_bytes(69177654, downsample=5)


def test_a_notebook_may_call_it_while_its_own_loop_runs(choices, tmp_path):
    async def cell():
        return blocking.mirror("image:69177654", tmp_path / "out.zarr", **choices)

    assert anyio.run(cell).n_committed == 1


def test_a_notebook_may_keep_a_client_open_from_cell_to_cell(choices):
    async def cell(allen, *image_ids):
        return [allen.image_bytes(image_id, downsample=5) for image_id in image_ids]

    async def notebook():
        # each cell runs on the loop's own thread, which nothing else keeps alive meanwhile
        with blocking.Client(choices["base_url"]) as allen:
            first = await cell(allen, 69177654)
            return first + await cell(allen, 69177654, 69177654)

    bodies = anyio.run(notebook)
    assert len(bodies) == 3
    assert len(set(bodies)) == 1
