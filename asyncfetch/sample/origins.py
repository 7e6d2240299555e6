"""Where the data sets of the sample atlas come from: genes with aliases, probes, animals, ages, strains, treatments.

Ids and names of ages, orientations and organisms, and what NCBI lists of genes, are real (REC-10); which animal and
which probe a made data set has is made, so that each filter of a selection has sets on both sides of it:

========= ========= === ================= ========== ======== ===========================
data set  age       sex strain            sense      delegate specimen
========= ========= === ================= ========== ======== ===========================
69289763  P56       M   C57BL/6J          antisense  yes      68870790 (recorded)
479       P56       M   C57BL/6J          antisense  yes      900000479
123       P56       M   C57BL/6J          antisense  yes      702643 (recorded)
900000001 P56       F   C57BL/6J          antisense  yes      900000501
900000002 P56       M   C57BL/6J          sense      no       900000502
900000003 none      ·   ·                 none       yes      none
900000004 P14       F   C57BL/6J          none       yes      900000504, that of 900000005
900000005 P14       F   C57BL/6J          antisense  yes      900000504
900000006 P56       M   A930038C07Rik-Tg1 none       yes      900000506
900000007 24 years  F   none              none       yes      900000507, of the structure SSp
========= ========= === ================= ========== ======== ===========================
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ORIGIN_LINKS", "ORIGIN_MODELS", "add_origins", "gene_facts"]

type Row = dict[str, Any]
type Link = tuple[int, int]

#: Models and join tables that this module fills.
ORIGIN_MODELS = ("GeneAlias", "Organism", "Orientation", "Probe")
ORIGIN_LINKS = ("data_sets_probes", "genes_products")

_SENSE, _ANTISENSE = 1, 2
#: Age.id: name, days, whether before birth.
_AGES = {
    1: ("E11.5", 11.5, True),
    2: ("E13.5", 13.5, True),
    4: ("E15.5", 15.5, True),
    5: ("E18.5", 18.5, True),
    7: ("P4", 4.0, False),
    11: ("P14", 14.0, False),
    14: ("P28", 28.0, False),
    900000015: ("24 years", 8766.0, False),
}
#: Acronym: Entrez id, name and aliases, as NCBI Gene lists them.
_GENES = {
    "Adora2a": (11540, "adenosine A2a receptor", ("A2AAR", "ARA2A")),
    "Gad1": (14415, "glutamate decarboxylase 1", ("GAD67", "GAD25")),
    "Prox1": (19130, "prospero homeobox 1", ()),
    "Pvalb": (19293, "parvalbumin", ("Parv", "PV")),
}


class _Animal(NamedTuple):
    """A made donor with one specimen."""

    specimen_id: int
    age_id: int
    sex: str
    strain: str | None
    structure_id: int | None = None


_TRANSGENIC = "A930038C07Rik-Tg1"
_BLACK6 = "C57BL/6J"
#: Data set: the animal that it is of.
_ANIMALS = {
    479: _Animal(900000479, 15, "M", _BLACK6),
    900000001: _Animal(900000501, 15, "F", _BLACK6),
    900000002: _Animal(900000502, 15, "M", _BLACK6),
    900000004: _Animal(900000504, 11, "F", _BLACK6),
    900000005: _Animal(900000504, 11, "F", _BLACK6),
    900000006: _Animal(900000506, 15, "M", _TRANSGENIC),
    900000007: _Animal(900000507, 900000015, "F", None, structure_id=322),
}
#: Data set: the orientation of its probe; sets without genes have none.
_PROBES = {69289763: _ANTISENSE, 479: _ANTISENSE, 123: _ANTISENSE, 900000001: _ANTISENSE}
_PROBES |= {900000002: _SENSE, 900000005: _ANTISENSE}
_NO_DELEGATES = frozenset({900000002})


def gene_facts(acronym: str) -> Row:
    """Return what is known of a gene beside its id and acronym."""
    if acronym not in _GENES:
        return {"name": f"gene {acronym}"}
    entrez_id, name, aliases = _GENES[acronym]
    return {"name": name, "entrez_id": entrez_id, "alias_tags": " ".join(aliases) or None}


def add_origins(
    tables: dict[str, list[Row]], links: dict[str, list[Link]], donor: Mapping[str, Any], specimen: Row
) -> None:
    """Give the data sets their animals and probes, and the genes their aliases.

    Parameters
    ----------
    tables, links : dict
        The rows of the sample atlas, which get more.
    donor, specimen : mapping
        What made ones have in all other columns.
    """
    tables["Age"] += [
        {"id": age_id, "name": name, "days": days, "description": None, "embryonic": is_embryonic}
        | {"organism_id": 1 if age_id > 900000000 else 2}
        for age_id, (name, days, is_embryonic) in _AGES.items()
    ]
    tables["Organism"] += [
        {"id": 1, "name": "Homo Sapiens", "ncbitaxonomyid": 9606, "tags": None},
        {"id": 2, "name": "Mus musculus", "ncbitaxonomyid": 10090, "tags": None},
    ]
    tables["Orientation"] += [{"id": _SENSE, "name": "Sense"}, {"id": _ANTISENSE, "name": "Antisense"}]
    for gene in tables["Gene"]:
        _add_gene(tables, links, gene)
    for row in tables["SectionDataSet"]:
        animal = _ANIMALS.get(row["id"])
        if animal is not None:
            row["specimen_id"] = animal.specimen_id
            _add_animal(tables, animal, donor, specimen)
        row["delegate"] = row["id"] not in _NO_DELEGATES
        if row["id"] in _PROBES:
            _add_probe(tables, links, row["id"])


def _add_gene(tables: dict[str, list[Row]], links: dict[str, list[Link]], gene: Row) -> None:
    for alias in (gene["alias_tags"] or "").split():
        alias_id = 900000200 + len(tables["GeneAlias"])
        tables["GeneAlias"].append({"id": alias_id, "gene_id": gene["id"], "acronym": alias})
    data_sets = {data_set_id for data_set_id, gene_id in links["data_sets_genes"] if gene_id == gene["id"]}
    products = {product for data_set_id, product in links["data_sets_products"] if data_set_id in data_sets}
    links["genes_products"] += [(gene["id"], product) for product in sorted(products)]


def _add_animal(
    tables: dict[str, list[Row]], animal: _Animal, donor: Mapping[str, Any], specimen: Row
) -> None:
    if any(row["id"] == animal.specimen_id for row in tables["Specimen"]):
        return
    donor_id = animal.specimen_id + 1000
    name = f"made {animal.specimen_id}"
    tables["Donor"].append(
        {
            **donor,
            "id": donor_id,
            "age_id": animal.age_id,
            "name": name,
            "organism_id": 1 if animal.age_id > 900000000 else 2,
            "sex": animal.sex,
            "sex_full_name": {"M": "Male", "F": "Female"}[animal.sex],
            "strain": animal.strain,
            "tags": None,
        }
    )
    tables["Specimen"].append(
        specimen
        | {"id": animal.specimen_id, "name": name, "donor_id": donor_id, "structure_id": animal.structure_id}
        | {"specimen_id_path": f"/{animal.specimen_id}/"}
    )


def _add_probe(tables: dict[str, list[Row]], links: dict[str, list[Link]], data_set_id: int) -> None:
    genes = [gene_id for each, gene_id in links["data_sets_genes"] if each == data_set_id]
    probe_id = 900000300 + len(tables["Probe"])
    tables["Probe"].append(
        {
            "id": probe_id,
            "name": f"made probe {probe_id}",
            "gene_id": genes[0] if genes else None,
            "orientation_id": _PROBES[data_set_id],
            "probe_type": "RNA",
        }
    )
    links["data_sets_probes"].append((data_set_id, probe_id))
