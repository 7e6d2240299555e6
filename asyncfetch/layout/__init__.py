"""What a store says, as values: commits, registered images, volumes, slots and paths. Pure."""

from __future__ import annotations
