"""The store: sections, JPEGs and registered planes as one Zarr hierarchy, written whole or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncfetch.loading import loader

if TYPE_CHECKING:
    from asyncfetch.layout.atlas import AtlasRecord
    from asyncfetch.layout.commit import Commit, SectionAffine
    from asyncfetch.layout.paths import (
        CHUNK,
        LAYOUT_VERSION,
        SHARD,
        Chunking,
        level_chunking,
        level_shapes,
        plane_chunking,
    )
    from asyncfetch.layout.registered import RegisteredLayout, ViewLayout
    from asyncfetch.layout.slots import Slot, plan_slots
    from asyncfetch.layout.volume import VolumeLayout, VolumePlane
    from asyncfetch.store.arrays import prepare_documents
    from asyncfetch.store.checking import Problem
    from asyncfetch.store.objects import Location
    from asyncfetch.store.reader import Store, StoredDataSet, StoredSection, open  # noqa: A004 - as zarr.open is
    from asyncfetch.store.sections import SectionLevels
    from asyncfetch.store.view_writer import ViewWriter
    from asyncfetch.store.volume import VolumeWriter
    from asyncfetch.store.writer import StoreWriter

__all__ = [
    "CHUNK",
    "LAYOUT_VERSION",
    "SHARD",
    "AtlasRecord",
    "Chunking",
    "Commit",
    "Location",
    "Problem",
    "RegisteredLayout",
    "SectionAffine",
    "SectionLevels",
    "Slot",
    "Store",
    "StoreWriter",
    "StoredDataSet",
    "StoredSection",
    "ViewLayout",
    "ViewWriter",
    "VolumeLayout",
    "VolumePlane",
    "VolumeWriter",
    "level_chunking",
    "level_shapes",
    "open",
    "plan_slots",
    "plane_chunking",
    "prepare_documents",
]

_HOMES = {
    "AtlasRecord": "asyncfetch.layout.atlas",
    **dict.fromkeys(("Commit", "SectionAffine"), "asyncfetch.layout.commit"),
    **dict.fromkeys(
        ("CHUNK", "LAYOUT_VERSION", "SHARD", "Chunking", "level_chunking", "level_shapes", "plane_chunking"),
        "asyncfetch.layout.paths",
    ),
    **dict.fromkeys(("RegisteredLayout", "ViewLayout"), "asyncfetch.layout.registered"),
    **dict.fromkeys(("Slot", "plan_slots"), "asyncfetch.layout.slots"),
    **dict.fromkeys(("VolumeLayout", "VolumePlane"), "asyncfetch.layout.volume"),
    "prepare_documents": "asyncfetch.store.arrays",
    "Problem": "asyncfetch.store.checking",
    "Location": "asyncfetch.store.objects",
    **dict.fromkeys(("Store", "StoredDataSet", "StoredSection", "open"), "asyncfetch.store.reader"),
    "SectionLevels": "asyncfetch.store.sections",
    "ViewWriter": "asyncfetch.store.view_writer",
    "VolumeWriter": "asyncfetch.store.volume",
    "StoreWriter": "asyncfetch.store.writer",
}

# A type checker sees the names above; whoever uses one module of this package does not load the others.
if not TYPE_CHECKING:
    __getattr__ = loader(__name__, _HOMES)
