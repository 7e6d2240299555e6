"""Long work under Ctrl-C: the first interrupt drains, the second stops, and neither waits for a thread.

A thread at work in native code cannot be ended: only the process can. What has no commit is lost with it, and written
again by the next run.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from asyncfetch.cli.console import print_json, tell
from asyncfetch.cli.exits import ExitCode
from asyncfetch.cli.failures import IS_JSON

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import anyio

    from asyncfetch.engine import Pause
    from asyncfetch.events import Event, Listener

__all__ = [
    "DRAINED_S",
    "LastResort",
    "run_interruptible",
    "run_to_report",
    "run_until_interrupted",
    "stop_signals",
]

# A run drains for eight seconds, so that its report comes before these are over.
DRAINED_S = 9.5
_STOPPED_S = 1.0
# For the last words, which a reader that has stopped reading may hold up.
_SAID_S = 0.5
_SHOW_CURSOR = "\x1b[?25h"


class LastResort:
    """The end of the process, for when it does not come of itself.

    Parameters
    ----------
    words : str
        What is told on stderr.
    code : int
        The exit code.
    """

    def __init__(self, words: str, code: int = ExitCode.INTERRUPTED) -> None:
        self._words = words
        self._code = code
        self._is_json = IS_JSON.get()
        self._timer: threading.Timer | None = None

    def comes_after(self, seconds: float) -> None:
        """End the process after so many seconds, unless told otherwise."""
        self.is_not_needed()
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True
        self._timer.start()

    def is_not_needed(self) -> None:
        """Leave the process to itself."""
        if self._timer is not None:
            self._timer.cancel()

    def _end(self) -> None:
        speaker = threading.Thread(target=self._speak, daemon=True)
        speaker.start()
        speaker.join(_SAID_S)
        os._exit(self._code)

    def _speak(self) -> None:
        with suppress(OSError, ValueError):
            if sys.stderr.isatty():
                sys.stderr.write(_SHOW_CURSOR)
            tell(self._words)
            if self._is_json:
                print_json({"error": "Interrupted", "message": "interrupted"})
                sys.stdout.flush()


def stop_signals() -> tuple[signal.Signals, ...]:
    """Return the signals that ask a command to end: Ctrl-C, SIGTERM, and the hang-up of a terminal that is closed.

    Where a hang-up is ignored (``nohup``) it stays so.
    """
    hang_up = getattr(signal, "SIGHUP", None)
    if hang_up is None or signal.getsignal(hang_up) is signal.SIG_IGN:
        return (signal.SIGINT, signal.SIGTERM)
    return (signal.SIGINT, signal.SIGTERM, hang_up)


def run_until_interrupted[T](
    run: Callable[[anyio.Event], Awaitable[T]],
    *,
    on_first: str,
    on_second: str,
    drained_s: float | None = None,
    pause: Pause | None = None,
) -> T:
    """Run something that can be drained.

    The process ends within `drained_s` of the first interrupt and within one second of the second, whatever its threads
    do.

    Parameters
    ----------
    run : callable
        Takes an event which, once set, lets it begin nothing more.
    on_first, on_second : str
        What is told of an interrupt: that it drains, and that it has stopped.
    drained_s : float, optional
        Seconds after the first one; 9.5 by default.
    pause : Pause, optional
        What SIGUSR1 switches on and off, and SIGUSR2 off, where the system has these signals.

    Raises
    ------
    AsyncFetchError
        It could not continue.
    KeyboardInterrupt
        It was stopped by a second interrupt.
    """
    import anyio

    from asyncfetch.errors import AsyncFetchError

    last_resort = LastResort(on_second)

    async def body() -> T | AsyncFetchError | None:
        drain = anyio.Event()
        outcome: T | AsyncFetchError | None = None

        async def wait_for_interrupts() -> None:
            with anyio.open_signal_receiver(*stop_signals()) as signals:
                async for number in signals:
                    if not drain.is_set():
                        last_resort.comes_after(DRAINED_S if drained_s is None else drained_s)
                        drain.set()
                        tell(on_first)
                    elif number in {signal.SIGINT, signal.SIGTERM}:
                        # a terminal that is closed hangs up more than once, by its shell and by the kernel
                        last_resort.comes_after(_STOPPED_S)
                        scope.cancel()
                        # a third is no other than the second
                        await anyio.sleep_forever()

        async with anyio.create_task_group() as tasks:
            scope = tasks.cancel_scope
            tasks.start_soon(wait_for_interrupts)
            if pause is not None:
                tasks.start_soon(_switch, pause)
            try:
                outcome = await run(drain)
            except AsyncFetchError as error:
                # carried out of the task group by hand, which would wrap it in a group
                outcome = error
            scope.cancel()
        return outcome

    try:
        outcome = anyio.run(body)
    finally:
        last_resort.is_not_needed()
    if outcome is None:
        tell(on_second)
        raise KeyboardInterrupt
    if isinstance(outcome, AsyncFetchError):
        raise outcome
    return outcome


async def _switch(pause: Pause) -> None:
    """Switch a pause by signals, and say so."""
    import anyio

    toggle, go_on = getattr(signal, "SIGUSR1", None), getattr(signal, "SIGUSR2", None)
    if toggle is None or go_on is None:
        return
    with anyio.open_signal_receiver(toggle, go_on) as signals:
        async for number in signals:
            if number == toggle and not pause.is_on:
                pause.begin()
                tell(f"paused: nothing new is sent; to continue: kill -USR2 {os.getpid()}")
            elif pause.is_on:
                pause.end()
                tell("continuing after the pause")


def run_interruptible[T](run: Callable[[], Awaitable[T]]) -> T:
    """Run something that an interrupt ends, within a second, whatever its threads do.

    Raises
    ------
    KeyboardInterrupt
        It was interrupted.
    Exception
        What `run` raises.
    """
    import anyio

    last_resort = LastResort("interrupted")

    async def body() -> tuple[T | None, Exception | None, bool]:
        result: T | None = None
        error: Exception | None = None
        is_interrupted = False

        async def wait_for_an_interrupt() -> None:
            nonlocal is_interrupted
            with anyio.open_signal_receiver(signal.SIGINT) as signals:
                async for _signal in signals:
                    is_interrupted = True
                    last_resort.comes_after(_STOPPED_S)
                    tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait_for_an_interrupt)
            try:
                result = await run()
            except Exception as failure:  # noqa: BLE001 - raised below, since the group would wrap it
                error = failure
            tasks.cancel_scope.cancel()
        return result, error, is_interrupted

    try:
        result, error, is_interrupted = anyio.run(body)
    finally:
        last_resort.is_not_needed()
    if is_interrupted:
        raise KeyboardInterrupt
    if error is not None:
        raise error
    return result  # type: ignore[return-value]  # there is an error where there is no result


def run_to_report[T](
    run: Callable[[Listener, anyio.Event], Awaitable[T]],
    *,
    quiet: bool = False,
    log_json: str | None = None,
    metrics: str | None = None,
    go_on: str = "`asyncfetch resume`",
    items: str = "sections",
    drained_s: float | None = None,
    pause: Pause | None = None,
) -> T:
    """Run with progress; the first interrupt drains, the second stops.

    Parameters
    ----------
    run : callable
        Takes a listener and an event which, once set, lets the run start nothing more.
    quiet : bool
        Show no progress.
    log_json, metrics : str, optional
        As for `open_listeners`.
    go_on : str
        What continues a run that was stopped.
    items : str
        What it works on.
    drained_s : float, optional
        The process ends so many seconds after the first interrupt, whatever its threads do; 9.5 by default.
    pause : Pause, optional
        As for `run_until_interrupted`.

    Raises
    ------
    AsyncFetchError
        The run could not continue.
    KeyboardInterrupt
        The run was stopped by a second interrupt.
    """
    from asyncfetch.cli.listeners import open_listeners
    from asyncfetch.cli.progress import show_progress

    done = "complete" if items == "files" else "committed"
    with open_listeners(log_json, metrics) as also, show_progress(quiet=quiet, items=items) as show:

        def listener(event: Event) -> None:
            show(event)
            also(event)

        return run_until_interrupted(
            lambda drain: run(listener, drain),
            on_first=f"stopping when the {items} in flight are done; interrupt again to stop at once",
            on_second=f"stopped; what is {done} stays, and {go_on} continues from there",
            drained_s=drained_s,
            pause=pause,
        )
