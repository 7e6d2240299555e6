"""When bytes move: rate, concurrency, memory, retries, and the transport under them."""

from __future__ import annotations

from asyncfetch.engine.budget import ByteBudget, Ticket
from asyncfetch.engine.fetch import Engine, Request
from asyncfetch.engine.gate import Gate, Kind, LimiterRate
from asyncfetch.engine.rate import ByteRate, RequestRate, Turn
from asyncfetch.engine.retry import RetryPolicy, parse_retry_after
from asyncfetch.engine.transport import AiohttpTransport, Reply, Transport

__all__ = [
    "AiohttpTransport",
    "ByteBudget",
    "ByteRate",
    "Engine",
    "Gate",
    "Kind",
    "LimiterRate",
    "Reply",
    "Request",
    "RequestRate",
    "RetryPolicy",
    "Ticket",
    "Transport",
    "Turn",
    "parse_retry_after",
]
