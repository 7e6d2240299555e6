"""What figures depend on: the machine and the versions."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

__all__ = ["describe_machine"]

_LIBRARIES = (
    "asyncfetch",
    "aiohttp",
    "anyio",
    "imagecodecs",
    "msgspec",
    "numcodecs",
    "numpy",
    "opencv-python-headless",
    "simplejpeg",
    "zarr",
)


def describe_machine() -> dict[str, Any]:
    """Return the time, the machine, its load and the versions, as JSON values.

    ``load_1min`` is None where the system does not tell; on a machine that others use it says how far to trust wall
    times.
    """
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "system": platform.system(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "load_1min": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in _LIBRARIES},
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
