"""``python -m benchmarks``: run the harness, print a table, keep the figures as JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import anyio

from benchmarks import whole_runs

LIBRARIES = (
    "asyncfetch",
    "aiohttp",
    "imagecodecs",
    "numcodecs",
    "numpy",
    "opencv-python-headless",
    "simplejpeg",
    "zarr",
)


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--repeats", type=int, default=5, help="runs of each contender (default 5)")
    parser.add_argument("--dataset", type=int, default=123, help="data set of the sample atlas (default 123)")
    parser.add_argument("--cache", type=Path, help="folder that keeps the replica's images between calls")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="where the JSON goes")
    arguments = parser.parse_args()
    summaries = anyio.run(whole_runs.run, arguments.repeats, arguments.dataset, arguments.cache)
    print(whole_runs.report(summaries))
    arguments.out.mkdir(parents=True, exist_ok=True)
    now = datetime.now(UTC)
    path = arguments.out / f"whole-runs-{now:%Y%m%dT%H%M%SZ}.json"
    machine = {
        "time": now.isoformat(timespec="seconds"),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in LIBRARIES},
    }
    path.write_text(json.dumps(machine | {"results": summaries}, indent=2))
    print(f"figures in {path}")


if __name__ == "__main__":
    main()
