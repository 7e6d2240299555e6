"""Options that several formats share: their types, what the command line shows of them, and what they mean."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from asyncfetch.settings import Halvings

__all__ = ["Color", "Downsample", "Layer", "Quality", "StackLayer"]

Downsample = Annotated[
    Halvings | None,
    msgspec.Meta(
        description="Halve sections this many times from full resolution.",
        extra={"metavar": "N", "shown": "as stored"},
    ),
]
Quality = Annotated[
    int,
    msgspec.Meta(ge=1, le=100, description="Quality of JPEGs, from 1 to 100.", extra={"metavar": "Q"}),
]
StackLayer = Annotated[
    Literal["registered", "volume"],
    msgspec.Meta(
        description="The registered planes, or the volume that was made of them.", extra={"metavar": "LAYER"}
    ),
]
#: What an image is of, where it may also be a section in its own frame.
Layer = Annotated[
    Literal["sections", "registered", "volume"],
    msgspec.Meta(
        description="Sections in their own frame, the registered planes, or the volume that was made of them.",
        extra={"metavar": "LAYER"},
    ),
]
Color = Annotated[
    Literal["rgb", "grey"],
    msgspec.Meta(
        description="Three channels, or their luma in one; expression levels of volumes always have one.",
        extra={"metavar": "COLOR"},
    ),
]
