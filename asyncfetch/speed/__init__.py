"""How fast this machine is: each stage alone, a small whole run, and what may be concluded from them."""

from __future__ import annotations

from asyncfetch.speed.bottleneck import SERVER_SHARE, server_share, why_no_conclusion
from asyncfetch.speed.machine import describe_machine
from asyncfetch.speed.meter import Cost, metered
from asyncfetch.speed.runs import RunMeasurement, measure_bodies, measure_run
from asyncfetch.speed.stages import StageMeasurement, measure_stages

__all__ = [
    "SERVER_SHARE",
    "Cost",
    "RunMeasurement",
    "StageMeasurement",
    "describe_machine",
    "measure_bodies",
    "measure_run",
    "measure_stages",
    "metered",
    "server_share",
    "why_no_conclusion",
]
