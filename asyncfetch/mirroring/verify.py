"""A store held against its own commits: what is lost, empty, cut or changed, and brought again on request.

Every check reads what is stored and what the commits say of it. Metadata carry a checksum, or follow from others, so
that they are written once more and compared; pixels have checksums, too, and can be made again from the stored JPEG.
A repair first takes away the claims of what is broken, so that a kill in between leaves nothing wrong, and then has
`rebuild` and `mirror` make it again: planes and levels from the stored JPEG where that is sound, what follows from
other metadata from these, everything else from the API.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Unpack

import anyio

from asyncfetch.engine.groups import failing_alone
from asyncfetch.errors import SettingsError
from asyncfetch.events import ignore
from asyncfetch.imaging import Pool
from asyncfetch.mirroring.crew import Cluster, Duty, work_off
from asyncfetch.mirroring.mending import Mender
from asyncfetch.mirroring.parts import EVERYTHING, Part
from asyncfetch.mirroring.sights import InOrder, Sight, VerifyJob
from asyncfetch.mirroring.verification import Progress, ReportFile, VerifyReport
from asyncfetch.mirroring.walking import Scope, Walk
from asyncfetch.options import RequestOptions, refuse_other_content, settings_of
from asyncfetch.store import open as open_store

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Collection

    from asyncfetch.engine import Transport
    from asyncfetch.events import Listener
    from asyncfetch.mirroring.flaws import Flaw
    from asyncfetch.settings import Settings
    from asyncfetch.store import Location, Store

__all__ = ["VerifyReport", "verify"]

#: How often a repair looks again: a data set whose record was lost shows the flaws of its sections once it is back, and
#: metadata that follow from commits can be compared once these are.
_MAX_ROUNDS = 4
#: Of a quick verification, one of so many sections has the digest of its JPEG compared.
_SAMPLED = 20


async def verify(
    location: Location,
    *,
    full: bool = False,
    repair: bool = False,
    part: str | None = None,
    sample: int = _SAMPLED,
    seed: int = 0,
    report: str | os.PathLike[str] | None = None,
    settings: Settings | None = None,
    on_event: Listener = ignore,
    on_progress: Callable[[int], None] | None = None,
    drain: anyio.Event | None = None,
    transport: Transport | None = None,
    wait: bool = False,
    cluster: Cluster | None = None,
    **options: Unpack[RequestOptions],
) -> VerifyReport:
    """Compare what a store holds with what its commits say, and bring again what is broken.

    Parameters
    ----------
    location : str, Path or zarr Store
        The store.
    full : bool
        Read every byte: the digest of every JPEG and the checksum of every chunk; make levels, planes and volumes
        again where they can be made from what is stored, and compare them bit for bit. Otherwise metadata, sizes, the
        ends of shards, and the digests of a sample.
    repair : bool
        Make again exactly what is broken, and remove temporary files that killed runs left.
    part : str, optional
        Only one part of the store, such as ``1/30`` for the first of 30. Which one a section belongs to follows from
        its id, so that all parts together cover everything once, whatever has been added since.
    sample, seed : int
        Without `full`: of one in so many sections of each view the JPEG is hashed, and what the choice follows from
        beside the ids.
    report : str or Path, optional
        A file for the report, which also grows while the verification goes on. Where it holds that of a verification
        of the same that was interrupted, this one continues from there.
    settings : Settings, optional
        How fast a repair asks, and where, and what of this machine is used; options change single ones. What is
        fetched and stored is as it was.
    on_event : callable, optional
        Is called on the event loop with each event of a repair; must not block.
    on_progress : callable, optional
        Is called with the number of sections that were looked at.
    drain : anyio.Event, optional
        Once set, nothing more is begun, and the report says ``interrupted``.
    transport : Transport, optional
        What moves the bytes instead of HTTP.
    wait : bool
        Let a repair wait until a run that writes to the store has ended, instead of raising.
    cluster : Cluster, optional
        Machines that look at whole data sets instead of this process; see `asyncfetch.cluster.DaskCluster`. It is
        this process that makes a repair.
    **options
        Settings of how fast to ask, and where, such as ``jobs=4``; ``workers`` and ``memory_bytes``.

    Returns
    -------
    VerifyReport
        What was found to be wrong, what the repair could not bring, and why.

    Raises
    ------
    SettingsError
        An option is not one of how fast to ask, its value is not allowed, or the report is another file.
    StoreBusyError
        Another run is writing to the store, and a repair has to.
    StoreError
        There is no store, or it cannot be read or, for a repair, written.
    """
    refuse_other_content(options, RequestOptions, "verify", "a repair makes what is broken as it was")
    if sample < 1:
        raise SettingsError(
            f"sample = {sample} is not allowed: one of how many sections, 1 or more", setting="sample"
        )
    drain, given = drain or anyio.Event(), settings_of(settings, options)
    scope = Scope(full, EVERYTHING if part is None else Part.parse(part), sample, seed)
    store = await anyio.to_thread.run_sync(open_store, location)
    file = ReportFile(report)
    begun = await anyio.to_thread.run_sync(
        partial(file.unfinished, store.location, scope.part, full=full, seed=seed)
    )
    run = _Verification(location, scope, given, drain, file, begun, store)
    await run.look(store, on_progress, cluster)
    if repair and not drain.is_set():
        mender = Mender(location, given, on_event, drain, transport, wait=wait)
        await run.repair(mender, store)
    return await run.end()


class _Verification:
    """One verification: its report, and where that is kept."""

    def __init__(
        self,
        location: Location,
        scope: Scope,
        settings: Settings,
        drain: anyio.Event,
        file: ReportFile,
        begun: VerifyReport | None,
        store: Store,
    ) -> None:
        self._location = location
        self._scope = scope
        self._settings = settings
        self._drain = drain
        self._file = file
        self._started_s = time.monotonic()
        self._before_s = 0.0 if begun is None else begun.elapsed_s
        self._report = begun or VerifyReport(location=store.location)
        self._report.is_full, self._report.part, self._report.seed = scope.full, str(scope.part), scope.seed
        self._report.was_continued, self._report.interrupted = begun is not None, False
        self._report.progress = self._report.progress or Progress()

    async def look(
        self, store: Store, on_progress: Callable[[int], None] | None, cluster: Cluster | None
    ) -> None:
        """Look at what has not been looked at yet."""
        report = self._report
        n_before = report.n_sections

        def count(n_sections: int) -> None:
            report.n_sections = n_before + n_sections
            if on_progress is not None:
                on_progress(report.n_sections)
            self._file.save_now_and_then(report)

        async with Pool(self._settings.workers) as pool:
            walk = Walk(
                pool,
                store,
                self._drain,
                self._scope,
                self._settings.memory_bytes,
                progress=report.progress,
                on_flaws=report.add,
                on_section=count,
            )
            try:
                if cluster is None:
                    await walk.go()
                else:
                    await self._look_elsewhere(walk, store, cluster, count)
            finally:
                self._add(
                    Sight(
                        n_data_sets=walk.n_data_sets,
                        hashed=walk.hashed,
                        leftovers=walk.leftovers,
                        notes=walk.notes,
                    )
                )
                report.left = list(report.flaws)
                if self._drain.is_set():
                    report.interrupted = True
                    self._file.save(report)
        if not report.interrupted:
            report.progress = None

    def _add(self, sight: Sight) -> None:
        """Add what was seen beside flaws and sections, which are told as they come."""
        report = self._report
        report.n_data_sets += sight.n_data_sets
        report.n_hashed += len(sight.hashed)
        if not self._scope.full:
            report.sample = sorted({*report.sample, *sight.hashed})
        report.leftovers = sorted({*report.leftovers, *sight.leftovers})
        report.notes = list(dict.fromkeys([*report.notes, *sight.notes]))

    async def _look_elsewhere(
        self, walk: Walk, store: Store, cluster: Cluster, count: Callable[[int], None]
    ) -> None:
        """Have each data set looked at by a cluster, and take down what was seen in the order of their ids."""
        lost = await walk.begin()
        done, scope = (
            tuple((self._report.progress or Progress()).sections),
            self._scope._replace(has_root=False),
        )
        jobs = [
            VerifyJob(data_set_id=each, scope=scope, done=done, lost=lost.get(each))
            for each in await walk.find_data_sets()
        ]
        duty = Duty(
            verb="verify", location=store.location, token="", settings=self._settings, n_jobs=len(jobs)
        )
        n_sections = 0

        def take(data_set_id: int, sight: Sight) -> None:
            nonlocal n_sections
            self._report.add(sight.flaws)
            self._add(sight)
            n_sections += sight.n_sections
            count(n_sections)
            walk.passed(data_set_id)

        in_order = InOrder([job.data_set_id for job in jobs], take)
        with failing_alone():
            async with cluster.open_crew(duty, ignore, self._drain) as crew:
                await work_off(crew, jobs, in_order.done, self._drain)

    async def repair(self, mender: Mender, store: Store) -> None:
        """Make again what is broken, and look again at that."""
        report = self._report
        if report.leftovers:
            report.leftovers = await mender.sweep(report.leftovers)
            report.was_swept = not mender.interrupted
        opened = await mender.open_archives(report.left)
        if opened:
            store = await anyio.to_thread.run_sync(open_store, self._location)
            report.left = await self._look_again(store, report.left, opened)
        for _ in range(_MAX_ROUNDS):
            if not report.left or mender.interrupted:
                break
            await mender.mend(store, report.left)
            store = await anyio.to_thread.run_sync(open_store, self._location)
            report.left = await self._look_again(store, report.left)
        if opened and not mender.interrupted:
            report.notes += await mender.close_archives()
        report.failures, report.n_requests = mender.failures, mender.n_requests
        report.was_repaired = bool(report.flaws) and not mender.interrupted

    async def _look_again(self, store: Store, flaws: list[Flaw], opened: Collection[int] = ()) -> list[Flaw]:
        """Return what is wrong where something was, and in all of the data sets that were just unpacked."""
        left: list[Flaw] = []
        only = _concerned(flaws) | dict.fromkeys(opened)
        scope = self._scope._replace(
            part=EVERYTHING, only=only, has_root=any(each.data_set_id is None for each in flaws)
        )
        async with Pool(self._settings.workers) as pool:
            await Walk(
                pool, store, anyio.Event(), scope, self._settings.memory_bytes, on_flaws=left.extend
            ).go()
        return left

    async def end(self) -> VerifyReport:
        """Return the report, once it is written."""
        report = self._report
        report.interrupted |= self._drain.is_set()
        report.elapsed_s = self._before_s + time.monotonic() - self._started_s
        await anyio.to_thread.run_sync(self._file.save, report)
        return report


def _concerned(flaws: list[Flaw]) -> dict[int, Collection[int] | None]:
    """Return what has to be looked at again: images by data set, or all of them where more than these was wrong."""
    found: dict[int, Collection[int] | None] = {}
    images: dict[int, set[int]] = {}
    for flaw in flaws:
        if flaw.data_set_id is None:
            continue
        found.setdefault(flaw.data_set_id, images.setdefault(flaw.data_set_id, set()))
        if flaw.image_id is None:
            found[flaw.data_set_id] = None
        else:
            images[flaw.data_set_id].add(flaw.image_id)
    return found
