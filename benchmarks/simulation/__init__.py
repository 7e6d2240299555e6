"""Hosts that exist only on a clock that jumps: the engine's behaviour over hours, proved in seconds."""
