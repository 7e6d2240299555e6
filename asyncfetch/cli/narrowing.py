"""The options that narrow a selection, the same for every command that takes one.

They stand in one table, `FILTER_OPTIONS`. A new one is a field of `Filters`, a row here and a row of
``docs/reference/command-line.md``; tests compare them.
"""

from __future__ import annotations

import functools
import inspect
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, get_args

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from asyncfetch.selecting import Filters

__all__ = ["FILTER_OPTIONS", "NARROWING", "FilterOption", "Narrowed", "spread_filters"]

NARROWING = "narrowing"
_PANEL = "Which data sets and sections"


class FilterOption(NamedTuple):
    """An option that narrows a selection, or says how it is read.

    Attributes
    ----------
    name : str
        The parameter.
    flag : str
        What is typed; ``--x/--no-x`` for one that can be refused, too.
    metavar : str
        What stands for the value in the help; empty for a switch.
    help : str
        What it does.
    is_list : bool
        Whether it takes several values, and may be repeated.
    """

    name: str
    flag: str
    metavar: str
    help: str
    is_list: bool = False


#: In the order of ``--help`` and of the page.
FILTER_OPTIONS = (
    FilterOption("plane", "--plane", "NAME", "Planes of section: coronal, sagittal, …", is_list=True),
    FilterOption("age", "--age", "NAME", "Ages of the donors, such as P56 or E18.5.", is_list=True),
    FilterOption("treatment", "--treatment", "NAME", "Treatments, such as ISH or NISSL.", is_list=True),
    FilterOption(
        "sense", "--sense", "NAME", "Orientation of the probe: antisense, or sense (controls).", is_list=True
    ),
    FilterOption("strain", "--strain", "NAME", "Strains of the donors, such as C57BL/6J.", is_list=True),
    FilterOption("sex", "--sex", "M|F", "Sexes of the donors.", is_list=True),
    FilterOption(
        "delegate",
        "--delegate/--no-delegate",
        "",
        "Only the data sets that the atlas shows for their gene and age, or only the others.",
    ),
    FilterOption(
        "failed",
        "--failed",
        "",
        "Only data sets that failed; by default they are left out unless they are named by their ids.",
    ),
    FilterOption("with_failed", "--with-failed", "", "Also data sets that failed."),
    FilterOption(
        "section_range", "--section-range", "FIRST:LAST", "Only sections with these numbers, both included."
    ),
    FilterOption(
        "every",
        "--every",
        "N",
        "Of the sections of a data set in the order of their numbers, every Nth.",
    ),
    FilterOption("limit", "--limit", "N", "At most so many data sets, in the order in which they are found."),
    FilterOption(
        "split",
        "--split",
        "BY:SHARES",
        "Sort data sets into parts for training, validation and testing, such as specimen:80/10/10; the data sets of a "
        "specimen come into the same part.",
    ),
    FilterOption("seed", "--seed", "N", "What the choice of --split follows from.  [default: 0]"),
    FilterOption(
        "bare", "--as", "KIND", "What selections without a kind are: with --as gene, Pvalb is gene:Pvalb."
    ),
    FilterOption("column", "--column", "NAME", "Read the lists of @FILE as tables, and take this column."),
    FilterOption(
        "catalogue",
        "--catalogue",
        "PATH|none",
        "Choose from this catalogue, a file or a store, or none; by default from that of this machine, where there is "
        "one.",
    ),
)
_READING = ("bare", "column", "catalogue")


@dataclass(frozen=True)
class Narrowed:
    """The filters that a command was given, as they were typed.

    Attributes
    ----------
    arguments : mapping of str to value
        By the names of the table; None where an option was left out.
    """

    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def bare(self) -> str | None:
        """What selections without a kind are."""
        return self.arguments.get("bare")

    @property
    def column(self) -> str | None:
        """Which column of a list that is a table has the selections."""
        return self.arguments.get("column")

    @property
    def catalogue(self) -> str | None:
        """Where the catalogue lies, or none."""
        return self.arguments.get("catalogue")

    def filters(self) -> Filters:
        """Return the filters.

        Raises
        ------
        SelectionError
            A value is malformed, or two contradict each other.
        """
        from asyncfetch.errors import SelectionError
        from asyncfetch.selecting import Filters

        given = {name: value for name, value in self.arguments.items() if name not in _READING}
        with_failed, only_failed = given.pop("with_failed", None), given.pop("failed", None)
        if with_failed and only_failed:
            raise SelectionError("--failed and --with-failed contradict each other; give one of them")
        return Filters.of(failed="only" if only_failed else "with" if with_failed else None, **given)


def spread_filters(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of the table, where it has a parameter of type `Narrowed` for them."""
    signature = inspect.signature(command, eval_str=True)
    for name, parameter in signature.parameters.items():
        if NARROWING in [each for each in get_args(parameter.annotation) if isinstance(each, str)]:
            return _spread(command, signature, name)
    return command


def _spread(command: Callable[..., Any], signature: inspect.Signature, name: str) -> Callable[..., Any]:
    @functools.wraps(command)
    def spread(**arguments: Any) -> Any:
        given = {row.name: arguments.pop(row.name) for row in FILTER_OPTIONS}
        return command(**{name: Narrowed(given)}, **arguments)

    keyword = inspect.Parameter.KEYWORD_ONLY
    own = [each.replace(kind=keyword) for each in signature.parameters.values() if each.name != name]
    others = [
        inspect.Parameter(row.name, keyword, default=None, annotation=_annotation(row))
        for row in FILTER_OPTIONS
    ]
    spread.__signature__ = inspect.Signature([*own, *others])  # type: ignore[attr-defined]  # what `inspect` reads first
    spread.__annotations__ = {}
    return spread


def _annotation(row: FilterOption) -> Any:
    option = typer.Option(
        row.flag,
        metavar=row.metavar or None,
        help=row.help,
        show_default=False,
        rich_help_panel=_PANEL,
    )
    kind: Any = bool if not row.metavar else list[str] if row.is_list else str
    return Annotated[kind | None, option]
