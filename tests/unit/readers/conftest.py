"""A small store in both spaces: coronal sections in all layers and a volume, sagittal ones as JPEGs and planes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest

import asyncfetch
from asyncfetch.replica import open_replica
from asyncfetch.sample import sample_atlas

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

CORONAL = 479
CORONAL_IMAGES = (947900029, 947900030)
SAGITTAL_IMAGES = (69177654, 69177656)
UM = 100.0


async def make(location: Path, image_ids: Iterable[int], **options: Any) -> None:
    async with open_replica(sample_atlas()) as replica:
        report = await asyncfetch.mirror(
            [f"image:{image_id}" for image_id in image_ids],
            location,
            base_url=replica.base_url,
            requests_per_s=1000.0,
            um=UM,
            downsample=3,
            **options,
        )
    assert not report.failures


@pytest.fixture(scope="session")
def store(tmp_path_factory) -> Path:
    location = tmp_path_factory.mktemp("readers") / "brains.ome.zarr"

    async def run() -> None:
        await make(location, CORONAL_IMAGES, layers=("source", "sections", "registered"))
        await make(location, SAGITTAL_IMAGES)
        await asyncfetch.volume(location, CORONAL)

    anyio.run(run)
    return location


@pytest.fixture(scope="session")
def expression_store(tmp_path_factory) -> Path:
    """Return a store of the expression levels of two sections, and their volume."""
    location = tmp_path_factory.mktemp("readers") / "levels.ome.zarr"

    async def run() -> None:
        await make(location, CORONAL_IMAGES, views=("expression",), numeric_expression=True)
        await asyncfetch.volume(location, CORONAL, view="expression")

    anyio.run(run)
    return location
