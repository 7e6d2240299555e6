"""The commit: what a section's group says about itself. A section without one does not exist.

The part of it that plans and counts need is a class of its own, since the summary of a data set has that of all its
sections in one object.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import msgspec
import numpy as np

from asyncfetch.errors import AlignmentError
from asyncfetch.layout.bounds import (
    MAX_OBJECT_BYTES,
    Digest,
    Extent,
    Id,
    Pitch,
    Position,
    SectionNumber,
    Side,
    Size,
    Tier,
)
from asyncfetch.layout.paths import LAYOUT_VERSION
from asyncfetch.layout.recipe import MadeByRecipe
from asyncfetch.settings import Layer  # noqa: TC001 - msgspec reads annotations
from asyncfetch.version import __version__

if TYPE_CHECKING:
    from asyncfetch.geometry import SectionGeometry

__all__ = ["Commit", "Objects", "SectionAffine", "SectionSummary"]

Row3 = tuple[Position, Position, Position]


class SectionAffine(msgspec.Struct, frozen=True, kw_only=True):
    """The affine from a section's image frame to the reference frame, with what its numbers mean.

    Attributes
    ----------
    matrix : tuple of tuple of float
        (3, 3): (x, y, 1) in full-resolution pixels, pixel k centred at k, to (p, i, r) in µm.
    """

    matrix: tuple[Row3, Row3, Row3]
    from_frame: str = "image"
    from_axes: tuple[str, ...] = ("x", "y")
    from_unit: str = "full-resolution pixel"
    to_frame: str = "reference"
    to_axes: tuple[str, ...] = ("p", "i", "r")
    to_unit: str = "micrometer"

    @classmethod
    def of(cls, geometry: SectionGeometry) -> Self | None:
        """Return the affine of a section, None when a matrix that it needs is missing or overflows."""
        try:
            matrix = geometry.image_to_reference_matrix()
        except AlignmentError:
            return None
        if not np.isfinite(matrix).all():
            return None
        first, second, third = ((float(a), float(b), float(c)) for a, b, c in matrix)
        return cls(matrix=(first, second, third))


class Objects(msgspec.Struct, frozen=True, kw_only=True):
    """The objects that hold the pixels of one layer of a section; what is nothing but the fill is not stored.

    Attributes
    ----------
    n : int
        How many there are.
    n_bytes : int
        Their lengths together.
    crc32 : int
        The sum, modulo 2^32, of the CRC-32 of each: of its row and column, such as ``0.1``, and of the last four bytes
        of each of its chunks, which are their checksums. It tells whose objects they are; the checksums tell the rest.
    """

    n: Size = 0
    n_bytes: Size = 0
    crc32: Annotated[int, msgspec.Meta(ge=0, lt=2**32)] = 0

    def __add__(self, other: Objects) -> Objects:
        return Objects(
            n=self.n + other.n,
            n_bytes=self.n_bytes + other.n_bytes,
            crc32=(self.crc32 + other.crc32) % 2**32,
        )


class SectionSummary(MadeByRecipe, frozen=True, kw_only=True):
    """What plans, checks and counts need to know about one stored section.

    Attributes
    ----------
    image_id, data_set_id : int
        The section image and its data set.
    view : str
        Which view of the section.
    layers : tuple of str
        Which of ``source``, ``sections`` and ``registered`` hold it.
    sha256 : str
        Hexadecimal digest of the JPEG; of the digests of all boxes, row by row, where there is none.
    size_bytes : int
        Length of the JPEG, or of all boxes together.
    shape : tuple of int
        (y, x) of the whole image at its tier, in pixels.
    downsample : int
        How many times the server halved it.
    resolution_um : float or None
        Pitch of the full-resolution pixels in µm; None when the API does not say, and then distances are
        pixels.
    asked_downsample : int or None
        How many times it was asked to, where it gave another tier.
    section_number : int or None
        The section's number in its set.
    recipe : Recipe
        How the pixels were made; its pitch is None when no plane was written.
    region : tuple of int or None
        The part that is stored: x, y, width and height in full-resolution pixels of the section; None means all.
    objects : dict of str to Objects
        What the layers ``sections`` and ``registered`` are stored in.
    """

    _recipe_behind: ClassVar[str] = "section_number"
    _left_out: ClassVar[tuple[str, ...]] = ("plane", "box_um")

    image_id: Id
    data_set_id: Id
    view: str
    layers: Annotated[tuple[Layer, ...], msgspec.Meta(min_length=1)]
    sha256: Digest
    size_bytes: Size
    shape: tuple[Side, Side]
    downsample: Tier
    resolution_um: Pitch | None
    asked_downsample: Tier | None = None
    section_number: SectionNumber | None = None
    region: tuple[Extent, Extent, Extent, Extent] | None = None
    objects: dict[Layer, Objects] = msgspec.field(default_factory=dict)

    @property
    def max_jpeg_bytes(self) -> int:
        """The most that is read of the JPEG, whatever `size_bytes` says: as many bytes as its pixels take."""
        height, width = self.shape
        return max(MAX_OBJECT_BYTES, 3 * height * width)

    def vouching_for(self, layers: tuple[Layer, ...]) -> Self:
        """Return the commit for fewer layers; without a plane it has no pitch."""
        recipe = self.recipe if "registered" in layers else self.recipe.without_grid
        return msgspec.structs.replace(self, layers=layers, recipe=recipe)


class Commit(SectionSummary, frozen=True, kw_only=True):
    """All that is known about one stored section; this is ``attributes.asyncfetch`` of its group.

    Attributes
    ----------
    record : dict
        The API's row of the section image, verbatim.
    url : str
        The request that brought the JPEG.
    time : str
        When it was committed, ISO 8601 in UTC.
    quality : int or None
        The JPEG quality that was asked for.
    fetch : str
        Whether the pixels came as one image or as tiles.
    image_to_reference : SectionAffine or None
        Where the section lies; None when it has no alignment.
    tool, tool_version : str
        What wrote it.
    layout : int
        The layout version.
    """

    record: dict[str, Any]
    url: str
    time: str
    quality: int | None = None
    fetch: Literal["images", "tiles"] = "images"
    image_to_reference: SectionAffine | None = None
    tool: str = "asyncfetch"
    tool_version: str = __version__
    layout: Annotated[int, msgspec.Meta(ge=LAYOUT_VERSION, le=LAYOUT_VERSION)] = LAYOUT_VERSION
