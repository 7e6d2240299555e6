"""The awaitable API, and the same verbs without await."""

from __future__ import annotations

from asyncfetch.client.blocking import BlockingClient
from asyncfetch.client.client import Client
from asyncfetch.client.images import Jpeg
from asyncfetch.client.stream import FetchedSection, SectionStream

__all__ = ["BlockingClient", "Client", "FetchedSection", "Jpeg", "SectionStream"]
