"""The catalogue that a command chooses from: the one that was named, or that of this machine where there is one."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from asyncfetch.errors import StoreAccessError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asyncfetch.catalogue import CatalogueFile

__all__ = ["open_catalogue"]


@contextmanager
def open_catalogue(
    named: str | None, base_url: str, *, is_needed: bool = False
) -> Iterator[CatalogueFile | None]:
    """Open a catalogue for the block, or give None where the API is to be asked.

    Parameters
    ----------
    named : str or None
        A file or a store; ``none`` for the API; None for the catalogue of this machine.
    base_url : str
        The service that it is of.
    is_needed : bool
        Whether the API must not be asked.

    Raises
    ------
    StoreError
        The catalogue that was named or is needed is missing, unfinished, or cannot be read.
    """
    from asyncfetch.catalogue import CatalogueFile, catalogue_path, path_in_store

    path = catalogue_path(base_url) if named in {None, "none"} else path_in_store(named or "")
    is_needed = is_needed or named not in {None, "none"}
    if named == "none" or not (is_needed or path.is_file()):
        yield None
        return
    with CatalogueFile(path) as file:
        if file.fact("updated") is not None:
            yield file
        elif is_needed:
            raise StoreAccessError(
                f"the catalogue {path} is unfinished; complete it with: asyncfetch catalogue update",
                location=str(path),
            )
        else:
            yield None
