"""The page about viewers: its snippets run as they stand, those for readers too that asyncfetch does not install."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

import asyncfetch
from asyncfetch.replica import open_replica

PAGE = Path(__file__).parents[2] / "docs/how-to/open-in-a-viewer.md"
SNIPPET = re.compile(r"^```(?:py|python)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
READERS = ("bioio_ome_zarr", "dask", "napari_ome_zarr", "ngff_zarr", "tensorstore", "xarray")


@pytest.mark.filterwarnings("ignore")
def test_the_snippets_run_as_they_stand(needs, tmp_path):
    for reader in READERS:
        needs(reader)

    async def make():
        location = tmp_path / "brains.ome.zarr"
        async with open_replica() as replica:
            choices = {"base_url": replica.base_url, "requests_per_s": 1000.0, "um": 100.0}
            await asyncfetch.mirror("dataset:900000005", location, **choices)
        await asyncfetch.volume(location, max_gap_um=1000)

    anyio.run(make)
    snippets = SNIPPET.findall(PAGE.read_text(encoding="utf-8"))
    # a window needs a screen
    without_window = [each for each in snippets if "viewer.open(" not in each]
    assert (len(snippets), len(without_window)) == (10, 7)
    for snippet in without_window:
        words = [sys.executable, "-W", "ignore", "-c", snippet]
        told = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert told.returncode == 0, told.stderr
