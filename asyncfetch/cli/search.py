"""``asyncfetch search``: which data sets the API has, and the sections of one."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asyncfetch.cli.app import app, echo, print_json, report_errors, settings_from
from asyncfetch.cli.console import is_stdout_read
from asyncfetch.cli.interrupts import run_interruptible
from asyncfetch.cli.mirror import BaseUrl, Config, Rate, Record  # noqa: TC001 - typer reads annotations
from asyncfetch.errors import NotFoundError, SelectionError

if TYPE_CHECKING:
    from asyncfetch.allen import Query, SectionDataSet
    from asyncfetch.settings import Settings

__all__ = ["search"]

_SECTION_FIELDS = (
    "id",
    "section_number",
    "width",
    "height",
    "resolution",
    "tier_count",
    "image_type",
    "failed",
    "expression",
)


@app.command()
@report_errors
def search(
    selection: Annotated[
        str | None,
        typer.Argument(
            metavar="[SELECTION]",
            help="dataset:ID lists the sections of that data set; gene:ACRONYM and product:ID are the options.",
            show_default=False,
        ),
    ] = None,
    gene: Annotated[
        str | None, typer.Option(metavar="NAME", help="Acronym or id of a gene, such as Pvalb.")
    ] = None,
    product: Annotated[
        str | None, typer.Option(metavar="NAME", help="Abbreviation or id of a product, such as Mouse.")
    ] = None,
    plane: Annotated[
        str | None, typer.Option(metavar="NAME", help="Plane of section: coronal, sagittal, …, or its id.")
    ] = None,
    specimen: Annotated[int | None, typer.Option(metavar="ID", help="Of a specimen.")] = None,
    failed: Annotated[
        bool, typer.Option("--failed", help="Those that failed, instead of the others.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")] = False,
    base_url: BaseUrl = None,
    rate: Rate = None,
    config: Config = None,
    record: Record = None,
) -> None:
    """List data sets of the API that meet all conditions, or the sections of one, as tab-separated columns.

    Exit code 4: there are none.
    """
    from asyncfetch.mirroring import parse_selection

    given: dict[str, Any] = {"gene": gene, "product": product, "plane": plane, "specimen": specimen}
    conditions: dict[str, Any] = {name: _value(value) for name, value in given.items() if value is not None}
    settings = settings_from(config, base_url=base_url, requests_per_s=rate)
    if selection is not None:
        (chosen, *more) = parse_selection(selection)
        if more or chosen.kind in {"image", "atlas"} or (chosen.kind == "dataset" and (conditions or failed)):
            raise SelectionError(
                f"{selection!r} cannot be searched: write one dataset:ID alone, a gene:ACRONYM or a product:ID"
            )
        if chosen.kind == "dataset":
            _print(run_interruptible(partial(_sections, settings, int(chosen.id))), as_json=as_json)
            return
        if chosen.kind in conditions:
            raise SelectionError(f"{selection} and --{chosen.kind} contradict each other: take one of them")
        conditions[chosen.kind] = chosen.id
    if not conditions and not failed:
        raise SelectionError("name a --gene, --product, --plane or --specimen, --failed, or a dataset:ID")
    from asyncfetch.client.queries import data_sets_query

    query = data_sets_query(**conditions, failed=failed)
    if not run_interruptible(partial(_print_data_sets, settings, query, as_json)):
        raise NotFoundError("no data set meets the conditions; check their spelling, which counts capitals")


def _value(value: str | int) -> str | int:
    return int(value) if isinstance(value, str) and value.isdecimal() else value


async def _print_data_sets(settings: Settings, query: Query, as_json: bool) -> int:
    """Print data sets, as a table while later pages are asked for, and return how many there are."""
    from asyncfetch.allen import parse_data_set
    from asyncfetch.client import Client

    found: list[dict[str, Any]] = []
    n = 0
    async with Client(settings=settings) as client, client.open_rows(query) as rows:
        async for row in rows:
            each = _data_set(parse_data_set(row))
            n += 1
            if as_json:
                found.append(each)
                continue
            if n == 1:
                echo("\t".join(each))
            echo(_line(each))
            if not is_stdout_read():
                break
    if as_json and found:
        print_json(found)
    return n


def _data_set(data_set: SectionDataSet) -> dict[str, Any]:
    from asyncfetch.errors import AlignmentError

    try:
        plane: str | None = str(data_set.plane)
    except AlignmentError:
        plane = None
    return {
        "id": data_set.id,
        "plane": plane,
        "reference_space_id": data_set.reference_space_id,
        "section_thickness": data_set.section_thickness,
        "failed": data_set.failed,
        "genes": [gene.acronym or str(gene.id) for gene in data_set.genes],
        "products": [product.abbreviation or str(product.id) for product in data_set.products],
        "name": data_set.name,
    }


async def _sections(settings: Settings, data_set_id: int) -> list[dict[str, Any]]:
    from asyncfetch.client import Client

    async with Client(settings=settings) as client:
        data_set = await client.data_set(data_set_id)
    sections = sorted(
        data_set.section_images,
        key=lambda each: (each.section_number is None, each.section_number or 0, each.id),
    )
    if not sections:
        raise NotFoundError(f"data set {data_set_id} has no section images")
    return [{name: getattr(section, name) for name in _SECTION_FIELDS} for section in sections]


def _print(rows: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print_json(rows)
        return
    echo("\t".join(rows[0]))
    for row in rows:
        echo(_line(row))


def _line(row: dict[str, Any]) -> str:
    return "\t".join(map(_shown, row.values()))


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    return "" if value is None else str(value)
