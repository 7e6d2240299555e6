"""Three cuts through a volume, at right angles to each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from asyncfetch.views.figure import Panel

if TYPE_CHECKING:
    from collections.abc import Sequence

    import zarr

__all__ = ["cut_panels"]

# The axis across each cut, as an index into (p, i, r), and what runs right and down in it.
_CUTS = (
    (0, "coronal: r right, i down"),
    (2, "sagittal: p right, i down"),
    (1, "transverse: r right, p down"),
)


def cut_panels(levels: Sequence[zarr.Array[Any]], longest_side: int = 640) -> list[Panel]:
    """Return the coronal, the sagittal and the transverse cut through the middle of what a volume shows.

    Parameters
    ----------
    levels : sequence of (c, p, i, r) arrays of uint8
        The volume, the finest level first; three colours, or one value.
    longest_side : int
        The finest level that is no longer than this is drawn, or else the coarsest of all.
    """
    coarsest = np.asarray(levels[-1][...])
    fitting = [level for level in levels if max(level.shape[1:]) <= longest_side]
    drawn = fitting[0] if fitting else levels[-1]
    panels = []
    for axis, label in _CUTS:
        others = tuple(k for k in range(4) if k != axis + 1)
        filled = np.flatnonzero(coarsest.any(axis=others))
        middle = (filled[0] + filled[-1] + 1) / 2 if len(filled) else coarsest.shape[axis + 1] / 2
        index: list[Any] = [slice(None)] * 4
        index[axis + 1] = int(middle * drawn.shape[axis + 1] / coarsest.shape[axis + 1])
        cut = np.moveaxis(np.asarray(drawn[tuple(index)]), 0, -1)
        # what is left of (p, i, r) without r has p first
        pixels = cut.transpose(1, 0, 2) if axis == 2 else cut
        panels.append(Panel(label, np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels))
    return panels
