"""The layers of a section: from decoded pixels to what a sink stores, as jobs that threads share."""

from __future__ import annotations

from asyncfetch.layers.pixels import Decoded, Pixels
from asyncfetch.layers.section import LayerJobs
from asyncfetch.layers.sink import LevelSink, Sink

__all__ = ["Decoded", "LayerJobs", "LevelSink", "Pixels", "Sink"]
