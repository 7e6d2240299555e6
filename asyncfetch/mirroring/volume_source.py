"""What a volume is made from: the registered planes of one view, where they lie, and which of them can be read."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np

from asyncfetch.errors import AlignmentError, SelectionError, SettingsError, StoreError, StoreItemError
from asyncfetch.failures import Failure
from asyncfetch.geometry import Box, ReferenceGrid
from asyncfetch.imaging.between import SeenPlane, fill_between
from asyncfetch.imaging.opencv import area_mean
from asyncfetch.mirroring.gaps import Gaps
from asyncfetch.store import VolumeLayout, VolumePlane
from asyncfetch.text import counted

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from numpy.typing import NDArray

    from asyncfetch.geometry import Affine2D
    from asyncfetch.settings import Codec
    from asyncfetch.store import RegisteredLayout, Store, StoredDataSet
    from asyncfetch.store.blocks import Region

__all__ = ["VolumeSource", "open_source"]

#: Planes nearer to each other than this share of a voxel are the same plane; the first one counts.
_SAME_PLANE = 1e-3
#: A pitch that is a whole multiple must not be refused for the rounding of the quotient.
_RATIO_SLACK = 1e-9


class _PlacedPlane(NamedTuple):
    """One plane in its position on the grid of the volume.

    Attributes
    ----------
    record : VolumePlane
        Which plane it is.
    depth : (3,) array of float64
        Takes grid indices (x, y, 1) to the fractional slice.
    grid_to_image : Affine2D
        Grid indices (x, y) to full-resolution pixels of the section.
    region : tuple of int
        What is stored of the section: x, y, width and height in full-resolution pixels.
    """

    record: VolumePlane
    depth: NDArray[np.float64]
    grid_to_image: Affine2D
    region: tuple[int, int, int, int]

    def depth_in(self, box: Box) -> NDArray[np.float64]:
        """Return the (y, x) fractional slices of the plane in a box of the grid."""
        y, x = np.ogrid[box.slices]
        return np.asarray(self.depth[0] * x + self.depth[1] * y + self.depth[2])

    def is_seen_in(self, box: Box) -> NDArray[np.bool_]:
        """Tell of which (y, x) voxels of a box the section's image shows the whole area."""
        y, x = np.ogrid[box.slices]
        matrix = self.grid_to_image.matrix
        is_seen = np.ones(box.shape, dtype=bool)
        # a pixel reaches half a pixel around its centre, a voxel half the longest way through it
        margins = np.abs(matrix[:, :2]).sum(axis=1) / 2 - 0.5
        for row, margin, start, side in zip(matrix, margins, self.region[:2], self.region[2:], strict=True):
            position = row[0] * x + row[1] * y + row[2] - start
            is_seen &= (position >= margin) & (position <= side - 1 - margin)
        return is_seen


class VolumeSource:
    """The planes of one view that a volume is made from, and where they lie.

    Attributes
    ----------
    data_set : StoredDataSet
        The view.
    layout : VolumeLayout
        The volume that is to be made.
    gaps : Gaps
        The gaps between the planes.
    unplaced : list of Failure
        Sections that could not be registered.
    broken : dict of int to StoreError
        Planes of `layout` that could not be read when their pixels were needed, by image id.
    """

    def __init__(
        self,
        data_set: StoredDataSet,
        registered: RegisteredLayout,
        layout: VolumeLayout,
        planes: list[_PlacedPlane],
        gaps: Gaps,
        unplaced: list[Failure],
    ) -> None:
        self.data_set = data_set
        self.layout = layout
        self.gaps = gaps
        self.unplaced = unplaced
        self.broken: dict[int, StoreError] = {}
        self._planes = planes
        self._factor = round(layout.um / registered.grid.um)
        self._array = data_set.open_registered()

    @property
    def is_made(self) -> bool:
        """Whether the store holds this very volume, whole."""
        return self.data_set.read_volume_layout() == self.layout and not self.data_set.volume_problems()

    def find_damaged(self) -> dict[int, StoreError]:
        """Return the planes that cannot be read, as far as the ends of their shards tell.

        Those that the stored volume goes without are decoded: they may be why it was made without them.
        """
        stored = self.data_set.read_volume_layout()
        image_ids = {plane.image_id for plane in self.layout.planes}
        lacking = set() if stored is None else image_ids - {plane.image_id for plane in stored.planes}
        return self.data_set.damaged_planes(image_ids - lacking) | self.data_set.damaged_planes(
            lacking, full=True
        )

    def find_unreadable(self) -> dict[int, StoreError]:
        """Return the planes of which a chunk cannot be decoded."""
        image_ids = [plane.image_id for plane in self.layout.planes]
        return self.broken | self.data_set.damaged_planes(image_ids, full=True)

    def voxels(self, region: Region) -> NDArray[np.uint8]:
        """Return the voxels of a cuboid, (z, y, x, c) along p, i and r.

        Raises
        ------
        StoreError
            A plane cannot be read; `broken` names it.
        """
        plane = self.layout.plane
        axes = (plane.slice_axis, plane.y_axis, plane.x_axis)
        (first, end), (y0, y1), (x0, x1) = ((region.start[axis], region.stop[axis]) for axis in axes)
        out = np.zeros((end - first, y1 - y0, x1 - x0, self.layout.n_channels), dtype=np.uint8)
        box = Box(y0, x0, y1, x1)
        chosen = self._planes_around(box, first, end)
        seen = [
            SeenPlane(self._pixels(each, box), each.is_seen_in(box), each.depth_in(box)) for each in chosen
        ]
        is_bridged = [each.record.is_bridged for each in chosen]
        fill_between(seen, is_bridged, first, out, mixes=self.layout.mixes)
        voxels: NDArray[np.uint8] = out.transpose(*(axes.index(axis) for axis in range(3)), 3)
        return voxels

    def _planes_around(self, box: Box, first: int, end: int) -> list[_PlacedPlane]:
        """Return the planes that pass a cuboid or the slices next to it, and one more on either side."""
        # an affine depth has its extremes at the corners
        corners = np.array([(x, y, 1.0) for x in (box.x0, box.x1 - 1) for y in (box.y0, box.y1 - 1)])
        depths = [corners @ each.depth for each in self._planes]
        n_before = sum(depth.max() < first - 1 for depth in depths)
        n_behind = sum(depth.min() > end for depth in depths)
        return self._planes[max(n_before - 1, 0) : len(depths) - max(n_behind - 1, 0)]

    def _pixels(self, placed: _PlacedPlane, box: Box) -> NDArray[np.uint8]:
        """Return what a plane shows in a box of the grid, (y, x, c)."""
        n = self._factor
        y, x = slice(n * box.y0, n * box.y1), slice(n * box.x0, n * box.x1)
        try:
            # of three equal channels one is enough
            stored = self._array[: self.layout.n_channels, placed.record.z, y, x]
        except StoreError as error:
            self.broken[placed.record.image_id] = error
            raise
        pixels = np.ascontiguousarray(np.moveaxis(np.asarray(stored), 0, -1))
        if n == 1:
            return pixels
        # the last voxel may reach beyond the planes
        missing = [n * side - pixels.shape[axis] for axis, side in enumerate(box.shape)]
        padded = np.pad(pixels, [(0, missing[0]), (0, missing[1]), (0, 0)], mode="edge")
        if not self.layout.mixes:
            return np.ascontiguousarray(padded[n // 2 :: n, n // 2 :: n])
        averaged = np.empty((*box.shape, pixels.shape[2]), dtype=np.uint8)
        area_mean(padded, n, averaged)
        return averaged


def open_source(
    store: Store,
    data_set_id: int | None,
    view: str,
    um: float | None,
    max_gap_um: float | None,
    codec: Codec | None,
    damaged: Mapping[int, StoreError],
) -> VolumeSource:
    """Find out what a volume is to be made from, without the planes that are known to be damaged.

    Raises
    ------
    SelectionError, SettingsError
        As `asyncfetch.volume`.
    StoreItemError
        All planes are damaged.
    """
    ids = store.read_data_set_ids()
    if data_set_id is None and len(ids) != 1:
        known = ", ".join(map(str, ids)) or "none"
        raise SelectionError(
            f"{store.location} holds {counted(len(ids), 'data set')} ({known}); name one with --dataset"
        )
    data_set = store.data_set(ids[0] if data_set_id is None else data_set_id, view)
    registered = data_set.read_registered_layout()
    if registered is None:
        raise SelectionError(
            f"data set {data_set.id}, view {view}, is not registered in {store.location}; "
            "mirror or rebuild it with the layer registered"
        )
    if registered.recipe.parallel:
        raise SettingsError(
            f"data set {data_set.id} is registered with parallel sections, whose depth is an approximation; "
            "a volume needs planes that lie where the sections do: mirror it without --parallel to another store",
            setting="parallel",
        )
    grid = ReferenceGrid(
        plane=registered.grid.plane, um=_checked_pitch(um, registered), box_um=registered.grid.box_um
    )
    placed, unplaced = _placed_planes(data_set, registered, grid, damaged)
    if not placed and damaged:
        raise StoreItemError(
            f"none of the registered planes of data set {data_set.id}, view {view}, can be read; the first: "
            f"{next(iter(damaged.values())).message}",
            location=store.location,
        )
    if not placed:
        raise SelectionError(
            f"data set {data_set.id}, view {view}, has no committed registered plane in {store.location}"
        )
    planes = _in_order(placed, grid)
    gaps = Gaps([each.depth for each in planes], grid, max_gap_um)
    planes = [
        each._replace(record=msgspec.structs.replace(each.record, is_bridged=is_bridged))
        for each, is_bridged in zip(planes, [*gaps.are_bridged, False], strict=True)
    ]
    layout = VolumeLayout(
        um=grid.um,
        box_um=grid.box_um,
        reference_space_id=registered.reference_space_id,
        codec=codec or registered.recipe.codec,
        max_gap_um=gaps.max_gap_um,
        mixes=registered.recipe.interpolation != "nearest",
        n_channels=1 if registered.recipe.numeric_expression else 3,
        plane=grid.plane,
        planes=tuple(each.record for each in planes),
    )
    return VolumeSource(data_set, registered, layout, planes, gaps, unplaced)


def _checked_pitch(um: float | None, registered: RegisteredLayout) -> float:
    if um is None:
        return registered.grid.um
    ratio = um / registered.grid.um
    if round(ratio) < 1 or abs(ratio - round(ratio)) > _RATIO_SLACK * ratio:
        raise SettingsError(
            f"um = {um:g} does not fit planes of {registered.grid.um:g} µm: it must be that or a whole multiple; "
            f"rebuild the layer registered with --um {um:g} first",
            setting="um",
        )
    return registered.grid.um * round(ratio)


def _placed_planes(
    data_set: StoredDataSet, registered: RegisteredLayout, grid: ReferenceGrid, left_out: Collection[int]
) -> tuple[list[_PlacedPlane], list[Failure]]:
    """Return the committed planes in the order of their slots, and the committed sections that have none."""
    commits = {commit.image_id: commit for commit in data_set.read_commits()}
    planes: list[_PlacedPlane] = []
    unplaced: list[Failure] = []
    for slot in registered.slots:
        commit = None if slot.image_id is None else commits.get(slot.image_id)
        if commit is None or ("registered" in commit.layers and commit.recipe.um != registered.grid.um):
            continue
        try:
            to_image = grid.grid_to_image(data_set.geometry(commit.image_id))
            depth = None if slot.plane is None else grid.slice_index_of(slot.plane)
        except AlignmentError as error:
            unplaced.append(Failure.of(f"image:{commit.image_id}", error, data_set.view))
            continue
        if depth is None or "registered" not in commit.layers or commit.image_id in left_out:
            continue
        record = VolumePlane(
            z=slot.z,
            image_id=commit.image_id,
            section_number=slot.section_number,
            sha256=commit.sha256,
            is_bridged=False,
        )
        region = commit.region or (0, 0, int(commit.record["width"]), int(commit.record["height"]))
        planes.append(_PlacedPlane(record, depth, to_image, region))
    return planes, unplaced


def _in_order(planes: list[_PlacedPlane], grid: ReferenceGrid) -> list[_PlacedPlane]:
    """Return planes in the order of their depths, without those that lie in another.

    Raises
    ------
    AlignmentError
        Two of them cross within the reference space.
    """
    height, width = grid.shape
    corners = np.array([(x, y, 1.0) for x in (0, width - 1) for y in (0, height - 1)])
    planes = sorted(planes, key=lambda each: (float((corners @ each.depth).mean()), each.record.z))
    distinct = planes[:1]
    for each in planes[1:]:
        steps = corners @ (each.depth - distinct[-1].depth)
        if np.abs(steps).max() < _SAME_PLANE:
            continue
        if steps.min() <= 0:
            raise AlignmentError(
                f"the planes of the sections {distinct[-1].record.image_id} and {each.record.image_id} cross each "
                "other within the reference space, so that nothing lies between them",
                matrix="trv",
            )
        distinct.append(each)
    return distinct
