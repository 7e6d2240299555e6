"""asyncfetch: section images of the Allen Brain Atlas into registered OME-Zarr, as fast as the server allows.

The names of this page are the public ones; each is loaded when it is first used, so that importing the package costs
nothing. `asyncfetch.blocking` has the same names for programs that do not use ``await``.

Calls take a selection or a location first, and everything else by keyword: ``settings`` for all that can be chosen, and
single settings by their names, such as ``um=10``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from asyncfetch.errors import AsyncFetchError
from asyncfetch.loading import loader
from asyncfetch.version import __version__

if TYPE_CHECKING:
    from asyncfetch import blocking
    from asyncfetch.allen import ImageRequest, Query
    from asyncfetch.client import Client
    from asyncfetch.engine import Pause
    from asyncfetch.exporting import ExportReport, export
    from asyncfetch.limits import Limits
    from asyncfetch.mirroring import (
        Estimate,
        PackReport,
        Report,
        VerifyReport,
        VolumeReport,
        estimate,
        mirror,
        pack,
        rebuild,
        resume,
        unpack,
        verify,
        volume,
    )
    from asyncfetch.settings import Settings
    from asyncfetch.store import Store, open  # noqa: A004 - the public name is asyncfetch.open, as zarr.open is
    from asyncfetch.upgrading import upgrade

__all__ = [
    "AsyncFetchError",
    "Client",
    "Estimate",
    "ExportReport",
    "ImageRequest",
    "Limits",
    "PackReport",
    "Pause",
    "Query",
    "Report",
    "Settings",
    "Store",
    "VerifyReport",
    "VolumeReport",
    "__version__",
    "blocking",
    "estimate",
    "export",
    "mirror",
    "open",
    "pack",
    "rebuild",
    "resume",
    "unpack",
    "upgrade",
    "verify",
    "volume",
]

_HOMES = {
    "Client": "asyncfetch.client",
    "ImageRequest": "asyncfetch.allen",
    "Limits": "asyncfetch.limits",
    "Pause": "asyncfetch.engine",
    "Query": "asyncfetch.allen",
    "Settings": "asyncfetch.settings",
    "Store": "asyncfetch.store",
    "open": "asyncfetch.store",
    **dict.fromkeys(
        ("Estimate", "PackReport", "Report", "VerifyReport", "VolumeReport"),
        "asyncfetch.mirroring",
    ),
    **dict.fromkeys(
        ("estimate", "mirror", "pack", "rebuild", "resume", "unpack", "verify", "volume"),
        "asyncfetch.mirroring",
    ),
    **dict.fromkeys(("ExportReport", "export"), "asyncfetch.exporting"),
    "upgrade": "asyncfetch.upgrading",
}

# A type checker sees the names above alone, so that it finds one that is misspelt.
if not TYPE_CHECKING:
    _load = loader(__name__, _HOMES)

    def __getattr__(name: str) -> Any:
        """Load a public name when it is first used."""
        return importlib.import_module("asyncfetch.blocking") if name == "blocking" else _load(name)

    def __dir__() -> list[str]:
        """Return the public names, loaded or not."""
        return sorted({*globals(), *__all__})
