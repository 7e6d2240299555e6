"""Settings from the arguments of a command, the environment and a file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from asyncfetch.cli.reading import read_text
from asyncfetch.errors import SelectionError, SettingsError

if TYPE_CHECKING:
    from pathlib import Path

    from asyncfetch.settings import Settings

__all__ = ["settings_from"]

#: Options that have another name than their setting.
_OPTIONS = {
    "base_url": "--base-url",
    "bytes_per_s": "--bandwidth",
    "log_json": "--log-json",
    "memory_bytes": "--memory",
    "requests_per_s": "--rate",
    "pad_um": "--pad",
    "views": "--view",
}


def settings_from(config: Path | None, **arguments: Any) -> Settings:
    """Gather settings from the command's arguments, the environment and a TOML file, in this order.

    Raises
    ------
    SettingsError
        The file cannot be read, or a value is wrong; the message names it.
    """
    from asyncfetch.settings import Settings, read_environment

    environment = read_environment(os.environ)
    table = _read_toml(config) if config else {}
    try:
        Settings.from_layers(table)
    except SettingsError as error:
        raise SettingsError(f"{config}: {error.message}", setting=error.setting) from None
    try:
        return Settings.from_layers(arguments, environment, table)
    except SettingsError as error:
        # the other layers are sound, so it was an argument
        name = error.setting or ""
        option = _OPTIONS.get(name, f"--{name.replace('_', '-')}")
        raise SettingsError(f"{option}: {error.message}", setting=error.setting) from None


def _read_toml(path: Path) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(read_text(str(path), "the settings"))
    except SelectionError as error:
        raise SettingsError(error.message, setting="config") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise SettingsError(f"{path} is not a valid TOML file: {error}", setting="config") from error
