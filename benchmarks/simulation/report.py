"""What sweeps showed, as a table for people and as figures for JSON."""

from __future__ import annotations

import statistics
from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from benchmarks.simulation.runs import Sweep

__all__ = ["figures", "table"]


def figures(sweep: Sweep) -> dict[str, Any]:
    """Return the figures of one host: goodput in bytes/s, ratios as median and minimum over the seeds."""
    best, since_s = sweep.best_jobs, sweep.settles_s
    return {
        "host": sweep.kind.name,
        "story": sweep.kind.story,
        "seeds": [run.seed for run in sweep.adaptive],
        "seconds": sweep.adaptive[0].seconds,
        "fixed_bytes_per_s": {jobs: sweep.fixed_goodput(jobs) for jobs in sorted(sweep.fixed)},
        "best_jobs": best,
        "best_bytes_per_s": sweep.fixed_goodput(best),
        "adaptive_bytes_per_s": statistics.median(run.goodput() for run in sweep.adaptive),
        "over_best": _spread(sweep.over_best()),
        "settles_s": since_s,
        "over_best_settled": _spread(sweep.over_best(since_s)),
        "over_serial": _spread(sweep.over_serial()),
        "errors": dict(_all_errors(sweep)),
        "n_given_up": sum(run.failures.total() for run in sweep.adaptive),
        "n_done": sum(run.n_done for run in sweep.adaptive),
    }


def _all_errors(sweep: Sweep) -> Counter[str]:
    return sum((run.tally.all_errors() for run in sweep.adaptive), Counter())


def _spread(ratios: list[float]) -> dict[str, float]:
    return {"median": statistics.median(ratios), "least": min(ratios)}


def table(all_figures: Iterable[dict[str, Any]]) -> str:
    """Return one line a host; ratios are median (least)."""
    heads = ("over the best", "once settled", "over serial")
    lines = [
        f"{'host':20} {'best fixed':>18} {'adaptive':>10}  {' '.join(f'{head:>14}' for head in heads)}  errors given up"
    ]
    for each in all_figures:
        best, ours = each["best_bytes_per_s"], each["adaptive_bytes_per_s"]
        lines.append(
            f"{each['host']:20} {best / 1e6:8.2f} MB/s at {each['best_jobs']:2} {ours / 1e6:10.2f}  "
            f"{_ratio(each['over_best']):>14} {_ratio(each['over_best_settled']):>14} "
            f"{_ratio(each['over_serial']):>14}  {sum(each['errors'].values()):6} {each['n_given_up']:8}"
        )
    return "\n".join(lines)


def _ratio(spread: dict[str, float]) -> str:
    return f"{spread['median']:.2f} ({spread['least']:.2f})"
