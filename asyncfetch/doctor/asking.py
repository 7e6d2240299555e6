"""One question after another to a server, politely and not many, with everything that went over the wire."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple, Self

import anyio

from asyncfetch.engine import AiohttpTransport, Exchange, LimiterRate, observing, parse_retry_after
from asyncfetch.errors import AsyncFetchError

if TYPE_CHECKING:
    from types import TracebackType

    from asyncfetch.settings import Settings

__all__ = ["MAX_REQUESTS", "Asker", "Seen"]

#: The most requests of one examination, redirects and second attempts included.
MAX_REQUESTS = 60
_ATTEMPTS = 2
_LONGEST_PAUSE_S = 10.0
# The largest answers are a data set with its sections and an image of some megapixels.
_LIMIT_BYTES = 2**25


class Seen(NamedTuple):
    """What came of one question.

    Attributes
    ----------
    url : str
        What was asked for.
    exchanges : tuple of Exchange
        All that was answered: redirects, refusals, and what they led to.
    n_attempts : int
        How many times it was asked.
    error : AsyncFetchError or None
        Why there is no answer; also for one that was answered with another status than 200.
    """

    url: str
    exchanges: tuple[Exchange, ...]
    n_attempts: int
    error: AsyncFetchError | None = None

    @property
    def last(self) -> Exchange | None:
        """The last answer, whatever its status."""
        return self.exchanges[-1] if self.exchanges else None


class _SpentError(AsyncFetchError):
    """The requests of an examination are spent."""


class Asker:
    """What asks a server, one request at a time; use it as an async context manager.

    Parameters
    ----------
    settings : Settings
        The address, the rate and the timeouts.
    max_requests : int
        How many requests may be sent, redirects and second attempts included.

    Attributes
    ----------
    n_requests : int
        How many were sent.
    """

    def __init__(self, settings: Settings, max_requests: int = MAX_REQUESTS) -> None:
        self.n_requests = 0
        self._base_url = settings.base_url.rstrip("/")
        self._max_requests = max_requests
        self._rate = LimiterRate(settings.requests_per_s)
        self._exchanges: list[Exchange] = []
        with observing(self._exchanges.append):
            self._transport = AiohttpTransport(settings, self._count)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._transport.aclose()

    async def ask(self, path: str) -> Seen:
        """Return what comes of a request; what fails in a way that passes is asked once more."""
        url = f"{self._base_url}{path}"
        exchanges: list[Exchange] = []
        for attempt in range(1, _ATTEMPTS + 1):
            self._exchanges.clear()
            try:
                await self._count()
                await self._transport.fetch(url, _LIMIT_BYTES)
            except AsyncFetchError as error:
                exchanges += self._exchanges
                asked_s = parse_retry_after(getattr(error, "retry_after", None), datetime.now(UTC))
                if attempt == _ATTEMPTS or isinstance(error, _SpentError):
                    return Seen(url, tuple(exchanges), attempt, error)
                if asked_s is None and not error.is_transient:
                    return Seen(url, tuple(exchanges), attempt, error)
                await anyio.sleep(min(1.0 if asked_s is None else asked_s, _LONGEST_PAUSE_S))
            else:
                exchanges += self._exchanges
                return Seen(url, tuple(exchanges), attempt)
        raise AssertionError("the last attempt returns")

    async def ask_again(self, seen: Seen, path: str) -> Seen:
        """Ask once more for what came but is not what it should be."""
        again = await self.ask(path)
        return again._replace(
            exchanges=seen.exchanges + again.exchanges, n_attempts=seen.n_attempts + again.n_attempts
        )

    async def _count(self) -> None:
        """Return when one more request may be sent."""
        if self.n_requests >= self._max_requests:
            raise _SpentError(
                f"all {self._max_requests} requests of the examination were sent; ask again later"
            )
        await self._rate.start()
        self._rate.sent()
        self.n_requests += 1
