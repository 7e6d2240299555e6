"""NGFF 0.5 metadata of section images, of registered images, and of the collection of a view. Pure.

Levels are exact to half a pixel. Position 0 is the centre of the first full-resolution pixel; a pixel of a
level that is halved m times covers 2^m of them, so that with s_0 = `resolution_um` its scale is
s = s_0 · 2^m and its translation (s - s_0) / 2.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, Any

import numpy as np

from asyncfetch.text import counted
from asyncfetch.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from asyncfetch.layout.commit import Commit

__all__ = [
    "collection_attributes",
    "collection_xml",
    "level_positions",
    "level_scale",
    "registered_attributes",
    "section_attributes",
    "volume_attributes",
]

_VERSION = "0.5"
_UNIT = "micrometer"
_XML = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
_CHANNELS = (("red", "FF0000"), ("green", "00FF00"), ("blue", "0000FF"))
_LEVEL = (("expression level", "FFFFFF"),)
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
    return _multiscale(
        name, datasets, unit=_UNIT if resolution_um else None, kind="mean", metadata=_DOWNSAMPLER
    )


def registered_attributes(
    name: str, *, um: float, origin_um: float, z_step_um: float, z_origin_um: float
) -> dict[str, Any]:
    """Return ``attributes.ome`` of a registered image.

    Parameters
    ----------
    name : str
        What viewers call the image.
    um : float
        Pitch of the grid in µm.
    origin_um : float
        Centre of the first voxel of y and x: um / 2, or 0 for grid points at k · um.
    z_step_um, z_origin_um : float
        Distance of the slots and position of the first, in µm of the volume frame.
    """
    dataset = _dataset(
        0, scale=[1.0, z_step_um, um, um], translation=[0.0, z_origin_um, origin_um, origin_um]
    )
    return _multiscale(name, [dataset], unit=_UNIT, kind=None, metadata=None)


def volume_attributes(
    name: str, *, n_levels: int, um: float, n_channels: int, n_sections: int
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
    return _multiscale(name, datasets, unit=_UNIT, kind="mean", metadata=metadata, n_channels=n_channels)


def collection_attributes(names: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return ``attributes.ome`` of a collection and of its ``OME`` group, which lists the images in order."""
    return (
        {"version": _VERSION, "bioformats2raw.layout": 3},
        {"version": _VERSION, "series": list(names)},
    )


def collection_xml(commits: Sequence[Commit]) -> bytes:
    """Return ``METADATA.ome.xml``: one Image a section, in the order given.

    The digits of an Image's ID are the name of its group, which is where readers look for it. The three
    colours are three channels of one sample, as in the array.
    """
    root = ET.Element(
        "OME",
        {
            "xmlns": _XML,
            "xmlns:xsi": "http://www.w3.org/2001/XMLSchema-instance",
            "xsi:schemaLocation": f"{_XML} {_XML}/ome.xsd",
            "Creator": f"asyncfetch {__version__}",
        },
    )
    for commit in commits:
        _add_image(root, commit)
    ET.indent(root)
    document: bytes = ET.tostring(root, encoding="UTF-8", xml_declaration=True)
    return document


def _add_image(root: ET.Element, commit: Commit) -> None:
    name = str(commit.image_id)
    image = ET.SubElement(root, "Image", ID=f"Image:{name}", Name=name)
    pixels = ET.SubElement(
        image,
        "Pixels",
        ID=f"Pixels:{name}",
        DimensionOrder="XYZCT",
        Type="uint8",
        SizeX=str(commit.shape[1]),
        SizeY=str(commit.shape[0]),
        SizeZ="1",
        SizeC="3",
        SizeT="1",
    )
    if commit.resolution_um:
        pitch = repr(level_scale(commit.resolution_um, commit.downsample)[0])
        for axis in "XY":
            pixels.set(f"PhysicalSize{axis}", pitch)
            pixels.set(f"PhysicalSize{axis}Unit", "µm")
    for index, (label, _) in enumerate(_CHANNELS):
        ET.SubElement(pixels, "Channel", ID=f"Channel:{name}:{index}", Name=label, SamplesPerPixel="1")
    ET.SubElement(pixels, "MetadataOnly")


def _dataset(level: int, *, scale: list[float], translation: list[float]) -> dict[str, Any]:
    return {
        "path": f"scale{level}/image",
        "coordinateTransformations": [
            {"type": "scale", "scale": scale},
            {"type": "translation", "translation": translation},
        ],
    }


def _multiscale(
    name: str,
    datasets: list[dict[str, Any]],
    *,
    unit: str | None,
    kind: str | None,
    metadata: dict[str, Any] | None,
    n_channels: int = 3,
) -> dict[str, Any]:
    in_plane = {"type": "space"} if unit is None else {"type": "space", "unit": unit}
    multiscale: dict[str, Any] = {
        "name": name,
        "axes": [
            {"name": "c", "type": "channel"},
            {"name": "z", "type": "space", "unit": _UNIT},
            {"name": "y", **in_plane},
            {"name": "x", **in_plane},
        ],
        "datasets": datasets,
    }
    if kind is not None:
        multiscale |= {"type": kind, "metadata": metadata}
    channels = [
        {
            "label": label,
            "color": color,
            "active": True,
            "window": {"min": 0, "max": 255, "start": 0, "end": 255},
        }
        for label, color in (_CHANNELS if n_channels == 3 else _LEVEL)
    ]
    return {
        "version": _VERSION,
        "multiscales": [multiscale],
        "omero": {"channels": channels, "rdefs": {"model": "color"}},
    }
