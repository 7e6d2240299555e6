"""The catalogue and the six synchronization services, computed for millions of points at once. Pure."""

from __future__ import annotations

from asyncfetch.atlas.catalogue import (
    ATLAS_DATA_SETS,
    SPACE_TRANSFORMS,
    Catalogue,
    DataSetColumns,
    SectionColumns,
    StructureCenters,
    space_transforms_of,
)
from asyncfetch.atlas.positions import NO_ID, ImagePositions, ReferencePositions
from asyncfetch.atlas.sync import Atlas

__all__ = [
    "ATLAS_DATA_SETS",
    "NO_ID",
    "SPACE_TRANSFORMS",
    "Atlas",
    "Catalogue",
    "DataSetColumns",
    "ImagePositions",
    "ReferencePositions",
    "SectionColumns",
    "StructureCenters",
    "space_transforms_of",
]
