"""The sections on their way, so that a run that is to end soon can let go of those that are not in flight."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import anyio

from asyncfetch.engine.clock import now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Flight", "Flights"]


class Flight:
    """One section on its way: the companion of its requests, which are one, or one for each of its boxes.

    It is in flight from the moment its request is sent until it is committed, except while it waits for another
    attempt.

    Parameters
    ----------
    on_first_retry : callable
        Called when the section waits for another attempt for the first time.

    Attributes
    ----------
    scope : CancelScope
        What it runs in.
    accepted_s : float or None
        When the last of its images had come and was decoded, on the clock of the event loop.
    """

    def __init__(self, on_first_retry: Callable[[], None]) -> None:
        self.scope = anyio.CancelScope()
        self.accepted_s: float | None = None
        self._on_first_retry = on_first_retry
        self._has_retried = False
        self._is_drained = False
        self._n_sent = 0

    def __repr__(self) -> str:
        return f"Flight({self._n_sent} sent)"

    def sent(self) -> None:
        """Note that a request is on its way."""
        self._n_sent += 1

    def parked(self) -> None:
        """Note that a request waits for another attempt; where that is not waited for, the section is let go of."""
        self._n_sent -= 1
        if not self._has_retried:
            self._has_retried = True
            self._on_first_retry()
        self._end_if_drained()

    def accepted(self) -> None:
        """Note that an image has come and is proved."""
        self.accepted_s = now()

    def drain(self) -> None:
        """Let go of the section unless it is in flight, now and from now on."""
        self._is_drained = True
        self._end_if_drained()

    def _end_if_drained(self) -> None:
        if self._is_drained and not self._n_sent:
            self.scope.cancel()


class Flights:
    """All sections of a run that are on their way."""

    def __init__(self) -> None:
        self._flights: set[Flight] = set()
        self._is_drained = False

    @contextmanager
    def open(self, on_first_retry: Callable[[], None]) -> Iterator[Flight]:
        """Run a section in a scope that :meth:`drain` cancels.

        Parameters
        ----------
        on_first_retry : callable
            Called when the section waits for another attempt for the first time.
        """
        flight = Flight(on_first_retry)
        with flight.scope:
            self._flights.add(flight)
            if self._is_drained:
                flight.drain()
            try:
                yield flight
            finally:
                self._flights.discard(flight)

    def drain(self) -> None:
        """Let go of every section that is not in flight, now and from now on."""
        self._is_drained = True
        for flight in self._flights:
            flight.drain()
