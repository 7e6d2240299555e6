"""Ctrl-C for commands that work long: the first interrupt drains, the second stops."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from asyncfetch.cli.app import tell

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import anyio

__all__ = ["run_until_interrupted"]


def run_until_interrupted[T](
    run: Callable[[anyio.Event], Awaitable[T]], *, on_first: str, on_second: str
) -> T:
    """Run something that can be drained.

    Parameters
    ----------
    run : callable
        Takes an event which, once set, lets it begin nothing more.
    on_first, on_second : str
        What is told of an interrupt: that it drains, and that it has stopped.

    Raises
    ------
    AsyncFetchError
        It could not go on.
    KeyboardInterrupt
        It was stopped by a second interrupt.
    """
    import anyio

    from asyncfetch.errors import AsyncFetchError

    async def body() -> T | AsyncFetchError | None:
        drain = anyio.Event()
        outcome: T | AsyncFetchError | None = None

        async def wait_for_interrupts() -> None:
            with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                async for _signal in signals:
                    if drain.is_set():
                        scope.cancel()
                        return
                    drain.set()
                    tell(on_first)

        async with anyio.create_task_group() as tasks:
            scope = tasks.cancel_scope
            tasks.start_soon(wait_for_interrupts)
            try:
                outcome = await run(drain)
            except AsyncFetchError as error:
                # carried out of the task group by hand, which would wrap it in a group
                outcome = error
            scope.cancel()
        return outcome

    outcome = anyio.run(body)
    if outcome is None:
        tell(on_second)
        raise KeyboardInterrupt
    if isinstance(outcome, AsyncFetchError):
        raise outcome
    return outcome
