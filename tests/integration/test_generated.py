"""A generated product is served, planned and mirrored as any other."""

from __future__ import annotations

import pytest

from asyncfetch import mirror
from asyncfetch import store as stores
from asyncfetch.imaging import decode
from asyncfetch.mirroring import estimate
from asyncfetch.replica import open_replica_process
from asyncfetch.replica.generated import stamped_id

pytestmark = pytest.mark.anyio


async def test_a_generated_product_is_mirrored_each_image_as_its_own(tmp_path):
    async with open_replica_process(generated=2) as base_url:
        asked = {"base_url": base_url, "um": 200, "requests_per_s": 1e4}
        planned = await estimate("product:1", **asked)
        report = await mirror("product:1", tmp_path / "out.zarr", **asked)
    assert (planned.n_data_sets, planned.n_to_fetch, planned.n_unplaced) == (2, 26, 0)
    assert (report.n_committed, report.failures, report.notes) == (26, [], [])
    data_set = stores.open(tmp_path / "out.zarr").data_set(700_000_010)
    for commit in data_set.read_commits():
        jpeg = data_set.section(commit.image_id).read_jpeg()
        assert stamped_id(decode(jpeg)) == commit.image_id


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--generated", "0"], "a generated product has between 1 and 1000000 data sets, not 0"),
        (["out.zarr", "--generated", "5"], "a STORE and --generated cannot be combined; give one of them"),
        (["--generated", "5", "--replay", "a.jsonl"], "--replay and --generated cannot be combined"),
    ],
    ids=["none", "beside a store", "beside a recording"],
)
def test_what_cannot_be_served_is_refused_in_words(forked_command, arguments, words):
    done = forked_command("serve", *arguments)
    assert done.returncode == 2
    assert words in done.stderr
