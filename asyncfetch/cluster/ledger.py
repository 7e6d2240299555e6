"""The ledger of one run on many machines: whom it has heard, who owns what, and who may start how much. Pure.

It stands where all machines can ask it, at the scheduler. When that is started again, there is a new ledger, which
waits until everything that the old one had promised has passed.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec

from asyncfetch.cluster.bulletin import Bulletin
from asyncfetch.cluster.messages import Answer
from asyncfetch.cluster.ownership import Ownership
from asyncfetch.cluster.permits import Permits
from asyncfetch.cluster.stretches import Stretches

if TYPE_CHECKING:
    from asyncfetch.cluster.messages import Question

__all__ = ["Ledger", "Terms"]

#: How many reports of events one answer carries.
_MAX_TOLD = 1000


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What a run is held to, on however many machines.

    Attributes
    ----------
    requests_per_s : float
        Starts in any second.
    n_permits : int
        Images at once.
    lease_s, margin_s : float
        As of `Ownership`.
    """

    requests_per_s: float
    n_permits: int
    lease_s: float = 15.0
    margin_s: float = 5.0


class Ledger:
    """What answers the questions of all machines.

    Parameters
    ----------
    terms : Terms
        What holds for all together.
    not_before : float
        No start, no permit and no data set is given out earlier, on the clock of ``now``.
    """

    def __init__(self, terms: Terms, not_before: float = -math.inf) -> None:
        self.is_over = False
        self._not_before = not_before
        self._drains = False
        self._ownership = Ownership(terms.lease_s, terms.margin_s, not_before)
        self._stretches = Stretches(terms.requests_per_s, not_before)
        self._permits = Permits(terms.n_permits)
        self._bulletin = Bulletin()
        self._addresses: dict[str, str] = {}
        self._serials: dict[str, int] = {}
        # what was told, and how much of it has been heard and is kept no more
        self._events: list[tuple[str, int, list[msgspec.Raw]]] = []
        self._n_heard = 0

    def __repr__(self) -> str:
        return f"Ledger({self._ownership!r}, {self._stretches!r}, {self._permits!r}, {self._bulletin!r})"

    def answer(self, question: Question, now: float) -> Answer:
        """Take what a machine says, and answer what it asks.

        What it has found out counts even where it is lost: its events have happened.
        """
        owner = question.owner
        if question.events:
            self._events.append((owner, question.first_event, question.events))
        self._drains |= question.drains
        if question.serial <= self._serials.get(owner, -1):
            # it was overtaken by a later one, and whoever sent it waits for this answer no more
            return Answer(drains=self._drains)
        self._serials[owner] = question.serial
        for key in question.released:
            self._ownership.release(owner, key)
        if question.leaves:
            self._forget(owner)
            self._ownership.leave(owner)
            return Answer(is_over=self.is_over, drains=self._drains, events=self._heard(question))
        if not self._ownership.hear(owner, now):
            return Answer(is_lost=True, is_over=self.is_over, drains=self._drains)
        self._addresses[owner] = question.address
        if question.news is not None:
            self._bulletin.tell(question.news, now)
        answer = Answer(
            is_over=self.is_over,
            drains=self._drains,
            news=self._bulletin.read(now),
            events=self._heard(question),
        )
        if self.is_over:
            return answer
        answer.owned = [key for key in question.claims if self._ownership.claim(owner, key, now)]
        if now >= self._not_before:
            answer.n_permits = self._permits.ask(owner, question.n_wanted, question.n_held)
        # in an outage only probes ask for one
        if answer.news.state != "paused":
            answer.starts = self._stretches.ask(question.n_starts, now, question.lateness_s)
        return answer

    def lose_silent(self, now: float) -> list[str]:
        """Take all from the machines that have not been heard of for too long; return what Dask calls them."""
        lost = self._ownership.expire(now)
        return [address for owner in lost if (address := self._forget(owner))]

    def _forget(self, owner: str) -> str:
        self._permits.forget(owner)
        self._serials.pop(owner, None)
        return self._addresses.pop(owner, "")

    def _heard(self, question: Question) -> list[tuple[str, int, list[msgspec.Raw]]]:
        if not question.hears:
            return []
        del self._events[: max(0, question.n_heard - self._n_heard)]
        self._n_heard = max(self._n_heard, question.n_heard)
        return self._events[:_MAX_TOLD]
