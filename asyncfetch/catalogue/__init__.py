"""What there is at the API besides images, in one SQLite file: genes, data sets, structures, atlases, names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncfetch.loading import loader

if TYPE_CHECKING:
    from asyncfetch.catalogue.choosing import CatalogueChooser
    from asyncfetch.catalogue.file import CatalogueFile, catalogue_path, path_in_store
    from asyncfetch.catalogue.updating import CatalogueChange, update_catalogue

__all__ = [
    "CatalogueChange",
    "CatalogueChooser",
    "CatalogueFile",
    "catalogue_path",
    "path_in_store",
    "update_catalogue",
]

_HOMES = {
    "CatalogueChooser": "asyncfetch.catalogue.choosing",
    **dict.fromkeys(("CatalogueFile", "catalogue_path", "path_in_store"), "asyncfetch.catalogue.file"),
    **dict.fromkeys(("CatalogueChange", "update_catalogue"), "asyncfetch.catalogue.updating"),
}

# A type checker sees the names above; whoever looks for a path does not load the client.
if not TYPE_CHECKING:
    __getattr__ = loader(__name__, _HOMES)
