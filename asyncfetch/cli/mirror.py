"""``asyncfetch mirror`` and ``asyncfetch resume``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asyncfetch.cli.app import app, print_json, report_errors, settings_from, tell
from asyncfetch.cli.exits import ExitCode, exit_code_of_report
from asyncfetch.cli.interrupts import run_until_interrupted
from asyncfetch.cli.listeners import open_listeners
from asyncfetch.errors import SelectionError
from asyncfetch.events import ignore

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import anyio

    from asyncfetch.events import Event, Listener
    from asyncfetch.mirroring import Report

__all__ = ["conclude", "describe", "mirror", "resume", "run_to_report"]

_MOST_LISTED = 20
# what a spreadsheet writes around a cell, and after the last one that is filled
_AROUND_A_LINE = " \t\v\f\u00a0\"',;"
_HOLDERS = {
    "budget": "memory (--memory)",
    "window": "a free connection (--jobs)",
    "host": "the server to be back",
    "rate": "the rate (--rate)",
    "server": "the server",
    "retry": "another attempt",
    "decode": "decoding",
    "write": "warping and writing",
}

BaseUrl = Annotated[
    str | None,
    typer.Option(metavar="URL", help="Where the API answers.", show_default="https://api.brain-map.org"),
]
Chosen = Annotated[
    list[str],
    typer.Argument(
        metavar="SELECTION...",
        help="dataset:ID, gene:ACRONYM, product:ID, atlas:ID, image:ID, or @FILE with one of these on each line "
        "(@- reads stdin); several allowed.",
    ),
]
Um = Annotated[
    str | None,
    typer.Option(
        metavar="PITCH",
        help='Pitch of the registered grid in µm, which picks the tier that is fetched; "full" fetches and '
        "registers at full resolution.",
        show_default="25",
    ),
]
Downsample = Annotated[
    str | None, typer.Option(metavar="N", help="Fix the tier that is fetched: halved N times.")
]
Views = Annotated[
    list[str] | None,
    typer.Option(metavar="VIEWS", help="Such as image,expression; several allowed.", show_default="image"),
]
Layers = Annotated[
    list[str] | None,
    typer.Option(
        metavar="LAYERS",
        help="Of source, sections and registered; several allowed.",
        show_default="source,registered",
    ),
]
NumericExpression = Annotated[
    bool | None,
    typer.Option(
        "--numeric-expression",
        help="Store the view expression as levels from 0 to 255 instead of colours.",
        show_default=False,
    ),
]
Jobs = Annotated[
    str | None,
    typer.Option(
        metavar="N",
        help='Image requests in flight; "auto" finds how many the server bears.',
        show_default="auto",
    ),
]
Fetch = Annotated[
    str | None,
    typer.Option(
        metavar="HOW",
        help="images, tiles (boxes of an image), or auto: tiles for regions and for images beyond the budget.",
        show_default="auto",
    ),
]
Roi = Annotated[
    str | None,
    typer.Option(
        metavar="X,Y,W,H|structure:NAME",
        help="Fetch this region of every section alone, in full-resolution pixels, or the box around the centre of a "
        "structure, by acronym or id; needs --layers without source.",
    ),
]
RoiUm = Annotated[
    str | None,
    typer.Option(
        "--roi-um",
        metavar="P0:P1,I0:I1,R0:R1",
        help="Fetch this region of the reference space alone, in µm; needs --layers without source.",
    ),
]
RoiSpace = Annotated[
    str | None,
    typer.Option(
        "--roi-space",
        metavar="SPACE",
        help="The reference space that --roi-um is in, 9 or 10; it is converted for data sets in the other.",
        show_default="9",
    ),
]
Pad = Annotated[
    str | None,
    typer.Option(
        metavar="LENGTH",
        help="How far the box around a structure reaches from its centre, such as 1000um or 1mm.",
        show_default="500um",
    ),
]
Rate = Annotated[
    str | None,
    typer.Option("--rate", metavar="N", help="Most requests started in any second.", show_default="10"),
]
Bandwidth = Annotated[
    str | None,
    typer.Option(metavar="SIZE", help="Most bytes received a second, such as 4MB.", show_default="no limit"),
]
Hedge = Annotated[
    bool | None,
    typer.Option(
        "--hedge",
        help="Ask a second time for images that take longer than almost all others.",
        show_default=False,
    ),
]
LogJson = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="Add every event to a file, as a line of JSON."),
]
Metrics = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|:PORT", help="Figures for Prometheus: a text file, or a port of this machine to ask."
    ),
]
Memory = Annotated[
    str | None,
    typer.Option(
        "--memory", metavar="SIZE", help="Budget for decoded pixels, such as 1GiB.", show_default="1GiB"
    ),
]
Workers = Annotated[
    str | None, typer.Option(metavar="N", help="Threads that decode, warp and write.", show_default="cores")
]
Config = Annotated[Path | None, typer.Option(metavar="FILE", help="Settings as a TOML file.")]
# Every command that has it is recorded by `report_errors`.
Record = Annotated[
    Path | None,
    typer.Option(
        "--record",
        metavar="FILE",
        help="Keep every answer of the server, without secrets, for serve --replay.",
    ),
]
Wait = Annotated[
    bool,
    typer.Option("--wait", help="Wait until a run that writes to the store has ended.", show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the report as JSON on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]


@app.command()
@report_errors
def mirror(
    selection: Chosen,
    out: Annotated[str, typer.Option("--out", "-o", metavar="OUT", help="The store: a directory.")],
    um: Um = None,
    downsample: Downsample = None,
    view: Views = None,
    layers: Layers = None,
    codec: Annotated[
        str | None,
        typer.Option(metavar="CODEC", help="zstd, blosc-lz4, jpegxl or none.", show_default="zstd"),
    ] = None,
    interpolation: Annotated[
        str | None,
        typer.Option(
            metavar="HOW",
            help="How planes are sampled: nearest, linear, cubic or lanczos.",
            show_default="linear",
        ),
    ] = None,
    fill: Annotated[
        str | None,
        typer.Option(
            metavar="LEVEL", help="Grey level of planes beside the image, 0 to 255.", show_default="0"
        ),
    ] = None,
    fetch: Fetch = None,
    roi: Roi = None,
    roi_um: RoiUm = None,
    roi_space: RoiSpace = None,
    pad: Pad = None,
    parallel: Annotated[
        bool | None,
        typer.Option(
            "--parallel", help="atldld's approximation: sections parallel to the grid.", show_default=False
        ),
    ] = None,
    numeric_expression: NumericExpression = None,
    base_url: BaseUrl = None,
    jobs: Jobs = None,
    rate: Rate = None,
    bandwidth: Bandwidth = None,
    hedge: Hedge = None,
    memory: Memory = None,
    workers: Workers = None,
    config: Config = None,
    record: Record = None,
    log_json: LogJson = None,
    metrics: Metrics = None,
    wait: Wait = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Mirror data sets, whole products, atlases or single images into a store.

    What the store holds already is not fetched again. Genes and products leave out data sets that failed.
    """
    settings = settings_from(
        config,
        um=um,
        downsample=downsample,
        views=view,
        layers=layers,
        codec=codec,
        interpolation=interpolation,
        fill=fill,
        fetch=fetch,
        roi=roi,
        roi_um=roi_um,
        roi_space=roi_space,
        pad_um=pad,
        parallel=parallel,
        numeric_expression=numeric_expression,
        base_url=base_url,
        jobs=jobs,
        requests_per_s=rate,
        bytes_per_s=bandwidth,
        hedge=hedge,
        memory_bytes=memory,
        workers=workers,
    )
    wanted = expand_files(selection)
    from asyncfetch import mirroring

    async def run(on_event: Listener, drain: anyio.Event) -> Report:
        return await mirroring.mirror(
            wanted, out, settings=settings, on_event=on_event, drain=drain, wait=wait
        )

    with open_listeners(log_json, metrics) as listener:
        report = run_to_report(run, quiet=quiet, also=listener)
    # an address is asked again only where it is named again; one with a password is not printed
    named = f" --base-url {base_url}" if base_url and "@" not in base_url else ""
    conclude(report, as_json=as_json, go_on=f"asyncfetch resume {report.location}{named}")


@app.command()
@report_errors
def resume(
    out: Annotated[str, typer.Argument(metavar="OUT", help="The store of an interrupted run.")],
    base_url: BaseUrl = None,
    jobs: Jobs = None,
    rate: Rate = None,
    bandwidth: Bandwidth = None,
    hedge: Hedge = None,
    memory: Memory = None,
    workers: Workers = None,
    config: Config = None,
    record: Record = None,
    log_json: LogJson = None,
    metrics: Metrics = None,
    wait: Wait = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Go on with the runs of a store that did not end; only what has no commit is fetched."""
    given = settings_from(
        config,
        base_url=base_url,
        jobs=jobs,
        requests_per_s=rate,
        bytes_per_s=bandwidth,
        hedge=hedge,
        memory_bytes=memory,
        workers=workers,
    )
    from asyncfetch import mirroring

    async def run(on_event: Listener, drain: anyio.Event) -> Report:
        return await mirroring.resume(
            out, settings=given, base_url=base_url, on_event=on_event, drain=drain, wait=wait
        )

    with open_listeners(log_json, metrics) as listener:
        report = run_to_report(run, quiet=quiet, also=listener)
    conclude(report, as_json=as_json)


def run_to_report[T](
    run: Callable[[Listener, anyio.Event], Awaitable[T]], *, quiet: bool = False, also: Listener = ignore
) -> T:
    """Run with progress; the first interrupt drains, the second stops.

    Parameters
    ----------
    run : callable
        Takes a listener and an event which, once set, lets the run start nothing more.
    quiet : bool
        Show no progress.
    also : callable, optional
        Called with each event, besides the progress.

    Raises
    ------
    AsyncFetchError
        The run could not go on.
    KeyboardInterrupt
        The run was stopped by a second interrupt.
    """
    from asyncfetch.cli.progress import show_progress

    with show_progress(quiet=quiet) as show:

        def listener(event: Event) -> None:
            show(event)
            also(event)

        return run_until_interrupted(
            lambda drain: run(listener, drain),
            on_first="stopping when the sections in flight are done; interrupt again to stop at once",
            on_second="stopped; what is committed stays, and `asyncfetch resume` goes on from there",
        )


def expand_files(selection: list[str]) -> list[str]:
    """Put the selections of a file in the place of each ``@FILE``, and those of stdin in the place of ``@-``.

    Blank lines and what follows a ``#`` are left out. A line may hold several selections, and may be a line of a
    spreadsheet: quotes around it and separators at its end do not count.

    Raises
    ------
    SelectionError
        A file cannot be read or holds nothing, or a line of it is not valid; the message names both.
    """
    return [each for item in selection for each in (_listed_in(item[1:]) if item[:1] == "@" else [item])]


def _listed_in(location: str) -> list[str]:
    from asyncfetch.cli.reading import read_text
    from asyncfetch.mirroring import parse_selection

    name = "stdin" if location == "-" else location
    items: list[str] = []
    for number, line in enumerate(read_text(location, "the selection").split("\n"), start=1):
        text = line.partition("#")[0].strip(_AROUND_A_LINE)
        if not text:
            continue
        if text.startswith("@"):
            raise SelectionError(
                f"{name}, line {number}: a list cannot name another list; give {text} as an argument of its own"
            )
        try:
            parse_selection(text)
        except SelectionError as error:
            raise SelectionError(f"{name}, line {number}: {error.message}") from None
        items.append(text)
    if not items:
        raise SelectionError(f"{name} holds no selections; write one on each line, such as dataset:479")
    return items


def conclude(report: Report, *, as_json: bool, go_on: str | None = None) -> None:
    """Print what a run did and end the command with its exit code; `go_on` as for `describe`."""
    if as_json:
        print_json(report.as_dict())
    tell(describe(report, go_on))
    code = exit_code_of_report(report)
    if code != ExitCode.DONE:
        raise typer.Exit(code)


def describe(report: Report, go_on: str | None = None) -> str:
    """Return what a run did, in a few lines for people.

    Parameters
    ----------
    report : Report
        The run.
    go_on : str, optional
        The command that goes on with a run that was interrupted; ``asyncfetch resume`` unless told otherwise.
    """
    lines = [
        (
            f"{report.n_committed} sections written, {report.n_skipped} stored already, {report.n_failed} failed; "
            f"{report.n_requests} requests ({report.n_retries} retries), {report.received_bytes / 1e6:.1f} MB, "
            f"{report.pixels / 1e6:.0f} MPix in {report.elapsed_s:.1f} s; {report.location}"
        )
    ]
    if held := report.figures.held_back_by():
        shares = ", ".join(f"{_HOLDERS[cause]} {share:.0%}" for cause, share in held.items() if share >= 0.05)
        goodput = report.goodput_bytes_per_s / 1e6
        most = f", at most {report.figures.most_window} images at once" if report.figures.most_window else ""
        lines.append(f"{goodput:.2f} MB/s{most}; waited for: {shares}")
    lines += _listed("failed", report.failures)
    lines += [f"note: {note}" for note in report.notes]
    lines += _listed("stored but not registered", report.unplaced)
    if report.interrupted:
        lines.append(f"interrupted; go on with: {go_on or f'asyncfetch resume {report.location}'}")
    return "\n".join(lines)


def _listed(title: str, failures: list[Any]) -> list[str]:
    lines = [
        f"{title}: {each.item}{f' {each.view}' if each.view else ''}: {each.message}"
        for each in failures[:_MOST_LISTED]
    ]
    if len(failures) > _MOST_LISTED:
        lines.append(f"{title}: {len(failures) - _MOST_LISTED} more; --json lists all")
    return lines
