"""What a search asks of the API, and the columns of what it finds; the catalogue gives the same ones. Pure.

A row is of a data set, an image, a gene, a product, a structure or an atlas. Filters are those of data sets: a gene or
a product is found where one of its data sets meets them, and an image where its data set does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import msgspec

from asyncfetch.allen import Filter, Query, Step, row_id
from asyncfetch.errors import SelectionError
from asyncfetch.selecting import Filters
from asyncfetch.selecting.criteria import restricted
from asyncfetch.selecting.traits import TRAITS, trait_values

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncfetch.selecting import Selection

__all__ = ["COLUMNS", "Search", "Sought", "found_row", "queries_of", "sought_called"]

type Row = dict[str, Any]
type Sought = Literal["datasets", "images", "genes", "products", "structures", "atlases"]

#: The columns of what is found, and their types.
COLUMNS: dict[Sought, dict[str, type]] = {
    "datasets": {
        "id": int,
        "genes": str,
        **{trait.name: str for trait in TRAITS},
        "failed": bool,
        "delegate": bool,
        "specimen_id": int,
        "reference_space_id": int,
        "section_thickness": float,
        "products": str,
        "name": str,
    },
    "images": {
        "id": int,
        "data_set_id": int,
        "section_number": int,
        "width": int,
        "height": int,
        "resolution": float,
        "tier_count": int,
        "failed": bool,
    },
    "genes": {"id": int, "acronym": str, "name": str, "entrez_id": int, "aliases": str},
    "products": {"id": int, "abbreviation": str, "name": str, "species": str},
    "structures": {"id": int, "acronym": str, "name": str, "graph_id": int, "parent_structure_id": int},
    "atlases": {"id": int, "name": str, "structure_graph_id": int, "reference_space_id": int},
}
_MODELS = {
    "datasets": "SectionDataSet",
    "images": "SectionImage",
    "genes": "Gene",
    "products": "Product",
    "structures": "Structure",
    "atlases": "Atlas",
}
_TABLES = {"datasets": "data_sets", "images": "sub_images"}
_TEXTS: dict[str, tuple[str, ...]] = {
    "genes": ("acronym", "name"),
    "products": ("abbreviation", "name"),
    "structures": ("acronym", "name"),
    "atlases": ("name",),
}
_INCLUDES = ("genes", "plane_of_section", "probes", "products", "specimen(donor(age))", "treatments")


class Search(NamedTuple):
    """What is sought.

    Attributes
    ----------
    what : str
        Of which kind.
    words : tuple of str
        Parts of names, of which each has to be in one; for genes, products, structures and atlases.
    selections : tuple of Selection
        What data sets and images are of; any of them.
    required : tuple of tuple of Selection
        Groups of one kind each, of each of which they have to be of any.
    filters : Filters
        What data sets have to meet.
    reference_spaces : tuple of int
        Any of these, where there are some.
    """

    what: Sought
    words: tuple[str, ...] = ()
    selections: tuple[Selection, ...] = ()
    required: tuple[tuple[Selection, ...], ...] = ()
    filters: Filters = Filters()
    reference_spaces: tuple[int, ...] = ()

    def check(self) -> None:
        """Raise a SelectionError where that cannot be sought."""
        named = [*self.selections, *(each for group in self.required for each in group)]
        if self.what not in {"datasets", "images"} and named:
            raise SelectionError(f"{self.what} are found by parts of their names, not by {named[0]}")
        if self.what in {"structures", "atlases"} and str(self.filters):
            raise SelectionError(
                f"{self.what} have no data sets of their own, so that {self.filters} says nothing"
            )
        if self.what == "images" and not (named or self.filters.has_conditions):
            raise SelectionError(
                "there are millions of images: name a data set, a gene or a specimen, or give a filter"
            )


def sought_called(name: str) -> Sought | None:
    """Return what a word asks for, in one or many; None where it is something else."""
    word = name.lower()
    return next(
        (each for each in COLUMNS if word in {each, each.removesuffix("s"), each.removesuffix("es")}), None
    )


def queries_of(search: Search) -> list[Query]:
    """Return the queries whose rows together are what is sought."""
    what, filters = search.what, search.filters
    order = f"{_TABLES.get(what, what)}.id"
    sets = [restricted(each, filters, failed="without") for each in _sets(search)]
    if what == "datasets":
        return [each.include(*_INCLUDES).order(order) for each in sets]
    query = Query(_MODELS[what]).order(order)
    if what == "images":
        if filters.section_range is not None:
            first, last = filters.section_range
            query = query.filter("section_number", "ge", first).filter("section_number", "le", last)
        return [query.association(_step("section_data_set", each)) for each in sets]
    if what == "genes":
        query = query.include("gene_aliases")
    if filters.has_conditions or filters.failed:
        query = query.association(*(_step("data_sets", each) for each in sets))
    return _by_words(query, search) if search.words else [query]


def _by_words(query: Query, search: Search) -> list[Query]:
    """Return a query for each column in which all words may be, for the language has no "or"."""
    conditions = [
        tuple(Filter(column, "il", (f"*{word}*",)) for word in search.words) for column in _TEXTS[search.what]
    ]
    found = [msgspec.structs.replace(query, filters=(*query.filters, *each)) for each in conditions]
    if search.what == "genes":
        found.append(query.association(Step("gene_aliases", conditions[0])))
    return found


def _sets(search: Search) -> list[Query]:
    """Return queries of the data sets that are meant, one for each kind of selection."""
    query = Query("SectionDataSet")
    if search.reference_spaces:
        query = query.where(reference_space_id=list(search.reference_spaces))
    for group in search.required:
        if len({type(each.id) for each in group}) > 1:
            values = ", ".join(str(each.id) for each in group)
            raise SelectionError(f"{values} must be either ids or names, all of one sort")
        query = _of_kind(query, group[0].kind, group)
    by_kind: dict[tuple[str, type], list[Selection]] = {}
    for each in search.selections:
        by_kind.setdefault((each.kind, type(each.id)), []).append(each)
    return [_of_kind(query, kind, several) for (kind, _), several in by_kind.items()] or [query]


def _of_kind(query: Query, kind: str, several: Sequence[Selection]) -> Query:
    """Return a query of those data sets that are of any of several selections of one kind."""
    values = tuple(str(each.id) for each in several)
    names = {"gene": "acronym", "product": "abbreviation", "specimen": "name", "structure": "acronym"}
    column = names.get(kind, "id") if isinstance(several[0].id, str) else "id"
    one = Filter(column, "eq" if len(values) == 1 else "in", values)
    match kind:
        case "dataset":
            return msgspec.structs.replace(query, filters=(*query.filters, one))
        case "image" | "gene" | "product" | "specimen":
            way = {"image": "section_images", "specimen": "specimen"}.get(kind, f"{kind}s")
            return query.association(Step(way, (one,)))
        case "structure":
            return query.association(Step("specimen", (), (Step("structure", (one,)),)))
    raise SelectionError(
        f"{several[0]} cannot be searched; name a dataset, gene, product, specimen or structure"
    )


def _step(name: str, query: Query) -> Step:
    """Return the conditions of a query as those of an association."""
    return Step(name, query.filters, query.associations)


def found_row(what: Sought, row: Row) -> dict[str, Any]:
    """Return the columns of a row of the API; what is missing or of another type is None."""
    made = {name: _of_type(row.get(name), kind) for name, kind in COLUMNS[what].items()}
    if what == "datasets":
        shown = {trait.name: trait.shown for trait in TRAITS}
        made |= {
            name: ",".join(map(shown[name], values)) or None for name, values in trait_values(row).items()
        }
        made["genes"] = _joined(row.get("genes"), "acronym")
        made["products"] = _joined(row.get("products"), "abbreviation")
    if what == "genes":
        tags = row.get("alias_tags")
        named = (_joined(row.get("gene_aliases"), "acronym") or "").split(",")
        made["aliases"] = (
            ",".join(dict.fromkeys([*filter(None, named), *(tags.split() if tags else ())])) or None
        )
    return made


def _of_type(value: Any, kind: type) -> Any:
    if isinstance(value, bool) is not (kind is bool):
        return None
    return (
        float(value)
        if kind is float and isinstance(value, int)
        else value
        if isinstance(value, kind)
        else None
    )


def _joined(rows: Any, name: str) -> str | None:
    """Return the names of included rows, or the ids of those without one."""
    several = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    return ",".join(str(row.get(name) or row_id(row)) for row in several) or None
