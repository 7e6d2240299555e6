"""Rows of the API as typed records. A row that does not fit says which, of what model, in which field. Pure.

The model reference allows null nearly everywhere, and nulls do occur (allen-api.md REC-1, RMA-7). Only what is needed
of a record is required: an id, and of a section image a width and a height, without which nothing can be asked for. Any
other field that is of another type, or outside of what is physically possible (:mod:`asyncfetch.allen.bounds`), is
None, and ``odd`` says why; what places a section is named again where it would have been needed.

A section that cannot be read costs no other: `parse_data_set` gives the sound ones, and names the rest.
Unknown, and chosen here: a matrix of which one number is missing is missing as a whole; where a row comes twice, the
first one counts.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from asyncfetch.allen.bounds import (
    Coordinate,
    Id,
    MatrixNumber,
    PixelOffset,
    PixelSize,
    ResolutionUm,
    SectionNumber,
    ThicknessUm,
    TierCount,
    row_id,
    shown_value,
)
from asyncfetch.errors import AlignmentError, RecordError
from asyncfetch.geometry import SPACE_TRANSFORMS, Affine2D, Affine3D, Plane, SectionGeometry

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "Alignment2d",
    "Alignment3d",
    "Gene",
    "Product",
    "SectionDataSet",
    "SectionImage",
    "StructureCenter",
    "UnreadableRecord",
    "parse_data_set",
    "parse_section_image",
    "parse_structure_center",
]

_SixNumbers = Annotated[tuple[MatrixNumber, ...], msgspec.Meta(min_length=6, max_length=6)]
_TwelveNumbers = Annotated[tuple[MatrixNumber, ...], msgspec.Meta(min_length=12, max_length=12)]

#: Sections whose geometry is kept once it was asked for: more than the largest data set on record has.
_MAX_GEOMETRIES = 1024

#: What places a section: fields of which an odd value is an error there.
_PLACING_SECTION = ("section_number", "resolution", "tsv", "tvs", "alignment2d")
_PLACING_DATA_SET = ("section_thickness", "tvr", "trv", "alignment3d")


class _Record(msgspec.Struct, frozen=True, kw_only=True):
    """The base of all records: unknown fields of a row are left out."""


class Alignment2d(_Record, frozen=True, kw_only=True):
    """The affines between a section image and its data set's volume.

    Attributes
    ----------
    tsv : Affine2D or None
        Image (x, y) in full-resolution pixels to volume (x, y) in µm; None where a number is missing.
    tvs : Affine2D or None
        The way back.
    """

    id: Id | None = None
    section_image_id: Id | None = None
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
    """The affines between a data set's volume and the reference space.

    Attributes
    ----------
    tvr : Affine3D or None
        Volume (x, y, z) in µm to reference (p, i, r) in µm; None where a number is missing.
    trv : Affine3D or None
        The way back.
    """

    id: Id | None = None
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
    """A gene."""

    id: Id
    acronym: str | None = None
    name: str | None = None
    entrez_id: Id | None = None


class Product(_Record, frozen=True, kw_only=True):
    """A product: a set of related data sets."""

    id: Id
    abbreviation: str | None = None
    name: str | None = None


class StructureCenter(_Record, frozen=True, kw_only=True):
    """The centre of a structure in a reference space, in µm (REC-6)."""

    structure_id: Id
    reference_space_id: Id
    x: Coordinate
    y: Coordinate
    z: Coordinate


class SectionImage(_Record, frozen=True, kw_only=True):
    """One section image: a box on a slide scan, and what it shows.

    Attributes
    ----------
    width, height : int
        Size in full-resolution pixels.
    x, y : int
        Where the box lies on the scan of image_width x image_height pixels (REC-9).
    resolution : float or None
        Pitch of a full-resolution pixel in µm.
    section_number : int or None
        Position in the data set; numbers can start anywhere and run in either direction.
    record : dict
        The row, verbatim.
    odd : dict of str to str
        Fields that are None because what came is not what they can be, and what came.
    """

    id: Id
    data_set_id: Id
    width: PixelSize
    height: PixelSize
    section_number: SectionNumber | None = None
    x: PixelOffset | None = 0
    y: PixelOffset | None = 0
    image_width: PixelSize | None = None
    image_height: PixelSize | None = None
    resolution: ResolutionUm | None = None
    tier_count: TierCount | None = None
    image_type: str | None = None
    annotated: bool | None = None
    failed: bool | None = None
    expression: bool | None = None
    path: str | None = None
    expression_path: str | None = None
    alignment2d: Alignment2d | None = None
    record: dict[str, Any] = {}
    odd: dict[str, str] = {}

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in full-resolution pixels."""
        return self.height, self.width


class UnreadableRecord(_Record, frozen=True, kw_only=True):
    """A section image that came and cannot be used.

    Attributes
    ----------
    id : int or None
        Its id, where it has one.
    message : str
        What is wrong with it; a row without an id is named by its position.
    """

    id: int | None = None
    message: str


class SectionDataSet(_Record, frozen=True, kw_only=True):
    """One experiment: what was cut, how, and its section images.

    Attributes
    ----------
    section_thickness : float or None
        What one section number is worth in µm; not the spacing between the kept sections.
    section_images : tuple of SectionImage
        In the order in which they came.
    unreadable_sections : tuple of UnreadableRecord
        Rows that came as section images and cannot be used.
    record : dict
        The row, verbatim.
    odd : dict of str to str
        Fields that are None or left out because what came is not what they can be, and what came.
    """

    id: Id
    reference_space_id: Id | None = None
    plane_of_section_id: Id | None = None
    section_thickness: ThicknessUm | None = None
    failed: bool | None = None
    name: str | None = None
    expression: bool | None = None
    genes: tuple[Gene, ...] = ()
    products: tuple[Product, ...] = ()
    alignment3d: Alignment3d | None = None
    section_images: tuple[SectionImage, ...] = ()
    unreadable_sections: tuple[UnreadableRecord, ...] = ()
    record: dict[str, Any] = {}
    odd: dict[str, str] = {}

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

    def in_space(self, space_id: int | None) -> SectionDataSet:
        """Return the data set as it is seen in another reference space; None means its own.

        Its record stays that of the API; its alignment and its reference space are those of the other space.

        Raises
        ------
        AlignmentError
            The way from its space to the other is not known.
        """
        if space_id in {None, self.reference_space_id}:
            return self
        there = SPACE_TRANSFORMS.get((self.reference_space_id or 0, space_id or 0))
        back = SPACE_TRANSFORMS.get((space_id or 0, self.reference_space_id or 0))
        if there is None or back is None:
            raise AlignmentError(
                f"data set {self.id} cannot be registered in reference space {space_id}: the way there from its own "
                f"space, {self.reference_space_id}, is not known; mirror it without --space"
            )
        alignment = self.alignment3d
        if alignment is not None:
            tvr, trv = alignment.tvr, alignment.trv
            alignment = msgspec.structs.replace(
                alignment,
                tvr_numbers=None if tvr is None else (there @ tvr).to_api(),
                trv_numbers=None if trv is None else (trv @ back).to_api(),
            )
        return msgspec.structs.replace(self, reference_space_id=space_id, alignment3d=alignment)

    def geometry(self, section: SectionImage) -> SectionGeometry:
        """Return where a section lies; a missing matrix is an error only where it is needed.

        Raises
        ------
        AlignmentError
            The section has no number, or the set no thickness, so that its depth is not known; or a matrix, the
            thickness or the resolution cannot be right; see :meth:`SectionGeometry.check`.
        """
        oddities = [
            f"{what} {each.id}: {each.odd[name]}"
            for what, each, names in (
                ("image", section, _PLACING_SECTION),
                ("data set", self, _PLACING_DATA_SET),
            )
            if each.odd
            for name in names
            if name in each.odd
        ]
        if oddities:
            raise AlignmentError(f"image {section.id} cannot be placed; {oddities[0]}")
        if section.section_number is None or self.section_thickness is None:
            raise AlignmentError(
                f"image {section.id} has no section number or its data set {self.id} no thickness, "
                "so that its depth is not known"
            )
        return _checked_geometry(
            section.alignment2d,
            self.alignment3d,
            section.section_number,
            self.section_thickness,
            section.resolution,
        )


def parse_section_image(row: Mapping[str, Any]) -> SectionImage:
    """Read a row of SectionImage, with its alignment2d where it is included.

    Raises
    ------
    RecordError
        An id or a size is missing or cannot be one; the message names model, id and field.
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
    return _convert(fields | {"alignment2d": alignment, "record": dict(row), "odd": {}}, SectionImage)


def parse_structure_center(row: Mapping[str, Any]) -> StructureCenter:
    """Read a row of StructureCenter.

    Raises
    ------
    RecordError
        An id or a coordinate is missing or cannot be one.
    """
    return _convert(dict(row), StructureCenter)


def parse_data_set(
    row: Mapping[str, Any],
    section_rows: Iterable[Mapping[str, Any] | None] = (),
    odd_rows: Iterable[tuple[int, Any]] = (),
) -> SectionDataSet:
    """Read a row of SectionDataSet with the rows of its section images.

    Parameters
    ----------
    row : mapping
        The data set; included ``section_images`` are read, too.
    section_rows : iterable of mappings or None
        Rows of SectionImage that came apart. They stand before the included ones and take their place; nulls and
        ids that come again are left out.
    odd_rows : iterable of (int, object)
        What came among the rows of SectionImage and is not a record, with its position.

    Raises
    ------
    RecordError
        The data set has no id; the message says what came. Section images that do not fit are in
        ``unreadable_sections``.
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
    if not isinstance(included, list):
        raise RecordError(
            f"SectionDataSet {shown_value(row.get('id'))}: section_images is {shown_value(included)}, "
            "not a list of records"
        )
    fields |= {"section_images": (), "unreadable_sections": (), "record": dict(row), "odd": {}}
    data_set = _convert(fields, SectionDataSet)
    sections: dict[int, SectionImage] = {}
    unreadable = [_unreadable(position, each, "it is not a record") for position, each in odd_rows]
    for position, each in enumerate((*section_rows, *included)):
        if each is None:
            continue
        try:
            section = _section_of(data_set, each)
        except RecordError as error:
            unreadable.append(_unreadable(position, each, error.message))
        else:
            sections.setdefault(section.id, section)
    return msgspec.structs.replace(
        data_set, section_images=tuple(sections.values()), unreadable_sections=tuple(unreadable)
    )


def _section_of(data_set: SectionDataSet, row: Any) -> SectionImage:
    """Read a section image of a data set; one that names another data set is not taken for it."""
    if not isinstance(row, dict):
        raise RecordError("it is not a record")
    if row.get("data_set_id") is None:
        section = parse_section_image(row | {"data_set_id": data_set.id})
        return msgspec.structs.replace(section, record=dict(row))
    section = parse_section_image(row)
    if section.data_set_id != data_set.id:
        raise RecordError(
            f"SectionImage {section.id}: it is of data set {section.data_set_id}, and those of data set "
            f"{data_set.id} were asked for"
        )
    return section


def _unreadable(position: int, row: Any, message: str) -> UnreadableRecord:
    image_id = row_id(row)
    if image_id is None:
        message = f"row {position} of the section images: {message}: {shown_value(row)}"
    return UnreadableRecord(id=image_id, message=message)


@functools.lru_cache(_MAX_GEOMETRIES)
def _checked_geometry(
    flat: Alignment2d | None,
    deep: Alignment3d | None,
    section_number: int,
    section_thickness_um: float,
    resolution_um: float | None,
) -> SectionGeometry:
    """Return where a section lies, for which a plan, a table and a commit ask one after another."""
    geometry = SectionGeometry(
        tsv=None if flat is None else flat.tsv,
        tvs=None if flat is None else flat.tvs,
        tvr=None if deep is None else deep.tvr,
        trv=None if deep is None else deep.trv,
        section_number=section_number,
        section_thickness_um=section_thickness_um,
    )
    geometry.check(resolution_um)
    return geometry


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
    values = [alignment.get(each) for each in _names_of_numbers(name, n)]
    return None if None in values else values


@functools.cache
def _names_of_numbers(name: str, n: int) -> tuple[str, ...]:
    return tuple(f"{name}_{k:02d}" for k in range(n))


def _convert[T: _Record](fields: dict[str, Any], model: type[T]) -> T:
    try:
        # top-level fields of XML replies carry no type and come as text
        return msgspec.convert(fields, model, strict=False)
    except msgspec.ValidationError:
        return _convert_leniently(fields, model)


def _convert_leniently[T: _Record](fields: dict[str, Any], model: type[T]) -> T:
    """Read a record field by field, and leave out what is not needed and cannot be what it says."""
    sound: dict[str, Any] = {}
    odd: dict[str, str] = {}
    for field in msgspec.structs.fields(model):
        if field.name not in fields and not field.required:
            continue
        value = fields.get(field.name)
        try:
            sound[field.name] = msgspec.convert(value, field.type, strict=False)
        except msgspec.ValidationError as error:
            if field.required:
                raise RecordError(
                    f"{model.__name__} {shown_value(fields.get('id'))}: {_oddity(field.name, value, error)}"
                ) from error
            if field.name in _INCLUDED and isinstance(value, list):
                sound[field.name], oddities = _readable(field.name, value)
            elif field.name in _INCLUDED_ONE and isinstance(value, dict):
                sound[field.name], oddities = _as_far_as_readable(value, _INCLUDED_ONE[field.name])
            else:
                sound[field.name] = () if field.name in _INCLUDED else None
                oddities = {field.name: _oddity(field.name, value, error)}
            odd |= oddities
    if odd and "odd" in model.__struct_fields__:
        sound["odd"] = odd
    return model(**sound)


def _readable(name: str, values: list[Any]) -> tuple[tuple[_Record, ...], dict[str, str]]:
    """Return those of included records that can be read, and what of the others cannot."""
    kept: list[_Record] = []
    odd: dict[str, str] = {}
    for each in values:
        try:
            kept.append(_convert(each if isinstance(each, dict) else {}, _INCLUDED[name]))
        except RecordError as error:
            odd[name] = f"{name} holds {shown_value(each)}: {error.message}"
    return tuple(kept), odd


def _as_far_as_readable(value: dict[str, Any], model: type[_Record]) -> tuple[_Record, dict[str, str]]:
    """Return an alignment without the matrices that cannot be read, and why they cannot."""
    sound: dict[str, Any] = {}
    odd: dict[str, str] = {}
    for field in msgspec.structs.fields(model):
        try:
            sound[field.name] = msgspec.convert(value.get(field.name), field.type, strict=False)
        except msgspec.ValidationError as error:
            name = field.name.removesuffix("_numbers")
            odd[name] = _oddity(name, value.get(field.name), error)
    return model(**sound), odd


def _oddity(name: str, value: Any, error: Exception) -> str:
    return f"{name} is missing" if value is None else f"{name} is {shown_value(value)} ({error})"


_INCLUDED: dict[str, type[_Record]] = {"genes": Gene, "products": Product}
_INCLUDED_ONE: dict[str, type[_Record]] = {"alignment2d": Alignment2d, "alignment3d": Alignment3d}

# Before there are threads: msgspec ends the process where two of them meet a type for the first time.
_MET = [msgspec.json.Decoder(each) for each in (SectionDataSet, SectionImage, StructureCenter)]
