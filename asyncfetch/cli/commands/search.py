"""``asyncfetch search``: what there is, by the API or the catalogue."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asyncfetch.cli.cataloguing import open_catalogue
from asyncfetch.cli.configuration import Given
from asyncfetch.cli.console import echo, is_stdout_read, print_json, tell
from asyncfetch.cli.exits import ExitCode
from asyncfetch.cli.narrowing import NARROWING, Narrowed
from asyncfetch.cli.options import SERVER, AsJson, Record, takes
from asyncfetch.cli.running import run_interruptible
from asyncfetch.cli.tables import Table, TableFormat, require_writable, write_table
from asyncfetch.errors import NotFoundError, SelectionError
from asyncfetch.text import counted, listed, shown

if TYPE_CHECKING:
    from asyncfetch.catalogue import CatalogueFile
    from asyncfetch.client import Client
    from asyncfetch.client.choosing import Chooser
    from asyncfetch.client.searching import Search
    from asyncfetch.selecting import Selection
    from asyncfetch.settings import Settings

__all__ = ["search"]

_MAX_NAME = 80
_MAX_CELL = 500
_FORMATS = ("csv", "json", "parquet")
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

type Row = dict[str, Any]


def search(
    given: Annotated[Given, takes(SERVER)],
    narrowed: Annotated[Narrowed, NARROWING],
    terms: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[WHAT] [TERM]...",
            help="datasets (default), images, genes, products, structures or atlases; then selections such as "
            "gene:Pvalb for the first two, or parts of names for the others. dataset:ID alone lists its sections.",
            show_default=False,
        ),
    ] = None,
    data_set: Annotated[
        list[str] | None, typer.Option("--dataset", metavar="ID", help="Id of a data set. May be repeated.")
    ] = None,
    gene: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Acronym or id of a gene, such as Pvalb. May be repeated."),
    ] = None,
    product: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Abbreviation or id of a product, such as Mouse. May be repeated."),
    ] = None,
    specimen: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Id of a specimen. May be repeated.")
    ] = None,
    reference_space: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Reference space, such as 9. May be repeated.")
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Ask the catalogue alone, never the API.")
    ] = False,
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FILE", help="Write a table to this file.")
    ] = None,
    fmt: Annotated[
        str | None, typer.Option("--format", metavar="csv|json|parquet", help="Of a table.")
    ] = None,
    record: Record = None,
    as_json: AsJson = False,
) -> None:
    """List data sets, images, genes, products, structures or atlases.

    All conditions have to hold. Columns are aligned on a terminal and separated by tabs elsewhere. Exit code 3: some
    records cannot be read; they are named on stderr, and the others are listed. 4: there are none.
    """
    settings = given.settings()
    table_format = _table_format(fmt)
    if output is not None or table_format is not None:
        require_writable(output, table_format)
    options = {"dataset": data_set, "gene": gene, "product": product, "specimen": specimen}
    sought = _sought(terms or [], narrowed, options, _ids("reference-space", reference_space or []))
    if isinstance(sought, int):
        rows, unreadable = run_interruptible(partial(_sections, settings, sought))
    else:
        sought.check()
        with open_catalogue(narrowed.catalogue, settings.base_url, is_needed=offline) as catalogue:
            rows, unreadable = run_interruptible(partial(_search, settings, sought, catalogue))
    if rows:
        _print(rows, sought, output, table_format, as_json=as_json)
    _conclude(unreadable)


def _table_format(fmt: str | None) -> TableFormat | None:
    from asyncfetch.names import did_you_mean

    if fmt is not None and fmt not in _FORMATS:
        raise SelectionError(f"--format {fmt} must be csv, json or parquet{did_you_mean(fmt, _FORMATS)}")
    return fmt  # type: ignore[return-value]  # one of the three


def _sought(
    terms: list[str], narrowed: Narrowed, options: dict[str, list[str] | None], spaces: list[int]
) -> Search | int:
    """Return what is sought; the id of a data set stands for its sections."""
    from asyncfetch.client.searching import Search, sought_called
    from asyncfetch.selecting.selection import kind_called, parse_selection

    filters = narrowed.filters()
    required = tuple(group for kind, given in options.items() if given and (group := _group(kind, given)))
    what = sought_called(terms[0]) if terms else None
    rest = terms if what is None else terms[1:]
    if what is not None and what not in {"datasets", "images"}:
        return Search(what, tuple(rest), (), required, filters, tuple(spaces))
    bare = None if narrowed.bare is None else kind_called(narrowed.bare)
    chosen = parse_selection(rest, bare) if rest else ()
    has_conditions = bool(required or spaces or str(filters))
    if what is None:
        _refuse_odd_forms(terms, chosen, options, has_conditions=has_conditions)
        if len(chosen) == 1 and chosen[0].kind == "dataset":
            return int(chosen[0].id)
    return Search(what or "datasets", (), chosen, required, filters, tuple(spaces))


def _refuse_odd_forms(
    terms: list[str],
    chosen: tuple[Selection, ...],
    options: dict[str, list[str] | None],
    *,
    has_conditions: bool,
) -> None:
    """Refuse what says neither what is sought nor which data sets are meant."""
    kinds = {each.kind for each in chosen}
    if not (chosen or has_conditions):
        raise SelectionError(
            "give a condition (--gene, --product, --plane, --specimen, --reference-space, --dataset or --failed), "
            "dataset:ID, or what is sought, such as: search genes pval"
        )
    if "dataset" in kinds and (has_conditions or len(chosen) > 1):
        raise SelectionError(
            f"{' '.join(terms)!r} cannot be searched; give one dataset:ID alone, or write: search datasets {terms[0]}"
        )
    if twice := [kind for kind in kinds if options.get(kind)]:
        raise SelectionError(f"{' '.join(terms)} and --{twice[0]} contradict each other; give one of them")


def _group(kind: str, given: list[str]) -> tuple[Selection, ...]:
    """Return the selections that an option stands for."""
    from asyncfetch.selecting import Selection, parse_selection

    words = [word.strip() for each in given for word in each.split(",") if word.strip()]
    if kind in {"dataset", "specimen"}:
        return tuple(Selection(kind, each) for each in _ids(kind, given))  # type: ignore[arg-type]  # of the two
    return tuple(each for word in words for each in parse_selection(f"{kind}:{word}"))


def _ids(option: str, given: list[str]) -> list[int]:
    words = [word.strip() for each in given for word in each.split(",")]
    try:
        ids = [int(word) for word in words if word]
    except ValueError:
        ids = [-1]
    if any(each < 0 for each in ids):
        raise SelectionError(f"--{option} takes ids such as 1,2,3, not {','.join(words)!r}")
    return ids


async def _search(
    settings: Settings, sought: Search, catalogue: CatalogueFile | None
) -> tuple[list[Row], list[str]]:
    """Return what is sought, by the names that are meant where they are spelled otherwise, and what cannot be read."""
    from asyncfetch.catalogue.choosing import CatalogueChooser
    from asyncfetch.client import Client
    from asyncfetch.client.choosing import ApiChooser

    unreadable: list[str] = []
    async with Client(settings=settings) as client:
        chooser: Chooser = ApiChooser(client) if catalogue is None else CatalogueChooser(catalogue)
        rows = await _found(client, catalogue, sought, unreadable)
        if not (rows or unreadable):
            spelled, advice = await _spelled(sought, chooser)
            if spelled != sought:
                rows = await _found(client, catalogue, spelled, unreadable)
            if not (rows or unreadable):
                what = "data set" if sought.what == "datasets" else sought.what.removesuffix("s")
                raise NotFoundError(f"no {what} {chooser.place} meets the conditions; {advice}")
    if chooser.note:
        tell(f"note: {chooser.note.replace('data sets were chosen', 'this is')}")
    return _narrowed_rows(rows, sought), unreadable


async def _found(
    client: Client, catalogue: CatalogueFile | None, sought: Search, unreadable: list[str]
) -> list[Row]:
    from asyncfetch.allen import row_id, shown_value
    from asyncfetch.catalogue.searching import search_catalogue
    from asyncfetch.client.searching import found_row, queries_of

    if catalogue is not None:
        return search_catalogue(catalogue, sought)
    found: dict[int, Row] = {}
    for query in queries_of(sought):
        odd_rows: list[tuple[int, Any]] = []
        for row in await client.rows(query, odd_rows=odd_rows):
            each = row_id(row)
            if each is None:
                unreadable.append(f"{query.model} {shown_value(row.get('id'))} has no id that can be one")
            else:
                found.setdefault(each, found_row(sought.what, row))
        unreadable += [
            f"row {position} is {shown(str(row), _MAX_NAME)}, not a record" for position, row in odd_rows
        ]
    return [found[each] for each in sorted(found)]


async def _spelled(sought: Search, chooser: Chooser) -> tuple[Search, str]:
    """Return a search by the names that are meant, and what to type where that finds nothing, either."""
    from asyncfetch.client.spelling import NAMED_KINDS
    from asyncfetch.selecting import Selection

    advice = "use fewer conditions, or other words"
    meant: dict[Selection, Selection] = {}
    for each in (*sought.selections, *(one for group in sought.required for one in group)):
        if not isinstance(each.id, str) or each.kind not in NAMED_KINDS:
            continue
        spelling = (await chooser.spellings(each.kind, [each.id]))[each.id]
        if spelling.other:
            meant[each] = Selection(each.kind, spelling.other)
            tell(f"note: {spelling.note}")
        elif not spelling.is_known:
            advice = f"there is no {each.kind} {shown(each.id, _MAX_NAME)}: {spelling.advice}"
    spelled = sought._replace(
        selections=tuple(meant.get(each, each) for each in sought.selections),
        required=tuple(tuple(meant.get(each, each) for each in group) for group in sought.required),
    )
    return spelled, advice


def _narrowed_rows(rows: list[Row], sought: Search) -> list[Row]:
    """Leave out what --every and --limit do."""
    if sought.what == "images" and sought.filters.every is not None:
        by_set: dict[Any, list[Row]] = {}
        for row in rows:
            by_set.setdefault(row["data_set_id"], []).append(row)
        kept = [
            row
            for several in by_set.values()
            for row in sorted(several, key=lambda each: each["section_number"] or 0)[:: sought.filters.every]
        ]
        rows = sorted(kept, key=lambda each: each["id"])
    return rows[: sought.filters.limit]


async def _sections(settings: Settings, data_set_id: int) -> tuple[list[Row], list[str]]:
    from asyncfetch.client import Client

    async with Client(settings=settings) as client:
        data_set = await client.data_set(data_set_id)
    sections = sorted(
        data_set.section_images,
        key=lambda each: (each.section_number is None, each.section_number or 0, each.id),
    )
    unreadable = [each.message for each in data_set.unreadable_sections]
    if not (sections or unreadable):
        raise NotFoundError(f"data set {data_set_id} has no section images")
    return [{name: getattr(section, name) for name in _SECTION_FIELDS} for section in sections], unreadable


def _print(
    rows: list[Row], sought: Search | int, output: str | None, fmt: TableFormat | None, *, as_json: bool
) -> None:
    if output is not None or fmt is not None:
        write_table(_table(rows, sought), output, fmt)
        return
    if as_json:
        print_json([{name: _listed(name, value) for name, value in row.items()} for row in rows])
        return
    lines = [list(rows[0]), *([_shown(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)] if sys.stdout.isatty() else None
    for cells in lines:
        if not is_stdout_read():
            return
        if widths is None:
            echo("\t".join(cells))
        else:
            echo("  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip())


def _table(rows: list[Row], sought: Search | int) -> Table:
    from asyncfetch.client.searching import COLUMNS

    types = COLUMNS["images"] | {"image_type": str} if isinstance(sought, int) else COLUMNS[sought.what]
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    # a table has integers for what is true or not
    kinds = {name: int if types.get(name, bool) is bool else types[name] for name in columns}
    return Table(
        {
            name: [value if value is None else kinds[name](value) for value in values]
            for name, values in columns.items()
        },
        kinds,
    )


def _listed(name: str, value: Any) -> Any:
    """Return the names of a cell as a list where there can be several."""
    return (value.split(",") if value else []) if name in {"genes", "products", "aliases"} else value


def _shown(value: Any) -> str:
    return "" if value is None else shown(value, _MAX_CELL)


def _conclude(unreadable: list[str]) -> None:
    """Name the records that cannot be read, and end the command with the code for it."""
    for line in listed(
        unreadable,
        "left out: {}".format,
        lambda n: f"left out: {counted(n, 'more record')} that cannot be read",
    ):
        tell(line)
    if unreadable:
        raise typer.Exit(ExitCode.SOME_FAILED)
