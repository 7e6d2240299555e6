"""Threads for blocking work that releases the GIL: decoding, warping, encoding, writing."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Self

import anyio
import anyio.from_thread
import anyio.to_thread

from asyncfetch.errors import SettingsError
from asyncfetch.imaging.buffers import Buffers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from types import TracebackType

    from asyncfetch.imaging.jobs import Jobs

__all__ = ["Pool"]


_IDLE_BYTES = 2**27


def _n_processors() -> int:
    # Python 3.12 cannot tell how many of the machine's processors the process may use.
    count: Callable[[], int | None] = getattr(os, "process_cpu_count", os.cpu_count)
    return count() or 1


class Pool:
    """Run functions on at most ``n_threads`` threads, apart from those of everyone else in the process.

    What runs here must keep to one thread itself, or threads multiply: OpenCV is set so where it is imported,
    Blosc is so in threads that are not the main one, and JPEG XL takes a number of threads as an argument.

    Parameters
    ----------
    n_threads : int, optional
        Default: one for each processor that this process may use.
    idle_bytes, total_bytes : int
        How many bytes of arrays are kept to be used again, as in :class:`Buffers`.

    Attributes
    ----------
    buffers : Buffers
        Large arrays for what runs here.

    Raises
    ------
    SettingsError
        ``n_threads`` is below 1.
    """

    def __init__(
        self, n_threads: int | None = None, *, idle_bytes: int = _IDLE_BYTES, total_bytes: int = 0
    ) -> None:
        if n_threads is not None and n_threads < 1:
            raise SettingsError(f"a pool needs at least one thread, not {n_threads}", setting="workers")
        self.n_threads: int = n_threads or _n_processors()
        self.buffers = Buffers(idle_bytes, total_bytes)
        self._limiter: anyio.CapacityLimiter | None = None

    async def __aenter__(self) -> Self:
        self._limiter = anyio.CapacityLimiter(self.n_threads)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._limiter = None

    def __repr__(self) -> str:
        state = "closed" if self._limiter is None else f"{self._limiter.borrowed_tokens} busy"
        return f"<Pool of {self.n_threads} threads, {state}>"

    async def run[*Ts, T](self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        """Call ``function`` on a thread of the pool and return what it returns.

        Its exceptions come through unchanged. While it waits for a free thread a cancelled task leaves at
        once. Once the function runs, the task waits for its end before the cancellation goes on, so that no
        thread is left behind at work on files or buffers that the task has given up.

        Parameters
        ----------
        function : callable
            Blocking, and thread-safe.
        *args
            Its arguments.
        """
        if self._limiter is None:
            raise RuntimeError("the pool is not open: use it inside `async with Pool(…) as pool`")
        return await anyio.to_thread.run_sync(function, *args, abandon_on_cancel=False, limiter=self._limiter)

    async def work(self, jobs: Jobs) -> None:
        """Do the jobs that are ready, and those that they make ready, on as many threads as there are jobs for.

        A thread takes one job after the other without coming back to the event loop, which keeps threads waiting
        where it is busy. A cancelled task waits for the jobs that have begun; no others begin.

        Raises
        ------
        BaseException
            What the first job that failed raised.
        """
        is_over = False

        async def stop_when_cancelled() -> None:
            try:
                await anyio.sleep_forever()
            finally:
                if not is_over:
                    jobs.stop()

        async with anyio.create_task_group() as watch:
            watch.start_soon(stop_when_cancelled)
            async with anyio.create_task_group() as tasks:
                for _ in range(min(self.n_threads, jobs.n_ready)):
                    tasks.start_soon(self.run, jobs.work)
            is_over = True
            watch.cancel_scope.cancel()
        if jobs.error is not None:
            raise jobs.error

    @asynccontextmanager
    async def helping(self, jobs: Jobs) -> AsyncIterator[Callable[[], None]]:
        """Let idle threads help the one that finishes jobs within the block.

        They wait in line with everyone else, so that they help where there is nothing else to do. Where the block is
        cancelled, no more jobs begin.

        Yields
        ------
        callable
            To be called on the thread of this pool that is about to finish the jobs.
        """
        raised: Exception | None = None

        async def stop_when_over() -> None:
            try:
                await anyio.sleep_forever()
            finally:
                jobs.stop()

        async with anyio.create_task_group() as helpers:

            def start() -> None:
                for _ in range(min(self.n_threads, jobs.n_ready) - 1):
                    helpers.start_soon(self.run, jobs.work)

            helpers.start_soon(stop_when_over)
            try:
                yield partial(anyio.from_thread.run_sync, start)
            except Exception as error:  # noqa: BLE001 - raised below, since the group would wrap it
                raised = error
            finally:
                helpers.cancel_scope.cancel()
        if raised is not None:
            raise raised
