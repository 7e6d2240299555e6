"""``asyncfetch demo``: the whole way on this machine alone, held against the truth at its end."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asyncfetch.cli.configuration import Given
from asyncfetch.cli.console import echo, print_json, tell
from asyncfetch.cli.exits import ExitCode, exit_code_of_report
from asyncfetch.cli.options import AsJson, Quiet, takes
from asyncfetch.cli.reports import describe
from asyncfetch.cli.running import run_to_report
from asyncfetch.text import lasting

if TYPE_CHECKING:
    import anyio

    from asyncfetch.events import Listener
    from asyncfetch.mirroring import Report
    from asyncfetch.sample import PlaneError

__all__ = ["demo"]

_DATA_SET_ID = 69289763
_MAX_MEAN_ABS = 2.0
_N_PICTURED = 4
_MAGNIFIED = 16


def demo(
    given: Annotated[Given, takes("jobs", "workers", has_config=False)],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Where the results go.")] = Path(
        "asyncfetch-demo"
    ),
    um: Annotated[
        float, typer.Option(min=1.0, metavar="PITCH", help="Pitch of the registered grid in µm.")
    ] = 25.0,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Mirror from a local replica, and compare with the truth.

    The replica draws the images of real sections from an analytic phantom of a brain, so that the registered planes
    can be compared with the phantom itself. Nothing leaves this machine.
    """
    from asyncfetch import mirroring, store
    from asyncfetch.replica import open_replica
    from asyncfetch.sample import compare_with_phantom, sample_atlas
    from asyncfetch.settings import Settings

    atlas = sample_atlas()
    location = out / f"data_set_{_DATA_SET_ID}_{um:g}um.zarr"

    async def run(on_event: Listener, drain: anyio.Event) -> Report:
        async with open_replica(atlas) as replica:
            tell(f"replica of the API at {replica.base_url}; mirroring data set {_DATA_SET_ID} at {um:g} µm")
            # the replica is ours: nobody has to be spared
            settings = Settings.from_layers(
                {
                    "base_url": replica.base_url,
                    "proxy": "none",
                    "um": um,
                    "jobs": given["jobs"],
                    "workers": given["workers"],
                    "requests_per_s": 1000.0,
                }
            )
            return await mirroring.mirror(
                f"dataset:{_DATA_SET_ID}", location, settings=settings, on_event=on_event, drain=drain
            )

    report = run_to_report(run, quiet=quiet)
    tell(describe(report, go_on="asyncfetch demo, with the same options"))
    if exit_code_of_report(report) != ExitCode.DONE:
        raise typer.Exit(exit_code_of_report(report))
    started_s = time.monotonic()
    data_set = store.open(location).data_set(_DATA_SET_ID)
    errors = list(compare_with_phantom(data_set, atlas.phantom))
    picture = out / "registered-and-truth.png"
    _draw(picture, errors, um)
    mean_abs = sum(error.mean_abs * error.n_voxels for error in errors) / sum(
        error.n_voxels for error in errors
    )
    shift = max(max(abs(error.shift_x), abs(error.shift_y)) for error in errors)
    figures: dict[str, Any] = {
        "data_set_id": _DATA_SET_ID,
        "um": um,
        "n_planes": len(errors),
        "mean_abs_difference_grey_levels": mean_abs,
        "worst_plane_grey_levels": max(error.mean_abs for error in errors),
        "largest_shift_grid_steps": shift,
        "mirrored_in_s": report.elapsed_s,
        "compared_in_s": time.monotonic() - started_s,
        "store": str(location),
        "picture": str(picture),
    }
    if as_json:
        print_json(figures | {"report": report.as_dict()})
    else:
        _print(figures)
    if mean_abs >= _MAX_MEAN_ABS:
        tell(f"error: the planes differ from the phantom by {mean_abs:.2f} grey levels")
        raise typer.Exit(ExitCode.VERIFICATION_FAILED)


def _print(figures: dict[str, Any]) -> None:
    echo(
        f"{figures['n_planes']} registered planes against the phantom, inside the brain:\n"
        f"  mean absolute difference {figures['mean_abs_difference_grey_levels']:.2f} grey levels "
        f"(worst plane {figures['worst_plane_grey_levels']:.2f})\n"
        f"  largest shift            {figures['largest_shift_grid_steps']:.3f} of a grid step of {figures['um']:g} µm\n"
        f"  mirrored in              {lasting(figures['mirrored_in_s'])}, "
        f"compared in {lasting(figures['compared_in_s'])}\n"
        f"store    {figures['store']}\n"
        f"picture  {figures['picture']}"
    )


def _draw(path: Path, errors: list[PlaneError], um: float) -> None:
    """Draw some planes beside the truth and their difference, magnified."""
    import numpy as np

    from asyncfetch.views import Panel, save_figure

    step = max(1, len(errors) // _N_PICTURED)
    rows = []
    for error in errors[step // 2 :: step][:_N_PICTURED]:
        difference = error.registered.astype(np.int16) - error.truth
        magnified = np.clip(128 + _MAGNIFIED * difference, 0, 255).astype(np.uint8)
        rows.append(
            [
                Panel(f"section {error.section_number}, registered", error.registered),
                Panel("the phantom on the same plane", error.truth),
                Panel(f"difference x {_MAGNIFIED}, mean {error.mean_abs:.2f} grey levels", magnified),
            ]
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    # Pillow's own font has no µ
    save_figure(path, f"Data set {_DATA_SET_ID}, sagittal, {um:g} um", rows)
