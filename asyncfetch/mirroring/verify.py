"""A store held against its own commits: what is lost, empty, cut or changed, and brought again on request.

Every check reads what is stored and what the commits say of it. A repair first takes away the claims of what is broken,
so that a kill in between leaves nothing wrong, and then has `rebuild` and `mirror` make it again: planes and levels
from the stored JPEG where that is sound, everything else from the API.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any, Unpack

import anyio
import msgspec

from asyncfetch.engine.groups import share_out
from asyncfetch.events import ignore
from asyncfetch.failures import Failure  # noqa: TC001 - msgspec reads annotations
from asyncfetch.imaging import Pool
from asyncfetch.mirroring.flaws import Flaw, flaw_at, flaw_of
from asyncfetch.mirroring.mending import Mender
from asyncfetch.options import RequestOptions, refuse_other_content, settings_of
from asyncfetch.store import open as open_store

if TYPE_CHECKING:
    from collections.abc import Callable

    from asyncfetch.engine import Transport
    from asyncfetch.events import Listener
    from asyncfetch.settings import Settings
    from asyncfetch.store import Commit, Location, Store, StoredDataSet

__all__ = ["VerifyReport", "verify"]

#: How often a repair looks again: a data set whose record was lost shows the flaws of its sections once it is back, and
#: a JPEG proves to be another one when a plane is made of it.
_MAX_ROUNDS = 3
#: Of a quick verification, every so many sections have the digest of their JPEG compared.
_SAMPLED = 20


class VerifyReport(msgspec.Struct, kw_only=True):
    """What a verification found, and what was done about it.

    Attributes
    ----------
    location : str
        The store.
    is_full : bool
        Whether every byte was read.
    n_sections : int
        Section views that were looked at.
    flaws : list of Flaw
        What was found at first.
    left : list of Flaw
        What was still wrong after the repair; `flaws` where none was asked for.
    failures : list of Failure
        What the repair could not bring, and why.
    n_requests : int
        Requests that the repair sent.
    was_repaired : bool
        Whether a repair was asked for and came to its end.
    interrupted : bool
        Whether it was asked to stop before its end.
    elapsed_s : float
        Wall time.
    """

    location: str
    is_full: bool = False
    n_sections: int = 0
    flaws: list[Flaw] = msgspec.field(default_factory=list)
    left: list[Flaw] = msgspec.field(default_factory=list)
    failures: list[Failure] = msgspec.field(default_factory=list)
    n_requests: int = 0
    was_repaired: bool = False
    interrupted: bool = False
    elapsed_s: float = 0.0

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong, or nothing any more."""
        return not self.left

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        fields: dict[str, Any] = msgspec.to_builtins(self)
        return fields


async def verify(
    location: Location,
    *,
    full: bool = False,
    repair: bool = False,
    settings: Settings | None = None,
    on_event: Listener = ignore,
    on_progress: Callable[[int], None] | None = None,
    drain: anyio.Event | None = None,
    transport: Transport | None = None,
    wait: bool = False,
    **options: Unpack[RequestOptions],
) -> VerifyReport:
    """Compare what a store holds with what its commits say, and bring again what is broken.

    Parameters
    ----------
    location : str, Path or zarr Store
        The store.
    full : bool
        Compare the digest of every JPEG and decode every chunk, instead of sizes, the ends of shards, and the digests
        of a sample.
    repair : bool
        Make again exactly what is broken.
    settings : Settings, optional
        How fast a repair asks, and where; options change single ones. What is fetched and stored is as it was.
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
    **options
        Settings of how fast to ask, and where, such as ``jobs=4``.

    Returns
    -------
    VerifyReport
        What was found to be wrong, what the repair could not bring, and why.

    Raises
    ------
    SettingsError
        An option is not one of how fast to ask, or its value is not allowed.
    StoreBusyError
        Another run is writing to the store, and a repair has to.
    StoreError
        There is no store, or it cannot be read or, for a repair, written.
    """
    started_s = time.monotonic()
    refuse_other_content(options, RequestOptions, "verify", "a repair makes what is broken as it was")
    drain, given = drain or anyio.Event(), settings_of(settings, options)
    store = await anyio.to_thread.run_sync(open_store, location)
    report = VerifyReport(location=store.location, is_full=full)
    async with Pool(given.workers) as pool:
        check = _Check(pool, store, drain, full=full, on_progress=on_progress)
        report.flaws = report.left = await check.go()
        report.n_sections = check.n_sections
    if repair and report.flaws and not drain.is_set():
        mender = Mender(location, given, on_event, drain, transport, wait=wait)
        for _ in range(_MAX_ROUNDS):
            await mender.mend(store, report.left)
            store = await anyio.to_thread.run_sync(open_store, location)
            async with Pool(given.workers) as pool:
                report.left = await _Check(pool, store, drain, full=full).go()
            if not report.left or mender.interrupted:
                break
        report.failures, report.n_requests = mender.failures, mender.n_requests
        report.was_repaired = not mender.interrupted
    report.interrupted = drain.is_set()
    report.elapsed_s = time.monotonic() - started_s
    return report


class _Check:
    """One walk through a store."""

    def __init__(
        self,
        pool: Pool,
        store: Store,
        drain: anyio.Event,
        *,
        full: bool,
        on_progress: Callable[[int], None] | None = None,
    ) -> None:
        self._pool = pool
        self._store = store
        self._drain = drain
        self._full = full
        self._on_progress = on_progress
        self.n_sections = 0

    async def go(self) -> list[Flaw]:
        """Return everything that is wrong, in the order of data sets and views."""
        flaws: list[Flaw] = []
        for data_set_id in await self._pool.run(self._store.read_data_set_ids):
            data_set = self._store.data_set(data_set_id)
            # reading is what notices; the store remembers
            await self._pool.run(_read_table, data_set)
            for view in await self._pool.run(_views_of, data_set):
                flaws += await self._check_view(data_set.in_view(view))
        await self._pool.run(_read_catalogue, self._store)
        known = {flaw.path for flaw in flaws}
        damaged = self._store.damaged
        return flaws + [flaw_at(key, words) for key, words in damaged.items() if key not in known]

    async def _check_view(self, view: StoredDataSet) -> list[Flaw]:
        commits = await self._pool.run(view.read_commits)
        found: dict[int, list[Flaw]] = {}

        async def check(item: tuple[int, Commit]) -> None:
            if self._drain.is_set():
                return
            index, commit = item
            full = self._full
            problems = await self._pool.run(
                partial(view.problems, commit, full=full, with_digest=full or index % _SAMPLED == 0)
            )
            found[index] = [flaw_of(commit, problem) for problem in problems]
            self.n_sections += 1
            if self._on_progress is not None:
                self._on_progress(self.n_sections)

        await share_out(enumerate(commits), check, self._pool.n_threads)
        flaws = [flaw for index in sorted(found) for flaw in found[index]]
        problems = await self._pool.run(partial(view.own_problems, full=self._full))
        return flaws + [flaw_at(path, words) for path, words in problems]


def _views_of(data_set: StoredDataSet) -> tuple[str, ...]:
    return data_set.read_views()


def _read_table(data_set: StoredDataSet) -> None:
    data_set.read_table()


def _read_catalogue(store: Store) -> None:
    _ = store.read_structure_centers(), store.read_space_transforms(), store.read_atlases(), store.read_runs()
