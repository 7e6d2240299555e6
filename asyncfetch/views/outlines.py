"""Where the sections of a data set lie: their outlines in the reference space, seen along its three axes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from asyncfetch.views.figure import Panel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["draw_outlines"]

_LINE = (60, 60, 140)
_BOX = (200, 120, 60)
_PAPER = (255, 255, 255)
#: (axis along, axis down) of each projection, as indices into (p, i, r), and its name.
_PROJECTIONS = (((0, 1), "p right, i down"), ((2, 1), "r right, i down"), ((0, 2), "p right, r down"))


def draw_outlines(
    corners: Sequence[NDArray[np.float64]], box_um: tuple[float, float, float], *, um_per_pixel: float = 40.0
) -> list[Panel]:
    """Draw the outline of every section in three projections, with the box of the reference space around them.

    Parameters
    ----------
    corners : sequence of (4, 3) arrays of float64
        The corners of each section image as (p, i, r) in µm, in order around the image.
    box_um : tuple of float
        Extent of the reference space along (p, i, r), in µm.
    um_per_pixel : float
        Scale of the picture.

    Returns
    -------
    list of Panel
        Three pictures, as large as what they show.
    """
    box = np.array([[0.0, 0.0, 0.0], box_um])
    everything = np.concatenate([box, *corners])
    low, high = everything.min(axis=0), everything.max(axis=0)
    panels = []
    for (along, down), name in _PROJECTIONS:
        axes = [along, down]
        size = np.ceil((high - low)[axes] / um_per_pixel).astype(int) + 3
        picture = Image.new("RGB", (int(size[0]), int(size[1])), _PAPER)
        pen = ImageDraw.Draw(picture)
        (left, top), (right, bottom) = ((box[:, axes] - low[axes]) / um_per_pixel + 1).tolist()
        for outline in corners:
            points = (outline[:, axes] - low[axes]) / um_per_pixel + 1
            pen.polygon([(x, y) for x, y in points.tolist()], outline=_LINE)
        pen.rectangle((left, top, right, bottom), outline=_BOX, width=2)
        panels.append(Panel(name, np.asarray(picture)))
    return panels
