"""The catalogue of the API by name: data sets, images, plates, windows, products, structures and atlases.

Each method is one query that existing clients are known to send (RMA-9), with an order, page after page.
"""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from asyncfetch.allen import (
    Filter,
    Pipe,
    Query,
    Step,
    parse_data_set,
    parse_section_image,
    row_id,
    shown_value,
)
from asyncfetch.allen.bounds import MatrixNumber
from asyncfetch.allen.records import Product
from asyncfetch.errors import RecordError, SelectionError
from asyncfetch.text import shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from asyncfetch.allen import SectionDataSet, SectionImage
    from asyncfetch.client.pages import OddRow

__all__ = [
    "CatalogueQueries",
    "atlas_images_query",
    "atlas_query",
    "data_sets_query",
    "plates_query",
    "section_images_where",
]

type Row = dict[str, Any]
type Names = int | str | Iterable[int | str]
type Ids = int | Iterable[int]

#: Ids of one request: a hundred in one GET are known to work (RMA-10).
_MAX_IDS = 100
_Bounds = Annotated[tuple[MatrixNumber, ...], msgspec.Meta(min_length=6, max_length=6)]
_WINDOW = tuple(f"{colour}_{end}" for colour in ("red", "green", "blue") for end in ("lower", "upper"))


class CatalogueQueries(ABC):
    """The part of a client that looks things up in the API.

    Raises
    ------
    SelectionError
        By every method: what was asked for cannot be expressed.
    AsyncFetchError
        By every method: the API could not be asked, or its answer is not usable.
    """

    @abstractmethod
    async def rows(
        self, query: Query, *, odd_rows: list[OddRow] | None = None, page_rows: int | None = None
    ) -> list[Row]:
        """Return all rows of a query."""

    async def _records[T](
        self, query: Query, parse: Callable[[Row], T], unreadable: list[RecordError] | None
    ) -> list[T]:
        """Return the records of a query, and put the errors of those that cannot be read into a list."""
        odd_rows: list[OddRow] | None = None if unreadable is None else []
        records: list[T] = []
        for row in await self.rows(query, odd_rows=odd_rows):
            try:
                records.append(parse(row))
            except RecordError as error:
                if unreadable is None:
                    raise
                unreadable.append(error)
        if unreadable is not None:
            unreadable += [
                RecordError(f"row {position} of {query.model} is {shown_value(row)}, not a record")
                for position, row in odd_rows or ()
            ]
        return records

    async def data_sets(
        self,
        *,
        ids: Ids | None = None,
        product: Names | None = None,
        gene: Names | None = None,
        plane: Names | None = None,
        specimen: Ids | None = None,
        reference_space: Ids | None = None,
        failed: bool | None = False,
        unreadable: list[RecordError] | None = None,
    ) -> list[SectionDataSet]:
        """Return the data sets that meet all conditions, without their section images.

        Parameters
        ----------
        ids : int or iterable of int, optional
            SectionDataSet.id.
        product : int, str or iterable, optional
            Ids or abbreviations, such as ``1`` or ``"Mouse"``; any of several.
        gene : int, str or iterable, optional
            Ids or acronyms, such as ``"Pvalb"``.
        plane : int, str or iterable, optional
            Ids or names of the plane of section, such as ``"sagittal"``.
        specimen, reference_space : int or iterable of int, optional
            Ids.
        failed : bool or None
            Whether failed sets are meant, or the others, or with None both (REC-8).

        Returns
        -------
        list of SectionDataSet
            By id, each once, with alignment, genes and products; ``data_set`` gives the section images, too.
        """
        query = data_sets_query(
            ids=ids,
            product=product,
            gene=gene,
            plane=plane,
            specimen=specimen,
            reference_space=reference_space,
            failed=failed,
        )
        return await self._records(query, parse_data_set, unreadable)

    async def section_images(
        self,
        data_set: Ids | None = None,
        *,
        ids: Ids | None = None,
        gene: Names | None = None,
        specimen: Ids | None = None,
        unreadable: list[RecordError] | None = None,
    ) -> list[SectionImage]:
        """Return the section images that meet all conditions, with their alignments, by id.

        Parameters
        ----------
        data_set : int or iterable of int, optional
            SectionDataSet.id.
        ids : int or iterable of int, optional
            SectionImage.id.
        gene, specimen : optional
            Of the data set, as in `data_sets`.
        unreadable : list, optional
            As for `data_sets`.

        Raises
        ------
        SelectionError
            There is no condition: all images of the atlas are some millions.
        """
        query = section_images_where(data_set, ids=ids, gene=gene, specimen=specimen)
        return await self._records(query, parse_section_image, unreadable)

    async def atlas_images(
        self,
        atlas_id: int,
        image_type: str | None = None,
        *,
        annotated: bool | None = True,
        unreadable: list[RecordError] | None = None,
    ) -> list[SectionImage]:
        """Return the images of an atlas, by section number.

        Parameters
        ----------
        atlas_id : int
            Atlas.id, such as 1 for the adult mouse.
        image_type : str, optional
            Only images with an alternate image of this type; that of the atlas itself by default.
        annotated : bool or None
            Only annotated plates, only the others, or with None both.
        unreadable : list, optional
            As for `data_sets`.
        """
        query = atlas_images_query(atlas_id, image_type, annotated=annotated)
        return await self._records(query, parse_section_image, unreadable)

    async def section_image_ranges(self, image_ids: Ids) -> dict[int, tuple[int, ...] | None]:
        """Return the window of the channels in which the atlas shows its images.

        Parameters
        ----------
        image_ids : int or iterable of int
            SectionImage.id.

        Returns
        -------
        dict of int to tuple of int, or None
            By image id, in the order asked: lower and upper of red, green and blue, as the parameter ``range``
            takes them; None where the image is not known, or its data set has no Equalization.

        Raises
        ------
        RecordError
            An Equalization has a bound that is not a number.
        """
        wanted = _ids(image_ids)
        data_set_of: dict[int, int] = {}
        for part in _parts(wanted):
            query = Query("SectionImage").where(id=part).order("sub_images.id")
            data_set_of |= {
                image_id: data_set_id
                for row in await self.rows(query)
                if (image_id := row_id(row)) and (data_set_id := row_id(row, "data_set_id"))
            }
        window_of: dict[int, tuple[int, ...] | None] = {}
        for part in _parts(sorted(set(data_set_of.values()))):
            query = Query("SectionDataSet").where(id=part).include("equalization").order("data_sets.id")
            window_of |= {
                data_set_id: _window(row) for row in await self.rows(query) if (data_set_id := row_id(row))
            }
        return {image_id: window_of.get(data_set_of.get(image_id, -1)) for image_id in wanted}

    async def products(self) -> list[Product]:
        """Return the products, by id."""
        return [_product(row) for row in await self.rows(Query("Product").order("products.id"))]

    async def structures(self, graph: int = 1) -> list[Row]:
        """Return the structures of an ontology's graph as the API's rows, in the order of the graph.

        Parameters
        ----------
        graph : int
            StructureGraph.id; 1 is the adult mouse.
        """
        return await self.rows(Query("Structure").where(graph_id=graph).order("structures.graph_order"))

    async def structure_centers(self, reference_space: Ids | None = None) -> list[Row]:
        """Return the centres of structures as the API's rows: x, y, z in µm, one a structure and reference space.

        Parameters
        ----------
        reference_space : int or iterable of int, optional
            ReferenceSpace.id; all by default.
        """
        query = Query("StructureCenter").order("structure_centers.id")
        if reference_space is not None:
            query = query.where(reference_space_id=_one_or_all(_ids(reference_space)))
        return await self.rows(query)

    async def space_transforms(self) -> list[Row]:
        """Return the transforms between reference spaces as the API's rows: t_00 … t_11 of one space to another."""
        return await self.rows(
            Query("ReferenceToReferenceTransform").order("reference_to_reference_transforms.id")
        )

    async def atlases(self) -> list[Row]:
        """Return the atlases as the API's rows, by id."""
        return await self.rows(Query("Atlas").order("atlases.id"))


def data_sets_query(
    *,
    ids: Ids | None = None,
    product: Names | None = None,
    gene: Names | None = None,
    plane: Names | None = None,
    specimen: Ids | None = None,
    reference_space: Ids | None = None,
    failed: bool | None = False,
) -> Query:
    """Return the query of :meth:`CatalogueQueries.data_sets`."""
    query = Query("SectionDataSet")
    for column, wanted in {"id": ids, "specimen_id": specimen, "reference_space_id": reference_space}.items():
        if wanted is not None:
            query = query.where(**{column: _one_or_all(_ids(wanted))})
    if failed is not None:
        query = query.where(failed=failed)
    for association, name, values in (
        ("products", "abbreviation", product),
        ("plane_of_section", "name", plane),
        ("genes", "acronym", gene),
    ):
        if values is not None:
            query = query.association(Step(association, (_named(name, values),)))
    return query.include("alignment3d", "genes", "products").order("data_sets.id")


def section_images_where(
    data_set: Ids | None = None,
    *,
    ids: Ids | None = None,
    gene: Names | None = None,
    specimen: Ids | None = None,
) -> Query:
    """Return the query of :meth:`CatalogueQueries.section_images`."""
    query = Query("SectionImage")
    if data_set is None and ids is None and gene is None and specimen is None:
        raise SelectionError("name a data set, ids, a gene or a specimen: there are too many section images")
    if data_set is not None:
        query = query.where(data_set_id=_one_or_all(_ids(data_set)))
    if ids is not None:
        query = query.where(id=_one_or_all(_ids(ids)))
    if gene is not None or specimen is not None:
        filters = () if specimen is None else (_named("id", _ids(specimen), "specimen_id"),)
        inner = () if gene is None else (Step("genes", (_named("acronym", gene),)),)
        query = query.association(Step("data_set", filters, inner))
    return query.include("alignment2d").order("sub_images.id")


def atlas_images_query(
    atlas_id: int, image_type: str | None = None, *, annotated: bool | None = True
) -> Query:
    """Return the query of :meth:`CatalogueQueries.atlas_images`; it is that of AllenSDK's ``atlas_image_query``."""
    (atlas_id,) = _ids([atlas_id])
    query = Query("AtlasImage")
    if annotated is not None:
        query = query.where(annotated=annotated)
    atlas = Step("atlas_data_set", associations=(Step("atlases", (Filter("id", "eq", (str(atlas_id),)),)),))
    kind = Filter("image_type", "eq", ("$type_name" if image_type is None else image_type,))
    query = query.association(atlas, Step("alternate_images", (kind,))).order("sub_images.section_number")
    if image_type is not None:
        return query
    return query.after(Query("Atlas").where(id=atlas_id).only("image_type"), Pipe("type_name", "image_type"))


def atlas_query(atlas_id: int) -> Query:
    """Ask for an atlas, including the data sets of its plates with their alignments and products."""
    (atlas_id,) = _ids([atlas_id])
    return (
        Query("Atlas")
        .where(id=atlas_id)
        .include(
            "atlas_data_sets(alignment3d,plane_of_section,probes,products,specimen(donor(age)),treatments)"
        )
        .order("atlases.id")
    )


def plates_query(atlas_id: int) -> Query:
    """Ask for all images of an atlas, annotated or not, with their alignments and alternate images."""
    (atlas_id,) = _ids([atlas_id])
    return (
        Query("AtlasImage")
        .association(f"atlas_data_set(atlases[id$eq{atlas_id}])")
        .include("alignment2d", "alternate_images")
        .order("sub_images.id")
    )


def _named(name: str, values: Names, column: str = "id") -> Filter:
    """Return a condition on ids, or on names, of something."""
    each = [
        operator.index(value) if hasattr(value, "__index__") and not isinstance(value, bool) else value
        for value in _several(values)
    ]
    if not each:
        raise SelectionError(f"no {name} is given: name at least one, or leave the condition out")
    field = name if isinstance(each[0], str) else column
    wanted = str if field == name else int
    if not all(isinstance(value, wanted) and not isinstance(value, bool) for value in each):
        raise SelectionError(f"{shown(each, 200)} must be either ids or names, all of one sort")
    return Filter(field, "eq" if len(each) == 1 else "in", tuple(map(str, each)))


def _ids(values: Ids) -> list[int]:
    try:
        # numpy's integers are not int, but can stand for one
        ids = [operator.index(each) for each in _several(values)]
    except TypeError:
        ids = []
    if not ids or min(ids) < 0 or isinstance(values, bool):
        raise SelectionError(f"{shown(values, 200)} must be one id or more, each an integer of 0 or greater")
    return ids


def _several(values: object) -> list[Any]:
    """Return what is in any iterable, each once, or the one value alone."""
    is_one = not isinstance(values, Iterable) or isinstance(values, str) or getattr(values, "ndim", 1) == 0
    return [values] if is_one else list(dict.fromkeys(values))  # type: ignore[call-overload]  # an iterable here


def _one_or_all(ids: list[int]) -> int | list[int]:
    return ids[0] if len(ids) == 1 else ids


def _parts(ids: list[int]) -> list[list[int]]:
    return [ids[start : start + _MAX_IDS] for start in range(0, len(ids), _MAX_IDS)]


def _product(row: Row) -> Product:
    try:
        return msgspec.convert(row, Product, strict=False)
    except msgspec.ValidationError as error:
        raise RecordError(f"Product {shown_value(row.get('id'))}: {error}") from error


def _window(row: Row) -> tuple[int, ...] | None:
    equalization = row.get("equalization")
    if isinstance(equalization, list):
        equalization = equalization[0] if equalization else None
    if not equalization:
        return None
    bounds = (
        [equalization.get(name) for name in _WINDOW] if isinstance(equalization, dict) else [equalization]
    )
    if all(bound is None for bound in bounds):
        return None
    try:
        found = msgspec.convert(bounds, _Bounds, strict=False)
    except msgspec.ValidationError as error:
        raise RecordError(
            f"Equalization of data set {row_id(row)}: its bounds are {shown_value(bounds)}, not six numbers"
        ) from error
    return tuple(int(bound) for bound in found)
