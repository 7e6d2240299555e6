"""``asyncfetch verify``: a store compared with its own commits, and repaired on request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from asyncfetch.cli.configuration import Given
from asyncfetch.cli.console import print_json, tell
from asyncfetch.cli.exits import ExitCode
from asyncfetch.cli.machines import cluster_at, drained_s
from asyncfetch.cli.options import (
    MACHINE,
    SERVER,
    WRITING,
    AsJson,
    Cluster,
    LogJson,
    Metrics,
    Quiet,
    Record,
    Store,
    Wait,
    takes,
)
from asyncfetch.cli.running import run_to_report
from asyncfetch.text import counted, lasting, listed

if TYPE_CHECKING:
    import anyio

    from asyncfetch.events import Listener
    from asyncfetch.mirroring import VerifyReport
    from asyncfetch.mirroring.flaws import Flaw

__all__ = ["verify"]


def verify(
    out: Store,
    given: Annotated[Given, takes(SERVER, MACHINE, WRITING)],
    full: Annotated[
        bool,
        typer.Option(
            "--full",
            help="Read every byte: the digest of every JPEG, the checksum of every chunk, and whether levels, planes "
            "and volumes are what they are made of. Otherwise metadata, sizes, the ends of shards and the digests of "
            "a sample are compared.",
        ),
    ] = False,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="Make again what is broken: from the stored JPEGs where they are sound, else from the API; remove "
            "temporary files of runs that were killed.",
        ),
    ] = False,
    part: Annotated[
        str | None,
        typer.Option(
            metavar="K/N",
            help="Only one part of the store, such as 1/30; all of them together cover everything once.",
        ),
    ] = None,
    report: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Keep the report here as JSON, also while it grows; the same command continues an interrupted one.",
        ),
    ] = None,
    sample: Annotated[
        int,
        typer.Option(
            metavar="N", min=1, help="Without --full: hash one JPEG in N, at least one of each view."
        ),
    ] = 20,
    seed: Annotated[int, typer.Option(metavar="N", help="Another number hashes another sample.")] = 0,
    cluster: Cluster = None,
    record: Record = None,
    log_json: LogJson = None,
    metrics: Metrics = None,
    wait: Wait = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Compare a store with its commits, and repair it.

    Exit code 0: nothing is wrong, or nothing is left after --repair; 6: something is.
    """
    settings = given.settings()
    machines = cluster_at(cluster, quiet=quiet)
    from asyncfetch import mirroring

    async def run(on_event: Listener, drain: anyio.Event) -> VerifyReport:
        return await mirroring.verify(
            out,
            full=full,
            repair=repair,
            part=part,
            sample=sample,
            seed=seed,
            report=report,
            settings=settings,
            on_event=on_event,
            drain=drain,
            wait=wait,
            cluster=machines,
        )

    found = run_to_report(run, quiet=quiet, log_json=log_json, metrics=metrics, drained_s=drained_s(cluster))
    if as_json:
        print_json(found.as_dict())
    tell(_describe(found, out, report))
    if found.interrupted:
        raise typer.Exit(ExitCode.INTERRUPTED)
    if not found.is_sound:
        raise typer.Exit(ExitCode.VERIFICATION_FAILED)


def _describe(report: VerifyReport, out: str, file: str | None) -> str:
    part = "" if report.part == "1/1" else f" (part {report.part})"
    lines = [
        f"{counted(report.n_sections, 'section')} of {report.location}{part} checked in {lasting(report.elapsed_s)}"
    ]
    if not report.is_full and report.n_hashed:
        lines.append(
            f"{counted(report.n_hashed, 'JPEG')} hashed, a sample with --seed {report.seed}; --full reads all"
        )
    left = {flaw.path for flaw in report.left}

    def line(flaw: Flaw) -> str:
        is_repaired = report.was_repaired and flaw.path not in left
        done = "; made again" if is_repaired else ""
        return f"{flaw.item}: {flaw.path} {flaw.problem}{done}"

    lines += listed(report.flaws, line, "{} more; --json lists all".format)
    lines += listed(
        report.failures,
        lambda each: f"failed: {each.item}: {each.message}",
        "failed: {} more; --json lists all".format,
    )
    swept = "removed" if report.was_swept else "left by a run that was killed; --repair removes it"
    lines += listed(report.leftovers, lambda each: f"{each}: {swept}", "{} more; --json lists all".format)
    lines += listed(report.notes, str, "{} more; --json lists all".format)
    lines.append(_verdict(report, out, file))
    return "\n".join(lines)


def _verdict(report: VerifyReport, out: str, file: str | None) -> str:
    if report.interrupted:
        continued = (
            "the same command continues" if file else "with --report FILE, the same command would continue"
        )
        return f"interrupted; {continued}"
    if not report.flaws:
        return "everything is as it was written"
    if report.was_repaired and report.is_sound:
        return f"{counted(len(report.flaws), 'flaw')} repaired with {counted(report.n_requests, 'request')}"
    if not report.was_repaired:
        return f"repair with: asyncfetch verify {out}{' --full' if report.is_full else ''} --repair"
    return f"{counted(len(report.left), 'flaw is', 'flaws are')} left; try again later, or mirror the items again"
