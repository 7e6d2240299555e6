"""The six services over a store, as the options of a command want them."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

from asyncfetch.cli.opening import open_store
from asyncfetch.cli.reading import read_text
from asyncfetch.cli.tables import read_rows
from asyncfetch.errors import SelectionError

if TYPE_CHECKING:
    from asyncfetch.atlas import Atlas

__all__ = ["open_atlas", "read_centers"]


def open_atlas(
    location: str,
    *,
    ties: str = "lower",
    failed_images: str = "include",
    convert_spaces: bool = False,
    centers: str | None = None,
) -> Atlas:
    """Return the services over a store, as the options of a command want them.

    Raises
    ------
    AsyncFetchError
        The store or the file of centres cannot be read, or an option is wrong.
    """
    from asyncfetch.atlas import Atlas

    catalogue = open_store(location).read_atlas().catalogue
    if centers is not None:
        catalogue = catalogue.with_structure_centers(read_centers(centers))
    return Atlas(
        catalogue,
        ties=ties,  # type: ignore[arg-type]  # refused there if it is not one
        failed_images=failed_images,  # type: ignore[arg-type]  # the same
        convert_spaces=convert_spaces,
    )


def read_centers(location: str) -> list[dict[str, Any]]:
    """Return rows of structure centres, from JSON or CSV.

    Raises
    ------
    SelectionError
        The file cannot be read, or holds something else.
    """
    text = read_text(location, "the structure centres")
    try:
        # rows of the API begin with a bracket or a brace; a table with the name of a column
        rows = json.loads(text) if text.lstrip()[:1] in {"[", "{"} else read_rows(text)
    except (ValueError, RecursionError, csv.Error) as error:
        raise SelectionError(f"the structure centres {location} cannot be read: {error}") from error
    rows = rows.get("msg") if isinstance(rows, dict) else rows
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise SelectionError(f"{location} is not a list of structure centres")
    return rows
