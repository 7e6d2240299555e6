"""What numbers in a store's metadata can be: what lies outside was not written by this package, or is damaged. Pure."""

from __future__ import annotations

import sys
from typing import Annotated

from msgspec import Meta

__all__ = [
    "MAX_OBJECT_BYTES",
    "Digest",
    "Extent",
    "GreyLevel",
    "Id",
    "Pitch",
    "Position",
    "SectionNumber",
    "Side",
    "Size",
    "Tier",
]

#: The most that is read of one object at once. Shards take some 12 MB, and metadata some kB, but a copy of all metadata
#: that Zarr has put into a group of a large store takes 100 MB. What is larger was not written for this store.
MAX_OBJECT_BYTES = 2**28

#: An id of the API.
Id = Annotated[int, Meta(ge=1, le=2**63 - 1)]
#: Pixels along a side of an image.
Side = Annotated[int, Meta(ge=1, le=10**6)]
#: Full-resolution pixels along a side of a region: an image of a coarse tier has many more of these than of its own.
Extent = Annotated[int, Meta(ge=0, le=2**40)]
#: Bytes of an object.
Size = Annotated[int, Meta(ge=0, le=2**50)]
#: Halvings by the server.
Tier = Annotated[int, Meta(ge=0, le=32)]
#: The number of a section in its set, or a step between two.
SectionNumber = Annotated[int, Meta(ge=-(2**31), le=2**31)]
#: A length in µm that is divided by.
Pitch = Annotated[float, Meta(gt=0, le=10**9)]
#: A coordinate or a coefficient.
Position = Annotated[float, Meta(ge=-sys.float_info.max, le=sys.float_info.max)]
#: A grey level.
GreyLevel = Annotated[int, Meta(ge=0, le=255)]
#: A sha256, hexadecimal.
Digest = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
