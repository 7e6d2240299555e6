"""The memory of an export does not grow with the image: 918 megapixels are read and written tile by tile."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import functools, pathlib, resource, sys
import zarr
from asyncfetch.exporting import ome_tiff, pictures
from asyncfetch.geometry import Box
from asyncfetch.layout.paths import level_shapes

shape = (27000, 34000)
levels = [
    zarr.create_array(
        store=zarr.storage.MemoryStore(), shape=(3, 1, *each), chunks=(3, 1, 512, 512), dtype="uint8", fill_value=200
    )
    for each in level_shapes(shape)
]
picture = pictures._Stored(levels, Box.of_shape(shape))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
ome_tiff.OmeTiff(compression="jpeg")._write(
    pathlib.Path(sys.argv[1]), {"axes": "YXS", "Name": "huge"}, 1.0, picture.shapes, (), 3,
    functools.partial(ome_tiff._tiles_of_picture, picture),
)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(sys.platform != "linux", reason="the unit of ru_maxrss is Linux's")
def test_a_slide_of_918_megapixels_takes_less_than_200_mib(tmp_path):
    told = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "huge.ome.tif")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(told.stdout) < 200
