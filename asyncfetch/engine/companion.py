"""Who goes along with a request, and is told how it fares."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Companion"]


class Companion(Protocol):
    """Whatever a request is sent for, such as a section on its way into a store.

    It is told on the event loop, at once, of each request that it goes along with: ``sent``, then either ``accepted``,
    or ``parked`` and ``sent`` again, or nothing more where the request fails. Unlike a listener of events, it may
    steer: cancel, begin something else, hold something back.
    """

    def sent(self) -> None:
        """Note that the request is on its way; a second, hedged one is not told."""

    def parked(self) -> None:
        """Note that the request failed and waits before it is sent again."""

    def accepted(self) -> None:
        """Note that the reply is proved: the request is done, and what follows is the caller's."""
