"""JPEG XL as a codec of Zarr v3, under the name that is proposed for the registry of Zarr's extensions.

The package imagecodecs-zarr calls the same codec ``imagecodecs_jpegxl``. Its parameters are the same, so that what
bears one name is read as what bears the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import imagecodecs.zarr

if TYPE_CHECKING:
    from zarr.core.common import JSON

__all__ = ["Jpegxl"]


class Jpegxl(imagecodecs.zarr.Jpegxl):
    """The codec ``jpegxl``: pixels (z, y, x, c) to a JPEG XL image; found by Zarr through this package's metadata."""

    @classmethod
    def from_dict(cls, data: dict[str, JSON]) -> Self:
        """Return the codec that an array's metadata describe."""
        configuration: Any = data.get("configuration") or {}
        return cls(**configuration)

    def to_dict(self) -> dict[str, JSON]:
        """Return what an array's metadata say of the codec."""
        document: dict[str, JSON] = super().to_dict()
        return {**document, "name": "jpegxl"}
