"""The command line: arguments in, data on stdout, progress and messages on stderr, an exit code out.

Each command imports what it needs when it runs, so that ``asyncfetch --help`` answers at once.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
from contextlib import ExitStack, nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.exceptions import TyperException

from asyncfetch.cli.console import echo, guard_streams, print_json, tell
from asyncfetch.cli.exits import ExitCode, exit_code_of_error
from asyncfetch.cli.parsing import App
from asyncfetch.errors import AsyncFetchError, SelectionError, SettingsError
from asyncfetch.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from asyncfetch.settings import Settings

__all__ = [
    "IS_JSON",
    "app",
    "at_end",
    "echo",
    "main",
    "print_json",
    "register_commands",
    "report_errors",
    "settings_from",
    "tell",
]

#: Whether the command that is running prints JSON.
IS_JSON: ContextVar[bool] = ContextVar("is_json", default=False)

#: What is left to do when the command that is running ends.
_AT_END: ContextVar[ExitStack] = ContextVar("at_end")

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

app = App(
    name="asyncfetch",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def register_commands() -> None:
    """Import the modules of the commands; each puts its own on the app above."""
    from asyncfetch.cli import (  # noqa: F401
        audit,
        bench,
        demo,
        doctor,
        inspection,
        mirror,
        pictures,
        plan,
        rebuild,
        runs,
        search,
        serve,
        sync,
        verify,
        volume,
    )


def main() -> None:
    """Run the command line."""
    with guard_streams() as streams:
        code = _run()
    if streams.lost is not None:
        tell(f"error: the output is incomplete: stdout cannot be written: {streams.lost}")
        code = code or ExitCode.ERROR
    if code == ExitCode.INTERRUPTED:
        _leave_threads_behind()
    raise SystemExit(code)


def _run() -> int:
    try:
        register_commands()
        app()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else ExitCode.DONE
    except KeyboardInterrupt:
        # before or after a command, which answers interrupts itself
        return ExitCode.INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the wall, for what is outside a command
        failure = _understood(error)
        tell(f"error: {failure.message}")
        return exit_code_of_error(failure)
    return ExitCode.DONE


def _leave_threads_behind() -> None:
    """End an interrupted process whose threads are still at work, for which the interpreter would wait."""
    main_thread = threading.main_thread()
    if any(thread is not main_thread and not thread.daemon for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(ExitCode.INTERRUPTED)


def _print_version(wanted: bool) -> None:
    if wanted:
        echo(f"asyncfetch {__version__}")
        raise typer.Exit


@app.callback()
def asyncfetch(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Mirror section images of the Allen Brain Atlas into registered OME-Zarr stores.

    Exit codes: 0 all done, 1 error, 2 usage, 3 some items failed (they are listed), 4 nothing matched,
    5 service unavailable, 6 verification failed, 130 interrupted and resumable.
    """


def report_errors[**P, T](command: Callable[P, T]) -> Callable[P, T]:
    """Turn the errors of a command into one message and the right exit code."""

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        as_json = bool(kwargs.get("as_json"))
        IS_JSON.set(as_json)
        try:
            _check_places(kwargs)
            with _recorded(kwargs.get("record")), ExitStack() as stack:
                _AT_END.set(stack)
                return command(*args, **kwargs)
        except AsyncFetchError as error:
            _fail(error, as_json=as_json)
        except KeyboardInterrupt:
            if as_json:
                print_json({"error": "Interrupted", "message": "interrupted"})
            tell("interrupted")
            raise typer.Exit(ExitCode.INTERRUPTED) from None
        except (typer.Exit, typer.Abort, TyperException):
            # these are how a command ends, and how it says that it was called wrongly
            raise
        except Exception as error:  # noqa: BLE001 - the wall: what comes here has no other place to be told
            _fail(_understood(error), as_json=as_json)

    return wrapped


def at_end(do: Callable[[], None]) -> None:
    """Call a function when the command that is running ends, however it ends."""
    _AT_END.get().callback(do)


def _understood(error: BaseException) -> AsyncFetchError:
    from asyncfetch.cli.failures import understood

    return understood(error)


def _check_places(arguments: Mapping[str, Any]) -> None:
    for name in ("out", "store"):
        if arguments.get(name) == "memory":
            raise SettingsError(
                "a store in memory ends with the command, so that it is only for Python; "
                "for a directory of that name write ./memory",
                setting=name,
            )


def _recorded(path: Any) -> AbstractContextManager[None]:
    """Record the answers of the server where a command was given --record."""
    if path is None:
        return nullcontext()
    from asyncfetch.engine import recording

    return recording(path, on_trouble=tell)


def _fail(error: AsyncFetchError, *, as_json: bool) -> NoReturn:
    if as_json:
        print_json({"error": type(error).__name__, "message": error.message, **_plain(error.facts)})
    tell(f"error: {error.message}")
    raise typer.Exit(exit_code_of_error(error)) from None


def _plain(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if not isinstance(value, bytes)}


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

    from asyncfetch.cli.reading import read_text

    try:
        return tomllib.loads(read_text(str(path), "the settings"))
    except SelectionError as error:
        raise SettingsError(error.message, setting="config") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise SettingsError(f"{path} is not a valid TOML file: {error}", setting="config") from error
