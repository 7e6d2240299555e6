"""The commit: what a section's group says about itself. A section without one does not exist."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self

import msgspec

from asyncfetch.errors import AlignmentError, StoreLayoutError
from asyncfetch.settings import Codec, Interpolation, Layer  # noqa: TC001 - msgspec reads annotations
from asyncfetch.store.layout import LAYOUT_VERSION
from asyncfetch.version import __version__

if TYPE_CHECKING:
    from asyncfetch.allen import SectionDataSet, SectionImage

__all__ = ["Commit", "SectionAffine"]

Row3 = tuple[float, float, float]


class SectionAffine(msgspec.Struct, frozen=True, kw_only=True):
    """Hold the affine from a section's image frame to the reference frame, with what its numbers mean.

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
    def of(cls, data_set: SectionDataSet, section: SectionImage) -> Self | None:
        """Return the affine of a section of a data set, None when a matrix that it needs is missing."""
        try:
            matrix = data_set.geometry(section).image_to_reference_matrix()
        except AlignmentError:
            return None
        first, second, third = ((float(a), float(b), float(c)) for a, b, c in matrix)
        return cls(matrix=(first, second, third))


class Commit(msgspec.Struct, frozen=True, kw_only=True):
    """Hold all that resume, verify and status need to know about one stored section.

    Attributes
    ----------
    image_id, data_set_id : int
        The section image and its data set.
    view : str
        Which view of the section.
    layers : tuple of str
        Which of ``source``, ``sections`` and ``registered`` hold it.
    record : dict
        The API's row of the section image, verbatim.
    url : str
        The request that brought the JPEG.
    sha256 : str
        Hexadecimal digest of the JPEG; of the digests of all boxes, row by row, where there is none.
    size_bytes : int
        Length of the JPEG, or of all boxes together.
    shape : tuple of int
        (y, x) of the whole image at its tier, in pixels.
    downsample : int
        How many times the server halved it.
    quality : int or None
        The JPEG quality that was asked for.
    resolution_um : float or None
        Pitch of the full-resolution pixels in µm; None when the API does not say, and then distances are
        pixels.
    section_number : int or None
        The section's number in its set.
    um : float or None
        Pitch of the registered grid, None when that layer was not written.
    codec, interpolation : str
        Compressor of the pixels, and how the warp sampled.
    parallel : bool
        Whether the registered plane is atldld's approximation.
    numeric_expression : bool
        Whether the pixels are levels of expression, three times the same, instead of the mask's colours.
    fill : int
        Grey level of the registered plane beside the image.
    fetch : str
        Whether the pixels came as one image or as tiles.
    region : tuple of int or None
        The part that is stored: x, y, width and height in full-resolution pixels of the section; None means all.
    image_to_reference : SectionAffine or None
        Where the section lies; None when it has no alignment.
    time : str
        When it was committed, ISO 8601 in UTC.
    tool, tool_version : str
        What wrote it.
    layout : int
        The layout version.
    """

    image_id: int
    data_set_id: int
    view: str
    layers: tuple[Layer, ...]
    record: dict[str, Any]
    url: str
    sha256: str
    size_bytes: int
    shape: tuple[int, int]
    downsample: int
    resolution_um: float | None
    time: str
    quality: int | None = None
    section_number: int | None = None
    um: float | None = None
    codec: Codec = "zstd"
    interpolation: Interpolation = "linear"
    parallel: bool = False
    numeric_expression: bool = False
    fill: int = 0
    fetch: Literal["images", "tiles"] = "images"
    region: tuple[int, int, int, int] | None = None
    image_to_reference: SectionAffine | None = None
    tool: str = "asyncfetch"
    tool_version: str = __version__
    layout: int = LAYOUT_VERSION

    def to_attributes(self) -> dict[str, Any]:
        """Return the commit as the JSON value of ``attributes.asyncfetch``."""
        attributes: dict[str, Any] = msgspec.to_builtins(self)
        return attributes

    @classmethod
    def from_attributes(cls, attributes: Any, *, location: str) -> Self:
        """Read the JSON value of ``attributes.asyncfetch``.

        Raises
        ------
        StoreLayoutError
            It is no commit of this layout version.
        """
        try:
            return msgspec.convert(attributes, cls)
        except msgspec.ValidationError as error:
            raise StoreLayoutError(
                f"{location} holds a commit that this version cannot read ({error}); "
                "use the version that wrote it, or fetch the section again",
                location=location,
            ) from error
