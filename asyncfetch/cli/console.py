r"""The one door to stdout and stderr: what cannot be written never ends a command.

Data go to stdout. Data that cannot be written are lost, so that the command says so and ends in exit code 1; a reader
that went away (``| head``) had all that it wanted. Messages and progress go to stderr, which goes quiet where it cannot
be written: a run is worth more than its progress. The streams are guarded below Python's own buffers, so that this
holds for whatever writes: our messages, Typer's help, Rich's live line, warnings, and the flush at the very end.
"""

from __future__ import annotations

import errno
import io
import json
import os
import select
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

import typer

from asyncfetch.text import shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from _typeshed import ReadableBuffer

__all__ = ["Streams", "echo", "guard_streams", "is_stdout_read", "print_json", "tell"]

#: The longest line or cell of a table; who wants more of the words of a server asks for ``--json``.
_MAX_CELL = 2000
#: How long a reader of stderr that is not blocking may let messages wait before they are dropped.
_MAX_WAIT_S = 1.0


class _GuardedFile(io.FileIO):
    """A descriptor that can always be written to.

    Attributes
    ----------
    error : OSError or None
        Why nothing is written any more.
    n_lost_bytes : int
        What was not written since then.
    """

    def __init__(self, descriptor: int, error: OSError | None, max_wait_s: float | None) -> None:
        super().__init__(descriptor, "wb", closefd=False)
        self.error = error
        self.n_lost_bytes = 0
        self._max_wait_s = max_wait_s

    def write(self, data: ReadableBuffer, /) -> int:
        """Write some bytes, or pass over them all; never raises an `OSError`."""
        size = memoryview(data).nbytes
        while self.error is None:
            try:
                n_written = super().write(data)
                if n_written is not None:
                    return n_written
                # another program made the pipe or the terminal non-blocking, and it is full
                if not select.select([], [self.fileno()], [], self._max_wait_s)[1]:
                    return size
            except OSError as error:
                self.error = error
        self.n_lost_bytes += size
        return size


class Streams:
    """Guards of stdout and stderr."""

    def __init__(self, out: _GuardedFile, err: _GuardedFile) -> None:
        self._out = out
        self._err = err

    @property
    def is_stdout_read(self) -> bool:
        """Whether the reader of stdout is still there."""
        return self._out.error is None or self._out.error.errno != errno.EPIPE

    @property
    def lost(self) -> str | None:
        """Why data on stdout are lost, or None where they are not."""
        error = self._out.error
        if error is None or not self._out.n_lost_bytes or not self.is_stdout_read:
            return None
        return error.strerror or str(error)


_guarded: Streams | None = None


@contextmanager
def guard_streams() -> Iterator[Streams]:
    """Put guards before stdout and stderr for the rest of the process.

    What is left in their buffers is written at the end of the block, so that `Streams.lost` is final there.
    """
    global _guarded  # noqa: PLW0603 - a process has one stdout
    errors = _fill_standard_descriptors()
    guards = []
    for name, descriptor, max_wait_s in (("stdout", 1, None), ("stderr", 2, _MAX_WAIT_S)):
        stream: TextIO | None = getattr(sys, name)
        guard = _GuardedFile(descriptor, errors.get(descriptor), max_wait_s)
        # a program that runs a command inside itself may have put streams of its own here
        if stream is None or stream is getattr(sys, f"__{name}__"):
            setattr(sys, name, _guarded_text(guard, stream))
        guards.append(guard)
    _guarded = Streams(*guards)
    try:
        yield _guarded
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _fill_standard_descriptors() -> dict[int, OSError]:
    """Open what was closed (``>&-``), or the next file that is opened would take its place and get our messages."""
    errors = {}
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError as error:
            errors[descriptor] = error
            # the lowest free number is this one
            os.open(os.devnull, os.O_RDWR)
    return errors


def _guarded_text(guard: _GuardedFile, stream: TextIO | None) -> TextIO:
    # a locale without µ is not a reason to fail: what it lacks is written as an escape
    return io.TextIOWrapper(
        io.BufferedWriter(guard),
        encoding=stream.encoding if stream is not None else "utf-8",
        errors="backslashreplace",
        line_buffering=stream is None or getattr(stream, "line_buffering", True),
        write_through=getattr(stream, "write_through", False),
    )


def is_stdout_read() -> bool:
    """Return whether anybody reads stdout; a long listing may end where nobody does."""
    return _guarded is None or _guarded.is_stdout_read


def tell(text: str) -> None:
    """Print a message on stderr."""
    _print(text, err=True, width=_MAX_CELL)


def echo(text: object) -> None:
    """Print data for people on stdout; tabs and ends of lines are kept, whatever else a terminal obeys is escaped."""
    _print(str(text), err=False)


def print_json(value: Mapping[str, Any] | list[Any]) -> None:
    """Print data on stdout as one JSON document."""
    typer.echo(json.dumps(value, indent=2, default=str))


def _print(text: str, *, err: bool, width: int | None = None) -> None:
    lines = text.split("\n")
    typer.echo(
        "\n".join("\t".join(shown(cell, width) for cell in line.split("\t")) for line in lines), err=err
    )
