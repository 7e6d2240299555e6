"""Pixels: JPEG in and out, affine warps, halving, and the threads that they run on."""

from __future__ import annotations

from asyncfetch.imaging.displacement import Border, DisplacementField
from asyncfetch.imaging.jpeg import JpegHeader, decode, encode, read_header
from asyncfetch.imaging.pool import Pool
from asyncfetch.imaging.pyramid import halve
from asyncfetch.imaging.warp import WARP_BLOCK, Interpolation, prepare_source, step_of, warp

__all__ = [
    "WARP_BLOCK",
    "Border",
    "DisplacementField",
    "Interpolation",
    "JpegHeader",
    "Pool",
    "decode",
    "encode",
    "halve",
    "prepare_source",
    "read_header",
    "step_of",
    "warp",
]
