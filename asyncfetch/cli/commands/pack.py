"""``asyncfetch pack`` and ``asyncfetch unpack``: data sets as one zip each, and as folders again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from asyncfetch.cli.configuration import Given
from asyncfetch.cli.console import print_json, tell
from asyncfetch.cli.exits import ExitCode
from asyncfetch.cli.opening import refuse_if_busy, tell_damage
from asyncfetch.cli.options import AsJson, LogJson, Quiet, Store, Wait, takes
from asyncfetch.cli.running import run_to_report
from asyncfetch.text import counted, lasting, listed, sized

if TYPE_CHECKING:
    import anyio

    from asyncfetch.events import Listener
    from asyncfetch.mirroring import PackReport

__all__ = ["pack", "unpack"]

_DataSets = Annotated[
    list[int] | None,
    typer.Argument(metavar="[DATA_SET...]", help="Only these data sets, by their ids.", show_default="all"),
]
_OPTIONS = takes(
    "workers", defaults={"workers": "2"}, helps={"workers": "Data sets at a time."}, has_config=False
)


def pack(
    out: Store,
    given: Annotated[Given, _OPTIONS],
    data_set_ids: _DataSets = None,
    log_json: LogJson = None,
    wait: Wait = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Turn finished data sets into one zip each.

    A packed data set is one file, data_sets/ID.ozx, which every command and every reader of zipped OME-Zarr reads as it
    is. The zip is synced and read back before the folder goes. Data sets that are not finished stay folders and are
    named, with exit code 3.
    """
    _run(out, given, data_set_ids, "pack", log_json=log_json, wait=wait, as_json=as_json, quiet=quiet)


def unpack(
    out: Store,
    given: Annotated[Given, _OPTIONS],
    data_set_ids: _DataSets = None,
    log_json: LogJson = None,
    wait: Wait = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Turn packed data sets into folders again.

    The files are those that were packed, byte for byte. A damaged zip stays as it is and is named, with exit code 3.
    """
    _run(out, given, data_set_ids, "unpack", log_json=log_json, wait=wait, as_json=as_json, quiet=quiet)


def _run(
    out: str,
    given: Given,
    data_set_ids: list[int] | None,
    command: str,
    *,
    log_json: str | None,
    wait: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    workers = given.settings().workers
    refuse_if_busy(out, wait=wait)
    from asyncfetch import mirroring

    work = mirroring.pack if command == "pack" else mirroring.unpack

    async def run(on_event: Listener, drain: anyio.Event) -> PackReport:
        return await work(
            out, data_set_ids=data_set_ids or None, workers=workers, on_event=on_event, drain=drain, wait=wait
        )

    report = run_to_report(run, quiet=quiet, log_json=log_json, go_on="the same command")
    if as_json:
        print_json(report.as_dict())
    tell(_describe(report, command))
    tell_damage(report.notes, report.location)
    if report.interrupted:
        raise typer.Exit(ExitCode.INTERRUPTED)
    if report.failures:
        raise typer.Exit(ExitCode.SOME_FAILED)


def _describe(report: PackReport, command: str) -> str:
    done, before = ("packed", "already packed") if command == "pack" else ("unpacked", "not packed")
    lines = [
        (
            f"{counted(report.n_done, 'data set')} {done}, {report.n_before} {before}, "
            f"{len(report.failures)} left as they are; {counted(report.n_files, 'file')}, "
            f"{sized(report.size_bytes)} in {lasting(report.elapsed_s)}; {report.location}"
        )
    ]
    lines += listed(
        report.failures, lambda each: f"not {done}: {each.message}", "{} more; --json lists all".format
    )
    if report.interrupted:
        lines.append("interrupted; the same command continues")
    return "\n".join(lines)
