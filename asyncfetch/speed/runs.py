"""A small whole run, measured: from metadata to commits, and the same bodies with nothing done to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import msgspec

from asyncfetch.allen import ImageRequest
from asyncfetch.engine import Engine, Request
from asyncfetch.engine.groups import failing_alone
from asyncfetch.mirroring import mirror
from asyncfetch.speed.meter import Cost, metered

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from asyncfetch.engine import Acceptance, Reply
    from asyncfetch.mirroring import Report
    from asyncfetch.settings import Settings

__all__ = ["RunMeasurement", "measure_bodies", "measure_run"]

_MAX_BYTES = 2**30


class RunMeasurement(msgspec.Struct, frozen=True, kw_only=True):
    """What a whole run took.

    Attributes
    ----------
    report : Report
        What was done, failures included.
    cost : Cost
        What it took; its peak memory includes that of the process before the run.
    stored_bytes : int
        Size of all files of the store.
    """

    report: Report
    cost: Cost
    stored_bytes: int

    @property
    def s_per_image(self) -> float | None:
        """Wall seconds for each image that was committed; None where none was."""
        n = self.report.n_committed
        return self.cost.wall_s / n if n else None

    @property
    def megapixels_per_cpu_s(self) -> float | None:
        """Megapixels that one core did in a second; None where it took less than the clock can tell."""
        return self.report.pixels / 1e6 / self.cost.cpu_s if self.cost.cpu_s else None


async def measure_run(image_ids: Sequence[int], location: Path, settings: Settings) -> RunMeasurement:
    """Mirror some images into a new store and measure it.

    Parameters
    ----------
    image_ids : sequence of int
        Section images.
    location : Path
        Where the store will lie; there must be nothing.
    settings : Settings
        Of the run.
    """
    with metered() as cost:
        report = await mirror([f"image:{each}" for each in image_ids], location, settings=settings)
    stored_bytes = await anyio.to_thread.run_sync(_size_of, location)
    return RunMeasurement(report=report, cost=cost, stored_bytes=stored_bytes)


def _size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


async def measure_bodies(image_ids: Sequence[int], settings: Settings) -> Cost:
    """Fetch the bodies of images at full resolution, do nothing with them, and measure it.

    Parameters
    ----------
    image_ids : sequence of int
        Section images.
    settings : Settings
        How many at once and how fast.

    Raises
    ------
    AsyncFetchError
        A body is unavailable.
    """
    async with Engine(settings) as engine:
        with failing_alone(), metered() as cost:
            async with anyio.create_task_group() as tasks:
                for each in image_ids:
                    url = ImageRequest(image_id=each).url(settings.base_url)
                    tasks.start_soon(engine.fetch, Request(url, "image", _MAX_BYTES), _taken_as_it_is)
    return cost


async def _taken_as_it_is(reply: Reply, _accept: Acceptance) -> int:
    return len(reply.body)
