"""What selections turn out to be: data sets with their sections, atlases, and a word on each selection."""

from __future__ import annotations

from typing import Any

import msgspec

from asyncfetch.allen import SectionDataSet  # noqa: TC001 - msgspec reads annotations
from asyncfetch.failures import Failure
from asyncfetch.selecting import Selection  # noqa: TC001 - msgspec reads annotations

__all__ = ["Resolved", "ResolvedAtlas", "ResolvedDataSet", "ResolvedSelection", "ResolvingNote"]

type Row = dict[str, Any]
type Resolved = ResolvedDataSet | ResolvedAtlas | ResolvedSelection | ResolvingNote | Failure


class ResolvedDataSet(msgspec.Struct, frozen=True, kw_only=True):
    """A data set that a selection named, with its section images.

    Attributes
    ----------
    data_set : SectionDataSet
        The record.
    image_ids : frozenset of int, or None
        The images that are wanted; None means all.
    items : tuple of str
        Selections that would name it again.
    atlas_id : int or None
        The atlas whose plates these are.
    part : str or None
        Which part of a split it is in.
    """

    data_set: SectionDataSet
    image_ids: frozenset[int] | None = None
    items: tuple[str, ...]
    atlas_id: int | None = None
    part: str | None = None

    @property
    def item(self) -> str:
        """The selection that names the data set; the plates of an atlas come together."""
        return f"dataset:{self.data_set.id}" if self.atlas_id is None else f"atlas:{self.atlas_id}"

    def item_of(self, image_id: int) -> str:
        """Return the selection that names an image alone; the plates of an atlas come together."""
        return f"image:{image_id}" if self.atlas_id is None else f"atlas:{self.atlas_id}"


class ResolvedAtlas(msgspec.Struct, frozen=True, kw_only=True):
    """The row of an atlas, and which data sets have its plates."""

    record: Row
    data_set_ids: tuple[int, ...]


class ResolvedSelection(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one selection.

    Attributes
    ----------
    selection : Selection
        As it was asked for.
    name : str
        How the API spells what it names.
    data_set_ids : tuple of int
        Its data sets, whether another selection named them, too, or not.
    message : str
        How it was understood, or why it has no data sets.
    """

    selection: Selection
    name: str
    data_set_ids: tuple[int, ...] = ()
    message: str = ""


class ResolvingNote(msgspec.Struct, frozen=True):
    """A word on how a selection was understood."""

    text: str
