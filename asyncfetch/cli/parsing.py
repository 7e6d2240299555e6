"""The app and its commands: found by name, made on demand, shown in groups, and strict about repeated options."""

from __future__ import annotations

import importlib
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
            self._add(name or function.__name__.replace("_", "-"), lambda: function, function.__doc__, panel)
            return function

        return register

    def command_in(self, module: str, name: str, one_liner: str, *, panel: str) -> None:
        """Register the function of that name in a module that is loaded when the command is made.

        Parameters
        ----------
        module, name : str
            Where the function is.
        one_liner : str
            The first line of its help, so that ``--help`` need not load it.
        panel : str
            The heading under which ``--help`` has it.
        """
        self._add(name, lambda: getattr(importlib.import_module(module), name), one_liner, panel)

    def _add(self, name: str, load: Callable[[], Callable[..., Any]], words: str | None, panel: str) -> None:
        self.commands.add(name, load, _one_liner(words))
        self.panels.setdefault(panel, []).append(name)


class _Commands(Mapping[str, TyperCommand]):
    """The commands by name, each made when it is first looked up."""

    def __init__(self, prepare: Callable[[Any], Any]) -> None:
        self._loaders: dict[str, Callable[[], Callable[..., Any]]] = {}
        self._one_liners: dict[str, str] = {}
        self._prepare = prepare
        self._made: dict[str, TyperCommand] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(self._loaders)

    def __len__(self) -> int:
        return len(self._loaders)

    def __getitem__(self, name: str) -> TyperCommand:
        load = self._loaders[name]
        if name not in self._made:
            alone = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
            alone.command(name, cls=_Command)(self._prepare(load()))
            made = typer.main.get_command(alone)
            assert isinstance(made, TyperCommand)
            self._made[name] = made
        return self._made[name]

    def add(self, name: str, load: Callable[[], Callable[..., Any]], one_liner: str) -> None:
        """Add a command whose function is loaded when the command is made."""
        self._loaders[name] = load
        self._one_liners[name] = one_liner

    def one_liner(self, name: str) -> str:
        """Return the first line of the help of a command, without making it."""
        return self._one_liners[name]


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
