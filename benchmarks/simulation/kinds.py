"""The kinds of host that the engine has to get along with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio

from benchmarks.simulation.conditions import (
    Collapsing,
    Degrading,
    Flapping,
    Latency,
    MostOpen,
    MostStarts,
    Sizes,
    Speeds,
    Steady,
)
from benchmarks.simulation.host import SimulatedHost

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["KINDS", "Kind"]


@dataclass(frozen=True)
class Kind:
    """One kind of host.

    Attributes
    ----------
    name : str
        One word.
    story : str
        What it is like, for captions.
    make : callable
        Makes the host of a seed, inside the loop that it is used in.
    settles_s : float
        Seconds after which a client may be expected to know the host.
    """

    name: str
    story: str
    make: Callable[[int], SimulatedHost]
    settles_s: float = 60.0


def _fast(seed: int) -> SimulatedHost:
    return SimulatedHost(Sizes(4e6, seed), Speeds(60e6, 60e6, seed), Latency(0.02), Steady(125e6), seed=seed)


def _slow_per_connection(seed: int) -> SimulatedHost:
    return SimulatedHost(Sizes(2e6, seed), Speeds(0.5e6, 4e6, seed), Latency(0.1), seed=seed)


def _capped_in_all(seed: int) -> SimulatedHost:
    return SimulatedHost(Sizes(1e6, seed), Speeds(4e6, 4e6, seed), Latency(0.08), Steady(40e6), seed=seed)


def _throttling_starts(seed: int) -> SimulatedHost:
    return SimulatedHost(
        Sizes(1e6, seed), Speeds(4e6, 4e6, seed), Latency(0.1), Steady(100e6), MostStarts(20), seed=seed
    )


def _throttling_open(seed: int) -> SimulatedHost:
    return SimulatedHost(
        Sizes(1e6, seed), Speeds(4e6, 4e6, seed), Latency(0.1), Steady(100e6), MostOpen(10), seed=seed
    )


def _collapsing(seed: int) -> SimulatedHost:
    capacity = Collapsing(48e6, 0.15 * 48e6)
    return SimulatedHost(Sizes(1e6, seed), Speeds(4e6, 4e6, seed), Latency(0.08), capacity, seed=seed)


def _flapping(seed: int) -> SimulatedHost:
    door = Flapping(anyio.current_time(), 120.0, (30.0, 60.0), seed)
    return SimulatedHost(
        Sizes(2e6, seed), Speeds(4e6, 4e6, seed), Latency(0.08), Steady(40e6), door, seed=seed
    )


def _queueing(seed: int) -> SimulatedHost:
    capacity = Degrading(40e6, 12, 0.02)
    latency = Latency(0.08, n_at_once=8)
    return SimulatedHost(Sizes(1e6, seed), Speeds(4e6, 4e6, seed), latency, capacity, seed=seed)


def _small_replies(seed: int) -> SimulatedHost:
    latency = Latency(0.5, n_round_trips=2)
    return SimulatedHost(Sizes(3e3, seed, 0.5), Speeds(4e6, 4e6, seed), latency, seed=seed)


#: By name, in the order of the tables.
KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("fast", "20 ms, 60 MB/s a connection, 125 MB/s in all", _fast),
        Kind(
            "slow_per_connection", "100 ms, 0.5 to 4 MB/s a connection, no limit in all", _slow_per_connection
        ),
        Kind("capped_in_all", "80 ms, 4 MB/s a connection, 40 MB/s in all", _capped_in_all),
        Kind("throttling_starts", "429 beyond 20 requests per second", _throttling_starts),
        Kind("throttling_open", "429 beyond 10 open connections", _throttling_open),
        Kind(
            "collapsing",
            "beyond 12 open connections 15 % is left until fewer than 6 are open for 5 s",
            _collapsing,
            120.0,
        ),
        Kind("flapping", "up for 120 s, down for 30 to 60 s", _flapping),
        Kind("queueing", "latency grows beyond 8 connections, 40 MB/s in all and less beyond 12", _queueing),
        Kind("small_replies", "two round trips of 500 ms for 3 kB", _small_replies),
    )
}
