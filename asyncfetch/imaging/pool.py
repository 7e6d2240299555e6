"""Threads for blocking work that releases the GIL: decoding, warping, encoding, writing."""

from __future__ import annotations

import os
import threading
from asyncio import get_running_loop
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Self, cast

import anyio
import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread

from asyncfetch.errors import SettingsError
from asyncfetch.imaging.buffers import Buffers
from asyncfetch.imaging.jobs import JobsStoppedError
from asyncfetch.text import counted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from types import TracebackType

    from anyio import CapacityLimiter

    from asyncfetch.imaging.jobs import Jobs

__all__ = ["Pool"]


_IDLE_BYTES = 2**27


def _n_processors() -> int:
    # Python 3.12 cannot tell how many of the machine's processors the process may use.
    count: Callable[[], int | None] = getattr(os, "process_cpu_count", os.cpu_count)
    return count() or 1


class _Permit:
    """One of the permits of a pool, from the moment that a function may run until its thread is done.

    asyncio can cancel the task that waits for a thread (``asyncio.wait_for`` does, and a web server whose client went
    away), but not the thread. The permit is given back by whichever of the two ends last.

    Parameters
    ----------
    limiter : CapacityLimiter
        What hands the permits out.
    when_free : callable, optional
        Called on the event loop when the permit is given back.

    Attributes
    ----------
    was_taken : bool
        Whether there was a permit to give back.
    """

    __slots__ = (
        "_has_begun",
        "_has_left",
        "_is_done",
        "_limiter",
        "_lock",
        "_loop",
        "_when_free",
        "was_taken",
    )

    def __init__(self, limiter: CapacityLimiter, when_free: Callable[[], None] | None) -> None:
        self._limiter = limiter
        self._when_free = when_free
        self._loop = get_running_loop()
        self._lock = threading.Lock()
        self._has_begun = self._has_left = self._is_done = self.was_taken = False

    async def __aenter__(self) -> None:
        await self._limiter.acquire_on_behalf_of(self)
        self.was_taken = True

    async def __aexit__(self, *_error: object) -> None:
        with self._lock:
            self._has_left = True
            is_at_work = self._has_begun and not self._is_done
        if not is_at_work:
            self._free()

    def call[*Ts, T](self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        """Call the function, on its thread."""
        if not self._begin():
            # the permit is somebody else's by now, and nobody waits for what this would return
            return cast("T", None)
        try:
            return function(*args)
        finally:
            self._end()

    def _begin(self) -> bool:
        with self._lock:
            self._has_begun = not self._has_left
        return self._has_begun

    def _end(self) -> None:
        with self._lock:
            self._is_done, has_left = True, self._has_left
        if has_left:
            # a loop that is closed has no permits any more
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._free)

    def _free(self) -> None:
        self._limiter.release_on_behalf_of(self)
        if self._when_free is not None:
            self._when_free()


class Pool:
    """A pool of at most ``n_threads`` threads, apart from those of everyone else in the process.

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
        return f"<Pool of {counted(self.n_threads, 'thread')}, {state}>"

    async def run[*Ts, T](self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        """Call ``function`` on a thread of the pool and return what it returns.

        Its exceptions come through unchanged. While it waits for a free thread a cancelled task leaves at
        once. Once the function runs, a task that is cancelled by a scope of anyio waits for its end before the
        cancellation goes on, so that no thread is left behind at work on files or buffers that the task has given up.
        A task that asyncio cancels leaves at once; its thread keeps its permit until it is done.

        Parameters
        ----------
        function : callable
            Blocking, and thread-safe.
        *args
            Its arguments.
        """
        return await self.run_holding(None, function, *args)

    async def run_holding[*Ts, T](
        self, when_done: Callable[[], None] | None, function: Callable[[*Ts], T], *args: *Ts
    ) -> T:
        """Do what :meth:`run` does, and let go of something, such as memory, once no thread is at work on it.

        Parameters
        ----------
        when_done : callable, optional
            Called on the event loop, once: when the thread is done, which can be long after the task left, or when
            the task leaves before the function began.
        function, *args
            As for :meth:`run`.
        """
        if self._limiter is None:
            raise RuntimeError("the pool is not open; use `async with Pool(…) as pool:`")
        permit = _Permit(self._limiter, when_done)
        # a limiter by what it does: a permit is entered before the thread is asked for, and left after it
        limiter = cast("CapacityLimiter", permit)
        try:
            return await anyio.to_thread.run_sync(
                permit.call, function, *args, abandon_on_cancel=False, limiter=limiter
            )
        finally:
            if when_done is not None and not permit.was_taken:
                when_done()

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

        They queue with everyone else, so that they help where there is nothing else to do. Where the block is
        cancelled, no more jobs begin, and the cancellation takes the place of the `JobsStoppedError` of their end.

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
        if isinstance(raised, JobsStoppedError):
            await anyio.lowlevel.checkpoint()
        if raised is not None:
            raise raised
