"""The old name of `asyncfetch.metrics`."""

from __future__ import annotations

from typing import Any

from asyncfetch import metrics
from asyncfetch.deprecation import warn_of_old_name

_OLD_NAMES = {"Figures": "Metrics", "Histogram": "Histogram"}


def __getattr__(name: str) -> Any:
    """Return what the metrics have under this name, with a warning."""
    if name not in _OLD_NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warn_of_old_name(f"{__name__}.{name}", f"{metrics.__name__}.{_OLD_NAMES[name]}")
    return getattr(metrics, _OLD_NAMES[name])
