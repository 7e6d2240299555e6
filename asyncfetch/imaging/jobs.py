"""Jobs that wait for each other, handed out to threads as soon as what they need is there."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable

__all__ = ["Jobs", "JobsStoppedError"]


class JobsStoppedError(Exception):
    """Jobs that were stopped before their end: somebody does not wait for them any more."""


class Jobs:
    """The jobs of one image: what may start, and what still waits for which sources.

    A name stands for something that becomes there: pixels that arrived, or a job that is done. A job starts when all
    names that it needs are there; no order is kept beyond that. Jobs that became ready last start first: their
    pixels are still in the cache, and what they hold is given back the sooner.

    Any number of threads may call `work` at once. One that finds nothing ready leaves, so that no thread of a pool
    waits while others have work for it; the last one to finish a job continues with what that made ready. One thread
    may call `finish`, and stays to the end.
    """

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._n_running = 0
        self._ready: deque[tuple[Hashable, Callable[[], None]]] = deque()
        self._missing: dict[Hashable, set[Hashable]] = {}
        self._work: dict[Hashable, Callable[[], None]] = {}
        self._waiting: dict[Hashable, list[Hashable]] = {}
        self._there: set[Hashable] = set()
        self._is_stopped = False
        #: What the first job that failed raised; nothing begins after it.
        self.error: BaseException | None = None

    def __repr__(self) -> str:
        return f"Jobs({self.n_ready} ready, {self.n_waiting} waiting)"

    @property
    def n_ready(self) -> int:
        """How many jobs could start now."""
        return len(self._ready)

    @property
    def n_waiting(self) -> int:
        """How many jobs wait for a source."""
        return len(self._work)

    def add(self, name: Hashable, work: Callable[[], None], needs: Collection[Hashable] = ()) -> None:
        """Add a job.

        Parameters
        ----------
        name : hashable
            What is there once the job is done; no two jobs share it.
        work : callable
            The job; blocking.
        needs : collection of hashable
            What must be there before.
        """
        with self._lock:
            missing = set(needs) - self._there
            if not missing:
                self._ready.append((name, work))
                return
            self._missing[name], self._work[name] = missing, work
            for need in missing:
                self._waiting.setdefault(need, []).append(name)

    def arrive(self, name: Hashable) -> None:
        """Say that something is there that no job makes."""
        with self._lock:
            self._there.add(name)
            for waiting in self._waiting.pop(name, ()):
                self._missing[waiting].discard(name)
                if not self._missing[waiting]:
                    del self._missing[waiting]
                    self._ready.appendleft((waiting, self._work.pop(waiting)))

    def stop(self) -> None:
        """Let threads leave after the job they are at."""
        self._is_stopped = True

    def finish(self) -> None:
        """Do jobs until none is ready nor done by another thread.

        Raises
        ------
        JobsStoppedError
            `stop` ended it before.
        BaseException
            What the first job that failed raised.
        """
        while True:
            self.work()
            with self._lock:
                self._lock.wait_for(lambda: self._can_take or not self._n_running)
                if not self._can_take:
                    break
        if self.error is not None:
            raise self.error
        if self._is_stopped:
            raise JobsStoppedError

    @property
    def _can_take(self) -> bool:
        return bool(self._ready) and not self._is_stopped

    def work(self) -> None:
        """Do jobs until none is ready; what a job raises is kept in `error`, and no others begin."""
        while (taken := self._take()) is not None:
            name, job = taken
            try:
                job()
            except BaseException as error:  # noqa: BLE001 - whoever waits for the jobs raises it again
                self.error = self.error or error
                self.stop()
            else:
                self.arrive(name)
            finally:
                with self._lock:
                    self._n_running -= 1
                    self._lock.notify_all()

    def _take(self) -> tuple[Hashable, Callable[[], None]] | None:
        with self._lock:
            if not self._can_take:
                return None
            self._n_running += 1
            return self._ready.popleft()
