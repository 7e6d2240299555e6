"""A volume from registered planes: the whole reference space, filled between the tilted planes of one data set.

The planes of a data set share one alignment with the reference space, so that they are parallel to each other, if
tilted against the grid. On each line of voxels across them they lie in the same order at depths that are affine in the
position on the grid; a voxel is the linear mean of the two that enclose it. The work goes shard by shard, each by one
thread, so that memory does not grow with the volume; shards that an interrupted run left are kept.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

import anyio
import msgspec
import numpy as np

from asyncfetch.deprecation import warn_of_old_name
from asyncfetch.engine.clock import now
from asyncfetch.errors import StoreError
from asyncfetch.events import RunFinished, ShardMade, ignore
from asyncfetch.failures import Failure
from asyncfetch.imaging import Pool
from asyncfetch.metrics import Metrics
from asyncfetch.mirroring.gaps import VolumeGap  # noqa: TC001 - msgspec reads annotations
from asyncfetch.mirroring.packing import pack_again
from asyncfetch.mirroring.runner import Runner, reported
from asyncfetch.mirroring.turns import open_writer
from asyncfetch.mirroring.volume_source import VolumeSource, open_source
from asyncfetch.options import settings_of
from asyncfetch.store import open as open_store
from asyncfetch.store.blocks import BLOCK_SHARD, Region, halve_block

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from asyncfetch.errors import AsyncFetchError, StoreBusyError
    from asyncfetch.events import Event, Listener
    from asyncfetch.mirroring.flights import Flight
    from asyncfetch.settings import Codec, Settings, Sync
    from asyncfetch.store import Location, Store, StoreWriter, VolumeWriter

__all__ = ["VolumeLook", "VolumeReport", "make_volume", "volume"]

#: What one shard becomes when it is halved.
_HALF_SHARD = (BLOCK_SHARD[0] // 2, BLOCK_SHARD[1] // 2, BLOCK_SHARD[2] // 2)


class VolumeReport(msgspec.Struct, kw_only=True):
    """The summary of how a volume was made.

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
    damaged : list of Failure
        Sections that the volume leaves out because their planes are damaged in the store.
    notes : list of str
        What else in the store cannot be read and counts as missing.
    n_written, n_kept : int
        Shards written by this run, and those that were there.
    metrics : Metrics
        What the events of the run add up to.
    elapsed_s : float
        Wall time.
    interrupted : bool
        Whether the run was asked to stop before its end; the same call continues.
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
    damaged: list[Failure] = msgspec.field(default_factory=list)
    notes: list[str] = msgspec.field(default_factory=list)
    n_written: int = 0
    n_kept: int = 0
    elapsed_s: float = 0.0
    interrupted: bool = False
    metrics: Metrics = msgspec.field(default_factory=Metrics)

    @property
    def figures(self) -> Metrics:
        """The old name of `metrics`."""
        warn_of_old_name("VolumeReport.figures", "VolumeReport.metrics")
        return self.metrics

    def count(self, event: Event) -> None:
        """Add what an event tells."""
        self.metrics(event)
        if isinstance(event, ShardMade):
            self.n_written += event.is_new
            self.n_kept += not event.is_new

    @property
    def selection(self) -> tuple[str, ...]:
        """What the volume is of."""
        return (f"dataset:{self.data_set_id}",)

    def as_event(self) -> RunFinished:
        """Return what is told when the run has ended; its items are shards."""
        return RunFinished(
            n_committed=self.n_written,
            n_skipped=self.n_kept,
            n_failed=len(self.damaged),
            elapsed_s=self.elapsed_s,
        )

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        fields: dict[str, Any] = msgspec.to_builtins(self)
        # the old name, for one version
        fields["figures"] = fields["metrics"]
        return fields


async def volume(
    location: Location,
    data_set_id: int | None = None,
    *,
    view: str = "image",
    um: float | None = None,
    max_gap_um: float | None = None,
    codec: Codec | None = None,
    workers: int | None = None,
    sync: Sync | None = None,
    settings: Settings | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    on_event: Listener = ignore,
    drain: anyio.Event | None = None,
    wait: bool = False,
    on_wait: Callable[[StoreBusyError], None] | None = None,
) -> VolumeReport:
    """Fill the reference space from the registered planes of a data set, as an OME-Zarr image beside them.

    Calling it twice changes nothing, until a plane has changed or another has come; then the volume is made again. A
    plane that is damaged is left out, and the report names it.

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
        Threads; as in `settings`, and one for each core by default.
    sync : str, optional
        What has reached the disk when the volume is committed: ``data``, ``all`` or ``none``.
    settings : Settings, optional
        ``workers`` and ``sync``. What is made is taken from the other arguments alone.
    on_progress : callable, optional
        Is called on the event loop with the shards done and all shards.
    on_event : callable, optional
        Is called on the event loop with each event, such as `ShardMade`; must not block.
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
        The store cannot be read or written, or none of its planes can be read.
    """
    started_s = time.monotonic()
    machine = settings_of(settings, {"um": um, "codec": codec, "workers": workers, "sync": sync})
    look = VolumeLook(location, data_set_id, view, um, max_gap_um, codec)
    async with Pool(machine.workers) as pool:
        if not wait:
            await pool.run(look.again)
        if wait or not look.source.is_made:
            command = "volume" if data_set_id is None else f"volume --dataset {data_set_id}"
            async with open_writer(
                location, command, wait=wait, drain=drain, on_wait=on_wait, sync=machine.sync
            ) as held:
                # the run before may have changed what there is
                await pool.run(look.again)
                if held is None:
                    look.report.interrupted = True
                else:
                    ending = drain or anyio.Event()
                    await make_volume(pool, held, look, _with_progress(on_event, on_progress), ending)
                    if machine.pack is not False:
                        look.report.notes += await pack_again(held, on_event, ending)
    look.report.notes = [*look.store.damage, *look.report.notes]
    look.report.elapsed_s = time.monotonic() - started_s
    return look.report


def _with_progress(on_event: Listener, on_progress: Callable[[int, int], None] | None) -> Listener:
    """Return a listener that also tells how many shards are done."""
    if on_progress is None:
        return on_event

    def listen(event: Event) -> None:
        if isinstance(event, ShardMade):
            on_progress(event.n_done, event.n_shards)
        on_event(event)

    return listen


async def make_volume(
    pool: Pool,
    held: StoreWriter,
    look: VolumeLook,
    on_event: Listener,
    drain: anyio.Event,
) -> None:
    """Make a volume unless it is there, and begin again without the planes that prove to be damaged.

    Parameters
    ----------
    pool, held, look : Pool, StoreWriter, VolumeLook
        The threads, what writes to the store, and what the volume is made from.
    on_event, drain : callable, Event
        As for `volume`.
    """
    while not look.source.is_made:
        source = look.source
        await pool.run(held.packing.unpack_to_write, source.data_set.id)
        writer = await pool.run(held.begin_volume, source.data_set.id, look.view, source.layout)
        try:
            with reported(look.report, on_event) as listen:
                await _Build(pool, writer, source, look.report, listen, drain).go()
        except StoreError:
            if not source.broken:
                raise
            look.damaged |= await pool.run(source.find_unreadable)
            await pool.run(look.again)
        else:
            return


class VolumeLook:
    """What a volume is made from, as a store shows it; it blocks.

    Attributes
    ----------
    location, view : Location, str
        The store, and the view.
    damaged : dict of int to StoreError
        The planes that are left out, by image id.
    store, source, report : Store, VolumeSource, VolumeReport
        What was seen the last time.
    """

    store: Store
    source: VolumeSource
    report: VolumeReport

    def __init__(
        self,
        location: Location,
        data_set_id: int | None,
        view: str,
        um: float | None,
        max_gap_um: float | None,
        codec: Codec | None,
    ) -> None:
        self.location = location
        self.view = view
        self.damaged: dict[int, StoreError] = {}
        self._choices = (data_set_id, view, um, max_gap_um, codec)

    def again(self) -> None:
        """Open the store, and see which planes there are and can be read, unless the volume is there."""
        self.store = open_store(self.location)
        self.source = open_source(self.store, *self._choices, self.damaged)
        # without a plane, another that lay at the same position counts
        while not self.source.is_made and (found := self.source.find_damaged()):
            self.damaged |= found
            self.source = open_source(self.store, *self._choices, self.damaged)
        self.report = _report_of(self.source, self.store.location, self.view)
        self.report.damaged = [
            Failure.of(f"image:{image_id}", error, self.view) for image_id, error in self.damaged.items()
        ]


def _report_of(source: VolumeSource, location: str, view: str) -> VolumeReport:
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


class _Shard(NamedTuple):
    """A shard of a level of a volume."""

    level: int
    region: Region


class _Build:
    """One volume: what its tasks share. It is the `Work` of its runner, whose items are shards."""

    def __init__(
        self,
        pool: Pool,
        writer: VolumeWriter,
        source: VolumeSource,
        report: VolumeReport,
        listen: Listener,
        drain: anyio.Event,
    ) -> None:
        self._pool = pool
        self._writer = writer
        self._source = source
        self._report = report
        self._listen = listen
        self._drain = drain
        self._n_shards = sum(1 for array in writer.levels for _ in array.shards())

    async def go(self) -> None:
        for level, array in enumerate(self._writer.levels):
            runner = Runner[_Shard, float | None](
                self, self._do, n_workers=self._pool.n_threads, drain=self._drain
            )
            await runner.run(_Shard(level, region) for region in array.shards())
            if runner.is_interrupted:
                self._report.interrupted = True
                return
        await self._pool.run(self._writer.commit)

    async def _do(self, item: _Shard, _flight: object) -> float | None:
        """Make a shard; return its seconds, None where it was there."""
        started_s = now()
        is_new = await self._pool.run(self._make, item.level, item.region)
        return now() - started_s if is_new else None

    def bytes_of(self, item: _Shard) -> int:
        """Return 0: each thread holds one shard."""
        return 0

    def done(self, item: _Shard, result: float | None, flight: Flight) -> None:
        """Tell of a shard."""
        self._listen(
            ShardMade(
                data_set_id=self._source.data_set.id,
                view=self._report.view,
                level=item.level,
                is_new=result is not None,
                n_done=self._report.n_written + self._report.n_kept + 1,
                n_shards=self._n_shards,
                elapsed_s=result or 0.0,
            )
        )

    def failed(self, item: _Shard, error: AsyncFetchError) -> bool:
        """Return False: a volume without one of its shards is not one."""
        return False

    async def ended(self, item: _Shard) -> None:
        """Do nothing: a level ends with its items."""

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
