"""Rows that belong to no data set: planes of section, reference spaces and what leads between them, structures.

Source: single facts of the Allen Brain Atlas API; see `asyncfetch.sample.recorded`.
"""

from __future__ import annotations

from typing import Any

from asyncfetch.sample import recorded
from asyncfetch.sample.phantom import MIRROR_UM

__all__ = ["general_tables"]

# Space 10 to space 9 and back: r is mirrored.
_MIRROR = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, MIRROR_UM)


def general_tables() -> dict[str, list[dict[str, Any]]]:
    """Return the rows by model, new ones at every call."""
    return {
        "PlaneOfSection": [
            {"id": plane_id, "name": name} for plane_id, name in recorded.PLANES_OF_SECTION.items()
        ],
        "ReferenceSpace": [
            {
                "id": space,
                "name": name,
                "age_id": 15,
                "organism_id": 2,
                "anatomy": None,
                "storage_directory": None,
            }
            for space, name in recorded.REFERENCE_SPACES.items()
        ],
        "ReferenceToReferenceTransform": [
            {"id": row_id, "from_reference_space_id": source, "to_reference_space_id": target}
            | {f"t_{i:02}": value for i, value in enumerate(_MIRROR)}
            for row_id, source, target in ((1, 9, 10), (2, 10, 9))
        ],
        "Age": [
            {"id": 15, "name": "P56", "days": 56.0, "description": None, "embryonic": False, "organism_id": 2}
        ],
        "Ontology": [
            {
                "id": 1,
                "abbreviation": "Mouse",
                "description": None,
                "name": "Mouse Brain Atlas",
                "organism_id": 2,
            }
        ],
        "StructureGraph": [
            {"id": 1, "name": "Mouse Brain Atlas", "ontology_id": 1, "root_structure_id": None}
        ],
        "GraphicGroupLabel": [{"id": 28, "name": "Atlas - Adult Mouse", "color": None}],
        "Structure": [
            {
                "id": structure_id,
                "acronym": acronym,
                "name": name,
                "atlas_id": None,
                "color_hex_triplet": None,
                "depth": None,
                "graph_id": 1,
                "graph_order": order,
                "ontology_id": 1,
                "parent_structure_id": None,
                "structure_id_path": recorded.STRUCTURE_PATHS[structure_id],
            }
            for order, (structure_id, (acronym, name)) in enumerate(recorded.STRUCTURES.items())
        ],
        "StructureCenter": [
            {"id": row_id, "structure_id": structure_id, "reference_space_id": space, "x": x, "y": y, "z": z}
            for row_id, (structure_id, space, x, y, z) in enumerate(recorded.STRUCTURE_CENTERS, start=1)
        ],
    }
