"""The tables of a catalogue, and how a row of the API becomes rows of them. Pure.

Each row of a model of the API is one row of the table that carries its id, with a digest of what the API sent and the
number of the update that saw it last, and rows of the tables that depend on it. Names are in a full-text index by
trigrams, so that any part of a name is found.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from asyncfetch.allen import Query, row_id
from asyncfetch.selecting.traits import trait_values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["MODELS", "SCHEMA", "VERSION", "Model", "digest_of"]

#: Of the tables; a catalogue of another version is made again.
VERSION = 1

type Row = dict[str, Any]
#: A table and the values of a row in it, by column.
type Made = tuple[str, dict[str, Any]]

SCHEMA = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT);
CREATE TABLE products (id INTEGER PRIMARY KEY, abbreviation TEXT, name TEXT, species TEXT, digest TEXT, seen INTEGER);
CREATE TABLE genes (id INTEGER PRIMARY KEY, acronym TEXT, name TEXT, entrez_id INTEGER, organism_id INTEGER,
    digest TEXT, seen INTEGER);
CREATE TABLE gene_aliases (owner INTEGER, alias TEXT);
CREATE TABLE data_sets (id INTEGER PRIMARY KEY, name TEXT, failed INTEGER, delegate INTEGER, section_thickness REAL,
    reference_space_id INTEGER, specimen_id INTEGER, specimen TEXT, structure_id INTEGER, digest TEXT, seen INTEGER);
CREATE TABLE data_set_genes (owner INTEGER, gene_id INTEGER, acronym TEXT);
CREATE TABLE data_set_products (owner INTEGER, product_id INTEGER, abbreviation TEXT);
CREATE TABLE traits (data_set_id INTEGER, trait TEXT, value TEXT);
CREATE TABLE images (id INTEGER PRIMARY KEY, data_set_id INTEGER, section_number INTEGER, width INTEGER,
    height INTEGER, resolution REAL, tier_count INTEGER, failed INTEGER, digest TEXT, seen INTEGER);
CREATE TABLE structures (id INTEGER PRIMARY KEY, acronym TEXT, name TEXT, graph_id INTEGER, parent_structure_id INTEGER,
    structure_id_path TEXT, digest TEXT, seen INTEGER);
CREATE TABLE structure_centers (id INTEGER PRIMARY KEY, structure_id INTEGER, reference_space_id INTEGER, x INTEGER,
    y INTEGER, z INTEGER, digest TEXT, seen INTEGER);
CREATE TABLE atlases (id INTEGER PRIMARY KEY, name TEXT, structure_graph_id INTEGER, reference_space_id INTEGER,
    image_type TEXT, digest TEXT, seen INTEGER);
CREATE TABLE reference_spaces (id INTEGER PRIMARY KEY, name TEXT, age_id INTEGER, digest TEXT, seen INTEGER);
CREATE TABLE names (id INTEGER PRIMARY KEY, kind TEXT, owner INTEGER, name TEXT);
CREATE VIRTUAL TABLE name_index USING fts5 (name, content = 'names', content_rowid = 'id', tokenize = 'trigram');
CREATE TRIGGER name_added AFTER INSERT ON names BEGIN
    INSERT INTO name_index (rowid, name) VALUES (new.id, new.name); END;
CREATE TRIGGER name_removed AFTER DELETE ON names BEGIN
    INSERT INTO name_index (name_index, rowid, name) VALUES ('delete', old.id, old.name); END;
CREATE INDEX names_of_owners ON names (owner);
CREATE INDEX names_by_name ON names (name COLLATE NOCASE);
CREATE INDEX genes_by_acronym ON genes (acronym COLLATE NOCASE);
CREATE INDEX aliases_by_name ON gene_aliases (alias COLLATE NOCASE);
CREATE INDEX aliases_by_gene ON gene_aliases (owner);
CREATE INDEX genes_of_sets ON data_set_genes (owner);
CREATE INDEX sets_of_genes ON data_set_genes (gene_id);
CREATE INDEX products_of_sets ON data_set_products (owner);
CREATE INDEX sets_of_products ON data_set_products (product_id);
CREATE INDEX sets_by_trait ON traits (trait, value COLLATE NOCASE);
CREATE INDEX traits_of_sets ON traits (data_set_id);
CREATE INDEX sets_of_specimens ON data_sets (specimen_id);
CREATE INDEX images_of_sets ON images (data_set_id);
CREATE INDEX structures_by_acronym ON structures (acronym COLLATE NOCASE);
CREATE INDEX centers_of_structures ON structure_centers (structure_id);
"""


class Model(NamedTuple):
    """One model of the API, and where its rows go.

    Attributes
    ----------
    name, table : str
        The model, and the table that carries its ids.
    query : Query
        What is asked for, without an order.
    dependent : tuple of (str, str)
        Tables of which rows go with a row of it, and the column that names it there.
    made : callable
        Takes a row of the API to rows of tables, that with the id first.
    page_rows : int
        Rows of one page.
    """

    name: str
    table: str
    query: Query
    made: Callable[[Row], list[Made]]
    dependent: tuple[tuple[str, str], ...] = ()
    page_rows: int = 2000


def digest_of(row: Mapping[str, Any]) -> str:
    """Return what tells whether a row of the API is still the same."""
    return hashlib.sha256(json.dumps(row, sort_keys=True).encode()).hexdigest()[:20]


def _columns(table: str, *names: str) -> Callable[[Row], list[Made]]:
    def made(row: Row) -> list[Made]:
        return [(table, {name: _plain(row.get(name)) for name in ("id", *names)})]

    return made


def _plain(value: Any) -> Any:
    """Return a value that a column can have; anything else counts as missing."""
    if isinstance(value, bool):
        return int(value)
    return value if isinstance(value, int | float | str) and not _is_huge(value) else None


def _is_huge(value: object) -> bool:
    return isinstance(value, int) and abs(value) >= 2**63


def _named(kind: str, row_id_: Any, *names: Any) -> list[Made]:
    texts = dict.fromkeys(name for name in names if isinstance(name, str) and name)
    return [("names", {"kind": kind, "owner": row_id_, "name": name}) for name in texts]


def _product(row: Row) -> list[Made]:
    made = _columns("products", "abbreviation", "name", "species")(row)
    return made + _named("product", row["id"], row.get("abbreviation"), row.get("name"))


def _gene(row: Row) -> list[Made]:
    made = _columns("genes", "acronym", "name", "entrez_id", "organism_id")(row)
    tags = row.get("alias_tags")
    aliases = [each.get("acronym") for each in _dicts(row.get("gene_aliases"))]
    aliases += tags.split() if isinstance(tags, str) else []
    named = dict.fromkeys(alias for alias in aliases if isinstance(alias, str) and alias)
    made += [("gene_aliases", {"owner": row["id"], "alias": alias}) for alias in named]
    return made + _named("gene", row["id"], row.get("acronym"), row.get("name"), *named)


def _data_set(row: Row) -> list[Made]:
    specimen = next(_dicts(row.get("specimen")), {})
    ((table, values),) = _columns(
        "data_sets", "name", "failed", "delegate", "section_thickness", "reference_space_id", "specimen_id"
    )(row)
    values |= {"specimen": _plain(specimen.get("name")), "structure_id": _plain(specimen.get("structure_id"))}
    made: list[Made] = [(table, values)]
    for name, column, text in (("genes", "gene_id", "acronym"), ("products", "product_id", "abbreviation")):
        made += [
            (f"data_set_{name}", {"owner": row["id"], column: row_id(each), text: _plain(each.get(text))})
            for each in _dicts(row.get(name))
        ]
    made += [
        ("traits", {"data_set_id": row["id"], "trait": trait, "value": value})
        for trait, several in trait_values(row).items()
        for value in several
    ]
    return made


def _structure(row: Row) -> list[Made]:
    names = ("acronym", "name", "graph_id", "parent_structure_id", "structure_id_path")
    made = _columns("structures", *names)(row)
    return made + _named("structure", row["id"], row.get("acronym"), row.get("name"))


def _atlas(row: Row) -> list[Made]:
    made = _columns("atlases", "name", "structure_graph_id", "reference_space_id", "image_type")(row)
    return made + _named("atlas", row["id"], row.get("name"))


def _dicts(value: Any) -> Iterator[Row]:
    return (each for each in (value if isinstance(value, list) else [value]) if isinstance(each, dict))


_IMAGE = ("data_set_id", "section_number", "width", "height", "resolution", "tier_count", "failed")
_NAMES = (("names", "owner"),)

#: In the order in which they are asked for; small ones first, and images, which are by far the most, at the end.
MODELS = (
    Model("Product", "products", Query("Product"), _product, _NAMES),
    Model(
        "ReferenceSpace",
        "reference_spaces",
        Query("ReferenceSpace"),
        _columns("reference_spaces", "name", "age_id"),
    ),
    Model("Atlas", "atlases", Query("Atlas"), _atlas, _NAMES),
    Model("Structure", "structures", Query("Structure"), _structure, _NAMES, 25_000),
    Model(
        "StructureCenter",
        "structure_centers",
        Query("StructureCenter"),
        _columns("structure_centers", "structure_id", "reference_space_id", "x", "y", "z"),
        (),
        25_000,
    ),
    Model(
        "Gene",
        "genes",
        Query("Gene").include("gene_aliases"),
        _gene,
        (*_NAMES, ("gene_aliases", "owner")),
        10_000,
    ),
    Model(
        "SectionDataSet",
        "data_sets",
        Query("SectionDataSet").include(
            "genes", "plane_of_section", "probes", "products", "specimen(donor(age))", "treatments"
        ),
        _data_set,
        (("data_set_genes", "owner"), ("data_set_products", "owner"), ("traits", "data_set_id")),
    ),
    Model(
        "SectionImage",
        "images",
        Query("SectionImage").only("id", *_IMAGE),
        _columns("images", *_IMAGE),
        (),
        25_000,
    ),
)
