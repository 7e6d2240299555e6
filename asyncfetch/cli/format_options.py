"""The options of formats as options of the command line: each once, under the names of the formats that take it."""

from __future__ import annotations

import functools
import inspect
import textwrap
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from asyncfetch.cli.configuration import as_typed
from asyncfetch.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["with_format_options"]

#: Characters per line of the list of formats, which is printed as it stands.
_WIDTH = 76


def with_format_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for each option of each format, in place of its parameter ``**chosen``.

    What was not given is None. Its help lists the formats.
    """
    from asyncfetch.exporting.formats import FORMATS, format_class, options_of

    options: dict[str, dict[str, msgspec.inspect.Field]] = {}
    for name in FORMATS:
        for option, described in options_of(format_class(name)).items():
            options.setdefault(option, {})[name] = described
    signature = inspect.signature(command, eval_str=True)
    own = [each for each in signature.parameters.values() if each.kind != each.VAR_KEYWORD]
    # those of few formats behind those of many
    order = sorted(options, key=lambda option: -len(options[option]))
    keyword = inspect.Parameter.KEYWORD_ONLY
    theirs = [
        inspect.Parameter(option, keyword, default=None, annotation=_annotation(options[option]))
        for option in order
    ]

    @functools.wraps(command)
    def spread(**arguments: Any) -> None:
        try:
            command(**arguments)
        except SettingsError as error:
            if error.setting not in options:
                raise
            raise SettingsError(as_typed(error.message, error.setting), setting=error.setting) from None

    spread.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # what `inspect` reads first
        [*(each.replace(kind=keyword) for each in own), *theirs]
    )
    spread.__annotations__ = {}
    width = max(map(len, FORMATS)) + 2
    lines = [
        line
        for name, entry in FORMATS.items()
        for line in textwrap.wrap(
            f"{name:<{width}}{entry.one_liner}", _WIDTH, subsequent_indent=" " * width, break_on_hyphens=False
        )
    ]
    spread.__doc__ = "\n".join([inspect.cleandoc(command.__doc__ or ""), "", "\b", *lines])
    return spread


def _annotation(takers: Mapping[str, msgspec.inspect.Field]) -> Any:
    """Return the annotation of an option, given how each format describes it."""
    from asyncfetch.exporting.formats import choices_of

    option: msgspec.inspect.Field = next(iter(takers.values()))
    described: Any = option.type
    words, metavar = described.extra_json_schema["description"], described.extra["metavar"]
    choices = list(dict.fromkeys(choice for each in takers.values() for choice in choices_of(each)))
    if choices:
        words = f"{', '.join(choices[:-1])} or {choices[-1]}. {words}"
    is_switch = isinstance(described.type, msgspec.inspect.BoolType)
    flag = f"--{option.name.replace('_', '-')}"
    typed = typer.Option(
        f"{flag}/--no-{flag[2:]}" if is_switch else flag,
        metavar=None if is_switch else metavar,
        help=words + _default(takers),
        show_default=False,
        rich_help_panel=f"Options of {', '.join(takers)}",
        autocompletion=(lambda incomplete: [each for each in choices if each.startswith(incomplete)])
        if choices
        else None,
    )
    return Annotated[(bool if is_switch else str) | None, typed]


def _default(takers: Mapping[str, msgspec.inspect.Field]) -> str:
    """Return what is shown of the default of an option; of each format where they differ."""
    formats_of: dict[str, list[str]] = {}
    for name, option in takers.items():
        described: Any = option.type
        value = None if option.default is msgspec.NODEFAULT else option.default
        shown = described.extra.get("shown") or ("" if value is None or value is False else str(value))
        formats_of.setdefault(shown, []).append(name)
    if len(formats_of) == 1:
        shown = next(iter(formats_of))
    else:
        shown = ", ".join(f"{value} in {' and '.join(names)}" for value, names in formats_of.items() if value)
    return f"  [default: {shown}]" if shown else ""
