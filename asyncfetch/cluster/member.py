"""A member of a run: one process that asks the ledger, keeps its lease, and stops by itself where it cannot.

The process that asked for the run is a member, too: it asks the API for metadata under the same rate, and hears what
the others tell. One question is on its way at a time: when something is needed, and four per second anyway.
"""

from __future__ import annotations

import time
import uuid
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import msgspec

from asyncfetch.cluster.messages import Question, decode_answer, encode
from asyncfetch.cluster.sharing import SharedAsking
from asyncfetch.cluster.stretches import Stretch
from asyncfetch.errors import ClusterError, StoreBusyError
from asyncfetch.events import Event, HostPaused, OutageBegan, OutageEnded

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from asyncfetch.cluster.messages import Answer
    from asyncfetch.engine import Gate
    from asyncfetch.events import Listener
    from asyncfetch.settings import Settings

__all__ = ["Member", "seconds"]

#: How often a question is sent anyway, and how soon another one may follow.
_BEAT_S, _SHORTEST_S = 0.25, 0.002
#: How long an answer is waited for before it is asked again.
_ANSWER_S = 5.0
_MAX_EVENTS = 2000
#: Events that all others have to know of at once.
_NEWS = (HostPaused, OutageBegan, OutageEnded)
_EVENTS: msgspec.msgpack.Decoder[Event] | None = None


def seconds() -> float:
    """Return seconds that also pass while the machine sleeps, where the system counts them."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


def decode_event(raw: msgspec.Raw) -> Event:
    """Return an event that another process told."""
    global _EVENTS  # noqa: PLW0603 - the kinds of events are all known only when the first one comes
    if _EVENTS is None:
        kinds = tuple(Event.__subclasses__())
        union = kinds[0]
        for kind in kinds[1:]:
            union = union | kind  # type: ignore[assignment]  # a type that is made while the program runs
        _EVENTS = msgspec.msgpack.Decoder(union)
    return _EVENTS.decode(raw)


class Member:
    """One process of a run.

    Parameters
    ----------
    send : callable
        Sends a question to the ledger and returns the answer; raises `ClusterError` where none comes.
    lease_s : float
        For how long this process may write after it sent a question that was answered.
    address : str
        What Dask calls it.
    settings : Settings, optional
        How the API is asked; None where it is not.
    listen : callable, optional
        Is told the events of all others, where this process writes the report.
    clock : callable
        Seconds by which the lease is counted.

    Attributes
    ----------
    drain : Event
        Set once nothing more is to be begun.
    is_over : bool
        Whether the run has ended, or whoever asked for it is gone.
    """

    def __init__(
        self,
        send: Callable[[bytes], Awaitable[bytes]],
        *,
        lease_s: float,
        address: str = "",
        settings: Settings | None = None,
        listen: Listener | None = None,
        clock: Callable[[], float] = seconds,
    ) -> None:
        self.drain = anyio.Event()
        self.is_over = False
        self._send = send
        self._lease_s = lease_s
        self._address = address
        self._listen = listen
        self._clock = clock
        self._asking = None if settings is None else SharedAsking(settings, self.tell, self.kick)
        self._process = uuid.uuid4().hex[:12]
        self._n_lost = 0
        self._serial = 0
        self._until = 0.0
        self._kicked = anyio.Event()
        self._answered = anyio.Event()
        self._n_begun = self._n_done = 0
        self._claims: dict[str, anyio.Event] = {}
        self._released: list[str] = []
        self._scopes: set[anyio.CancelScope] = set()
        self._events: list[msgspec.Raw] = []
        self._first_event = 0
        self._is_draining = False
        # of each other process, how many events have come; and how many batches of them
        self._heard: dict[str, int] = {}
        self._n_heard = 0

    def __repr__(self) -> str:
        return f"Member({self._owner}, {len(self._scopes)} at work, {self._asking!r})"

    @property
    def gate(self) -> Gate | None:
        """Where requests of this process start; None where the API is not asked."""
        return None if self._asking is None else self._asking.gate

    @property
    def _owner(self) -> str:
        return f"{self._process}.{self._n_lost}"

    def kick(self) -> None:
        """Let the next question be sent at once."""
        self._kicked.set()

    def tell(self, event: Event) -> None:
        """Tell an event to whoever writes the report; that is this process itself where it listens."""
        if self._listen is not None:
            self._listen(event)
        else:
            self._events.append(msgspec.Raw(msgspec.msgpack.encode(event)))
        if isinstance(event, _NEWS):
            self.kick()

    def stop(self) -> None:
        """End all work of this process."""
        self.is_over = True
        self._end_all()

    def begin_again(self) -> None:
        """Note that there is a new ledger, which knows nothing of the one before."""
        self._n_heard = 0
        if self._asking is not None:
            self._asking.begin_again()

    def ask_to_drain(self) -> None:
        """Let nobody begin anything more."""
        self._is_draining = True
        self.kick()

    async def settle(self) -> None:
        """Return once the ledger knows all that was told, and all that it knew was heard."""
        n_begun = self._n_begun
        while self._n_done <= n_begun or self._events:
            self.kick()
            answered = self._answered
            await answered.wait()

    @asynccontextmanager
    async def own(self, key: str) -> AsyncGenerator[Callable[[], None]]:
        """Own a data set for the length of a block, which ends where the lease is lost.

        Yields
        ------
        callable
            Raises where this process may not write to the data set any more; for every thread.

        Raises
        ------
        ClusterError
            The lease was lost, or the run has ended.
        """
        owner = self._owner
        owned = self._claims[key] = anyio.Event()
        self.kick()
        with anyio.CancelScope() as scope:
            self._scopes.add(scope)
            try:
                await owned.wait()
                yield lambda: self._check(owner)
            finally:
                self._scopes.discard(scope)
                self._claims.pop(key, None)
                self._released.append(key)
                self.kick()
        if owner != self._owner or self.is_over:
            raise ClusterError(_loss(self._address, is_over=self.is_over))

    def _check(self, owner: str) -> None:
        if owner != self._owner or self.is_over or self._clock() > self._until:
            raise StoreBusyError(_loss(self._address, is_over=self.is_over))

    async def run(self) -> None:
        """Ask and be answered until cancelled; then tell that this process has stopped."""
        try:
            while True:
                with anyio.move_on_after(_BEAT_S):
                    await self._kicked.wait()
                self._kicked = anyio.Event()
                await self._ask()
                await anyio.sleep(_SHORTEST_S)
        finally:
            with anyio.CancelScope(shield=True), anyio.move_on_after(1.0):
                await self._leave()

    async def _ask(self) -> None:
        self._n_begun += 1
        n_begun = self._n_begun
        sent, sent_s = anyio.current_time(), self._clock()
        question = self._question()
        try:
            with anyio.fail_after(min(_ANSWER_S, self._lease_s / 3)):
                data = await self._send(encode(question))
        except (ClusterError, TimeoutError):
            if self._until and self._clock() > self._until:
                self._lose()
            await anyio.sleep(_BEAT_S)
            return
        answer = decode_answer(data)
        self._apply(question, answer, sent_s)
        if self._asking is not None and not answer.is_lost:
            starts = None if answer.starts is None else Stretch(*answer.starts)
            self._asking.apply(answer.news, answer.n_permits, starts, sent)
        self._n_done = n_begun
        answered, self._answered = self._answered, anyio.Event()
        answered.set()

    def _question(self) -> Question:
        self._serial += 1
        question = Question(
            owner=self._owner,
            serial=self._serial,
            address=self._address,
            claims=[key for key, owned in self._claims.items() if not owned.is_set()],
            released=list(self._released),
            events=self._events[:_MAX_EVENTS],
            first_event=self._first_event,
            hears=self._listen is not None,
            n_heard=self._n_heard,
            drains=self._is_draining,
        )
        if self._asking is not None:
            self._asking.fill(question)
        return question

    def _apply(self, question: Question, answer: Answer, sent_s: float) -> None:
        n_told = len(question.events)
        del self._events[:n_told]
        self._first_event += n_told
        for owner, first, events in answer.events:
            self._hear(owner.partition(".")[0], first, events)
        self._n_heard += len(answer.events)
        if answer.drains:
            self.drain.set()
        if answer.is_over and not self.is_over:
            self.is_over = True
            self._end_all()
        if answer.is_lost or (self._until and self._clock() > self._until):
            self._lose()
            return
        self._until = sent_s + self._lease_s
        self._released = [key for key in self._released if key not in question.released]
        for key in answer.owned:
            if key in self._claims:
                self._claims[key].set()

    def _hear(self, process: str, first: int, events: list[msgspec.Raw]) -> None:
        """Listen to what another process told, each event once."""
        n_heard = self._heard.get(process, 0)
        for raw in events[max(0, n_heard - first) :]:
            if self._listen is not None:
                self._listen(decode_event(raw))
        self._heard[process] = max(n_heard, first + len(events))

    def _lose(self) -> None:
        """Stop all work, and come back under another name: the lease is over, and others may own what was ours."""
        self._n_lost += 1
        self._until = 0.0
        self._released.clear()
        self._end_all()

    def _end_all(self) -> None:
        for scope in self._scopes:
            scope.cancel()
        if self._asking is not None:
            self._asking.stop()

    async def _leave(self) -> None:
        question = self._question()
        question.leaves = True
        question.claims = []
        with_words = question.events
        try:
            await self._send(encode(question))
        except ClusterError:
            # it is lost after its lease instead, and so are its last words
            del with_words[:]


def _loss(address: str, *, is_over: bool) -> str:
    who = f"the worker {address}" if address else "this process"
    if is_over:
        return f"{who} has stopped writing: the run has ended, or the process that began it is gone"
    return (
        f"{who} has stopped writing: it could not reach the scheduler for as long as its lease lasts, so that "
        "another worker takes over what it was at"
    )
