"""The replica of the API: the sample atlas, its phantom, and the server that answers from them."""

from __future__ import annotations

from asyncfetch.server.app import (
    Atlas,
    Replica,
    RequestRecord,
    ServerOptions,
    create_app,
    open_replica,
    open_replica_process,
)
from asyncfetch.server.differences import DIFFERENCES
from asyncfetch.server.faults import FAULT_KINDS, QUERY, SYNC, Fault, FaultPlan, FaultRule, FaultScript
from asyncfetch.server.images import DrawnImages, Picture
from asyncfetch.server.mirrored import MirroredAtlas
from asyncfetch.server.phantom import Phantom
from asyncfetch.server.sample import SampleAtlas, sample_atlas
from asyncfetch.server.truth import (
    PlaneError,
    VolumeError,
    compare_plane,
    compare_volume,
    compare_with_phantom,
)

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
    "Phantom",
    "Picture",
    "PlaneError",
    "Replica",
    "RequestRecord",
    "SampleAtlas",
    "ServerOptions",
    "VolumeError",
    "compare_plane",
    "compare_volume",
    "compare_with_phantom",
    "create_app",
    "open_replica",
    "open_replica_process",
    "sample_atlas",
]
