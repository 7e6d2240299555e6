"""``asyncfetch export``: what a store holds, as files that other programs read."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asyncfetch.cli.configuration import Given
from asyncfetch.cli.console import print_json, tell
from asyncfetch.cli.exits import ExitCode
from asyncfetch.cli.format_options import with_format_options
from asyncfetch.cli.options import MACHINE, AsJson, LogJson, Metrics, Quiet, Store, takes
from asyncfetch.cli.running import run_to_report
from asyncfetch.cli.selections import expand_files
from asyncfetch.text import counted, lasting, listed, sized

if TYPE_CHECKING:
    import anyio

    from asyncfetch.events import Listener
    from asyncfetch.exporting import ExportReport

__all__ = ["export"]

_PART = "Which part is exported"
_TAKEN = takes(
    "views",
    "roi_um",
    "roi_space",
    MACHINE,
    helps={"roi_um": "Only this region of the reference space, in µm."},
    has_config=False,
)
_OPTIONS = replace(
    _TAKEN,
    rows=tuple(row if row.panel == MACHINE else row._replace(panel=_PART) for row in _TAKEN.rows),
)


@with_format_options
def export(
    format: Annotated[str, typer.Argument(metavar="FORMAT", help="One of the formats above.")],  # noqa: A002
    out: Store,
    given: Annotated[Given, _OPTIONS],
    output: Annotated[
        str,
        typer.Option("--output", "-o", metavar="DIR", help="The folder for the files.", show_default=False),
    ],
    selection: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SELECTION]...",
            help="What of the store: dataset:ID, gene:ACRONYM, product:ID, atlas:ID, image:ID, or @FILE.",
            show_default="everything",
        ),
    ] = None,
    log_json: LogJson = None,
    metrics: Metrics = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    **chosen: Any,
) -> None:
    """Write what a store holds as files for other programs.

    Nothing is fetched, and the store stays as it is. Files that are complete and would be the same again are kept, so
    that the same command continues an interrupted one. The formats:
    """
    settings = given.settings(layers="sections,registered")
    wanted = expand_files(selection) if selection else None
    from asyncfetch import exporting

    exporting.format_of(format, chosen)

    async def run(on_event: Listener, drain: anyio.Event) -> ExportReport:
        return await exporting.export(
            out,
            wanted,
            format=format,
            folder=output,
            on_event=on_event,
            drain=drain,
            views=settings.views,
            roi_um=settings.roi_um,
            roi_space=settings.roi_space,
            memory_bytes=settings.memory_bytes,
            workers=settings.workers,
            **chosen,
        )

    report = run_to_report(
        run, quiet=quiet, log_json=log_json, metrics=metrics, go_on="the same command", items="files"
    )
    if as_json:
        print_json(report.as_dict())
    tell(_describe(report))
    code = _exit_code(report)
    if code != ExitCode.DONE:
        raise typer.Exit(code)


def _exit_code(report: ExportReport) -> ExitCode:
    if report.interrupted:
        return ExitCode.INTERRUPTED
    if not report.n_data_sets or not (report.n_written or report.n_kept or report.failures):
        return ExitCode.NOTHING_MATCHED
    return ExitCode.SOME_FAILED if report.failures else ExitCode.DONE


def _describe(report: ExportReport) -> str:
    lines = [
        (
            f"{counted(report.n_written, 'file')} written ({sized(report.written_bytes)}), "
            f"{report.n_kept} already there, {len(report.failures)} failed, "
            f"in {lasting(report.elapsed_s)}; {report.folder}"
        )
    ]
    lines += listed(
        report.failures,
        lambda each: f"failed: {each.item}{f' {each.view}' if each.view else ''}: {each.message}",
        "failed: {} more; --json lists all".format,
    )
    lines += listed(report.notes, "note: {}".format, "note: {} more; --json lists all".format)
    if report.interrupted:
        lines.append("interrupted; the same command continues")
    return "\n".join(lines)
