"""``asyncfetch doctor``: what of this machine matters, and whether the service is as it is assumed to be."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asyncfetch.cli.configuration import Given
from asyncfetch.cli.console import print_json
from asyncfetch.cli.exits import ExitCode
from asyncfetch.cli.options import MACHINE, SERVER, AsJson, Record, takes
from asyncfetch.cli.running import run_interruptible
from asyncfetch.text import counted

if TYPE_CHECKING:
    from asyncfetch.doctor import Fact
    from asyncfetch.doctor.service import Examination

__all__ = ["doctor"]

_PAGE = "docs/reference/allen-api.md"


def doctor(
    given: Annotated[Given, takes(SERVER, MACHINE)],
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", metavar="PATH", help="Where a store is to be written: its disk is examined."
        ),
    ] = Path(),
    service: Annotated[
        bool, typer.Option("--service", help="Also ask the API which assumptions about it hold.")
    ] = False,
    max_requests: Annotated[
        int, typer.Option("--max-requests", min=1, metavar="N", help="Requests of --service at most.")
    ] = 60,
    record: Record = None,
    as_json: AsJson = False,
) -> None:
    """Check this machine, and the API with --service.

    The disk is tried with 32 MB in a temporary file; nothing else is written. Exit code 6: something differs that
    asyncfetch relies on; 5: the API does not answer.
    """
    from asyncfetch.doctor import examine_machine

    settings = given.settings()
    facts = examine_machine(out, settings, os.environ)
    if not as_json:
        _print_facts(facts)
    found = None
    if service:
        from asyncfetch.doctor.service import examine_service

        found = run_interruptible(lambda: examine_service(settings, max_requests))
        if found.clock is not None:
            facts = [*facts, found.clock]
    if as_json:
        machine = {
            fact.name: {"value": fact.value, "shown": fact.shown, "advice": fact.advice} for fact in facts
        }
        print_json({"machine": machine, "service": None if found is None else _as_json(found)})
    elif found is not None:
        _print_service(found)
    if found is not None and not found.is_answered:
        raise typer.Exit(ExitCode.SERVICE_UNAVAILABLE)
    if found is not None and found.has_differences:
        raise typer.Exit(ExitCode.VERIFICATION_FAILED)


def _as_json(found: Examination) -> dict[str, Any]:
    return {
        "base_url": found.base_url,
        "n_requests": found.n_requests,
        "is_answered": found.is_answered,
        "assumptions": [dataclasses.asdict(finding) for finding in found.findings],
    }


def _print_facts(facts: list[Fact]) -> None:
    width = max(len(fact.name) for fact in facts)
    for fact in facts:
        typer.echo(f"{fact.name:<{width}}  {fact.shown}")
        if fact.advice:
            typer.echo(f"{'':<{width}}  ! {fact.advice}")


def _print_service(found: Examination) -> None:
    typer.echo()
    if found.clock is not None:
        _print_facts([found.clock])
    width = max(len(finding.assumption) for finding in found.findings)
    for finding in found.findings:
        mark = "!" if finding.verdict == "differs" and finding.leans else " "
        typer.echo(f"{mark} {finding.assumption:<{width}}  {finding.verdict}: {finding.words}")
    counts = {
        verdict: sum(finding.verdict == verdict for finding in found.findings)
        for verdict in ("holds", "differs", "could not be asked")
    }
    numbers = ", ".join(
        f"{n} {'hold' if verdict == 'holds' and n != 1 else verdict}" for verdict, n in counts.items()
    )
    typer.echo(
        f"{found.base_url}: {numbers} ({counted(found.n_requests, 'request')}; the assumptions are in {_PAGE})"
    )
    if not found.is_answered:
        typer.echo(
            f"{found.base_url} does not answer as the API does; check the address, the network or the proxy"
        )
    elif found.has_differences:
        typer.echo(
            "lines with ! differ in what asyncfetch relies on; report them with: "
            "asyncfetch doctor --service --record FILE"
        )
