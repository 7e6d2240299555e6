"""``asyncfetch rebuild``: layers made from the stored JPEGs, offline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from asyncfetch.cli.configuration import settings_from
from asyncfetch.cli.options import AsJson, Memory, NumericExpression, Quiet, Wait, Workers  # noqa: TC001 - typer reads annotations
from asyncfetch.cli.reports import conclude
from asyncfetch.cli.running import run_to_report

if TYPE_CHECKING:
    import anyio

    from asyncfetch.events import Listener
    from asyncfetch.mirroring import Report

__all__ = ["rebuild"]


def rebuild(
    out: Annotated[str, typer.Argument(metavar="OUT", help="A store that holds the layer source.")],
    layers: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LAYERS", help="sections, registered or both; several allowed.", show_default="registered"
        ),
    ] = None,
    um: Annotated[
        str | None,
        typer.Option(
            metavar="PITCH", help="Pitch of the registered grid in µm.", show_default="as stored, or 25"
        ),
    ] = None,
    data_set_ids: Annotated[
        list[int] | None,
        typer.Option("--dataset", metavar="ID", help="Only this data set; several allowed."),
    ] = None,
    codec: Annotated[
        str | None,
        typer.Option(metavar="CODEC", help="zstd, blosc-lz4, jpegxl or none.", show_default="as stored"),
    ] = None,
    numeric_expression: NumericExpression = None,
    memory: Memory = None,
    workers: Workers = None,
    wait: Wait = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Make layers of a store from the JPEGs that it holds; nothing is fetched.

    What is stored as wanted stays, so that the same command goes on with an interrupted one. Another pitch or another
    codec takes the place of the one before.
    """
    given: dict[str, Any] = {
        "um": um,
        "layers": layers or ["registered"],
        "codec": codec,
        "numeric_expression": numeric_expression,
    }
    settings = settings_from(None, **given, memory_bytes=memory, workers=workers)
    # what is not given here is as stored, whatever the environment says
    choices = {name: getattr(settings, name) for name, value in given.items() if value is not None}
    del choices["layers"]
    from asyncfetch import mirroring

    async def run(on_event: Listener, drain: anyio.Event) -> Report:
        return await mirroring.rebuild(
            out,
            settings.layers,
            data_set_ids=data_set_ids or None,
            on_event=on_event,
            drain=drain,
            wait=wait,
            memory_bytes=settings.memory_bytes,
            workers=settings.workers,
            **choices,
        )

    conclude(run_to_report(run, quiet=quiet), as_json=as_json, go_on="the same command")
