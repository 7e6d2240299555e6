"""The store of a command: one that reads is told what is damaged, one that writes whether another run is at work."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from asyncfetch.cli.console import tell
from asyncfetch.cli.failures import at_end
from asyncfetch.text import counted, listed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncfetch.store import Store

__all__ = ["open_store", "refuse_if_busy", "tell_damage"]


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


def refuse_if_busy(location: str, *, wait: bool = False) -> None:
    """Make sure that no other run has a store, before all is loaded that a run needs; with `wait` it may have one.

    Raises
    ------
    StoreBusyError
        A run on this machine has it.
    SettingsError
        The location names no directory.
    """
    from asyncfetch.store import lock_file

    if not wait:
        lock_file.refuse_if_busy(location)


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
