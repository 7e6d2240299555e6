"""Whole runs beside each other, against one replica in a process of its own.

The contenders take turns, in an order drawn again each time, each in a fresh process and a fresh folder, so that what
else the machine does hits all alike. Medians and ratios are what counts. The bodies alone, fetched and thrown away
from a replica without a link, take part as one more contender: they tell what the server takes, and no conclusion is
drawn where that is more than half of a run.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from asyncfetch.replica import open_replica_process
from benchmarks.comparison import compare, log_figures, medians
from benchmarks.contenders.job import Job
from benchmarks.kinds import KINDS, OURS, Contender, Kind, images_of, megapixels_of
from benchmarks.peers import peer_python
from benchmarks.results import new_results, write_results
from benchmarks.tables import report

if TYPE_CHECKING:
    import argparse

ROOT = Path(__file__).parents[1]
BODIES = Contender("bodies alone", "bodies", changes={"jobs": 16})
# more than the largest data set's bodies, so that nothing is read from the disk while a contender runs
_CACHE_BYTES = 2**30


def add_options(parser: argparse.ArgumentParser) -> None:
    """Say what can be chosen."""
    kinds = ", ".join(KINDS)
    parser.add_argument(
        "--kinds", default="planes,full-zstd", help=f"of {kinds}, or all (default %(default)s)"
    )
    parser.add_argument("--repeats", type=int, default=5, help="runs of each contender (default 5)")
    parser.add_argument(
        "--peer-repeats", type=int, help="runs of atldld and AllenSDK (default 2 at the most)"
    )
    parser.add_argument("--images", type=int, help="at most so many images of a data set (default all)")
    parser.add_argument("--seed", type=int, default=0, help="of the order of the runs (default 0)")
    parser.add_argument("--cache", type=Path, help="folder that keeps the replica's images between calls")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="where the figures go")
    parser.add_argument("--plot", action="store_true", help="draw the figures as PNG (needs matplotlib)")


def main(options: argparse.Namespace) -> int:
    """Run what is asked for, print a table, keep the figures."""
    names = list(KINDS) if options.kinds == "all" else options.kinds.split(",")
    unknown = [name for name in names if name not in KINDS]
    if unknown:
        print(f"there is no kind {', '.join(unknown)}; known kinds: {', '.join(KINDS)}", file=sys.stderr)
        return 2
    path = new_results(options.out, "whole-runs")
    results = anyio.run(run, [KINDS[name] for name in names], options, path)
    print(report(results))
    print(f"figures in {path}")
    if options.plot:
        from benchmarks.plots import draw

        for picture in draw(path, options.out):
            print(f"picture {picture}")
    return 0


async def run(kinds: list[Kind], options: argparse.Namespace, path: Path) -> list[dict[str, Any]]:
    """Run every contender on every kind of work and return figures, medians and ratios.

    They are written after each kind: a run of hours that is ended early has not been for nothing.
    """
    folder = Path(tempfile.mkdtemp(prefix="asyncfetch-bench-"))
    results = []
    try:
        cache = options.cache or folder / "cache"
        for kind in kinds:
            results.append(await Comparison(kind, options, folder / "out", cache).run())
            write_results(path, results, seed=options.seed, repeats=options.repeats)
    finally:
        shutil.rmtree(folder)
    return results


class Comparison:
    """The contenders of one kind of work, run by turns."""

    def __init__(self, kind: Kind, options: argparse.Namespace, out: Path, cache: Path) -> None:
        self.kind = kind
        self.repeats = options.repeats
        self.peer_repeats = options.peer_repeats or min(options.repeats, 2)
        self.most_images = options.images
        self.random = random.Random(options.seed)
        self.out = out
        self.replica = {"cache_folder": str(cache), "cache_bytes": _CACHE_BYTES, "gzip_level": 0}

    async def run(self) -> dict[str, Any]:
        """Run them all and compare."""
        kind = self.kind
        pythons, left_out = self._pythons()
        async with AsyncExitStack() as stack:
            plain = await stack.enter_async_context(open_replica_process(**self.replica))
            shaped = plain
            if kind.link:
                shaped = await stack.enter_async_context(
                    open_replica_process(**self.replica, **asdict(kind.link))
                )
            tell(f"{kind.name}: warming the replica with data set {kind.data_set_id}")
            for base_url in {plain, shaped}:
                await self._run_one(BODIES, sys.executable, base_url)
            runs = await self._take_turns(pythons, plain, shaped)
        figures = {name: medians(each) for name, each in runs.items() if each}
        served = figures[BODIES.name]["s_per_image"]
        ratios = {
            each.name: compare(figures[OURS], figures[each.name], served, each.bar)
            for each in kind.contenders
            if each.name in figures and each.name != OURS
        }
        return {
            "name": kind.name,
            "title": kind.title,
            "work": kind.work,
            "data_set_id": kind.data_set_id,
            "link": str(kind.link) if kind.link else None,
            "served_s_per_image": served,
            "medians": figures,
            "ratios": ratios,
            "left_out": left_out,
            "runs": runs,
        }

    def _pythons(self) -> tuple[dict[str, str], list[str]]:
        """Return the interpreter of each contender that can run, and a line for each that cannot."""
        pythons, left_out = {BODIES.name: sys.executable}, []
        for contender in self.kind.contenders:
            python, reason = peer_python(contender.peer) if contender.peer else (sys.executable, "")
            if python is None:
                left_out.append(f"{contender.name}: {reason}")
                tell(f"{self.kind.name}: left out {left_out[-1]}")
            else:
                pythons[contender.name] = python
        return pythons, left_out

    async def _take_turns(
        self, pythons: dict[str, str], plain: str, shaped: str
    ) -> dict[str, list[dict[str, Any]]]:
        there = [each for each in (BODIES, *self.kind.contenders) if each.name in pythons]
        runs: dict[str, list[dict[str, Any]]] = {each.name: [] for each in there}
        for repeat in range(self.repeats):
            turn = [each for each in there if not each.peer or repeat < self.peer_repeats]
            self.random.shuffle(turn)
            for contender in turn:
                base_url = plain if contender is BODIES else shaped
                figures = await self._run_one(contender, pythons[contender.name], base_url)
                runs[contender.name].append(figures)
                tell(
                    f"{self.kind.name}, {repeat + 1} of {self.repeats}: {contender.name} "
                    f"{figures['wall_s'] / figures['n_images']:.3f} s per image"
                )
        return runs

    async def _run_one(self, contender: Contender, python: str, base_url: str) -> dict[str, Any]:
        kind = self.kind
        out = await anyio.to_thread.run_sync(self._fresh_folder)
        limits = [n for n in (self.most_images, contender.n_images) if n]
        image_ids = images_of(kind.data_set_id, min(limits, default=None))
        job = Job(base_url, kind.data_set_id, kind.layers, kind.um, kind.codec, str(out), image_ids=image_ids)
        job = Job(**{**asdict(job), **contender.changes})
        seen = len(await records_of(base_url))
        command = [python, "-m", f"benchmarks.contenders.{contender.program}", job.to_json()]
        done = await anyio.run_process(command, cwd=ROOT, stderr=None, check=False)
        if done.returncode:
            raise subprocess.CalledProcessError(done.returncode, command, done.stdout)
        # a contender may print for itself; its figures are the last line
        figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        figures["megapixels"] = megapixels_of(image_ids)
        return figures | log_figures((await records_of(base_url))[seen:])

    def _fresh_folder(self) -> Path:
        """Return a folder for a run, and empty the files of the runs before.

        They are deleted once all runs are over: ext4 passes over inodes of files that were deleted a moment ago, and
        whoever makes many files pays for its search (planes took 0.055 instead of 0.045 s per image).
        """
        for folder, _, names in self.out.walk():
            for name in names:
                os.truncate(folder / name, 0)
        self.out.mkdir(exist_ok=True)
        return Path(tempfile.mkdtemp(dir=self.out)) / "out"


async def records_of(base_url: str) -> list[dict[str, Any]]:
    """Return the log of a replica."""

    def read() -> list[dict[str, Any]]:
        with urllib.request.urlopen(f"{base_url}/replica/requests") as reply:
            return json.load(reply)

    return await anyio.to_thread.run_sync(read)


def tell(text: str) -> None:
    """Print progress."""
    print(text, file=sys.stderr, flush=True)
