"""The six synchronization services as one protocol, whoever answers: the API, or a catalogue on this machine. Pure.

What differs is the form of the answers. `asyncfetch.atlas.Atlas` gives arrays, ``client.sync`` awaitables of records,
and a blocking client the records themselves; the arrays become the same records by their method ``records``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import ArrayLike, NDArray

__all__ = ["IdsLike", "Nested", "SynchronizationServices"]

type IdsLike = Sequence[int] | NDArray[np.integer]
#: One answer for one point, and lists of them, nested as the points are, for an array of points.
type Nested[T] = T | list[Nested[T]]


class SynchronizationServices[Points, Plate, Targets, Centers](Protocol):
    """The six services, whoever answers them.

    The parameters of the type are the answers: of image_to_reference; of image_to_atlas; of the services that look in
    a list of targets; and of structure_to_image.
    """

    def image_to_reference(self, section_image_id: int, xy: ArrayLike) -> Points:
        """Return the points of the reference space that points (..., 2) of an image show."""
        ...

    def reference_to_image(self, reference_space_id: int, pir: ArrayLike, data_set_ids: IdsLike) -> Targets:
        """Return the nearest section of each data set, and where on it points (..., 3) lie."""
        ...

    def image_to_image(self, section_image_id: int, xy: ArrayLike, data_set_ids: IdsLike) -> Targets:
        """Return the nearest section of each data set to points (..., 2) of an image, and where they lie on it."""
        ...

    def image_to_image_2d(self, section_image_id: int, xy: ArrayLike, section_image_ids: IdsLike) -> Targets:
        """Return where points (..., 2) of an image lie on other images, by the alignments in the plane alone."""
        ...

    def image_to_atlas(self, section_image_id: int, xy: ArrayLike, atlas_id: int) -> Plate:
        """Return the nearest annotated plate of an atlas to points (..., 2) of an image, and where they lie on it."""
        ...

    def structure_to_image(self, data_set_id: int, structure_ids: IdsLike) -> Centers:
        """Return the sections nearest to the centres of structures, and where on them the centres lie."""
        ...
