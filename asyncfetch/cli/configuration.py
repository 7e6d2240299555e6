"""Settings from the options of a command, the environment and a file."""

from __future__ import annotations

import functools
import inspect
import os
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, get_args

from asyncfetch.cli.console import tell
from asyncfetch.cli.options import SettingOptions, flag_of, parameters_of
from asyncfetch.cli.parsing import joined
from asyncfetch.cli.reading import read_text
from asyncfetch.errors import SelectionError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from asyncfetch.settings import Settings

__all__ = ["Given", "as_typed", "settings_from", "spread_settings"]


@dataclass(frozen=True)
class Given:
    """The settings that a command was given, as they were typed.

    Attributes
    ----------
    arguments : mapping of str to value
        By setting; None where an option was left out.
    config : Path or None
        The file of ``--config``.
    """

    arguments: Mapping[str, Any] = field(default_factory=dict)
    config: Path | None = None

    def __getitem__(self, setting: str) -> Any:
        return self.arguments.get(setting)

    def settings(self, **others: Any) -> Settings:
        """Return the settings: `others` or else the arguments, then the environment, then the file.

        Raises
        ------
        SettingsError
            As `settings_from`.
        """
        return settings_from(self.config, **{**self.arguments, **others})


def spread_settings(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command an option for each setting that its parameter of type `Given` stands for."""
    signature = inspect.signature(command, eval_str=True)
    for name, parameter in signature.parameters.items():
        options = [each for each in get_args(parameter.annotation) if isinstance(each, SettingOptions)]
        if options:
            return _spread(command, signature, name, options[0])
    return command


def _spread(
    command: Callable[..., Any], signature: inspect.Signature, name: str, options: SettingOptions
) -> Callable[..., Any]:
    @functools.wraps(command)
    def spread(**arguments: Any) -> Any:
        given = {row.setting: arguments.pop(row.setting) for row in options.rows}
        given |= {row.setting: joined(given[row.setting]) for row in options.rows if row.is_list}
        config = arguments.pop("config") if options.has_config else None
        return command(**{name: Given(given, config)}, **arguments)

    keyword = inspect.Parameter.KEYWORD_ONLY
    own = [each.replace(kind=keyword) for each in signature.parameters.values() if each.name != name]
    spread_out = [
        inspect.Parameter(each, keyword, default=None, annotation=annotation)
        for each, annotation in parameters_of(options)
    ]
    spread.__signature__ = inspect.Signature([*own, *spread_out])  # type: ignore[attr-defined]  # what `inspect` reads first
    spread.__annotations__ = {}
    return spread


def settings_from(config: Path | None, **arguments: Any) -> Settings:
    """Gather settings from the command's arguments, the environment and a TOML file, in this order.

    Raises
    ------
    SettingsError
        The file cannot be read, or a value is wrong; the message names it.
    """
    from asyncfetch.settings import Settings, read_environment, under_new_names

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", DeprecationWarning)
        environment = read_environment(os.environ)
        table = under_new_names(_read_toml(config)) if config else {}
        try:
            Settings.from_layers(table)
        except SettingsError as error:
            raise SettingsError(f"{config}: {error.message}", setting=error.setting) from None
    for warning in told:
        # Python shows it to programmers alone
        tell(f"note: {warning.message}")
    try:
        return Settings.from_layers(arguments, environment, table)
    except SettingsError as error:
        # the other layers are sound, so it was an argument
        raise SettingsError(as_typed(error.message, error.setting or ""), setting=error.setting) from None


def as_typed(message: str, setting: str) -> str:
    """Return what is wrong with a setting in the words of its option: ``um = 0`` was typed as ``--um 0``."""
    flag = flag_of(setting)
    for start in (f"{setting} = ", f"{setting} "):
        # a message that names two settings is about both
        if message.startswith(start) and not message.startswith(f"{setting} and "):
            return f"{flag} {message.removeprefix(start)}"
    return f"{flag}: {message}"


def _read_toml(path: Path) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(read_text(str(path), "the settings"))
    except SelectionError as error:
        raise SettingsError(error.message, setting="config") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise SettingsError(f"{path} is not a valid TOML file: {error}", setting="config") from error
