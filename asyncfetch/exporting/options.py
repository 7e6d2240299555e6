"""The keyword options of `asyncfetch.export`, typed: what is meant, and the options of all formats. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypedDict

from asyncfetch.options import MachineOptions

if TYPE_CHECKING:
    from asyncfetch.exporting.choices import Color, Downsample, Layer, Quality
    from asyncfetch.settings import Range, View

__all__ = ["ExportOptions", "FormatOptions"]


class FormatOptions(TypedDict, total=False):
    """The options of the formats; each has some of them, and refuses the others."""

    color: Color
    compression: Literal["deflate", "jpeg", "none"]
    downsample: Downsample
    image: Literal["png", "jpeg"]
    layer: Layer
    min_tissue: float
    pack: Literal["none", "webdataset"]
    quality: Quality
    seed: int
    size: int
    split: str
    table: Literal["csv", "jsonl"]
    um: float | None
    url: str


class ExportOptions(FormatOptions, MachineOptions, total=False):
    """The options of `asyncfetch.export`."""

    views: tuple[View, ...]
    roi_um: tuple[Range, Range, Range] | None
    roi_space: Literal[9, 10]
