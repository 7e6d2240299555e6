"""The same names without ``await``, for scripts and notebooks.

::

    from asyncfetch import blocking

    with blocking.Client() as allen:
        pixels = allen.image(101349756, downsample=4)
    report = blocking.mirror("dataset:70813257", "out.zarr", um=25)

`Client` runs an event loop in a thread of its own, so that it also works where a loop is running already; the other
calls do the same while they last. Listeners such as ``on_event`` are called on the thread of the loop.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Unpack

from anyio.from_thread import start_blocking_portal

from asyncfetch import exporting, mirroring, upgrading
from asyncfetch.allen import ImageRequest, Query
from asyncfetch.client import BlockingClient as Client
from asyncfetch.deprecation import once_positional
from asyncfetch.engine import Pause
from asyncfetch.errors import AsyncFetchError
from asyncfetch.events import ignore
from asyncfetch.exporting import ExportReport
from asyncfetch.limits import Limits
from asyncfetch.mirroring import Estimate, PackReport, Report, VerifyReport, VolumeReport
from asyncfetch.settings import Settings
from asyncfetch.store import Store, open  # noqa: A004 - the public name is asyncfetch.open, as zarr.open is

if TYPE_CHECKING:
    import os
    from collections.abc import Awaitable, Callable, Collection, Iterable

    import anyio

    from asyncfetch.catalogue import CatalogueFile
    from asyncfetch.engine import Transport
    from asyncfetch.errors import StoreBusyError
    from asyncfetch.events import Listener
    from asyncfetch.exporting import ExportOptions
    from asyncfetch.mirroring.crew import Cluster
    from asyncfetch.mirroring.runner import Executor
    from asyncfetch.options import (
        MachineOptions,
        MirrorOptions,
        RebuildOptions,
        RequestOptions,
        WritingOptions,
    )
    from asyncfetch.planning import SectionPlan
    from asyncfetch.selecting import Filters
    from asyncfetch.selecting.lock import Lock
    from asyncfetch.settings import Codec, Layer, Sync
    from asyncfetch.store import Commit, Location

__all__ = [
    "AsyncFetchError",
    "Client",
    "Estimate",
    "ExportReport",
    "ImageRequest",
    "Limits",
    "PackReport",
    "Pause",
    "Query",
    "Report",
    "Settings",
    "Store",
    "VerifyReport",
    "VolumeReport",
    "estimate",
    "export",
    "mirror",
    "open",
    "pack",
    "rebuild",
    "resume",
    "unpack",
    "upgrade",
    "verify",
    "volume",
]


def _wait_for[T](call: Callable[[], Awaitable[T]]) -> T:
    with start_blocking_portal() as portal:
        return portal.call(call)


def mirror(
    selection: str | Iterable[str],
    location: Location,
    *,
    settings: Settings | None = None,
    on_event: Listener = ignore,
    drain: anyio.Event | None = None,
    limits: Limits | None = None,
    pause: Pause | None = None,
    transport: Transport | None = None,
    executor: Executor[SectionPlan, Commit] | None = None,
    wait: bool = False,
    filters: Filters | None = None,
    catalogue: CatalogueFile | None = None,
    lock: Lock | None = None,
    refresh: bool = False,
    cluster: Cluster | None = None,
    **options: Unpack[MirrorOptions],
) -> Report:
    """Mirror data sets, whole products, atlases or single section images into a store.

    Parameters, result and errors are those of `asyncfetch.mirror`.
    """
    return _wait_for(
        partial(
            mirroring.mirror,
            selection,
            location,
            settings=settings,
            on_event=on_event,
            drain=drain,
            limits=limits,
            pause=pause,
            transport=transport,
            executor=executor,
            wait=wait,
            filters=filters,
            catalogue=catalogue,
            lock=lock,
            refresh=refresh,
            cluster=cluster,
            **options,
        )
    )


def resume(
    location: Location,
    *,
    settings: Settings | None = None,
    on_event: Listener = ignore,
    drain: anyio.Event | None = None,
    limits: Limits | None = None,
    pause: Pause | None = None,
    transport: Transport | None = None,
    wait: bool = False,
    cluster: Cluster | None = None,
    **options: Unpack[RequestOptions],
) -> Report:
    """Continue the runs of a store that did not come to their end.

    Parameters, result and errors are those of `asyncfetch.resume`.
    """
    return _wait_for(
        partial(
            mirroring.resume,
            location,
            settings=settings,
            on_event=on_event,
            drain=drain,
            limits=limits,
            pause=pause,
            transport=transport,
            wait=wait,
            cluster=cluster,
            **options,
        )
    )


@once_positional("layers")
def rebuild(
    location: Location,
    *,
    layers: Iterable[Layer] = ("registered",),
    data_set_ids: Collection[int] | None = None,
    image_ids: Collection[int] | None = None,
    settings: Settings | None = None,
    on_event: Listener = ignore,
    drain: anyio.Event | None = None,
    limits: Limits | None = None,
    wait: bool = False,
    cluster: Cluster | None = None,
    **options: Unpack[RebuildOptions],
) -> Report:
    """Make layers of a store from the JPEGs that it holds; nothing is fetched.

    Parameters, result and errors are those of `asyncfetch.rebuild`.
    """
    return _wait_for(
        partial(
            mirroring.rebuild,
            location,
            layers=layers,
            data_set_ids=data_set_ids,
            image_ids=image_ids,
            settings=settings,
            on_event=on_event,
            drain=drain,
            limits=limits,
            wait=wait,
            cluster=cluster,
            **options,
        )
    )


def upgrade(
    location: Location,
    *,
    settings: Settings | None = None,
    on_event: Listener = ignore,
    drain: anyio.Event | None = None,
    wait: bool = False,
    **options: Unpack[WritingOptions],
) -> Report:
    """Turn a store of an earlier layout version into one of today's, in place; nothing is fetched.

    Parameters, result and errors are those of `asyncfetch.upgrade`.
    """
    return _wait_for(
        partial(
            upgrading.upgrade,
            location,
            settings=settings,
            on_event=on_event,
            drain=drain,
            wait=wait,
            **options,
        )
    )


def pack(
    location: Location,
    *,
    data_set_ids: Collection[int] | None = None,
    settings: Settings | None = None,
    on_event: Listener = ignore,
    drain: anyio.Event | None = None,
    wait: bool = False,
    **options: Unpack[MachineOptions],
) -> PackReport:
    """Turn data sets that are finished into one zip each, which is read as the folder was.

    Parameters, result and errors are those of `asyncfetch.pack`.
    """
    return _wait_for(
        partial(
            mirroring.pack,
            location,
            data_set_ids=data_set_ids,
            settings=settings,
            on_event=on_event,
            drain=drain,
            wait=wait,
            **options,
        )
    )


def unpack(
    location: Location,
    *,
    data_set_ids: Collection[int] | None = None,
    settings: Settings | None = None,
    on_event: Listener = ignore,
    drain: anyio.Event | None = None,
    wait: bool = False,
    **options: Unpack[MachineOptions],
) -> PackReport:
    """Turn packed data sets into the folders that they were, byte for byte.

    Parameters, result and errors are those of `asyncfetch.unpack`.
    """
    return _wait_for(
        partial(
            mirroring.unpack,
            location,
            data_set_ids=data_set_ids,
            settings=settings,
            on_event=on_event,
            drain=drain,
            wait=wait,
            **options,
        )
    )


def volume(
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

    Parameters, result and errors are those of `asyncfetch.volume`.
    """
    return _wait_for(
        partial(
            mirroring.volume,
            location,
            data_set_id,
            view=view,
            um=um,
            max_gap_um=max_gap_um,
            codec=codec,
            workers=workers,
            sync=sync,
            settings=settings,
            on_progress=on_progress,
            on_event=on_event,
            drain=drain,
            wait=wait,
            on_wait=on_wait,
        )
    )


def estimate(
    selection: str | Iterable[str],
    location: Location | None = None,
    *,
    settings: Settings | None = None,
    on_event: Listener = ignore,
    transport: Transport | None = None,
    filters: Filters | None = None,
    catalogue: CatalogueFile | None = None,
    lock: Lock | None = None,
    offline: bool = False,
    **options: Unpack[MirrorOptions],
) -> Estimate:
    """Tell what a mirror would cost; the API is asked for records alone, and nothing is written.

    Parameters, result and errors are those of `asyncfetch.estimate`.
    """
    return _wait_for(
        partial(
            mirroring.estimate,
            selection,
            location,
            settings=settings,
            on_event=on_event,
            transport=transport,
            filters=filters,
            catalogue=catalogue,
            lock=lock,
            offline=offline,
            **options,
        )
    )


def export(
    location: Location,
    selection: str | Iterable[str] | None = None,
    *,
    format: str,  # noqa: A002 - the word of the command line
    folder: str | os.PathLike[str],
    settings: Settings | None = None,
    on_event: Listener = ignore,
    drain: anyio.Event | None = None,
    **options: Unpack[ExportOptions],
) -> ExportReport:
    """Write what a store holds as files that other programs read.

    Parameters, result and errors are those of `asyncfetch.export`.
    """
    return _wait_for(
        partial(
            exporting.export,
            location,
            selection,
            format=format,
            folder=folder,
            settings=settings,
            on_event=on_event,
            drain=drain,
            **options,
        )
    )


def verify(
    location: Location,
    *,
    full: bool = False,
    repair: bool = False,
    part: str | None = None,
    sample: int = 20,
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

    Parameters, result and errors are those of `asyncfetch.verify`.
    """
    return _wait_for(
        partial(
            mirroring.verify,
            location,
            full=full,
            repair=repair,
            part=part,
            sample=sample,
            seed=seed,
            report=report,
            settings=settings,
            on_event=on_event,
            on_progress=on_progress,
            drain=drain,
            transport=transport,
            wait=wait,
            cluster=cluster,
            **options,
        )
    )
