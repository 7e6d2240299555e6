"""One store for each codec, with two data sets in mirrored spaces, and what leads others to it."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import anyio
import numpy as np
import pytest

import asyncfetch
from asyncfetch.replica import open_replica
from asyncfetch.sample import sample_atlas
from tests.ecosystem.served import serve

if TYPE_CHECKING:
    from collections.abc import Callable

#: The nox session sets it: what is missing is an error then, and not a test to leave out.
ALL = "ECOSYSTEM_ALL"
#: Where the nox session has installed what package.json names.
NODE = "ECOSYSTEM_NODE"
#: Beside this file, and run where the packages are.
SCRIPT = Path(__file__).parent / "read.mjs"

CORONAL, SAGITTAL = 479, 69289763
SECTIONS = {CORONAL: tuple(range(947900027, 947900032)), SAGITTAL: (69177650, 69177654, 69177656, 69177658)}
UM = 100.0
#: Tier of the sections: two levels.
DOWNSAMPLE = 2


class Stored(NamedTuple):
    """One image of a store.

    Attributes
    ----------
    root : Path
        The store.
    path : str
        Its group, below the root.
    levels : list of (c, z, y, x) array of uint8
        What our own reader gives.
    axes_um : dict of str to (n,) array of float64
        Where the pixels of level 0 are centred, as our own layout tells.
    z : int
        An index where the image shows the brain.
    """

    root: Path
    path: str
    levels: list[np.ndarray]
    axes_um: dict[str, np.ndarray]
    z: int

    @property
    def folder(self) -> Path:
        return self.root / self.path


@pytest.fixture(scope="session")
def store_of(tmp_path_factory) -> Callable[[str], Path]:
    """Return what mirrors the data sets in a codec, once, with all layers and a volume of each."""
    folder = tmp_path_factory.mktemp("ecosystem")
    selection = [f"image:{image_id}" for image_ids in SECTIONS.values() for image_id in image_ids]

    async def make(codec: str, location: Path) -> None:
        async with open_replica(sample_atlas(), cache_folder=folder / "drawn") as replica:
            report = await asyncfetch.mirror(
                selection,
                location,
                base_url=replica.base_url,
                requests_per_s=1000.0,
                codec=codec,
                layers=("source", "sections", "registered"),
                um=UM,
                downsample=DOWNSAMPLE,
            )
        assert not report.failures
        for data_set_id in SECTIONS:
            await asyncfetch.volume(location, data_set_id)

    def get(codec: str = "zstd") -> Path:
        location = folder / f"{codec}.ome.zarr"
        if not location.exists():
            anyio.run(make, codec, location)
        return location

    return get


@pytest.fixture
def store_copy(store_of, tmp_path) -> Path:
    """Return a store that may be changed."""
    return Path(shutil.copytree(store_of(), tmp_path / "copy.ome.zarr"))


@pytest.fixture(scope="session")
def images_of(store_of) -> Callable[..., dict[str, Stored]]:
    """Return what gives the images of a data set by their names: registered, volume, and a section."""

    def get(data_set_id: int = CORONAL, codec: str = "zstd") -> dict[str, Stored]:
        root = store_of(codec)
        return {name: _stored(root, data_set_id, name) for name in ("registered", "volume", "section")}

    return get


def _stored(root: Path, data_set_id: int, name: str) -> Stored:
    data_set = asyncfetch.open(root).data_set(data_set_id)
    image_id = SECTIONS[data_set_id][2]
    view = f"data_sets/{data_set_id}/image"
    layout = data_set.read_registered_layout()
    z = layout.z_by_image[image_id]
    if name == "registered":
        pixels = np.asarray(data_set.open_registered()[...])
        in_plane = {axis: _centres(n) for axis, n in zip("yx", layout.grid.shape, strict=True)}
        return Stored(root, f"{view}/registered", [pixels], {"z": layout.z_um, **in_plane}, z)
    if name == "volume":
        levels = [np.asarray(level[...]) for level in data_set.open_volume_levels()]
        axes_um = {axis: _centres(n) for axis, n in zip("zyx", levels[0].shape[1:], strict=True)}
        # where the plane crosses the middle of the brain, whichever way the sections were cut
        shown = int(np.argmax(levels[0][1].std(axis=(1, 2))))
        return Stored(root, f"{view}/volume", levels, axes_um, shown)
    section = data_set.section(image_id)
    levels = [np.asarray(level[...]) for level in section.open_levels()]
    resolution_um = section.commit.resolution_um
    axes_um = {
        axis: ((np.arange(n) + 0.5) * 2**DOWNSAMPLE - 0.5) * resolution_um
        for axis, n in zip("yx", levels[0].shape[2:], strict=True)
    }
    return Stored(root, f"{view}/sections/{image_id}", levels, axes_um, 0)


def _centres(n: int) -> np.ndarray:
    return (np.arange(n) + 0.5) * UM


@pytest.fixture(scope="session")
def address_of(store_of):
    """Return what gives the address of a store, as object stores serve it."""
    with serve(store_of("zstd").parent) as address:
        yield lambda codec="zstd": f"{address}/{store_of(codec).name}"


@pytest.fixture(scope="session")
def needs() -> Callable[[str], Any]:
    """Return what imports a reader, and leaves the test out where it is not installed."""

    def get(module: str) -> Any:
        return importlib.import_module(module) if ALL in os.environ else pytest.importorskip(module)

    return get


@pytest.fixture(scope="session")
def node() -> Callable[..., dict[str, Any]]:
    """Return what reads an image by a library in JavaScript: its name, an address and further words."""
    folder = os.environ.get(NODE)
    if folder is None:
        assert ALL not in os.environ
        pytest.skip(f"{NODE} does not name a folder where package.json is installed")
    script = shutil.copy(SCRIPT, folder)

    def read(reader: str, *args: object) -> dict[str, Any]:
        words = ["node", script, reader, *map(str, args)]
        told = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
        assert told.returncode == 0, told.stderr
        return json.loads(told.stdout)

    return read
