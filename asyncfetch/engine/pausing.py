"""The pause of a run: nothing new is sent while it lasts, and what is on its way comes to its end."""

from __future__ import annotations

import anyio

__all__ = ["Pause"]


class Pause:
    """A switch that holds back what a run would send next; it is off at first.

    It is switched on the event loop of the run.

    Attributes
    ----------
    is_on : bool
        Whether the run is paused.
    """

    def __init__(self) -> None:
        self.is_on = False
        self._ended: anyio.Event | None = None

    def begin(self) -> None:
        """Pause; nothing happens where that was done already."""
        self.is_on = True

    def end(self) -> None:
        """Let the run go on."""
        self.is_on = False
        ended, self._ended = self._ended, None
        if ended is not None:
            ended.set()

    async def wait(self) -> None:
        """Return when there is no pause."""
        while self.is_on:
            if self._ended is None:
                self._ended = anyio.Event()
            await self._ended.wait()

    def __repr__(self) -> str:
        return f"Pause({'on' if self.is_on else 'off'})"
