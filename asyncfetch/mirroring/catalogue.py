"""What the services need besides images: structure centres, and the transforms between reference spaces.

A store asks for them once: centres for each reference space that it has not asked about, transforms all at once.
They come after everything else is planned, because images matter more, and what is unavailable is a note in the report;
the next run asks again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asyncfetch.allen import row_id
from asyncfetch.allen.records import parse_structure_center
from asyncfetch.errors import AsyncFetchError, RecordError, StoreError

if TYPE_CHECKING:
    from collections.abc import Collection

    from asyncfetch.client import Client
    from asyncfetch.store import StoreWriter

__all__ = ["complete_catalogue"]


async def complete_catalogue(client: Client, writer: StoreWriter, spaces: Collection[int]) -> list[str]:
    """Bring into the store what it does not hold yet.

    Parameters
    ----------
    client : Client
        Asks.
    writer : StoreWriter
        Of the store.
    spaces : collection of int
        The reference spaces of the data sets of a run; where there are none, nothing is asked.

    Returns
    -------
    list of str
        What is unavailable, in words.

    Raises
    ------
    StoreError
        The store cannot be written.
    """
    if not spaces:
        return []
    notes: list[str] = []
    await client.pool.run(writer.mend_catalogue)
    missing = sorted(set(spaces) - await client.pool.run(_spaces, writer))
    try:
        if missing:
            listed = await client.structure_centers(missing)
            rows = _identified([row for row in listed if _has_numbers(row)])
            notes += _left_out("structure centres", len(listed) - len(rows))
            for space in missing:
                here = [row for row in rows if row_id(row, "reference_space_id") == space]
                await client.pool.run(writer.write_structure_centers, space, here)
    except StoreError:
        raise
    except AsyncFetchError as error:
        notes.append(f"structure centres are unavailable: {error.message}")
    try:
        if not await client.pool.run(_has_transforms, writer):
            listed = await client.space_transforms()
            rows = _identified(listed)
            notes += _left_out("transforms between reference spaces", len(listed) - len(rows))
            await client.pool.run(writer.write_space_transforms, rows)
    except StoreError:
        raise
    except AsyncFetchError as error:
        notes.append(f"transforms between reference spaces are unavailable: {error.message}")
    return notes


def _spaces(writer: StoreWriter) -> set[int]:
    return writer.centred_spaces


def _has_transforms(writer: StoreWriter) -> bool:
    return writer.has_space_transforms


def _has_numbers(row: dict[str, Any]) -> bool:
    """Tell whether a centre can be used; one that lacks a number places nothing."""
    try:
        parse_structure_center(row)
    except RecordError:
        return False
    return True


def _identified(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows that have an id, which may have come as text, with it as a number: they are found by it."""
    return [row | {"id": number} for row in rows if (number := row_id(row)) is not None]


def _left_out(what: str, n: int) -> list[str]:
    return [f"{what}: the API sent {n} without a usable id or number; left out"] if n else []
