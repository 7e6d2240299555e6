"""A store opened for a command that reads: what is damaged in it is told on stderr, and the rest is used."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from asyncfetch.cli.console import tell
from asyncfetch.cli.failures import at_end
from asyncfetch.text import counted, listed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncfetch.store import Store

__all__ = ["open_store", "tell_damage"]


def open_store(location: str) -> Store:
    """Open a store, and tell at the end of the command what of it could not be read.

    Raises
    ------
    StoreError
        There is no store, or it cannot be used.
    """
    from asyncfetch import store

    opened = store.open(location)
    at_end(partial(_tell_damage_of, opened))
    return opened


def _tell_damage_of(opened: Store) -> None:
    tell_damage(opened.damage, opened.location)


def tell_damage(sentences: Sequence[str], location: str) -> None:
    """Print what is damaged in a store, and how to repair it."""
    for line in listed(
        sentences, "note: {}".format, lambda n: f"note: {counted(n, 'more object')} cannot be read"
    ):
        tell(line)
    if sentences:
        tell(f"repair the store with: asyncfetch verify {location} --repair")
