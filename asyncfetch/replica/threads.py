"""Threads of the replica, and the memory that what they make may take, whoever is still waiting for it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import anyio

from asyncfetch.engine.budget import ByteBudget
from asyncfetch.imaging import Pool

if TYPE_CHECKING:
    from collections.abc import Callable

    from asyncfetch.engine.budget import Ticket

__all__ = ["Threads"]


class Threads:
    """A few threads that share a memory budget.

    A client that goes away leaves its thread at work; thread and memory count until the work is done, so that forty
    impatient clients take no more than one patient.

    Parameters
    ----------
    n_threads : int
        How many work at once.
    memory_bytes : int
        What their work may take; work that takes more is done when there is no other.
    """

    def __init__(self, n_threads: int, memory_bytes: int) -> None:
        self._pool = Pool(n_threads)
        self._is_open = False
        self._budget = ByteBudget(memory_bytes)
        self._admitted: dict[Ticket, anyio.Event] = {}

    def __repr__(self) -> str:
        return f"Threads({self._pool!r}, {self._budget!r})"

    async def run[*Ts, T](self, size_bytes: int, function: Callable[[*Ts], T], *args: *Ts) -> T:
        """Call a function on one of the threads once its memory is free; the first come are the first served."""
        if not self._is_open:
            # threads belong to the loop that runs when the first is needed
            self._is_open = True
            await self._pool.__aenter__()
        ticket = self._budget.request(size_bytes)
        if not ticket.is_admitted:
            self._admitted[ticket] = anyio.Event()
            try:
                await self._admitted[ticket].wait()
            except BaseException:
                self._give_back(ticket)
                raise
        return await self._pool.run_holding(partial(self._give_back, ticket), function, *args)

    def _give_back(self, ticket: Ticket) -> None:
        self._admitted.pop(ticket, None)
        for admitted in self._budget.release(ticket):
            self._admitted[admitted].set()
