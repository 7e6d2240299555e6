"""The engine: one request to one checked answer, through the gate, again when it failed and may succeed."""

from __future__ import annotations

import math
import random as _random
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Self

import anyio
import anyio.lowlevel

from asyncfetch.engine.acceptance import Acceptance
from asyncfetch.engine.clock import now
from asyncfetch.engine.gate import Gate, Reservation
from asyncfetch.engine.health import is_of_the_host, is_refusal
from asyncfetch.engine.hedge import HedgePolicy
from asyncfetch.engine.retry import RetryPolicy
from asyncfetch.engine.transport import AiohttpTransport, closed_on_the_way
from asyncfetch.errors import AsyncFetchError, ClosedError, OutageError, TransportError, short_url
from asyncfetch.events import (
    HostPaused,
    OutageBegan,
    OutageEnded,
    OutageProbed,
    RequestAccepted,
    RequestFailed,
    RequestFinished,
    RequestHedged,
    RequestRetried,
    RequestStarted,
    ignore,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType

    from anyio.abc import TaskGroup

    from asyncfetch.engine.companion import Companion
    from asyncfetch.engine.pausing import Pause
    from asyncfetch.engine.queues import Kind
    from asyncfetch.engine.transport import Reply, Transport
    from asyncfetch.events import Listener
    from asyncfetch.settings import Settings

__all__ = ["Engine", "Request", "sharing"]

_FLOW: ContextVar[str] = ContextVar("asyncfetch_flow", default="")

_SECOND_REQUESTS = "second requests"

# What a request meets again and again is its own trouble and not the host's.
_REFUSALS_THAT_COUNT = 2


@contextmanager
def sharing(flow: str) -> Iterator[None]:
    """Let the requests of the block, and of tasks that are started in it, stand in the queue of one flow.

    Flows share an engine in turn; without a name, all stand in one queue.
    """
    token = _FLOW.set(flow)
    try:
        yield
    finally:
        _FLOW.reset(token)


@dataclass(frozen=True, slots=True)
class Request:
    """One thing to ask for.

    Attributes
    ----------
    url : str
        Absolute and percent-encoded.
    kind : {"image", "metadata"}
        Metadata go ahead of images.
    limit_bytes : int
        The most bytes that the answer can have.
    label : str
        What it is, in a few words, for messages.
    """

    url: str
    kind: Kind
    limit_bytes: int
    label: str = ""


class _Canary(NamedTuple):
    """Something that came, and how it begins: what an outage is told by."""

    url: str
    limit_bytes: int
    beginning: bytes


@dataclass(slots=True)
class _Attempt:
    """One time that a request is sent: which, when, and when its answer came; times are known once they are.

    ``waited_s`` is how long the request has waited so far because the server asked for it.
    """

    number: int = 1
    opened: float = 0.0
    came: float = math.inf
    waited_s: float = 0.0


class Engine:
    """Everything that stands between a request and a checked answer.

    Use it as an async context manager; it closes its transport, also one that was handed in. Any number of tasks may
    fetch at once; cancelling one disturbs no other.

    Parameters
    ----------
    settings : Settings
        How fast, how many, how often and how long.
    transport : Transport, optional
        What sends requests; by default aiohttp.
    on_event : callable, optional
        Called on the event loop with every decision (see :mod:`asyncfetch.events`); it must not block.
    random : callable, optional
        Gives numbers uniform in [0, 1) for the jitter of retries.
    gate : Gate, optional
        Where requests start; by default one of its own, as the settings say.
    pause : Pause, optional
        Whether nothing starts for now, where the gate is its own.
    """

    def __init__(
        self,
        settings: Settings,
        transport: Transport | None = None,
        on_event: Listener = ignore,
        random: Callable[[], float] | None = None,
        gate: Gate | None = None,
        pause: Pause | None = None,
    ) -> None:
        self._gate = gate or Gate(settings, on_event=on_event, pause=pause)
        self._transport: Transport = transport or AiohttpTransport(
            settings, before_another=self._gate.count_another
        )
        self._retry = RetryPolicy(
            settings.attempts,
            settings.retry_base_s,
            60 * settings.retry_base_s,
            patience_s=settings.outage_patience_s,
        )
        self._hedge = HedgePolicy() if settings.hedge else None
        self._emit = on_event
        # events that nobody hears are not made
        self._is_heard = on_event is not ignore
        self._random = random or _random.random  # noqa: S311 - jitter hides nothing
        self._canaries: dict[Kind, _Canary] = {}
        self._n_inside = 0
        self._scopes: set[anyio.CancelScope] = set()
        self._is_closed = False
        self._emptied = anyio.Event()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose(cancel=error is not None)

    async def aclose(self, *, cancel: bool = False) -> None:
        """Take no more requests, let those on their way come to their end, and close every connection.

        Parameters
        ----------
        cancel : bool
            End those on their way, too; whoever waits for one gets a `ClosedError`.
        """
        self._is_closed = True
        try:
            if cancel:
                await self._end_all()
            while self._n_inside:
                if self._emptied.is_set():
                    self._emptied = anyio.Event()
                # whoever closes meanwhile, too, waits for the same event
                await self._emptied.wait()
        finally:
            await self._end_all()

    async def fetch[T](
        self,
        request: Request,
        check: Callable[[Reply, Acceptance], Awaitable[T]],
        *,
        parked: Callable[[], AbstractAsyncContextManager[None]] | None = None,
        companion: Companion | None = None,
    ) -> T:
        """Send a request until its answer passes ``check``, or the retry policy gives up.

        No permit is held while ``check`` runs, nor while a retry waits. An attempt that ends in an outage of the host
        is not counted: the request waits until the host is back.

        A check may continue with what it proved. It calls ``accept`` first: the request is done then, is told of, and
        counts as a success of the host; errors and time from there on are the caller's.

        Parameters
        ----------
        request : Request
            What to ask for.
        check : callable
            Awaited with the :class:`~asyncfetch.engine.Reply` and with ``accept``, an
            :class:`~asyncfetch.engine.Acceptance`, which can be called on any thread. What it returns is returned, and
            accepts the reply if nothing did. An ``AsyncFetchError`` before ``accept`` counts as a failure of the
            request; any other error is a bug. That one propagates, as every error after ``accept`` does.
        parked : callable, optional
            Gives a context in which a retry waits: for giving memory back to others meanwhile.
        companion : Companion, optional
            Is told when the request is sent, parked and accepted.

        Returns
        -------
        object
            What ``check`` returned.

        Raises
        ------
        ClosedError
            The engine was closed.
        OutageError
            The host has not answered for ``outage_patience_s``.
        AsyncFetchError
            The error of the last attempt.
        """
        if self._is_closed:
            raise ClosedError(
                "the client is closed, so nothing can be asked for; open another", url=request.url
            )
        self._n_inside += 1
        try:
            return await self._fetch(request, check, parked or _not_parked, companion)
        finally:
            self._n_inside -= 1
            if not self._n_inside:
                self._emptied.set()

    def reserve(self, size_bytes: int) -> AbstractAsyncContextManager[Reservation]:
        """Hold decoded bytes of the memory budget; take them before fetching, keep them while they are used."""
        return self._gate.reserve(size_bytes)

    async def reserve_more(self, size_bytes: int) -> Reservation:
        """Return bytes of the budget for somebody who may hold others already; they are his to release."""
        reservation = Reservation(self._gate, size_bytes)
        await reservation.take(goes_ahead=True)
        return reservation

    def set_rate(self, requests_per_s: float | None = None, bytes_per_s: float | None = None) -> None:
        """Change the rates for what starts and arrives from now on; None leaves one as it is."""
        self._gate.set_rate(requests_per_s, bytes_per_s)

    async def _fetch[T](
        self,
        request: Request,
        check: Callable[[Reply, Acceptance], Awaitable[T]],
        parked: Callable[[], AbstractAsyncContextManager[None]],
        companion: Companion | None,
    ) -> T:
        attempt = _Attempt()
        on_sent = None if companion is None else companion.sent
        while True:
            acceptance: Acceptance | None = None
            try:
                if self._hedge is None:
                    reply = await self.send_once(request, attempt, on_sent)
                else:
                    reply = await self._send_hedged(request, attempt, self._hedge, on_sent)
                attempt.came = now()
                with Acceptance(partial(self._accept, request, reply, attempt, companion)) as acceptance:
                    return await check(reply, acceptance)
            except (OutageError, ClosedError):
                raise
            except AsyncFetchError as error:
                if acceptance is not None and acceptance.is_given:
                    raise
                self._diagnose(request, error, attempt)
                delay_s = self._answer(request, error, attempt)
                if delay_s is None:
                    raise
            if companion is not None:
                companion.parked()
            with self._ended_by_closing(request.url):
                async with parked():
                    await anyio.sleep(delay_s)

    async def _send_hedged(
        self,
        request: Request,
        attempt: _Attempt,
        policy: HedgePolicy,
        on_sent: Callable[[], None] | None,
    ) -> Reply:
        after_s = policy.after_s() if request.kind == "image" else None
        if after_s is None:
            reply = await self.send_once(request, attempt, on_sent)
        else:
            reply = await _Race(self, policy, request, attempt, after_s, on_sent).run()
        if request.kind == "image":
            policy.succeeded(reply.elapsed_s)
        return reply

    async def send_once(
        self, request: Request, attempt: _Attempt, on_sent: Callable[[], None] | None = None
    ) -> Reply:
        """Send a request through the gate, once; `on_sent` is called when it is on its way."""
        gate, url, kind = self._gate, request.url, request.kind
        permit = gate.permit(kind, _FLOW.get(), self._probe)
        if gate.is_free(kind):
            waits = await permit.take_free()
        else:
            with self._ended_by_closing(url):
                waits = await permit.take()
        try:
            # what was cancelled is not sent any more, even where nothing had to be waited for meanwhile
            await anyio.lowlevel.checkpoint_if_cancelled()
            attempt.opened, attempt.came = waits.opened, math.inf
            if on_sent is not None:
                on_sent()
            if self._is_heard:
                self._emit(RequestStarted(url=url, kind=kind, attempt=attempt.number))
            gate.request_rate.sent()
            reply = await self._transport.fetch(
                url, request.limit_bytes, gate.follow_body(waits.opened), fresh=gate.health.is_out()
            )
        finally:
            permit.leave()
        if self._is_heard:
            self._emit(
                RequestFinished(
                    url=url,
                    kind=kind,
                    attempt=attempt.number,
                    status=reply.status,
                    size_bytes=len(reply.body),
                    elapsed_s=reply.elapsed_s,
                    waited_window_s=waits.window_s,
                    waited_host_s=waits.host_s,
                    waited_rate_s=waits.rate_s + reply.waited_s,
                )
            )
        return reply

    def hedged(self, request: Request, attempt: _Attempt, after_s: float) -> None:
        """Tell that a second request is sent."""
        self._emit(RequestHedged(url=request.url, kind=request.kind, attempt=attempt.number, after_s=after_s))

    def _accept(
        self, request: Request, reply: Reply, attempt: _Attempt, companion: Companion | None, time: float
    ) -> None:
        """Count a request as done whose reply was accepted at `time`."""
        self._retry.succeeded()
        self._canaries[request.kind] = _Canary(request.url, request.limit_bytes, bytes(reply.body[:2]))
        self._note_answer(attempt.opened, attempt.came)
        if self._is_heard:
            self._emit(
                RequestAccepted(
                    url=request.url,
                    kind=request.kind,
                    attempt=attempt.number,
                    check_s=time - attempt.came,
                )
            )
        if companion is not None:
            companion.accepted()

    def _note_answer(self, opened: float, came: float) -> None:
        health = self._gate.health
        since = health.since
        if health.answered(opened, came):
            self._gate.health_changed()
            self._emit(OutageEnded(elapsed_s=now() - since))

    def _diagnose(self, request: Request, error: AsyncFetchError, attempt: _Attempt) -> None:
        """Learn from a failure how the host is."""
        gate, time = self._gate, now()
        if not is_of_the_host(error):
            if not isinstance(error, TransportError):
                # whoever says no is there
                self._note_answer(attempt.opened, min(attempt.came, time))
            return
        if is_refusal(error) and attempt.number <= _REFUSALS_THAT_COUNT and not gate.health.is_out():
            gate.refused(attempt.opened)
        change = gate.health.failed(error, attempt.opened, time, datetime.now(UTC), self._random())
        if change is None:
            return
        gate.health_changed()
        if change == "paused":
            self._emit(HostPaused(delay_s=gate.health.opens_at - time, cause=error.message))
        else:
            self._emit(OutageBegan(cause=error.message, is_silent=gate.health.is_silent))

    async def _probe(self, kind: Kind) -> bool:
        """Ask for something that came before; False where nothing came, so that the next request is the probe."""
        canary = self._canaries.get(kind) or next(iter(self._canaries.values()), None)
        if canary is None:
            return False
        health, opened = self._gate.health, now()
        try:
            reply = await self._transport.fetch(canary.url, canary.limit_bytes, fresh=True)
        except AsyncFetchError as error:
            health.note(error)
        else:
            if bytes(reply.body[:2]) == canary.beginning:
                self._note_answer(opened, now())
                return True
            health.cause = f"{short_url(canary.url)} is answered differently than before"
            health.is_silent = False
        time = now()
        self._emit(
            OutageProbed(
                url=canary.url,
                cause=health.cause,
                elapsed_s=time - health.since,
                next_s=max(0.0, health.opens_at - time),
            )
        )
        return True

    def _answer(self, request: Request, error: AsyncFetchError, attempt: _Attempt) -> float | None:
        """Return in how many seconds the request is sent again, or None."""
        url, kind, number = request.url, request.kind, attempt.number
        name = type(error).__name__
        label = f"{request.label}: " if request.label else ""
        was_spent = self._retry.is_spent
        is_outage = self._gate.health.is_out() and is_of_the_host(error)
        delay_s = self._retry.after(
            error, 1 if is_outage else number, datetime.now(UTC), self._random(), attempt.waited_s
        )
        if delay_s is not None:
            attempt.waited_s += 0.0 if getattr(error, "retry_after", None) is None else delay_s
            self._emit(
                RequestRetried(
                    url=url,
                    kind=kind,
                    attempt=number,
                    error=name,
                    cause=f"{label}{error.message}",
                    delay_s=delay_s,
                )
            )
            attempt.number += 0 if is_outage else 1
            return delay_s
        if was_spent and error.is_transient and number < self._retry.attempts_for(error):
            reason = "not asked again, because too many requests have failed since the last successes"
            error.args = (f"{error.message} ({reason})",)
        cause = f"{label}{error.message}"
        self._emit(RequestFailed(url=url, kind=kind, attempt=number, error=name, cause=cause))
        return None

    async def _end_all(self) -> None:
        """End what waits, here and in the transport."""
        for scope in self._scopes:
            scope.cancel()
        with anyio.CancelScope(shield=True):
            await self._transport.aclose()

    @contextmanager
    def _ended_by_closing(self, url: str) -> Iterator[None]:
        """Let closing end the block. Not for a whole request: a scope costs as much as a tenth of a small one."""
        with anyio.CancelScope() as scope:
            self._scopes.add(scope)
            try:
                yield
            finally:
                self._scopes.discard(scope)
        if scope.cancelled_caught:
            raise closed_on_the_way(url)

    def __repr__(self) -> str:
        return f"Engine({self._gate!r}, {self._retry!r}, {self._transport!r})"


class _Race:
    """A request that is sent, and sent a second time if it is late; the first answer counts."""

    def __init__(
        self,
        engine: Engine,
        policy: HedgePolicy,
        request: Request,
        attempt: _Attempt,
        after_s: float,
        on_sent: Callable[[], None] | None,
    ) -> None:
        self._engine = engine
        self._policy = policy
        self._request = request
        self._attempt = attempt
        self._after_s = after_s
        self._on_sent = on_sent
        self._sent = anyio.Event()
        self._reply: Reply | None = None
        self._error: AsyncFetchError | None = None
        self._n_running = 1

    async def run(self) -> Reply:
        async with anyio.create_task_group() as group:
            group.start_soon(self._run_one, group, self._first_sent)
            group.start_soon(self._follow, group)
        if self._reply is not None:
            return self._reply
        assert self._error is not None, "a race ends with a reply or an error"
        raise self._error

    def _first_sent(self) -> None:
        self._sent.set()
        if self._on_sent is not None:
            self._on_sent()

    async def _follow(self, group: TaskGroup) -> None:
        await self._sent.wait()
        await anyio.sleep(self._after_s)
        if self._policy.take():
            self._n_running += 1
            # a flow of their own: behind all that waits, a second request would come too late to be of use
            with sharing(_SECOND_REQUESTS):
                await self._run_one(group, self._tell)

    def _tell(self) -> None:
        self._engine.hedged(self._request, self._attempt, self._after_s)

    async def _run_one(self, group: TaskGroup, on_sent: Callable[[], None]) -> None:
        try:
            reply = await self._engine.send_once(self._request, self._attempt, on_sent)
        except AsyncFetchError as error:
            self._error = self._error or error
            self._n_running -= 1
            if self._n_running == 0:
                group.cancel_scope.cancel()
        else:
            self._reply = self._reply or reply
            group.cancel_scope.cancel()


@asynccontextmanager
async def _not_parked() -> AsyncGenerator[None]:
    yield
