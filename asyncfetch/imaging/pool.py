"""Threads for blocking work that releases the GIL: decoding, warping, encoding, writing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Self

import anyio
import anyio.to_thread

from asyncfetch.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

__all__ = ["Pool"]


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

    Raises
    ------
    SettingsError
        ``n_threads`` is below 1.
    """

    def __init__(self, n_threads: int | None = None) -> None:
        if n_threads is not None and n_threads < 1:
            raise SettingsError(f"a pool needs at least one thread, not {n_threads}", setting="workers")
        self.n_threads: int = n_threads or _n_processors()
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
