"""The app and its commands: found by name, made on demand, shown in groups, and strict about repeated options."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import typer
import typer.main
from typer.core import TyperCommand, TyperGroup

from asyncfetch.text import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["App", "joined"]

_MAX_SHOWN = 80
_ARGUMENTS = "Arguments"
_OPTIONS = "Options"
#: A default that is described, which Typer puts into parentheses.
_DEFAULT = re.compile(r"\[default: \(([^()]*)\)")

_SENTENCE = re.compile(r"\. |; |  \[")


class App(typer.Typer):
    """A command line whose commands are made when they are asked for.

    Making the options of all commands would take longer than everything else that ``--help`` does.

    Parameters
    ----------
    prepare : callable, optional
        Takes the function of a command, and returns the function that is to be called.
    **options
        As for `typer.Typer`.

    Attributes
    ----------
    commands : mapping of str to TyperCommand
        The commands by name, in the order of ``--help``, each made when it is first looked up.
    panels : dict of str to list of str
        The names of the commands under each heading of ``--help``.
    """

    def __init__(self, prepare: Callable[[Any], Any] = lambda function: function, **options: Any) -> None:
        self.panels: dict[str, list[str]] = {}
        self.commands = _Commands(prepare)
        group = type("Group", (_Group,), {"registered": self.commands, "panels": self.panels})
        # Rich takes longer to import than all else that the help does, and draws boxes into pipes
        super().__init__(cls=group, rich_markup_mode=None, pretty_exceptions_enable=False, **options)

    def command(self, name: str | None = None, *, panel: str = "Commands", **_options: Any) -> Any:
        """Register a function as a command of a panel of ``--help``."""

        def register[F: Callable[..., Any]](function: F) -> F:
            key = name or function.__name__.replace("_", "-")
            self.commands.functions[key] = function
            self.panels.setdefault(panel, []).append(key)
            return function

        return register


class _Commands(Mapping[str, TyperCommand]):
    """The commands by name, each made when it is first looked up."""

    def __init__(self, prepare: Callable[[Any], Any]) -> None:
        self.functions: dict[str, Callable[..., Any]] = {}
        self._prepare = prepare
        self._made: dict[str, TyperCommand] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(self.functions)

    def __len__(self) -> int:
        return len(self.functions)

    def __getitem__(self, name: str) -> TyperCommand:
        function = self.functions[name]
        if name not in self._made:
            alone = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
            alone.command(name, cls=_Command)(self._prepare(function))
            made = typer.main.get_command(alone)
            assert isinstance(made, TyperCommand)
            self._made[name] = made
        return self._made[name]

    def one_liner(self, name: str) -> str:
        """Return the first line of the help of a command, without making it."""
        return _one_liner(inspect.getdoc(self.functions[name]))


class _Group(TyperGroup):
    """A group of commands in panels."""

    registered: ClassVar[_Commands]
    panels: ClassVar[Mapping[str, list[str]]]

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = self.registered  # type: ignore[assignment]  # nothing is added to it here

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of the commands, without making one."""
        return list(self.registered)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands, panel by panel."""
        width = max(map(len, self.registered), default=0)
        for panel, names in self.panels.items():
            with formatter.section(panel):
                formatter.write_dl([(f"{name:<{width}}", self.registered.one_liner(name)) for name in names])


class _Command(TyperCommand):
    """A command that refuses two values of an option that takes one; options that are lists take them all."""

    def make_parser(self, ctx: Any) -> Any:
        parser: Any = super().make_parser(ctx)
        options = {id(each): each for each in (*parser._short_opt.values(), *parser._long_opt.values())}
        for option in options.values():
            if option.action == "store":
                option.process = _refusing(option, ctx)
        return parser

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """Return what Tab offers; of the help of an option, its first sentence without the default."""
        items = super().shell_complete(ctx, incomplete)
        for item in items:
            if item.help:
                item.help = _SENTENCE.split(item.help, maxsplit=1)[0].rstrip(".")
        return items

    def get_short_help_str(self, limit: int = 0) -> str:
        """Return the first line of the help."""
        return _one_liner(self.help)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments, options of this command, and options that it shares with others, panel by panel."""
        panels: dict[str, list[tuple[str, str]]] = {_ARGUMENTS: [], _OPTIONS: []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is None:
                continue
            name, words = record
            panel = getattr(parameter, "rich_help_panel", None) or _OPTIONS
            if parameter.param_type_name == "argument":
                # its type in brackets says less than its help
                panel, name = _ARGUMENTS, name.partition(" <")[0]
            panels.setdefault(panel, []).append((name, _DEFAULT.sub(r"[default: \1", words)))
        for panel, records in panels.items():
            if records:
                with formatter.section(panel):
                    formatter.write_dl(records)


def _one_liner(text: str | None) -> str:
    return (text or "").partition("\n")[0].rstrip(".")


def _refusing(option: Any, ctx: Any) -> Callable[[Any, Any], None]:
    process = option.process

    def process_once(value: Any, state: Any) -> None:
        before = state.opts.get(option.dest)
        if before is not None and before != value:
            name = max((*option._short_opts, *option._long_opts), key=len)
            given = f"{shown(before, _MAX_SHOWN)!r} and {shown(value, _MAX_SHOWN)!r}"
            ctx.fail(f"{name} takes one value, but was given {given}.")
        process(value, state)

    return process_once


def joined(values: list[str] | None) -> str | None:
    """Return the values of a list option as one text with commas; None where none was given."""
    return ",".join(values) if values else None
