"""The OME-XML of a view: one Image per section, which readers of collections look into for sizes and names. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lxml import etree  # pyright: ignore[reportAttributeAccessIssue]  # compiled, ships no stubs

from asyncfetch.layout.ome import CHANNELS, level_scale
from asyncfetch.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncfetch.layout.commit import Commit

__all__ = ["collection_xml"]

_NAMESPACE = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
_INSTANCE = "http://www.w3.org/2001/XMLSchema-instance"


def collection_xml(commits: Sequence[Commit]) -> bytes:
    """Return ``METADATA.ome.xml``: one Image per section, in the order given.

    The digits of an Image's ID are the name of its group, which is where readers look for it. The three
    colours are three channels of one sample, as in the array.
    """
    root = etree.Element(_named("OME"), nsmap={None: _NAMESPACE, "xsi": _INSTANCE})
    root.set(f"{{{_INSTANCE}}}schemaLocation", f"{_NAMESPACE} {_NAMESPACE}/ome.xsd")
    root.set("Creator", f"asyncfetch {__version__}")
    for commit in commits:
        _add_image(root, commit)
    return bytes(etree.tostring(root, encoding="UTF-8", xml_declaration=True, pretty_print=True))


def _add_image(root: etree._Element, commit: Commit) -> None:
    name = str(commit.image_id)
    image = etree.SubElement(root, _named("Image"), ID=f"Image:{name}", Name=name)
    pixels = etree.SubElement(
        image,
        _named("Pixels"),
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
    for index, (label, _) in enumerate(CHANNELS):
        channel = f"Channel:{name}:{index}"
        etree.SubElement(pixels, _named("Channel"), ID=channel, Name=label, SamplesPerPixel="1")
    etree.SubElement(pixels, _named("MetadataOnly"))


def _named(tag: str) -> str:
    return f"{{{_NAMESPACE}}}{tag}"
