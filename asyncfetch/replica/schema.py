"""How the models of the API hang together: which association leads where, and by which key.

Source: the description of the RMA models (fields and associations, 2013), as far as the sample atlas has them.
SectionImage, AtlasImage and SubImage share the table ``sub_images``; SectionDataSet, AtlasDataSet and DataSet
share ``data_sets`` (REC-1).
"""

from __future__ import annotations

from typing import Literal, NamedTuple

__all__ = ["ASSOCIATIONS", "MEMBERS", "TABLES", "Association"]


class Association(NamedTuple):
    """One way from a model to another.

    ``kind`` says where the key is: ``belongs_to`` in a field of this row, ``has`` in a field of the target,
    ``left`` and ``right`` in a join table in which this row stands on that side, by its field ``own``.
    """

    model: str
    kind: Literal["belongs_to", "has", "left", "right"]
    key: str
    is_many: bool
    own: str = "id"


def _one(model: str, key: str) -> Association:
    return Association(model, "belongs_to", key, is_many=False)


def _has_one(model: str, key: str) -> Association:
    return Association(model, "has", key, is_many=False)


def _has_many(model: str, key: str) -> Association:
    return Association(model, "has", key, is_many=True)


def _left(model: str, link: str) -> Association:
    return Association(model, "left", link, is_many=True)


def _right(model: str, link: str) -> Association:
    return Association(model, "right", link, is_many=True)


#: Models that are the union of others.
MEMBERS = {"SubImage": ("SectionImage", "AtlasImage"), "DataSet": ("SectionDataSet", "AtlasDataSet")}

_DATA_SET = {
    "alignment3d": _has_one("Alignment3d", "aligned_id"),
    "equalization": _has_one("Equalization", "section_data_set_id"),
    "genes": _left("Gene", "data_sets_genes"),
    "plane_of_section": _one("PlaneOfSection", "plane_of_section_id"),
    "probes": _left("Probe", "data_sets_probes"),
    "products": _left("Product", "data_sets_products"),
    "reference_space": _one("ReferenceSpace", "reference_space_id"),
    "section_images": _has_many("SectionImage", "data_set_id"),
    "specimen": _one("Specimen", "specimen_id"),
    "sub_images": _has_many("SubImage", "data_set_id"),
    "treatments": _left("Treatment", "data_sets_treatments"),
}
_IMAGE = {
    "alignment2d": _has_one("Alignment2d", "section_image_id"),
    "alternate_images": _has_many("AlternateImage", "sub_image_id"),
    "associates": _left("SectionImage", "associates"),
    "data_set": _one("DataSet", "data_set_id"),
    "section_data_set": _one("SectionDataSet", "data_set_id"),
    "structure": _one("Structure", "structure_id"),
    # The treatments of an image are those of its data set.
    "treatments": _left("Treatment", "data_sets_treatments")._replace(own="data_set_id"),
}

#: Model to association name to where it leads.
ASSOCIATIONS: dict[str, dict[str, Association]] = {
    "Age": {"donors": _has_many("Donor", "age_id"), "organism": _one("Organism", "organism_id")},
    "Alignment2d": {"section_image": _one("SectionImage", "section_image_id")},
    "Alignment3d": {},
    "AlternateImage": {"sub_image": _one("SubImage", "sub_image_id")},
    "Atlas": {
        "atlas_data_sets": _right("AtlasDataSet", "atlas_data_sets_atlases"),
        "graphic_group_labels": _left("GraphicGroupLabel", "atlases_graphic_group_labels"),
        "reference_space": _one("ReferenceSpace", "reference_space_id"),
        "structure_graph": _one("StructureGraph", "structure_graph_id"),
        "treatment": _one("Treatment", "treatment_id"),
    },
    "AtlasDataSet": _DATA_SET
    | {
        "atlas_images": _has_many("AtlasImage", "data_set_id"),
        "atlases": _left("Atlas", "atlas_data_sets_atlases"),
    },
    "AtlasImage": _IMAGE | {"atlas_data_set": _one("AtlasDataSet", "data_set_id")},
    "DataSet": _DATA_SET,
    "Donor": {
        "age": _one("Age", "age_id"),
        "organism": _one("Organism", "organism_id"),
        "specimens": _has_many("Specimen", "donor_id"),
    },
    "Equalization": {"section_data_set": _one("SectionDataSet", "section_data_set_id")},
    "Gene": {
        "data_sets": _right("SectionDataSet", "data_sets_genes"),
        "gene_aliases": _has_many("GeneAlias", "gene_id"),
        "organism": _one("Organism", "organism_id"),
        "probes": _has_many("Probe", "gene_id"),
        "products": _left("Product", "genes_products"),
    },
    "GeneAlias": {"gene": _one("Gene", "gene_id")},
    "GraphicGroupLabel": {"atlases": _right("Atlas", "atlases_graphic_group_labels")},
    "Ontology": {
        "structure_graphs": _has_many("StructureGraph", "ontology_id"),
        "structures": _has_many("Structure", "ontology_id"),
    },
    "Organism": {"ages": _has_many("Age", "organism_id"), "donors": _has_many("Donor", "organism_id")},
    "Orientation": {"probes": _has_many("Probe", "orientation_id")},
    "PlaneOfSection": {"data_sets": _has_many("SectionDataSet", "plane_of_section_id")},
    "Probe": {
        "data_sets": _right("SectionDataSet", "data_sets_probes"),
        "gene": _one("Gene", "gene_id"),
        "orientation": _one("Orientation", "orientation_id"),
    },
    "Product": {
        "data_sets": _right("SectionDataSet", "data_sets_products"),
        "genes": _right("Gene", "genes_products"),
    },
    "ReferenceSpace": {
        "data_sets": _has_many("SectionDataSet", "reference_space_id"),
        "structure_centers": _has_many("StructureCenter", "reference_space_id"),
    },
    "ReferenceToReferenceTransform": {
        "from_reference_space": _one("ReferenceSpace", "from_reference_space_id"),
        "to_reference_space": _one("ReferenceSpace", "to_reference_space_id"),
    },
    "SectionDataSet": _DATA_SET,
    "SectionImage": _IMAGE,
    "Specimen": {
        "data_sets": _has_many("SectionDataSet", "specimen_id"),
        "donor": _one("Donor", "donor_id"),
        "structure": _one("Structure", "structure_id"),
    },
    "Structure": {
        "ontology": _one("Ontology", "ontology_id"),
        "structure_centers": _has_many("StructureCenter", "structure_id"),
        "structure_graph": _one("StructureGraph", "graph_id"),
    },
    "StructureCenter": {
        "reference_space": _one("ReferenceSpace", "reference_space_id"),
        "structure": _one("Structure", "structure_id"),
    },
    "StructureGraph": {
        "atlases": _has_many("Atlas", "structure_graph_id"),
        "ontology": _one("Ontology", "ontology_id"),
    },
    "SubImage": _IMAGE,
    "Treatment": {"data_sets": _right("SectionDataSet", "data_sets_treatments")},
}

#: Model to the name of its table, by which options address columns (``sub_images.id``).
TABLES = {
    "Age": "ages",
    "Alignment2d": "alignment2ds",
    "Alignment3d": "alignment3ds",
    "AlternateImage": "alternate_images",
    "Atlas": "atlases",
    "AtlasDataSet": "data_sets",
    "AtlasImage": "sub_images",
    "DataSet": "data_sets",
    "Donor": "donors",
    "Equalization": "equalizations",
    "Gene": "genes",
    "GeneAlias": "gene_aliases",
    "GraphicGroupLabel": "graphic_group_labels",
    "Ontology": "ontologies",
    "Organism": "organisms",
    "Orientation": "orientations",
    "PlaneOfSection": "plane_of_sections",
    "Probe": "probes",
    "Product": "products",
    "ReferenceSpace": "reference_spaces",
    "ReferenceToReferenceTransform": "reference_to_reference_transforms",
    "SectionDataSet": "data_sets",
    "SectionImage": "sub_images",
    "Specimen": "specimens",
    "Structure": "structures",
    "StructureCenter": "structure_centers",
    "StructureGraph": "structure_graphs",
    "SubImage": "sub_images",
    "Treatment": "treatments",
}
