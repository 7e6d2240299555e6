"""A host on a virtual clock, behind the engine's own seam.

:class:`SimulatedHost` is a :class:`~asyncfetch.engine.Transport`. What it does to a request is told by the conditions
it is made of; here they meet the event loop. Bodies are slices of one buffer of zeros, so that a day of mirroring fits
in memory.
"""

from __future__ import annotations

import asyncio
import math
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio

from asyncfetch.engine import Reply
from asyncfetch.errors import BodyTooLargeError, ConnectError, StatusError, TruncatedError, short_url
from benchmarks.simulation.conditions import OpenDoor, Steady
from benchmarks.simulation.link import SharedLink, Transfer
from benchmarks.simulation.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from benchmarks.simulation.conditions import Answer, Capacity, Door, Latency, Sizes, Speeds

__all__ = ["HTML_BODY", "SimulatedHost"]

#: What stands in the place of an image when the host answers with a page under status 200.
HTML_BODY = b"<html><body>Site unavailable</body></html>"
# As often as this bodies tell how much of them has come, besides their first packet and their end: pieces of 200 kB at
# 4 MB/s, about what a socket gives.
_TICK_S = 0.05
_FIRST_PACKET_BYTES = 1400


@dataclass(slots=True, eq=False)
class _Body:
    """One body on its way, and who waits for it."""

    transfer: Transfer
    on_bytes: Callable[[int], Awaitable[None] | None] | None
    waiter: asyncio.Future[None]
    told_bytes: int = 0
    is_whole: bool = False
    wait: Awaitable[None] | None = None

    def wake(self) -> None:
        if not self.waiter.done():
            self.waiter.set_result(None)

    def tell(self, received_bytes: int) -> Awaitable[None] | None:
        n_bytes = received_bytes - self.told_bytes
        if self.on_bytes is None or n_bytes <= 0:
            return None
        self.told_bytes = received_bytes
        return self.on_bytes(n_bytes)


class SimulatedHost:
    """A host that answers every URL with a body, in virtual time.

    Make it inside the loop that it is used in.

    Parameters
    ----------
    sizes, speeds : Sizes, Speeds
        The body and the connection of every URL.
    latency : Latency
        The seconds before the headers.
    capacity : Capacity, optional
        Bytes per second in all; by default no limit.
    door : Door, optional
        What is refused; by default nothing.
    seed : int
        Draws latencies, one for each request in the order in which they come.
    bin_s : float
        Seconds of one bin of the tally.

    Attributes
    ----------
    tally : Tally
        What happened, over time.
    """

    def __init__(
        self,
        sizes: Sizes,
        speeds: Speeds,
        latency: Latency,
        capacity: Capacity | None = None,
        door: Door | None = None,
        *,
        seed: int = 0,
        bin_s: float = 1.0,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._sizes, self._speeds, self._latency = sizes, speeds, latency
        self._capacity = capacity or Steady()
        self._door = door or OpenDoor()
        self._random = random.Random(seed)
        self.tally = Tally(self._loop.time(), bin_s)
        self._link = SharedLink(self._loop.time(), self.tally.flowed)
        self._timer: asyncio.TimerHandle | None = None
        self._ticker: asyncio.TimerHandle | None = None
        self._flowing: dict[Transfer, _Body] = {}
        self._n_inside = 0
        self._zeros = memoryview(bytes(2**20))

    async def fetch(
        self,
        url: str,
        limit_bytes: int,
        on_bytes: Callable[[int], Awaitable[None] | None] | None = None,
        *,
        fresh: bool = False,
    ) -> Reply:
        """Return a body of zeros when it would have come, or raise what the real transport would."""
        began = self._loop.time()
        answer = self._door.answer(self._n_inside, began)
        self.tally.opened(began)
        self._n_inside += answer is None
        self._settle(began)
        try:
            await self._wait_for_headers(url, answer)
            if answer is None:
                body = await self._receive(url, limit_bytes, on_bytes)
            else:
                self.tally.erred("html", self._loop.time())
                body = HTML_BODY
        except (BodyTooLargeError, ConnectError, StatusError, TruncatedError) as error:
            name = f"{error.status}" if isinstance(error, StatusError) else type(error).__name__
            self.tally.erred(name, self._loop.time())
            raise
        finally:
            now = self._loop.time()
            self.tally.closed(now)
            self._n_inside -= answer is None
            self._settle(now)
        return Reply(url, 200, {}, body, now - began)

    async def aclose(self) -> None:
        """Stop the clock of what flows."""
        self.tally.finish(self._loop.time())
        for timer in (self._timer, self._ticker):
            if timer is not None:
                timer.cancel()

    async def _wait_for_headers(self, url: str, answer: Answer | None) -> None:
        latency_s = self._latency.draw(self._random, self.tally.n_open)
        cut_at = self._door.next_cut(self._loop.time())
        if answer is None and self._loop.time() + latency_s >= cut_at:
            await anyio.sleep(cut_at - self._loop.time())
            raise ConnectError(f"{short_url(url)} was cut off before its headers; ask again", url=url)
        await anyio.sleep(latency_s)
        if answer is None or answer.kind == "html":
            return
        if answer.kind == "refused":
            raise ConnectError(f"{short_url(url)} refused the connection; ask again later", url=url)
        raise StatusError(
            f"{short_url(url)} answered {answer.status}; ask again later",
            status=answer.status,
            retry_after=answer.retry_after,
            url=url,
        )

    async def _receive(
        self, url: str, limit_bytes: int, on_bytes: Callable[[int], Awaitable[None] | None] | None
    ) -> Any:
        size_bytes = self._sizes.of(url)
        if size_bytes > limit_bytes:
            raise BodyTooLargeError(
                f"{short_url(url)} has {size_bytes} bytes, more than the {limit_bytes} it can have",
                limit_bytes=limit_bytes,
                url=url,
            )
        body = _Body(Transfer(size_bytes, self._speeds.of(url)), on_bytes, self._loop.create_future())
        cut_at = self._door.next_cut(self._loop.time())
        try:
            # The first packet comes with the headers.
            await self._tell(body, min(size_bytes, _FIRST_PACKET_BYTES))
            while not await self._flow(body, cut_at):
                if self._loop.time() >= cut_at:
                    raise TruncatedError(
                        f"the body of {short_url(url)} ended after {body.told_bytes} bytes; ask again",
                        received_bytes=body.told_bytes,
                        url=url,
                    )
            await self._tell(body, size_bytes)
        except BaseException:
            now = self._loop.time()
            self.tally.broke(self._link.received_bytes(body.transfer, now), now)
            raise
        finally:
            self._link.stop(body.transfer, self._loop.time())
        self.tally.came_whole(size_bytes)
        return self._body(size_bytes)

    async def _flow(self, body: _Body, cut_at: float) -> bool:
        """Let a body flow until it is whole, which is what is returned, or it is cut, or somebody makes it wait."""
        self._flowing[body.transfer] = body
        self._link.begin(body.transfer, self._loop.time())
        self._settle(self._loop.time())
        if body.on_bytes is not None and self._ticker is None:
            self._ticker = self._loop.call_later(_TICK_S, self._tick)
        cut = None if cut_at == math.inf else self._loop.call_at(cut_at, body.wake)
        try:
            await body.waiter
        finally:
            if cut is not None:
                cut.cancel()
            self._flowing.pop(body.transfer, None)
        if body.is_whole:
            return True
        self._link.stop(body.transfer, self._loop.time())
        if body.wait is not None:
            # Whoever makes us wait reads nothing meanwhile, so nothing flows.
            self._settle(self._loop.time())
            await body.wait
            body.wait, body.waiter = None, self._loop.create_future()
        return False

    async def _tell(self, body: _Body, received_bytes: int) -> None:
        wait = body.tell(received_bytes)
        if wait is not None:
            await wait

    def _tick(self) -> None:
        """Tell all who want to know how much has come, without waking a task for it."""
        now = self._loop.time()
        for transfer, body in list(self._flowing.items()):
            if not body.waiter.done():
                body.wait = body.tell(self._link.received_bytes(transfer, now))
                if body.wait is not None:
                    body.wake()
        self._ticker = self._loop.call_later(_TICK_S, self._tick) if self._flowing else None

    def _settle(self, now: float) -> None:
        """Bring the link up to date and set the timer to what happens next."""
        for transfer in self._link.take_ended(now):
            body = self._flowing.pop(transfer)
            body.is_whole = True
            body.wake()
        capacity, holds_until = self._capacity.now(self.tally.n_open, now)
        self._link.limit(capacity, now)
        due = min(self._link.next_end(), holds_until)
        if self._timer is not None:
            if self._timer.when() == due and not self._timer.cancelled():
                return
            self._timer.cancel()
        self._timer = None if due == math.inf else self._loop.call_at(due, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._settle(self._loop.time())

    def _body(self, size_bytes: int) -> memoryview:
        if size_bytes > len(self._zeros):
            self._zeros = memoryview(bytes(2 * size_bytes))
        return self._zeros[:size_bytes]

    def __repr__(self) -> str:
        return f"SimulatedHost({self.tally.n_open} open, {self._link!r})"
