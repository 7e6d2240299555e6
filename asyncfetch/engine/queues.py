"""Queues of those who wait: metadata before images, and within a kind every flow in its turn."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Literal

import anyio

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["KINDS", "Kind", "Queue"]

#: What a request asks for; the order is the order of precedence.
Kind = Literal["metadata", "image"]
KINDS: tuple[Kind, ...] = ("metadata", "image")


class _Waiter:
    __slots__ = ("event", "has_left", "is_admitted")

    def __init__(self) -> None:
        self.event = anyio.Event()
        self.is_admitted = False
        self.has_left = False


class Queue:
    """The queue of those who wait: metadata first, then flow by flow in turn, and within a flow in order of arrival.

    A flow is whatever shares fairly with others: a data set of a mirror, a caller of a client. One that asks for a
    thousand images gets no more than another that asks for ten, for as long as both wait.

    Parameters
    ----------
    has_room : callable
        Takes a kind and how many of each kind are inside, and says whether one more of that kind may enter.
    """

    def __init__(self, has_room: Callable[[Kind, dict[Kind, int]], bool]) -> None:
        self._has_room = has_room
        self.inside: dict[Kind, int] = dict.fromkeys(KINDS, 0)
        self.waiting: dict[Kind, int] = dict.fromkeys(KINDS, 0)
        self._flows: dict[Kind, OrderedDict[str, deque[_Waiter]]] = {kind: OrderedDict() for kind in KINDS}

    def enter_nowait(self, kind: Kind) -> bool:
        """Enter where there is room and nobody waits who comes first; return whether that was so."""
        is_free = self.is_free(kind)
        if is_free:
            self.inside[kind] += 1
        return is_free

    def is_free(self, kind: Kind) -> bool:
        """Tell whether there is room and nobody waits who comes first."""
        waiting = self.waiting
        if waiting["metadata"] or (kind == "image" and waiting["image"]):
            return False
        return self._has_room(kind, self.inside)

    async def enter(self, kind: Kind, flow: str = "") -> None:
        """Return when there is room; whoever is cancelled leaves no hole and changes no order."""
        if self.enter_nowait(kind):
            return
        waiter = _Waiter()
        self._flows[kind].setdefault(flow, deque()).append(waiter)
        self.waiting[kind] += 1
        try:
            await waiter.event.wait()
        except BaseException:
            if waiter.is_admitted:
                self.leave(kind)
            else:
                # it is thrown out when its turn comes: searching a long queue for it would cost more
                waiter.has_left = True
                self.waiting[kind] -= 1
                self.admit()
            raise

    def leave(self, kind: Kind) -> None:
        """Make room for the next one."""
        self.inside[kind] -= 1
        if self.waiting["metadata"] or self.waiting["image"]:
            self.admit()

    def admit(self) -> None:
        """Let in whoever there is room for; to be called when the room has grown."""
        for kind in KINDS:
            while self.waiting[kind] and self._has_room(kind, self.inside):
                waiter = self._next(kind)
                waiter.is_admitted = True
                self.waiting[kind] -= 1
                self.inside[kind] += 1
                waiter.event.set()
            if not self.waiting[kind]:
                self._flows[kind].clear()

    def _next(self, kind: Kind) -> _Waiter:
        flows = self._flows[kind]
        while True:
            flow, queue = flows.popitem(last=False)
            waiter = queue.popleft()
            while waiter.has_left and queue:
                waiter = queue.popleft()
            if queue:
                flows[flow] = queue
            if not waiter.has_left:
                return waiter
