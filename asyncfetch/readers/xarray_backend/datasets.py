"""Images of a store as xarray's data sets: dimensions c, z, y and x, positions in µm, labels beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray
from xarray.core.indexing import LazilyIndexedArray

from asyncfetch.readers.images import UNKNOWN
from asyncfetch.readers.lazy import LazyPixels
from asyncfetch.readers.xarray_backend.lazy import LevelArray

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from asyncfetch.readers.images import About, PlacedImage

__all__ = ["IMAGE", "TO_REFERENCE", "dataset_of", "overview_of"]

#: The variable of the pixels, as the array is called in the store.
IMAGE = "image"
#: The coordinate that places a section in the reference space.
TO_REFERENCE = "section_to_reference"

_AXES = ("z", "y", "x")
_REFERENCE_AXES = ("p (anterior to posterior)", "i (superior to inferior)", "r")
_LEFT_RIGHT = {9: "r (left to right)", 10: "r (right to left)"}


def dataset_of(image: PlacedImage, level: int, left_out: Collection[str] = ()) -> xarray.Dataset:
    """Return one level of an image.

    Parameters
    ----------
    image : PlacedImage
        The image.
    level : int
        Which level; 0 is the finest.
    left_out : collection of str
        Names of variables that are not wanted.
    """
    shown = image.levels[level]
    pixels = xarray.Variable(
        ("c", *_AXES),
        LazilyIndexedArray(LevelArray(LazyPixels(shown))),
        encoding={"preferred_chunks": dict(zip(("c", *_AXES), shown.chunks, strict=True))},
    )
    coordinates = {
        **_positions_of(image, level),
        **_sections_of(image),
        **_scalars_of(image.about),
        **_place_of(image),
    }
    attributes: dict[str, Any] = {
        "title": image.name,
        "kind": image.kind,
        "view": image.about.view,
        "level": level,
        "path": image.path,
    }
    if image.about.specimen_id != UNKNOWN:
        attributes["specimen_id"] = image.about.specimen_id
    if image.region is not None:
        attributes["region_px"] = list(image.region)
    return xarray.Dataset({IMAGE: pixels}, coordinates, attributes).drop_vars(left_out, errors="ignore")


def overview_of(abouts: Iterable[About]) -> xarray.Dataset:
    """Return what the data sets of a store show, along the dimension ``data_set``."""
    shown = list(abouts)
    columns = {
        "data_set_id": ([each.data_set_id for each in shown], np.int64),
        "gene": ([each.gene for each in shown], np.str_),
        "plane": ([each.plane for each in shown], np.str_),
        "age": ([each.age for each in shown], np.str_),
        "specimen_id": ([each.specimen_id for each in shown], np.int64),
        "reference_space_id": ([each.reference_space_id for each in shown], np.int64),
    }
    variables: dict[str, Any] = {
        name: ("data_set", np.array(values, dtype=dtype)) for name, (values, dtype) in columns.items()
    }
    # coordinates, so that set_xindex makes any of them a way to choose
    return xarray.Dataset({"data_set_id": variables.pop("data_set_id")}, variables)


def _positions_of(image: PlacedImage, level: int) -> dict[str, xarray.Variable]:
    found = {"c": xarray.Variable("c", list(image.channels))}
    for axis, name in enumerate(_AXES):
        # the one z of a section lies nowhere in the section's own frame
        if name == "z" and image.axes is None:
            continue
        attributes = {} if image.units[axis] is None else {"units": image.units[axis]}
        if image.axes is not None:
            attributes["long_name"] = _long_name(image.axes[axis], image.about.reference_space_id)
        found[name] = xarray.Variable(name, image.positions(level, axis), attributes)
    return found


def _long_name(axis: int, space_id: int) -> str:
    return _LEFT_RIGHT.get(space_id, "r") if axis == len(_AXES) - 1 else _REFERENCE_AXES[axis]


def _sections_of(image: PlacedImage) -> dict[str, xarray.Variable]:
    if not len(image.image_ids):
        return {}
    nobody = {"no_section": UNKNOWN}
    return {
        "image_id": xarray.Variable("z", image.image_ids, nobody),
        "section_number": xarray.Variable("z", image.section_numbers),
        "is_stored": xarray.Variable("z", image.is_stored),
    }


def _scalars_of(about: About) -> dict[str, xarray.Variable]:
    scalars = {
        "data_set_id": about.data_set_id,
        "gene": about.gene,
        "plane": about.plane,
        "age": about.age,
        "reference_space_id": about.reference_space_id,
    }
    return {name: xarray.Variable((), value) for name, value in scalars.items()}


def _place_of(image: PlacedImage) -> dict[str, xarray.Variable]:
    if image.axes is not None:
        return {}
    matrix = np.full((3, 3), np.nan) if image.affine is None else image.affine
    unit = image.units[1]
    attributes = {
        "description": "(p, i, r) = matrix · (x, y, 1), with x and y of this data set",
        "units": "micrometer" if unit is not None else "micrometer per pixel",
    }
    return {TO_REFERENCE: xarray.Variable(("reference_axis", "section_axis"), matrix, attributes)}
