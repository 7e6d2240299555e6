"""``asyncfetch mirror`` and ``asyncfetch resume``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from asyncfetch.cli.cataloguing import open_catalogue
from asyncfetch.cli.choices import read_lock, write_choices
from asyncfetch.cli.configuration import Given
from asyncfetch.cli.limiting import MaxBytes, MaxTime, Until, read_limits
from asyncfetch.cli.machines import cluster_at, drained_s
from asyncfetch.cli.narrowing import NARROWING, Narrowed
from asyncfetch.cli.opening import refuse_if_busy
from asyncfetch.cli.options import (
    MACHINE,
    RECIPE,
    REGION,
    SERVER,
    WRITING,
    AsJson,
    Cluster,
    Frozen,
    LockFile,
    LogJson,
    Metrics,
    Quiet,
    Record,
    ReportFile,
    Selection,
    Wait,
    takes,
)
from asyncfetch.cli.reports import conclude
from asyncfetch.cli.retrying import Failures, FailuresFile
from asyncfetch.cli.running import run_to_report
from asyncfetch.cli.selections import Listed, expand_files

if TYPE_CHECKING:
    import anyio

    from asyncfetch.events import Listener
    from asyncfetch.mirroring import Report

__all__ = ["mirror", "resume"]


def mirror(
    out: Annotated[
        str,
        typer.Option(
            "--out",
            "-o",
            metavar="OUT",
            help="The store: a directory, or an address such as s3://bucket/brains.zarr.",
        ),
    ],
    given: Annotated[Given, takes(RECIPE, REGION, SERVER, MACHINE, WRITING)],
    narrowed: Annotated[Narrowed, NARROWING],
    selection: Selection = None,
    lock: LockFile = None,
    frozen: Frozen = None,
    report_file: ReportFile = None,
    cluster: Cluster = None,
    record: Record = None,
    log_json: LogJson = None,
    metrics: Metrics = None,
    refresh: Annotated[
        bool,
        typer.Option(
            "--refresh",
            help="Follow the API where it says something else of stored sections now, and say what is new.",
        ),
    ] = False,
    failures: Failures = None,
    max_bytes: MaxBytes = None,
    max_time: MaxTime = None,
    until: Until = None,
    wait: Wait = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Mirror data sets, products, atlases or images into a store.

    What the store already holds is not fetched again. Genes and products leave out data sets that failed.
    """
    settings = given.settings()
    filters = narrowed.filters()
    limits = read_limits(max_bytes, max_time, until)
    locked = read_lock(frozen, selection or [], report_file, filters)
    wanted = expand_files(selection or [], narrowed.bare, narrowed.column) if locked is None else Listed()
    machines = cluster_at(cluster, record=record, quiet=quiet)
    refuse_if_busy(out, wait=wait)
    failed = FailuresFile(failures)
    from asyncfetch import mirroring
    from asyncfetch.engine import Pause

    # machines of a cluster ask by themselves
    pause = Pause() if cluster is None else None

    async def run(on_event: Listener, drain: anyio.Event) -> Report:
        return await mirroring.mirror(
            wanted,
            out,
            settings=settings,
            on_event=on_event,
            drain=drain,
            limits=limits,
            pause=pause,
            wait=wait,
            filters=filters,
            catalogue=catalogue,
            lock=locked,
            refresh=refresh,
            cluster=machines,
        )

    with open_catalogue(narrowed.catalogue, settings.base_url) as catalogue:
        report = run_to_report(
            run, quiet=quiet, log_json=log_json, metrics=metrics, drained_s=drained_s(cluster), pause=pause
        )
    write_choices(report, lock, report_file, wanted.places)
    failed.write(report.failures, report.location)
    # an address is asked again only where it is named again; one with a password is not printed
    base_url = given["base_url"]
    named = f" --base-url {base_url}" if base_url and "@" not in base_url else ""
    conclude(report, as_json=as_json, go_on=f"asyncfetch resume {report.location}{named}")


def resume(
    out: Annotated[str, typer.Argument(metavar="OUT", help="The store of an interrupted run.")],
    given: Annotated[Given, takes(SERVER, MACHINE, WRITING)],
    cluster: Cluster = None,
    record: Record = None,
    log_json: LogJson = None,
    metrics: Metrics = None,
    failures: Failures = None,
    max_bytes: MaxBytes = None,
    max_time: MaxTime = None,
    until: Until = None,
    wait: Wait = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Continue the unfinished runs of a store.

    Only sections without a commit are fetched. What is fetched and stored is what the runs were asked for.
    """
    settings = given.settings()
    limits = read_limits(max_bytes, max_time, until)
    machines = cluster_at(cluster, record=record, quiet=quiet)
    refuse_if_busy(out, wait=wait)
    failed = FailuresFile(failures)
    from asyncfetch import mirroring
    from asyncfetch.engine import Pause

    # machines of a cluster ask by themselves
    pause = Pause() if cluster is None else None

    async def run(on_event: Listener, drain: anyio.Event) -> Report:
        return await mirroring.resume(
            out,
            settings=settings,
            base_url=given["base_url"],
            on_event=on_event,
            drain=drain,
            limits=limits,
            pause=pause,
            wait=wait,
            cluster=machines,
        )

    report = run_to_report(
        run, quiet=quiet, log_json=log_json, metrics=metrics, drained_s=drained_s(cluster), pause=pause
    )
    failed.write(report.failures, report.location)
    conclude(report, as_json=as_json)
