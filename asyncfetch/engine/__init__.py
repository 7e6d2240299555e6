"""When bytes move: rate, concurrency, memory, retries, and the transport under them."""

from __future__ import annotations

from asyncfetch.engine.acceptance import Acceptance
from asyncfetch.engine.budget import ByteBudget, Ticket
from asyncfetch.engine.companion import Companion
from asyncfetch.engine.exchanges import Exchange, observing
from asyncfetch.engine.fetch import Engine, Request, sharing
from asyncfetch.engine.gate import Gate, Reservation
from asyncfetch.engine.health import HealthState, HostHealth
from asyncfetch.engine.hedge import HedgePolicy
from asyncfetch.engine.limiter import LimiterRate
from asyncfetch.engine.pausing import Pause
from asyncfetch.engine.queues import Kind
from asyncfetch.engine.rate import ByteRate, RequestRate, Turn
from asyncfetch.engine.recording import recording
from asyncfetch.engine.retry import RetryPolicy, parse_retry_after
from asyncfetch.engine.transport import AiohttpTransport, Reply, Transport
from asyncfetch.engine.window import FixedWindow, Window, WindowChange

__all__ = [
    "Acceptance",
    "AiohttpTransport",
    "ByteBudget",
    "ByteRate",
    "Companion",
    "Engine",
    "Exchange",
    "FixedWindow",
    "Gate",
    "HealthState",
    "HedgePolicy",
    "HostHealth",
    "Kind",
    "LimiterRate",
    "Pause",
    "Reply",
    "Request",
    "RequestRate",
    "Reservation",
    "RetryPolicy",
    "Ticket",
    "Transport",
    "Turn",
    "Window",
    "WindowChange",
    "observing",
    "parse_retry_after",
    "recording",
    "sharing",
]
