"""Regions of the phantom on an affine plane: what annotated plates and tumor features show.

A region is the inside of one of the phantom's ellipsoids, with a hard edge where the drawing has a soft one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from asyncfetch.sample.phantom import to_space_9

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from asyncfetch.geometry import Box
    from asyncfetch.sample.phantom import Phantom

__all__ = ["OUTSIDE", "outlines", "region_colours", "regions"]

#: The label where there is no tissue.
OUTSIDE = 0
_TISSUE = 1
# Rows at once: a block of an image 16 000 pixels wide takes 8 MB an array.
_ROWS = 128


def regions(
    phantom: Phantom, index_to_reference: ArrayLike, box: Box, *, reference_space_id: int = 9
) -> NDArray[np.uint8]:
    """Return the region of every pixel of a box.

    Parameters
    ----------
    phantom : Phantom
        Whose parts are the regions.
    index_to_reference : (3, 3) array of float64
        Takes pixel indices (x, y, 1) to (p, i, r) in µm.
    box : Box
        The pixels; it may reach over the image.
    reference_space_id : int
        The space that the matrix maps to: 9 or 10.

    Returns
    -------
    (h, w) array of uint8
        `OUTSIDE`, 1 for tissue in no part, 2 + k in part k; where parts overlap the last one counts.
    """
    matrix = to_space_9(index_to_reference, reference_space_id)
    labels = np.zeros(box.shape, dtype=np.uint8)
    x = np.arange(box.x0, box.x1, dtype=np.float64)
    labelled = [(part, _TISSUE) for part in phantom.outline]
    labelled += [(part, _TISSUE + 1 + k) for k, part in enumerate(phantom.parts)]
    for start in range(0, box.shape[0], _ROWS):
        rows = labels[start : start + _ROWS]
        y = np.arange(box.y0 + start, box.y0 + start + len(rows), dtype=np.float64)[:, np.newaxis]
        for part, label in labelled:
            unit = part.along(matrix)
            distance = sum((unit[k, 0] * x + (unit[k, 1] * y + unit[k, 2])) ** 2 for k in range(3))
            inside = np.asarray(distance <= 1.0)
            # A part that reaches out of the tissue ends where the tissue does.
            rows[inside if label == _TISSUE else inside & (rows != OUTSIDE)] = label
    return labels


def outlines(
    phantom: Phantom, index_to_reference: ArrayLike, box: Box, *, reference_space_id: int = 9
) -> NDArray[np.uint8]:
    """Return the borders of the regions.

    Parameters
    ----------
    phantom, index_to_reference, box, reference_space_id
        As in `regions`.

    Returns
    -------
    (h, w) array of uint8
        The highest of the regions that meet where a pixel's region differs from that to the right or below, in a
        box as in the whole; 0 elsewhere.
    """
    wider = box._replace(y1=box.y1 + 1, x1=box.x1 + 1)
    labels = regions(phantom, index_to_reference, wider, reference_space_id=reference_space_id)
    here, below, right = labels[:-1, :-1], labels[1:, :-1], labels[:-1, 1:]
    highest = np.maximum(np.maximum(here, below), right)
    highest[(here == below) & (here == right)] = OUTSIDE
    return highest


def region_colours(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a flat colour for each region, white outside.

    Parameters
    ----------
    labels : (h, w) array of uint8
        From `regions`.

    Returns
    -------
    (h, w, 3) array of uint8
    """
    hues = np.arange(256, dtype=np.float64) * 0.6180339887498949
    wheel = 0.5 + 0.5 * np.cos(2 * np.pi * (hues[:, np.newaxis] + np.arange(3) / 3))
    table = np.rint(40 + 200 * wheel).astype(np.uint8)
    table[OUTSIDE] = 255
    return table[labels]
