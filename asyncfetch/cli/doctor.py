"""``asyncfetch doctor``: what of this machine matters to a mirror."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asyncfetch.cli.app import app, echo, print_json, report_errors, settings_from
from asyncfetch.cli.mirror import Config  # noqa: TC001 - typer reads annotations

if TYPE_CHECKING:
    from asyncfetch.doctor import Fact

__all__ = ["doctor"]


@app.command()
@report_errors
def doctor(
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", metavar="PATH", help="Where a store is to be written: its disk is looked at."
        ),
    ] = Path(),
    config: Config = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")] = False,
) -> None:
    """Show what of this machine matters to a mirror.

    The disk is tried with 32 MB in a temporary file; nothing else is written.
    """
    from asyncfetch.doctor import examine_machine

    settings = settings_from(config)
    facts = examine_machine(out, settings, os.environ)
    if as_json:
        print_json({"machine": _as_json(facts)})
        return
    _print_facts(facts)


def _as_json(facts: list[Fact]) -> dict[str, Any]:
    return {fact.name: {"value": fact.value, "shown": fact.shown, "advice": fact.advice} for fact in facts}


def _print_facts(facts: list[Fact]) -> None:
    width = max(len(fact.name) for fact in facts)
    for fact in facts:
        echo(f"{fact.name:<{width}}  {fact.shown}")
        if fact.advice:
            echo(f"{'':<{width}}  ! {fact.advice}")
