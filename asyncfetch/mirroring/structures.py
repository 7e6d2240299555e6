"""Structures of the atlas as regions: an acronym or an id becomes a box around its centre."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from asyncfetch.errors import SelectionError
from asyncfetch.geometry import REFERENCE_BOXES_UM
from asyncfetch.names import spelled_as
from asyncfetch.planning.region_of_space import RegionOfSpace

if TYPE_CHECKING:
    from asyncfetch.client import Client
    from asyncfetch.settings import Settings

__all__ = ["find_region"]

#: Half the side of the box around a structure, in µm, where it is not given.
_PAD_UM = 500.0
_MAX_NAMED = 5
#: How like a name has to be to be named, from 0 to 1; acronyms are short, so that one letter is a quarter of them.
_LIKENESS = 0.5


async def find_region(client: Client, settings: Settings) -> RegionOfSpace | None:
    """Return the region of the reference space that settings name, None where they name none.

    Raises
    ------
    SelectionError
        There is no such structure, or it has no centre.
    AsyncFetchError
        The API could not be asked.
    """
    if settings.roi_um is not None:
        return RegionOfSpace.of_ranges(settings.roi_um, settings.roi_space)
    if not isinstance(settings.roi, str):
        return None
    name = settings.roi.removeprefix("structure:").strip()
    structure_id = int(name) if name.isdecimal() else _id_of(name, await client.structures())
    centres = {
        int(row["reference_space_id"]): [float(row[axis]) for axis in "xyz"]
        for row in await client.structure_centers(sorted(REFERENCE_BOXES_UM))
        if row.get("structure_id") == structure_id and all(row.get(axis) is not None for axis in "xyz")
    }
    if not centres:
        raise SelectionError(
            f"structure {name} has no centre in the reference spaces 9 and 10; name another one, "
            "or give the region itself with --roi-um"
        )
    pad_um = _PAD_UM if settings.pad_um is None else settings.pad_um
    return RegionOfSpace.around(f"structure {name}", centres, pad_um)


def _id_of(name: str, rows: list[dict[str, Any]]) -> int:
    """Return the id of a structure by its acronym, in any case where that leaves no choice.

    Raises
    ------
    SelectionError
        No structure has it, or several that differ by case.
    """
    ids = {str(row["acronym"]).strip(): int(row["id"]) for row in rows if row.get("acronym")}
    if (known := spelled_as(name, ids)) in ids:
        return ids[known]
    alike = [acronym for acronym in ids if acronym.casefold() == name.casefold()]
    if alike:
        raise SelectionError(f"structure {name!r} can be {' or '.join(sorted(alike))}; write it as it is")
    by_case = {acronym.casefold(): acronym for acronym in ids}
    near = [
        by_case[each]
        for each in difflib.get_close_matches(name.casefold(), by_case, n=_MAX_NAMED, cutoff=_LIKENESS)
    ]
    hint = (
        f"did you mean {' or '.join(near)}?"
        if near
        else "structures are named by acronym, such as CA1, or by id"
    )
    raise SelectionError(f"there is no structure {name!r} in the ontology of the adult mouse; {hint}")
