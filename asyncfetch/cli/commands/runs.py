"""``asyncfetch runs``: the unfinished runs of a store, and how to dismiss them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from asyncfetch.cli.console import echo, print_json, tell
from asyncfetch.cli.opening import refuse_if_busy
from asyncfetch.cli.options import AsJson, Store
from asyncfetch.cli.reports import as_plain
from asyncfetch.text import counted, shown

if TYPE_CHECKING:
    from asyncfetch.runs import UnfinishedRun

__all__ = ["describe_run", "runs"]

# what a store says of its runs may be anything
_MAX_CELL = 300

_STATES = {True: "in progress", None: "in progress, as far as can be told from here", False: "not running"}


def runs(
    out: Store,
    dismiss: Annotated[
        list[str] | None,
        typer.Option(
            metavar="N", help='Forget this run, or "all"; what it has stored stays. May be repeated.'
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the unfinished runs of a store, or dismiss them.

    A dismissed run is not continued by resume.
    """
    if dismiss:
        _dismiss(out, dismiss)
        if not as_json:
            return
    from asyncfetch import store
    from asyncfetch.runs import unfinished_runs

    found = unfinished_runs(store.open(out))
    if as_json:
        print_json([as_plain(run) for run in found])
        return
    for run in found:
        echo(describe_run(run))
    if not found:
        echo(f"{out} has no unfinished runs")


def _dismiss(out: str, texts: list[str]) -> None:
    numbers = None if "all" in texts else [_number(text) for text in texts]
    refuse_if_busy(out)
    import anyio

    from asyncfetch import mirroring

    dismissed = anyio.run(mirroring.dismiss_runs, out, numbers)
    tell(f"{counted(len(dismissed), 'run')} dismissed")


def describe_run(run: UnfinishedRun) -> str:
    """Return a run in one line, its fields separated by tabs."""
    choices = ", ".join(f"{name} {_short(value)}" for name, value in run.choices.items())
    fields = (
        str(run.number),
        " ".join(run.selection) or "(what it was asked for cannot be read)",
        f"begun {run.begun or 'at a time that is not recorded'}",
        choices or "default settings",
        run.address or "the default address",
        _STATES[run.is_alive],
    )
    return "\t".join(shown(field, _MAX_CELL) for field in fields)


def _number(text: str) -> int:
    from asyncfetch.errors import SelectionError

    if not (text.isascii() and text.isdecimal()):
        raise SelectionError(f'--dismiss {text}: give the number of a run, or "all"')
    return int(text)


def _short(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
