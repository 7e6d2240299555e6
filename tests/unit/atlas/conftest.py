"""A small catalogue with the traps of the real one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from asyncfetch.atlas import Atlas, Catalogue

SAGITTAL, CORONAL, PLATES, ALONE = 123, 479, 100048576, 7
TSV = (1.62929, 0.0480343, -0.0480343, 1.62929, 406.469, 2243.71)
TVS = (0.61323, -0.0180791, 0.0180791, 0.61323, -208.695, -1383.26)
# data set 479: volume to reference and back, in the order of the API's names
TVR = (0, 0, -0.991197, -0.00940617, 0.97088, 0, 1.07512, 0.0113814, 0, 12741.3, -1528.16, -1370.53)
TRV = (0, -0.0109026, 0.930036, 0, 1.02989, 0.00901046, -1.00888, 0, 0, 1257.98, 1586.18, 12854.5)
# data set 123
SAGITTAL_TVR = (
    *(1.05211, 0.0260573, -0.0372341, -0.0280098, 0.999544, -0.0140134, 0.0368521, 0.0157867, 1.05237),
    *(-1119.72, -2074.34, 1692.64),
)
SAGITTAL_TRV = (
    *(0.948631, -0.0252548, 0.0332274, 0.0261118, 0.999551, 0.014234, -0.0336111, -0.01411, 0.94886),
    *(953.568, 2078.55, -1672.98),
)


def numbered(name: str, values: tuple[float, ...]) -> dict[str, float]:
    return {f"{name}_{k:02d}": value for k, value in enumerate(values)}


def section_row(image_id: int, data_set_id: int, number: int | None, **changes: Any) -> dict[str, Any]:
    shift = 0.5 * image_id
    alignment = {
        "id": image_id,
        "section_image_id": image_id,
        **numbered("tsv", (*TSV[:4], TSV[4] + shift, TSV[5] - shift)),
        **numbered("tvs", (*TVS[:4], TVS[4] - shift, TVS[5] + shift)),
    }
    row = {
        "id": image_id,
        "data_set_id": data_set_id,
        "section_number": number,
        "width": 8992,
        "height": 4936,
        "annotated": False,
        "failed": False,
        "image_type": "Primary",
        "alignment2d": alignment,
    }
    return row | changes


def data_set_row(data_set_id: int, space: int | None, tvr: Any, trv: Any, **changes: Any) -> dict[str, Any]:
    row = {
        "id": data_set_id,
        "reference_space_id": space,
        "section_thickness": 25.0,
        "alignment3d": {"id": 1, **numbered("tvr", tvr), **numbered("trv", trv)},
    }
    return row | changes


def rows() -> dict[str, Any]:
    return {
        "data_sets": [
            data_set_row(CORONAL, 9, TVR, TRV),
            data_set_row(SAGITTAL, 10, SAGITTAL_TVR, SAGITTAL_TRV),
            data_set_row(PLATES, 9, TVR, TRV),
            data_set_row(ALONE, 9, TVR, TRV, alignment3d=None),
        ],
        "section_images": [
            section_row(14, CORONAL, 20, failed=True),
            section_row(13, CORONAL, 12),
            section_row(12, CORONAL, 4),
            section_row(15, CORONAL, None),
            section_row(16, CORONAL, 16, alignment2d=None),
            section_row(21, SAGITTAL, 171),
            section_row(22, SAGITTAL, 179),
            section_row(31, PLATES, 1, annotated=True),
            section_row(32, PLATES, 3),
            section_row(33, PLATES, 5, annotated=True),
            section_row(41, ALONE, 1),
        ],
        "structure_centers": [
            {"structure_id": 1018, "reference_space_id": 10, "x": 7800, "y": 3400, "z": 1050},
            {"structure_id": 1018, "reference_space_id": 9, "x": 7800, "y": 3400, "z": 10350},
            {"structure_id": 322, "reference_space_id": 9, "x": 5740, "y": 2060, "z": 8670},
        ],
    }


@pytest.fixture
def catalogue() -> Catalogue:
    return Catalogue.from_rows(**rows())


@pytest.fixture
def atlas(catalogue: Catalogue) -> Atlas:
    return Atlas(catalogue)


@pytest.fixture
def kit() -> Any:
    """Return this module's makers, which test modules cannot import."""
    return SimpleNamespace(**{name: value for name, value in globals().items() if not name.startswith("_")})
