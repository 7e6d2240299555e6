"""A selection as it was resolved: data sets and images by their ids, so that the same ones are fetched again. Pure."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Literal

import msgspec

from asyncfetch.errors import SelectionError
from asyncfetch.selecting.filters import Filters

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Lock", "LockedDataSet"]


class LockedDataSet(msgspec.Struct, frozen=True, omit_defaults=True):
    """One data set of a lock.

    Attributes
    ----------
    id : int
        The data set.
    images : tuple of int
        Those of its images that are meant, by id.
    part : str or None
        Which part of a split it is in.
    """

    id: int
    images: tuple[int, ...]
    part: str | None = None


class Lock(msgspec.Struct, frozen=True, kw_only=True):
    """What a selection was when it was resolved.

    Attributes
    ----------
    lock : 1
        The version of the form.
    selection : tuple of str
        What was asked for.
    filters : Filters
        What narrowed it.
    base_url : str
        The service that was asked.
    data_sets : tuple of LockedDataSet
        What it was, by id.
    atlases : tuple of int
        Atlases whose plates were meant.
    missing : tuple of str
        Selections that named nothing.
    """

    lock: Literal[1] = 1
    selection: tuple[str, ...]
    filters: Filters = Filters()
    base_url: str
    data_sets: tuple[LockedDataSet, ...] = ()
    atlases: tuple[int, ...] = ()
    missing: tuple[str, ...] = ()

    @classmethod
    def read(cls, text: str, name: str) -> Lock:
        """Read a lock.

        Raises
        ------
        SelectionError
            It is something else, or of a later version.
        """
        try:
            return msgspec.json.decode(text, type=cls)
        except (msgspec.MsgspecError, UnicodeError) as error:
            raise SelectionError(
                f"{name} is not a lock of a selection: {error}; make one with --lock"
            ) from error

    def text(self) -> str:
        """Return it as it is written to a file."""
        return msgspec.json.format(msgspec.json.encode(self), indent=1).decode() + "\n"

    @property
    def key(self) -> str:
        """What tells it from the locks of other selections."""
        asked = msgspec.json.encode((self.selection, self.filters))
        return hashlib.sha256(asked).hexdigest()[:16]

    @property
    def images(self) -> Mapping[int, frozenset[int]]:
        """The images that are meant, by data set."""
        return {each.id: frozenset(each.images) for each in self.data_sets}
