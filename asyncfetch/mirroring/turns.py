"""Whose turn it is to write to a store: one run at a time, and the others are refused or wait."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import anyio

from asyncfetch.errors import StoreBusyError
from asyncfetch.events import StoreAwaited
from asyncfetch.store import StoreWriter
from asyncfetch.store.directory import cloud_address

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from asyncfetch.events import Listener
    from asyncfetch.settings import Sync
    from asyncfetch.store import Location

__all__ = ["open_writer", "teller"]

#: How often a run that waits looks whether the one before has ended.
_LOOK_EVERY_S = 0.5
#: The same where each look is some requests to a server.
_LOOK_AFAR_EVERY_S = 5.0
#: A command that names many items is cut after this many characters.
_MAX_COMMAND = 80


@asynccontextmanager
async def open_writer(
    location: Location,
    command: str,
    *,
    create: bool = False,
    wait: bool = False,
    drain: anyio.Event | None = None,
    on_wait: Callable[[StoreBusyError], None] | None = None,
    of_any_version: bool = False,
    sync: Sync = "none",
) -> AsyncGenerator[StoreWriter | None]:
    """Hold a store for a run that writes to it.

    Parameters
    ----------
    location : str, Path or zarr Store
        The store.
    command : str
        What others are told about this run, such as ``mirror product:1``.
    create : bool
        Make the store where there is none.
    wait : bool
        Wait until a run that has the store ends, instead of raising.
    drain : anyio.Event, optional
        Once set, the wait ends.
    on_wait : callable, optional
        Is called once, with what names the other run, when there is something to wait for.
    of_any_version : bool
        Take a store of an earlier layout version as it is, to upgrade it.
    sync : str
        What has reached the disk when something is committed: ``data``, ``all`` or ``none``.

    Yields
    ------
    StoreWriter or None
        None where the wait was ended by `drain`.

    Raises
    ------
    StoreBusyError
        Another run has the store, and `wait` is false.
    StoreError
        There is no store, or it cannot be written.
    """
    if len(command) > _MAX_COMMAND:
        command = f"{command[:_MAX_COMMAND]}…"
    take = partial(
        StoreWriter.open,
        location,
        create=create,
        command=command,
        of_any_version=of_any_version,
        sync=sync,
    )
    every_s = _LOOK_EVERY_S if cloud_address(location) is None else _LOOK_AFAR_EVERY_S
    writer = (
        await _wait_for(take, drain or anyio.Event(), on_wait, every_s) if wait else await _in_thread(take)
    )
    try:
        yield writer
    finally:
        if writer is not None:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(writer.close)


def teller(on_event: Listener) -> Callable[[StoreBusyError], None]:
    """Return what tells a listener that a run waits, and for which."""
    return lambda error: on_event(StoreAwaited(location=error.location or "", cause=error.message))


async def _in_thread(take: Callable[[], StoreWriter]) -> StoreWriter:
    return await anyio.to_thread.run_sync(take)


async def _wait_for(
    take: Callable[[], StoreWriter],
    drain: anyio.Event,
    on_wait: Callable[[StoreBusyError], None] | None,
    every_s: float,
) -> StoreWriter | None:
    is_told = False
    while not drain.is_set():
        try:
            return await _in_thread(take)
        except StoreBusyError as error:
            if on_wait is not None and not is_told:
                on_wait(error)
                is_told = True
        with anyio.move_on_after(every_s):
            await drain.wait()
    return None
