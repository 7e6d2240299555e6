"""The engine: one request to one checked answer, through the gate, again when it failed and may succeed."""

from __future__ import annotations

import random as _random
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

import anyio

from asyncfetch.engine.gate import Gate
from asyncfetch.engine.retry import RetryPolicy
from asyncfetch.engine.transport import AiohttpTransport
from asyncfetch.errors import AsyncFetchError
from asyncfetch.events import RequestFailed, RequestFinished, RequestRetried, RequestStarted, ignore

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType

    from asyncfetch.engine.gate import Kind
    from asyncfetch.engine.transport import Reply, Transport
    from asyncfetch.events import Listener
    from asyncfetch.settings import Settings

__all__ = ["Engine", "Request"]


@dataclass(frozen=True, slots=True)
class Request:
    """Be one thing to ask for.

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


class Engine:
    """Fetch, with everything that stands between a request and a checked answer.

    Use it as an async context manager; it closes its transport, also one that was handed in.

    Parameters
    ----------
    settings : Settings
        How fast, how many, how often and how long.
    transport : Transport, optional
        What sends requests; by default aiohttp.
    on_event : callable, optional
        Called on the event loop with ``RequestStarted``, ``RequestFinished``, ``RequestRetried`` and
        ``RequestFailed``; it must not block.
    random : callable, optional
        Gives numbers uniform in [0, 1) for the jitter of retries.
    """

    def __init__(
        self,
        settings: Settings,
        transport: Transport | None = None,
        on_event: Listener = ignore,
        random: Callable[[], float] | None = None,
    ) -> None:
        self._gate = Gate(settings)
        self._transport: Transport = transport or AiohttpTransport(
            settings, before_redirect=lambda: self._gate.start("metadata")
        )
        self._retry = RetryPolicy(settings.attempts)
        self._emit = on_event
        self._random = random or _random.random  # noqa: S311 - jitter hides nothing
        self._on_bytes = self._gate.receive if self._gate.limits_bytes else None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with anyio.CancelScope(shield=True):
            await self._transport.aclose()

    async def fetch[T](self, request: Request, check: Callable[[Reply], Awaitable[T]]) -> T:
        """Send a request until its answer passes ``check``, or the retry policy gives up.

        No place is held while ``check`` runs, nor while a retry waits.

        Parameters
        ----------
        request : Request
            What to ask for.
        check : callable
            Awaited with the :class:`~asyncfetch.engine.Reply`. What it returns is returned; an
            ``AsyncFetchError`` from it counts as a failure of the request, any other error is a bug and
            propagates.

        Returns
        -------
        object
            What ``check`` returned.

        Raises
        ------
        AsyncFetchError
            The error of the last attempt.
        """
        attempt = 0
        while True:
            attempt += 1
            try:
                result = await check(await self._send(request, attempt))
            except AsyncFetchError as error:
                delay_s = self._answer(request, error, attempt)
                if delay_s is None:
                    raise
            else:
                self._retry.succeeded()
                return result
            await anyio.sleep(delay_s)

    def reserve(self, size_bytes: int) -> AbstractAsyncContextManager[None]:
        """Hold decoded bytes of the memory budget; take them before fetching, keep them while they are used."""
        return self._gate.reserve(size_bytes)

    async def _send(self, request: Request, attempt: int) -> Reply:
        url, kind = request.url, request.kind
        async with self._gate.slot(kind):
            self._emit(RequestStarted(url=url, kind=kind, attempt=attempt))
            reply = await self._transport.fetch(url, request.limit_bytes, self._on_bytes)
        self._emit(
            RequestFinished(
                url=url,
                kind=kind,
                attempt=attempt,
                status=reply.status,
                size_bytes=len(reply.body),
                elapsed_s=reply.elapsed_s,
            )
        )
        return reply

    def _answer(self, request: Request, error: AsyncFetchError, attempt: int) -> float | None:
        url, kind = request.url, request.kind
        name = type(error).__name__
        label = f"{request.label}: " if request.label else ""
        was_spent = self._retry.is_spent
        delay_s = self._retry.after(error, attempt, datetime.now(UTC), self._random())
        if delay_s is not None:
            self._emit(
                RequestRetried(
                    url=url,
                    kind=kind,
                    attempt=attempt,
                    error=name,
                    cause=f"{label}{error.message}",
                    delay_s=delay_s,
                )
            )
            return delay_s
        if was_spent and error.is_transient and attempt < self._retry.attempts:
            reason = "not asked again, because too many requests have failed since the last successes"
            error.args = (f"{error.message} ({reason})",)
        cause = f"{label}{error.message}"
        self._emit(RequestFailed(url=url, kind=kind, attempt=attempt, error=name, cause=cause))
        return None

    def __repr__(self) -> str:
        return f"Engine({self._gate!r}, {self._retry!r}, {self._transport!r})"
