"""How the API spells a name that it did not know: it tells capitals apart (RMA-9), and people do not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from asyncfetch.allen import Query
from asyncfetch.names import nearest
from asyncfetch.text import shown

if TYPE_CHECKING:
    from asyncfetch.client.queries import CatalogueQueries

__all__ = ["NAMED_KINDS", "Spelling", "find_spelling"]

#: Model, column of the name and table of what can be named.
NAMED_KINDS = {
    "gene": ("Gene", "acronym", "genes"),
    "product": ("Product", "abbreviation", "products"),
    "plane": ("PlaneOfSection", "name", "plane_of_sections"),
}
#: There are tens of thousands of genes, so that only those that begin alike are asked for.
_N_LETTERS = 2
_MAX_NAME = 40


class Spelling(msgspec.Struct, frozen=True):
    """What the API calls something that was asked for by name.

    Attributes
    ----------
    kind, asked : str
        What was asked for.
    names : tuple of str
        The names that differ from it in capitals at most.
    alike : tuple of str
        The nearest others.
    """

    kind: str
    asked: str
    names: tuple[str, ...]
    alike: tuple[str, ...]

    @property
    def other(self) -> str | None:
        """The one name that is meant though it is spelled otherwise."""
        is_one = len(self.names) == 1 and self.names[0] != self.asked
        return self.names[0] if is_one else None

    @property
    def note(self) -> str:
        """What is told where `other` is taken."""
        return (
            f"{self.kind} {shown(self.asked, _MAX_NAME)} is spelled {shown(self.other, _MAX_NAME)} in the API"
        )

    @property
    def advice(self) -> str:
        """What to type next, where nothing was found."""
        if self.asked in self.names:
            return f"the API knows the {self.kind}; name failed data sets by their ids"
        known = self.names or self.alike
        if known:
            return f"did you mean {' or '.join(shown(each, _MAX_NAME) for each in known)}?"
        return "check the spelling, and name failed data sets by their ids"


async def find_spelling(client: CatalogueQueries, kind: str, asked: str) -> Spelling:
    """Ask the API for the names of a kind that are like one, in one query.

    Raises
    ------
    AsyncFetchError
        The API could not be asked.
    """
    model, column, table = NAMED_KINDS[kind]
    query = Query(model).only(column).order(f"{table}.{column}")
    if kind == "gene":
        query = query.filter(column, "il", f"{asked[:_N_LETTERS]}*")
    names = {name: None for row in await client.rows(query) if isinstance(name := row.get(column), str)}
    folded = asked.casefold()
    same = tuple(name for name in names if name.casefold() == folded)
    return Spelling(kind, asked, same, tuple(nearest(asked, names)))
