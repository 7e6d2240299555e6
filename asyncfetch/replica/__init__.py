"""The replica of the API: a server that answers from the sample atlas, from a mirror or from a recording."""

from __future__ import annotations

from asyncfetch.replica.app import (
    Atlas,
    Replica,
    RequestRecord,
    ServerOptions,
    create_app,
    open_replica,
    open_replica_process,
)
from asyncfetch.replica.differences import DIFFERENCES
from asyncfetch.replica.faults import FAULT_KINDS, QUERY, SYNC, Fault, FaultPlan, FaultRule, FaultScript
from asyncfetch.replica.images import DrawnImages, Picture
from asyncfetch.replica.mirrored import MirroredAtlas

__all__ = [
    "DIFFERENCES",
    "FAULT_KINDS",
    "QUERY",
    "SYNC",
    "Atlas",
    "DrawnImages",
    "Fault",
    "FaultPlan",
    "FaultRule",
    "FaultScript",
    "MirroredAtlas",
    "Picture",
    "Replica",
    "RequestRecord",
    "ServerOptions",
    "create_app",
    "open_replica",
    "open_replica_process",
]
