"""A volume from registered planes: the whole reference space, filled between the tilted planes of one data set.

The planes of a data set share one alignment with the reference space, so that they are parallel to each other, if
tilted against the grid. On each line of voxels across them they lie in the same order at depths that are affine in the
place on the grid; a voxel is the linear mean of the two that enclose it. The work goes shard by shard, each by one
thread, so that memory does not grow with the volume; shards that an interrupted run left are kept.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

import anyio
import msgspec
import numpy as np

from asyncfetch.errors import AlignmentError, AsyncFetchError, SelectionError, SettingsError
from asyncfetch.geometry import Box, ReferenceGrid
from asyncfetch.imaging import Pool
from asyncfetch.imaging.between import SeenPlane, fill_between
from asyncfetch.imaging.opencv import area_mean
from asyncfetch.mirroring.gaps import Gaps, VolumeGap
from asyncfetch.mirroring.report import Failure, first_error
from asyncfetch.mirroring.turns import open_writer
from asyncfetch.settings import Settings
from asyncfetch.store import VolumeLayout, VolumePlane, VolumeWriter
from asyncfetch.store import open as open_store
from asyncfetch.store.blocks import BLOCK_SHARD, Region, halve_block

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from asyncfetch.errors import StoreBusyError
    from asyncfetch.geometry import Affine2D
    from asyncfetch.settings import Codec
    from asyncfetch.store import Location, RegisteredLayout, Store, StoredDataSet

__all__ = ["VolumeReport", "build_volume"]

#: Planes nearer to each other than this share of a voxel are the same plane; the first one counts.
_SAME_PLANE = 1e-3
#: What one shard becomes when it is halved.
_HALF_SHARD = (BLOCK_SHARD[0] // 2, BLOCK_SHARD[1] // 2, BLOCK_SHARD[2] // 2)
#: A pitch that is a whole multiple must not be refused for the rounding of the quotient.
_RATIO_SLACK = 1e-9


class VolumeReport(msgspec.Struct, kw_only=True):
    """Sum up how a volume was made.

    Attributes
    ----------
    location, data_set_id, view : str, int, str
        The store, the data set and its view.
    um : float
        Pitch in µm.
    shape : tuple of int
        (p, i, r) of the finest level in voxels.
    n_levels : int
        Levels that are stored.
    n_planes, n_gaps : int
        Planes that it was made from, and gaps between them that were left empty.
    max_gap_um : float
        The widest gap that is filled, in µm.
    usual_gap_um : float or None
        The median distance from plane to plane, in µm; None of a single plane.
    gaps : tuple of VolumeGap
        Gaps that are left empty, and those that are filled though they are wider than usual.
    unplaced : list of Failure
        Sections that the store holds and the volume leaves out, because they could not be registered.
    n_written, n_kept : int
        Shards written by this run, and those that were there.
    elapsed_s : float
        Wall time.
    interrupted : bool
        Whether the run was asked to stop before its end; the same call goes on.
    """

    location: str
    data_set_id: int
    view: str
    um: float
    shape: tuple[int, int, int]
    n_levels: int
    n_planes: int
    n_gaps: int
    max_gap_um: float
    usual_gap_um: float | None = None
    gaps: tuple[VolumeGap, ...] = ()
    unplaced: list[Failure] = msgspec.field(default_factory=list)
    n_written: int = 0
    n_kept: int = 0
    elapsed_s: float = 0.0
    interrupted: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        fields: dict[str, Any] = msgspec.to_builtins(self)
        return fields


async def build_volume(
    location: Location,
    data_set_id: int | None = None,
    *,
    view: str = "image",
    um: float | None = None,
    max_gap_um: float | None = None,
    codec: Codec | None = None,
    workers: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    drain: anyio.Event | None = None,
    wait: bool = False,
    on_wait: Callable[[StoreBusyError], None] | None = None,
) -> VolumeReport:
    """Fill the reference space from the registered planes of a data set, as an OME-Zarr image beside them.

    Calling it twice changes nothing, until a plane has changed or another has come; then the volume is made anew.

    Parameters
    ----------
    location : str, Path or zarr Store
        A store that holds registered planes.
    data_set_id : int, optional
        The data set; the only one by default.
    view : str
        Its view.
    um : float, optional
        Pitch in µm: that of the registered planes, which is the default, or a whole multiple of it.
    max_gap_um : float, optional
        Wider gaps between planes are left empty, in µm across the planes; by default 2.5 times the usual gap, and
        500 µm at most. The report names those left empty, and those that are filled though wider than usual.
    codec : str, optional
        Compressor of the voxels; that of the planes by default.
    workers : int, optional
        Threads; one for each core by default.
    on_progress : callable, optional
        Is called on the event loop with the shards done and all shards.
    drain : anyio.Event, optional
        Once set, the shards that are being made are finished, and the report says ``interrupted``.
    wait : bool
        Wait until a run that writes to the store has ended, instead of raising.
    on_wait : callable, optional
        Is called once, with what names the other run, when there is something to wait for.

    Returns
    -------
    VolumeReport
        What was done.

    Raises
    ------
    SelectionError
        The store does not hold the planes, or several data sets of which none is named.
    SettingsError
        The pitch or the gap does not fit the planes.
    StoreBusyError
        The volume has to be made, and another run is writing to the store.
    StoreError
        The store cannot be read or written.
    """
    started_s = time.monotonic()
    choices = {"um": um, "codec": codec, "workers": workers}
    Settings.from_layers(choices)
    async with Pool(workers) as pool:

        async def look() -> tuple[_Source, VolumeReport]:
            store = await pool.run(open_store, location)
            source = await pool.run(_open_source, store, data_set_id, view, um, max_gap_um, codec)
            return source, _report_of(source, store.location, view)

        source, report = (None, None) if wait else await look()
        if source is None or source.data_set.volume_layout != source.layout:
            command = "volume" if data_set_id is None else f"volume --dataset {data_set_id}"
            async with open_writer(location, command, wait=wait, drain=drain, on_wait=on_wait) as held:
                # the run before may have changed what there is
                source, report = await look()
                report.interrupted = held is None
                if held is not None and source.data_set.volume_layout != source.layout:
                    writer = await pool.run(
                        VolumeWriter.begin, location, source.data_set.id, view, source.layout
                    )
                    build = _Build(pool, writer, source, report, on_progress, drain or anyio.Event())
                    await build.go()
    assert report is not None, "it was looked at"
    report.elapsed_s = time.monotonic() - started_s
    return report


def _report_of(source: _Source, location: str, view: str) -> VolumeReport:
    layout = source.layout
    return VolumeReport(
        location=location,
        data_set_id=source.data_set.id,
        view=view,
        um=layout.um,
        shape=layout.shape,
        n_levels=len(layout.level_shapes),
        n_planes=len(layout.planes),
        n_gaps=sum(not plane.is_bridged for plane in layout.planes[:-1]),
        max_gap_um=layout.max_gap_um,
        usual_gap_um=source.gaps.usual_um,
        gaps=source.gaps.noted(
            [plane.image_id for plane in layout.planes], [plane.section_number for plane in layout.planes]
        ),
        unplaced=source.unplaced,
    )


class _Build:
    """Hold what the tasks of one volume share."""

    def __init__(
        self,
        pool: Pool,
        writer: VolumeWriter,
        source: _Source,
        report: VolumeReport,
        on_progress: Callable[[int, int], None] | None,
        drain: anyio.Event,
    ) -> None:
        self._pool = pool
        self._writer = writer
        self._source = source
        self._report = report
        self._on_progress = on_progress
        self._drain = drain
        self._n_shards = sum(1 for array in writer.levels for _ in array.shards())

    async def go(self) -> None:
        for level, array in enumerate(self._writer.levels):
            regions = array.shards()
            try:
                async with anyio.create_task_group() as tasks:
                    for _ in range(self._pool.n_threads):
                        tasks.start_soon(self._work, level, regions)
            except* AsyncFetchError as group:
                raise first_error(group) from None
            if self._report.interrupted:
                return
        await self._pool.run(self._writer.commit)

    async def _work(self, level: int, regions: Iterator[Region]) -> None:
        for region in regions:
            if self._drain.is_set():
                self._report.interrupted = True
                return
            if await self._pool.run(self._make, level, region):
                self._report.n_written += 1
            else:
                self._report.n_kept += 1
            if self._on_progress is not None:
                self._on_progress(self._report.n_written + self._report.n_kept, self._n_shards)

    def _make(self, level: int, region: Region) -> bool:
        """Write one shard, unless an earlier run did; tell which."""
        if self._writer.holds(level, region):
            return False
        voxels = self._halved(level - 1, region) if level else self._source.voxels(region)
        self._writer.write(level, region, voxels)
        return True

    def _halved(self, finer: int, region: Region) -> NDArray[np.uint8]:
        """Halve up to eight shards of the finer level into one, one after the other."""
        voxels = np.empty((*region.shape, self._source.layout.n_channels), dtype=np.uint8)
        for part in region.parts(_HALF_SHARD):
            read = self._writer.read(finer, part.scaled(2))
            voxels[part.within(region).slices] = halve_block(read)
        return voxels


class _PlacedPlane(NamedTuple):
    """Place one plane on the grid of the volume.

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


class _Source:
    """Read what a volume is made from: the planes of one view, and where they lie."""

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
        self._planes = planes
        self._factor = round(layout.um / registered.um)
        self._array = data_set.registered

    def voxels(self, region: Region) -> NDArray[np.uint8]:
        """Return the voxels of a cuboid, (z, y, x, c) along p, i and r."""
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
        # of three equal channels one is enough
        stored = self._array[
            : self.layout.n_channels, placed.record.z, n * box.y0 : n * box.y1, n * box.x0 : n * box.x1
        ]
        pixels = np.ascontiguousarray(np.moveaxis(np.asarray(stored), 0, -1))
        if n == 1:
            return pixels
        if not self.layout.mixes:
            return np.ascontiguousarray(pixels[n // 2 :: n, n // 2 :: n])
        # the last voxel may reach beyond the planes
        missing = [n * side - pixels.shape[axis] for axis, side in enumerate(box.shape)]
        padded = np.pad(pixels, [(0, missing[0]), (0, missing[1]), (0, 0)], mode="edge")
        averaged = np.empty((*box.shape, pixels.shape[2]), dtype=np.uint8)
        area_mean(padded, n, averaged)
        return averaged


def _open_source(
    store: Store,
    data_set_id: int | None,
    view: str,
    um: float | None,
    max_gap_um: float | None,
    codec: Codec | None,
) -> _Source:
    """Find out what a volume is to be made from.

    Raises
    ------
    SelectionError, SettingsError
        As `build_volume`.
    """
    ids = store.data_set_ids
    if data_set_id is None and len(ids) != 1:
        known = ", ".join(map(str, ids)) or "none"
        raise SelectionError(
            f"{store.location} holds {len(ids)} data sets ({known}); name one with --dataset"
        )
    data_set = store.data_set(ids[0] if data_set_id is None else data_set_id, view)
    registered = data_set.registered_layout
    if registered is None:
        raise SelectionError(
            f"data set {data_set.id}, view {view}, is not registered in {store.location}; "
            "mirror or rebuild it with the layer registered"
        )
    if registered.parallel:
        raise SettingsError(
            f"data set {data_set.id} is registered with parallel sections, whose depth is an approximation; "
            "a volume needs planes that lie where the sections do: mirror it without --parallel to another place",
            setting="parallel",
        )
    grid = ReferenceGrid(plane=registered.plane, um=_checked_pitch(um, registered), box_um=registered.box_um)
    placed, unplaced = _placed_planes(data_set, registered, grid)
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
        codec=codec or registered.codec,
        max_gap_um=gaps.max_gap_um,
        mixes=registered.interpolation != "nearest",
        n_channels=1 if registered.numeric_expression else 3,
        plane=grid.plane,
        planes=tuple(each.record for each in planes),
    )
    return _Source(data_set, registered, layout, planes, gaps, unplaced)


def _checked_pitch(um: float | None, registered: RegisteredLayout) -> float:
    if um is None:
        return registered.um
    ratio = um / registered.um
    if round(ratio) < 1 or abs(ratio - round(ratio)) > _RATIO_SLACK * ratio:
        raise SettingsError(
            f"um = {um:g} does not fit planes of {registered.um:g} µm: it must be that or a whole multiple; "
            f"rebuild the layer registered with --um {um:g} first",
            setting="um",
        )
    return registered.um * round(ratio)


def _placed_planes(
    data_set: StoredDataSet, registered: RegisteredLayout, grid: ReferenceGrid
) -> tuple[list[_PlacedPlane], list[Failure]]:
    """Return the committed planes in the order of their slots, and the committed sections that have none."""
    commits = {commit.image_id: commit for commit in data_set.sections}
    planes: list[_PlacedPlane] = []
    unplaced: list[Failure] = []
    for slot in registered.slots:
        commit = None if slot.image_id is None else commits.get(slot.image_id)
        if commit is None or ("registered" in commit.layers and commit.um != registered.um):
            continue
        try:
            to_image = grid.grid_to_image(data_set.geometry(commit.image_id))
            depth = None if slot.plane is None else grid.slice_index_of(slot.plane)
        except AlignmentError as error:
            unplaced.append(Failure.of(f"image:{commit.image_id}", error, data_set.view))
            continue
        if depth is None or "registered" not in commit.layers:
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
