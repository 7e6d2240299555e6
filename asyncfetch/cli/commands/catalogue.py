"""``asyncfetch catalogue``: what choosing needs, fetched once and kept on this machine or in a store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from asyncfetch.cli.configuration import Given
from asyncfetch.cli.console import echo, print_json, tell
from asyncfetch.cli.options import SERVER, AsJson, Quiet, Record, takes
from asyncfetch.cli.running import run_interruptible
from asyncfetch.errors import SelectionError
from asyncfetch.names import did_you_mean
from asyncfetch.text import counted

if TYPE_CHECKING:
    from pathlib import Path

    from asyncfetch.catalogue import CatalogueChange
    from asyncfetch.settings import Settings

__all__ = ["catalogue"]

_ACTIONS = ("update", "show")


def catalogue(
    action: Annotated[
        str,
        typer.Argument(
            metavar="update|show",
            help="Bring the catalogue up to date, or show what it holds and where it lies.",
        ),
    ],
    given: Annotated[Given, takes(SERVER)],
    path: Annotated[
        str | None,
        typer.Option(
            "--catalogue",
            metavar="PATH",
            help="A file, or a store that the catalogue is to lie in.",
            show_default="the user's folder of data",
        ),
    ] = None,
    all_images: Annotated[
        bool,
        typer.Option(
            "--all-images", help="List all section images again, not only those of new and changed data sets."
        ),
    ] = False,
    record: Record = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Fetch what choosing needs, once, or show what is there.

    search, plan and mirror choose from it without asking the API. An update that was interrupted continues where it
    was; a later one brings only what has changed.
    """
    from asyncfetch.catalogue import catalogue_path, path_in_store

    if action.lower() not in _ACTIONS:
        raise SelectionError(f"catalogue {action}: write update or show{did_you_mean(action, _ACTIONS)}")
    settings = given.settings()
    where = catalogue_path(settings.base_url) if path is None else path_in_store(path)
    if action.lower() == "show":
        _show(where, as_json=as_json)
        return
    changes = run_interruptible(lambda: _update(settings, where, all_images=all_images, quiet=quiet))
    rows = [_told(change) for change in changes]
    if as_json:
        print_json({"catalogue": str(where), "models": rows})
        return
    for row in rows:
        odd = f"; {counted(row['n_odd'], 'row')} cannot be read" if row["n_odd"] else ""
        echo(
            f"{row['model']}: {counted(row['n_rows'], 'row')}, {row['n_new']} new, {row['n_changed']} changed, "
            f"{row['n_removed']} removed{odd}"
        )
    tell(f"the catalogue is at {where}")


async def _update(settings: Settings, where: Path, *, all_images: bool, quiet: bool) -> list[CatalogueChange]:
    from asyncfetch.catalogue import CatalogueFile, update_catalogue
    from asyncfetch.client import Client

    def show(change: CatalogueChange) -> None:
        if not quiet:
            tell(f"{change.model}: {change.n_new} new, {change.n_changed} changed so far")

    with CatalogueFile(where, create=True) as file:
        async with Client(settings=settings) as client:
            return await update_catalogue(
                client, file, base_url=settings.base_url, all_images=all_images, on_page=show
            )


def _show(where: Path, *, as_json: bool) -> None:
    from asyncfetch.catalogue import CatalogueFile
    from asyncfetch.catalogue.schema import MODELS

    with CatalogueFile(where) as file:
        n_rows = {
            model.name: file.rows(f"SELECT count(*) FROM {model.table}")[0][0]  # noqa: S608 - ours
            for model in MODELS
        }
        facts: dict[str, Any] = {name: file.fact(name) for name in ("base_url", "updated")}
    if as_json:
        print_json({"catalogue": str(where), **facts, "n_rows": n_rows})
        return
    echo(f"the catalogue of {facts['base_url']} at {where}")
    echo(
        f"updated {facts['updated']}"
        if facts["updated"]
        else "unfinished; complete it with: asyncfetch catalogue update"
    )
    for name, n in n_rows.items():
        echo(f"{name}: {counted(n, 'row')}")


def _told(change: CatalogueChange) -> dict[str, Any]:
    import msgspec

    return msgspec.structs.asdict(change)
