"""Stdout and stderr never end a command: data that are lost are told, messages that cannot be written are not."""

from __future__ import annotations

import fcntl
import io
import os
import subprocess
import sys
import threading

import pytest
from rich.console import Console

from asyncfetch.cli.console import echo, tell
from asyncfetch.cli.progress import _LiveLine

#: Prints data, messages and a live line, and ends as commands do.
SCRIPT = """
import sys, warnings
from asyncfetch.cli import app, main
from asyncfetch.cli.console import echo, print_json, tell
from asyncfetch.cli.progress import _LiveLine, show_progress
from asyncfetch.events import DataSetPlanned
from rich.console import Console

@app.command()
def noise(n: int, data: bool = False, code: int = 0) -> None:
    event = DataSetPlanned(data_set_id=1, view="image", n_sections=1, n_to_fetch=1, n_committed=0, estimated_pixels=1)
    with show_progress() as show, _LiveLine(Console(stderr=True, force_terminal=True), "sections") as live:
        for k in range(n):
            if not data or k < 10:
                tell("25 \\u00b5m")
                show(event)
            if k < 10:
                live(event)
            if data:
                echo("30 \\u00b5m")
    warnings.warn("a word of a library")
    print("the end", file=sys.stderr)
    raise SystemExit(code)

main()
"""


def run_in_shell(line, *args, **environment):
    """Run a line of a shell, in which ``$0`` is Python."""
    return subprocess.run(
        ["sh", "-c", line, sys.executable, *map(str, args)],
        env={**os.environ, "SCRIPT": SCRIPT, **environment},
        capture_output=True,
        timeout=50,
        check=False,
    )


def run_with(redirections, *args, **environment):
    """Run the script by a shell, which redirects."""
    return run_in_shell(f'"$0" -c "$SCRIPT" noise "$@" {redirections}', *args, **environment)


@pytest.mark.parametrize("redirections", ["2>/dev/full", "2>&-", "2>/dev/full 1>&2", "2>&- 1>&-"])
def test_messages_that_cannot_be_written_change_nothing(redirections):
    done = run_with(redirections, 200, "--code", 3)
    assert (done.returncode, done.stdout, done.stderr) == (3, b"", b"")


def test_a_reader_of_stderr_that_goes_away_changes_nothing():
    # the shell knows the code of the last command of a pipe alone, so that this one is a file
    line = 'mkfifo pipe; (head -n 1 >/dev/null) <pipe & "$0" -c "$SCRIPT" noise 500 --code 3 2>pipe; echo $?'
    done = run_in_shell(f'cd "$(mktemp -d)"; {line}')
    assert (done.stdout, done.stderr) == (b"3\n", b"")


@pytest.mark.parametrize(
    ("redirections", "words"),
    [
        ("1>/dev/full", b"No space left on device"),
        ("1>&-", b"Bad file descriptor"),
        ("1</dev/null", b"Bad file"),
    ],
)
def test_data_that_are_lost_are_an_error(redirections, words):
    done = run_with(redirections, 3, "--data")
    assert done.returncode == 1
    assert (
        b"error: the output is incomplete: stdout cannot be written: " + words in done.stderr.splitlines()[-1]
    )
    assert b"Traceback" not in done.stderr
    # where nothing was to be printed, nothing is lost
    assert run_with(redirections, 3).returncode == 0
    # what a run found is not hidden
    assert run_with(redirections, 3, "--data", "--code", 3).returncode == 3


def test_a_reader_of_stdout_that_goes_away_is_no_error():
    done = run_with("2>/dev/null | head -n 1", 5000, "--data")
    assert (done.stdout, done.stderr) == (b"30 \xc2\xb5m\n", b"")


@pytest.mark.parametrize("arguments", ["mirror --help", "--version", "nonsense"])
@pytest.mark.parametrize("redirections", ["1>/dev/full", "2>/dev/full", "1>&- 2>&-", "2>&1 | true"])
def test_help_and_usage_end_without_a_traceback(arguments, redirections):
    done = run_in_shell(f'"$0" -m asyncfetch {arguments} {redirections}')
    assert b"Traceback" not in done.stderr
    assert b"Exception" not in done.stderr
    if redirections == "1>/dev/full":
        assert done.returncode == (2 if arguments == "nonsense" else 1)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp437"])
def test_a_locale_without_a_letter_gets_an_escape(encoding):
    done = run_with("", 1, "--data", PYTHONIOENCODING=f"{encoding}:strict", PYTHONUTF8="0", LC_ALL="C")
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr
    assert done.stdout.startswith(b"30 ")


def test_a_slow_reader_of_a_pipe_that_does_not_block_gets_all_data():
    read_end, write_end = os.pipe()
    fcntl.fcntl(write_end, fcntl.F_SETFL, os.O_NONBLOCK)
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, "noise", "20000", "--data"],
        stdout=write_end,
        stderr=subprocess.DEVNULL,
    )
    os.close(write_end)
    with process, os.fdopen(read_end, "rb") as reader:
        data = reader.read()
    assert process.returncode == 0
    assert data == b"30 \xc2\xb5m\n" * 20000


def test_a_terminal_that_vanishes_changes_nothing():
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, "noise", "50", "--code", "3"],
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        stdin=subprocess.DEVNULL,
    )
    os.close(theirs)
    with process:
        os.read(ours, 1)
        os.close(ours)
    assert process.returncode == 3


def test_words_of_others_cannot_move_the_cursor(capsys):
    tell("a\x1b[2Jb\u202ec\r\nd\te" + "x" * 5000)
    echo("a\x1b]0;title\x07\tb\nc")
    out, err = capsys.readouterr()
    assert out == "a\\x1b]0;title\\x07\tb\nc\n"
    first, second = err.splitlines()
    assert first == "a\\x1b[2Jb\\u202ec\\r"
    assert len(second) < 3000


def test_the_live_line_leaves_no_thread_that_could_write_when_the_interpreter_ends():
    before = set(threading.enumerate())
    for _ in range(20):
        with _LiveLine(Console(file=io.StringIO(), force_terminal=True), "sections"):
            pass
        assert set(threading.enumerate()) == before
