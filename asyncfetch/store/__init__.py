"""The store: sections, JPEGs and registered planes as one Zarr hierarchy, written whole or not at all."""

from __future__ import annotations

from asyncfetch.store.arrays import prepare_documents
from asyncfetch.store.checking import Problem
from asyncfetch.store.commit import Commit, SectionAffine
from asyncfetch.store.layout import CHUNK, LAYOUT_VERSION, SHARD, Slot, level_shapes, plan_slots, shard_shape
from asyncfetch.store.place import Location
from asyncfetch.store.reader import Store, StoredDataSet, StoredSection, open  # noqa: A004 - as zarr.open is
from asyncfetch.store.records import AtlasRecord
from asyncfetch.store.view import RegisteredLayout, ViewLayout
from asyncfetch.store.volume import VolumeLayout, VolumePlane, VolumeWriter
from asyncfetch.store.writer import SectionLevels, StoreWriter

__all__ = [
    "CHUNK",
    "LAYOUT_VERSION",
    "SHARD",
    "AtlasRecord",
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
    "VolumeLayout",
    "VolumePlane",
    "VolumeWriter",
    "level_shapes",
    "open",
    "plan_slots",
    "prepare_documents",
    "shard_shape",
]
