"""The volumes of many data sets, one after another or on a cluster; one that cannot be made costs itself alone."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, ClassVar

import anyio
import msgspec

from asyncfetch.engine.groups import failing_alone
from asyncfetch.errors import AsyncFetchError, ClusterError, SelectionError, StoreError
from asyncfetch.events import ignore
from asyncfetch.failures import Failure
from asyncfetch.imaging import Pool
from asyncfetch.mirroring.crew import Cluster, Duty, Here, work_off
from asyncfetch.mirroring.packing import pack_again
from asyncfetch.mirroring.runner import costs_one_item
from asyncfetch.mirroring.turns import open_writer
from asyncfetch.mirroring.volume import VolumeLook, VolumeReport, make_volume
from asyncfetch.options import settings_of
from asyncfetch.settings import Codec  # noqa: TC001 - msgspec reads annotations
from asyncfetch.store import open as open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from asyncfetch.errors import StoreBusyError
    from asyncfetch.events import Listener
    from asyncfetch.settings import Settings, Sync
    from asyncfetch.store import Location, Store, StoreWriter

__all__ = ["VolumeJob", "VolumesReport", "volumes"]


class VolumesReport(msgspec.Struct, kw_only=True):
    """What became of the volumes of many data sets.

    Attributes
    ----------
    location : str
        The store.
    volumes : list of VolumeReport
        Those that are there now, or were begun, in the order of their data sets.
    failures : list of Failure
        Those that cannot be made, and why.
    notes : list of str
        What else is worth knowing.
    interrupted : bool
        Whether the run was asked to end before all were made; the same call continues.
    elapsed_s : float
        Wall time.
    """

    location: str
    volumes: list[VolumeReport] = msgspec.field(default_factory=list)
    failures: list[Failure] = msgspec.field(default_factory=list)
    notes: list[str] = msgspec.field(default_factory=list)
    interrupted: bool = False
    elapsed_s: float = 0.0

    def add(self, made: VolumeReport | Failure) -> None:
        """Add what became of a volume."""
        if isinstance(made, Failure):
            self.failures.append(made)
        else:
            self.volumes.append(made)
            self.interrupted |= made.interrupted

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        fields: dict[str, Any] = msgspec.to_builtins(self)
        return fields | {"volumes": [each.as_dict() for each in self.volumes]}


class VolumeJob(msgspec.Struct, frozen=True, kw_only=True):
    """The volume of one data set that is to be made; attributes as the parameters of `volume`.

    Attributes
    ----------
    has_to_be_there : bool
        Whether it is a failure that the data set has no registered planes.
    """

    verb: ClassVar[str] = "volume"

    data_set_id: int
    view: str
    um: float | None = None
    max_gap_um: float | None = None
    codec: Codec | None = None
    has_to_be_there: bool = True

    async def do(self, here: Here) -> VolumeReport | Failure | None:
        """Make it where this is."""
        writer = here.writer
        assert writer is not None, "a volume is written"
        async with Pool(here.n_threads) as pool:
            return await self.do_with(pool, writer, here.location, here.listen, here.drain)

    async def do_with(
        self,
        pool: Pool,
        writer: StoreWriter,
        location: Location,
        listen: Listener,
        drain: anyio.Event,
    ) -> VolumeReport | Failure | None:
        """Make it on the threads of a pool; None where the data set has no registered planes and need not have any.

        Raises
        ------
        StoreError
            The store cannot be read or written at all.
        """
        started_s = time.monotonic()
        look = VolumeLook(location, self.data_set_id, self.view, self.um, self.max_gap_um, self.codec)
        try:
            if not self.has_to_be_there and not await pool.run(self._has_planes, location):
                return None
            await pool.run(look.again)
            if not drain.is_set():
                await make_volume(pool, writer, look, listen, drain)
        except AsyncFetchError as error:
            if isinstance(error, StoreError) and not costs_one_item(error):
                raise
            return Failure.of(f"dataset:{self.data_set_id}", error, self.view)
        look.report.interrupted |= drain.is_set() and not look.source.is_made
        look.report.notes = look.store.damage
        look.report.elapsed_s = time.monotonic() - started_s
        return look.report

    def _has_planes(self, location: Location) -> bool:
        data_set = open_store(location).data_set(self.data_set_id)
        return self.view in data_set.read_views() and (
            data_set.in_view(self.view).read_registered_layout() is not None
        )


async def volumes(
    location: Location,
    data_set_ids: Collection[int] | None = None,
    *,
    view: str = "image",
    um: float | None = None,
    max_gap_um: float | None = None,
    codec: Codec | None = None,
    settings: Settings | None = None,
    workers: int | None = None,
    sync: Sync | None = None,
    on_event: Listener = ignore,
    on_volume: Callable[[VolumeReport | Failure], None] | None = None,
    drain: anyio.Event | None = None,
    wait: bool = False,
    on_wait: Callable[[StoreBusyError], None] | None = None,
    cluster: Cluster | None = None,
) -> VolumesReport:
    """Make the volumes of many data sets, as `volume` makes one.

    Parameters
    ----------
    location : str, Path or zarr Store
        A store that holds registered planes.
    data_set_ids : collection of int, optional
        Which; by default all that have registered planes.
    view, um, max_gap_um, codec, workers, sync, settings, on_event, drain, wait, on_wait
        As for `volume`.
    on_volume : callable, optional
        Is called on the event loop with what became of each volume, as they are done.
    cluster : Cluster, optional
        Machines that make whole volumes instead of this process; see `asyncfetch.cluster.DaskCluster`.

    Returns
    -------
    VolumesReport
        What was made, and each volume that cannot be made, with its cause.

    Raises
    ------
    SelectionError
        The store does not hold a data set.
    StoreBusyError
        Another run is writing to the store.
    StoreError
        The store cannot be read or written.
    """
    started_s = time.monotonic()
    machine = settings_of(settings, {"um": um, "codec": codec, "workers": workers, "sync": sync})
    drain = drain or anyio.Event()
    async with open_writer(
        location, "volume --all", wait=wait, drain=drain, on_wait=on_wait, sync=machine.sync
    ) as writer:
        store = await anyio.to_thread.run_sync(open_store, location)
        report = VolumesReport(location=store.location, interrupted=writer is None)
        jobs = [
            VolumeJob(
                data_set_id=each,
                view=view,
                um=um,
                max_gap_um=max_gap_um,
                codec=codec,
                has_to_be_there=data_set_ids is not None,
            )
            for each in await anyio.to_thread.run_sync(_ids_of, store, data_set_ids)
        ]
        made: dict[int, VolumeReport | Failure] = {}

        def done(number: int, result: VolumeReport | Failure | None) -> None:
            if result is not None:
                made[number] = result
                if on_volume is not None:
                    on_volume(result)

        def lost(number: int, error: ClusterError) -> None:
            done(number, Failure.of(f"dataset:{jobs[number].data_set_id}", error, view))

        if writer is not None and cluster is None:
            async with Pool(machine.workers) as pool:
                for number, job in enumerate(jobs):
                    done(number, await job.do_with(pool, writer, location, on_event, drain))
                    if drain.is_set():
                        report.interrupted = True
                        break
        elif writer is not None and cluster is not None:
            duty = Duty(
                verb="volume",
                location=store.location,
                token=writer.token,
                settings=machine,
                n_jobs=len(jobs),
            )
            ids = [job.data_set_id for job in jobs]
            await anyio.to_thread.run_sync(writer.packing.lend, ids)
            with failing_alone():
                async with cluster.open_crew(duty, on_event, drain) as crew:
                    report.interrupted |= not await work_off(crew, jobs, done, drain, lost)
            await anyio.to_thread.run_sync(writer.packing.take_back, ids)
        for number in sorted(made):
            report.add(made[number])
        if writer is not None and machine.pack is not False:
            report.notes += await pack_again(writer, on_event, drain)
    report.elapsed_s = time.monotonic() - started_s
    return report


def _ids_of(store: Store, wanted: Collection[int] | None) -> list[int]:
    ids = store.read_data_set_ids()
    missing = sorted(set(wanted or ()) - set(ids))
    if missing:
        raise SelectionError(f"{store.location} holds no data set {', '.join(map(str, missing))}")
    return [each for each in ids if wanted is None or each in wanted]
