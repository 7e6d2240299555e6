"""``asyncfetch bench``: what this machine, or a server of one's own, can do."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asyncfetch.cli.configuration import Given
from asyncfetch.cli.console import echo, print_json, tell
from asyncfetch.cli.exits import exit_code_of_report
from asyncfetch.cli.options import MACHINE, SERVER, AsJson, takes
from asyncfetch.cli.reports import describe
from asyncfetch.cli.running import run_interruptible
from asyncfetch.errors import NotFoundError
from asyncfetch.text import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncfetch.settings import Settings
    from asyncfetch.speed import RunMeasurement, StageMeasurement

__all__ = ["bench"]

_DATA_SET_ID = 123
# the replica is ours: nobody has to be spared
_UNLIMITED_PER_S = 10_000.0
_OPTIONS = takes(
    SERVER,
    MACHINE,
    defaults={"base_url": "a replica on this machine"},
    helps={"base_url": "A server to measure with, at the default rate."},
)
_LAYERS = ("source,registered", "source,sections,registered")


def bench(
    given: Annotated[Given, _OPTIONS],
    dataset: Annotated[int, typer.Option(metavar="ID", help="The data set of the run.")] = _DATA_SET_ID,
    images: Annotated[
        int,
        typer.Option(min=1, max=50, metavar="N", help="Images of the run, from the middle of the data set."),
    ] = 4,
    repeats: Annotated[int, typer.Option(min=1, metavar="N", help="How often each stage is run.")] = 5,
    megapixels: Annotated[
        float, typer.Option(min=0.1, max=44.0, metavar="N", help="Size of the image that the stages work on.")
    ] = 16.0,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--folder",
            metavar="DIR",
            help="Where to write; emptied at the end.",
            show_default="that of temporary files",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure each stage and a small run on this machine.

    Each stage is measured alone, on one core. The run fetches a few images at full resolution from a replica in a
    process of its own; or, with --base-url, from another server: once, at the tier that 25 µm needs and at the default
    rate. Nothing is kept.
    """
    from asyncfetch.speed import describe_machine, measure_stages

    settings, base_url = given.settings(), given["base_url"]
    figures: dict[str, Any] = {"machine": describe_machine()}
    with tempfile.TemporaryDirectory(prefix="asyncfetch-bench-", dir=folder) as own:
        tell(f"measuring the stages with an image of {megapixels:g} megapixels")
        stages = list(measure_stages(_drawn_jpeg(megapixels), Path(own), repeats=repeats))
        if base_url is None:
            settings = settings.replace(requests_per_s=_UNLIMITED_PER_S, downsample=0)
            runs, served_s = run_interruptible(partial(_with_replica, dataset, images, settings, Path(own)))
        else:
            runs, served_s = (
                [run_interruptible(partial(_with_server, dataset, images, settings, Path(own)))],
                None,
            )
    figures["stages"] = [_of_stage(each) for each in stages]
    figures["runs"] = [_of_run(each, layers) for each, layers in zip(runs, _LAYERS, strict=False)]
    figures["served_s"] = served_s
    figures["no_conclusion"] = _why_no_conclusion(served_s, runs)
    if as_json:
        print_json(figures)
    else:
        _print(figures)
    failed = [each.report for each in runs if each.report.failures]
    if failed:
        tell(describe(failed[0]))
        raise typer.Exit(exit_code_of_report(failed[0]))


def _drawn_jpeg(megapixels: float) -> bytes:
    """Return a part of an image of the sample atlas, from its middle, as the replica would send it."""
    from asyncfetch.geometry import Box
    from asyncfetch.imaging import encode
    from asyncfetch.sample import sample_atlas

    atlas = sample_atlas()
    rows = [row for row in atlas.tables["SectionImage"] if row["data_set_id"] == _DATA_SET_ID]
    row = rows[len(rows) // 2]
    scale = (megapixels * 1e6 / (row["width"] * row["height"])) ** 0.5
    width, height = (max(1, min(row[name], int(row[name] * scale))) for name in ("width", "height"))
    left, top = (row["width"] - width) // 2, (row["height"] - height) // 2
    return encode(atlas.draw(row["id"], box=Box(top, left, top + height, left + width)))


async def _with_replica(
    data_set_id: int, n_images: int, settings: Settings, folder: Path
) -> tuple[list[RunMeasurement], float]:
    from asyncfetch.replica import open_replica_process
    from asyncfetch.speed import measure_bodies, measure_run

    async with open_replica_process(gzip_level=0) as base_url:
        settings = settings.replace(base_url=base_url, proxy="none")
        image_ids = await _middle_images(data_set_id, n_images, settings)
        tell(f"drawing {counted(len(image_ids), 'image')} for the replica")
        await measure_bodies(image_ids, settings)
        served = await measure_bodies(image_ids, settings)
        runs = []
        for k, layers in enumerate(_LAYERS):
            tell(f"whole run: {layers}")
            changed = settings.replace(layers=layers.split(","))
            runs.append(await measure_run(image_ids, folder / f"run{k}.zarr", changed))
    return runs, served.wall_s


async def _with_server(data_set_id: int, n_images: int, settings: Settings, folder: Path) -> RunMeasurement:
    from asyncfetch.speed import measure_run

    image_ids = await _middle_images(data_set_id, n_images, settings)
    tell(f"whole run: {_LAYERS[0]}, {counted(len(image_ids), 'image')} of {settings.base_url}")
    return await measure_run(image_ids, folder / "run.zarr", settings.replace(layers=_LAYERS[0].split(",")))


async def _middle_images(data_set_id: int, n_images: int, settings: Settings) -> Sequence[int]:
    """Return the ids of images from the middle of a data set, where a brain is largest."""
    from asyncfetch.client import Client

    async with Client(settings=settings) as client:
        data_set = await client.data_set(data_set_id)
    ids = [section.id for section in data_set.section_images]
    if not ids:
        raise NotFoundError(
            f"data set {data_set_id} has no images to measure with; name another with --dataset"
        )
    start = max(0, (len(ids) - n_images) // 2)
    return ids[start : start + n_images]


def _why_no_conclusion(served_s: float | None, runs: Sequence[RunMeasurement]) -> str | None:
    from asyncfetch.speed import why_no_conclusion

    if served_s is None:
        return "the server and the rate decide how long this takes, not this machine alone"
    return why_no_conclusion(served_s, *(each.cost.wall_s for each in runs))


def _of_stage(stage: StageMeasurement) -> dict[str, Any]:
    import msgspec

    return {**msgspec.to_builtins(stage), "per_cpu_s": stage.per_cpu_s}


def _of_run(run: RunMeasurement, layers: str) -> dict[str, Any]:
    import msgspec

    return {
        "layers": layers,
        "n_images": run.report.n_committed,
        "n_failed": run.report.n_failed,
        "s_per_image": run.s_per_image,
        "megapixels_per_cpu_s": run.megapixels_per_cpu_s,
        "received_bytes": run.report.received_bytes,
        "stored_bytes": run.stored_bytes,
        **msgspec.to_builtins(run.cost),
    }


def _print(figures: dict[str, Any]) -> None:
    machine = figures["machine"]
    cores = counted(machine["cores"], "core")
    where = f"{cores}, {machine['machine']}, {machine['system']}, Python {machine['python']}"
    lines = [
        f"{where}, asyncfetch {machine['versions']['asyncfetch']}",
        "",
        f"{'stage, on one core':52}{'wall ms':>10}{'CPU ms':>10}{'per CPU second':>20}{'ratio':>8}",
    ]
    for stage in figures["stages"]:
        ratio = "" if stage["ratio"] is None else f"{stage['ratio']:.1f}"
        lines.append(
            f"{stage['stage'] + ': ' + stage['detail']:52}{stage['wall_s'] * 1e3:10.1f}{stage['cpu_s'] * 1e3:10.1f}"
            f"{stage['per_cpu_s']:15,.0f} {stage['unit']:4}{ratio:>8}"
        )
    lines += [
        "",
        f"{'whole run':34}{'images':>8}{'s per image':>12}{'CPU s':>8}{'peak MiB':>10}{'MB stored':>11}",
    ]
    for run in figures["runs"]:
        if run["s_per_image"] is None:
            lines.append(f"{run['layers']:34}{0:8}  no image came")
            continue
        peak = "–" if run["peak_bytes"] is None else f"{run['peak_bytes'] / 2**20:.0f}"
        lines.append(
            f"{run['layers']:34}{run['n_images']:8}{run['s_per_image']:12.3f}{run['cpu_s'] / run['n_images']:8.3f}"
            f"{peak:>10}{run['stored_bytes'] / 1e6:11.1f}"
        )
    if figures["served_s"] is not None:
        lines.append(
            f"{'the bodies alone':34}{'':8}{figures['served_s'] / figures['runs'][0]['n_images']:12.3f}"
        )
    if figures["no_conclusion"]:
        lines.append(f"no conclusion: {figures['no_conclusion']}")
    echo("\n".join(lines))
