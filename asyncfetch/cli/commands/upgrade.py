"""``asyncfetch upgrade``: a store of an earlier layout version turned into today's, offline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from asyncfetch.cli.configuration import Given
from asyncfetch.cli.opening import refuse_if_busy
from asyncfetch.cli.options import MACHINE, WRITING, AsJson, LogJson, Metrics, Quiet, Store, Wait, takes
from asyncfetch.cli.reports import conclude
from asyncfetch.cli.running import run_to_report

if TYPE_CHECKING:
    import anyio

    from asyncfetch.events import Listener
    from asyncfetch.mirroring import Report

__all__ = ["upgrade"]


def upgrade(
    out: Store,
    given: Annotated[Given, takes(MACHINE, WRITING, has_config=False)],
    log_json: LogJson = None,
    metrics: Metrics = None,
    wait: Wait = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Turn a store of an earlier layout version into today's.

    It works in place and offline, one section at a time, so that the store takes little more room meanwhile. The same
    command continues an interrupted upgrade; until it has ended, other commands refuse the store.
    """
    settings = given.settings()
    refuse_if_busy(out, wait=wait)
    from asyncfetch import upgrading

    async def run(on_event: Listener, drain: anyio.Event) -> Report:
        return await upgrading.upgrade(
            out,
            on_event=on_event,
            drain=drain,
            wait=wait,
            memory_bytes=settings.memory_bytes,
            workers=settings.workers,
            sync=settings.sync,
        )

    report = run_to_report(run, quiet=quiet, log_json=log_json, metrics=metrics, go_on="the same command")
    conclude(report, as_json=as_json, go_on="the same command")
