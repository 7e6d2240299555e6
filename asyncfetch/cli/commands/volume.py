"""``asyncfetch volume``: the space between the registered planes of a data set, filled."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, TypedDict

import typer

from asyncfetch.cli.configuration import Given
from asyncfetch.cli.console import print_json, tell
from asyncfetch.cli.exits import ExitCode
from asyncfetch.cli.machines import cluster_at, drained_s
from asyncfetch.cli.opening import tell_damage
from asyncfetch.cli.options import AsJson, Cluster, Quiet, Wait, takes
from asyncfetch.cli.running import run_until_interrupted
from asyncfetch.text import counted, lasting, listed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import anyio

    from asyncfetch.cluster import DaskCluster
    from asyncfetch.errors import StoreBusyError
    from asyncfetch.mirroring import Failure, VolumeGap, VolumeReport, VolumesReport
    from asyncfetch.settings import Codec, Sync

__all__ = ["volume"]

_ON_FIRST = "stopping when the shards in progress are done; interrupt again to stop at once"
_ON_SECOND = "stopped; the same command continues from there"
_OF_THE_PLANES = "that of the planes"
_OPTIONS = takes(
    "um",
    "codec",
    "workers",
    "sync",
    defaults={"um": _OF_THE_PLANES, "codec": _OF_THE_PLANES},
    helps={"um": "Pitch in µm: that of the planes or a whole multiple of it."},
    has_config=False,
)


def volume(
    out: Annotated[str, typer.Argument(metavar="OUT", help="A store that holds registered planes.")],
    given: Annotated[Given, _OPTIONS],
    data_set_ids: Annotated[
        list[int] | None,
        typer.Option(
            "--dataset",
            metavar="ID",
            help="Which data set. May be repeated.",
            show_default="the only one",
        ),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Every data set that has registered planes.", show_default=False)
    ] = False,
    view: Annotated[str, typer.Option(metavar="VIEW", help="Which view.")] = "image",
    max_gap_um: Annotated[
        float | None,
        typer.Option(
            "--max-gap",
            metavar="UM",
            help="Leave gaps between planes that are wider than this empty, in µm.",
            show_default="2.5 times the usual gap, at most 500",
        ),
    ] = None,
    cluster: Cluster = None,
    wait: Wait = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Fill the space between registered planes, as a volume.

    The volume is an OME-Zarr image beside the planes. What is up to date stays, and an interrupted volume is continued.
    Damaged planes are left out and named, with exit code 3. Of many data sets, one whose volume cannot be made is
    named, too, and the others are made.
    """
    settings = given.settings()
    if settings.um == "full":
        from asyncfetch.errors import SettingsError

        raise SettingsError('--um: a volume has a pitch in µm, not "full"', setting="um")
    if every and data_set_ids:
        from asyncfetch.errors import SelectionError

        raise SelectionError("--all is every data set; leave out --dataset")
    machines = cluster_at(cluster, quiet=quiet)
    options = _Options(
        view=view,
        um=None if given["um"] is None else float(settings.um),
        max_gap_um=max_gap_um,
        codec=None if given["codec"] is None else settings.codec,
        workers=settings.workers,
        sync=settings.sync,
        wait=wait,
        on_wait=lambda error: tell(f"waiting: {error.message}"),
    )
    if every or machines is not None or len(data_set_ids or ()) > 1:
        _make_many(out, data_set_ids, options, machines, every=every, as_json=as_json, quiet=quiet)
    else:
        _make_one(out, data_set_ids[0] if data_set_ids else None, options, as_json=as_json, quiet=quiet)


class _Options(TypedDict):
    """What both ways of making volumes take."""

    view: str
    um: float | None
    max_gap_um: float | None
    codec: Codec | None
    workers: int | None
    sync: Sync | None
    wait: bool
    on_wait: Callable[[StoreBusyError], None]


def _make_many(
    out: str,
    data_set_ids: list[int] | None,
    options: _Options,
    cluster: DaskCluster | None,
    *,
    every: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    from asyncfetch import mirroring
    from asyncfetch.errors import SelectionError

    if not every and not data_set_ids:
        raise SelectionError(
            "a cluster makes the volumes of many data sets: name them with --dataset, or use --all"
        )

    def on_volume(made: VolumeReport | Failure) -> None:
        if not quiet:
            # in one line, as they come; the rest is told at the end
            tell(_failed(made) if isinstance(made, mirroring.Failure) else _describe(made).partition("\n")[0])

    async def run(drain: anyio.Event) -> VolumesReport:
        return await mirroring.volumes(
            out,
            None if every else data_set_ids,
            on_volume=on_volume,
            drain=drain,
            cluster=cluster,
            **options,
        )

    report = run_until_interrupted(
        run,
        on_first=_ON_FIRST,
        on_second=_ON_SECOND,
        drained_s=drained_s(cluster),
    )
    if as_json:
        print_json(report.as_dict())
    n_volumes, took = counted(len(report.volumes), "volume"), lasting(report.elapsed_s)
    lines = [f"{n_volumes}, {len(report.failures)} failed, in {took}; {report.location}"]
    lines += listed(report.failures, _failed, "failed: {} more; --json lists all".format)
    lines += listed(
        [each for volume in report.volumes for each in volume.damaged],
        lambda each: f"left out: {each.item}: {each.message}",
        "left out: {} more; --json lists all".format,
    )
    lines += [f"note: {note}" for note in report.notes]
    if report.interrupted:
        lines.append("interrupted; the same command continues")
    tell("\n".join(lines))
    if report.interrupted:
        raise typer.Exit(ExitCode.INTERRUPTED)
    if not report.volumes and not report.failures:
        raise typer.Exit(ExitCode.NOTHING_MATCHED)
    if report.failures or any(each.damaged for each in report.volumes):
        raise typer.Exit(ExitCode.SOME_FAILED)


def _failed(failure: Failure) -> str:
    return f"failed: {failure.item}: {failure.message}"


def _make_one(out: str, data_set_id: int | None, options: _Options, *, as_json: bool, quiet: bool) -> None:
    from asyncfetch import mirroring

    async def run(drain: anyio.Event) -> VolumeReport:
        with _progress(quiet=quiet) as on_progress:
            return await mirroring.volume(out, data_set_id, on_progress=on_progress, drain=drain, **options)

    report = run_until_interrupted(run, on_first=_ON_FIRST, on_second=_ON_SECOND)
    if as_json:
        print_json(report.as_dict())
    tell(_describe(report))
    tell_damage(report.notes, report.location)
    if report.interrupted:
        raise typer.Exit(ExitCode.INTERRUPTED)
    if report.damaged:
        raise typer.Exit(ExitCode.SOME_FAILED)


def _describe(report: VolumeReport) -> str:
    n_p, n_i, n_r = report.shape
    what = f"volume of data set {report.data_set_id} {report.view}"
    if report.interrupted:
        return f"{what} interrupted after {counted(report.n_written, 'shard')}; the same command continues it"
    voxels = f"{n_p} x {n_i} x {n_r} voxels (p, i, r) of {report.um:g} µm"
    if report.n_written or report.n_kept:
        line = (
            f"{what}: {voxels} in {counted(report.n_levels, 'level')} from "
            f"{counted(report.n_planes, 'plane')}; "
            f"{counted(report.n_written, 'shard')} written, {report.n_kept} kept, in {lasting(report.elapsed_s)}"
        )
    else:
        line = f"{what} is up to date: {voxels}"
    left_out = [*report.damaged, *report.unplaced]
    told = [f"left out: {each.item}: {each.message}" for each in left_out]
    gaps = _gaps(report, bridged=False) + _gaps(report, bridged=True)
    return "\n".join([line, *_shortened(told), *gaps])


def _gaps(report: VolumeReport, *, bridged: bool) -> list[str]:
    """Return a line for each gap that is filled, or that is not, and above them what to do about them."""
    gaps = [gap for gap in report.gaps if gap.is_bridged == bridged]
    if not gaps:
        return []
    usual = (
        ""
        if report.usual_gap_um is None
        else f"; the usual distance between planes is {report.usual_gap_um:.0f} µm"
    )
    n_gaps = counted(len(gaps), "gap")
    if bridged:
        title = (
            f"filled: {n_gaps} between planes, wider than usual{usual}; --max-gap UM leaves wider ones empty"
        )
    else:
        title = (
            f"left empty: {n_gaps} between planes, wider than {report.max_gap_um:.0f} µm{usual}; "
            "--max-gap UM fills gaps up to that width"
        )
    return [title, *_shortened([f"  {_gap(gap)}" for gap in gaps])]


def _gap(gap: VolumeGap) -> str:
    first, last = gap.section_numbers
    start, end = gap.slice_um
    return f"{gap.width_um:.0f} µm from section {first} to {last}, at {start:.0f} to {end:.0f} µm"


def _shortened(lines: list[str]) -> list[str]:
    return listed(lines, str, "  {} more; --json lists all".format)


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Callable[[int, int], None] | None]:
    """Show the shards that are done on stderr, where that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True, highlight=False, emoji=False, markup=False)
    if quiet or not console.is_terminal:
        yield None
        return
    columns = (TextColumn("shards"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("shards", total=None)
        yield lambda n_done, n_all: progress.update(task, completed=n_done, total=n_all)
