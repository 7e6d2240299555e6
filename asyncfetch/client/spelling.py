"""How the API spells names that it did not know: it tells capitals apart (RMA-9) and old names from new, people do not.

Few names are looked up among those that begin alike, many among all of their kind in one listing, so that a list of
genes costs as many requests as one of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from asyncfetch.allen import Query, row_id
from asyncfetch.errors import QueryError
from asyncfetch.names import nearest
from asyncfetch.text import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from asyncfetch.client.queries import CatalogueQueries

__all__ = ["NAMED_KINDS", "Spelling", "find_spelling", "find_spellings", "gene_aliases_of", "spelling_of"]

#: Model, column of the name and table of what can be named.
NAMED_KINDS = {
    "gene": ("Gene", "acronym", "genes"),
    "product": ("Product", "abbreviation", "products"),
    "structure": ("Structure", "acronym", "structures"),
    "specimen": ("Specimen", "name", "specimens"),
    "plane": ("PlaneOfSection", "name", "plane_of_sections"),
    "age": ("Age", "name", "ages"),
    "treatment": ("Treatment", "name", "treatments"),
    "strain": ("Donor", "strain", "donors"),
}
#: Kinds of which there are thousands, so that only those that begin alike are asked for.
_MANY = {"gene", "structure", "specimen", "strain"}
_N_LETTERS = 2
#: Names that are looked up one by one; more of them cost less in one listing of all.
_FEW = 3
#: Rows of a page of that listing, which clients are known to ask for (RMA-4): a name has some 100 bytes.
_ROWS_OF_NAMES = 25_000
#: Of more names only those with the same first letter are compared: one comparison takes some ten microseconds.
_MANY_NAMES = 5000
_MAX_NAME = 40

type Row = dict[str, Any]


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
    by_alias : tuple of str
        The names of those that are also called so.
    """

    kind: str
    asked: str
    names: tuple[str, ...]
    alike: tuple[str, ...]
    by_alias: tuple[str, ...] = ()

    @property
    def is_known(self) -> bool:
        """Whether there is something of just this name."""
        return self.asked in self.names

    @property
    def other(self) -> str | None:
        """The one name that is meant though it is spelled otherwise."""
        names = self.names or self.by_alias
        is_one = len(names) == 1 and names[0] != self.asked
        return names[0] if is_one else None

    @property
    def note(self) -> str:
        """What is told where `other` is taken."""
        how = "is spelled" if self.names else "is another name of"
        where = " in the API" if self.names else ""
        return f"{self.kind} {shown(self.asked, _MAX_NAME)} {how} {shown(self.other, _MAX_NAME)}{where}"

    @property
    def unknown(self) -> str:
        """What is told of a name that does not exist as it stands."""
        known = self.names or self.by_alias or self.alike
        meant = f", did you mean {' or '.join(shown(each, _MAX_NAME) for each in known)}?" if known else ""
        return f"there is no {self.kind} {shown(self.asked, _MAX_NAME)}{meant}"

    @property
    def advice(self) -> str:
        """What to type next, where nothing was found."""
        if self.asked in self.names:
            return f"the API knows the {self.kind}; name failed data sets by their ids"
        known = self.names or self.by_alias or self.alike
        if known:
            return f"did you mean {' or '.join(shown(each, _MAX_NAME) for each in known)}?"
        return "check the spelling, and name failed data sets by their ids"


def spelling_of(
    kind: str, asked: str, names: Iterable[str], aliases: Mapping[str, Iterable[str]] | None = None
) -> Spelling:
    """Compare a name with known ones; `aliases` has the names of what is also called so, by folded alias."""
    known = list(dict.fromkeys(names))
    folded = asked.casefold()
    same = tuple(name for name in known if name.casefold() == folded)
    by_alias = () if same or aliases is None else tuple(dict.fromkeys(aliases.get(folded, ())))
    if len(known) > _MANY_NAMES:
        known = [name for name in known if name[:1].casefold() == folded[:1]]
    return Spelling(kind, asked, same, tuple(nearest(asked, known)), by_alias)


def gene_aliases_of(rows: Iterable[Row]) -> dict[str, list[str]]:
    """Return the acronyms of genes by what they are also called, in small letters: ``alias_tags`` (REC-10)."""
    found: dict[str, list[str]] = {}
    for row in rows:
        tags, acronym = row.get("alias_tags"), row.get("acronym")
        if isinstance(tags, str) and isinstance(acronym, str):
            for tag in tags.split():
                found.setdefault(tag.casefold(), []).append(acronym)
    return found


async def find_spelling(client: CatalogueQueries, kind: str, asked: str) -> Spelling:
    """Ask the API for the names of a kind that are like one.

    Raises
    ------
    AsyncFetchError
        The API could not be asked.
    """
    return (await find_spellings(client, kind, [asked]))[asked]


async def find_spellings(client: CatalogueQueries, kind: str, asked: Sequence[str]) -> dict[str, Spelling]:
    """Ask the API for the names of a kind that are like each of some, in few requests however many they are.

    Raises
    ------
    AsyncFetchError
        The API could not be asked.
    """
    model, column, table = NAMED_KINDS[kind]
    query = Query(model).only("id", column).order(f"{table}.{column}")
    if kind == "gene":
        query = query.only("id", column, "alias_tags")
    if kind not in _MANY or len(asked) > _FEW:
        rows = await client.rows(query, page_rows=_ROWS_OF_NAMES)
        names = dict.fromkeys(asked, _names(rows, column))
        aliases = gene_aliases_of(rows)
    else:
        names = {
            name: _names(await client.rows(query.filter(column, "il", f"{name[:_N_LETTERS]}*")), column)
            for name in asked
        }
        aliases = {}
    found = {name: spelling_of(kind, name, names[name], aliases) for name in asked}
    unknown = [name for name, spelling in found.items() if not spelling.names]
    if kind == "gene" and unknown and not aliases:
        aliases = await _find_aliases(client, unknown)
        found |= {name: spelling_of(kind, name, names[name], aliases) for name in unknown}
    return found


async def _find_aliases(client: CatalogueQueries, asked: Sequence[str]) -> dict[str, list[str]]:
    """Ask for the genes that are also called so; where a service has no aliases, there are none."""
    spelled = dict.fromkeys(way(name) for name in asked for way in (str, str.capitalize, str.upper))
    query = Query("GeneAlias").where(acronym=list(spelled)).include("gene").order("gene_aliases.id")
    try:
        rows = await client.rows(query)
    except QueryError:
        return {}
    found: dict[str, list[str]] = {}
    for row in rows:
        alias, gene = row.get("acronym"), row.get("gene")
        name = gene.get("acronym") if isinstance(gene, dict) else None
        if isinstance(alias, str) and isinstance(name, str):
            found.setdefault(alias.casefold(), []).append(name)
    return found


def _names(rows: Iterable[Row], column: str) -> list[str]:
    return [name for row in rows if row_id(row) is not None and isinstance(name := row.get(column), str)]
