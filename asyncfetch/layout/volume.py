"""What a volume is, and what it was made from. Pure."""

from __future__ import annotations

from typing import Literal

import msgspec

from asyncfetch.geometry import Plane, ReferenceGrid
from asyncfetch.layout.bounds import Pitch, Position  # noqa: TC001 - msgspec reads annotations
from asyncfetch.settings import Codec  # noqa: TC001 - msgspec reads annotations

__all__ = ["VolumeLayout", "VolumePlane", "volume_shapes"]

#: Levels are halved until the longest side is no longer than this.
_SMALLEST_LEVEL = 256

type Shape3 = tuple[int, int, int]


class VolumePlane(msgspec.Struct, frozen=True, kw_only=True):
    """One of the planes that a volume was made from.

    Attributes
    ----------
    z : int
        The slot of the registered image.
    image_id, section_number : int
        The section.
    sha256 : str
        Digest of its JPEG, by which a volume knows that a plane has changed.
    is_bridged : bool
        Whether the gap to the next plane is filled.
    """

    z: int
    image_id: int
    section_number: int
    sha256: str
    is_bridged: bool


class VolumeLayout(msgspec.Struct, frozen=True, kw_only=True):
    """What a volume is and what it was made from; this is ``attributes.asyncfetch`` of ``volume``.

    Attributes
    ----------
    um : float
        Pitch in µm, on all three axes.
    box_um : tuple of float
        Extent of the reference space along (p, i, r), in µm.
    reference_space_id : int or None
        The API's id of the space; in space 10 r runs to the left.
    codec : str
        Compressor of the voxels.
    max_gap_um : float
        Gaps between planes beyond this are left empty, in µm across the planes.
    mixes : bool
        Whether voxels are the linear mean of two planes, or the nearer of them.
    n_channels : int
        Values of a voxel.
    plane : Plane
        The plane of section.
    planes : tuple of VolumePlane
        In order along the axis across them.
    axes : tuple of str
        What z, y and x of the array are.
    """

    um: Pitch
    box_um: tuple[Pitch, Pitch, Pitch]
    reference_space_id: int | None
    codec: Codec
    max_gap_um: Position
    mixes: bool
    n_channels: Literal[1, 3]
    plane: Plane
    planes: tuple[VolumePlane, ...]
    frame: str = "reference"
    axes: tuple[str, str, str] = ("p", "i", "r")
    unit: str = "micrometer"

    @property
    def grid(self) -> ReferenceGrid:
        """The grid of the volume, seen along the plane of section."""
        return ReferenceGrid(plane=self.plane, um=self.um, box_um=self.box_um)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(z, y, x) of the finest level in voxels: along p, i and r."""
        grid = self.grid
        sides = {
            self.plane.slice_axis: grid.n_slices,
            self.plane.y_axis: grid.shape[0],
            self.plane.x_axis: grid.shape[1],
        }
        return sides[0], sides[1], sides[2]

    @property
    def level_shapes(self) -> tuple[tuple[int, int, int], ...]:
        """(z, y, x) of each level, the finest first; codes are not mixed, so that they have one."""
        return volume_shapes(self.shape) if self.mixes else (self.shape,)


def volume_shapes(shape: Shape3) -> tuple[Shape3, ...]:
    """Return the shapes of a volume's levels, each half of the one before, rounded down.

    Examples
    --------
    >>> volume_shapes((528, 320, 456))
    ((528, 320, 456), (264, 160, 228), (132, 80, 114))
    """
    shapes = [shape]
    while max(shapes[-1]) > _SMALLEST_LEVEL and min(shapes[-1]) > 1:
        z, y, x = (side // 2 for side in shapes[-1])
        shapes.append((z, y, x))
    return tuple(shapes)


# Before there are threads: msgspec ends the process where two of them meet a type for the first time.
_MET = msgspec.json.Decoder(VolumeLayout)
