"""What the services answer, as arrays: positions on images, and points of the reference space. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from asyncfetch.allen.sync import ImageSync, ReferencePoint, sync_json

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from asyncfetch.allen.services import Nested
    from asyncfetch.allen.sync import SyncService

__all__ = ["NO_ID", "ImagePositions", "ReferencePositions"]

#: Stands for a missing id.
NO_ID = -1


@dataclass(frozen=True, eq=False, kw_only=True)
class ReferencePositions:
    """Points of a reference space; ``...`` is the shape of the points asked about.

    Attributes
    ----------
    pir : (..., 3) array of float64
        (p, i, r), which the API calls x, y and z, in µm; NaN for a point that is not finite.
    reference_space_id : int or None
        The space, None where the data set does not tell.
    """

    pir: NDArray[np.float64]
    reference_space_id: int | None

    def records(self) -> Nested[ReferencePoint]:
        """Return the points as the client does: one ReferencePoint, or lists of them, nested as the points."""
        return _nested(self.pir.ndim - 1, _point, self.pir.tolist())

    def as_json(self) -> Nested[dict[str, Any]]:
        """Return the bodies of the API's replies, one a point, nested as the points."""
        return _nested(
            self.pir.ndim - 1, lambda point: sync_json("image_to_reference", point), self.records()
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class ImagePositions:
    """Positions on section images.

    ``...`` is the shape of the points asked about, followed by one axis of the targets where the service takes a
    list of them. What fails has the image id -1, the section number -1 and the position NaN.

    Attributes
    ----------
    service : str
        Who answers.
    seed_id : int
        What the points belong to.
    section_data_set_id, section_image_id, section_number : (...) array of int64
        The image; the data set of a target that fails is told all the same, or -1 where it is not known.
    xy : (..., 2) array of float64
        (x, y) in full-resolution pixels of that image, also outside of it.
    """

    service: SyncService
    seed_id: int
    section_data_set_id: NDArray[np.int64]
    section_image_id: NDArray[np.int64]
    section_number: NDArray[np.int64]
    xy: NDArray[np.float64]

    def records(self) -> Nested[ImageSync]:
        """Return the positions as the client does: one ImageSync, or lists of them, nested as the arrays."""
        make: Callable[[int, int, int, list[float]], ImageSync]
        # image_to_image_2d does not tell the data set and the number of the images that it was asked for
        make = _image_2d if self.service == "image_to_image_2d" else _image
        return _nested(
            self.section_image_id.ndim,
            make,
            self.section_data_set_id.tolist(),
            self.section_image_id.tolist(),
            self.section_number.tolist(),
            self.xy.tolist(),
        )

    def as_json(self) -> Nested[dict[str, Any]]:
        """Return the bodies of the API's replies, one a point, nested as the points."""
        n_point_axes = self.section_image_id.ndim - (self.service != "image_to_atlas")
        return _nested(
            n_point_axes,
            lambda answer: sync_json(self.service, answer, seed_id=self.seed_id),
            self.records(),
        )


def _point(xyz: list[float]) -> ReferencePoint:
    return ReferencePoint(x=xyz[0], y=xyz[1], z=xyz[2])


def _image(data_set_id: int, image_id: int, number: int, xy: list[float]) -> ImageSync:
    known = None if data_set_id == NO_ID else data_set_id
    if image_id == NO_ID:
        return ImageSync(section_data_set_id=known)
    return ImageSync(
        section_data_set_id=known, section_image_id=image_id, section_number=number, x=xy[0], y=xy[1]
    )


def _image_2d(_data_set_id: int, image_id: int, _number: int, xy: list[float]) -> ImageSync:
    return ImageSync() if image_id == NO_ID else ImageSync(section_image_id=image_id, x=xy[0], y=xy[1])


def _nested[T](n_axes: int, make: Callable[..., T], *values: Any) -> Nested[T]:
    """Apply ``make`` to the entries of lists that are nested alike."""
    if not n_axes:
        return make(*values)
    return [_nested(n_axes - 1, make, *entries) for entries in zip(*values, strict=True)]
