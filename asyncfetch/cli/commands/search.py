"""``asyncfetch search``: which data sets the API has, and the sections of one."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asyncfetch.cli.configuration import Given
from asyncfetch.cli.console import echo, is_stdout_read, print_json, tell
from asyncfetch.cli.exits import ExitCode
from asyncfetch.cli.options import SERVER, AsJson, Record, takes
from asyncfetch.cli.running import run_interruptible
from asyncfetch.errors import NotFoundError, RecordError, SelectionError
from asyncfetch.text import counted, listed, shown

if TYPE_CHECKING:
    from asyncfetch.allen import Query, SectionDataSet
    from asyncfetch.client import Client
    from asyncfetch.settings import Settings

__all__ = ["search"]

# ids of the API have at most ten digits
_MAX_DIGITS = 18
_MAX_NAME = 80
_MAX_CELL = 500

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


def search(
    given: Annotated[Given, takes(SERVER)],
    selection: Annotated[
        str | None,
        typer.Argument(
            metavar="SELECTION",
            help="dataset:ID lists the sections of that data set; gene:ACRONYM and product:ID do what the options do.",
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
    plane: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Plane of section: coronal, sagittal, …, or its id. May be repeated."
        ),
    ] = None,
    specimen: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Id of a specimen. May be repeated.")
    ] = None,
    reference_space: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Reference space, such as 9. May be repeated.")
    ] = None,
    failed: Annotated[
        bool, typer.Option("--failed", help="Only data sets that failed, which are otherwise left out.")
    ] = False,
    with_failed: Annotated[bool, typer.Option("--with-failed", help="Also data sets that failed.")] = False,
    record: Record = None,
    as_json: AsJson = False,
) -> None:
    """List data sets of the API, or the sections of one.

    Lists the data sets that meet all conditions, as tab-separated columns. Exit code 3: some records cannot be read;
    they are named on stderr, and the others are listed. 4: there are none.
    """
    from asyncfetch.mirroring import parse_selection

    names: dict[str, Any] = {"gene": gene, "product": product, "plane": plane}
    ids: dict[str, Any] = {"ids": data_set, "specimen": specimen, "reference_space": reference_space}
    conditions: dict[str, list[Any]] = {name: _values(each) for name, each in names.items() if each}
    conditions |= {name: _ids(name, each) for name, each in ids.items() if each}
    settings = given.settings()
    if failed and with_failed:
        raise SelectionError("--failed and --with-failed contradict each other; give one of them")
    if selection is not None:
        chosen = parse_selection(selection)
        kind = chosen[0].kind
        is_data_set = kind == "dataset" and len(chosen) == 1 and not conditions and not failed
        if {each.kind for each in chosen} != {kind} or not (is_data_set or kind in {"gene", "product"}):
            raise SelectionError(
                f"{selection!r} cannot be searched; give one dataset:ID, a gene:ACRONYM or a product:ID"
            )
        if is_data_set:
            rows, unreadable = run_interruptible(partial(_sections, settings, int(chosen[0].id)))
            _print(rows, as_json=as_json)
            _conclude(unreadable)
            return
        if kind in conditions:
            raise SelectionError(f"{selection} and --{kind} contradict each other; give one of them")
        conditions[kind] = [each.id for each in chosen]
    if not conditions and not failed:
        raise SelectionError(
            "give a condition (--gene, --product, --plane, --specimen, --reference-space, --dataset or --failed), "
            "or dataset:ID"
        )
    wanted = None if with_failed else failed
    _conclude(run_interruptible(partial(_search, settings, conditions, wanted, as_json)))


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


def _ids(name: str, given: list[str]) -> list[int]:
    words = [word.strip() for each in given for word in each.split(",")]
    try:
        return [int(word) for word in words if word]
    except ValueError:
        option = "dataset" if name == "ids" else name.replace("_", "-")
        raise SelectionError(f"--{option} takes ids such as 1,2,3, not {','.join(words)!r}") from None


def _values(given: list[str]) -> list[str | int]:
    words = [word.strip() for each in given for word in each.split(",")]
    return [int(word) if word.isdecimal() and len(word) <= _MAX_DIGITS else word for word in words if word]


async def _search(
    settings: Settings, conditions: dict[str, list[Any]], failed: bool | None, as_json: bool
) -> list[str]:
    """Print the data sets that meet all conditions; where there are none, their names as the API spells them.

    Returns the records that cannot be read, in words.
    """
    from asyncfetch.client import Client
    from asyncfetch.client.queries import data_sets_query
    from asyncfetch.client.spelling import find_spelling

    unreadable: list[str] = []
    async with Client(settings=settings) as client:
        if await _print_data_sets(client, data_sets_query(**conditions, failed=failed), as_json, unreadable):
            return unreadable
        advice = "use fewer conditions"
        spelled: dict[str, list[Any]] = {}
        for kind, values in conditions.items():
            spelled[kind] = []
            for value in values:
                found = None if isinstance(value, int) else await find_spelling(client, kind, value)
                spelled[kind].append(found.other if found and found.other else value)
                if found and found.other:
                    tell(f"note: {found.note}")
                elif found and value not in found.names:
                    advice = f"there is no {kind} {shown(value, _MAX_NAME)}: {found.advice}"
        if spelled != conditions and await _print_data_sets(
            client, data_sets_query(**spelled, failed=failed), as_json, unreadable
        ):
            return unreadable
    raise NotFoundError(f"no data set meets the conditions; {advice}")


async def _print_data_sets(client: Client, query: Query, as_json: bool, unreadable: list[str]) -> int:
    """Print data sets, as a table while later pages are asked for, and return how many there are.

    `unreadable` takes the records that cannot be read, in words.
    """
    from asyncfetch.allen import parse_data_set

    found: list[dict[str, Any]] = []
    n = 0
    odd_rows: list[tuple[int, Any]] = []
    async with client.open_rows(query, odd_rows=odd_rows) as rows:
        async for row in rows:
            n += 1
            try:
                each = _data_set(parse_data_set(row))
            except RecordError as error:
                unreadable.append(error.message)
                continue
            if as_json:
                found.append(each)
                continue
            if n == 1 + len(unreadable):
                echo("\t".join(each))
            echo(_line(each))
            if not is_stdout_read():
                break
    if as_json and found:
        print_json(found)
    unreadable += [
        f"row {position} is {shown(str(row), _MAX_NAME)}, not a record" for position, row in odd_rows
    ]
    return n + len(odd_rows)


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


async def _sections(settings: Settings, data_set_id: int) -> tuple[list[dict[str, Any]], list[str]]:
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


def _print(rows: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print_json(rows)
        return
    if rows:
        echo("\t".join(rows[0]))
    for row in rows:
        echo(_line(row))


def _line(row: dict[str, Any]) -> str:
    return "\t".join(map(_shown, row.values()))


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(shown(each, _MAX_CELL) for each in value)
    return "" if value is None else shown(value, _MAX_CELL)
