"""The old name of `asyncfetch.replica` and `asyncfetch.sample`, for scripts written before they were two."""

from __future__ import annotations

import warnings
from typing import Any

from asyncfetch import replica, sample


def __getattr__(name: str) -> Any:
    """Return what the replica or the sample atlas has under this name, with a warning."""
    for module in (replica, sample):
        if name in module.__all__:
            warnings.warn(
                f"asyncfetch.server is now asyncfetch.replica and asyncfetch.sample; use {module.__name__}.{name}",
                DeprecationWarning,
                stacklevel=2,
            )
            return getattr(module, name)
    raise AttributeError(f"module 'asyncfetch.server' has no attribute {name!r}")
