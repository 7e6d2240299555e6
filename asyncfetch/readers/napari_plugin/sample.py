"""The sample of the plugin: a small store, mirrored from the sample atlas on this machine alone."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from anyio.from_thread import start_blocking_portal

from asyncfetch.mirroring import mirror
from asyncfetch.readers.napari_plugin.reader import read_layers
from asyncfetch.replica import open_replica
from asyncfetch.sample import sample_atlas

if TYPE_CHECKING:
    from asyncfetch.readers.napari_plugin.layers import LayerData

__all__ = ["sample_layers"]

_DATA_SET_ID = 900000005
_UM = 50.0


def sample_layers() -> list[LayerData]:
    """Return the registered planes of a data set of the sample atlas; it takes seconds, once, and asks no network."""
    return read_layers(f"{_made().name}/sample.ome.zarr")


@functools.cache
def _made() -> tempfile.TemporaryDirectory[str]:
    """Return the folder of the store, which goes when this program ends."""
    folder = tempfile.TemporaryDirectory(prefix="asyncfetch-sample-")

    async def make() -> None:
        async with open_replica(sample_atlas()) as replica:
            await mirror(
                f"dataset:{_DATA_SET_ID}",
                Path(folder.name) / "sample.ome.zarr",
                base_url=replica.base_url,
                proxy="none",
                requests_per_s=1000.0,
                um=_UM,
            )

    # napari may have a loop of its own, as notebooks do
    with start_blocking_portal() as portal:
        portal.call(make)
    return folder
