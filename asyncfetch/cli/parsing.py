"""How the arguments of every command are parsed: a repeated option adds to a list, or is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand

from asyncfetch.text import shown

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["App", "joined"]

_MAX_SHOWN = 80


class App(typer.Typer):
    """A command line whose commands lose no option that is given twice."""

    def command(self, name: str | None = None, **options: Any) -> Callable[[Any], Any]:
        """Register a command, as `typer.Typer.command` does."""
        return super().command(name, **{"cls": _Command, **options})


class _Command(TyperCommand):
    """A command that refuses two values of an option that takes one; options that are lists take them all."""

    def make_parser(self, ctx: Any) -> Any:
        parser: Any = super().make_parser(ctx)
        options = {id(each): each for each in (*parser._short_opt.values(), *parser._long_opt.values())}
        for option in options.values():
            if option.action == "store":
                option.process = _refusing(option, ctx)
        return parser


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
