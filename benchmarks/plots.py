"""The figures of whole runs as pictures; needs matplotlib, the extra ``plot``."""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.kinds import OURS

if TYPE_CHECKING:
    import argparse

    from matplotlib.axes import Axes

__all__ = ["draw"]

# Colours that people with any kind of colour vision tell apart (Okabe and Ito).
_OURS, _FLOOR, _OTHER, _BODIES = "#0072B2", "#999999", "#D55E00", "#DDDDDD"
_LINES = ("#0072B2", "#56B4E9", "#999999", "#D55E00", "#009E73", "#CC79A7")
_DPI = 150


def add_options(parser: argparse.ArgumentParser) -> None:
    """Say what can be chosen."""
    parser.add_argument("results", type=Path, help="a file that `whole` wrote")
    parser.add_argument("--out", type=Path, help="folder of the pictures (default that of the file)")


def main(options: argparse.Namespace) -> int:
    """Draw the figures of one file."""
    for path in draw(options.results, options.out or options.results.parent):
        print(path)
    return 0


def draw(results: Path, folder: Path) -> list[Path]:
    """Draw seconds per image, throughput ratios, and for a slow link what came when.

    Parameters
    ----------
    results : Path
        What `whole` wrote.
    folder : Path
        Where the pictures go.

    Returns
    -------
    list of Path
        The pictures; none where matplotlib is not installed, which is told on stderr.
    """
    try:
        import matplotlib as mpl
    except ImportError:
        print("no pictures: matplotlib is not installed; install the extra `plot`", file=sys.stderr)
        return []
    mpl.use("Agg")
    document = json.loads(results.read_text())
    kinds: list[dict[str, Any]] = document["results"]
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / "seconds-an-image.png", folder / "throughput-ratios.png"]
    _draw_seconds(kinds, paths[0], document)
    _draw_ratios(kinds, paths[1], document)
    slow = [kind for kind in kinds if kind["link"]]
    if slow:
        paths.append(folder / "slow-link.png")
        _draw_arrivals(slow, paths[-1], document)
    return paths


def _draw_seconds(kinds: list[dict[str, Any]], path: Path, document: dict[str, Any]) -> None:
    from matplotlib.figure import Figure

    heights = [len(kind["medians"]) for kind in kinds]
    figure = Figure(figsize=(8, 1.0 + 0.36 * sum(heights) + 0.7 * len(kinds)), layout="constrained")
    panels = figure.subplots(len(kinds), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axes, kind in zip(panels, kinds, strict=True):
        names = list(kind["medians"])
        seconds = [kind["medians"][name]["s_per_image"] for name in names]
        bars = axes.barh(names, seconds, color=[_colour(name) for name in names])
        axes.bar_label(bars, [f"{value:.3g}" for value in seconds], padding=3)
        # the slowest are a hundred times slower than the fastest
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.set_xlim(min(seconds) / 2, max(seconds) * 3)
        axes.set_title(kind["title"], loc="left", fontsize="medium")
        _plainly(axes)
    panels[-1].set_xlabel("seconds per image (logarithmic; less is better)")
    _save(figure, path, document)


def _draw_ratios(kinds: list[dict[str, Any]], path: Path, document: dict[str, Any]) -> None:
    from matplotlib.figure import Figure

    rows = [
        (f"{name}\n{kind['title']}", ratio)
        for kind in kinds
        for name, ratio in kind["ratios"].items()
        if "wall" in ratio and not name.startswith(OURS)
    ]
    figure = Figure(figsize=(8, 1.2 + 0.5 * max(1, len(rows))), layout="constrained")
    axes = figure.subplots()
    labels = [label for label, _ in rows]
    values = [ratio["wall"] for _, ratio in rows]
    if rows:
        places = range(len(rows))
        bars = axes.barh(places, values, color=_OURS, height=0.6)
        axes.set_yticks(places, labels, fontsize="small")
        for label in axes.bar_label(bars, [f"{value:.2f}" for value in values], padding=5):
            # readable where a bar to be reached or the line at 1 runs through it
            label.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 1.0})
            label.set_zorder(5)
        wanted = [(k, ratio["bar"]) for k, (_, ratio) in enumerate(rows) if ratio["bar"]]
        for k, bar in wanted:
            axes.plot(
                [bar, bar],
                [k - 0.42, k + 0.42],
                color=_OTHER,
                linewidth=2,
                label="bar" if k == wanted[0][0] else None,
            )
        axes.axvline(1.0, color="black", linewidth=0.8)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
        edge = [*values, *(bar for _, bar in wanted), 1.0]
        axes.set_xlim(min(edge) / 2, max(edge) * 3)
        axes.invert_yaxis()
        if wanted:
            axes.legend(loc="lower right", frameon=False)
    axes.set_xlabel(f"throughput of {OURS} over it (logarithmic; more is better)")
    axes.spines[["top", "right"]].set_visible(False)
    _save(figure, path, document)


def _draw_arrivals(kinds: list[dict[str, Any]], path: Path, document: dict[str, Any]) -> None:
    """Draw how many images had come after each second, for the median run of each contender."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.4 * len(kinds)), layout="constrained")
    panels = figure.subplots(len(kinds), 1, squeeze=False)[:, 0]
    for axes, kind in zip(panels, kinds, strict=True):
        drawn = [name for name in kind["runs"] if _colour(name) != _BODIES]
        for name, colour in zip(drawn, _LINES, strict=False):
            arrivals = _median_run(kind["runs"][name])["arrivals_s"]
            axes.plot(
                [0.0, *arrivals], range(len(arrivals) + 1), label=name, color=colour, drawstyle="steps-post"
            )
        axes.set_xscale("symlog", linthresh=1.0)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.set_xlim(left=0.0)
        axes.set_ylim(bottom=0)
        axes.set_ylabel("images sent")
        axes.set_title(f"{kind['title']}: {kind['link']}", loc="left", fontsize="medium")
        axes.legend(frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
    panels[-1].set_xlabel("seconds since the first request (logarithmic from 1 s on)")
    _save(figure, path, document)


def _median_run(runs: list[dict[str, Any]]) -> dict[str, Any]:
    wall_s = statistics.median_low(run["wall_s"] for run in runs)
    return next(run for run in runs if run["wall_s"] == wall_s)


def _colour(name: str) -> str:
    if name == "bodies alone":
        return _BODIES
    if name.startswith("floor"):
        return _FLOOR
    return _OURS if name.startswith(OURS) else _OTHER


def _plainly(axes: Axes) -> None:
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right"]].set_visible(False)


def _save(figure: Any, path: Path, document: dict[str, Any]) -> None:
    load = document.get("load_1min")
    busy = "" if load is None else f", load {load:.1f}"
    figure.suptitle(
        f"{document['cores']} cores of {document['machine']}{busy}, Python {document['python']}, "
        f"medians of {document['repeats']} interleaved runs, {document['time'][:10]}",
        fontsize="small",
    )
    figure.savefig(path, dpi=_DPI)
