"""The budget of bytes in flight: pure, first come, first served."""

from __future__ import annotations

from collections import deque

from asyncfetch.errors import SettingsError

__all__ = ["ByteBudget", "Ticket"]


class Ticket:
    """One request for bytes of the budget; compared by identity.

    Attributes
    ----------
    size_bytes : int
        What was asked for.
    goes_ahead : bool
        Whether it is for somebody who may hold bytes already.
    is_admitted : bool
        Whether the bytes are held now.
    """

    __slots__ = ("goes_ahead", "is_admitted", "size_bytes")

    def __init__(self, size_bytes: int, *, goes_ahead: bool = False) -> None:
        self.size_bytes = size_bytes
        self.goes_ahead = goes_ahead
        self.is_admitted = False

    def __repr__(self) -> str:
        return f"Ticket({self.size_bytes}, {'admitted' if self.is_admitted else 'waiting'})"


class ByteBudget:
    """A fixed number of bytes, handed out in the order in which they are asked for.

    A request larger than the whole budget is admitted when it is alone. Nobody overtakes: a small request
    waits behind a large one, so that the large one gets its turn.

    Who holds bytes and needs more must not wait for those who wait for him. He goes ahead of all who hold none, and is
    admitted when no other of his kind is, whatever is free; so the budget is exceeded by one such request at most.

    Parameters
    ----------
    capacity_bytes : int
        The whole budget.
    """

    def __init__(self, capacity_bytes: int) -> None:
        self.capacity_bytes = capacity_bytes
        self.held_bytes = 0
        self._held: set[Ticket] = set()
        self._waiting: deque[Ticket] = deque()
        self._ahead: deque[Ticket] = deque()
        self._n_ahead = 0

    def request(self, size_bytes: int, *, goes_ahead: bool = False) -> Ticket:
        """Ask for bytes; the ticket says whether they are admitted at once.

        Parameters
        ----------
        size_bytes : int
            How many.
        goes_ahead : bool
            For somebody who may hold bytes already.

        Raises
        ------
        SettingsError
            The size is negative.
        """
        if size_bytes < 0:
            raise SettingsError(
                f"a reservation needs 0 bytes or more, not {size_bytes}", setting="size_bytes"
            )
        ticket = Ticket(size_bytes, goes_ahead=goes_ahead)
        self._queue_of(ticket).append(ticket)
        self._admit()
        return ticket

    def release(self, ticket: Ticket) -> list[Ticket]:
        """Give back what a ticket holds, or take it out of the queue.

        Returns
        -------
        list of Ticket
            Those that are admitted by it, in their order.

        Raises
        ------
        ValueError
            The ticket was released before.
        """
        if ticket.is_admitted:
            ticket.is_admitted = False
            self._held.remove(ticket)
            self.held_bytes -= ticket.size_bytes
            self._n_ahead -= ticket.goes_ahead
        else:
            self._queue_of(ticket).remove(ticket)
        return self._admit()

    @property
    def n_held(self) -> int:
        """How many tickets hold bytes."""
        return len(self._held)

    @property
    def n_waiting(self) -> int:
        """How many tickets wait."""
        return len(self._waiting) + len(self._ahead)

    def _queue_of(self, ticket: Ticket) -> deque[Ticket]:
        return self._ahead if ticket.goes_ahead else self._waiting

    def _admit(self) -> list[Ticket]:
        admitted: list[Ticket] = []
        while queue := self._ahead or self._waiting:
            ticket = queue[0]
            is_too_much = self.held_bytes + ticket.size_bytes > self.capacity_bytes
            if is_too_much and (self._n_ahead if ticket.goes_ahead else self._held):
                break
            queue.popleft()
            self._n_ahead += ticket.goes_ahead
            ticket.is_admitted = True
            self._held.add(ticket)
            self.held_bytes += ticket.size_bytes
            admitted.append(ticket)
        return admitted

    def __repr__(self) -> str:
        return (
            f"ByteBudget({self.held_bytes}/{self.capacity_bytes} bytes, "
            f"{self.n_held} held, {self.n_waiting} waiting)"
        )
