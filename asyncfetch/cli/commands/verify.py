"""``asyncfetch verify``: a store compared with its own commits, and repaired on request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from asyncfetch.cli.configuration import Given
from asyncfetch.cli.console import print_json, tell
from asyncfetch.cli.exits import ExitCode
from asyncfetch.cli.options import (
    MACHINE,
    SERVER,
    AsJson,
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
    given: Annotated[Given, takes(SERVER, MACHINE)],
    full: Annotated[
        bool,
        typer.Option(
            "--full",
            help="Read every byte: the digest of every JPEG and every chunk of pixels. Otherwise sizes, the ends of "
            "shards and the digests of a sample are compared.",
        ),
    ] = False,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="Make again what is broken: from the stored JPEGs where they are sound, else from the API.",
        ),
    ] = False,
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
    from asyncfetch import mirroring

    async def run(on_event: Listener, drain: anyio.Event) -> VerifyReport:
        return await mirroring.verify(
            out, full=full, repair=repair, settings=settings, on_event=on_event, drain=drain, wait=wait
        )

    report = run_to_report(run, quiet=quiet, log_json=log_json, metrics=metrics)
    if as_json:
        print_json(report.as_dict())
    tell(_describe(report, out))
    if report.interrupted:
        raise typer.Exit(ExitCode.INTERRUPTED)
    if not report.is_sound:
        raise typer.Exit(ExitCode.VERIFICATION_FAILED)


def _describe(report: VerifyReport, out: str) -> str:
    lines = [
        f"{counted(report.n_sections, 'section')} of {report.location} checked in {lasting(report.elapsed_s)}"
    ]
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
    if not report.flaws:
        lines.append("everything is as it was written")
    elif report.was_repaired and report.is_sound:
        lines.append(
            f"{counted(len(report.flaws), 'flaw')} repaired with {counted(report.n_requests, 'request')}"
        )
    elif not report.was_repaired:
        lines.append(f"repair with: asyncfetch verify {out} --repair")
    else:
        lines.append(
            f"{counted(len(report.left), 'flaw is', 'flaws are')} left; try again later, or mirror the items again"
        )
    return "\n".join(lines)
