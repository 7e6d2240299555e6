"""A store of the sample atlas in both reference spaces, whose phantom shows every flip, and exports of it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import anyio
import pytest

import asyncfetch
from asyncfetch import blocking
from asyncfetch.replica import open_replica
from asyncfetch.sample import sample_atlas

CORONAL, SAGITTAL = 479, 69289763
SECTIONS = {CORONAL: (947900028, 947900029, 947900030), SAGITTAL: (69177654, 69177656, 69177658)}
UM = 200.0
DOWNSAMPLE = 3


class Truth(NamedTuple):
    """The store, and the phantom that its images were drawn from.

    Attributes
    ----------
    path : Path
        The store: all layers, and volumes.
    phantom : Phantom
        The brain, in space 9.
    """

    path: Path
    phantom: object

    @property
    def store(self):
        return asyncfetch.open(self.path)


@pytest.fixture(scope="session")
def truth(tmp_path_factory) -> Truth:
    folder = tmp_path_factory.mktemp("exported")
    atlas = sample_atlas()
    path = folder / "brains.ome.zarr"

    async def make() -> None:
        async with open_replica(atlas) as replica:
            report = await asyncfetch.mirror(
                [f"image:{image_id}" for image_ids in SECTIONS.values() for image_id in image_ids],
                path,
                base_url=replica.base_url,
                requests_per_s=1000.0,
                layers=("source", "sections", "registered"),
                um=UM,
                downsample=DOWNSAMPLE,
            )
        assert not report.failures
        for data_set_id in SECTIONS:
            await asyncfetch.volume(path, data_set_id, max_gap_um=1000.0)

    anyio.run(make)
    return Truth(path, atlas.phantom)


@pytest.fixture
def store_copy(truth, tmp_path) -> Path:
    """Return a store that may be changed."""
    return Path(shutil.copytree(truth.path, tmp_path / "brains.ome.zarr"))


@pytest.fixture
def exported(truth, tmp_path):
    """Return what exports the store, and gives the folder: a format, a selection and options in."""

    def run(name, selection=None, **options):
        folder = tmp_path / "out"
        report = blocking.export(truth.path, selection, format=name, folder=folder, **options)
        assert report.failures == []
        return folder

    return run
