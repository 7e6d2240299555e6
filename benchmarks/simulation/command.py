"""``python -m benchmarks simulate``: sweep the hosts, check the rate, or mirror for a day, in virtual time."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.simulation.day import measure_day
from benchmarks.simulation.kinds import KINDS
from benchmarks.simulation.rates import check_rate
from benchmarks.simulation.report import figures, table
from benchmarks.simulation.runs import FIXED, Sweep, sweep

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

__all__ = ["add_options", "main"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what can be chosen."""
    parser.add_argument(
        "--hosts", nargs="+", choices=KINDS, default=list(KINDS), metavar="HOST", help="default: all"
    )
    parser.add_argument("--seeds", type=int, default=5, help="runs of each window (default 5)")
    parser.add_argument("--seconds", type=float, default=300.0, help="virtual seconds of a run (default 300)")
    parser.add_argument(
        "--fixed",
        type=int,
        nargs="+",
        default=list(FIXED),
        metavar="N",
        help="fixed windows besides 1",
    )
    parser.add_argument("--out", type=Path, help="folder for pictures and figures; default: draw none")
    parser.add_argument("--rates", action="store_true", help="check the rate limit instead")
    parser.add_argument("--day", action="store_true", help="mirror for a day instead")
    parser.add_argument(
        "--requests", type=int, help="with --rates (default 100000 a limit) or --day (default 1000000)"
    )


def main(options: argparse.Namespace) -> int:
    """Run what is asked for and return the exit code: 1 where a limit was not kept."""
    if options.day:
        print(measure_day(options.requests or 10**6))
    elif options.rates:
        return _print_rates(options.requests or 10**5)
    else:
        # the adaptive window is compared with the serial one
        fixed = sorted({1, *options.fixed})
        _sweep_all(options.hosts, fixed, range(1, options.seeds + 1), options.seconds, options.out)
    return 0


def _print_rates(n_requests: int) -> int:
    code = 0
    for limit in (5.0, 20.0, 50.0):
        check = check_rate(limit, n_requests)
        print(
            f"limit {limit:g}/s: {check.n_starts} starts, at most {check.most} in any second, "
            f"{check.use:.2%} of the limit used",
            flush=True,
        )
        if check.most > limit:
            code = 1
    return code


def _sweep_all(
    hosts: list[str], fixed: list[int], seeds: Iterable[int], seconds: float, out: Path | None
) -> None:
    swept: list[Sweep] = []
    for name in hosts:
        print(f"{name} …", file=sys.stderr)
        swept.append(sweep(KINDS[name], seeds, fixed, seconds))
    all_figures = [figures(each) for each in swept]
    print(table(all_figures))
    if out is None:
        return
    # Drawing needs the extra; sweeping does not.
    from benchmarks.simulation.plots import draw_host, draw_overview

    out.mkdir(parents=True, exist_ok=True)
    for each in swept:
        draw_host(each, out / f"{each.kind.name}.png")
    draw_overview(swept, out / "overview.png")
    (out / "simulation.json").write_text(json.dumps(all_figures, indent=2))
    print(f"pictures and figures in {out}", file=sys.stderr)
