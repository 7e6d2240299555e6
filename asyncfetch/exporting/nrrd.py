"""NRRD: registered planes and volumes as one compressed file each, for 3D Slicer and readers of Allen's own volumes.

The header is written here, because it is a dozen lines of text, and the libraries for NRRD hold a whole volume twice.
The axes are p, i and r, as in Allen's own files; unlike these, it says where they run.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from asyncfetch.exporting.choices import Color, StackLayer  # noqa: TC001 - msgspec reads annotations
from asyncfetch.exporting.files import gzipped
from asyncfetch.exporting.nifti import stack_output
from asyncfetch.exporting.protocol import Format, Output
from asyncfetch.exporting.space import voxel_to_ras_mm
from asyncfetch.exporting.stacks import Stack, open_stack

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from asyncfetch.exporting.chosen import Chosen

__all__ = ["Nrrd"]


class Nrrd(Format, frozen=True, kw_only=True):
    """Registered planes or volumes as ``.nrrd``; colours are an axis of the kind RGB-color."""

    layer: StackLayer = "registered"
    color: Color = "rgb"

    def outputs(self, chosen: Chosen) -> Iterable[Output]:
        """Return one file per view of a data set."""
        stack = open_stack(chosen, self.layer)
        affine = voxel_to_ras_mm(stack.first_um, stack.step_um, stack.space, chosen.item)
        header = _header(stack, affine, self.color, chosen.title)
        return [stack_output(chosen, stack, self.layer, "nrrd", partial(_write, stack, header, self.color))]


def _header(stack: Stack, ras_mm: NDArray[np.float64], color: Color, title: str) -> bytes:
    """Return the header of a file, up to the blank line before its data.

    The world is told as left, posterior and superior, because programs that do not read the field ``space`` take that
    for granted.
    """
    is_rgb = color == "rgb" and stack.n_channels == 3
    lps_mm = ras_mm[:3] * [[-1], [-1], [1]] + 0.0
    vectors = [_vector(lps_mm[:, axis]) for axis in range(3)]
    sizes = [str(n) for n in stack.shape]
    lines = [
        "NRRD0005",
        "# Complete NRRD file format specification at:",
        "# http://teem.sourceforge.net/nrrd/format.html",
        "type: unsigned char",
        f"dimension: {4 if is_rgb else 3}",
        "space: left-posterior-superior",
        f"sizes: {' '.join(['3'] * is_rgb + sizes)}",
        f"space directions: {' '.join(['none'] * is_rgb + vectors)}",
        f"kinds: {' '.join(['RGB-color'] * is_rgb + ['domain'] * 3)}",
        "encoding: gzip",
        'space units: "mm" "mm" "mm"',
        f"space origin: {_vector(lps_mm[:, 3])}",
        f"content: {' '.join(title.encode('ascii', 'ignore').decode().split())}",
    ]
    return "\n".join([*lines, "", ""]).encode("ascii")


def _vector(values: NDArray[np.float64]) -> str:
    return f"({','.join(repr(float(each)) for each in values)})"


def _write(stack: Stack, header: bytes, color: Color, path: Path) -> None:
    with path.open("wb") as file:
        file.write(header)
        with gzipped(file) as out:
            for piece in stack.pieces(color):
                out.write(piece)
