from __future__ import annotations

import json

import pytest

from asyncfetch import mirror
from asyncfetch.replica import GeneratedAtlas, open_replica
from benchmarks.scale_store import N_MODELS, documents

pytestmark = pytest.mark.anyio


async def test_documents_that_are_made_are_those_that_a_mirror_writes(tmp_path):
    n = N_MODELS + 3
    options = {"layers": ("source",), "requests_per_s": 1e6}
    async with open_replica(GeneratedAtlas(n), port=0) as replica:
        await mirror("product:1", tmp_path / "all.zarr", base_url=replica.base_url, **options)
        models = [f"dataset:{700_000_000 + 10 * k}" for k in range(N_MODELS)]
        await mirror(models, tmp_path / "few.zarr", base_url=replica.base_url, **options)
    made = dict(documents(tmp_path / "few.zarr", n))
    assert len(made) == 3
    for data_set_id, data in made.items():
        written = (tmp_path / "all.zarr" / "data_sets" / str(data_set_id) / "zarr.json").read_bytes()
        assert json.loads(data) == json.loads(written)
        assert data == written
