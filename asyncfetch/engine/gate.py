"""When a request may start: the one thin async driver of the pure policies.

A request passes three things in this order, and holds nothing that it is not about to use:

1. the byte budget (:meth:`Gate.reserve`), by those who need decoded bytes: reserved before anything is opened;
2. a **permit** (:meth:`Gate.permit`): for as many images at once as the window says, and one beyond them that only
   metadata may take, so that metadata never starve and the images' workers never wait for rows. While no image is in
   flight, more metadata may be: their goodput would tell the window nothing soon;
3. a **start**: the host's health allows it, and the rate has a turn.

Whoever waits stands in a queue; metadata stand before images, flows share in turn, and within a flow the first come are
the first served. Leaving a queue, for whatever reason, leaves no hole and changes no order. In an outage it is the one
at the head of the queue for a start who probes, so that there is no task without an owner.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio

from asyncfetch.engine.budget import ByteBudget
from asyncfetch.engine.clock import now
from asyncfetch.engine.health import HostHealth
from asyncfetch.engine.limiter import LimiterRate
from asyncfetch.engine.pausing import Pause
from asyncfetch.engine.queues import Kind, Queue
from asyncfetch.engine.rate import ByteRate
from asyncfetch.engine.window import FixedWindow, Window
from asyncfetch.errors import OutageError
from asyncfetch.events import BudgetGranted, WindowChanged, ignore
from asyncfetch.text import lasting

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from asyncfetch.engine.budget import Ticket
    from asyncfetch.engine.rate import RequestRate
    from asyncfetch.engine.window import WindowChange
    from asyncfetch.events import Listener
    from asyncfetch.settings import Settings

__all__ = ["Gate", "Permit", "Probe", "Reservation", "Waits"]

type Probe = Callable[[Kind], Awaitable[bool]]


@dataclass(slots=True)
class Waits:
    """How long a request waited before it was sent, in seconds: for a permit of the window, for the host, for the rate.

    ``opened`` is when it could be sent, on the clock of the loop.
    """

    window_s: float = 0.0
    host_s: float = 0.0
    rate_s: float = 0.0
    opened: float = 0.0


class Permit:
    """The permit of one request; made by :meth:`Gate.permit`. A generator would cost three times as much."""

    __slots__ = ("_flow", "_gate", "_kind", "_probe")

    def __init__(self, gate: Gate, kind: Kind, flow: str, probe: Probe | None) -> None:
        self._gate = gate
        self._kind: Kind = kind
        self._flow = flow
        self._probe = probe

    async def take(self) -> Waits:
        """Return when the request may be sent; the permit is held until :meth:`leave`."""
        gate, kind, waits = self._gate, self._kind, Waits()
        permits, time = gate.permits, now()
        gate.look(time, is_coming=True)
        if not permits.enter_nowait(kind):
            await permits.enter(kind, self._flow)
            waits.window_s = now() - time
        try:
            await gate.start(kind, self._flow, self._probe, waits)
        except BaseException:
            self.leave()
            raise
        return waits

    async def take_free(self) -> Waits:
        """Do the same where `Gate.is_free` has just said that there is nothing to wait for."""
        gate, waits = self._gate, Waits()
        gate.look(now(), is_coming=True)
        gate.permits.inside[self._kind] += 1
        try:
            await gate.request_rate.start()
        except BaseException:
            self.leave()
            raise
        waits.opened = now()
        return waits

    async def __aenter__(self) -> Waits:
        return await self.take()

    async def __aexit__(self, *_error: object) -> None:
        self.leave()

    def leave(self) -> None:
        """Give the permit back."""
        self._gate.permits.leave(self._kind)
        self._gate.look(now())


class Reservation:
    """Bytes of the budget that are held; made by :meth:`Gate.reserve`."""

    def __init__(self, gate: Gate, size_bytes: int) -> None:
        self._gate = gate
        self.size_bytes = size_bytes
        self._ticket: Ticket | None = None

    @asynccontextmanager
    async def lent(self) -> AsyncGenerator[None]:
        """Give the bytes back while the block runs, and have them again when it ends.

        For a request that waits before it is sent again: others can use the memory meanwhile.
        """
        self.release()
        yield
        await self.take()

    async def take(self, *, goes_ahead: bool = False) -> None:
        """Return when the bytes are held; `goes_ahead` is for somebody who may hold others already."""
        self._ticket = self._gate.ask_for(self.size_bytes, goes_ahead=goes_ahead)
        try:
            await self._gate.wait_for(self._ticket)
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Give the bytes back, or leave the queue for them; nothing happens where there are none."""
        ticket, self._ticket = self._ticket, None
        if ticket is not None:
            self._gate.give_back(ticket)


class Gate:
    """The point where requests start, when concurrency, rate, memory and the host allow it.

    Parameters
    ----------
    settings : Settings
        ``jobs``, ``max_jobs``, ``requests_per_s``, ``bytes_per_s``, ``memory_bytes``, ``retry_base_s`` and
        ``outage_patience_s`` are read.
    request_rate : RequestRate, optional
        What counts starts; by default aiolimiter at ``requests_per_s``.
    on_event : callable, optional
        Called with ``WindowChanged`` and ``BudgetGranted``.
    pause : Pause, optional
        Whether nothing starts for now.

    Attributes
    ----------
    pause : Pause
        Whether nothing starts for now.
    health : HostHealth
        Whether the host answers.
    window : FixedWindow or Window
        How many images are asked for at once.
    most : int or None
        Never more than these at once, whatever the window says: the part of a window that several gates share.
    permits : Queue
        Those who have a permit, and those who wait for one.
    request_rate : RequestRate
        What counts starts.
    """

    def __init__(
        self,
        settings: Settings,
        request_rate: RequestRate | None = None,
        on_event: Listener = ignore,
        pause: Pause | None = None,
    ) -> None:
        self.pause = pause or Pause()
        self.health = HostHealth(settings.retry_base_s, settings.outage_patience_s)
        self.window: FixedWindow = (
            Window(settings.max_jobs) if settings.jobs == "auto" else FixedWindow(settings.jobs)
        )
        self._is_adaptive = isinstance(self.window, Window)
        self.most: int | None = None
        self._emit = on_event
        self._patience_s = settings.outage_patience_s
        # all waiting for the host so far, and since when it is waited for now
        self._host_s = 0.0
        self._host_since: float | None = None
        self.permits = Queue(self._has_room)
        # One at a time asks for a start, so that the order is ours and not the limiter's.
        self._starts = Queue(lambda _kind, inside: not any(inside.values()))
        self._opened = anyio.Event()
        self.request_rate = request_rate or LimiterRate(settings.requests_per_s)
        self._byte_rate = None if settings.bytes_per_s is None else ByteRate(settings.bytes_per_s)
        self._budget = ByteBudget(settings.memory_bytes)
        self._admitted: dict[Ticket, anyio.Event] = {}

    def set_rate(self, requests_per_s: float | None = None, bytes_per_s: float | None = None) -> None:
        """Change the rates for what starts and arrives from now on; None leaves one as it is."""
        if requests_per_s is not None:
            self.request_rate.rate = requests_per_s
        if bytes_per_s is not None:
            if self._byte_rate is None:
                self._byte_rate = ByteRate(bytes_per_s)
            self._byte_rate.bytes_per_s = bytes_per_s

    def allow(self, most: int) -> None:
        """Let no more images than these be asked for at once; those on their way come to their end."""
        if most == self.most:
            return
        self.most = most
        if isinstance(self.window, Window):
            self.window.most = max(1, most)
        self.permits.admit()
        self.look(now())

    @property
    def size(self) -> int:
        """How many images may be asked for at once."""
        return self.window.size if self.most is None else min(self.window.size, self.most)

    @property
    def n_wanted(self) -> int:
        """How many requests have a permit or wait for one."""
        inside, waiting = self.permits.inside, self.permits.waiting
        return inside["image"] + inside["metadata"] + waiting["image"] + waiting["metadata"]

    @property
    def n_starting(self) -> int:
        """How many requests wait for the host or the rate."""
        return sum(self._starts.waiting.values()) + sum(self._starts.inside.values())

    def permit(self, kind: Kind, flow: str = "", probe: Probe | None = None) -> Permit:
        """Hold a permit for one request, and enter when it may start.

        Metadata that come while an image waits for its start are next after it.

        Parameters
        ----------
        kind : {"metadata", "image"}
            What is asked for.
        flow : str
            Whose request it is: flows share in turn.
        probe : callable, optional
            As for :meth:`start`.

        Returns
        -------
        async context manager of Waits
            How long it took; raises what :meth:`start` raises.
        """
        return Permit(self, kind, flow, probe)

    def is_free(self, kind: Kind) -> bool:
        """Tell whether a request of this kind would find nothing to wait for, if it came now."""
        return (
            not self.pause.is_on
            and self.permits.is_free(kind)
            and self._starts.is_free(kind)
            and self.health.is_open()
            and self.request_rate.is_free()
        )

    async def start(
        self,
        kind: Kind,
        flow: str = "",
        probe: Probe | None = None,
        waits: Waits | None = None,
    ) -> None:
        """Return when one more request may start.

        Parameters
        ----------
        kind, flow : str
            As for :meth:`permit`.
        probe : callable, optional
            Awaited with the kind in an outage, now and then, by the one at the head of the queue: asks for something
            that came before, and tells ``health`` when it came again. Where it returns False, there is nothing to ask
            for, and the one at the head may start instead.
        waits : Waits, optional
            Receives how long it took.

        Raises
        ------
        OutageError
            The host has not answered for ``outage_patience_s``.
        """
        waits, began = waits or Waits(), now()
        host_before_s = self._waited_for_the_host_s(began)
        if not self._starts.enter_nowait(kind):
            await self._starts.enter(kind, flow)
        try:
            while True:
                await self.pause.wait()
                is_probe = not self.health.is_open() and await self._wait_for_the_host(kind, probe)
                await self.request_rate.start()
                # the host may have closed, or a pause begun, while the turn at the rate was waited for
                if (is_probe or self.health.is_open()) and not self.pause.is_on:
                    break
        finally:
            self._starts.leave(kind)
        waits.opened = now()
        # who stands in the queue waits for what its head waits for
        waits.host_s = self._waited_for_the_host_s(waits.opened) - host_before_s
        waits.rate_s = waits.opened - began - waits.host_s

    async def receive(self, size_bytes: int) -> None:
        """Return when ``size_bytes`` that came may count as received at the rate of ``bytes_per_s``."""
        if self._byte_rate is not None:
            time = now()
            await anyio.sleep(self._byte_rate.take(size_bytes, time).ends - time)

    async def count_another(self) -> None:
        """Return when a request that has its permit may be sent once more: a redirect, or over a new connection.

        It counts at the rate like any other, but does not stand in the queues again.
        """
        await self.request_rate.start()

    def follow_body(self, opened: float) -> Callable[[int], Awaitable[None] | None] | None:
        """Return what counts the bytes of a body whose request was sent at ``opened``; None where nobody counts.

        What the function returns, if anything, is to be awaited before more is read.
        """
        window, has_begun = self.window, False
        if not self._is_adaptive and self._byte_rate is None:
            return None

        def received(size_bytes: int) -> Awaitable[None] | None:
            nonlocal has_begun
            time = now()
            if not has_begun:
                has_begun = True
                window.first_byte(time - opened)
            change = window.received(size_bytes, time)
            if change is not None:
                self._follow(change)
            return None if self._byte_rate is None else self.receive(size_bytes)

        return received

    def refused(self, opened: float) -> None:
        """Note that the host refused a request that was sent at ``opened``."""
        change = self.window.refused(opened, now())
        if change is not None:
            self._follow(change)

    def health_changed(self) -> None:
        """Look at the host's health again: it opened, or closed."""
        if self.health.is_out():
            self.window.outage(now())
        else:
            self.window.interrupted(now())
        self.look(now())
        self._opened.set()
        self._opened = anyio.Event()

    @asynccontextmanager
    async def reserve(self, size_bytes: int) -> AsyncGenerator[Reservation]:
        """Hold bytes of the budget; enter when they are there.

        Parameters
        ----------
        size_bytes : int
            Decoded bytes; more than the whole budget is admitted when nothing else is held.
        """
        before = now()
        reservation = Reservation(self, size_bytes)
        await reservation.take()
        try:
            self._emit(BudgetGranted(size_bytes=size_bytes, waited_s=now() - before))
            yield reservation
        finally:
            reservation.release()

    def ask_for(self, size_bytes: int, *, goes_ahead: bool = False) -> Ticket:
        """Stand in the queue for bytes of the budget."""
        ticket = self._budget.request(size_bytes, goes_ahead=goes_ahead)
        if not ticket.is_admitted:
            self._admitted[ticket] = anyio.Event()
        return ticket

    async def wait_for(self, ticket: Ticket) -> None:
        """Return when the bytes of a ticket are held."""
        if ticket in self._admitted:
            await self._admitted[ticket].wait()

    def give_back(self, ticket: Ticket) -> None:
        """Give the bytes of a ticket back, or leave the queue."""
        self._admitted.pop(ticket, None)
        for admitted in self._budget.release(ticket):
            self._admitted[admitted].set()

    def _waited_for_the_host_s(self, time: float) -> float:
        return self._host_s + (0.0 if self._host_since is None else time - self._host_since)

    async def _wait_for_the_host(self, kind: Kind, probe: Probe | None) -> bool:
        """Return when the head of the queue may start; whether it is a probe of a host that is not open."""
        self._host_since = now()
        try:
            return await self._wait_or_probe(kind, probe)
        finally:
            self._host_s = self._waited_for_the_host_s(now())
            self._host_since = None

    async def _wait_or_probe(self, kind: Kind, probe: Probe | None) -> bool:
        health = self.health
        while True:
            time, was_open = now(), health.is_open()
            wait_s = health.wait_s(time)
            if health.is_open():
                if not was_open:
                    self.health_changed()
                return False
            if health.is_out() and wait_s == 0:
                # noted before it is known, so that whoever comes next waits for the next one
                health.probed(time)
                if probe is None:
                    return True
                await self.request_rate.start()
                if not await probe(kind):
                    return True
                continue
            if health.is_out() and time - health.since > self._patience_s:
                elapsed_s = time - health.since
                what = "not answered" if health.is_silent else "answered with errors only"
                raise OutageError(
                    f"the server has {what} for {lasting(elapsed_s)}; the last error: {health.cause}",
                    waited_s=elapsed_s,
                )
            with anyio.move_on_after(wait_s):
                # a request that was in flight when the outage began may end it
                await self._opened.wait()

    def _follow(self, change: WindowChange) -> None:
        self._emit(
            WindowChanged(
                before=change.before,
                after=change.after,
                reason=change.reason,
                goodput_bytes_per_s=change.goodput_bytes_per_s,
            )
        )
        self.permits.admit()
        self.look(now())

    def look(self, time: float, *, is_coming: bool = False) -> None:
        """Tell the window whether it is what holds the requests back."""
        if not self._is_adaptive:
            return
        inside, waiting = self.permits.inside, self.permits.waiting
        is_full = (
            inside["image"] + inside["metadata"] >= self.size
            and (is_coming or bool(waiting["image"] or waiting["metadata"]))
            # who has a permit but waits for the rate holds up others, which says nothing about the server
            and not (self._starts.waiting["image"] or self._starts.waiting["metadata"])
            and self.health.is_open()
        )
        self.window.filled(is_full, time)

    def _has_room(self, kind: Kind, inside: dict[Kind, int]) -> bool:
        n_images, n_metadata, size = inside["image"], inside["metadata"], self.size
        if kind == "image":
            # the first one does not wait for all the metadata that may be in flight without images
            is_first = not n_images and n_metadata <= self.window.metadata_size
            return n_images < size and (is_first or n_images + n_metadata <= size)
        # a window that was cut may hold more images than it has permits
        return n_metadata == 0 or n_images + n_metadata <= (size if n_images else self.window.metadata_size)

    def __repr__(self) -> str:
        inside, waiting = self.permits.inside, self.permits.waiting
        return (
            f"Gate(images {inside['image']}/{self.size}, metadata {inside['metadata']}, "
            f"waiting {waiting['image']} images and {waiting['metadata']} metadata, "
            f"{self.n_starting} for a start, {self.health.state}, {self._budget!r}, {self.request_rate!r})"
        )
