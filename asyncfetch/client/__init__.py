"""The awaitable API, and the same verbs without await."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncfetch.loading import loader

if TYPE_CHECKING:
    from asyncfetch.client.blocking import BlockingClient
    from asyncfetch.client.client import Client
    from asyncfetch.client.images import Jpeg
    from asyncfetch.client.stream import FetchedSection, SectionStream

__all__ = ["BlockingClient", "Client", "FetchedSection", "Jpeg", "SectionStream"]

_HOMES = {
    "BlockingClient": "asyncfetch.client.blocking",
    "Client": "asyncfetch.client.client",
    "Jpeg": "asyncfetch.client.images",
    **dict.fromkeys(("FetchedSection", "SectionStream"), "asyncfetch.client.stream"),
}

# A type checker sees the names above; whoever uses one module of this package does not load the others.
if not TYPE_CHECKING:
    __getattr__ = loader(__name__, _HOMES)
