"""The end of a command: every error is one line and an exit code and, where it is our bug, how to report it."""

from __future__ import annotations

import errno
import functools
import os
import sys
import tempfile
import traceback
from contextlib import ExitStack, nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NoReturn

import typer
from typer.exceptions import TyperException

from asyncfetch.cli.console import print_json, tell
from asyncfetch.cli.exits import ExitCode, exit_code_of_error
from asyncfetch.errors import (
    AsyncFetchError,
    SelectionError,
    SettingsError,
    StoreAccessError,
    StoreError,
    StoreSpaceError,
)
from asyncfetch.text import shown
from asyncfetch.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

__all__ = ["IS_JSON", "InternalError", "at_end", "report_errors", "understood"]

#: Whether the command that is running prints JSON.
IS_JSON: ContextVar[bool] = ContextVar("is_json", default=False)

#: What is left to do when the command that is running ends.
_AT_END: ContextVar[ExitStack] = ContextVar("at_end")

_MAX_WORDS = 300
#: Set to anything, it prints the traceback of a bug instead of keeping it in a file.
_TRACEBACK = "ASYNCFETCH_TRACEBACK"
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_TOO_MANY_FILES = {errno.EMFILE, errno.ENFILE}


class InternalError(AsyncFetchError):
    """A bug of ours, told in one line."""


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
        except Exception as error:  # noqa: BLE001 - the wall: what comes here cannot be told elsewhere
            _fail(understood(error), as_json=as_json)

    return wrapped


def at_end(do: Callable[[], None]) -> None:
    """Call a function when the command that is running ends, however it ends."""
    _AT_END.get().callback(do)


def _check_places(arguments: Mapping[str, Any]) -> None:
    for name in ("out", "store"):
        if arguments.get(name) == "memory":
            raise SettingsError(
                "memory names a store in memory, which would end with the command; "
                "for a directory of that name, use ./memory",
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


def understood(error: BaseException) -> AsyncFetchError:
    """Return what ended a command as an error of our tree.

    Parameters
    ----------
    error : BaseException
        Whatever was raised; groups of task groups are looked into, and an error of ours in them comes first.

    Returns
    -------
    AsyncFetchError
        Of the operating system, of memory, of a package that is missing; anything else is an `InternalError`, whose
        traceback is kept in a file.
    """
    leaves = list(_leaves(error))
    known = next((each for each in leaves if isinstance(each, AsyncFetchError)), None)
    if known is not None:
        return known
    first = leaves[0]
    if isinstance(first, OSError):
        return _of_system(first)
    if isinstance(first, MemoryError):
        return AsyncFetchError(
            "there is not enough memory; use a smaller --memory, fewer --workers or a coarser --um"
        )
    if isinstance(first, ModuleNotFoundError):
        name = (first.name or "").partition(".")[0]
        return AsyncFetchError(f"the Python package {name} is missing; install it with: pip install {name}")
    if isinstance(first, UnicodeEncodeError) and first.reason == "surrogates not allowed":
        # how Python hands on the bytes of an argument or a file name that are not text
        name = shown(first.object, _MAX_WORDS)
        return SelectionError(f"{name} holds bytes that are not UTF-8; use a name that is text")
    return _bug(first, error)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _leaves(each)
    else:
        yield error


def _of_system(error: OSError) -> StoreError:
    reason = shown(error.strerror or error, _MAX_WORDS)
    prefix = "" if error.filename is None else f"{shown(os.fsdecode(error.filename), _MAX_WORDS)}: "
    if error.errno in _NO_SPACE:
        return StoreSpaceError(f"{prefix}{reason}; free some space and run the same command again")
    if error.errno in _TOO_MANY_FILES:
        return StoreError(f"{prefix}{reason}; raise the limit with `ulimit -n 4096`, or use fewer --jobs")
    return StoreAccessError(f"{prefix}{reason}")


def _bug(error: BaseException, whole: BaseException) -> InternalError:
    words = f"{type(error).__name__}: {shown(error, _MAX_WORDS)}"
    story = "".join(traceback.format_exception(whole))
    kept = None if os.environ.get(_TRACEBACK) else _kept(story)
    if kept is None:
        sys.stderr.write(story)
        return InternalError(f"internal error ({words}); please report this as a bug, with the lines above")
    return InternalError(f"internal error ({words}); please report this as a bug, with the file {kept}")


def _kept(story: str) -> str | None:
    """Write a traceback to a file of the user's own, and return its path, or None where there is no room for it."""
    try:
        with tempfile.NamedTemporaryFile(
            "w",
            encoding="utf-8",
            errors="backslashreplace",
            prefix="asyncfetch-",
            suffix=".log",
            delete=False,
        ) as file:
            file.write(f"asyncfetch {__version__}, Python {sys.version}, {sys.platform}\n{story}")
            return file.name
    except OSError:
        return None
