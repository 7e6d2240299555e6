"""What measurements depend on: the machine and the versions."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from typing import Any

from asyncfetch.libraries import library_versions
from asyncfetch.version import __version__

__all__ = ["describe_machine"]


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
        "versions": {"asyncfetch": __version__, **library_versions()},
    }
