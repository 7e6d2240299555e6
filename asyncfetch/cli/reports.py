"""What a run did, in words and as its exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from asyncfetch.cli.console import print_json, tell
from asyncfetch.cli.exits import ExitCode, exit_code_of_report
from asyncfetch.cli.options import flag_of
from asyncfetch.text import counted, lasting, listed, shown, sized

if TYPE_CHECKING:
    from asyncfetch.layout.live import LiveFigures
    from asyncfetch.mirroring import Report
    from asyncfetch.runs import UnfinishedRun

__all__ = ["as_plain", "conclude", "describe", "describe_figures", "megapixels"]

#: What a store says may be anything.
_MAX_FIGURES = 500

_HOLDERS = {
    "budget": "memory (--memory)",
    "window": "a free connection (--jobs)",
    "host": "the server to be back",
    "rate": "the rate (--rate)",
    "server": "the server",
    "retry": "another attempt",
    "decode": "decoding",
    "write": "warping and writing",
}

#: How a selection ends that brought nothing.
_NOTHING = frozenset({"not found", "failed", "left out"})


def conclude(report: Report, *, as_json: bool, go_on: str | None = None) -> None:
    """Print what a run did and end the command with its exit code; `go_on` as for `describe`."""
    if as_json:
        print_json(report.as_dict())
    tell(describe(report, go_on))
    code = exit_code_of_report(report)
    if code != ExitCode.DONE:
        raise typer.Exit(code)


def describe(report: Report, go_on: str | None = None) -> str:
    """Return what a run did, in a few lines for people.

    Parameters
    ----------
    report : Report
        The run.
    go_on : str, optional
        The command that continues an interrupted run; ``asyncfetch resume`` by default.
    """
    lines = [
        (
            f"{counted(report.n_committed, 'section')} written, {report.n_skipped} already stored, "
            f"{_n_sections_failed(report)} failed; {counted(report.n_requests, 'request')} "
            f"({counted(report.n_retries, 'retry', 'retries')}), {sized(report.received_bytes)}, "
            f"{megapixels(report.pixels)} in {lasting(report.elapsed_s)}; {report.location}"
        )
    ]
    if held := report.metrics.held_back_by():
        shares = ", ".join(f"{_HOLDERS[cause]} {share:.0%}" for cause, share in held.items() if share >= 0.05)
        goodput = report.goodput_bytes_per_s / 1e6
        n_at_once = report.metrics.max_window
        most = f", at most {counted(n_at_once, 'image')} at once" if n_at_once else ""
        lines.append(f"{goodput:.2f} MB/s{most}; waited for: {shares}")
    if report.refresh is not None:
        lines += [f"refresh: {each}" for each in report.refresh.sentences()]
    if selections := [each for each in report.outcomes if each.status in _NOTHING]:
        lines.append(
            f"{len(selections)} of {counted(len(report.outcomes), 'selection')} came to nothing; "
            "--report FILE has a row for each"
        )
    lines += _listed("failed", report.failures)
    lines += [f"note: {note}" for note in report.notes]
    lines += _listed("stored but not registered", report.unplaced)
    if report.interrupted:
        lines.append(f"{_end_of(report)}; continue with: {go_on or f'asyncfetch resume {report.location}'}")
    return "\n".join(lines)


def _n_sections_failed(report: Report) -> int:
    """Return how many sections failed: they are not added up with selections and data sets."""
    return sum(failure.item.startswith("image:") for failure in report.failures)


def describe_figures(figures: LiveFigures) -> str:
    """Return how far a run is that is at work, in one line for people."""
    n_failed = sum(figures.n_failed.values())
    causes = ", ".join(f"{n} {error}" for error, n in sorted(figures.n_failed.items()))
    planned = f"{figures.n_committed} of {counted(figures.n_sections, 'section')} written"
    if not figures.is_plan_whole:
        planned += f" of the {counted(figures.n_data_sets, 'data set')} planned so far"
    left = (
        "" if figures.left_s is None or not figures.n_sections else f", about {lasting(figures.left_s)} left"
    )
    if left and not figures.is_plan_whole:
        left += " for these"
    return shown(
        f"{figures.state}, {lasting(figures.elapsed_s)} so far: {planned}, {figures.n_skipped} already stored, "
        f"{n_failed} failed{f' ({causes})' if causes else ''}; {sized(figures.received_bytes)} received, "
        f"{figures.goodput_bytes_per_s / 1e6:.2f} MB/s lately{left}",
        _MAX_FIGURES,
    )


def _end_of(report: Report) -> str:
    """Return what ended a run before its work was done."""
    if report.ended_by is None:
        return "interrupted"
    after = sized(report.received_bytes) if report.ended_by == "max_bytes" else lasting(report.elapsed_s)
    return f"ended after {after}, as {flag_of(report.ended_by)} says"


def megapixels(pixels: float) -> str:
    """Return a number of pixels for people."""
    number = pixels / 1e6
    return f"{number:.1f} MPix" if number < 10 else f"{number:.0f} MPix"


def _listed(title: str, failures: list[Any]) -> list[str]:
    return listed(
        failures,
        lambda each: f"{title}: {each.item}{f' {each.view}' if each.view else ''}: {each.message}",
        lambda n: f"{title}: {n} more; --json lists all",
    )


def as_plain(run: UnfinishedRun) -> dict[str, Any]:
    """Return a run as plain values for JSON."""
    return {
        "number": run.number,
        "selection": list(run.selection),
        "settings": run.settings,
        "base_url": run.base_url,
        "begun": run.begun,
        "is_alive": run.is_alive,
    }
