"""``asyncfetch plan``: what a mirror would cost, before an image is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from asyncfetch.cli.cataloguing import open_catalogue
from asyncfetch.cli.choices import read_lock, write_choices
from asyncfetch.cli.configuration import Given
from asyncfetch.cli.console import echo, print_json, tell
from asyncfetch.cli.exits import ExitCode, exit_code_of_estimate
from asyncfetch.cli.narrowing import NARROWING, Narrowed
from asyncfetch.cli.options import (
    MACHINE,
    RECIPE,
    REGION,
    SERVER,
    AsJson,
    Frozen,
    LockFile,
    Record,
    ReportFile,
    Selection,
    takes,
)
from asyncfetch.cli.reports import megapixels
from asyncfetch.cli.running import run_interruptible
from asyncfetch.cli.selections import Listed, expand_files
from asyncfetch.errors import SelectionError
from asyncfetch.text import counted, lasting, listed, sized

if TYPE_CHECKING:
    from asyncfetch.mirroring import Estimate

__all__ = ["plan"]


def plan(
    given: Annotated[Given, takes(RECIPE, REGION, SERVER, MACHINE)],
    narrowed: Annotated[Narrowed, NARROWING],
    selection: Selection = None,
    out: Annotated[
        str | None,
        typer.Option("--out", "-o", metavar="OUT", help="A store; what it already holds is not counted."),
    ] = None,
    lock: LockFile = None,
    frozen: Frozen = None,
    report_file: ReportFile = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Estimate from the catalogue alone, without the API.")
    ] = False,
    record: Record = None,
    as_json: AsJson = False,
) -> None:
    """Estimate the requests, bytes and time of a mirror.

    Takes the options of mirror. Nothing is written, and the API is asked for metadata only. Each image counts as two
    requests, because the API answers with a redirect first. Bytes are an estimate on the high side; the time is what
    the rate allows, and a slow server takes longer.
    """
    settings = given.settings()
    filters = narrowed.filters()
    if offline and frozen is not None:
        raise SelectionError("--frozen asks the API for its data sets; leave --offline out")
    locked = read_lock(frozen, selection or [], report_file, filters)
    wanted = expand_files(selection or [], narrowed.bare, narrowed.column) if locked is None else Listed()
    from asyncfetch import mirroring

    async def body() -> Estimate:
        return await mirroring.estimate(
            wanted, out, settings=settings, filters=filters, catalogue=catalogue, lock=locked
        )

    with open_catalogue(narrowed.catalogue, settings.base_url, is_needed=offline) as catalogue:
        found = run_interruptible(body)
    write_choices(found, lock, report_file, wanted.places)
    if as_json:
        print_json(found.as_dict())
    elif found.n_data_sets:
        echo(_described(found))
    told = listed(found.notes, "note: {}".format, "note: {} more; --json lists all".format)
    told += listed(
        found.failures,
        lambda each: f"{each.item}: {each.message}",
        "{} more are unavailable; --json lists all".format,
    )
    for line in told:
        tell(line)
    code = exit_code_of_estimate(found)
    if code != ExitCode.DONE:
        raise typer.Exit(code)


def _described(found: Estimate) -> str:
    sets = counted(found.n_data_sets, "data set")
    lines = [
        f"{sets}: {counted(found.n_to_fetch, 'image')} to fetch, {found.n_committed} already stored",
        f"{counted(found.n_requests, 'request')}, {found.n_metadata_requests} of them for records",
        f"about {sized(found.estimated_bytes)}, {megapixels(found.pixels)}",
        f"at least {lasting(60 * found.minutes)} at {found.requests_per_s:g} requests per second",
    ]
    if found.n_unplaced:
        lines.insert(1, f"{found.n_unplaced} of them cannot be registered")
    return "\n".join(lines)
