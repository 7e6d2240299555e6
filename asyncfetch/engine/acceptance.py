"""The end of a request: what its check calls once the reply is proved."""

from __future__ import annotations

from asyncio import get_running_loop
from contextlib import suppress
from contextvars import copy_context
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

__all__ = ["Acceptance"]


class Acceptance:
    """The word of a check that a reply is proved: whatever the check does after it is the caller's.

    It is called on any thread, and does not wait; calling it again changes nothing. A check that returns without it
    has accepted by returning. Leaving the block is the end of the check: nothing is told after it.

    Parameters
    ----------
    tell : callable
        Called on the event loop, once and as soon as that has a turn, with the time of the loop at which the reply was
        accepted. Where it raises, leaving the block does.

    Attributes
    ----------
    is_given : bool
        Whether the reply was accepted.
    """

    __slots__ = ("_context", "_error", "_loop", "_tell", "_time", "is_given")

    def __init__(self, tell: Callable[[float], None]) -> None:
        self.is_given = False
        self._tell: Callable[[float], None] | None = tell
        self._time = 0.0
        self._error: Exception | None = None
        self._loop = get_running_loop()
        # what is told is told as if by the task whose request it is
        self._context = copy_context()

    def __call__(self) -> None:
        """Accept the reply."""
        if self.is_given or self._tell is None:
            return
        self._time = self._loop.time()
        self.is_given = True
        # nobody is left to be told once the loop is closed: the task was cancelled, and its thread went on
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._tell_now, context=self._context)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        if error_type is None and not self.is_given:
            self._time = self._loop.time()
            self.is_given = True
        if self.is_given:
            self._tell_now()
        self._tell = None
        if self._error is not None:
            raise self._error

    def _tell_now(self) -> None:
        tell, self._tell = self._tell, None
        if tell is None:
            return
        try:
            tell(self._time)
        except Exception as error:  # noqa: BLE001 - raised by the task, whose own it is
            self._error = error
