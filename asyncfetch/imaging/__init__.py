"""Pixels: JPEG in and out, affine warps, halving, and the threads that they run on."""

from __future__ import annotations

from asyncfetch.imaging.buffers import Buffers
from asyncfetch.imaging.displacement import Border, DisplacementField
from asyncfetch.imaging.jet import expression_level, put_levels
from asyncfetch.imaging.jobs import Jobs
from asyncfetch.imaging.jpeg import JpegHeader, decode, encode, read_header
from asyncfetch.imaging.opencv import split_colours
from asyncfetch.imaging.pool import Pool
from asyncfetch.imaging.pyramid import halve
from asyncfetch.imaging.warp import (
    Interpolation,
    PlaneWarp,
    average,
    prepare_source,
    warp,
)

__all__ = [
    "Border",
    "Buffers",
    "DisplacementField",
    "Interpolation",
    "Jobs",
    "JpegHeader",
    "PlaneWarp",
    "Pool",
    "average",
    "decode",
    "encode",
    "expression_level",
    "halve",
    "prepare_source",
    "put_levels",
    "read_header",
    "split_colours",
    "warp",
]
