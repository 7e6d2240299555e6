"""An event loop whose clock jumps to the next timer instead of waiting for it."""

from __future__ import annotations

import asyncio
import selectors
from typing import TYPE_CHECKING, Any

import anyio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["JumpingSelector", "VirtualLoop", "run_virtually"]


class JumpingSelector(selectors.DefaultSelector):
    """A selector that jumps over the time in which a loop would wait for a timer."""

    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        """Move the clock on by ``timeout`` and return what is ready now."""
        if timeout is not None:
            # Even a virtual clock moves on, or a timer one rounding error ahead would never come.
            self.now += max(timeout, 1e-7)
            timeout = 0
        return super().select(timeout)


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop that runs timers at once, in their order, on a clock that begins at an ugly number."""

    def __init__(self) -> None:
        self._jumping = JumpingSelector()
        self._jumping.now = 8_640_000.1
        super().__init__(self._jumping)

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self._jumping.now


def run_virtually[T](main: Callable[[], Awaitable[T]]) -> T:
    """Run a coroutine function to its end in virtual time and return its result."""
    return anyio.run(main, backend_options={"loop_factory": VirtualLoop})
