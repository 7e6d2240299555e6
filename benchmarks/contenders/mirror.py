"""asyncfetch itself."""

from __future__ import annotations

import sys
from pathlib import Path

import anyio

import asyncfetch
from benchmarks.contenders.meter import metered


def main(base_url: str, data_set_id: str, layers: str, um: str, codec: str, out: str) -> None:
    """Mirror one data set at full resolution."""
    # what is imported lazily is imported before the clock starts, as for every contender
    mirror = asyncfetch.mirror

    async def run() -> int:
        report = await mirror(
            f"dataset:{data_set_id}",
            out,
            base_url=base_url,
            downsample=0,
            um=um,
            layers=layers,
            codec=codec,
            requests_per_s=10_000.0,
        )
        assert not report.failures, report.failures
        return report.n_committed

    with metered(Path(out)) as figures:
        figures["n_images"] = anyio.run(run)


if __name__ == "__main__":
    main(*sys.argv[1:])
