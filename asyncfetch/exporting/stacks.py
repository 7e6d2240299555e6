"""Registered planes and volumes as arrays along p, i and r of the reference space, read part by part."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np

from asyncfetch.errors import SelectionError, StoreItemError
from asyncfetch.exporting.manifest import digest_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    import zarr
    from numpy.typing import NDArray

    from asyncfetch.exporting.chosen import Chosen
    from asyncfetch.planning.region_of_space import Ranges

__all__ = ["Color", "Stack", "StackName", "check_whole", "open_stack", "to_grey"]

type Color = Literal["rgb", "grey"]
type StackName = Literal["registered", "volume"]
type Shape3 = tuple[int, int, int]

#: Bytes of a part that is read at once, where a row of cubes is not more.
_PART_BYTES = 2**26
#: Voxels per side of the chunks of a volume; those of planes are larger.
_CUBE = 64
# Rec. 601, in thousandths.
_LUMA = np.array([299, 587, 114], dtype=np.uint32)


@dataclass(frozen=True, kw_only=True)
class Stack:
    """An image of the reference space.

    Attributes
    ----------
    array : zarr.Array
        (c, z, y, x) uint8.
    axes : tuple of int
        Which of p, i and r (0, 1, 2) its z, y and x are.
    first_um : tuple of float
        (p, i, r) of the centre of the first voxel, in µm of the reference space.
    step_um : tuple of float
        From one voxel to the next along p, i and r, in µm.
    shape : tuple of int
        Voxels along p, i and r.
    space : int or None
        The API's id of the reference space.
    name : str
        What it is: ``registered`` or ``volume``, and its pitch.
    content : dict
        What its voxels depend on besides those of its sections, in values that JSON knows.
    start : tuple of int
        (p, i, r) of the first voxel in the array.
    """

    array: zarr.Array[Any]
    axes: Shape3
    first_um: tuple[float, float, float]
    step_um: tuple[float, float, float]
    shape: Shape3
    space: int | None
    name: str
    content: dict[str, Any]
    start: Shape3 = (0, 0, 0)

    @property
    def n_channels(self) -> int:
        """Values per voxel: 3 for red, green and blue, 1 for expression levels."""
        return int(self.array.shape[0])

    @property
    def slice_axis(self) -> int:
        """Which of p, i and r is the array's z."""
        return self.axes[0]

    def cropped(self, ranges: Ranges | None) -> Stack:
        """Return the voxels whose centres lie in ranges of p, i and r, in µm.

        Raises
        ------
        SelectionError
            There are none.
        """
        if ranges is None:
            return self
        begin, end = [], []
        for (low, high), first, step, n in zip(ranges, self.first_um, self.step_um, self.shape, strict=True):
            begin.append(max(0, math.ceil((low - first) / step)))
            end.append(min(n, math.floor((high - first) / step) + 1))
        if any(stop <= start for start, stop in zip(begin, end, strict=True)):
            raise SelectionError(f"the region touches no voxel of {self.name}")
        p, i, r = begin
        n_p, n_i, n_r = (stop - start for start, stop in zip(begin, end, strict=True))
        corner = [at + k * step for at, k, step in zip(self.first_um, begin, self.step_um, strict=True)]
        return replace(
            self, start=(p, i, r), shape=(n_p, n_i, n_r), first_um=(corner[0], corner[1], corner[2])
        )

    def read(self, begin: Shape3, end: Shape3) -> NDArray[np.uint8]:
        """Return voxels as (p, i, r, c); `begin` is the first, `end` the one behind the last."""
        index = [slice(self.start[axis] + begin[axis], self.start[axis] + end[axis]) for axis in self.axes]
        voxels = np.asarray(self.array[(slice(None), *index)])
        order = [1 + self.axes.index(axis) for axis in range(3)]
        return voxels.transpose(*order, 0)

    def planes(self) -> Iterator[NDArray[np.uint8]]:
        """Yield the planes along the array's z as they are stored, (y, x, c); a chunk is decoded once."""
        z = self.slice_axis
        for k in range(0, self.shape[z], self._depth):
            begin, end = [0, 0, 0], list(self.shape)
            begin[z], end[z] = k, min(k + self._depth, self.shape[z])
            voxels = self.read((begin[0], begin[1], begin[2]), (end[0], end[1], end[2]))
            for plane in voxels.transpose(*self.axes, 3):
                yield np.ascontiguousarray(plane)

    @property
    def _depth(self) -> int:
        return int(self.array.chunks[1])

    @property
    def plane_bytes(self) -> int:
        """The memory that going through the planes takes, with a copy of one."""
        across = math.prod(self.shape) // self.shape[self.slice_axis]
        return (self._depth + 3) * across * self.n_channels

    @property
    def part_depth(self) -> int:
        """Voxels along r that are read at once: whole cubes of a volume, so that none is decoded twice."""
        across = self.shape[0] * self.shape[1] * self.n_channels
        chunk = int(self.array.chunks[1 + self.axes.index(2)])
        step = chunk if chunk <= _CUBE else 1
        return max(step, _PART_BYTES // across // step * step)

    @property
    def part_bytes(self) -> int:
        """The memory that reading part by part takes, with a copy in another order."""
        depth = min(self.part_depth, self.shape[2])
        return 3 * self.shape[0] * self.shape[1] * depth * self.n_channels

    def pieces(self, color: Color) -> Iterator[memoryview]:
        """Yield the voxels with p as the fastest axis and r as the slowest, as NIfTI and NRRD order them.

        Parameters
        ----------
        color : str
            ``rgb`` for three bytes per voxel, where there are three; ``grey`` for one.
        """
        for begin in range(0, self.shape[2], self.part_depth):
            end = min(begin + self.part_depth, self.shape[2])
            voxels = self.read((0, 0, begin), (self.shape[0], self.shape[1], end))
            if color == "grey":
                voxels = to_grey(voxels)
            yield memoryview(np.ascontiguousarray(voxels.transpose(2, 1, 0, 3))).cast("B")


def to_grey(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the luma of (…, 3) pixels as (…, 1), by Rec. 601; one channel stays as it is."""
    if pixels.shape[-1] == 1:
        return pixels
    return ((pixels @ _LUMA + 500) // 1000).astype(np.uint8)[..., None]


def open_stack(chosen: Chosen, layer: StackName) -> Stack:
    """Open the registered planes or the volume of a view, cropped to the region that is meant.

    Raises
    ------
    SelectionError
        There are none; their slots are not evenly spaced; images were named, of which stacks have all; or the region
        does not touch them.
    """
    if not chosen.is_whole:
        raise SelectionError(
            f"{chosen.item} is exported with all of its sections in this format; name the data set instead of images"
        )
    stack = _planes_of(chosen) if layer == "registered" else _volume_of(chosen)
    return stack.cropped(chosen.ranges_in(stack.space))


def check_whole(chosen: Chosen, layer: StackName) -> None:
    """See that no plane, or no part of the volume, has been lost, which Zarr would read as empty.

    Raises
    ------
    StoreError
        Something has; the message says how to repair it.
    """
    stored = chosen.stored
    if layer == "volume":
        for path, words in stored.volume_problems():
            raise StoreItemError(
                f"{path} {words}; make the volume again with: asyncfetch volume {chosen.location} "
                f"--dataset {chosen.data_set_id}"
            )
        return
    planes = [each for each, section in chosen.sections.items() if "registered" in section.layers]
    for error in stored.damaged_planes(planes).values():
        raise error


def _planes_of(chosen: Chosen) -> Stack:
    layout = chosen.stored.read_registered_layout()
    array = chosen.stored.open_registered()
    assert layout is not None, "open_registered has looked"
    z_um, step_um = layout.z_um, layout.z_step_um
    if z_um is None or step_um is None:
        raise SelectionError(
            f"the planes of {chosen.item} have no known position, because its alignment does not tell it"
        )
    if not layout.is_regular:
        raise SelectionError(
            f"the planes of {chosen.item} are not evenly spaced, because sections share a number; make a volume "
            f"with: asyncfetch volume {chosen.location} --dataset {chosen.data_set_id}, and export it with "
            "--layer volume"
        )
    plane, um = layout.grid.plane, layout.grid.um
    across = (float(z_um[0]), step_um, len(layout.slots))
    along = {
        plane.slice_axis: across,
        plane.y_axis: (layout.origin_um, um, layout.grid.shape[0]),
        plane.x_axis: (layout.origin_um, um, layout.grid.shape[1]),
    }
    return Stack(
        array=array,
        axes=(plane.slice_axis, plane.y_axis, plane.x_axis),
        first_um=(along[0][0], along[1][0], along[2][0]),
        step_um=(along[0][1], along[1][1], along[2][1]),
        shape=(along[0][2], along[1][2], along[2][2]),
        space=layout.reference_space_id,
        name=f"registered_{um:g}um",
        content={"registered": digest_of(layout.to_attributes())},
    )


def _volume_of(chosen: Chosen) -> Stack:
    layout = chosen.stored.read_volume_layout()
    array = chosen.stored.open_volume()
    assert layout is not None, "open_volume has looked"
    return Stack(
        array=array,
        axes=(0, 1, 2),
        first_um=(layout.um / 2, layout.um / 2, layout.um / 2),
        step_um=(layout.um, layout.um, layout.um),
        shape=layout.shape,
        space=layout.reference_space_id,
        name=f"volume_{layout.um:g}um",
        content={"volume": digest_of(msgspec.to_builtins(layout))},
    )
