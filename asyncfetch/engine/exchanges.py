"""What went over the wire, for those who watch: one exchange for each request that was answered.

A redirect and what it leads to are two exchanges. Whoever watches sees what the engine sees, whatever becomes of it:
404 and 503 as well as 200. What was never answered to its end is not an exchange.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Exchange", "current_observer", "observing"]


class Exchange(NamedTuple):
    """One request that was answered.

    Attributes
    ----------
    url : str
        What this request asked for; for a redirect that was followed, the address it led to.
    status : int
        The HTTP status.
    headers : tuple of (str, str)
        In the order in which they came.
    body : bytes
        Decompressed; of a status other than 200, at most the first 64 KiB.
    """

    url: str
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """Return the first header of a name, in whatever case it came."""
        return next((value for each, value in self.headers if each.lower() == name.lower()), None)


type Observer = Callable[[Exchange], None]

_OBSERVER: ContextVar[Observer | None] = ContextVar("asyncfetch_observer", default=None)


@contextmanager
def observing(observer: Observer) -> Iterator[None]:
    """Show every exchange of the transports that are made in the block to ``observer``.

    It is called on the event loop and must not block for long. Blocks nest: all observers see an exchange, the
    innermost first.
    """
    outer = _OBSERVER.get()

    def tell_all(exchange: Exchange) -> None:
        observer(exchange)
        if outer is not None:
            outer(exchange)

    token = _OBSERVER.set(tell_all)
    try:
        yield
    finally:
        _OBSERVER.reset(token)


def current_observer() -> Observer | None:
    """Return who watches here, or None."""
    return _OBSERVER.get()
