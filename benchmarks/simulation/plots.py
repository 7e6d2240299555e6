"""Pictures of simulated runs; needs matplotlib, the extra ``plot``."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

from asyncfetch.events import HostPaused, OutageBegan, OutageEnded, WindowChanged

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from matplotlib.axes import Axes

    from benchmarks.simulation.runs import Run, Sweep

__all__ = ["draw_host", "draw_overview"]

_STEP_S = 5.0
# Colours that stay apart for colour-blind readers (Okabe and Ito).
_OURS, _BEST, _SERIAL, _OPEN = "#0072B2", "#D55E00", "#777777", "#56B4E9"
_PAUSE, _OUTAGE = "#E69F00", "#999999"
_ERRORS = ("#CC79A7", "#009E73", "#D55E00", "#000000", "#0072B2")
_STYLE = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "font.size": 9,
    "legend.frameon": False,
}


def draw_host(sweep: Sweep, path: Path) -> None:
    """Draw concurrency, goodput and errors of the first seed over time."""
    run, best = sweep.adaptive[0], sweep.fixed[sweep.best_jobs][0]
    with mpl.rc_context(_STYLE):
        figure, panels = plt.subplots(
            3, 1, figsize=(9, 7.5), sharex=True, height_ratios=(3, 3, 2), layout="constrained"
        )
        _draw_concurrency(panels[0], run, sweep.best_jobs)
        _draw_goodput(panels[1], run, best, sweep.fixed[1][0])
        _draw_errors(panels[2], run)
        for panel in panels:
            _shade_waits(panel, run, is_labelled=panel is panels[2])
            if panel.get_legend_handles_labels()[0]:
                panel.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
        panels[0].set_title(
            f"{sweep.kind.name}: {sweep.kind.story}\n"
            f"adaptive {100 * run.goodput() / best.goodput():.0f} % of the best fixed window, seed {run.seed}",
            loc="left",
        )
        panels[2].set_xlim(0, run.seconds)
        panels[2].set_xlabel("virtual time (s)")
        figure.savefig(path, dpi=110)
        plt.close(figure)


def draw_overview(sweeps: Iterable[Sweep], path: Path) -> None:
    """Draw goodput over the fixed window for every host, and where the adaptive one came out."""
    sweeps = list(sweeps)
    n_columns = min(3, len(sweeps))
    n_rows = -(-len(sweeps) // n_columns)
    with mpl.rc_context(_STYLE):
        figure, panels = plt.subplots(
            n_rows, n_columns, figsize=(4 * n_columns, 2.8 * n_rows), squeeze=False, layout="constrained"
        )
        for panel in panels.flat[len(sweeps) :]:
            panel.set_axis_off()
        for panel, sweep in zip(panels.flat, sweeps, strict=False):
            _draw_sweep(panel, sweep)
        for panel in panels[:, 0]:
            panel.set_ylabel("goodput (MB/s)")
        for panel in panels.flat[max(0, len(sweeps) - n_columns) : len(sweeps)]:
            panel.set_xlabel("fixed window (requests at once)")
        handles, labels = panels[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=3)
        figure.savefig(path, dpi=110)
        plt.close(figure)


def _draw_concurrency(panel: Axes, run: Run, best_jobs: int) -> None:
    changes = [(time, event) for time, event in run.events if isinstance(event, WindowChanged)]
    first = changes[0][1].before if changes else run.tally.most_open
    times = [0.0, *(time for time, _ in changes), run.seconds]
    sizes = [first, *(event.after for _, event in changes)]
    panel.step(times, [*sizes, sizes[-1]], where="post", color=_OURS, label="window")
    n_open = run.tally.mean_open(run.seconds, _STEP_S)
    panel.step(_edges(n_open), [*n_open, n_open[-1]], where="post", color=_OPEN, label="open, mean of 5 s")
    panel.axhline(best_jobs, color=_BEST, linestyle="--", linewidth=1, label=f"best fixed: {best_jobs}")
    panel.set_ylabel("requests at once")
    panel.set_ylim(bottom=0)


def _draw_goodput(panel: Axes, run: Run, best: Run, serial: Run) -> None:
    ours, theirs = (each.tally.rates(run.seconds, _STEP_S) for each in (run, best))
    panel.step(_edges(theirs), _mb([*theirs, theirs[-1]]), where="post", color=_BEST, alpha=0.35, linewidth=1)
    panel.axhline(best.goodput() / 1e6, color=_BEST, linestyle="--", linewidth=1, label="best fixed, mean")
    panel.axhline(
        serial.goodput() / 1e6, color=_SERIAL, linestyle=":", linewidth=1, label="one at a time, mean"
    )
    panel.step(_edges(ours), _mb([*ours, ours[-1]]), where="post", color=_OURS, label="adaptive, 5 s bins")
    panel.set_ylabel("goodput (MB/s)")
    panel.set_ylim(bottom=0)


def _draw_errors(panel: Axes, run: Run) -> None:
    k = round(_STEP_S / run.tally.bin_s)
    n = int(run.seconds / _STEP_S)
    base = [0] * n
    for name, colour in zip(sorted(run.tally.all_errors()), _ERRORS, strict=False):
        counts = [sum(each[name] for each in run.tally.errors[i * k : i * k + k]) for i in range(n)]
        label = f"HTTP {name}" if name.isdigit() else name
        centres = [(i + 0.5) * _STEP_S for i in range(n)]
        panel.bar(centres, counts, width=0.9 * _STEP_S, bottom=base, color=colour, label=label)
        base = [below + count for below, count in zip(base, counts, strict=True)]
    if not any(base):
        panel.set_ylim(0, 1)
        panel.text(0.5, 0.5, "no errors", transform=panel.transAxes, ha="center", va="center", color=_SERIAL)
    panel.set_ylabel("errors in 5 s")
    panel.yaxis.get_major_locator().set_params(integer=True)


def _shade_waits(panel: Axes, run: Run, *, is_labelled: bool) -> None:
    """Shade the pauses that the host asked for and the outages that the engine saw."""
    began: float | None = None
    spans: list[tuple[str, str, float, float]] = []
    for time, event in [*run.events, (run.seconds, OutageEnded(elapsed_s=0.0))]:
        match event:
            case HostPaused():
                spans.append(("pause asked for", _PAUSE, time, time + event.delay_s))
            case OutageBegan():
                began = time
            case OutageEnded() if began is not None:
                spans.append(("outage seen", _OUTAGE, began, time))
                began = None
    labelled: set[str] = set()
    for label, colour, begin, end in spans:
        shown = label if is_labelled and label not in labelled else None
        labelled.add(label)
        panel.axvspan(begin, end, color=colour, alpha=0.25, lw=0, label=shown)


def _draw_sweep(panel: Axes, sweep: Sweep) -> None:
    jobs = sorted(sweep.fixed)
    panel.plot(
        jobs,
        _mb([sweep.fixed_goodput(each) for each in jobs]),
        "o-",
        ms=4,
        color=_BEST,
        label="fixed window, median",
    )
    ours = _mb([run.goodput() for run in sweep.adaptive])
    panel.axhspan(min(ours), max(ours), color=_OURS, alpha=0.2, lw=0)
    panel.axhline(statistics.median(ours), color=_OURS, label="adaptive, median and range")
    since_s = sweep.settles_s
    settled = _mb([run.goodput(since_s) for run in sweep.adaptive])
    panel.axhline(statistics.median(settled), color=_OURS, linestyle=":", label="adaptive, once settled")
    panel.set_title(
        f"{sweep.kind.name}: {100 * statistics.median(sweep.over_best()):.0f} % of the best",
        loc="left",
        fontsize=10,
    )
    panel.set_xscale("log", base=2)
    panel.set_xticks(jobs, [str(each) if each in {1, 2, 4, 8, 16, 32, 64} else "" for each in jobs])
    panel.minorticks_off()
    panel.set_ylim(bottom=0)


def _edges(values: list[float]) -> list[float]:
    return [k * _STEP_S for k in range(len(values) + 1)]


def _mb(values: list[float]) -> list[float]:
    return [value / 1e6 for value in values]
