"""Affine maps, sections, grids and tiles: where every pixel lies. Pure float64 arithmetic, no I/O."""

from __future__ import annotations

from asyncfetch.geometry.affine import Affine2D, Affine3D
from asyncfetch.geometry.footprint import MARGINS, WARP_BLOCK, Footprint, n_means_of, step_of
from asyncfetch.geometry.grid import REFERENCE_BOXES_UM, SPACE_TRANSFORMS, Plane, ReferenceGrid
from asyncfetch.geometry.section import SectionGeometry
from asyncfetch.geometry.soundness import are_sound_2d, are_sound_3d
from asyncfetch.geometry.tiers import (
    full_to_tier,
    is_tier_shape,
    last_tier,
    tier_for,
    tier_of_shape,
    tier_shape,
    tier_to_full,
)
from asyncfetch.geometry.tiles import Box, source_box, tiles_of

__all__ = [
    "MARGINS",
    "REFERENCE_BOXES_UM",
    "SPACE_TRANSFORMS",
    "WARP_BLOCK",
    "Affine2D",
    "Affine3D",
    "Box",
    "Footprint",
    "Plane",
    "ReferenceGrid",
    "SectionGeometry",
    "are_sound_2d",
    "are_sound_3d",
    "full_to_tier",
    "is_tier_shape",
    "last_tier",
    "n_means_of",
    "source_box",
    "step_of",
    "tier_for",
    "tier_of_shape",
    "tier_shape",
    "tier_to_full",
    "tiles_of",
]
