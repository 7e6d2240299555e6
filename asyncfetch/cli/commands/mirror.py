"""``asyncfetch mirror`` and ``asyncfetch resume``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from asyncfetch.cli.configuration import settings_from
from asyncfetch.cli.listeners import open_listeners
from asyncfetch.cli.options import (  # noqa: TC001 - typer reads annotations
    AsJson,
    Bandwidth,
    BaseUrl,
    Chosen,
    Config,
    Downsample,
    Fetch,
    Hedge,
    Jobs,
    Layers,
    LogJson,
    Memory,
    Metrics,
    NumericExpression,
    Pad,
    Quiet,
    Rate,
    Record,
    Roi,
    RoiSpace,
    RoiUm,
    Um,
    Views,
    Wait,
    Workers,
)
from asyncfetch.cli.reports import conclude
from asyncfetch.cli.running import run_to_report
from asyncfetch.cli.selections import expand_files

if TYPE_CHECKING:
    import anyio

    from asyncfetch.events import Listener
    from asyncfetch.mirroring import Report

__all__ = ["mirror", "resume"]


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
