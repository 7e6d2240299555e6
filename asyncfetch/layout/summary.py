"""The summary of a view: what its commits say, in one object for all sections, so that 10^5 sets are read soon. Pure.

It stands in the group of the data set while no commit of the view changes: whoever changes one takes the summary away
before, and writes it again behind the last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, Self

import msgspec

from asyncfetch.layout.bounds import Size  # noqa: TC001 - msgspec reads annotations
from asyncfetch.layout.commit import SectionSummary
from asyncfetch.layout.recipe import Recipe  # noqa: TC001 - msgspec reads annotations

if TYPE_CHECKING:
    from collections.abc import Iterable

    from asyncfetch.layout.commit import Commit

__all__ = ["StoredCommit", "ViewSummary"]

_OF_ALL = ("data_set_id", "view", "recipe")


class StoredCommit(NamedTuple):
    """What a commit says of its section, and how long the object is that says it."""

    section: SectionSummary
    n_bytes: int


class _Entry(msgspec.Struct, frozen=True, kw_only=True):
    section: dict[str, Any]
    recipe: Annotated[int, msgspec.Meta(ge=0)]
    n_bytes: Size


class ViewSummary(msgspec.Struct, frozen=True, kw_only=True):
    """The commits of one view, as ``attributes.asyncfetch.summary`` of the data set has them by the name of the view.

    Attributes
    ----------
    recipes : tuple of Recipe
        By which sections were made: one, unless a store was mirrored several times.
    entries : tuple
        One per section, in order of section number and id: what its commit says but for the record, the index of its
        recipe, and how long the object of the commit is.
    """

    recipes: tuple[Recipe, ...]
    entries: tuple[_Entry, ...]

    @classmethod
    def of(cls, commits: Iterable[tuple[Commit, int]]) -> Self:
        """Summarize commits, each with the length of its object."""
        recipes: list[Recipe] = []
        entries = []
        for commit, n_bytes in commits:
            if commit.recipe not in recipes:
                recipes.append(commit.recipe)
            section = {
                name: msgspec.to_builtins(getattr(commit, name))
                for name in SectionSummary.__struct_fields__
                if name not in _OF_ALL and getattr(commit, name) is not None
            }
            entries.append(_Entry(section=section, recipe=recipes.index(commit.recipe), n_bytes=n_bytes))
        return cls(recipes=tuple(recipes), entries=tuple(entries))

    def sections(self, data_set_id: int, view: str) -> dict[int, StoredCommit]:
        """Return what the commits say, by image id.

        Raises
        ------
        msgspec.ValidationError, IndexError
            It is not what `of` makes.
        """
        found = {}
        for entry in self.entries:
            named = {"resolution_um": None, **entry.section, "data_set_id": data_set_id, "view": view}
            section = msgspec.convert(named | {"recipe": self.recipes[entry.recipe]}, SectionSummary)
            found[section.image_id] = StoredCommit(section, entry.n_bytes)
        return found


# Before there are threads: msgspec ends the process where two of them meet a type for the first time.
_MET = msgspec.json.Decoder(ViewSummary)
