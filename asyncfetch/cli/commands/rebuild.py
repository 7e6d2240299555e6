"""``asyncfetch rebuild``: layers made from the stored JPEGs, offline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from asyncfetch.cli.configuration import Given
from asyncfetch.cli.limiting import MaxTime, Until, read_limits
from asyncfetch.cli.machines import cluster_at, drained_s
from asyncfetch.cli.opening import refuse_if_busy
from asyncfetch.cli.options import (
    MACHINE,
    RECIPE,
    SETTING_OPTIONS,
    WRITING,
    AsJson,
    Cluster,
    LogJson,
    Metrics,
    Quiet,
    Wait,
    takes,
)
from asyncfetch.cli.reports import conclude
from asyncfetch.cli.running import run_to_report

if TYPE_CHECKING:
    import anyio

    from asyncfetch.events import Listener
    from asyncfetch.mirroring import Report

__all__ = ["rebuild"]

#: Settings that are as stored where they are not given, whatever the environment says: the recipe of the pixels.
_AS_STORED = tuple(
    row.setting
    for row in SETTING_OPTIONS
    if row.panel == RECIPE and row.setting not in {"downsample", "views", "layers", "ngff", "pack"}
)
_OPTIONS = takes(
    "layers",
    *_AS_STORED,
    MACHINE,
    WRITING,
    defaults={"layers": "registered", **dict.fromkeys(_AS_STORED, "as stored"), "um": "as stored, or 25"},
    helps={
        "um": 'Pitch of the registered grid in µm, or "full" for full resolution.',
        "layers": "sections, registered or both.",
    },
    has_config=False,
)


def rebuild(
    out: Annotated[str, typer.Argument(metavar="OUT", help="A store that holds the layer source.")],
    given: Annotated[Given, _OPTIONS],
    data_set_ids: Annotated[
        list[int] | None,
        typer.Option("--dataset", metavar="ID", help="Only this data set. May be repeated."),
    ] = None,
    image_ids: Annotated[
        list[int] | None,
        typer.Option("--image", metavar="ID", help="Only this section image. May be repeated."),
    ] = None,
    cluster: Cluster = None,
    log_json: LogJson = None,
    metrics: Metrics = None,
    max_time: MaxTime = None,
    until: Until = None,
    wait: Wait = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Make layers again from the stored JPEGs, offline.

    What is already stored as wanted stays, so that the same command continues an interrupted one. Another pitch or
    another codec replaces the one before.
    """
    settings = given.settings(layers=given["layers"] or "registered")
    choices: dict[str, Any] = {
        name: getattr(settings, name) for name in _AS_STORED if given[name] is not None
    }
    machines = cluster_at(cluster, quiet=quiet)
    limits = read_limits(None, max_time, until)
    refuse_if_busy(out, wait=wait)
    from asyncfetch import mirroring

    async def run(on_event: Listener, drain: anyio.Event) -> Report:
        return await mirroring.rebuild(
            out,
            layers=settings.layers,
            data_set_ids=data_set_ids or None,
            image_ids=image_ids or None,
            on_event=on_event,
            drain=drain,
            limits=limits,
            wait=wait,
            memory_bytes=settings.memory_bytes,
            workers=settings.workers,
            sync=settings.sync,
            cluster=machines,
            **choices,
        )

    report = run_to_report(
        run,
        quiet=quiet,
        log_json=log_json,
        metrics=metrics,
        drained_s=drained_s(cluster),
        go_on="the same command",
    )
    conclude(report, as_json=as_json, go_on="the same command")
