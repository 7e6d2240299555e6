"""Progress on stderr: a live line on a terminal, plain lines elsewhere. Both only listen to events."""

from __future__ import annotations

import time
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from asyncfetch.cli.console import tell
from asyncfetch.events import (
    DataSetPacked,
    DataSetPlanned,
    DataSetUnpacked,
    FileExported,
    HostPaused,
    ItemNotExported,
    LimitReached,
    OutageBegan,
    OutageEnded,
    OutageProbed,
    RequestFinished,
    RequestRetried,
    SectionCommitted,
    SectionFailed,
    StoreAwaited,
)
from asyncfetch.text import counted, lasting, shown, sized

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from asyncfetch.events import Event, Listener

__all__ = ["show_progress"]

_LINE_EVERY_S = 5.0
_MAX_STORY = 500
_MAX_JOIN_S = 1.0


@contextmanager
def show_progress(*, quiet: bool = False, items: str = "sections") -> Iterator[Listener]:
    """Show the events of a run on stderr while the block runs.

    Parameters
    ----------
    quiet : bool
        Show nothing.
    items : str
        What is counted: ``sections`` or ``files``.

    Yields
    ------
    Listener
        To be handed to the run.
    """
    console = Console(stderr=True, highlight=False, emoji=False, markup=False)
    if quiet:
        yield lambda _event: None
    elif console.is_terminal:
        with _LiveLine(console, items) as listener:
            yield listener
    else:
        yield _PlainLines(lambda line: tell(f"{datetime.now().astimezone():%Y-%m-%d %H:%M:%S} {line}"), items)


class _Tally:
    """Counts from the events, for either kind of display."""

    def __init__(self) -> None:
        self.started_s = time.monotonic()
        self.n_sections = 0
        self.n_done = 0
        self.n_failed = 0
        self.pixels = 0
        self.received_bytes = 0
        self.written_bytes = 0

    def count(self, event: Event) -> None:
        if isinstance(event, DataSetPlanned):
            self.n_sections += event.n_to_fetch
        elif isinstance(event, SectionCommitted):
            self.n_done += 1
            self.pixels += event.pixels
        elif isinstance(event, FileExported):
            self.n_done += 1
            self.written_bytes += event.size_bytes if event.is_new else 0
        elif isinstance(event, SectionFailed | ItemNotExported):
            self.n_failed += 1
        elif isinstance(event, RequestFinished):
            self.received_bytes += event.size_bytes

    @property
    def figures(self) -> str:
        elapsed_s = max(time.monotonic() - self.started_s, 1e-3)
        megabytes = (self.received_bytes + self.written_bytes) / 1e6
        text = f"{megabytes:.1f} MB, {megabytes / elapsed_s:.1f} MB/s"
        if not self.written_bytes:
            text += f", {self.pixels / 1e6 / elapsed_s:.1f} MPix/s"
        return f"{text}, {self.n_failed} failed" if self.n_failed else text


def _story(event: Event) -> str | None:
    """Return the line that an event is worth, if any."""
    if isinstance(event, DataSetPlanned):
        return (
            f"data set {event.data_set_id} {event.view}: {counted(event.n_sections, 'section')}, "
            f"{event.n_committed} already stored, {event.n_to_fetch} to fetch"
        )
    if isinstance(event, DataSetPacked | DataSetUnpacked):
        done = "packed" if isinstance(event, DataSetPacked) else "unpacked"
        size = sized(event.size_bytes)
        return f"data set {event.data_set_id} {done}: {counted(event.n_files, 'file')}, {size}"
    if isinstance(event, StoreAwaited):
        return f"waiting: {event.cause}"
    if isinstance(event, LimitReached):
        limit = event.limit.replace("_", "-")
        return f"--{limit} is reached; stopping when the sections in flight are done"
    if isinstance(event, SectionFailed):
        return f"image {event.image_id} failed: {event.cause}"
    if isinstance(event, ItemNotExported):
        return f"{event.item}{f' {event.view}' if event.view else ''} failed: {event.cause}"
    if isinstance(event, RequestRetried):
        return f"retrying in {lasting(event.delay_s)} (attempt {event.attempt} failed): {event.cause}"
    if isinstance(event, HostPaused):
        return f"the server asks for a pause; continuing in {lasting(event.delay_s)}: {event.cause}"
    if isinstance(event, OutageBegan):
        what = "does not answer" if event.is_silent else "answers with errors"
        return f"the server {what}; probing until it is back: {event.cause}"
    if isinstance(event, OutageProbed):
        return (
            f"the server is not back after {lasting(event.elapsed_s)}; next probe in {lasting(event.next_s)}: "
            f"{event.cause}"
        )
    if isinstance(event, OutageEnded):
        return f"the server answers again, after {lasting(event.elapsed_s)}"
    return None


class _PlainLines:
    """Plain lines with local times: what is worth one, and every few seconds how far the run is."""

    def __init__(self, print_line: Callable[[str], None], items: str) -> None:
        self._print = print_line
        self._items = items
        self._tally = _Tally()
        self._next_s = self._tally.started_s + _LINE_EVERY_S

    def __call__(self, event: Event) -> None:
        self._tally.count(event)
        if story := _story(event):
            self._print(story)
        if time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + _LINE_EVERY_S
            # of files nobody knows how many there will be
            n_done, n_all = self._tally.n_done, self._tally.n_sections
            done = f"{n_done}/{n_all}" if n_all or self._items == "sections" else f"{n_done}"
            self._print(f"{done} {self._items}, {self._tally.figures}")


class _LiveLine:
    """One line of progress at the bottom of a terminal."""

    def __init__(self, console: Console, items: str) -> None:
        self._console = console
        self._tally = _Tally()
        self._progress = Progress(
            TextColumn(items),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._task = self._progress.add_task(items, total=None, figures="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        # Rich does not wait for its thread; one that still runs when the interpreter ends can abort the process
        thread = getattr(self._progress.live, "_refresh_thread", None)
        self._progress.stop()
        if thread is not None:
            thread.join(_MAX_JOIN_S)

    def __call__(self, event: Event) -> None:
        self._tally.count(event)
        if story := _story(event):
            self._console.print(shown(story, _MAX_STORY))
        done = self._tally.n_done + self._tally.n_failed
        total = self._tally.n_sections or None
        self._progress.update(self._task, completed=done, total=total, figures=self._tally.figures)
