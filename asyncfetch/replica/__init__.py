"""The replica of the API: a server that answers from the sample atlas, a generated product, a mirror or a recording."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asyncfetch.deprecation import warn_of_old_name
from asyncfetch.replica.app import (
    AtlasSource,
    Replica,
    RequestRecord,
    ServerOptions,
    create_app,
    open_replica,
    open_replica_process,
)
from asyncfetch.replica.differences import DIFFERENCES
from asyncfetch.replica.faults import FAULT_KINDS, QUERY, SYNC, Fault, FaultPlan, FaultRule, FaultScript
from asyncfetch.replica.generated import GeneratedAtlas
from asyncfetch.replica.images import DrawnImages, Picture
from asyncfetch.replica.mirrored import MirroredAtlas

__all__ = [
    "DIFFERENCES",
    "FAULT_KINDS",
    "QUERY",
    "SYNC",
    "AtlasSource",
    "DrawnImages",
    "Fault",
    "FaultPlan",
    "FaultRule",
    "FaultScript",
    "GeneratedAtlas",
    "MirroredAtlas",
    "Picture",
    "Replica",
    "RequestRecord",
    "ServerOptions",
    "create_app",
    "open_replica",
    "open_replica_process",
]

if TYPE_CHECKING:
    Atlas = AtlasSource
else:

    def __getattr__(name: str) -> Any:
        """Return the protocol under the name that the six services have, with a warning."""
        if name != "Atlas":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        warn_of_old_name(f"{__name__}.Atlas", f"{__name__}.AtlasSource")
        return AtlasSource
