"""The catalogue: columns of sections and data sets, and what else the six services look up. Pure.

Columns are numpy arrays, one entry a section or data set, so that a lookup is one call for a million ids.
A missing number or matrix is NaN, a missing id -1; a matrix that cannot be an alignment counts as missing.

Two facts are built in, because no data set tells them: the transform between the reference spaces 10 and 9 of the
adult mouse, and the data set behind atlas 1 (allen-api.md REC-6). The transform mirrors r at 11350 µm; the
structure centres of the two spaces are mirrored at 11400 µm, so that centres are never converted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Literal, Self

import msgspec
import numpy as np

from asyncfetch.allen import parse_data_set, parse_section_image, row_id
from asyncfetch.allen.bounds import MatrixNumber
from asyncfetch.allen.records import parse_structure_center
from asyncfetch.errors import RecordError, SelectionError
from asyncfetch.geometry import SPACE_TRANSFORMS, Affine3D, are_sound_2d, are_sound_3d
from asyncfetch.text import counted

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from asyncfetch.allen import SectionDataSet, SectionImage

__all__ = [
    "ATLAS_DATA_SETS",
    "SPACE_TRANSFORMS",
    "Catalogue",
    "DataSetColumns",
    "SectionColumns",
    "StructureCenters",
    "space_transforms_of",
]

type Row = Mapping[str, Any]
type Ids = NDArray[np.int64]
type Floats = NDArray[np.float64]
type Flags = NDArray[np.bool_]

#: Atlas id to the data set that holds its plates: "Mouse, P56, Coronal".
ATLAS_DATA_SETS: Mapping[int, int] = {1: 100048576}

# Where the API's numbers stand in a matrix: [[00, 01, 04], [02, 03, 05]] (REC-3).
_LAYOUT_2D = np.array([[0, 1, 4], [2, 3, 5]])


@dataclass(frozen=True, eq=False, kw_only=True)
class SectionColumns:
    """The sections of all data sets, one entry each.

    Attributes
    ----------
    image_id, data_set_id : (n,) array of int64
    section_number : (n,) array of float64
        NaN where a section has none.
    tsv, tvs : (n, 2, 3) array of float64
        Image (full-resolution pixels) to volume (µm), and back; NaN where missing.
    failed, annotated : (n,) array of bool
    image_type : (n,) array of text
    """

    image_id: Ids
    data_set_id: Ids
    section_number: Floats
    tsv: Floats
    tvs: Floats
    failed: Flags
    annotated: Flags
    image_type: NDArray[Any]

    def __len__(self) -> int:
        return len(self.image_id)

    @classmethod
    def of(cls, data_set_id: int, sections: Sequence[SectionImage]) -> Self:
        """Build the columns from the records of one data set."""
        n = len(sections)
        numbers = [section.section_number for section in sections]
        columns: dict[str, Any] = {
            "image_id": np.array([section.id for section in sections], dtype=np.int64),
            "data_set_id": np.full(n, data_set_id, dtype=np.int64),
            "section_number": np.array(
                [np.nan if number is None else number for number in numbers], dtype=np.float64
            ),
            "tsv": np.full((n, 2, 3), np.nan),
            "tvs": np.full((n, 2, 3), np.nan),
            "failed": np.array([bool(section.failed) for section in sections], dtype=bool),
            "annotated": np.array([bool(section.annotated) for section in sections], dtype=bool),
            "image_type": np.array(
                [section.image_type or "" for section in sections], dtype=np.dtypes.StringDType()
            ),
        }
        for name in ("tsv", "tvs"):
            for row, section in enumerate(sections):
                flat = section.alignment2d
                affine = None if flat is None else getattr(flat, name)
                if affine is not None:
                    columns[name][row] = affine.matrix
        resolutions = [section.resolution for section in sections]
        _drop_unsound(
            columns["tsv"],
            columns["tvs"],
            np.array([np.nan if each is None else each for each in resolutions], dtype=np.float64),
        )
        return cls(**columns)

    @classmethod
    def of_table(cls, data_set_id: int, table: Mapping[str, NDArray[Any]]) -> Self:
        """Build the columns from those that a store keeps; tsv and tvs are (n, 6), in the API's order 00 … 05."""
        n = len(table["image_id"])
        tsv = np.asarray(table["tsv"], dtype=np.float64)[:, _LAYOUT_2D]
        tvs = np.asarray(table["tvs"], dtype=np.float64)[:, _LAYOUT_2D]
        _drop_unsound(tsv, tvs, np.asarray(table["resolution"], dtype=np.float64))
        return cls(
            image_id=np.asarray(table["image_id"], dtype=np.int64),
            data_set_id=np.full(n, data_set_id, dtype=np.int64),
            section_number=np.asarray(table["section_number"], dtype=np.float64),
            tsv=tsv,
            tvs=tvs,
            failed=np.asarray(table["failed"], dtype=bool),
            annotated=np.asarray(table["annotated"], dtype=bool),
            image_type=np.asarray(table["image_type"]).astype(np.dtypes.StringDType()),
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class DataSetColumns:
    """The data sets, one entry each.

    Attributes
    ----------
    id, reference_space_id : (n,) array of int64
    section_thickness_um : (n,) array of float64
        What one section number is worth.
    tvr, trv : (n, 3, 4) array of float64
        Volume (µm) to reference (µm), and back; NaN where missing.
    """

    id: Ids
    reference_space_id: Ids
    section_thickness_um: Floats
    tvr: Floats
    trv: Floats

    def __len__(self) -> int:
        return len(self.id)

    @classmethod
    def of(cls, data_sets: Sequence[SectionDataSet]) -> Self:
        """Build the columns from records."""
        n = len(data_sets)
        matrices = {"tvr": np.full((n, 3, 4), np.nan), "trv": np.full((n, 3, 4), np.nan)}
        for name, column in matrices.items():
            for row, each in enumerate(data_sets):
                affine = None if each.alignment3d is None else getattr(each.alignment3d, name)
                if affine is not None:
                    column[row] = affine.matrix
        is_lost = np.zeros(n, dtype=bool)
        for column in matrices.values():
            is_lost |= ~np.isnan(column).any(axis=(1, 2)) & ~are_sound_3d(column)
        for column in matrices.values():
            column[is_lost] = np.nan
        spaces = [each.reference_space_id for each in data_sets]
        thicknesses = [each.section_thickness for each in data_sets]
        return cls(
            id=np.array([each.id for each in data_sets], dtype=np.int64),
            reference_space_id=np.array([-1 if space is None else space for space in spaces], dtype=np.int64),
            # a thickness of 0 or less places nothing
            section_thickness_um=np.array(
                [each if each is not None and each > 0 else np.nan for each in thicknesses], dtype=np.float64
            ),
            **matrices,
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class StructureCenters:
    """The centres of structures, one entry for each structure and reference space.

    Attributes
    ----------
    structure_id, reference_space_id : (n,) array of int64
    pir : (n, 3) array of float64
        The centre (p, i, r) in µm of that space.
    """

    structure_id: Ids
    reference_space_id: Ids
    pir: Floats

    def __len__(self) -> int:
        return len(self.structure_id)

    @classmethod
    def of(cls, rows: Iterable[Row] = (), *, odd: Literal["refused", "left out"] = "refused") -> Self:
        """Build the columns from rows of the model StructureCenter.

        Parameters
        ----------
        rows : iterable of mapping
            The rows.
        odd : {"refused", "left out"}
            What becomes of a row that lacks a field, or holds what no centre is.

        Raises
        ------
        SelectionError
            A row is refused.
        """
        centers = []
        for row in rows:
            try:
                centers.append(parse_structure_center(row))
            except RecordError as error:
                if odd == "refused":
                    raise SelectionError(
                        "a structure centre has structure_id, reference_space_id, x, y and z; "
                        f"one of the rows has not: {error.message}"
                    ) from error
        return cls(
            structure_id=np.array([each.structure_id for each in centers], dtype=np.int64),
            reference_space_id=np.array([each.reference_space_id for each in centers], dtype=np.int64),
            pir=np.array([(each.x, each.y, each.z) for each in centers], dtype=np.float64).reshape(-1, 3),
        )

    def find(self, structure_ids: Ids, reference_space_id: int) -> Floats:
        """Return the centres of structures in a space.

        Returns
        -------
        (n, 3) array of float64
            (p, i, r) in µm; NaN where a structure has no centre in that space.
        """
        here = np.flatnonzero(self.reference_space_id == reference_space_id)
        found = _find(self.structure_id[here], structure_ids)
        centers = np.full((len(structure_ids), 3), np.nan)
        centers[found >= 0] = self.pir[here[found[found >= 0]]]
        return centers


@dataclass(frozen=True, eq=False, kw_only=True)
class Catalogue:
    """Everything that the six services are computed from.

    Attributes
    ----------
    sections : SectionColumns
        Sorted by data set, section number (missing ones last) and image id.
    data_sets : DataSetColumns
        Sorted by id.
    structure_centers : StructureCenters
    atlas_data_sets : mapping of int to int
        Atlas id to the data set of its plates.
    space_transforms : mapping of (int, int) to Affine3D
        ReferenceToReferenceTransform by (from, to) space; the way back is its inverse where it is not given.
    """

    sections: SectionColumns
    data_sets: DataSetColumns
    structure_centers: StructureCenters = field(default_factory=StructureCenters.of)
    atlas_data_sets: Mapping[int, int] = field(default_factory=lambda: dict(ATLAS_DATA_SETS))
    space_transforms: Mapping[tuple[int, int], Affine3D] = field(
        default_factory=lambda: dict(SPACE_TRANSFORMS)
    )

    def __post_init__(self) -> None:
        data_sets, sections = self.data_sets, self.sections
        kept = np.unique(data_sets.id, return_index=True)[1]
        object.__setattr__(self, "data_sets", _taken(data_sets, kept))
        # an image that comes twice, as in two views, is the same image
        kept = np.unique(sections.image_id, return_index=True)[1]
        order = np.lexsort(
            (sections.image_id[kept], sections.section_number[kept], sections.data_set_id[kept])
        )
        object.__setattr__(self, "sections", _taken(sections, kept[order]))

    def __repr__(self) -> str:
        return (
            f"Catalogue({counted(len(self.data_sets), 'data set')}, {counted(len(self.sections), 'section')}, "
            f"{counted(len(self.structure_centers), 'structure centre')})"
        )

    @classmethod
    def from_records(cls, data_sets: Iterable[SectionDataSet], **further: Any) -> Self:
        """Build a catalogue from data sets with their section images.

        Parameters
        ----------
        data_sets : iterable of SectionDataSet
            The first of those with the same id counts.
        **further
            The other attributes: ``structure_centers``, ``atlas_data_sets``, ``space_transforms``.
        """
        data_sets = list(data_sets)
        columns = [SectionColumns.of(each.id, each.section_images) for each in data_sets]
        return cls.from_columns(DataSetColumns.of(data_sets), columns, **further)

    @classmethod
    def from_rows(
        cls,
        data_sets: Iterable[Row],
        section_images: Iterable[Row] = (),
        *,
        structure_centers: Iterable[Row] = (),
        **further: Any,
    ) -> Self:
        """Build a catalogue from rows of the API.

        Parameters
        ----------
        data_sets : iterable of mapping
            Rows of SectionDataSet or AtlasDataSet with their ``alignment3d``, and ``section_images`` or not.
        section_images : iterable of mapping
            Rows of SectionImage or AtlasImage with their ``alignment2d``; those of other data sets are left out.
        structure_centers : iterable of mapping
            Rows of StructureCenter.
        **further
            ``atlas_data_sets`` and ``space_transforms``.

        Raises
        ------
        RecordError
            A row is not of its model's shape.
        """
        sections: dict[int, list[SectionImage]] = {}
        for row in section_images:
            section = parse_section_image(row)
            sections.setdefault(section.data_set_id, []).append(section)
        records = [parse_data_set(row) for row in data_sets]
        columns = [
            SectionColumns.of(each.id, [*sections.get(each.id, ()), *each.section_images]) for each in records
        ]
        centers = StructureCenters.of(structure_centers)
        return cls.from_columns(DataSetColumns.of(records), columns, structure_centers=centers, **further)

    @classmethod
    def from_columns(
        cls, data_sets: DataSetColumns, sections: Sequence[SectionColumns], **further: Any
    ) -> Self:
        """Build a catalogue from the columns of several data sets."""
        parts = sections or [SectionColumns.of(-1, ())]
        joined = {
            column.name: np.concatenate([getattr(part, column.name) for part in parts])
            for column in fields(SectionColumns)
        }
        return cls(sections=SectionColumns(**joined), data_sets=data_sets, **further)

    def join(self, other: Catalogue) -> Self:
        """Return a catalogue of both; where both hold an id, this one counts."""
        data_sets = {
            column.name: np.concatenate(
                [getattr(self.data_sets, column.name), getattr(other.data_sets, column.name)]
            )
            for column in fields(DataSetColumns)
        }
        centers = {
            column.name: np.concatenate(
                [getattr(self.structure_centers, column.name), getattr(other.structure_centers, column.name)]
            )
            for column in fields(StructureCenters)
        }
        # a section stays with its data set, so that sections of one set never come from both
        theirs = np.flatnonzero(_find(self.data_sets.id, other.sections.data_set_id) < 0)
        return type(self).from_columns(
            DataSetColumns(**data_sets),
            [self.sections, _taken(other.sections, theirs)],
            structure_centers=StructureCenters(**centers),
            atlas_data_sets={**other.atlas_data_sets, **self.atlas_data_sets},
            space_transforms={**other.space_transforms, **self.space_transforms},
        )

    def with_structure_centers(self, rows: Iterable[Row]) -> Self:
        """Return the catalogue with the centres of these rows of StructureCenter instead of its own."""
        return replace(self, structure_centers=StructureCenters.of(rows))

    def section_rows(self, image_ids: Ids) -> NDArray[np.intp]:
        """Return where sections stand in ``sections``: (n,) array, -1 for an image that is not there."""
        return _find(self.sections.image_id, image_ids)

    def data_set_rows(self, data_set_ids: Ids) -> NDArray[np.intp]:
        """Return where data sets stand in ``data_sets``: (n,) array, -1 for one that is not there."""
        return _find(self.data_sets.id, data_set_ids)

    def sections_of(self, data_set_id: int) -> slice:
        """Return where the sections of a data set stand in ``sections``; an empty slice where there are none."""
        column = self.sections.data_set_id
        return slice(*np.searchsorted(column, (data_set_id, data_set_id + 1)).tolist())


def space_transforms_of(rows: Iterable[Row]) -> dict[tuple[int, int], Affine3D]:
    """Read rows of ReferenceToReferenceTransform, by (from, to) space; rows that lack a number are left out."""
    found: dict[tuple[int, int], Affine3D] = {}
    for row in rows:
        source, target = (row_id(row, f"{end}_reference_space_id") for end in ("from", "to"))
        if source is None or target is None:
            continue
        try:
            numbers = [msgspec.convert(row.get(f"t_{k:02}"), MatrixNumber, strict=False) for k in range(12)]
        except msgspec.ValidationError:
            continue
        found[source, target] = Affine3D.from_api(numbers)
    return found


def _drop_unsound(tsv: Floats, tvs: Floats, resolution_um: Floats) -> None:
    """Put NaN instead of maps (n, 2, 3) between image and volume of which either cannot be an alignment."""
    with np.errstate(divide="ignore", invalid="ignore"):
        for matrices, scales in ((tsv, resolution_um), (tvs, 1 / resolution_um)):
            is_there = ~np.isnan(matrices).any(axis=(1, 2))
            is_lost = is_there & ~are_sound_2d(matrices, scales)
            tsv[is_lost] = tvs[is_lost] = np.nan


def _taken[T: (SectionColumns, DataSetColumns)](columns: T, rows: NDArray[np.intp]) -> T:
    return type(columns)(**{column.name: getattr(columns, column.name)[rows] for column in fields(columns)})


def _find(column: Ids, wanted: Ids) -> NDArray[np.intp]:
    """Return the first position of each wanted id in a column, -1 where there is none."""
    if not len(column):
        return np.full(len(wanted), -1, dtype=np.intp)
    order = np.argsort(column, kind="stable")
    positions = order[np.searchsorted(column, wanted, sorter=order).clip(max=len(column) - 1)]
    return np.where(column[positions] == wanted, positions, -1)
