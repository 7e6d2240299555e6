"""Rows of the API as typed records. A row that does not fit says which, of what model, in which field. Pure.

The model reference allows null nearly everywhere, and nulls do occur (allen-api.md REC-1, RMA-7). None stands for
them, but not in an id, in a section image's data set, or in its width and height: without these nothing can be asked
for. Ids are positive and below 2^63 (REC-2).
Unknown, and chosen here: a matrix of which one number is missing is missing as a whole; where a row comes twice, the
first one counts.
"""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from asyncfetch.errors import AlignmentError, ReplyError
from asyncfetch.geometry import Affine2D, Affine3D, Plane, SectionGeometry

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "Alignment2d",
    "Alignment3d",
    "Gene",
    "Product",
    "SectionDataSet",
    "SectionImage",
    "parse_data_set",
    "parse_section_image",
]

_Finite = Annotated[float, msgspec.Meta(ge=-sys.float_info.max, le=sys.float_info.max)]
_SixNumbers = Annotated[tuple[_Finite, ...], msgspec.Meta(min_length=6, max_length=6)]
_TwelveNumbers = Annotated[tuple[_Finite, ...], msgspec.Meta(min_length=12, max_length=12)]


class _Record(msgspec.Struct, frozen=True, kw_only=True):
    """Be the base of all records: unknown fields of a row are left out."""


class Alignment2d(_Record, frozen=True, kw_only=True):
    """Hold the affines between a section image and its data set's volume.

    Attributes
    ----------
    tsv : Affine2D or None
        Image (x, y) in full-resolution pixels to volume (x, y) in µm; None where a number is missing.
    tvs : Affine2D or None
        The way back.
    """

    id: int | None = None
    section_image_id: int | None = None
    tsv_numbers: _SixNumbers | None = None
    tvs_numbers: _SixNumbers | None = None

    @property
    def tsv(self) -> Affine2D | None:
        """The map from image to volume."""
        return None if self.tsv_numbers is None else Affine2D.from_api(self.tsv_numbers)

    @property
    def tvs(self) -> Affine2D | None:
        """The map from volume to image."""
        return None if self.tvs_numbers is None else Affine2D.from_api(self.tvs_numbers)


class Alignment3d(_Record, frozen=True, kw_only=True):
    """Hold the affines between a data set's volume and the reference space.

    Attributes
    ----------
    tvr : Affine3D or None
        Volume (x, y, z) in µm to reference (p, i, r) in µm; None where a number is missing.
    trv : Affine3D or None
        The way back.
    """

    id: int | None = None
    tvr_numbers: _TwelveNumbers | None = None
    trv_numbers: _TwelveNumbers | None = None

    @property
    def tvr(self) -> Affine3D | None:
        """The map from volume to reference."""
        return None if self.tvr_numbers is None else _affine3d(self.tvr_numbers)

    @property
    def trv(self) -> Affine3D | None:
        """The map from reference to volume."""
        return None if self.trv_numbers is None else _affine3d(self.trv_numbers)


class Gene(_Record, frozen=True, kw_only=True):
    """Name a gene."""

    id: int
    acronym: str | None = None
    name: str | None = None
    entrez_id: int | None = None


class Product(_Record, frozen=True, kw_only=True):
    """Name a product: a set of related data sets."""

    id: int
    abbreviation: str | None = None
    name: str | None = None


class SectionImage(_Record, frozen=True, kw_only=True):
    """Hold one section image: a box on a slide scan, and what it shows.

    Attributes
    ----------
    width, height : int
        Size in full-resolution pixels.
    x, y : int
        Where the box lies on the scan of image_width x image_height pixels (REC-9).
    resolution : float or None
        Pitch of a full-resolution pixel in µm.
    section_number : int or None
        Place in the data set; numbers can start anywhere and run in either direction.
    record : dict
        The row, verbatim.
    """

    id: int
    data_set_id: int
    width: int
    height: int
    section_number: int | None = None
    x: int | None = 0
    y: int | None = 0
    image_width: int | None = None
    image_height: int | None = None
    resolution: float | None = None
    tier_count: int | None = None
    image_type: str | None = None
    annotated: bool | None = None
    failed: bool | None = None
    expression: bool | None = None
    path: str | None = None
    expression_path: str | None = None
    alignment2d: Alignment2d | None = None
    record: dict[str, Any] = {}

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in full-resolution pixels."""
        return self.height, self.width


class SectionDataSet(_Record, frozen=True, kw_only=True):
    """Hold one experiment: what was cut, how, and its section images.

    Attributes
    ----------
    section_thickness : float or None
        What one section number is worth in µm; not the spacing between the kept sections.
    section_images : tuple of SectionImage
        In the order in which they came.
    record : dict
        The row, verbatim.
    """

    id: int
    reference_space_id: int | None = None
    plane_of_section_id: int | None = None
    section_thickness: float | None = None
    failed: bool | None = None
    name: str | None = None
    expression: bool | None = None
    genes: tuple[Gene, ...] = ()
    products: tuple[Product, ...] = ()
    alignment3d: Alignment3d | None = None
    section_images: tuple[SectionImage, ...] = ()
    record: dict[str, Any] = {}

    @property
    def plane(self) -> Plane:
        """The plane of section: by its id, else by the direction of the alignment.

        Raises
        ------
        AlignmentError
            Neither tells.
        """
        plane = Plane.from_plane_of_section_id(self.plane_of_section_id)
        if plane is not None:
            return plane
        trv = None if self.alignment3d is None else self.alignment3d.trv
        if trv is None:
            raise AlignmentError(
                f"data set {self.id} has the plane of section {self.plane_of_section_id} and no alignment "
                "that would tell how it was cut",
                matrix="trv",
            )
        return Plane.nearest(trv)

    def geometry(self, section: SectionImage) -> SectionGeometry:
        """Return where a section lies; a missing matrix is an error only where it is needed.

        Raises
        ------
        AlignmentError
            The section has no number, or the set no thickness, so that its depth is not known; or a matrix, the
            thickness or the resolution cannot be right; see :meth:`SectionGeometry.check`.
        """
        if section.section_number is None or self.section_thickness is None:
            raise AlignmentError(
                f"image {section.id} has no section number or its data set {self.id} no thickness, "
                "so that its depth is not known"
            )
        flat, deep = section.alignment2d, self.alignment3d
        geometry = SectionGeometry(
            tsv=None if flat is None else flat.tsv,
            tvs=None if flat is None else flat.tvs,
            tvr=None if deep is None else deep.tvr,
            trv=None if deep is None else deep.trv,
            section_number=section.section_number,
            section_thickness_um=self.section_thickness,
        )
        geometry.check(section.resolution)
        return geometry


def parse_section_image(row: Mapping[str, Any]) -> SectionImage:
    """Read a row of SectionImage, with its alignment2d where it is included.

    Raises
    ------
    ReplyError
        A field is missing or of another type; the message names model, id and field.
    """
    fields = dict(row)
    alignment = _one(fields.get("alignment2d"))
    if isinstance(alignment, dict):
        alignment = {
            "id": alignment.get("id"),
            "section_image_id": alignment.get("section_image_id"),
            "tsv_numbers": _numbers(alignment, "tsv", 6),
            "tvs_numbers": _numbers(alignment, "tvs", 6),
        }
    return _convert(fields | {"alignment2d": alignment, "record": dict(row)}, SectionImage)


def parse_data_set(
    row: Mapping[str, Any], section_rows: Iterable[Mapping[str, Any] | None] = ()
) -> SectionDataSet:
    """Read a row of SectionDataSet with the rows of its section images.

    Parameters
    ----------
    row : mapping
        The data set; included ``section_images`` are read, too.
    section_rows : iterable of mappings or None
        Rows of SectionImage that came apart. They stand before the included ones and take their place; nulls and
        ids that come again are left out.

    Raises
    ------
    ReplyError
        A field is missing or of another type; the message names model, id and field.
    """
    fields = dict(row)
    alignment = _one(fields.get("alignment3d"))
    if isinstance(alignment, dict):
        alignment = {
            "id": alignment.get("id"),
            "tvr_numbers": _numbers(alignment, "tvr", 12),
            "trv_numbers": _numbers(alignment, "trv", 12),
        }
    fields["alignment3d"] = alignment
    for name in ("genes", "products"):
        fields[name] = _present(fields.get(name))
    included = _present(fields.pop("section_images", None))
    if not isinstance(included, list) or not all(isinstance(each, dict) for each in included):
        raise ReplyError(
            f"SectionDataSet {row.get('id')}: section_images is no list of records; ask the API again"
        )
    data_set = _convert(fields | {"section_images": (), "record": dict(row)}, SectionDataSet)
    sections: dict[int, SectionImage] = {}
    for each in (*section_rows, *included):
        if each is not None:
            section = parse_section_image(each)
            sections.setdefault(section.id, section)
    return msgspec.structs.replace(data_set, section_images=tuple(sections.values()))


@functools.lru_cache
def _affine3d(numbers: tuple[float, ...]) -> Affine3D:
    """Return a map of a data set, for which each of its sections asks."""
    return Affine3D.from_api(numbers)


def _one(value: Any) -> Any:
    """Return an included record, which some queries give as a list of one."""
    if isinstance(value, list):
        return value[0] if value else None
    return value


def _present(value: Any) -> Any:
    """Return an included list without its nulls; an absent one is empty."""
    if isinstance(value, list):
        return [each for each in value if each is not None]
    return [] if value is None else value


def _numbers(alignment: Mapping[str, Any], name: str, n: int) -> list[Any] | None:
    """Gather a matrix as JSON gives it (tsv_00 …) or as the XML of a whole data set does (comma-joined)."""
    joined = alignment.get(name)
    if isinstance(joined, str):
        return [value.strip() for value in joined.split(",")]
    values = [alignment.get(f"{name}_{k:02d}") for k in range(n)]
    return None if any(value is None for value in values) else values


def _convert[T: _Record](fields: dict[str, Any], model: type[T]) -> T:
    try:
        # top-level fields of XML replies carry no type and come as text
        return msgspec.convert(fields, model, strict=False)
    except msgspec.ValidationError as error:
        raise ReplyError(
            f"{model.__name__} {fields.get('id')}: {error}; the API sent a row of another shape, ask it again"
        ) from error
