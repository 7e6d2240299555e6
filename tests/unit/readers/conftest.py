"""A small store in both spaces: coronal sections in all layers and a volume, sagittal ones as JPEGs and planes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

import asyncfetch
from asyncfetch.replica import open_replica
from asyncfetch.sample import sample_atlas

if TYPE_CHECKING:
    from pathlib import Path

CORONAL, SAGITTAL = 479, 69289763
CORONAL_IMAGES = (947900029, 947900030)
SAGITTAL_IMAGES = (69177654, 69177656)
UM = 100.0


@pytest.fixture(scope="session")
def store(tmp_path_factory) -> Path:
    location = tmp_path_factory.mktemp("readers") / "brains.ome.zarr"

    async def make() -> None:
        async with open_replica(sample_atlas()) as replica:
            for image_ids, layers in (
                (CORONAL_IMAGES, ("source", "sections", "registered")),
                (SAGITTAL_IMAGES, ("source", "registered")),
            ):
                report = await asyncfetch.mirror(
                    [f"image:{image_id}" for image_id in image_ids],
                    location,
                    base_url=replica.base_url,
                    requests_per_s=1000.0,
                    layers=layers,
                    um=UM,
                    downsample=3,
                )
                assert not report.failures
        await asyncfetch.volume(location, CORONAL)

    anyio.run(make)
    return location
