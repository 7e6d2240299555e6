"""NGFF 0.5 metadata of section images, of registered images, and of the collection of a view. Pure.

Levels are exact to half a pixel. Position 0 is the centre of the first full-resolution pixel; a pixel of a
level that is halved m times covers 2^m of them, so that with s_0 = `resolution_um` its scale is
s = s_0 · 2^m and its translation (s - s_0) / 2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from asyncfetch.text import counted
from asyncfetch.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from asyncfetch.layout.registered import RegisteredLayout

__all__ = [
    "CHANNELS",
    "collection_attributes",
    "level_positions",
    "level_scale",
    "registered_attributes",
    "section_attributes",
    "space_axes",
    "volume_attributes",
]

_VERSION = "0.5"
_UNIT = "micrometer"
#: The label and colour of each channel of a section.
CHANNELS = (("red", "FF0000"), ("green", "00FF00"), ("blue", "0000FF"))
_LEVEL = (("expression level", "FFFFFF"),)
#: Where p, i and r of a reference space run (REC-4): space 10 is space 9 seen in a mirror.
_ORIENTATIONS = {
    9: ("anterior-to-posterior", "superior-to-inferior", "left-to-right"),
    10: ("anterior-to-posterior", "superior-to-inferior", "right-to-left"),
}
_DOWNSAMPLER = {
    "method": "asyncfetch.imaging.pyramid.halve",
    "version": __version__,
    "description": "mean of 2 x 2 pixels; an odd last row or column is left out, so sizes round down",
}


def level_scale(resolution_um: float, n_halvings: int) -> tuple[float, float]:
    """Return the pitch and the first pixel's centre of a level.

    Parameters
    ----------
    resolution_um : float
        Pitch of the full-resolution pixels in µm.
    n_halvings : int
        How many times the level is halved from full resolution.

    Returns
    -------
    scale_um, translation_um : float
        In µm of the section's own frame.

    Examples
    --------
    >>> level_scale(1.0, 2)
    (4.0, 1.5)
    """
    scale = resolution_um * 2**n_halvings
    return scale, resolution_um * (2**n_halvings - 1) / 2


def level_positions(n: int, resolution_um: float, n_halvings: int) -> NDArray[np.float64]:
    """Return the (n,) pixel centres of a level in µm of the section's own frame."""
    scale, translation = level_scale(resolution_um, n_halvings)
    return np.arange(n, dtype=np.float64) * scale + translation


def section_attributes(
    name: str, *, n_levels: int, downsample: int, resolution_um: float | None, section_thickness_um: float
) -> dict[str, Any]:
    """Return ``attributes.ome`` of a section's group.

    Parameters
    ----------
    name : str
        What viewers call the image.
    n_levels : int
        Levels that are stored, the first of them halved `downsample` times.
    downsample : int
        Halvings between full resolution and level 0.
    resolution_um : float or None
        Pitch of the full-resolution pixels in µm; None leaves y and x in full-resolution pixels, without
        unit.
    section_thickness_um : float
        Extent of the one z, in µm.
    """
    datasets = []
    for level in range(n_levels):
        scale, translation = level_scale(resolution_um or 1.0, downsample + level)
        datasets.append(
            _dataset(
                level,
                scale=[1.0, section_thickness_um, scale, scale],
                translation=[0.0, 0.0, translation, translation],
            )
        )
    in_plane: dict[str, Any] = {"type": "space", "unit": _UNIT} if resolution_um else {"type": "space"}
    axes = [
        {"name": "z", "type": "space", "unit": _UNIT},
        {"name": "y", **in_plane},
        {"name": "x", **in_plane},
    ]
    return _multiscale(name, datasets, axes, kind="mean", metadata=_DOWNSAMPLER)


def registered_attributes(name: str, layout: RegisteredLayout) -> dict[str, Any]:
    """Return ``attributes.ome`` of a registered image: z, y and x are axes of the reference space.

    Where sections share a number, slots are not evenly spaced, which NGFF 0.5 cannot say: z counts slots then, without
    a unit, and the coordinates beside the image have the positions.

    Parameters
    ----------
    name : str
        What viewers call the image.
    layout : RegisteredLayout
        Its grid and its slots.
    """
    um, origin_um, plane = layout.grid.um, layout.recipe.origin_um, layout.grid.plane
    z_um = layout.z_um if layout.is_regular else None
    z_step_um, z_origin_um = 1.0, 0.0
    if z_um is not None and layout.z_step_um is not None:
        z_step_um, z_origin_um = layout.z_step_um, float(z_um[0])
    dataset = _dataset(
        0, scale=[1.0, z_step_um, um, um], translation=[0.0, z_origin_um, origin_um, origin_um]
    )
    axes = space_axes((plane.slice_axis, plane.y_axis, plane.x_axis), layout.reference_space_id)
    if z_um is None:
        del axes[0]["unit"]
    metadata = {
        "method": "asyncfetch.imaging.warp.warp",
        "version": __version__,
        "description": "one level: sections resampled to a grid of the reference space",
    }
    return _multiscale(name, [dataset], axes, kind=layout.recipe.interpolation, metadata=metadata)


def volume_attributes(
    name: str, *, n_levels: int, um: float, n_channels: int, n_sections: int, reference_space_id: int | None
) -> dict[str, Any]:
    """Return ``attributes.ome`` of a volume: z, y and x are p, i and r of the reference space.

    Parameters
    ----------
    name : str
        What viewers call the image.
    n_levels : int
        Levels that are stored; voxel k of each is centred at (k + 1/2) times its pitch.
    um : float
        Pitch of the finest level in µm, on all axes.
    n_channels : int
        3 for red, green and blue, 1 for an expression level.
    n_sections : int
        How many sections it was made from.
    reference_space_id : int or None
        The API's id of the space.
    """
    pitches = [um * 2**level for level in range(n_levels)]
    datasets = [
        _dataset(level, scale=[1.0, *[pitch] * 3], translation=[0.0, *[pitch / 2] * 3])
        for level, pitch in enumerate(pitches)
    ]
    metadata = {
        "method": "asyncfetch.store.blocks.halve_block",
        "version": __version__,
        "description": (
            f"between {counted(n_sections, 'section')}; a level is the mean of 2 x 2 x 2 voxels of the one before"
        ),
    }
    axes = space_axes((0, 1, 2), reference_space_id)
    return _multiscale(name, datasets, axes, kind="mean", metadata=metadata, n_channels=n_channels)


def collection_attributes(names: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return ``attributes.ome`` of a collection and of its ``OME`` group, which lists the images in order."""
    return (
        {"version": _VERSION, "bioformats2raw.layout": 3},
        {"version": _VERSION, "series": list(names)},
    )


def _dataset(level: int, *, scale: list[float], translation: list[float]) -> dict[str, Any]:
    return {
        "path": f"scale{level}/image",
        "coordinateTransformations": [
            {"type": "scale", "scale": scale},
            {"type": "translation", "translation": translation},
        ],
    }


def space_axes(reference_axes: tuple[int, int, int], reference_space_id: int | None) -> list[dict[str, Any]]:
    """Return z, y and x of an image in the reference space, each with its orientation (NGFF RFC-4)."""
    directions = _ORIENTATIONS.get(reference_space_id or 0)
    axes: list[dict[str, Any]] = []
    for name, axis in zip("zyx", reference_axes, strict=True):
        entry: dict[str, Any] = {"name": name, "type": "space", "unit": _UNIT}
        if directions is not None:
            entry["orientation"] = {"type": "anatomical", "value": directions[axis]}
        axes.append(entry)
    return axes


def _multiscale(
    name: str,
    datasets: list[dict[str, Any]],
    space_axes: list[dict[str, Any]],
    *,
    kind: str,
    metadata: dict[str, Any],
    n_channels: int = 3,
) -> dict[str, Any]:
    multiscale: dict[str, Any] = {
        "name": name,
        "axes": [{"name": "c", "type": "channel"}, *space_axes],
        "datasets": datasets,
        # the strict schemas ask for both
        "type": kind,
        "metadata": metadata,
    }
    channels = [
        {
            "label": label,
            "color": color,
            "active": True,
            "window": {"min": 0, "max": 255, "start": 0, "end": 255},
        }
        for label, color in (CHANNELS if n_channels == 3 else _LEVEL)
    ]
    return {
        "version": _VERSION,
        "multiscales": [multiscale],
        "omero": {"channels": channels, "rdefs": {"model": "color"}},
    }
