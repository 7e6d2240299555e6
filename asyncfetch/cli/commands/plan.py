"""``asyncfetch plan``: what a mirror would cost, before an image is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from asyncfetch.cli.configuration import settings_from
from asyncfetch.cli.console import echo, print_json, tell
from asyncfetch.cli.exits import ExitCode, exit_code_of_forecast
from asyncfetch.cli.options import (  # noqa: TC001 - typer reads annotations
    BaseUrl,
    Chosen,
    Config,
    Downsample,
    Fetch,
    Layers,
    Pad,
    Rate,
    Record,
    Roi,
    RoiSpace,
    RoiUm,
    Um,
    Views,
)
from asyncfetch.cli.running import run_interruptible
from asyncfetch.cli.selections import expand_files
from asyncfetch.text import counted

if TYPE_CHECKING:
    from asyncfetch.mirroring import Forecast

__all__ = ["plan"]

_MOST_LISTED = 20


def plan(
    selection: Chosen,
    out: Annotated[
        str | None,
        typer.Option("--out", "-o", metavar="OUT", help="A store; what it holds already is not counted."),
    ] = None,
    um: Um = None,
    downsample: Downsample = None,
    view: Views = None,
    layers: Layers = None,
    fetch: Fetch = None,
    roi: Roi = None,
    roi_um: RoiUm = None,
    roi_space: RoiSpace = None,
    pad: Pad = None,
    base_url: BaseUrl = None,
    rate: Rate = None,
    config: Config = None,
    record: Record = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON on stdout.")] = False,
) -> None:
    """Tell what a mirror would fetch: requests, bytes, pixels and minutes; nothing is written.

    The API is asked for records alone. Each image counts as two requests, because the API answers with a redirect
    first. Bytes are an estimate on the high side; the minutes are what the rate allows, and a slow server takes longer.
    """
    settings = settings_from(
        config,
        um=um,
        downsample=downsample,
        views=view,
        layers=layers,
        fetch=fetch,
        roi=roi,
        roi_um=roi_um,
        roi_space=roi_space,
        pad_um=pad,
        base_url=base_url,
        requests_per_s=rate,
    )
    wanted = expand_files(selection)
    from asyncfetch import mirroring

    async def body() -> Forecast:
        return await mirroring.forecast(wanted, out, settings=settings)

    found = run_interruptible(body)
    if as_json:
        print_json(found.as_dict())
    elif found.n_data_sets:
        echo(_described(found))
    for note in found.notes[:_MOST_LISTED]:
        tell(f"note: {note}")
    if len(found.notes) > _MOST_LISTED:
        tell(f"note: {len(found.notes) - _MOST_LISTED} more; --json lists all")
    for failure in found.failures[:_MOST_LISTED]:
        tell(f"{failure.item}: {failure.message}")
    if len(found.failures) > _MOST_LISTED:
        tell(f"{len(found.failures) - _MOST_LISTED} more cannot be had; --json lists all")
    code = exit_code_of_forecast(found)
    if code != ExitCode.DONE:
        raise typer.Exit(code)


def _described(found: Forecast) -> str:
    sets = counted(found.n_data_sets, "data set")
    lines = [
        f"{sets}: {counted(found.n_to_fetch, 'image')} to fetch, {found.n_committed} stored already",
        f"{counted(found.n_requests, 'request')}, {found.n_metadata_requests} of them for records",
        f"about {found.estimated_bytes / 1e6:.1f} MB, {found.pixels / 1e6:.1f} MPix",
        f"at least {_time(found.minutes)} at {found.requests_per_s:g} requests a second",
    ]
    if found.n_unplaced:
        lines.insert(1, f"{found.n_unplaced} of them cannot be registered")
    return "\n".join(lines)


def _time(minutes: float) -> str:
    return f"{minutes:.1f} minutes" if minutes < 120 else f"{minutes / 60:.1f} hours"
