"""``asyncfetch volume``: the space between the registered planes of a data set, filled."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from asyncfetch.cli.app import app, print_json, report_errors, settings_from, tell
from asyncfetch.cli.exits import ExitCode
from asyncfetch.cli.interrupts import run_until_interrupted
from asyncfetch.cli.mirror import AsJson, Quiet, Workers  # noqa: TC001 - typer reads the annotations when it runs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import anyio

    from asyncfetch.mirroring import VolumeReport

__all__ = ["volume"]


@app.command()
@report_errors
def volume(
    out: Annotated[str, typer.Argument(metavar="OUT", help="A store that holds registered planes.")],
    data_set_id: Annotated[
        int | None,
        typer.Option("--dataset", metavar="ID", help="Which data set.", show_default="the only one"),
    ] = None,
    view: Annotated[str, typer.Option(metavar="VIEW", help="Which view.")] = "image",
    um: Annotated[
        str | None,
        typer.Option(
            metavar="PITCH",
            help="Pitch in µm: that of the planes or a whole multiple.",
            show_default="of the planes",
        ),
    ] = None,
    max_gap: Annotated[
        float | None,
        typer.Option(
            metavar="UM",
            help="Leave wider gaps between planes empty.",
            show_default="2.5 times the usual gap",
        ),
    ] = None,
    codec: Annotated[
        str | None,
        typer.Option(metavar="CODEC", help="zstd, blosc-lz4, jpegxl or none.", show_default="of the planes"),
    ] = None,
    workers: Workers = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Fill the reference space between the registered planes of a data set, as an OME-Zarr volume beside them.

    What is up to date stays as it is; an interrupted volume is gone on with.
    """
    settings = settings_from(None, um=um, codec=codec, workers=workers)
    if settings.um == "full":
        from asyncfetch.errors import SettingsError

        raise SettingsError('--um: a volume has a pitch in µm, not "full"', setting="um")
    from asyncfetch.mirroring import build_volume

    async def run(drain: anyio.Event) -> VolumeReport:
        with _progress(quiet=quiet) as on_progress:
            return await build_volume(
                out,
                data_set_id,
                view=view,
                um=None if um is None else float(um),
                max_gap_um=max_gap,
                codec=None if codec is None else settings.codec,
                workers=settings.workers,
                on_progress=on_progress,
                drain=drain,
            )

    report = run_until_interrupted(
        run,
        on_first="stopping when the shards in work are done; interrupt again to stop at once",
        on_second="stopped; the same command goes on from there",
    )
    if as_json:
        print_json(report.as_dict())
    tell(_describe(report))
    if report.interrupted:
        raise typer.Exit(ExitCode.INTERRUPTED)


def _describe(report: VolumeReport) -> str:
    n_p, n_i, n_r = report.shape
    what = f"volume of data set {report.data_set_id} {report.view}"
    if report.interrupted:
        return f"{what} interrupted after {report.n_written} shards; the same command goes on"
    if not report.n_written and not report.n_kept:
        return f"{what} is up to date: {n_p} x {n_i} x {n_r} voxels (p, i, r) of {report.um:g} µm"
    gaps = f", {report.n_gaps} gaps wider than {report.max_gap_um:.0f} µm left empty" if report.n_gaps else ""
    return (
        f"{what}: {n_p} x {n_i} x {n_r} voxels (p, i, r) of {report.um:g} µm in {report.n_levels} levels "
        f"from {report.n_planes} planes{gaps}; {report.n_written} shards written, {report.n_kept} kept, "
        f"in {report.elapsed_s:.1f} s"
    )


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Callable[[int, int], None] | None]:
    """Show the shards that are done on stderr, where that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True, highlight=False)
    if quiet or not console.is_terminal:
        yield None
        return
    columns = (TextColumn("shards"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("shards", total=None)
        yield lambda n_done, n_all: progress.update(task, completed=n_done, total=n_all)
