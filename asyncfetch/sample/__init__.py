"""The built-in sample atlas, the phantom that it is drawn from, and the truth that results are held against."""

from __future__ import annotations

from asyncfetch.sample.atlas import (
    ATLAS_DATA_SET_ID,
    CONNECTIVITY_DATA_SET_ID,
    FAILED_DATA_SET_ID,
    HUGE_DATA_SET_ID,
    LARGE_DATA_SET_ID,
    NISSL_DATA_SET_ID,
    NULLS_DATA_SET_ID,
    SAGITTAL_ATLAS_DATA_SET_ID,
    SAMPLE_PRODUCT_ID,
    SMALL_DATA_SET_ID,
    TUMOR_DATA_SET_ID,
    UNALIGNED_DATA_SET_ID,
    SampleAtlas,
    sample_atlas,
)
from asyncfetch.sample.phantom import Phantom
from asyncfetch.sample.truth import (
    PlaneError,
    VolumeError,
    compare_plane,
    compare_volume,
    compare_with_phantom,
)

__all__ = [
    "ATLAS_DATA_SET_ID",
    "CONNECTIVITY_DATA_SET_ID",
    "FAILED_DATA_SET_ID",
    "HUGE_DATA_SET_ID",
    "LARGE_DATA_SET_ID",
    "NISSL_DATA_SET_ID",
    "NULLS_DATA_SET_ID",
    "SAGITTAL_ATLAS_DATA_SET_ID",
    "SAMPLE_PRODUCT_ID",
    "SMALL_DATA_SET_ID",
    "TUMOR_DATA_SET_ID",
    "UNALIGNED_DATA_SET_ID",
    "Phantom",
    "PlaneError",
    "SampleAtlas",
    "VolumeError",
    "compare_plane",
    "compare_volume",
    "compare_with_phantom",
    "sample_atlas",
]
