"""What was not foreseen ends a command in one line: of the system, of memory, of a package, or a bug to report."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

import pytest
import typer
import typer.testing

from asyncfetch.cli.failures import InternalError, report_errors, understood
from asyncfetch.cli.parsing import App
from asyncfetch.errors import AsyncFetchError, StoreAccessError, StoreSpaceError


def of_system(number, *names):
    return OSError(number, os.strerror(number), *names)


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (
            of_system(errno.ENOSPC, "a"),
            StoreSpaceError,
            "a: No space left on device; free some space and run",
        ),
        (of_system(errno.EDQUOT), StoreSpaceError, "quota exceeded; free some space"),
        (of_system(errno.EACCES, b"a\xff"), StoreAccessError, "a\\udcff: Permission denied"),
        (of_system(errno.ENAMETOOLONG, "x" * 9999), StoreAccessError, "…: File name too long"),
        (
            of_system(errno.EMFILE),
            AsyncFetchError,
            "Too many open files; raise the limit with `ulimit -n 4096`",
        ),
        (MemoryError(), AsyncFetchError, "there is not enough memory; use a smaller --memory"),
        (ModuleNotFoundError("no", name="obstore.store"), AsyncFetchError, "pip install obstore"),
        (
            ExceptionGroup("g", [ExceptionGroup("g", [of_system(errno.ENOSPC)])]),
            StoreSpaceError,
            "free some space",
        ),
        (ExceptionGroup("g", [ValueError("v"), StoreSpaceError("full")]), StoreSpaceError, "full"),
    ],
)
def test_what_the_system_refuses_is_told_in_one_line(error, kind, words):
    found = understood(error)
    assert isinstance(found, kind)
    assert not isinstance(found, InternalError)
    assert words in found.message
    assert found.message.isprintable()
    assert len(found.message) < 500


@pytest.mark.parametrize("error", [RecursionError("deep\x1b[2J"), ValueError("v\n" * 999), UnicodeError("u")])
def test_a_bug_is_told_with_the_file_that_holds_its_traceback(error):
    found = understood(error)
    assert isinstance(found, InternalError)
    path = Path(re.search("with the file (.*)$", found.message)[1])
    story = path.read_text(encoding="utf-8")
    path.unlink()
    assert type(error).__name__ in story
    assert f"internal error ({type(error).__name__}" in found.message
    assert found.message.isprintable()
    assert len(found.message) < 600


def test_a_bug_without_room_for_a_file_or_on_request_shows_its_traceback(monkeypatch, capsys):
    monkeypatch.setenv("ASYNCFETCH_TRACEBACK", "1")
    assert "with the lines above" in understood(ValueError("v")).message
    assert "ValueError: v" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("raised", "code", "words"),
    [
        (
            ZeroDivisionError("z"),
            1,
            "error: internal error (ZeroDivisionError: z); please report this as a bug",
        ),
        (of_system(errno.ENOSPC), 1, "error: No space left on device"),
        (typer.Exit(6), 6, ""),
        (SystemExit(3), 3, ""),
        (typer.BadParameter("odd"), 2, "odd"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_every_end_of_a_command_has_its_exit_code(raised, code, words, monkeypatch):
    monkeypatch.setenv("ASYNCFETCH_TRACEBACK", "1")
    app = App(report_errors)
    app.callback()(lambda: None)

    @app.command()
    def fail() -> None:
        raise raised

    done = typer.testing.CliRunner().invoke(app, ["fail"])
    assert done.exit_code == code
    assert words in done.stderr
