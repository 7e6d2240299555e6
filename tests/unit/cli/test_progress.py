"""Progress tells what the events say, on a terminal as a live line and elsewhere as lines."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from asyncfetch.cli import progress
from asyncfetch.events import DataSetPlanned, RequestFinished, RequestRetried, SectionCommitted, SectionFailed

EVENTS = [
    DataSetPlanned(
        data_set_id=7, view="image", n_sections=3, n_to_fetch=2, n_committed=1, estimated_pixels=10**8
    ),
    RequestRetried(
        url="http://x/1", kind="image", attempt=1, error="StallError", cause="image 1: slow", delay_s=2
    ),
    RequestFinished(
        url="http://x/1", kind="image", attempt=2, status=200, size_bytes=5_000_000, elapsed_s=1.0
    ),
    SectionCommitted(data_set_id=7, image_id=1, view="image", size_bytes=5_000_000, pixels=10**8),
    SectionFailed(data_set_id=7, image_id=2, view="image", error="NotFoundError", cause="none"),
]


def test_lines_tell_of_plans_retries_and_failures(capsys):
    with progress.show_progress() as listener:
        for event in EVENTS:
            listener(event)
    times, lines = zip(
        *(line.split(" ", 2)[1:] for line in capsys.readouterr().err.splitlines()), strict=True
    )
    assert list(lines) == [
        "data set 7 image: 3 sections, 1 already stored, 2 to fetch",
        "retrying in 2.0 s (attempt 1 failed): image 1: slow",
        "image 2 failed: none",
    ]
    assert all(re.fullmatch(r"[0-2][0-9]:[0-5][0-9]:[0-5][0-9]", time) for time in times)


def test_quiet_tells_nothing(capsys):
    with progress.show_progress(quiet=True) as listener:
        for event in EVENTS:
            listener(event)
    assert capsys.readouterr() == ("", "")


def test_every_few_seconds_a_line_says_how_far_the_run_is(capsys, monkeypatch):
    now = iter(range(0, 1000, 6))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(now)))
    with progress.show_progress() as listener:
        for event in EVENTS:
            listener(event)
    assert "1/2 sections, 5.0 MB" in capsys.readouterr().err


def test_a_terminal_has_one_live_line(monkeypatch):
    screen = io.StringIO()
    terminal = Console(file=screen, force_terminal=True, width=120)
    monkeypatch.setattr(progress, "Console", lambda **_options: terminal)
    with progress.show_progress() as listener:
        for event in EVENTS:
            listener(event)
    shown = screen.getvalue()
    assert "2/2" in shown
    assert "5.0 MB" in shown
    assert "MPix/s" in shown
    assert "1 failed" in shown


@pytest.mark.parametrize("markup", ["[bold]", "[/]"])
def test_words_of_a_server_are_no_markup(capsys, markup):
    with progress.show_progress() as listener:
        listener(
            RequestRetried(url="u", kind="image", attempt=1, error="StatusError", cause=markup, delay_s=1)
        )
    assert markup in capsys.readouterr().err
