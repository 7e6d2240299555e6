"""What all machines are told of the server: whether it answers, and until when it asked for a pause.

A machine tells what it has just found out. It counts where the machine knew the latest news, so that what it did not
know yet cannot be undone by what it believes. Pure: ``now`` is an argument.
"""

from __future__ import annotations

import msgspec

__all__ = ["Bulletin", "News"]


class News(msgspec.Struct, frozen=True, kw_only=True):
    """How the server is.

    Attributes
    ----------
    number : int
        Counts the changes.
    state : str
        ``open``, ``paused`` or ``outage``.
    opens_in_s : float
        In how many seconds something may be asked again; counted from when this was sent.
    cause : str
        Why it is not open.
    is_silent : bool
        Whether the server gives no answer at all.
    """

    number: int = 0
    state: str = "open"
    opens_in_s: float = 0.0
    cause: str = ""
    is_silent: bool = False


class Bulletin:
    """The latest news of the server."""

    def __init__(self) -> None:
        self._news = News()
        self._opens_at = 0.0

    def __repr__(self) -> str:
        return f"Bulletin({self._news.number}: {self._news.state})"

    def tell(self, news: News, now: float) -> None:
        """Note what a machine found out; ``news.number`` is that of the latest news which it knew."""
        opens_at = now + max(0.0, news.opens_in_s)
        is_longer = news.state == self._news.state == "paused" and opens_at > self._opens_at + 0.1
        if news.number != self._news.number or (news.state == self._news.state and not is_longer):
            return
        self._opens_at = opens_at
        self._news = msgspec.structs.replace(news, number=news.number + 1)

    def read(self, now: float) -> News:
        """Return the latest news."""
        if self._news.state == "paused" and now >= self._opens_at:
            self._news = News(number=self._news.number + 1)
        return msgspec.structs.replace(self._news, opens_in_s=max(0.0, self._opens_at - now))
