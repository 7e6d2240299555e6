"""A region of the reference space, as it lies in each space that a data set can be in. Pure.

A region given in one space is taken to the other by the transform between them, which mirrors r at 11 350 µm (REC-5).
The centres of structures are known in both spaces, mirrored at 11 400 µm (REC-6), so that a box around a centre is made
in each space from that space's own centre, as ``structure_to_image`` does, and never transformed.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Self

import msgspec
import numpy as np

from asyncfetch.errors import SelectionError
from asyncfetch.geometry import REFERENCE_BOXES_UM, SPACE_TRANSFORMS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from asyncfetch.allen import SectionDataSet

__all__ = ["Ranges", "RegionOfSpace"]

type Ranges = tuple[tuple[float, float], tuple[float, float], tuple[float, float]]


class RegionOfSpace(msgspec.Struct, frozen=True):
    """A box of the reference space.

    Attributes
    ----------
    boxes : mapping of int to tuple
        From the id of a space to the ranges of p, i and r in it, in µm.
    name : str
        What the box is of, for messages.
    """

    boxes: dict[int, Ranges]
    name: str = "the region"

    @classmethod
    def of_ranges(cls, ranges: Ranges, space: int) -> Self:
        """Return the region that ranges of p, i and r in a space are, in every space that it can be taken to."""
        boxes = {space: ranges}
        for (source, target), affine in SPACE_TRANSFORMS.items():
            if source == space:
                corners = affine.apply(np.array(list(product(*ranges))))
                boxes[target] = _ranges(corners.min(axis=0).tolist(), corners.max(axis=0).tolist())
        return cls(boxes)

    @classmethod
    def around(cls, name: str, centres: Mapping[int, Sequence[float]], pad_um: float) -> Self:
        """Return the cube around a structure, given its centre (p, i, r) by space, and half the length of its side."""
        boxes = {
            space: _ranges([each - pad_um for each in centre], [each + pad_um for each in centre])
            for space, centre in centres.items()
        }
        return cls(boxes, name)

    def in_space_of(self, data_set: SectionDataSet) -> Ranges:
        """Return the ranges of p, i and r in the space of a data set, in µm.

        Raises
        ------
        SelectionError
            The region is not known in that space.
        """
        space = data_set.reference_space_id
        ranges = self.boxes.get(space or 0)
        if ranges is not None and space in REFERENCE_BOXES_UM:
            return ranges
        known = " and ".join(str(each) for each in sorted(self.boxes) if each in REFERENCE_BOXES_UM)
        raise SelectionError(
            f"data set {data_set.id} lies in reference space {space}, where {self.name} is not known; regions of the "
            f"reference space can be fetched of data sets in the spaces {known}"
        )


def _ranges(low: Sequence[float], high: Sequence[float]) -> Ranges:
    p, i, r = zip(low, high, strict=True)
    return p, i, r
