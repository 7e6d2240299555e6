"""asyncfetch: section images of the Allen Brain Atlas into registered OME-Zarr, as fast as the server allows.

The names of this page are all there is to learn; each is loaded when it is first used, so that importing the
package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from asyncfetch.errors import AsyncFetchError
from asyncfetch.version import __version__

if TYPE_CHECKING:
    from asyncfetch.allen import Query
    from asyncfetch.client import Client
    from asyncfetch.mirroring import mirror
    from asyncfetch.settings import Settings
    from asyncfetch.store import open  # noqa: A004 - the public name is asyncfetch.open, as zarr.open is

__all__ = ["AsyncFetchError", "Client", "Query", "Settings", "__version__", "mirror", "open"]

_HOMES = {
    "Client": "asyncfetch.client",
    "Query": "asyncfetch.allen",
    "Settings": "asyncfetch.settings",
    "mirror": "asyncfetch.mirroring",
    "open": "asyncfetch.store",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
